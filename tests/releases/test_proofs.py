"""Twenty proofs of one release in a row pass, on a loaded machine too; weights change under load without a loss."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.kube import Kube
from tests.support.mesh import gateway_address
from tests.support.releases import HELLO, SMS, Stage
from tests.support.traffic import Traffic, asked

RUNS = 20
# Runs of these that are made while every core of this machine is busy.
LOADED = RUNS // 2
STEPS = ((50, 50), (0, 100), (50, 50), (90, 10))


@pytest.fixture(scope="module", autouse=True)
def released(stage: Stage) -> Iterator[None]:
    """Two releases, one with and one without an alert that is exercised."""
    for page in (HELLO, SMS):
        stage.release(page, prove="never").expect()
    yield
    stage.take_away((HELLO, SMS))


def _busy() -> None:
    while True:
        pass


@contextmanager
def loaded(wanted: bool) -> Iterator[None]:
    """Keep every core busy meanwhile."""
    processes = [multiprocessing.Process(target=_busy, daemon=True) for _ in range((os.cpu_count() or 1) * wanted)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()


@pytest.mark.parametrize("number", range(1, RUNS + 1))
def test_a_proof_of_an_unbroken_release_passes(stage: Stage, number: int) -> None:
    with loaded(number > RUNS - LOADED):
        run = stage.prove(HELLO)
    print(f"proof {number} of {RUNS}: {run.seconds:.0f} s, {'loaded' if number > RUNS - LOADED else 'idle'}")
    run.expect()
    stage.passed(HELLO)


def pods(kube: Kube, namespace: str) -> set[str]:
    return {item["metadata"]["name"] for item in kube("get", "pods", f"--namespace={namespace}")["items"]}


def weights(stage: Stage, v1: int, v2: int) -> Any:
    return stage.release(SMS, prove="never", release_weights={"v1": v1, "v2": v2}).expect()


def test_weights_change_under_load_without_a_failed_request_or_a_new_pod(stage: Stage) -> None:
    """By requests of new clients at the page, which goes the whole chain; the release has no limit."""
    address = gateway_address(stage.kube)
    before = pods(stage.kube, "default")
    with Traffic(address, "team8.local", "/analyze?text=good") as traffic:
        for step in STEPS:
            run = weights(stage, *step)
            print(f"{step[0]}/{step[1]}: {run.seconds:.0f} s")
            # What the new weights bring about is part of the load.
            time.sleep(5)
    print(f"requests under load: {dict(traffic.seen)}")
    assert set(traffic.seen) == {"200"}, traffic.seen
    assert traffic.seen["200"] > 500
    assert pods(stage.kube, "default") == before


def test_a_roll_back_moves_everybody(stage: Stage) -> None:
    address = gateway_address(stage.kube)
    cookie = {"Cookie": "canary-user=true"}
    assert {asked(address, "team8.local", "/", headers=cookie).version for _ in range(10)} == {"v2"}
    weights(stage, 100, 0)
    try:
        versions = Counter(asked(address, "team8.local", "/", headers=cookie).version for _ in range(30))
        assert versions == {"v1": 30}
    finally:
        weights(stage, 90, 10)
