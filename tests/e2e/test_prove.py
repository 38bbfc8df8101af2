"""A release is proved by requests; what is then broken by hand is named, and a proof leaves nothing in the cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.checkout import Checkout, Run
from tests.support.kube import Kube

Json = dict[str, Any]
Change = Callable[[Json], None]
SMS, HELLO = "sms-checker", "hello"
# Seconds that a proof may take without alerts, the start and the end of its clients included.
SECONDS = 240


def page_of(name: str) -> str:
    return f"releases/{name}.yml"


def claims(checkout: Checkout, name: str) -> list[Json]:
    """Claims of the last proof of a release."""
    report = json.loads((checkout.state / "report" / name / "report.json").read_text())
    found: list[Json] = report["claims"]
    return found


def kinds(checkout: Checkout, name: str, state: str) -> set[str]:
    return {claim["kind"] for claim in claims(checkout, name) if claim["state"] == state}


def prove(checkout: Checkout, name: str) -> Run:
    return checkout.make("prove", f"RELEASE={page_of(name)}", timeout=4 * SECONDS)


@pytest.fixture(scope="module", autouse=True)
def released(checkout: Checkout, page: Json) -> Iterator[dict[str, Run]]:
    """Both releases side by side, each proved by the run that applied it; before that the images of the examples."""
    parts = ["kubernetes", "flannel", "mirror", "tools", *(name for name, on in page["cluster_parts"].items() if on)]
    wanted = json.dumps({"artifacts_parts": [*parts, "apps"]})
    checkout.playbook("playbooks/artifacts.yml", "playbooks/mirror.yml", "-e", wanted, timeout=3600).expect()
    runs = {}
    for name in (SMS, HELLO):
        runs[name] = checkout.make("release", f"RELEASE={page_of(name)}", timeout=1200)
    yield runs
    for name in (SMS, HELLO):
        checkout.playbook("finalization.yml", "-e", f"release={page_of(name)}", "-e", "release_state=absent")


@pytest.mark.parametrize(
    ("name", "passed"),
    [
        (SMS, {"address", "default", "share", "sticky", "override", "chain", "shadow", "mtls", "access"}),
        (HELLO, {"address", "share", "sticky", "chain", "limit", "mtls", "access"}),
    ],
)
def test_an_apply_that_changed_something_is_proved(
    checkout: Checkout, released: dict[str, Run], name: str, passed: set[str]
) -> None:
    released[name].expect()
    assert kinds(checkout, name, "failed") == set()
    assert kinds(checkout, name, "passed") >= passed
    assert "<svg" in (checkout.state / "report" / name / "report.html").read_text()


@pytest.mark.parametrize("name", [SMS, HELLO])
def test_a_proof_beside_another_release_passes_and_leaves_nothing(checkout: Checkout, kube: Kube, name: str) -> None:
    run = prove(checkout, name).expect()
    assert run.total("changed") == 0
    assert run.seconds < SECONDS
    assert not [each for each in namespaces(kube) if each.startswith("slipway-prove-")]
    print(f"a proof of {name}: {run.seconds:.0f} s")


def namespaces(kube: Kube) -> list[str]:
    return [str(item["metadata"]["name"]) for item in kube("get", "namespaces")["items"]]


@pytest.mark.parametrize(
    ("arguments", "proved"), [((), False), (("-e", "prove=always"), True), (("-e", "prove=always", "--check"), False)]
)
def test_without_a_change_only_who_asks_gets_a_proof(
    checkout: Checkout, arguments: tuple[str, ...], proved: bool
) -> None:
    report = checkout.state / "report" / SMS / "report.json"
    before = report.stat().st_mtime_ns
    run = checkout.playbook("finalization.yml", "-e", f"release={page_of(SMS)}", *arguments).expect()
    assert run.total("changed") == 0
    assert (report.stat().st_mtime_ns != before) is proved


def weights(item: Json) -> None:
    for rule in item["spec"]["http"]:
        if len(rule["route"]) > 1:
            for share, to in zip((70, 30), rule["route"], strict=True):
                to["weight"] = share


def path_of_the_cookie(item: Json) -> None:
    for rule in item["spec"]["http"]:
        for to in rule["route"]:
            added = to.get("headers", {}).get("response", {}).get("add", {})
            if "Set-Cookie" in added:
                added["Set-Cookie"] = added["Set-Cookie"].replace("Path=/", "Path=/shop")


def label_of_a_subset(item: Json) -> None:
    for subset in item["spec"]["subsets"]:
        subset["labels"]["version"] = "v1"


def without_mirrors(item: Json) -> None:
    for rule in item["spec"]["http"]:
        rule.pop("mirrors", None)


def not_strict(item: Json) -> None:
    item["spec"]["mtls"]["mode"] = "PERMISSIVE"


def without_rules(item: Json) -> None:
    item["spec"]["rules"] = [{}]


def other_host_of_the_limit(item: Json) -> None:
    for patch in item["spec"]["configPatches"]:
        patch["match"]["routeConfiguration"]["vhost"]["name"] = "elsewhere.local:80"


@contextmanager
def broken(kube: Kube, kind: str, name: str, namespace: str, change: Change) -> Iterator[None]:
    """Change an object by hand, and put it back."""
    before = kube("get", kind, name, f"--namespace={namespace}")
    item = json.loads(json.dumps(before))
    change(item)
    assert item["spec"] != before["spec"], "this breaks nothing"

    def replaced(spec: Json) -> None:
        patch = json.dumps([{"op": "replace", "path": "/spec", "value": spec}])
        kube.text("patch", kind, name, f"--namespace={namespace}", "--type=json", f"--patch={patch}")

    replaced(item["spec"])
    try:
        yield
    finally:
        replaced(before["spec"])


@pytest.mark.parametrize(
    ("release", "kind", "name", "namespace", "change", "claim"),
    [
        (HELLO, "virtualservice", "hello-entry", "hello", weights, "share"),
        (HELLO, "virtualservice", "hello-entry", "hello", path_of_the_cookie, "sticky"),
        (HELLO, "destinationrule", "frontend", "hello", label_of_a_subset, "share"),
        (HELLO, "destinationrule", "model", "hello", label_of_a_subset, "chain"),
        (HELLO, "peerauthentication", "hello", "hello", not_strict, "mtls"),
        (HELLO, "authorizationpolicy", "model-v1", "hello", without_rules, "access"),
        (HELLO, "envoyfilter", "hello-rate-limit", "istio-system", other_host_of_the_limit, "limit"),
        (SMS, "virtualservice", "model-service-vs", "default", without_mirrors, "shadow"),
    ],
)
def test_what_is_broken_by_hand_is_named(
    checkout: Checkout, kube: Kube, release: str, kind: str, name: str, namespace: str, change: Change, claim: str
) -> None:
    with broken(kube, kind, name, namespace, change):
        run = prove(checkout, release)
    assert run.status != 0
    assert claim in kinds(checkout, release, "failed")
    failed = next(each for each in claims(checkout, release) if (each["kind"], each["state"]) == (claim, "failed"))
    assert f"{failed['id']}: {failed['title']}" in run.output
    assert "look at: " in run.output
    assert "Traceback" not in run.output


def test_put_right_again_it_passes(checkout: Checkout) -> None:
    for name in (SMS, HELLO):
        prove(checkout, name).expect()
