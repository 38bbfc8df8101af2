"""The cluster that the end-to-end tests share. Its clone outlives a run of pytest: tests/run comes phase by phase."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from testinfra.host import Host

from tests.support.checkout import Checkout, Standing
from tests.support.kube import Kube


@pytest.fixture(scope="session")
def checkout() -> Checkout:
    """A clone of this checkout with a cluster of another name, or the cluster that SLIPWAY_TEST_CLUSTER names."""
    standing = os.environ.get("SLIPWAY_TEST_CLUSTER")
    return Standing(Path(standing).resolve()) if standing else Checkout("e2e")


@pytest.fixture(scope="session")
def kube(checkout: Checkout) -> Kube:
    """kubectl on that cluster."""
    return checkout.kube


@pytest.fixture(scope="session")
def page(checkout: Checkout) -> dict[str, Any]:
    """That cluster's settings."""
    settings: dict[str, Any] = yaml.safe_load(checkout.page.read_text())
    return settings


@pytest.fixture
def controller(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The first controller, over the clone's own inventory."""
    # testinfra asks ansible-inventory, and the clone's own answers for the clone.
    monkeypatch.setenv("PATH", f"{checkout.path / '.venv/bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ANSIBLE_CONFIG", str(checkout.path / "ansible.cfg"))
    monkeypatch.chdir(checkout.path)
    inventory: Path = checkout.path / "inventory"
    host: Host = testinfra.get_host(f"ansible://ctrl?ansible_inventory={inventory}&sudo=true")
    return host
