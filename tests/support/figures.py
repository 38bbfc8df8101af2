"""Figures that tests measure: printed, and kept for ``bench/run --operator`` where that asks for them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

# A file that gets one line of JSON for each figure.
FILE = "SLIPWAY_FIGURES"


@dataclass(frozen=True)
class Figure:
    """What was measured, in which unit, and what the project promises: ``most``, None for nothing."""

    what: str
    value: float
    unit: str
    most: float | None

    @property
    def kept(self) -> bool:
        """Tell whether it is what the project promises."""
        return self.most is None or self.value <= self.most

    @property
    def text(self) -> str:
        """The value, its unit and its limit."""
        limit = "" if self.most is None else f" (at most {self.most:g})"
        return f"{self.value:.1f} {self.unit}{limit}"


def figure(what: str, value: float, unit: str = "s", *, most: float | None = None) -> None:
    """Print a figure and keep it. It is judged where the machine is quiet, by ``bench/run --operator``."""
    made = Figure(what, value, unit, most)
    print(f"{what}: {made.text}", flush=True)
    if path := os.environ.get(FILE):
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(made)) + "\n")


def read(path: Path) -> list[Figure]:
    """Give the figures of a file, in their order."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Figure(**json.loads(line)) for line in lines]
