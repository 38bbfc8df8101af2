"""Container nodes feel like machines, survive a power cycle and a kill, and are never in anybody's way.

The tests build on each other, in this order, on one lab.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.lab import ROOT, clean, rewrite_page

from .conftest import Lab, make_lab

MACHINES = ("mirror-1", "ctrl", "node-1")


def changed(done: subprocess.CompletedProcess[str]) -> int:
    """The number of changes that a playbook reports."""
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"changed=(\d+)", done.stdout)
    assert found
    return int(found[1])


def test_they_are_made_and_a_second_run_changes_nothing(lab: Lab) -> None:
    assert changed(lab.play("machines")) > 0
    assert lab.containers("--filter=status=running") == sorted(f"{lab.name}-{name}" for name in MACHINES)
    assert changed(lab.play("machines")) == 0


@pytest.mark.parametrize("machine", MACHINES)
def test_systemd_runs_and_sudo_asks_nothing(lab: Lab, machine: str) -> None:
    assert lab.ssh(machine, "systemctl is-system-running --wait").stdout.strip() == "running"
    assert lab.ssh(machine, "sudo --non-interactive id --user").stdout.strip() == "0"


def test_each_has_an_identity_of_its_own(lab: Lab) -> None:
    for question in ("cat /etc/machine-id", "sha256sum < /etc/ssh/ssh_host_ecdsa_key.pub", "hostname"):
        answers = [lab.ssh(machine, question).stdout.strip() for machine in MACHINES]
        assert len(set(answers)) == len(MACHINES)
        assert all(answers)


def test_the_well_known_key_no_longer_opens_them(lab: Lab) -> None:
    key = lab.state / "vagrant-home/insecure_private_key"
    assert key.exists()
    assert lab.ssh("ctrl", "true", key=key).returncode == 255


def test_nothing_of_the_cluster_is_in_them(lab: Lab) -> None:
    programs = "kubeadm kubelet kubectl containerd runc helm nginx registry docker"
    found = lab.ssh("ctrl", f"command -v {programs}; ls -d /etc/kubernetes /opt/cni /etc/containerd 2>/dev/null")
    assert found.stdout == ""


def test_no_address_of_dockers_own_resolver(lab: Lab) -> None:
    assert "127.0.0.11" not in lab.ssh("ctrl", "cat /etc/resolv.conf").stdout


def test_the_page_sets_their_memory(lab: Lab) -> None:
    for machine in lab.plan()["machines"]:
        name = f"{lab.name}-{machine['name']}"
        limit = lab.run("docker", "inspect", "--format", "{{.HostConfig.Memory}}", name).stdout
        assert int(limit) == machine["memory"] * 2**20


def test_they_see_each_other(lab: Lab) -> None:
    for machine in lab.plan()["machines"]:
        assert lab.ssh("ctrl", f"ping -c 1 -W 2 {machine['address']}").returncode == 0


def test_the_mirror_has_the_bundles_to_read(lab: Lab) -> None:
    bundles = Path(lab.plan()["cache"]) / "bundles"
    seen = lab.ssh("mirror-1", "ls -A /srv/slipway/bundles").stdout.split()
    assert set(seen) == {entry.name for entry in bundles.iterdir()}
    assert lab.ssh("mirror-1", "sudo touch /srv/slipway/bundles/x").returncode != 0


def test_the_plain_inventory_names_them(lab: Lab) -> None:
    ansible = str(ROOT / ".venv/bin/ansible")
    done = lab.run(ansible, "--inventory", str(lab.state / "inventory.cfg"), "-u", "vagrant", "-m", "ping", "all")
    assert done.stdout.count("SUCCESS") == len(MACHINES)


def test_a_power_cycle_changes_nothing(lab: Lab) -> None:
    lab.ssh("ctrl", "echo 192.0.2.7 a-line-of-mine | sudo tee --append /etc/hosts")
    question = "cat /etc/hosts /etc/hostname /etc/machine-id /etc/resolv.conf; ip -brief -4 address show dev eth1"
    before = {machine: lab.ssh(machine, question).stdout for machine in MACHINES}
    assert lab.vagrant("halt").returncode == 0
    assert lab.containers("--filter=status=running") == []
    up = lab.vagrant("up", "--no-provision")
    assert up.returncode == 0, up.stderr
    after = {machine: lab.ssh(machine, question).stdout for machine in MACHINES}
    # The interface's number at the other end of the cable is Docker's.
    assert [re.sub(r"@if\d+", "", text) for text in after.values()] == [
        re.sub(r"@if\d+", "", text) for text in before.values()
    ]
    assert "a-line-of-mine" in after["ctrl"]
    for machine in MACHINES:
        assert lab.ssh(machine, "systemctl is-system-running --wait").stdout.strip() == "running"


def test_one_that_stopped_is_started_again(lab: Lab) -> None:
    lab.run("docker", "stop", "--time", "10", f"{lab.name}-node-1")
    assert changed(lab.play("machines")) > 0
    assert lab.ssh("node-1", "true").returncode == 0


@pytest.mark.parametrize("moment", ["the container is there", "Vagrant knows it"])
def test_a_kill_while_one_is_made_is_survived(lab: Lab, moment: str) -> None:
    assert lab.vagrant("destroy", "--force", "node-1").returncode == 0
    name, record = f"{lab.name}-node-1", lab.records / "machines/node-1/docker"

    def reached() -> bool:
        if moment == "the container is there":
            return name in lab.containers()
        return (record / "id").is_file() and len((record / "id").read_text()) == 64

    lab.kill_vagrant("up", "--no-provision", "node-1", when=reached)
    assert changed(lab.play("machines")) > 0
    assert lab.ssh("node-1", "systemctl is-system-running --wait").stdout.strip() == "running"
    assert lab.ssh("ctrl", "hostname").stdout.strip() == "ctrl"


def test_machines_that_vagrant_forgot_are_named_and_not_touched(lab: Lab, tmp_path: Path) -> None:
    before = lab.containers()
    shutil.move(lab.records, tmp_path / "records")
    try:
        refused = lab.vagrant("up", "--no-provision")
    finally:
        shutil.rmtree(lab.records, ignore_errors=True)
        shutil.move(tmp_path / "records", lab.records)
    assert refused.returncode != 0
    assert f"The container {lab.name}-ctrl exists already" in refused.stderr
    assert "make down" in refused.stderr
    assert lab.containers() == before


def test_a_name_that_another_cluster_has_is_refused(lab: Lab) -> None:
    other = make_lab("machines2")
    try:
        own = other.page.read_text()
        other.page.write_text(rewrite_page(own, {"cluster_name": lab.name}))
        refused = other.vagrant("up", "--no-provision")
        assert refused.returncode != 0
        assert f"The container {lab.name}-ctrl exists already" in refused.stderr
        assert str(lab.records) in refused.stderr
        assert other.left() == {}
    finally:
        clean(other.name)


def test_a_network_that_another_cluster_has_is_refused(lab: Lab) -> None:
    other = make_lab("machines2")
    try:
        cidr = lab.plan()["network"]["cidr"]
        prefix = cidr.rpartition(".")[0]
        values = {
            "cluster_node_cidr": cidr,
            "cluster_metallb_addresses": [f"{prefix}.90-{prefix}.99"],
            "cluster_gateway": {"address": f"{prefix}.92", "ports": [80]},
        }
        other.page.write_text(rewrite_page(other.page.read_text(), values))
        refused = other.vagrant("up", "--no-provision")
        assert refused.returncode != 0
        assert f"cluster_node_cidr {cidr} is taken: the Docker network {lab.name} of the cluster" in refused.stderr
        assert other.left() == {}
    finally:
        clean(other.name)


def test_the_playbooks_refuse_the_environment_of_another_lab(lab: Lab) -> None:
    command = str(ROOT / ".venv/bin/ansible-playbook")
    refused = lab.run(command, "--inventory=inventory", "playbooks/down.yml", "--check")
    assert refused.returncode != 0
    assert "is another lab's: the inventory of this run has" in " ".join(refused.stderr.split())


def test_destroying_them_leaves_nothing(lab: Lab) -> None:
    assert lab.vagrant("destroy", "--force").returncode == 0
    assert lab.left() == {}
    assert not (lab.state / "inventory.cfg").exists()


def test_down_takes_away_what_vagrant_forgot(lab: Lab) -> None:
    assert changed(lab.play("machines")) > 0
    (lab.state / "kubeconfig").write_text("to be removed")
    shutil.rmtree(lab.records)
    assert changed(lab.play("down")) > 0
    assert lab.left() == {}
    assert not (lab.state / "kubeconfig").exists()
    assert changed(lab.play("down")) == 0


def test_a_volume_of_a_machine_that_is_gone_is_not_used_again(lab: Lab) -> None:
    plan = lab.plan()
    labels = [f"--label=io.slipway.cluster={lab.name}", f"--label=io.slipway.vagrant={plan['vagrant']}"]
    lab.run("docker", "volume", "create", *labels, f"{lab.name}-ctrl-var")
    done = lab.run(str(ROOT / ".venv/bin/python"), "-m", "slipway.lab.provider", "prepare", stdin=json.dumps(plan))
    assert done.returncode == 0, done.stderr
    assert f"removing the volume {lab.name}-ctrl-var" in done.stderr
    assert "volume" not in lab.left()
