"""The phases: what runs, in which order, how long it may take, and what it needs to have passed before.

The cheap ones come first, some of them side by side. ``up`` and ``again`` to ``kill`` share one cluster in one clean
clone; each of them is a file of tests/e2e.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / ".slipway/report"
# Each builds on what those before it converged.
SCENARIOS = (
    "artifacts",
    "mirror",
    "host",
    "containerd",
    "kubelet",
    "control_plane",
    "worker",
    "flannel",
    "tools",
    "storage",
    "metrics_server",
    "metallb",
    "istio",
    "release",
    "prove",
    "monitoring",
    "grafana",
    "kiali",
    "headlamp",
    "tracing",
)


@dataclass(frozen=True)
class Phase:
    """One line of the closing table."""

    name: str
    what: str
    command: tuple[str, ...]
    limit: int
    """Timeout in seconds: after it, the phase is stopped and has failed, however busy the machine is."""
    needs: tuple[str, ...] = ()
    """Phases without whose success this one could only fail."""
    after: tuple[str, ...] = ()
    """Phases whose leftovers this phase removes: it runs if any of them has run."""
    reports: tuple[str, ...] = ()
    """JUnit files that the command leaves in ``REPORT``; without any, the phase counts as one test."""
    skip: str = ""
    """Why the phase is not run."""
    tells: bool = False
    """Whether its last line belongs into the closing table."""
    beside: str = ""
    """The phase right before this one that it runs side by side with. At most one of a group has machines: waiting for
    them takes no processor, of which the others want one each."""
    along: int = 0
    """GB of free memory with which the phases that follow run, in their turn, while this one still does: both have
    machines, and wait for them more than they work. With less it comes last; at 0 nothing begins before it ends."""


def pytest(name: str, *arguments: str) -> tuple[str, ...]:
    """A pytest run that leaves ``<name>.xml``."""
    return (
        sys.executable,
        "-m",
        "pytest",
        f"--junit-xml={REPORT / name}.xml",
        "-o",
        f"junit_suite_name={name}",
        *arguments,
    )


def suite(
    name: str,
    what: str,
    limit: int,
    *arguments: str,
    needs: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
    beside: str = "",
) -> Phase:
    """A phase that is a pytest run."""
    return Phase(name, what, pytest(name, *arguments), limit, needs, after, (f"{name}.xml",), beside=beside)


# Measured here, judged by the phase coverage: each of the two phases runs only a part of the code.
MEASURED = ("--cov", "--cov-report=", "--cov-fail-under=0")
CONTRACTS = ("tests/unit/test_role_contracts.py", "tests/unit/test_tree_contracts.py")

SHORT = (
    Phase("lint", "ruff, mypy, yamllint, ansible-lint, shellcheck", ("tests/lint",), 1800),
    suite(
        "unit",
        "pure functions, tables",
        1800,
        "tests/unit",
        *(f"--ignore={path}" for path in CONTRACTS),
        *MEASURED,
        beside="lint",
    ),
    suite(
        "machines",
        "power cycle, kills and neighbours of machines in containers; what VirtualBox is told",
        1500,
        "tests/machines",
        beside="unit",
    ),
    suite("contracts", "roles, variables, scenarios, locks, documents", 300, *CONTRACTS),
    suite(
        "rules",
        "promtool on rules, on their tests and on queries of dashboards; commands of pages that no test types",
        900,
        "tests/rules",
    ),
    suite(
        "artifacts",
        "downloads, images and builds, with a stand-in for upstream",
        900,
        "tests/artifacts",
        *MEASURED,
        "--cov-append",
    ),
    Phase(
        "coverage",
        "how much of plugins/ these have run",
        (sys.executable, "-m", "tests.runner.covered"),
        120,
        needs=("unit", "artifacts"),
        tells=True,
    ),
    suite("up", "make up in a clean clone, from no machines", 5400, "--capture=no", "tests/e2e/test_up.py"),
    Phase(
        "molecule",
        "each role alone, twice, on live machines",
        (
            str(Path(sys.executable).parent / "molecule"),
            "test",
            *(word for name in SCENARIOS for word in ("--scenario-name", name)),
        ),
        5400,
        along=10,
        reports=tuple(f"molecule-{name}.xml" for name in SCENARIOS),
    ),
    suite(
        "again",
        "a second make up and --check change nothing",
        1200,
        "--capture=no",
        "tests/e2e/test_again.py",
        needs=("up",),
    ),
    suite(
        "cluster",
        "DNS, pods and nodes reach each other, and people reach services; a node is added to a hundred",
        1200,
        "--capture=no",
        "tests/e2e/test_cluster.py",
        "tests/e2e/test_gateway.py",
        "tests/e2e/test_scale.py",
        needs=("up",),
    ),
    suite(
        "prove",
        "a second release beside the first, both proved by requests; what is broken is named; changes lose nothing",
        1800,
        "--capture=no",
        "tests/e2e/test_access.py",
        "tests/e2e/test_prove.py",
        "tests/e2e/test_changes.py",
        needs=("up",),
    ),
    suite("down", "make down leaves nothing", 600, "--capture=no", "tests/e2e/test_down.py", after=("up",)),
    suite(
        "kill", "kill -9 half-way, then a plain make up", 1200, "--capture=no", "tests/e2e/test_kill.py", needs=("up",)
    ),
)

FAST = (
    Phase("quick-lint", "ruff, mypy, yamllint", ("tests/lint", "ruff", "format", "mypy", "yamllint"), 300),
    replace(
        suite(
            "quick",
            "pure functions, tables, contracts, without those marked slow",
            900,
            *("-q", "-m", "not slow", "--numprocesses=auto", "--dist=worksteal"),
            "tests/unit",
            beside="quick-lint",
        ),
        tells=True,
    ),
)
