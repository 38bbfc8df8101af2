"""``python -m tests.runner``: phases in order, a line that shows where it is, a log for each, a table at the end."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from slipway.lab.surroundings import memory

from . import junit
from .long import LONG
from .phases import FAST, REPORT, ROOT, SHORT, Phase

LOGS = ROOT / ".slipway/log/test"
PASSED = REPORT / "passed.json"
SUMMARY = REPORT / "summary.txt"
# What long runs have found, for readers of the repository.
RECORD = ROOT / "docs/test-long.md"
LINE = re.compile(r"^\| (?P<name>[a-z-]+) \|.*$", re.M)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\]8;;[^\x1b]*\x1b\\|\r")
# Seconds between lines where nothing can be drawn over, so that CI sees life.
HEARTBEAT = 60


@dataclass
class Outcome:
    """What became of a phase."""

    phase: Phase
    result: str
    seconds: float = 0.0
    count: junit.Count = field(default_factory=junit.Count)
    why: str = ""


class Screen:
    """One line that says where the run is: drawn over on a terminal, repeated now and then elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.spoken = 0.0

    def show(self, *texts: str) -> None:
        """Show what is under way; what runs side by side shares the line."""
        width = shutil.get_terminal_size().columns - 1 if self.live else 160
        line = " | ".join(text[: (width - 3 * (len(texts) - 1)) // len(texts)] for text in texts)
        if self.live:
            print(f"\r\x1b[2K{line}", end="", flush=True)
        elif time.monotonic() - self.spoken >= HEARTBEAT:
            self.spoken = time.monotonic()
            print(line, flush=True)

    def say(self, text: str) -> None:
        print(f"\r\x1b[2K{text}" if self.live else text, flush=True)
        self.spoken = time.monotonic()


def log(name: str) -> Path:
    """Where everything stands that a phase says."""
    return LOGS / f"{name}.log"


def last_line(path: Path) -> str:
    """What the phase said last."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4000))
        lines = ESCAPES.sub("", file.read().decode(errors="replace")).splitlines()
    return next((line.strip().rstrip("* ") for line in reversed(lines) if line.strip(" *")), "")


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End phases and all they started: first politely, so that they can clean up, and all of them at once."""
    for sign, seconds in ((signal.SIGINT, 60), (signal.SIGKILL, 10)):
        left = [process for process in processes if process.poll() is None]
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
        until = time.monotonic() + seconds
        for process in left:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))


def begin(phase: Phase, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the command of ``phase`` in a process group of its own; what it says goes to ``output``."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # molecule keeps its notes in the home directory, under a name that two clones may share.
        "MOLECULE_EPHEMERAL_DIRECTORY": str(ROOT / ".slipway/test/molecule"),
        "PYTHONUNBUFFERED": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "NO_COLOR": "1",
    }
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Begun in the background of a script; what a phase starts would inherit that, and could not be interrupted.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        phase.command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@dataclass(frozen=True)
class Started:
    """A phase that is under way."""

    place: str
    phase: Phase
    process: subprocess.Popen[bytes]
    began: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


class Running:
    """The phases that are under way, each with its own log, clock and limit."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.started: list[Started] = []

    def start(self, place: str, phase: Phase) -> None:
        """Start ``phase``; ``place`` says where in the order it stands."""
        for name in phase.reports:
            (REPORT / name).unlink(missing_ok=True)
        self.screen.say(f"{place} {phase.name}: {phase.what}")
        with log(phase.name).open("wb") as output:
            self.started.append(Started(place, phase, begin(phase, output), time.monotonic()))

    def wait(self, names: Collection[str]) -> Generator[Outcome]:
        """Give what became of each phase as it ends or is over its limit, until none of ``names`` is under way."""
        while any(one.phase.name in names for one in self.started):
            for one in list(self.started):
                status = one.process.poll()
                late = status is None and one.seconds > one.phase.limit
                if late:
                    stop([one.process])
                if late or status is not None:
                    self.started.remove(one)
                    yield ended(one.phase, one.seconds, -1 if late else status or 0)
            if self.started:
                self.screen.show(
                    *(
                        f"{one.place} {one.phase.name} {one.seconds:4.0f} s  {last_line(log(one.phase.name))}"
                        for one in self.started
                    )
                )
                time.sleep(0.5)

    def close(self) -> None:
        """End what still runs."""
        stop([one.process for one in self.started])


def ended(phase: Phase, seconds: float, status: int) -> Outcome:
    """What became of a phase that ended with ``status``; -1 stands for one that was over its limit."""
    failure = ""
    if status:
        failure = f"stopped: over its limit of {phase.limit} s" if status == -1 else f"ended with {status}"
    outcome = Outcome(phase, "failed" if status else "passed", seconds, count(phase, seconds, failure), failure)
    if outcome.count.failed:
        outcome.result = "failed"
    if phase.tells and status != -1:
        outcome.why = last_line(log(phase.name))
    return outcome


def count(phase: Phase, seconds: float, failure: str) -> junit.Count:
    """Count the tests of a phase that has run."""
    if not phase.reports:
        junit.write(REPORT / f"{phase.name}.xml", phase.name, seconds, failure)
        return junit.Count(
            passed=int(not failure), failed=int(bool(failure)), failures=[f"{phase.name}: {failure}"] if failure else []
        )
    found = junit.Count()
    for name in phase.reports:
        found.add(junit.read(REPORT / name))
    if failure and not found.failed:
        found.add(junit.Count(failed=1, failures=[f"{phase.name}: {failure}"]))
    return found


def git(*arguments: str) -> bytes:
    """What git says of this checkout, without the record of long runs: a run writes it, and would be another tree."""
    without = ("--", ".", f":(exclude){RECORD.relative_to(ROOT)}")
    return subprocess.run(["git", *arguments, *without], cwd=ROOT, check=True, capture_output=True).stdout


def tree() -> str:
    """A name for exactly this state of the tree: two equal trees have the same."""
    parts = [git("ls-files", "--stage"), git("diff"), git("ls-files", "--others", "--exclude-standard")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def commit() -> str:
    """The commit that is checked out, marked when the tree is not what it says."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)
    return head.stdout.strip() + ("-dirty" if git("status", "--porcelain") else "")


