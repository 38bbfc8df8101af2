"""Virtual machines of libvirt through Vagrant's verbs: after each of them the cluster is well and answers from here.

The box is built, and where no kernel boots under KVM the machines are emulated: so waits are long.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.support.kube import eventually, ready

from .conftest import NAMES, UP, VERB, Lab, answering, virsh


def test_a_box_is_made(lab: Lab) -> None:
    done = lab.checkout.make("box").expect()
    file = Path(done.output.strip().splitlines()[-1])
    print(f"make box: {done.seconds:.0f} s, {file.stat().st_size >> 20} MiB")
    assert file.stat().st_size < 450 * 2**20


def test_vagrant_up_ends_with_a_cluster(lab: Lab) -> None:
    done = lab.vagrant("up", "--provider=libvirt", timeout=UP).expect()
    print(f"vagrant up: {done.seconds:.0f} s")
    assert lab.states() == dict.fromkeys(NAMES, "running")
    assert all(ready(node) for node in lab.checkout.kube.nodes())
    assert sorted(node["metadata"]["name"] for node in lab.checkout.kube.nodes()) == ["ctrl", "node-1"]
    lab.well()
    lab.answers()


def test_the_driver_is_what_was_found_out(lab: Lab) -> None:
    found = json.loads((lab.checkout.state / "libvirt.json").read_text())["driver"]
    described = "\n".join(virsh("dumpxml", f"{lab.name}-ctrl"))
    assert f"<domain type='{found}'" in described


def test_a_second_run_changes_nothing(lab: Lab) -> None:
    done = lab.vagrant("provision").expect()
    print(f"vagrant provision: {done.seconds:.0f} s")
    assert done.total("changed") == 0


def test_the_folder_is_shared(lab: Lab) -> None:
    (lab.checkout.state / "shared/from-here").write_text("here\n")
    assert "here" in lab.vagrant("ssh", "node-1", "-c", "cat /mnt/shared/from-here").expect().output
    lab.vagrant("ssh", "ctrl", "-c", "echo there > /mnt/shared/from-there").expect()
    assert (lab.checkout.state / "shared/from-there").read_text() == "there\n"


def test_the_checkout_is_at_vagrant(lab: Lab) -> None:
    assert "cluster_name" in lab.vagrant("ssh", "ctrl", "-c", "cat /vagrant/group_vars/all/cluster.yml").expect().output


def test_the_address_of_a_machine_names_the_cluster(lab: Lab) -> None:
    """As many users type it; and the plain inventory does the same."""
    address = next(machine["address"] for machine in lab.plan()["machines"] if machine["name"] == "ctrl")
    for inventory in (f"{address},", "inventory.cfg"):
        done = lab.checkout.playbook("-u", "vagrant", "-i", inventory, "finalization.yml").expect()
        assert done.total("failed") == 0


def test_up_again_starts_nothing(lab: Lab) -> None:
    before = lab.boots()
    lab.vagrant("up", "--no-provision").expect()
    assert lab.boots() == before


def test_halt_and_up_without_provisioning(lab: Lab) -> None:
    lab.vagrant("halt").expect()
    assert set(lab.states().values()) == {"shutoff"}
    lab.vagrant("up", "--no-provision").expect()
    print(f"well again: {lab.well():.0f} s")
    lab.answers()


def test_reload_of_one_machine(lab: Lab) -> None:
    before = lab.boots()
    lab.vagrant("reload", "node-1", "--no-provision").expect()
    after = lab.boots()
    assert [name for name in NAMES if before[name] != after[name]] == ["node-1"]
    print(f"well again: {lab.well():.0f} s")


def test_suspend_and_resume(lab: Lab) -> None:
    before = lab.boots()
    lab.vagrant("suspend").expect()
    assert set(lab.states().values()) == {"paused"}
    # More than a lease of etcd and of a kubelet.
    time.sleep(60)
    lab.vagrant("resume").expect()
    print(f"well again: {lab.well():.0f} s")
    assert lab.boots() == before


def test_snapshots_of_all_machines(lab: Lab) -> None:
    """They are taken and restored while machines are off: a running one with a shared folder cannot be saved."""
    kube = lab.checkout.kube
    lab.vagrant("halt").expect()
    lab.vagrant("snapshot", "save", "before").expect()
    lab.vagrant("up", "--no-provision").expect()
    lab.well()
    kube.text("create", "namespace", "after-the-snapshot")
    lab.vagrant("halt").expect()
    lab.vagrant("snapshot", "restore", "before", "--no-provision").expect()
    lab.vagrant("up", "--no-provision").expect()
    print(f"well again: {lab.well():.0f} s")
    assert "after-the-snapshot" not in kube.text("get", "namespaces", "--output=name")
    lab.vagrant("snapshot", "delete", "before").expect()


def test_a_machine_that_was_destroyed_comes_back(lab: Lab) -> None:
    lab.vagrant("destroy", "--force", "node-1").expect()
    assert lab.states()["node-1"] == "not_created"
    done = lab.vagrant("up", timeout=UP).expect()
    print(f"vagrant up with one machine gone: {done.seconds:.0f} s")
    lab.well()
    lab.answers()


def test_libvirt_itself_is_stopped_and_started(lab: Lab) -> None:
    """The machines go on; setup starts what is missing."""
    before = lab.boots()
    for name in ("libvirtd", "virtlogd"):
        os.kill(int((lab.checkout.state / f"{name}.pid").read_text()), signal.SIGTERM)
    eventually(lambda: not answering(), seconds=60, what="libvirt has ended")
    lab.checkout.make("setup").expect()
    assert lab.boots() == before
    lab.well()


def test_a_run_that_was_killed_is_finished_by_the_next(lab: Lab) -> None:
    """While the machine is made anew: its domain is there, and Vagrant has not seen it boot."""
    lab.vagrant("destroy", "--force", "node-1").expect()

    def on_line(line: str, process: subprocess.Popen[str]) -> None:
        if "Waiting for domain to get an IP address" in line:
            os.killpg(process.pid, signal.SIGKILL)

    killed = lab.checkout.watch(("vagrant", "up"), timeout=VERB, on_line=on_line)
    assert killed.status == -signal.SIGKILL
    lab.vagrant("up", timeout=UP).expect()
    lab.well()


def test_destroy_leaves_nothing(lab: Lab) -> None:
    lab.vagrant("destroy", "--force").expect()
    assert [name for name in virsh("list", "--all", "--name") if name.startswith(f"{lab.name}-")] == []
    assert lab.name not in virsh("net-list", "--all", "--name")
    left = [line for line in virsh("vol-list", "default") if line.startswith(f"{lab.name}-")]
    assert left == []
