"""Commands that documents tell people to type."""

from __future__ import annotations

import re
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```", re.M | re.S)


def commands(document: Path, heading: str) -> list[str]:
    """The lines to type, in order, out of the first console block below ``heading``."""
    below = document.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    block = BLOCK.search(below)
    assert block, f"{document.name} has no console block below {heading}"
    return [line.removeprefix("$ ") for line in block[1].splitlines() if line.startswith("$ ")]
