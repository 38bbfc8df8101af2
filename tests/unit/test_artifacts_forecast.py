"""The plan of a cold start with its estimate, and what is left while it runs, by a clock that the test turns."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slipway.artifacts import engine, forecast
from slipway.artifacts.cache import Entry
from slipway.artifacts.job import Job, Lane

DONE = Entry(Path(), {})
ON = "on two idle cores with nothing compiled yet, downloads not counted"
WORKERS: dict[Lane, int] = {"go": 1, "net": 4, "local": 2}


def job(name: str, seconds: float = 0, lane: Lane = "go", **more: Any) -> Job:
    known: dict[str, Any] = {"title": name, "way": "built", "make": lambda _results: DONE, "seconds": seconds}
    return Job(id=name, lane=lane, **(known | more))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: float) -> Callable[[Any], Entry]:
        """A maker that takes so long."""

        def make(_results: Any) -> Entry:
            self.now += seconds
            return DONE

        return make


@pytest.mark.parametrize(
    ("waiting", "running", "pace", "seconds"),
    [
        ([], [], 1, 0),
        ([job("a", 364), job("b", 61)], [], 1, 425),
        ([job("a", 100), job("b", 80, "net"), job("c", 80, "net")], [], 1, 100),
        ([job("a", 100), job("b", 800, "net")], [], 1, 200),
        ([job("b", 61)], [(job("a", 364), 100)], 1, 325),
        ([job("b", 61)], [(job("a", 364), 1000)], 1, 61),
        ([job("b", 61)], [(job("a", 364), 100)], 2, 750),
        ([job("b")], [(job("c"), 100)], 1, 0),
    ],
)  # fmt: skip
def test_what_is_left_is_the_time_of_the_busiest_lane(
    waiting: list[Job], running: list[tuple[Job, float]], pace: float, seconds: float
) -> None:
    assert forecast.left(waiting, running, WORKERS, pace) == seconds


def test_the_plan_says_what_is_done_and_how_long_it_takes() -> None:
    jobs = [
        job("kubernetes 1.37.2", 364),
        job("runc 1.5.2", 9),
        job("containerd 2.4.2", 61, found=DONE),
        job("packages", lane="net", way="downloaded"),
    ]
    assert forecast.announced(jobs, WORKERS) == [
        "to do: 3 of 4 items (2 built, 1 downloaded)",
        f"about 6 min 13 s {ON}: kubernetes 1.37.2 6 min 4 s, runc 1.5.2 9.0 s",
    ]
    assert forecast.announced(jobs[2:3], WORKERS) == []
    assert forecast.announced(jobs[3:], WORKERS) == ["to do: 1 of 1 items (1 downloaded)"]
    (_what, long) = forecast.announced([job(f"p{number}", 30) for number in range(9)], WORKERS)
    assert long.startswith("about 4 min 30 s")
    assert long.endswith("p5 30 s, 3 more")


def test_a_slow_computer_is_noticed() -> None:
    pace = forecast.Pace()
    pace.learn(job("crane", 7), 70)
    assert pace.value == 1, "too short to tell"
    pace.learn(job("downloads"), 1000)
    pace.learn(job("containerd", 61), 134)
    assert pace.value == 3


@pytest.mark.parametrize(
    ("spent", "seconds", "text"),
    [
        (0, 100, f"[{'-' * 24}] 0 %, about 100 s left"),
        (75, 25, f"[{'#' * 18}{'-' * 6}] 75 %, about 25 s left"),
        (75, 0, f"[{'#' * 24}] 100 %, about 0.0 s left"),
        (0, 0, f"[{'#' * 24}] 100 %, about 0.0 s left"),
    ],
)
def test_the_bar(spent: float, seconds: float, text: str) -> None:
    assert forecast.bar(spent, seconds) == text


def progress(jobs: list[Job], clock: Clock, lines: list[str], bars: list[str] | None = None) -> engine.Progress:
    bar = None if bars is None else bars.append
    return engine.Progress(jobs, queue.SimpleQueue(), lines.append, threading.Event(), bar=bar, clock=clock)


def test_a_run_says_its_plan_first_and_then_what_is_left() -> None:
    clock = Clock()
    lines: list[str] = []
    jobs = [job("kubernetes", 364, make=clock.taking(182)), job("istio", 200, make=clock.taking(100)), job("pause")]
    progress(jobs, clock, lines).run()
    assert lines == [
        "to do: 3 of 3 items (3 built)",
        f"about 9 min 24 s {ON}: kubernetes 6 min 4 s, istio 3 min 20 s",
        "[1/3] kubernetes built in 3 min 2 s",
        f"      [{'#' * 15}{'-' * 9}] 64 %, about 100 s left",
        "[2/3] istio built in 100 s",
        "[3/3] pause built in 0.0 s",
    ]


def test_nothing_to_do_says_nothing() -> None:
    lines: list[str] = []
    bars: list[str] = []
    progress([job("kubernetes", 364, found=DONE)], Clock(), lines, bars).run()
    assert (lines, bars) == ([], [])


def test_a_long_build_is_told_against_its_usual_time() -> None:
    clock = Clock()
    lines: list[str] = []
    told = threading.Event()

    def make(_results: Any) -> Entry:
        clock.now += 61
        assert told.wait(60)
        return DONE

    def say(line: str) -> None:
        lines.append(line)
        if "%" in line:
            told.set()

    jobs = [job("kubernetes", 364, make=make), job("istio", 200)]
    engine.Progress(jobs, queue.SimpleQueue(), say, threading.Event(), clock=clock).run()
    at = lines.index("      kubernetes: still at it after 61 s of usually 6 min 4 s")
    assert lines[at + 1] == f"      [{'#' * 2}{'-' * 22}] 10 %, about 8 min 23 s left"


def test_a_terminal_has_a_bar_in_place_of_the_lines() -> None:
    clock = Clock()
    lines: list[str] = []
    bars: list[str] = []
    jobs = [job("kubernetes", 364, make=clock.taking(364)), job("istio", 200, make=clock.taking(200))]
    progress(jobs, clock, lines, bars).run()
    assert not [line for line in lines if "%" in line]
    assert f"[{'#' * 15}{'-' * 9}] 64 %, about 3 min 20 s left" in bars[0]
    assert bars[-1] == "", "it is gone at the end"


def test_the_bar_goes_when_a_job_fails() -> None:
    def fail(_results: Any) -> Entry:
        raise ValueError

    bars: list[str] = []
    with pytest.raises(Exception, match="kubernetes: ValueError"):
        progress([job("kubernetes", 364, make=fail)], Clock(), [], bars).run()
    assert bars[-1] == ""


def test_lines_come_above_the_bar() -> None:
    written: list[str] = []
    screen = forecast.Screen(
        lambda line: written.append(f"{line}\n"), lambda text, ends: written.append(text + "\n" * ends)
    )
    screen.say("first")
    screen.bar("10 %")
    screen.bar("10 %")
    screen.say("second")
    screen.bar("x" * 200)
    screen.bar("")
    back = "\x1b[1A\x1b[2K"
    assert "".join(written) == f"first\n10 %\n{back}second\n10 %\n{back}{'x' * 79}\n{back}"
