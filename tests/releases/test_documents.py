"""The four documented systems, released and proved one after the other, and side by side on one cluster."""

from __future__ import annotations

import json

import pytest

from tests.support.releases import DOCUMENTED, EXERCISED, MAILED, SECRETS, Stage


def proved(stage: Stage, name: str) -> None:
    """Assert that the last proof of a release found all its claims to hold, the mail of its alert among them."""
    stage.passed(name)
    assert stage.kinds(name, "passed") >= EXERCISED[name]
    for claim in stage.claims(name):
        if claim["kind"] == "alert" and name in MAILED and claim["state"] == "passed":
            assert "mail read" in claim["seen"]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_alone_it_is_released_proved_and_taken_away(empty: Stage, name: str) -> None:
    run = empty.release(name).expect()
    print(f"{name}: released and proved in {run.seconds:.0f} s")
    proved(empty, name)
    again = empty.release(name).expect()
    assert again.total("changed") == 0
    print(f"{name}: again in {again.seconds:.0f} s")
    empty.release(name, release_state="absent").expect()
    labels = f"--selector=slipway.io/release={name}"
    kinds = "deployments,services,virtualservices,destinationrules,gateways,envoyfilters,authorizationpolicies,secrets"
    assert empty.kube("get", kinds, "--all-namespaces", labels)["items"] == []


def test_side_by_side_each_of_them_does_what_its_page_says(empty: Stage) -> None:
    for name in DOCUMENTED:
        empty.release(name, prove="never").expect()
    for name in DOCUMENTED:
        run = empty.prove(name).expect()
        print(f"{name}: proved beside three others in {run.seconds:.0f} s")
        proved(empty, name)


def test_a_second_run_of_all_four_changes_nothing(stage: Stage) -> None:
    def versions() -> dict[str, str]:
        kinds = "deployments,services,configmaps,secrets,virtualservices,destinationrules,gateways,envoyfilters"
        found = stage.kube("get", kinds, "--all-namespaces", "--selector=slipway.io/release")["items"]
        return {
            f"{one['kind']}/{one['metadata'].get('namespace')}/{one['metadata']['name']}": json.dumps(
                [one["metadata"].get("generation"), one.get("data"), one["metadata"].get("annotations")]
            )
            for one in found
            if one["kind"] != "Deployment"
        }

    before = versions()
    for name in DOCUMENTED:
        run = stage.release(name, prove="changed").expect()
        assert run.total("changed") == 0, name
    assert versions() == before


def test_nothing_that_was_said_holds_a_secret(stage: Stage) -> None:
    logs = [path for path in (stage.checkout.state / "log").glob("*") if path.is_file()]
    assert logs
    texts = {path.name: path.read_text(errors="replace") for path in logs}
    for secret in SECRETS.values():
        assert [name for name, text in texts.items() if secret in text] == []
