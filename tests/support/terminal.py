"""A command at a terminal, where somebody types the answer to its question."""

from __future__ import annotations

import os
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from .checkout import Run, kill

# Opening a terminal makes it that of a session that has none yet.
SHELL = 'exec "$@" < "$0" > "$0" 2>&1'


def answered(
    command: Sequence[str],
    question: str,
    answer: str,
    *,
    folder: Path,
    environment: Mapping[str, str],
    timeout: float = 1200,
) -> Run:
    """Run a command, and type ``answer`` when it asks ``question``; what it says goes to the log as it comes."""
    print(f"$ {' '.join(command)}   # answer: {answer}", flush=True)
    began = time.monotonic()
    ours, theirs = os.openpty()
    try:
        with subprocess.Popen(
            ["sh", "-c", SHELL, os.ttyname(theirs), *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                said, typed = "", False
                while process.poll() is None:
                    assert time.monotonic() - began < timeout, f"it did not end:\n{said[-2000:]}"
                    said += _read(ours)
                    if not typed and question in said and _waits(ours):
                        os.write(ours, f"{answer}\r".encode())
                        typed = True
            except BaseException:
                kill(process)
                raise
        said += _read(ours)
    finally:
        os.close(ours)
        os.close(theirs)
    assert typed, f"it did not ask {question!r}:\n{said[-2000:]}"
    return Run(process.returncode, time.monotonic() - began, said.replace("\r", ""))


def _waits(ours: int) -> bool:
    """Tell whether each key is read at once: what is typed before may be thrown away."""
    local = int(termios.tcgetattr(ours)[3])
    if local & termios.ICANON:
        return False
    time.sleep(0.5)
    return True


def _read(ours: int) -> str:
    """Give what has been said for now, and wait a little if that is nothing."""
    found = b""
    with suppress(OSError):
        while select.select([ours], [], [], 0 if found else 0.2)[0] and (more := os.read(ours, 65536)):
            found += more
    text = found.decode(errors="replace")
    print(text, end="", flush=True)
    return text
