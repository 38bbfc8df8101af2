"""Texts that one step makes of others, kept in the user's cache under a sum of all that decides them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from .artifacts.cache import default_root

# Of each kind, those that were used last.
KEPT = 8


def derived(kind: str, made_of: Iterable[bytes], make: Callable[[], str], *, root: Path | None = None) -> Path:
    """Give the file of what ``make`` gives. ``made_of``: everything that decides it, the program's own text too.

    ``kind`` is a name for the folder. What ``make`` raises goes through, and nothing is kept then.
    """
    total = hashlib.sha256()
    for part in made_of:
        total.update(hashlib.sha256(part).digest())
    folder = (root or default_root()) / "derived" / kind
    path = folder / f"{total.hexdigest()}.json"
    try:
        os.utime(path)
    except FileNotFoundError:
        text = make()
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f".{path.name}-{os.getpid()}"
        # Settings may hold what is not for everybody.
        new.touch(mode=0o600)
        new.write_text(text, encoding="utf-8")
        new.replace(path)
        _forget(folder)
    return path


def which(program: Path) -> bytes:
    """Tell one program from another without reading it whole; of one that is not there, only its name."""
    try:
        about = program.stat()
    except OSError:
        return str(program).encode()
    return f"{program} {about.st_ino} {about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}".encode()


def _forget(folder: Path) -> None:
    """Remove the oldest ones, and what a run that was cut off has left."""
    found = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[KEPT:]:
        path.unlink(missing_ok=True)
