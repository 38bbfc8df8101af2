"""A virtual machine as one more worker: containers have no kernel, modules, swap, cards and boots of their own."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.page.model import Parts

from tests.support.checkout import Checkout, Run
from tests.support.hosts import Hosts, key, listed
from tests.support.kube import eventually, ready
from tests.support.lab import LabError, left_behind, rewrite_page, run
from tests.support.probe import Probes
from tests.support.vm import QEMU, Machine, build, tap

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


@pytest.fixture(scope="module")
def guest(clone: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Machines of the checkout, and a virtual one on their network, as hosts of the page."""
    if os.geteuid():
        pytest.skip("a port on a bridge needs root")
    if not shutil.which(QEMU):
        pytest.skip(f"{QEMU} is not installed: apt-get install qemu-system-x86")
    clone.make("down").expect()
    # What comes after the pod network would wait for an emulated processor, and show nothing more of the machine.
    clone.page.write_text(rewrite_page(clone.settings, {"cluster_parts": dict.fromkeys(Parts.model_fields, False)}))
    clone.playbook("playbooks/machines.yml").expect()
    page: dict[str, Any] = yaml.safe_load(clone.page.read_text())
    prefix, _, length = page["cluster_node_cidr"].partition("/")
    address = f"{prefix.rpartition('.')[0]}.120"
    secret = key(clone, "ctrl")
    public = run("ssh-keygen", "-y", "-f", str(secret)).strip()
    folder: Path = tmp_path_factory.mktemp("vm")
    box = build(folder, NAME, address, int(length), public)
    (network,) = left_behind(clone.name)["network"]
    with tap(network) as port:
        machine = Machine(box, port, address)
        try:
            print(f"SSH answers after {machine.start():.0f} s")
            with listed(clone, ROLES, [{"name": NAME, "role": "worker", "address": address}]) as hosts:
                yield Guest(hosts, machine, page, secret)
        finally:
            machine.cut()
            shutil.rmtree(folder)
            clone.make("down").expect()
            clone.page.write_text(clone.settings)


def test_it_has_what_a_virtual_machine_has(guest: Guest) -> None:
    """Else the rest would show nothing."""
    assert guest.says("swapon --noheadings --show=NAME") == "/dev/vdb"
    assert guest.says("uname -r") != platform.release()
    assert guest.says("stat --file-system --format=%T /sys/fs/cgroup") == "cgroup2fs"
    assert guest.says("ip -4 -json route show default | grep -c 10.0.2.2") == "1"
    assert guest.says("systemd-detect-virt --container || true") == "none"


def test_it_becomes_a_worker(guest: Guest) -> None:
    done = guest.site().expect()
    print(f"the cluster with it: {done.seconds:.0f} s")
    assert ready(guest.node)
    assert guest.node["status"]["nodeInfo"]["kernelVersion"] == guest.says("uname -r")
    addresses = {each["type"]: each["address"] for each in guest.node["status"]["addresses"]}
    assert addresses["InternalIP"] == guest.machine.address
    guest.works()


def test_swap_is_off_and_modules_and_time_are_its_own(guest: Guest) -> None:
    assert guest.says("swapon --noheadings") == ""
    assert guest.says("lsmod | grep -c -w -e ^vxlan -e ^br_netfilter -e ^overlay") == "3"
    assert guest.says("systemctl is-active chrony.service") == "active"
    assert guest.says("sysctl -n net.ipv4.ip_forward") == "1"


def test_a_second_run_changes_nothing(guest: Guest) -> None:
    again = guest.site().expect()
    print(f"a second run: {again.seconds:.0f} s")
    assert again.total("changed") == 0
    assert set(again.recap) == {"localhost", NAME, *ROLES}


def back(guest: Guest, boot: str) -> None:
    """Wait until the machine has rebooted, and assert that it works as before without any help."""

    def anew() -> bool:
        return guest.says("cat /proc/sys/kernel/random/boot_id") != boot

    def booted() -> bool:
        status = guest.node["status"]
        return ready(guest.node) and status["nodeInfo"]["bootID"] != boot

    guest.machine.wait()
    eventually(anew, seconds=300, what="it boots")
    eventually(booted, seconds=300, what="its node is Ready")
    guest.works()
    assert guest.says("swapon --noheadings") == ""


def test_it_comes_back_after_a_reboot(guest: Guest) -> None:
    boot = guest.says("cat /proc/sys/kernel/random/boot_id")
    guest.says("sudo systemd-run --quiet --on-active=1 systemctl reboot")
    back(guest, boot)


def test_it_comes_back_after_a_power_cut(guest: Guest) -> None:
    boot = guest.says("cat /proc/sys/kernel/random/boot_id")
    guest.machine.cut()
    guest.machine.start()
    back(guest, boot)
    assert guest.site().expect().total("changed") == 0
