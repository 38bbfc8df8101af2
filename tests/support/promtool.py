"""promtool for tests: the one that a run has made, or one that is made now, as a run would make it."""

from __future__ import annotations

from pathlib import Path

from . import program

NAME = "promtool"


def have(folder: Path) -> Path:
    """promtool of the catalog's version; see ``program.have``."""
    return program.have(NAME, folder)
