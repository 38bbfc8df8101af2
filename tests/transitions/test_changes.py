"""While one page replaces another, every request of every user is answered, by a version that the user may get."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.changing import Place, Pods, placed
from tests.support.kube import eventually
from tests.support.releases import Stage
from tests.support.transitions import HASHED, PLAIN, SCALED, Row


@pytest.mark.parametrize("row", [*PLAIN, *HASHED], ids=lambda row: row.name)
def test_nothing_is_lost(stage: Stage, tmp_path: Path, row: Row) -> None:
    with placed(stage, row, tmp_path) as place:
        with place.changing():
            run = place.apply(row.after)
        assert place.faults(row) == []
        assert run.expect().total("changed") > 0


def ready(place: Place) -> int:
    """How many pods of web-v1 are Ready."""
    return int(place.kube("get", "deployment", "web-v1", place.where)["status"].get("readyReplicas", 0))


@pytest.mark.parametrize("row", SCALED, ids=lambda row: row.name)
def test_as_many_pods_as_before_and_after_stay_ready(stage: Stage, tmp_path: Path, row: Row) -> None:
    with placed(stage, row, tmp_path) as place:
        # An autoscaler begins with one.
        eventually(lambda: ready(place) >= 3, seconds=90, what="all pods of web-v1 are Ready")
        with Pods(place.kube, place.name, "web-v1") as pods, place.changing() as load:
            run = place.apply(row.after)
            # An autoscaler takes half a minute to make up its mind.
            load.steady(20)
        assert place.faults(row) == []
        assert run.expect().total("changed") > 0
        assert pods.fewest >= 3
