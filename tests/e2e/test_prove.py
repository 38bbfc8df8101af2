"""Two releases are proved by requests, side by side; a proof leaves nothing behind, and comes when it should."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.breaks import BREAKS, broken
from tests.support.checkout import Checkout, Run
from tests.support.kube import Kube
from tests.support.releases import EXERCISED, HELLO, SECONDS, SMS, Stage

Json = dict[str, Any]


@pytest.fixture(scope="module")
def stage(checkout: Checkout, page: Json) -> Stage:
    """The cluster of the end-to-end tests."""
    return Stage(checkout, page)


@pytest.fixture(scope="module", autouse=True)
def released(stage: Stage) -> Iterator[dict[str, Run]]:
    """Both releases side by side, each proved by the run that applied it; before that what they need."""
    stage.prepare()
    yield {name: stage.release(name) for name in (SMS, HELLO)}
    stage.end((SMS, HELLO))


@pytest.mark.parametrize("name", [SMS, HELLO])
def test_an_apply_that_changed_something_is_proved(stage: Stage, released: dict[str, Run], name: str) -> None:
    released[name].expect()
    stage.passed(name)
    monitored = {"alert", "metrics", "tool"}
    assert stage.kinds(name, "passed") >= EXERCISED[name] - (set() if stage.monitored else monitored)
    assert "<svg" in stage.report(name).with_name("report.html").read_text()


@pytest.mark.parametrize("name", [SMS, HELLO])
def test_a_proof_beside_another_release_passes_and_leaves_nothing(stage: Stage, kube: Kube, name: str) -> None:
    run = stage.prove(name).expect()
    assert run.total("changed") == 0
    if not (stage.monitored and name == SMS):
        assert run.seconds < SECONDS
    assert not [each for each in namespaces(kube) if each.startswith("slipway-prove-")]
    print(f"a proof of {name}: {run.seconds:.0f} s")


def namespaces(kube: Kube) -> list[str]:
    return [str(item["metadata"]["name"]) for item in kube("get", "namespaces")["items"]]


@pytest.mark.parametrize(
    ("mode", "arguments", "proved"),
    [("changed", (), False), ("always", (), True), ("always", ("--check",), False)],
)
def test_without_a_change_only_who_asks_gets_a_proof(
    stage: Stage, mode: str, arguments: tuple[str, ...], proved: bool
) -> None:
    before = stage.report(HELLO).stat().st_mtime_ns
    run = stage.release(HELLO, *arguments, prove=mode).expect()
    assert run.total("changed") == 0
    assert (stage.report(HELLO).stat().st_mtime_ns != before) is proved


def test_what_is_broken_by_hand_is_named_and_put_right_it_passes(stage: Stage, kube: Kube) -> None:
    """One of all that tests/releases/test_breaks.py breaks."""
    weight = next(each for each in BREAKS if each.what == "a weight")
    with broken(kube, weight):
        run = stage.prove(HELLO)
    assert run.status != 0
    failed = next(claim for claim in stage.claims(HELLO) if (claim["kind"], claim["state"]) == ("share", "failed"))
    assert f"{failed['id']}: {failed['title']}" in run.output
    assert "look at: " in run.output
    assert "Traceback" not in run.output
    stage.prove(HELLO).expect()
