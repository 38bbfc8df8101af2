"""What a job is: one item, what it needs first, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .cache import Entry, digest_of, megabytes, sha256_of

FORMAT = 1  # a higher one makes every packed item anew
Lane = Literal["go", "net", "local"]
Results = Mapping[str, Entry]
Maker = Callable[[Results], Entry]


@dataclass(frozen=True)
class Job:
    """``found`` is the item when the cache has it; then nothing is made and ``needs`` is empty.

    ``seconds`` is what it usually takes, zero where nobody measured it.
    """

    id: str
    title: str
    lane: Lane
    way: str
    make: Maker
    found: Entry | None = None
    needs: tuple[Job, ...] = ()
    starting: str = ""
    seconds: float = 0.0


def upstream_key(address: str, value: str) -> str:
    return digest_of({"format": FORMAT, "upstream": address, "sum": value})


def file_facts(path: Path, version: str, source: str) -> dict[str, Any]:
    return {
        "file": path.name,
        "version": version,
        "source": source,
        "sha256": sha256_of(path),
        "size": path.stat().st_size,
    }


def duration(seconds: float) -> str:
    """``seconds`` for people."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def size_of(entry: Entry) -> str:
    size = entry.facts.get("size")
    return f", {megabytes(size)}" if size else ""
