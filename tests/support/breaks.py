"""What can be broken by hand on a release that runs, and the claim of a proof that has to name it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kube import Kube, eventually
from .releases import HELLO, SMS, rolled_out

Json = dict[str, Any]
Change = Callable[[Json], None]
RELAY = str(Path(__file__).parents[1] / "releases/pages/relay.yml")
GATEWAYS = "istio-system"
LIMIT = "envoy.filters.http.local_ratelimit"


@dataclass(frozen=True)
class Break:
    """One change of one object of a release, and what a proof has to say of it.

    ``release``: name of the page in releases/, or its path. ``claim``: kind of a claim that fails; ``says``: words of
    what it has seen. ``after``: waits until the change holds (and again, when it is put back), where it takes longer
    than the mesh takes for routes.
    """

    what: str
    release: str
    kind: str
    name: str
    namespace: str
    change: Change
    claim: str
    says: str
    after: Callable[[Kube], None] | None = None

    @property
    def page(self) -> str:
        """Name of the release, as reports have it."""
        return Path(self.release).stem


def _destinations(item: Json) -> Iterator[Json]:
    for rule in item["spec"]["http"]:
        yield from rule.get("route", [])


def weight(item: Json) -> None:
    for rule in item["spec"]["http"]:
        if len(rule.get("route", [])) > 1:
            for share, to in zip((70, 30), rule["route"], strict=True):
                to["weight"] = share


def _cookies(item: Json, old: str, new: str) -> None:
    for to in _destinations(item):
        added = to.get("headers", {}).get("response", {}).get("add", {})
        if "Set-Cookie" in added:
            added["Set-Cookie"] = added["Set-Cookie"].replace(old, new)


def cookie_path(item: Json) -> None:
    _cookies(item, "Path=/", "Path=/shop")


def cookie_value(item: Json) -> None:
    _cookies(item, "=v2;", "=v1;")


def subset_label(item: Json) -> None:
    for subset in item["spec"]["subsets"]:
        subset["labels"]["version"] = "v1"


def no_mirror(item: Json) -> None:
    for rule in item["spec"]["http"]:
        rule.pop("mirrors", None)


def mtls_off(item: Json) -> None:
    item["spec"]["mtls"]["mode"] = "PERMISSIVE"


def open_to_all(item: Json) -> None:
    item["spec"]["rules"] = [{}]


def no_rule(item: Json) -> None:
    item["spec"].pop("rules")


def limit(item: Json) -> None:
    for patch in item["spec"]["configPatches"]:
        for descriptor in patch["patch"]["value"]["typed_per_filter_config"][LIMIT]["value"]["descriptors"]:
            descriptor["token_bucket"]["max_tokens"] = 1000


def limit_host(item: Json) -> None:
    for patch in item["spec"]["configPatches"]:
        patch["match"]["routeConfiguration"]["vhost"]["name"] = "elsewhere.local:80"


def override_gone(item: Json) -> None:
    item["spec"]["http"] = [rule for rule in item["spec"]["http"] if ":header:" not in rule["name"]]


def tool_elsewhere(item: Json) -> None:
    for to in _destinations(item):
        to["destination"]["host"] = "nothing.default.svc.cluster.local"


def header_gone(item: Json) -> None:
    for rule in item["spec"]["http"]:
        del rule["headers"]["response"]["set"]["x-frame-options"]


def version_swapped(item: Json) -> None:
    for to in _destinations(item):
        said = to["headers"]["response"]["set"]
        said["x-served-by-version"] = {"v1": "v2", "v2": "v1"}[said["x-served-by-version"]]


def another_origin(item: Json) -> None:
    for rule in item["spec"]["http"]:
        rule["corsPolicy"]["allowOrigins"] = [{"exact": "https://stranger.invalid"}]


# The example's program, but for one header that it does not hand on.
FORGETFUL = """
import runpy
import textcheck.settings as settings

