"""One step at a time on a machine: what a killed run has left at work there goes to its end first.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

FOLDER = "/run/slipway"
# Seconds between two tries.
PAUSE = 0.5


class BusyError(Exception):
    """Another step is still at work; the text says for how long it was waited for, and what to look at."""


def take(seconds: float, folder: str = "") -> int:
    """Return a descriptor that no other step of ours on this machine holds, after waiting for it.

    Programs that get it (``pass_fds``) hold it as well, also when the step that started them is killed. Raises
    BusyError.
    """
    folder = folder or FOLDER
    os.makedirs(folder, mode=0o700, exist_ok=True)
    lock = os.open(f"{folder}/work.lock", os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(lock)
                what = f"what an earlier run began on this machine is still at work after {seconds:g} s"
                raise BusyError(f"{what}; look at: ps -ef") from None
            time.sleep(PAUSE)
        else:
            return lock


@contextmanager
def taken(seconds: float) -> Iterator[int]:
    """Hold the lock of this machine meanwhile. Raises BusyError."""
    lock = take(seconds)
    try:
        yield lock
    finally:
        os.close(lock)


def run(command: Sequence[str], held: int = -1) -> tuple[int, str, str]:
    """Run a program, which holds the lock of this machine, too; give its code, and what it printed."""
    passed = (held,) if held >= 0 else ()
    done = subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=passed)
    return done.returncode, done.stdout, done.stderr