def groups(phases: Sequence[Phase]) -> list[list[tuple[str, Phase]]]:
    """The phases in order, each with its place, those that run side by side together."""
    found: list[list[tuple[str, Phase]]] = []
    for number, phase in enumerate(phases, 1):
        if not (found and phase.beside in [other.name for _, other in found[-1]]):
            found.append([])
        found[-1].append((f"[{number}/{len(phases)}]", phase))
    return found


def left_out(phase: Phase, chosen: set[str], done: Mapping[str, str], passed: Mapping[str, float]) -> Outcome | None:
    """What becomes of ``phase`` without running it, if it is not to run."""
    missing = [name for name in phase.needs if name in chosen and done.get(name) not in ("passed", "passed before")]
    if phase.after and not any(done.get(name, "skipped") != "skipped" for name in phase.after):
        return Outcome(phase, "skipped", why=f"{', '.join(phase.after)} has not run", count=junit.Count(skipped=1))
    if phase.skip:
        reason = f"{phase.name}: {phase.skip}"
        return Outcome(phase, "skipped", why=phase.skip, count=junit.Count(skipped=1, reasons=[reason]))
    if missing:
        return Outcome(phase, "skipped", why=f"needs {', '.join(missing)}", count=junit.Count(skipped=1))
    if phase.name in passed and not phase.after:
        return Outcome(phase, "passed before", passed[phase.name], why="on this very tree (--resume)")
    return None


def in_turn(phases: Sequence[Phase], screen: Screen) -> list[Phase]:
    """The phases in order; one that others would run along with comes last where there is no memory for that."""
    free = (memory()[1] or 0) * 2**20 / 1e9
    short = [phase for phase in phases[:-1] if phase.along > free]
    for phase in short:
        screen.say(f"{phase.name} comes last: beside others it needs {phase.along} GB of memory, {free:.1f} are free")
    return [*(phase for phase in phases if phase not in short), *(replace(phase, along=0) for phase in short)]


def outcomes(phases: Sequence[Phase], resume: bool, screen: Screen) -> Generator[Outcome]:
    """Run ``phases`` in order and give what became of each; of those side by side, whichever ends first comes first."""
    now = tree()
    known = json.loads(PASSED.read_text()) if resume and PASSED.is_file() else {}
    passed: dict[str, float] = known.get("phases", {}) if known.get("tree") == now else {}
    chosen = {phase.name for phase in phases}
    done: dict[str, str] = {}
    with contextlib.closing(Running(screen)) as running:
        # After the last group comes what still runs along.
        for group in [*groups(in_turn(phases, screen)), []]:
            for place, phase in group:
                if (outcome := left_out(phase, chosen, done, passed)) is None:
                    running.start(place, phase)
                else:
                    done[phase.name] = outcome.result
                    yield outcome
            for outcome in running.wait({phase.name for _, phase in group if not phase.along} if group else chosen):
                done[outcome.phase.name] = outcome.result
                if outcome.result == "passed":
                    passed[outcome.phase.name] = outcome.seconds
                    PASSED.write_text(json.dumps({"tree": now, "phases": passed}, indent=1))
                yield outcome