settings.FORWARDED = tuple(name for name in settings.FORWARDED if name != "x-version")
runpy.run_module("textcheck", run_name="__main__")
"""


def header_forgotten(item: Json) -> None:
    for container in item["spec"]["template"]["spec"]["containers"]:
        container["command"] = ["/usr/bin/python3.11", "-S", "-c", FORGETFUL]


def trusted_proxy(item: Json) -> None:
    """What istio_trusted_proxies: 1 makes of the gateway: the header is left in, and its last entry is believed."""
    for patch in item["spec"]["configPatches"]:
        manager = patch["patch"]["value"].get("typed_config", {})
        if manager.pop("early_header_mutation_extensions", None):
            manager["xff_num_trusted_hops"] = 1


def mail_password(item: Json) -> None:
    item["data"] = {key: base64.b64encode(b"of-somebody-else").decode() for key in item["data"]}


def middle_anew(kube: Kube) -> None:
    rolled_out(kube, "relay", "middle-v1")


def told_to_alertmanager(kube: Kube) -> None:
    """Wait until the cluster's Alertmanager has read what the operator makes of the Secret.

    The kubelet brings a changed Secret into a pod within seconds; the time of the last reload tells.
    """
    at = "/api/v1/namespaces/monitoring/services/alertmanager:http-web/proxy/metrics"
    name = "alertmanager_config_last_reload_success_timestamp_seconds"

    def reloaded() -> float:
        lines = kube.text("get", "--raw", at).splitlines()
        return max(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    before = reloaded()
    eventually(lambda: reloaded() > before, seconds=180, what="Alertmanager has read its configuration anew")


def _hello(what: str, kind: str, name: str, change: Change, claim: str, says: str, namespace: str = HELLO) -> Break:
    return Break(what, HELLO, kind, name, namespace, change, claim, says)


BREAKS = (
    _hello("a weight", "virtualservice", "hello-entry", weight, "share", "got v2"),
    _hello("a subset's label", "destinationrule", "frontend", subset_label, "share", "got v1, 0 got v2"),
    _hello("the label of the next hop's subset", "destinationrule", "model", subset_label, "chain", "for v2 at"),
    _hello("the limit", "envoyfilter", "hello-rate-limit", limit, "limit", "came through", GATEWAYS),
    _hello("the limit's host", "envoyfilter", "hello-rate-limit", limit_host, "limit", "came through", GATEWAYS),
    _hello("the cookie's path", "virtualservice", "hello-entry", cookie_path, "sticky", "path /shop instead of /"),
    _hello("the cookie's value", "virtualservice", "hello-entry", cookie_value, "sticky", "=v1 instead of v2"),
    _hello("mutual TLS off", "peerauthentication", "hello", mtls_off, "mtls", "without mutual TLS"),
    _hello("a rule that lets everybody in", "authorizationpolicy", "model-v1", open_to_all, "access", "instead of 403"),
    _hello("a rule that is gone", "authorizationpolicy", "model-v2", no_rule, "access", "model-v2"),
    Break(
        "a missing mirror", SMS, "virtualservice", "model-service-vs", "default", no_mirror, "shadow",
        # Prometheus' own reading may be among those that were counted.
        "copies of 40 requests instead of 40",
    ),
    Break("an override", "spam-detection", "virtualservice", "spam-detection-entry", "spam-detection", override_gone,
          "override", "should be seen"),
    Break("a tool's route", SMS, "virtualservice", "prometheus-vs", "default", tool_elsewhere, "tool", "answered 503"),
    Break("a header that is not forwarded", RELAY, "deployment", "middle-v1", "relay", header_forgotten, "chain", "met",
          after=middle_anew),
    Break("a header of a path", RELAY, "virtualservice", "relay-entry", "relay", header_gone, "headers",
          "x-frame-options is not there instead of DENY"),
    Break("the version in a header", RELAY, "virtualservice", "relay-entry", "relay", version_swapped,
          "version-header", "x-served-by-version is"),
    Break("an origin", RELAY, "virtualservice", "relay-entry", "relay", another_origin, "cors",
          "access-control-allow-origin for https://app.example.org is not there"),
    _hello("numTrustedProxies 1", "envoyfilter", "slipway-client-address", trusted_proxy, "limit",
           "with X-Forwarded-For changing", GATEWAYS),
    Break("the mail's Secret", "app-frontend", "secret", "smtp", "app-frontend", mail_password, "alert", "was not read",
          after=told_to_alertmanager),
)  # fmt: skip


@contextmanager
def broken(kube: Kube, one: Break) -> Iterator[None]:
    """Break it by hand, and put it back however the test ends."""
    before = kube("get", one.kind, one.name, f"--namespace={one.namespace}")
    item = json.loads(json.dumps(before))
    one.change(item)
    part = "data" if one.kind == "secret" else "spec"
    assert item[part] != before[part], "this breaks nothing"

    def put(value: Json) -> None:
        patch = json.dumps([{"op": "replace", "path": f"/{part}", "value": value}])
        kube.text("patch", one.kind, one.name, f"--namespace={one.namespace}", "--type=json", f"--patch={patch}")
        if one.after:
            one.after(kube)

    try:
        put(item[part])
        yield
    finally:
        put(before[part])
