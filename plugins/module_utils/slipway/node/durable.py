"""Files that are whole on the disk before anything relies on them.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import os


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
