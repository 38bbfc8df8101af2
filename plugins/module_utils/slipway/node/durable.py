"""Files that are whole on the disk before anything relies on them.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import os
from contextlib import suppress


def flush(path: str) -> None:
    """Wait until the file or folder at ``path`` is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(temporary: str, path: str) -> None:
    """Move a finished file into place: after a power cut there is the old one or the new one, never an empty one."""
    flush(temporary)
    os.replace(temporary, path)
    flush(os.path.dirname(path) or ".")


def write(text: str, path: str, mode: int = 0o600) -> None:
    """Write a file as a whole, with these permissions from its first byte on.

    The kubelet takes no notice of manifests whose names begin with a dot, as that of the file does until it is moved.
    """
    folder, slash, name = path.rpartition("/")
    temporary = f"{folder}{slash}.{name}.slipway"
    # Of a run that was killed.
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchmod(handle, mode)
        file.write(text)
    replace(temporary, path)
