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
from tests.runner.phases import SCENARIOS
from tests.support.checkout import Checkout, Run
from tests.support.lab import ROOT

DEFECTS = Path(__file__).with_name("defects.yml")
# Steps of molecule that may notice a defect before its tests do.
STEPS = ("converge", "idempotence")
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


class Lab:
    """One lab for all defects: each role is spoilt before it has run there, and mended before others build on it."""

    def __init__(self, checkout: Checkout) -> None:
        self.checkout = checkout

    def molecule(self, command: str, scenario: str, *arguments: str, tests: str = "") -> Run:
        """A command of molecule; ``tests`` are those of the scenario that verify runs."""
        return self.checkout.run(
            ".venv/bin/molecule",
            command,
            *arguments,
            "--scenario-name",
            scenario,
            timeout=SECONDS,
            PATH=f"{self.checkout.path / '.venv/bin'}{os.pathsep}{self.checkout.environment['PATH']}",
            PYTEST_ADDOPTS=f"-k {tests}" if tests else "",
            MOLECULE_EPHEMERAL_DIRECTORY=str(self.checkout.state / "test/molecule"),
        )

    def noticed(self, defect: Defect) -> list[str]:
        """The tests, or the step, that fail in the scenario of the defect's role with the defect in it."""
        self.molecule("create", defect.role).expect()
        # Forced: molecule has one note of this for all scenarios.
        self.molecule("prepare", defect.role, "--force").expect()
        file = self.checkout.path / defect.file
        sound = file.read_text(encoding="utf-8")
        file.write_text(spoil(sound, defect), encoding="utf-8")
        try:
            return self.failures(defect)
        finally:
            file.write_text(sound, encoding="utf-8")
            self.mend(defect.role)

    def failures(self, defect: Defect) -> list[str]:
        """Run of the scenario what has to notice the defect: the tests that fail, or the name of the step that does.

        Every step before it has to pass. Of the tests only the one that is named runs: the others take their time, and
        whether they fail as well says nothing of it.
        """
        role = defect.role
        report = self.checkout.path / f".slipway/report/molecule-{role}.xml"
        report.parent.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)
        for step in ("converge", "idempotence") if defect.noticed_by in STEPS else ("converge", "verify"):
            if self.molecule(step, role, tests=defect.noticed_by).status:
                failed = junit.read(report).failures if report.is_file() else []
                return [re.sub(r"^.*: (\w+).*$", r"\1", name) for name in failed] or [step]
        return []

    def mend(self, role: str) -> None:
        """Put right what the defect has done, for the scenarios that build on its role; else begin with a new lab."""
        if self.molecule("converge", role).status:
            self.molecule("destroy", "default")
        else:
            passed = self.checkout.path / "molecule/.lab/state/passed" / role
            passed.parent.mkdir(exist_ok=True)
            passed.touch()


def main(roles: list[str]) -> int:
    defects = [defect for defect in read() if not roles or defect.role in roles]
    if unknown := sorted(set(roles) - {defect.role for defect in read()}):
        print(f"no defect for {', '.join(unknown)} in {DEFECTS.relative_to(ROOT)}", file=sys.stderr)
        return 2
    defects.sort(key=lambda defect: SCENARIOS.index(defect.role))
    checkout = Checkout("mutate")
    lab = Lab(checkout)
    lines: list[str] = []
    missed = 0
    try:
        checkout.fresh()
        checkout.make("setup-dev").expect()
        for defect in defects:
            found = lab.noticed(defect)
            right = defect.noticed_by in found
            missed += not right
            seen = ", ".join(dict.fromkeys(found)) or "nothing"
            lines.append(f"{'caught' if right else 'MISSED':<8}{defect.role:<15}{defect.what}: noticed by {seen}")
            print(lines[-1], flush=True)
    finally:
        lab.molecule("destroy", "default")
        checkout.remove()
    print("\n".join(["", *lines, f"{len(defects) - missed} of {len(defects)} defects caught"]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
