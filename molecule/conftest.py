"""Fixtures of all scenarios: the lab's page, kubectl on its cluster, pods that report what they see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import pytest_runtest_makereport
from tests.support.kube import Kube
from tests.support.probe import Probes

__all__ = ["pytest_runtest_makereport"]

HERE = Path(__file__).parent


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write down that the lab has passed a scenario (see inventory/group_vars/all/lab.yml), or has not."""
    name = os.environ.get("MOLECULE_SCENARIO_NAME")
    if not name or session.config.option.collectonly:
        return
    passed = HERE / ".lab/state/passed" / name
    if exitstatus == pytest.ExitCode.OK:
        passed.parent.mkdir(exist_ok=True)
        passed.touch()
    else:
        passed.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def state() -> Path:
    """The lab's state folder."""
    return HERE / ".lab/state"


@pytest.fixture(scope="session")
def page() -> dict[str, Any]:
    """The lab's settings."""
    settings: dict[str, Any] = yaml.safe_load((HERE / "inventory/group_vars/all/cluster.yml").read_text())
    return settings


@pytest.fixture(scope="session")
def kube(state: Path) -> Kube:
    """``kube("get", "nodes")`` is ``kubectl get nodes -o json`` on the lab's cluster, read."""
    return Kube(state)


@pytest.fixture(scope="module")
def probes(kube: Kube) -> Iterator[Probes]:
    """One pod on every node that answers questions about what it sees."""
    started = Probes(kube)
    yield started
    started.stop()
