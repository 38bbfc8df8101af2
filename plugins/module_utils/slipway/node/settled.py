"""Which calls of a module are still in effect on a machine. Runs on the nodes (stdlib only).

A call that left everything as wanted is noted with a mark of each file and folder that it is about. Nobody writes,
moves or re-permits a file, or puts one into a folder, without another mark: a call whose marks all hold, and whose
units need nothing and answer, would do nothing.
"""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .fetch import load_record, save_record
from .units import SHOWN, parse_show, steps

NAME = "settled.json"
RECORD = f"/var/lib/slipway/{NAME}"
# Seconds for a service to answer that runs already.
ANSWER = 2
Show = Callable[[list[str]], str]


def record_beside(artifacts: str) -> str:
    """Give the record of calls that belongs to a record of artifacts."""
    return os.path.join(os.path.dirname(artifacts), NAME)


def mark(path: str) -> list[int]:
    """Say which file lies there, how long it is, and when it and its permissions changed; empty: none does."""
    try:
        info = os.lstat(path)
    except OSError:
        return []
    return [info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]


def modified(paths: Iterable[str]) -> list[float]:
    """Give the modification times of files, in seconds."""
    # A time that is yet to come (the clock was put back) says nothing about what happened since.
    times = [os.stat(path).st_mtime for path in paths if os.path.exists(path)]
    return [moment for moment in times if moment <= time.time()]


def ask(url: str, timeout: float) -> None:
    """Ask a service of this machine; ``OSError`` if it does not answer well."""
    # No proxy is to stand between.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=timeout):
        return


def read_by(unit: Mapping[str, Any], paths: Iterable[str]) -> list[str]:
    """Give the files whose change restarts a unit."""
    reads = unit["reads"]
    return [*(path for path in paths if reads is None or path in reads), *unit["watch"]]


def note(
    call: str,
    paths: list[str],
    placed: Iterable[str] = (),
    units: Sequence[Mapping[str, Any]] = (),
    *,
    record: str = RECORD,
) -> None:
    """Note a call in the place of an earlier one about the same things; one without a name is not noted.

    ``paths`` are the files that it writes, ``placed`` those of its items, and those that it reads.
    """
    if not call:
        return
    before = load_record(record)
    watched = [path for unit in units for path in unit["watch"]]
    entry = {
        "call": call,
        "paths": paths,
        "marks": {path: mark(path) for path in sorted({*paths, *placed, *watched})},
        "units": list(units),
    }
    key = " ".join([*sorted(entry["marks"]), *(unit["name"] for unit in units)])
    if before.get(key) != entry:
        save_record(record, {**before, key: entry})


def still(record: str, show: Show) -> list[str]:
    """List the calls that are in effect. ``show`` gives what ``systemctl show`` says of units."""
    kept = [entry for entry in load_record(record).values() if _untouched(entry)]
    names = sorted({unit["name"] for entry in kept for unit in entry["units"]})
    blocks = show(names).split("\n\n") if names else []
    if len(blocks) != len(names):
        return []
    shown = {name: parse_show(block) for name, block in zip(names, blocks, strict=True)}
    return [entry["call"] for entry in kept if all(_current(unit, shown, entry["paths"]) for unit in entry["units"])]


def command(names: Iterable[str]) -> list[str]:
    """Give the command that ``still`` needs the answer of."""
    return ["systemctl", "show", "--timestamp=us+utc", f"--property={','.join(SHOWN)}", *names]


def _untouched(entry: Mapping[str, Any]) -> bool:
    return all(mark(path) == there for path, there in entry["marks"].items())


def _current(unit: Mapping[str, Any], shown: Mapping[str, Mapping[str, str]], paths: list[str]) -> bool:
    about = shown[unit["name"]]
    if about.get("NeedDaemonReload") == "yes":
        return False
    if about.get("LoadState") == "not-found":
        # What is not there does not run.
        return bool(unit["state"] == "stopped")
    if steps(unit, about, modified(read_by(unit, paths)), False):
        return False
    try:
        for url in unit["answers"]:
            ask(url, ANSWER)
    except OSError:
        return False
    return True
