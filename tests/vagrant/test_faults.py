"""Virtual machines of libvirt are lost while a cluster is made of them: the run says which, the next one ends the work.

All is made once, from no machines: each run goes on where the one before was ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time

import pytest
from slipway.lab import libvirt

from tests.support.kube import eventually, ready

from .conftest import NAMES, UP, VERB, Lab, answering, virsh

# Play of site.yml, the machine that loses its power in it, and seconds from the play's start: in the middle of a long
# step of it, as an emulated machine takes them.
KILLS = [("Nodes", "node-1", 30.0), ("Control plane", "ctrl", 60.0), ("Workers", "node-1", 20.0)]
# Seconds until a machine that says nothing any more is given up, and what the rest of the phase may take besides.
GIVEN_UP = 180 + 1500
# Fills the root of a machine to the last block, in files that take no time to write.
FILL = (
    "n=0; for size in 10G 1G 100M 10M 1M 64K 4K; do "
    "while fallocate -l $size /filler-$n 2> /dev/null; do n=$((n + 1)); done; rm -f /filler-$n; done"
)


def test_a_box_that_was_copied_in_part_is_copied_again(lab: Lab) -> None:
    """Vagrant is killed while it copies the box for libvirt; afterwards it would take what is there for all of it."""
    lab.checkout.make("box").expect()
    # Those that nobody uses, of earlier runs.
    for copy in libvirt.unused_copies():
        libvirt.remove_copy(copy)

    def on_line(line: str, process: subprocess.Popen[str]) -> None:
        if "Uploading base box image" in line:
            os.killpg(process.pid, signal.SIGKILL)

    killed = lab.checkout.watch(("vagrant", "up", "--no-provision"), timeout=VERB, on_line=on_line)
    assert killed.status == -signal.SIGKILL
    assert len(libvirt.unused_copies()) == 1
    done = lab.vagrant("up", "--no-provision", timeout=UP).expect()
    print(f"vagrant up --no-provision: {done.seconds:.0f} s")
    assert "was copied in part" in done.output
    assert lab.states() == dict.fromkeys(NAMES, "running")


@pytest.mark.parametrize(("play", "machine", "after"), KILLS, ids=str)
def test_a_machine_that_loses_its_power_is_named(lab: Lab, play: str, machine: str, after: float) -> None:
    """The run ends by itself, soon; ``vagrant up`` starts the machine again, and gets as far as the next loss."""
    begun: list[float] = []

    def on_line(line: str, _process: subprocess.Popen[str]) -> None:
        if line.startswith(f"PLAY [{play}]") and not begun:
            begun.append(time.monotonic())
            threading.Timer(after, virsh, ["destroy", lab.domain(machine)]).start()

    run = lab.checkout.watch(("vagrant", "up"), timeout=UP, on_line=on_line)
    assert begun, f"no {play} in:\n{run.output[-2000:]}"
    lasted = time.monotonic() - begun[0]
    print(f"{machine} lost in {play}: the run ended {lasted:.0f} s after the play began")
    assert run.status != 0
    assert lasted < GIVEN_UP
    failed = [line for line in run.output.splitlines() if line.startswith("FAILED on")]
    assert any(f"FAILED on {machine}, " in line for line in failed), failed
    assert lab.states()[machine] == "shutoff"


def test_vagrant_up_ends_it_all(lab: Lab) -> None:
    done = lab.vagrant("up", timeout=UP).expect()
    print(f"vagrant up after the last loss: {done.seconds:.0f} s")
    assert done.total("failed") == 0
    nodes = {node["metadata"]["name"]: ready(node) for node in lab.checkout.kube.nodes()}
    assert nodes == {"ctrl": True, "node-1": True}
    lab.well()
    lab.answers()


def test_after_a_reboot_of_the_computer_the_machines_are_started_again(lab: Lab) -> None:
    """All that runs is gone; what is defined is there: machines, their disks, and networks that nobody has started."""
    for name in NAMES:
        virsh("destroy", lab.domain(name))
    virsh("net-destroy", lab.name)
    if not virsh("list", "--name"):
        # Vagrant's own, which machines of others would miss.
        virsh("net-destroy", "vagrant-libvirt")
    for name in ("libvirtd", "virtlogd"):
        os.kill(int((lab.checkout.state / f"{name}.pid").read_text()), signal.SIGTERM)
    eventually(lambda: not answering(), seconds=60, what="libvirt has ended")
    refused = lab.vagrant("up", "--no-provision")
    assert refused.status != 0
    assert "[libvirt-silent]" in refused.output
    assert "SLIPWAY_PROVIDER=libvirt make setup" in refused.output
    lab.checkout.make("setup").expect()
    assert set(lab.states().values()) == {"shutoff"}
    lab.vagrant("up", "--no-provision", timeout=UP).expect()
    print(f"well again: {lab.well():.0f} s")
    lab.answers()


def test_a_full_disk_of_a_machine_is_named(lab: Lab) -> None:
    # Something that a run has to write again.
    lab.vagrant("ssh", "node-1", "-c", f"sudo rm /opt/cni/bin/flannel; sudo sh -c '{FILL}'; df /").expect()
    try:
        full = lab.vagrant("provision", timeout=UP)
        assert full.status != 0
        assert "a disk of node-1 is full" in full.output
    finally:
        lab.vagrant("ssh", "node-1", "-c", "sudo sh -c 'rm -f /filler-*'").expect()
    done = lab.vagrant("provision", timeout=UP).expect()
    assert done.total("failed") == 0
    print(f"well again: {lab.well():.0f} s")
