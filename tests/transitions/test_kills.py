"""A run that is killed, at any step, costs nobody anything; the same command then ends where it would have ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.changing import TASK, Place, placed, steps
from tests.support.releases import Stage
from tests.support.transitions import KILLED

# Seconds after a task's first line: it is in the middle of it, or between two of its objects.
AT_A_TASK = 0.4
# Shares of the time that a run takes which is not killed, for what one task does in several steps.
SHARES = (0.35, 0.5, 0.65, 0.8, 0.95)


@dataclass
class Whole:
    """What a run comes to that is not killed."""

    place: Place
    seconds: float
    output: str
    objects: set[str]


@pytest.fixture(scope="module")
def whole(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """The change, unkilled."""
    with placed(stage, KILLED, tmp_path_factory.mktemp("killed")) as place:
        run = place.apply(KILLED.after).expect()
        yield Whole(place, run.seconds, run.output, place.objects())


@pytest.mark.parametrize(
    ("task", "share"),
    [*((name, 0.0) for name in steps()), *(("", share) for share in SHARES)],
    ids=lambda value: (value if isinstance(value, str) else f"{value:.2f}") or "at",
)
def test_the_same_command_goes_on_from_there(whole: Whole, task: str, share: float) -> None:
    place = whole.place
    if task and f"{task}]" not in whole.output:
        pytest.skip("this change has nothing to do there")
    place.apply(KILLED.before).expect()
    place.answers(KILLED.before)
    place.loaded()
    with place.changing():
        killed = place.cut(KILLED.after, task=f"{task}]" if task else "", after=share * whole.seconds or AT_A_TASK)
        again = place.apply(KILLED.after)
    assert killed.status == -9, f"the run had ended before it was killed:\n{killed.output[-1000:]}"
    assert not task or f"{TASK}release : {task}]" in killed.output
    assert place.faults(KILLED) == []
    again.expect()
    assert place.objects() == whole.objects
    assert place.apply(KILLED.after).expect().total("changed") == 0
