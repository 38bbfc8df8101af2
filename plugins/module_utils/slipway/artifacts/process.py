"""Run another program for as long as this run lives, its output in a log."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import SlipwayError

PR_SET_PDEATHSIG = 1
TAIL_LINES = 12
POLL_SECONDS = 0.2
Say = Callable[[str], None]


class CancelledError(Exception):
    """The run was stopped by another item's failure or by the user."""


class ProgramError(Exception):
    """A program failed; ``tail`` is the end of its output."""

    def __init__(self, code: int, tail: str) -> None:
        super().__init__(f"exit code {code}")
        self.code = code
        self.tail = tail


def die_with_parent() -> None:
    """Ask Linux to end this process when the one that started it is gone, even by kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have ``variables``, such as https_proxy, hold here and in what is started; an empty one takes its name away."""
    before = dict(os.environ)
    try:
        for name, value in variables.items():
            # Programs differ in which of the two spellings goes first.
            for spelling in (name.upper(), name.lower()):
                os.environ.pop(spelling, None)
            if value:
                os.environ[name] = value
        _look_for_proxies()
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        _look_for_proxies()


def _look_for_proxies() -> None:
    """Have urlopen read the environment, which it does once in a process."""
    urllib.request.install_opener(urllib.request.build_opener())


def run(
    command: Sequence[str],
    *,
    log: Path,
    stop: threading.Event,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run ``command`` and append its output to ``log``.

    Raises ProgramError when it fails, OSError ENOSPC when it failed because a disk is full, and CancelledError when
    ``stop`` is set, after ending the program and what it started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        start = output.tell()
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  only a prctl, safe next to threads
            )
        except FileNotFoundError as exc:
            raise SlipwayError("program-missing", f"{command[0]} is not installed on this machine.") from exc
        code = _wait(process, stop)
    if code:
        said = log.read_bytes()[start:].decode(errors="replace")
        if "no space left on device" in said.lower():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise ProgramError(code, "\n".join(said.rstrip().splitlines()[-TAIL_LINES:]))


def _wait(process: subprocess.Popen[bytes], stop: threading.Event) -> int:
    try:
        while True:
            try:
                return process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    raise CancelledError from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
