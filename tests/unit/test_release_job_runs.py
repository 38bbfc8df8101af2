"""Jobs of a release on a cluster: run once, waited for, run again after they failed, and told with their last lines."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.errors import SlipwayError
from slipway.release import job_runs

Json = dict[str, Any]
JOB: Json = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "shop-migrate-1", "namespace": "shop"},
    "spec": {"activeDeadlineSeconds": 60},
}
POD: Json = {"metadata": {"name": "shop-migrate-1-x", "namespace": "shop"}, "spec": {"containers": []}}


def ended(kind: str) -> Json:
    why = {"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": "it did not work"}
    return {**JOB, "status": {"conditions": [why]}}


class Cluster:
    """Gives what stands in ``states``, one look after the other; the last one for ever."""

    def __init__(self, *states: Json | None) -> None:
        self.states = list(states)
        self.log = "first line\nno such table\n"

    def read(self, _version: str, kind: str, _namespace: str, _name: str) -> Json | None:
        if kind == "Secret":
            return None
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def items(self, _path: str, _selector: str = "") -> list[Json]:
        return [POD]

    def text(self, _path: str) -> str:
        return self.log


class Applier:
    def __init__(self) -> None:
        self.did: list[str] = []

    def apply(self, items: list[Json]) -> list[Any]:
        self.did.append(f"apply {len(items)}")
        return []

    def remove(self, items: list[Json], how: str) -> list[Any]:
        self.did.append(f"remove {len(items)} {how}")
        return []

    def gone(self, _items: list[Json], _seconds: float) -> None:
        self.did.append("gone")


def run(*states: Json | None) -> tuple[bool, list[str]]:
    applier: Any = Applier()
    cluster: Any = Cluster(*states)
    return job_runs.run(cluster, applier, JOB), applier.did


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.release.job_runs.time.sleep", lambda _: None)


def test_a_job_runs_until_it_is_done_and_not_again() -> None:
    assert run(None, JOB, JOB, ended("Complete")) == (True, ["apply 1"])
    assert run(ended("Complete")) == (False, [])


def test_a_job_that_has_failed_runs_again() -> None:
    assert run(ended("Failed"), JOB, ended("Complete")) == (True, ["remove 1 Foreground", "gone", "apply 1"])
    assert job_runs.failed(ended("Failed"))
    assert not job_runs.failed(ended("Complete"))
    assert not job_runs.failed({**ended("Failed"), "kind": "Deployment"})


def test_a_job_that_fails_says_why_with_its_last_lines() -> None:
    with pytest.raises(SlipwayError) as caught:
        run(None, ended("Failed"))
    assert caught.value.id == "release-job-failed"
    for text in ("Job shop/shop-migrate-1 failed: BackoffLimitExceeded: it did not work", "| no such table",
                 "what served before serves on"):  # fmt: skip
        assert text in str(caught.value)


def test_a_job_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 50.0, 95.0])
    monkeypatch.setattr("slipway.release.job_runs.time.monotonic", lambda: next(times))
    with pytest.raises(SlipwayError, match="it does not end"):
        run(None, JOB)