def table(rows: Sequence[Outcome], seconds: float) -> list[str]:
    """The closing table, and every failure and skip by name."""
    lines = ["", f"{'phase':<12}{'result':<15}{'seconds':>8}{'passed':>8}{'failed':>8}{'skipped':>8}  why"]
    for row in rows:
        numbers = f"{row.count.passed:>8}{row.count.failed:>8}{row.count.skipped:>8}"
        lines.append(f"{row.phase.name:<12}{row.result:<15}{row.seconds:>8.0f}{numbers}  {row.why}".rstrip())
    lines.append(f"{'all':<27}{seconds:>8.0f}")
    for row in rows:
        lines += [f"failed   {name}" for name in row.count.failures]
        if row.result == "failed":
            lines.append(f"         see {os.path.relpath(log(row.phase.name), ROOT)}")
    lines += [f"skipped  {reason}" for row in rows for reason in row.count.reasons]
    return lines


def record(rows: Sequence[Outcome], before: str) -> str:
    """The document that says what came of each phase when it last ran, after a run; ``before`` is what it said.

    A whole run takes hours, and phases can be run one by one: so each has its own line, with the commit that it ran on.
    """
    lines = {match["name"]: match[0] for match in LINE.finditer(before)}
    when = f"{time.strftime('%Y-%m-%d', time.gmtime())} | `{commit()}`"
    for row in rows:
        if row.result in ("passed", "failed"):
            counts = f"{row.count.passed} | {row.count.failed} | {row.count.skipped}"
            lines[row.phase.name] = (
                f"| {row.phase.name} | {row.phase.what} | {row.result} | {counts} | {row.seconds:.0f} | {when} |"
            )
    system = os.uname()
    return "\n".join(
        [
            "# The last long test run",
            "",
            "The result of each phase of `make test-long`, when it last ran, and on which commit. A run writes only",
            "the lines of the phases that it runs (`tests/run --long --only kills,bench` runs two).",
            f"Machine of the last run: {os.cpu_count()} CPUs, {system.sysname} {system.release.partition('-')[0]}.",
            "",
            "| Phase | What | Result | Passed | Failed | Skipped | Seconds | Date | Commit |",
            "|---|---|---|---|---|---|---|---|---|",
            *(lines[phase.name] for phase in (*SHORT, *LONG) if phase.name in lines),
            "",
        ]
    )


def choose(arguments: argparse.Namespace) -> tuple[Phase, ...]:
    """The phases that were asked for."""
    phases = FAST if arguments.fast else LONG if arguments.long else SHORT
    if not arguments.only:
        return phases
    names = arguments.only.split(",")
    known = {phase.name: phase for phase in (*SHORT, *LONG)}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"tests/run: no phase {', '.join(unknown)}; there are {', '.join(known)}")
    # Who asks for a phase by its name gets it.
    return tuple(replace(phase, skip="") for name, phase in known.items() if name in names)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/run", description="Run the tests, phase by phase.")
    parser.add_argument("--long", action="store_true", help="what takes longer, in place of these")
    parser.add_argument("--fast", action="store_true", help="what needs no machine and less than a minute")
    parser.add_argument("--only", metavar="PHASE,…", help="only these phases")
    parser.add_argument("--resume", action="store_true", help="leave out what has passed on this very tree")
    parser.add_argument("--list", action="store_true", help="name the phases")
    arguments = parser.parse_args()
    phases = choose(arguments)
    if arguments.list:
        for phase in phases:
            print(f"{phase.name:<12}at most {phase.limit:>5} s  {phase.what}")
        return 0
    # Whoever ends a run in the background means all of it; a shell starts one with Ctrl-C ignored.
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, signal.default_int_handler)
    LOGS.mkdir(parents=True, exist_ok=True)
    REPORT.mkdir(parents=True, exist_ok=True)
    screen = Screen()
    rows: list[Outcome] = []
    began = time.monotonic()
    interrupted = False
    try:
        with contextlib.closing(outcomes(phases, arguments.resume, screen)) as run:
            for outcome in run:
                rows.append(outcome)
                if arguments.long:
                    # At once: what comes later may be cut off.
                    RECORD.write_text(record([outcome], RECORD.read_text() if RECORD.is_file() else ""))
                why = f": {outcome.why}" if outcome.why else ""
                screen.say(f"      {outcome.phase.name} {outcome.result} in {outcome.seconds:.0f} s{why}")
    except KeyboardInterrupt:
        interrupted = True
    order = [phase.name for phase in phases]
    rows.sort(key=lambda row: order.index(row.phase.name))
    total = junit.Count()
    for row in rows:
        total.add(row.count)
    if interrupted:
        total.add(junit.Count(failed=1, failures=["interrupted"]))
    closing = f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped"
    lines = table(rows, time.monotonic() - began)
    for line in [*lines, closing]:
        screen.say(line)
    SUMMARY.write_text(f"{closing}\n")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
