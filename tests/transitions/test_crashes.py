"""A version that crashes fails the run, which names it. No request is lost, then or afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.changing import BEFORE, placed
from tests.support.releases import Stage
from tests.support.transitions import CRASHES, Crash

# Seconds after which a run gives up on a pod that does not get Ready, where it has not found out before.
PATIENCE = 30


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: crash.row.name)
def test_nobody_notices(stage: Stage, tmp_path: Path, crash: Crash) -> None:
    row = crash.row
    with placed(stage, row, tmp_path) as place:
        with place.changing() as load:
            broken = place.apply(crash.broken, release_timeout=PATIENCE)
            # What the run has left stays as it is.
            load.steady(BEFORE)
            back = place.apply(row.before)
            load.steady(BEFORE)
            repaired = place.apply(row.after)
        assert place.faults(row) == []
        assert broken.status != 0
        assert f"{crash.service}-{crash.version}" in broken.output
        back.expect()
        assert repaired.expect().total("changed") > 0
