"""A virtual machine as one more worker of a cluster whose other machines are containers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.node.architecture import AMD64, of_this_computer
from slipway.page.model import Parts

from .checkout import Checkout, Run
from .hosts import Hosts, key, listed
from .lab import LabError, left_behind, rewrite_page, run
from .probe import Probes
from .vm import KINDS, Machine, build, tap

NAME = "vm-1"
# An emulated processor takes its time: seconds of a run, and until nodes and what they serve are ready.
SLOW, SLOW_PODS = 2400, 1200
ROLES = {"ctrl": "controller", "node-1": "worker", "node-2": "mirror"}


@dataclass(frozen=True)
class Guest:
    """The virtual machine in the cluster."""

    hosts: Hosts
    machine: Machine
    page: dict[str, Any]
    secret: Path
    """The private key that opens it."""

    @property
    def node(self) -> dict[str, Any]:
        """Its node."""
        found: dict[str, Any] = self.hosts.checkout.kube("get", "node", NAME)
        return found

    def site(self) -> Run:
        """Play site.yml, with patience."""
        return self.hosts.site("-e", f"ready_timeout={SLOW_PODS}", timeout=SLOW)

    def says(self, command: str) -> str:
        """What a command prints that its user runs there."""
        options = [
            f"-o{option}" for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        ]
        # What only administrators have on their PATH is asked, too.
        told = f"PATH=$PATH:/usr/sbin:/sbin; {command}"
        try:
            return run("ssh", *options, "-i", str(self.secret), f"vagrant@{self.machine.address}", told).strip()
        except LabError as exc:
            raise AssertionError(f"{exc}") from exc

    def works(self) -> None:
        """Assert that pods on it and on the others reach each other and DNS."""
        kube = self.hosts.checkout.kube
        probes = Probes(kube, seconds=300)
        try:
            assert NAME in {probe.node for probe in probes.all}
            probes.resolve_everywhere(f"kubernetes.default.svc.{self.page['cluster_dns_domain']}")
            probes.see_each_other()
        finally:
            probes.stop()


@contextmanager
def joining(clone: Checkout, folder: Path, architecture: str = AMD64) -> Iterator[Guest]:
    """Machines of the checkout and a virtual one on their network, as hosts of the page; its disks go to ``folder``."""
    kind = KINDS[architecture]
    if os.geteuid():
        pytest.skip("a port on a bridge needs root")
    if not shutil.which(kind.qemu):
        pytest.skip(f"{kind.qemu} is not installed: apt-get install {kind.debs}")
    clone.make("down").expect()
    # What comes after the pod network would wait for an emulated processor, and show nothing more of the machine.
    clone.page.write_text(rewrite_page(clone.settings, {"cluster_parts": dict.fromkeys(Parts.model_fields, False)}))
    clone.playbook("playbooks/machines.yml").expect()
    page: dict[str, Any] = yaml.safe_load(clone.page.read_text())
    prefix, _, length = page["cluster_node_cidr"].partition("/")
    address = f"{prefix.rpartition('.')[0]}.120"
    secret = key(clone, "ctrl")
    public = run("ssh-keygen", "-y", "-f", str(secret)).strip()
    box = build(folder, NAME, address, int(length), public, architecture=architecture)
    more = {"name": NAME, "role": "worker", "address": address}
    if architecture != of_this_computer():
        more["architecture"] = architecture
    (network,) = left_behind(clone.name)["network"]
    with tap(network) as port:
        machine = Machine(box, port, address)
        try:
            print(f"SSH answers after {machine.start():.0f} s")
            with listed(clone, ROLES, [more]) as hosts:
                yield Guest(hosts, machine, page, secret)
        finally:
            machine.cut()
            shutil.rmtree(folder)
            clone.make("down").expect()
            clone.page.write_text(clone.settings)
