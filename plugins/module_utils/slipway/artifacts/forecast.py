"""How long a run will take, and what of it is left, by the usual times of its recipes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from .job import Job, Lane, duration
from .process import Say

NAMED = 6  # programs that the plan names with their times
LEARNT = 20.0  # seconds of usual time from which on this computer's own pace counts
WIDTH = 24
COLUMNS = 79
BACK = "\x1b[1A\x1b[2K"  # to the line above, and clear it


def left(
    waiting: Iterable[Job], running: Iterable[tuple[Job, float]], workers: Mapping[Lane, int], pace: float = 1.0
) -> float:
    """Seconds until the busiest lane is done; ``running`` has each job with the seconds it has taken so far.

    Only what has a usual time counts. ``pace`` is what this computer takes for a usual second.
    """
    lanes = dict.fromkeys(workers, 0.0)
    for job in waiting:
        lanes[job.lane] += job.seconds * pace
    for job, spent in running:
        lanes[job.lane] += max(0.0, job.seconds * pace - spent)
    return max(seconds / workers[lane] for lane, seconds in lanes.items())


def announced(jobs: Sequence[Job], workers: Mapping[Lane, int]) -> list[str]:
    """The plan of a run, before it begins: what it does, how often, and about how long that takes."""
    waiting = [job for job in jobs if not job.found]
    if not waiting:
        return []
    ways = Counter(job.way for job in waiting)
    lines = [f"to do: {len(waiting)} of {len(jobs)} items ({', '.join(f'{n} {way}' for way, n in ways.items())})"]
    known = sorted((job for job in waiting if job.seconds), key=lambda job: -job.seconds)
    if known:
        named = [f"{job.title} {duration(job.seconds)}" for job in known[:NAMED]]
        more = [f"{len(known) - NAMED} more"] if len(known) > NAMED else []
        lines.append(
            f"about {duration(left(waiting, [], workers))} on two idle cores with nothing compiled yet, "
            f"downloads not counted: {', '.join([*named, *more])}"
        )
    return lines


class Pace:
    """What this computer takes for a usual second, learnt from the items that are done."""

    def __init__(self) -> None:
        self.usual = 0.0
        self.spent = 0.0

    def learn(self, job: Job, seconds: float) -> None:
        if job.seconds:
            self.usual += job.seconds
            self.spent += seconds

    @property
    def value(self) -> float:
        return self.spent / self.usual if self.usual >= LEARNT else 1.0


def bar(spent: float, seconds: float) -> str:
    """How far a run is that has taken ``spent`` and has ``seconds`` left."""
    share = spent / (spent + seconds) if spent + seconds else 1.0
    full = int(share * WIDTH)
    return f"[{'#' * full}{'-' * (WIDTH - full)}] {int(share * 100)} %, about {duration(seconds)} left"


class Screen:
    """Lines on a terminal with a bar below them, which is drawn anew in its place.

    ``write`` prints a line, ``draw`` one that is not for the log, with or without its end.
    """

    def __init__(self, write: Say, draw: Callable[[str, bool], None]) -> None:
        self.write = write
        self.draw = draw
        self.shown = ""

    def say(self, line: str) -> None:
        kept = self.shown
        self.bar("")
        self.write(line)
        self.bar(kept)

    def bar(self, text: str) -> None:
        """Show ``text``, which has to fit into one line; nothing takes the bar away."""
        cut = text[:COLUMNS]
        if cut == self.shown:
            return
        if self.shown:
            self.draw(BACK, False)
        if cut:
            self.draw(cut, True)
        self.shown = cut
