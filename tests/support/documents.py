"""Commands that documents tell people to type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```", re.M | re.S)


def commands(document: Path, heading: str) -> list[str]:
    """What to type, in order, out of the first console block below ``heading``."""
    below = document.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    block = BLOCK.search(below)
    assert block, f"{document.name} has no console block below {heading}"
    return list(_typed(block[1]))


def every_command(document: Path) -> list[str]:
    """What to type out of all console blocks of a document, in order."""
    return [each for block in BLOCK.findall(document.read_text(encoding="utf-8")) for each in _typed(block)]


def _typed(block: str) -> Iterator[str]:
    """What stands behind prompts, with the text that it is given (``<<END``), and without comments and answers."""
    lines = iter(block.splitlines())
    for line in lines:
        if not line.startswith("$ "):
            continue
        command = re.sub(r"\s+# .*", "", line.removeprefix("$ "))
        if given := re.search(r"<<'?(\w+)'?$", command):
            for more in lines:
                command += f"\n{more}"
                if more == given[1]:
                    break
        yield command
