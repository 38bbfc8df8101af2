"""Two releases are proved by requests, side by side; a proof leaves nothing behind, and comes when it should."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from slipway.prove.planner import KINDS

from tests.support.breaks import BREAKS, broken
from tests.support.checkout import Checkout, Run
from tests.support.kube import Kube
from tests.support.releases import EXERCISED, HELLO, SECONDS, SMS, Stage

Json = dict[str, Any]
# All but one claim is left out where one is enough.
QUICK = sorted(set(KINDS) - {"share"})


@pytest.fixture(scope="module")
def stage(checkout: Checkout, page: Json) -> Stage:
    """The cluster of the end-to-end tests."""
    return Stage(checkout, page)


@pytest.fixture(scope="module", autouse=True)
def released(stage: Stage) -> Iterator[Run]:
    """A second release beside the one that ``make up`` ended with, proved by the run that applied it."""
    yield stage.release(HELLO, prove_skip="alert")
    stage.take_away((HELLO,))


def test_an_apply_that_changed_something_is_proved(stage: Stage, released: Run) -> None:
    released.expect()
    stage.passed(HELLO)
    assert stage.kinds(HELLO, "passed") >= EXERCISED[HELLO]
    assert "<svg" in stage.report(HELLO).with_name("report.html").read_text()


def test_a_proof_beside_another_release_passes_and_leaves_nothing(stage: Stage, kube: Kube) -> None:
    run = stage.prove(SMS, prove_skip=["alert"]).expect()
    assert run.total("changed") == 0
    assert run.seconds < SECONDS
    assert stage.kinds(SMS, "passed") >= EXERCISED[SMS] - {"alert"}
    assert not [each for each in namespaces(kube) if each.startswith("slipway-prove-")]
    print(f"a proof of {SMS}: {run.seconds:.0f} s")


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
    run = stage.release(HELLO, *arguments, prove=mode, prove_skip=QUICK).expect()
    assert run.total("changed") == 0
    assert (stage.report(HELLO).stat().st_mtime_ns != before) is proved


def test_clients_use_a_release_while_its_weights_change_and_lose_nothing(stage: Stage, kube: Kube) -> None:
    weights = {"v1": 70, "v2": 30}
    stage.release(HELLO, prove="during,never", release_weights=weights).expect()
    (claim,) = stage.claims(HELLO)
    assert (claim["kind"], claim["state"]) == ("change", "passed"), claim["seen"]
    assert "nobody was moved without need" in claim["seen"]
    assert "While it changed" in stage.report(HELLO).with_name("report.html").read_text()
    assert not [each for each in namespaces(kube) if each.startswith("slipway-during-")]
    stage.release(HELLO, prove_skip=QUICK).expect()
    stage.passed(HELLO)


def test_what_was_left_out_is_proved_by_the_next_run(stage: Stage) -> None:
    """So is what a run was killed in, or has failed in."""
    weights = {"v1": 60, "v2": 40}
    before = stage.report(HELLO).stat().st_mtime_ns
    assert stage.release(HELLO, prove="never", release_weights=weights).expect().total("changed") > 0
    assert stage.report(HELLO).stat().st_mtime_ns == before
    assert stage.release(HELLO, prove_skip=QUICK, release_weights=weights).expect().total("changed") == 0
    assert stage.report(HELLO).stat().st_mtime_ns != before
    stage.passed(HELLO)
    stage.release(HELLO, prove_skip=QUICK).expect()


def test_what_is_broken_by_hand_is_named_and_put_right_it_passes(stage: Stage, kube: Kube) -> None:
    """One of all that tests/releases/test_breaks.py breaks."""
    weight = next(each for each in BREAKS if each.what == "a weight")
    with broken(kube, weight):
        run = stage.prove(HELLO, prove_skip=QUICK)
    assert run.status != 0
    failed = next(claim for claim in stage.claims(HELLO) if (claim["kind"], claim["state"]) == ("share", "failed"))
    assert f"{failed['id']}: {failed['title']}" in run.output
    assert "look at: " in run.output
    assert "Traceback" not in run.output
    stage.prove(HELLO, prove_skip=QUICK).expect()
