"""A run that is killed at any step loses no request. The same command then ends where that run would have ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from tests.support.changing import TASK, Place, placed, steps
from tests.support.checkout import Run
from tests.support.releases import Stage
from tests.support.transitions import KILLED, Row, going

# Seconds after a task's first line: it is in the middle of it, or between two of its objects.
AT_A_TASK = 0.4
# The last task. It has nothing to do if a release stays, so a kill there would be too late.
LAST = "Remove the release"
# Shares of the duration of a run without a kill, for kills in the middle of a task.
SHARES = (0.35, 0.5, 0.65, 0.8, 0.95)
# Runs that may be over before that share of an earlier one's time has gone by.
TRIES = 3
BACK = replace(
    KILLED,
    before=KILLED.after,
    after=KILLED.before,
    leaves=" ".join(sorted(going(KILLED.after, KILLED.before))),
)


@dataclass
class Whole:
    """A change that is not killed, and its result."""

    row: Row
    run: Run
    objects: set[str]


@dataclass
class There:
    """A release that changes in both directions: a test begins with the page that the last one ended with."""

    place: Place
    next: list[Whole]


@pytest.fixture(scope="module")
def there(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    """Both changes, unkilled."""
    with placed(stage, KILLED, tmp_path_factory.mktemp("killed")) as place:
        wholes = []
        for row in (KILLED, BACK):
            run = place.apply(row.after).expect()
            wholes.append(Whole(row, run, place.objects()))
        yield There(place, wholes)


@pytest.mark.parametrize(
    ("task", "share"),
    [*((name, 0.0) for name in steps() if name != LAST), *(("", share) for share in SHARES)],
    ids=lambda value: (value if isinstance(value, str) else f"{value:.2f}") or "at",
)
def test_the_same_command_goes_on_from_there(there: There, task: str, share: float) -> None:
    place, here = there.place, f"{TASK}release : {task}]"
    whole = next((each for each in there.next if not task or here in each.run.output), None)
    if whole is None:
        pytest.skip("neither change has anything to do there")
    row = whole.row
    there.next.sort(key=lambda each: each is whole)
    for _ in range(TRIES):
        # Nothing to do, unless the test before has failed or only the other change comes to this task.
        place.apply(row.before).expect()
        place.answers(row.before)
        place.loaded()
        with place.changing():
            killed = place.cut(row.after, task=here if task else "", after=share * whole.run.seconds or AT_A_TASK)
            again = place.apply(row.after)
        assert place.faults(row) == []
        if killed.status == -9:
            break
        # Faster than the one that was measured, as the machine has less to do by now.
        whole.run = killed
    assert killed.status == -9, f"the run had ended before it was killed:\n{killed.output[-1000:]}"
    assert not task or here in killed.output
    again.expect()
    assert place.objects() == whole.objects
    assert place.apply(row.after).expect().total("changed") == 0
