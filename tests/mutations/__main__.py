"""``python -m tests.mutations [role …]``: put each defect into a clean clone, run its scenario, and see it turn red.

Ends with 1 when a defect was not noticed, or was noticed by something else than it should be.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.runner import junit
from tests.support.checkout import Checkout
from tests.support.lab import ROOT

DEFECTS = Path(__file__).with_name("defects.yml")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# `istio ➜ verify: Executed: Failed`, or in brackets, as molecule was told to print.
STEP = re.compile(r"(?P<scenario>\w+) (?:>|➜) (?P<step>\w+)\]?:? Executed: Failed")
REPORT = ROOT / ".slipway/report/mutations.xml"
SECONDS = 1200


@dataclass(frozen=True)
class Defect:
    """A change for the worse. ``was`` is text of ``file``, a path from the checkout, that becomes ``now``."""

    role: str
    what: str
    file: str
    was: str
    now: str
    noticed_by: str


def read(path: Path = DEFECTS) -> list[Defect]:
    """The defects of a list, in its order."""
    return [
        Defect(entry["role"], entry["defect"], entry["file"], entry["was"], entry["is"], entry["noticed_by"])
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]


def spoil(text: str, defect: Defect) -> str:
    """``text`` of the defect's file with the defect in it; ``ValueError`` when its place is not there exactly once."""
    if text.count(defect.was) != 1:
        raise ValueError(
            f"{defect.file} has {defect.was!r} {text.count(defect.was)} times; {DEFECTS.name} is out of date"
        )
    return text.replace(defect.was, defect.now)


def noticed(checkout: Checkout, defect: Defect) -> list[str]:
    """Run the scenario of the defect's role with the defect in it: the tests, or the step, that failed."""
    file = checkout.path / defect.file
    sound = file.read_text(encoding="utf-8")
    report = checkout.path / f".slipway/report/molecule-{defect.role}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    file.write_text(spoil(sound, defect), encoding="utf-8")
    try:
        run = checkout.run(
            ".venv/bin/molecule",
            "test",
            "--scenario-name",
            defect.role,
            timeout=SECONDS,
            PATH=f"{checkout.path / '.venv/bin'}{os.pathsep}{checkout.environment['PATH']}",
            MOLECULE_EPHEMERAL_DIRECTORY=str(checkout.state / "test/molecule"),
        )
    finally:
        file.write_text(sound, encoding="utf-8")
    if run.status == 0:
        return []
    if report.is_file() and junit.read(report).failed:
        return [re.sub(r"^.*: (\w+).*$", r"\1", name) for name in junit.read(report).failures]
    return failed_steps(run.output) or ["a step that molecule did not name"]


def failed_steps(output: str) -> list[str]:
    """The steps that molecule says have failed, each once."""
    return list(dict.fromkeys(match["step"] for match in STEP.finditer(COLOUR.sub("", output))))


def main(roles: list[str]) -> int:
    defects = [defect for defect in read() if not roles or defect.role in roles]
    if unknown := sorted(set(roles) - {defect.role for defect in read()}):
        print(f"no defect for {', '.join(unknown)} in {DEFECTS.relative_to(ROOT)}", file=sys.stderr)
        return 2
    checkout = Checkout("mutate")
    lines: list[str] = []
    missed = 0
    try:
        checkout.fresh()
        checkout.make("setup-dev").expect()
        for defect in defects:
            found = noticed(checkout, defect)
            right = defect.noticed_by in found
            missed += not right
            seen = ", ".join(dict.fromkeys(found)) or "nothing"
            lines.append(f"{'caught' if right else 'MISSED':<8}{defect.role:<15}{defect.what}: noticed by {seen}")
            print(lines[-1], flush=True)
    finally:
        checkout.remove()
    print("\n".join(["", *lines, f"{len(defects) - missed} of {len(defects)} defects caught"]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
