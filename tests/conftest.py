"""For all tests: of a failed one that has machines, what they can tell is kept."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.support import scene

# Files of tests that try pages at random, with a seed.
FUZZ = "_broken.py"

# Folders whose tests have machines.
LIVE = {"backup", "cis", "e2e", "faults", "machines", "molecule", "nodes", "releases", "transitions", "upgrade"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say with which seed pages were tried, that the same ones can be tried again."""
    ran = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    if any(FUZZ in report.nodeid for report in ran):
        from tests.support import fuzz

        terminalreporter.write_line(f"pages at random: {fuzz.VARIABLE}={fuzz.SEED} tries the same ones again")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep it while it is there: fixtures take their machines away right after this."""
    report = yield
    if report.failed and LIVE & set(item.path.relative_to(item.config.rootpath).parts):
        kept = scene.keep(item.nodeid)
        report.sections += [("kept for you to look at", str(folder)) for folder in kept]
    return report
