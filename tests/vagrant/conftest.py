"""A checkout with virtual machines of libvirt for each file of tests; without KVM they are emulated, and waits long."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.lab.libvirt import SYSTEM
from slipway.page.model import Parts

from tests.support.checkout import Checkout, Run, Standing
from tests.support.kube import eventually
from tests.support.lab import rewrite_page, run
from tests.support.outside import Balanced, answers, ask, route
from tests.support.probe import Probes

# Seconds of a whole run, of a verb, and until a cluster is well again.
UP, VERB, WELL = 5400, 1800, 1200
NAMES = ("mirror-1", "ctrl", "node-1")


@dataclass
class Lab:
    """A checkout with its machines."""

    checkout: Checkout
    page: dict[str, Any]

    @property
    def name(self) -> str:
        """What begins the names of all that libvirt has of it."""
        return str(self.page["cluster_name"])

    def vagrant(self, *words: str, timeout: float = VERB) -> Run:
        """A verb of Vagrant, as a user types it."""
        return self.checkout.run("vagrant", *words, timeout=timeout)

    def states(self) -> dict[str, str]:
        """What Vagrant says of each machine."""
        rows = [line.split(",") for line in self.vagrant("status", "--machine-readable").expect().output.splitlines()]
        return {row[1]: row[3] for row in rows if len(row) > 3 and row[2] == "state"}

    def plan(self) -> dict[str, Any]:
        """What the page means in machines."""
        text = self.checkout.run(".venv/bin/python", "-m", "slipway.lab.plan").expect().output
        plan: dict[str, Any] = json.loads(text[text.index("{") :])
        return plan

    def domain(self, name: str) -> str:
        """What libvirt calls a machine."""
        return f"{self.name}-{name}"

    def well(self) -> float:
        """Seconds until ``make status`` finds nothing wrong."""
        began = time.monotonic()

        def status() -> bool:
            done = self.checkout.make("status")
            return done.status == 0

        eventually(status, seconds=WELL, what="make status finds nothing wrong")
        return time.monotonic() - began

    def boots(self) -> dict[str, str]:
        """Which boot of each machine this is."""
        return {
            name: self.vagrant("ssh", name, "-c", "cat /proc/sys/kernel/random/boot_id").expect().output.strip()[-36:]
            for name in NAMES
        }

    def answers(self) -> None:
        """Assert that a Service answers at its MetalLB address, asked from here over libvirt's own bridge."""
        balanced, probes = Balanced(self.checkout.kube), Probes(self.checkout.kube, seconds=WELL)
        try:
            node = probes.all[0].node
            balanced.make("asked", node)
            address = balanced.address("asked")
            # Nothing is sent out of this machine.
            assert "gateway" not in route(address)
            assert route(address)["dev"].startswith("virbr")
            assert answers(lambda: ask(address), seconds=300)["node"] == node
        finally:
            balanced.stop()
            probes.stop()


def virsh(*words: str) -> list[str]:
    """Lines that libvirt answers."""
    return [line.strip() for line in run("virsh", "--connect", SYSTEM, *words).splitlines() if line.strip()]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A clean clone with ``cluster_provider: libvirt``, set up; the verbs make its machines, and take them away."""
    if os.geteuid():
        pytest.skip("libvirt's images and networks are looked at as root")
    if stands := os.environ.get("SLIPWAY_TEST_CLUSTER"):
        # The machines of a checkout that was set up by hand: for single tests, without minutes of boots before them.
        there = Standing(Path(stands))
        yield Lab(there, yaml.safe_load(there.page.read_text()))
        return
    made = Checkout("libvirt")
    made.fresh()
    parts = dict.fromkeys(Parts.model_fields, False) | {"metallb": True, "storage": True, "metrics_server": True}
    values = {
        "cluster_provider": "libvirt",
        "cluster_box": "built",
        "cluster_mirror": True,
        "cluster_vagrant_folder": True,
        "cluster_workers": {"count": 1, "cpus": 2, "memory": 2048},
        "cluster_parts": parts,
        "cluster_gateway": {"address": "", "ports": [80]},
    }
    made.page.write_text(rewrite_page(made.settings, values))
    done = made.make("setup").expect()
    print(f"make setup: {done.seconds:.0f} s")
    try:
        yield Lab(made, yaml.safe_load(made.page.read_text()))
    finally:
        gone = made.run("vagrant", "destroy", "--force")
        down = made.make("down")
        made.remove()
        gone.expect()
        down.expect()


def answering() -> bool:
    """Tell whether libvirt answers."""
    return subprocess.run(["virsh", "--connect", SYSTEM, "version"], capture_output=True, check=False).returncode == 0
