"""While one page becomes another, every request of every user is answered, by versions that are theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.changing import Pods, placed
from tests.support.releases import Stage
from tests.support.transitions import HASHED, PLAIN, SCALED, Row


@pytest.mark.parametrize("row", [*PLAIN, *HASHED], ids=lambda row: row.name)
def test_nothing_is_lost(stage: Stage, tmp_path: Path, row: Row) -> None:
    with placed(stage, row, tmp_path) as place:
        with place.changing():
            run = place.apply(row.after)
        assert place.faults(row) == []
        assert run.expect().total("changed") > 0


@pytest.mark.parametrize("row", SCALED, ids=lambda row: row.name)
def test_as_many_pods_as_before_and_after_stay_ready(stage: Stage, tmp_path: Path, row: Row) -> None:
    with placed(stage, row, tmp_path) as place:
        with Pods(place.kube, place.name, "web-v1") as pods, place.changing() as load:
            run = place.apply(row.after)
            # An autoscaler takes half a minute to make up its mind.
            load.steady(20)
        assert place.faults(row) == []
        assert run.expect().total("changed") > 0
        assert pods.fewest >= 3
