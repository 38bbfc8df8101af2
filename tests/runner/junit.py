"""Reads and writes JUnit files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Count:
    """Tests by outcome, and what is to be told about those that did not pass."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def add(self, other: Count) -> None:
        """Take in the tests of ``other``."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures
        self.reasons += other.reasons


def read(path: Path) -> Count:
    """Count the tests of a JUnit file; a file that is missing or empty counts as a failure: its tests did not run."""
    if not path.is_file():
        return Count(failed=1, failures=[f"{path.stem}: no test has run"])
    count = Count()
    for case in ET.parse(path).iter("testcase"):  # noqa: S314 - written by our own pytest a moment ago
        name = f"{path.stem}: {case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            count.failed += 1
            count.failures.append(name)
        elif skipped is not None:
            count.skipped += 1
            count.reasons.append(f"{name}: {skipped.get('message', 'no reason given')}")
        else:
            count.passed += 1
    if not count.passed + count.failed + count.skipped:
        return Count(failed=1, failures=[f"{path.stem}: no test has run"])
    return count


def write(path: Path, name: str, seconds: float, failure: str = "") -> None:
    """Write a JUnit file with one test, for a command that writes none."""
    suite = ET.Element("testsuite", name=name, tests="1", failures=str(int(bool(failure))), time=f"{seconds:.3f}")
    case = ET.SubElement(suite, "testcase", classname=name, name=name, time=f"{seconds:.3f}")
    if failure:
        ET.SubElement(case, "failure", message=failure.partition("\n")[0]).text = failure
    ET.ElementTree(suite).write(path, encoding="unicode", xml_declaration=True)
