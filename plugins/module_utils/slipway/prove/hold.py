"""Holds a stream of clients open while a run of Ansible lasts, and lets go of it when that ends, however it ends.

A program of its own, because a task's process ends with the task: ``hold.py <folder> <pid> <command…>`` with the job on
stdin. What the command says goes to ``<folder>/change.jsonl``; a file ``change.end`` in there, or the end of ``pid``,
closes the command's input, which ends it. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

LOG, END = "change.jsonl", "change.end"
PAUSE = 0.2
# Seconds that it may take to end when it is asked to: the answers that are still waited for.
GRACE = 20.0
# Longer than any stream.
MOST_SECONDS = 1000.0


def begun(pid: int) -> str:
    """Say when a process has begun, in ticks since the machine's start; empty: there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    # A zombie has ended.
    return "" if not fields or fields[0] == "Z" else fields[19]


class Copy:
    """Copies what a command says into a log, its first line with the time of this machine.

    ``epoch``: when the stream's own time began. Lines are a while on their way; the quickest one says it best.
    """

    def __init__(self, log: Path) -> None:
        self.log, self.epoch = log, float("inf")

    def carry_out(self, lines: IO[str]) -> None:
        with self.log.open("w", encoding="utf-8") as file:
            for number, line in enumerate(lines):
                file.write(self._stamped(line, first=not number))
                file.flush()

    def _stamped(self, line: str, *, first: bool) -> str:
        try:
            said = json.loads(line)
            at = said[0] + said[1] / 1000 if isinstance(said, list) else said["at"]
        except (ValueError, TypeError, KeyError, IndexError):
            return line
        self.epoch = min(self.epoch, round(time.time() - at, 3))
        return json.dumps({**said, "epoch": self.epoch}) + "\n" if first and isinstance(said, dict) else line


def hold(folder: Path, pid: int, command: Sequence[str], job: str) -> int:
    """Run ``command`` with ``job`` as its first line until it is enough; its exit code."""
    since, until = begun(pid), time.monotonic() + MOST_SECONDS
    copy = Copy(folder / LOG)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        if not (process.stdin and process.stdout and process.stderr):
            return 1
        said: list[str] = []
        errors = process.stderr
        threads = [
            threading.Thread(target=copy.carry_out, args=(process.stdout,), daemon=True),
            threading.Thread(target=lambda: said.extend(errors), daemon=True),
        ]
        for thread in threads:
            thread.start()
        with contextlib.suppress(OSError):
            process.stdin.write(job.strip() + "\n")
            process.stdin.flush()
        while process.poll() is None and not (folder / END).exists() and time.monotonic() < until:
            if not since or begun(pid) != since:
                break
            time.sleep(PAUSE)
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
        for thread in threads:
            thread.join(GRACE)
    with (folder / LOG).open("a", encoding="utf-8") as file:
        lines = [line.strip() for line in said if line.strip()]
        last = {"held": process.returncode, "error": lines[-1] if lines else ""}
        file.write(json.dumps(last | ({"epoch": copy.epoch} if copy.epoch < float("inf") else {})) + "\n")
    return process.returncode or 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(hold(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:], sys.stdin.read()))
