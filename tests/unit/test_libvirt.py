"""Whether machines of libvirt run on the processor or are emulated: a kernel is booted, and looks do not count."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from pathlib import Path

import pytest
from slipway.lab import libvirt
from slipway.lab.libvirt import EMULATED, KVM
from slipway.paths import ROOT

from tests.support.errors import tells
from tests.support.provider import make_plan

PANIC = "echo '[1.0] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)'"


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A computer with /dev/kvm, a kernel of its own and a QEMU that does what ``qemu`` of a test says."""
    (tmp_path / "kvm").touch()
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-6.1").touch()
    monkeypatch.setattr(libvirt, "DEVICE", tmp_path / "kvm")
    monkeypatch.setattr(libvirt, "KERNELS", tmp_path / "boot")
    monkeypatch.setattr(libvirt, "BOOT_SECONDS", 0.5)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()
    return tmp_path


def qemu(computer: Path, does: str) -> None:
    program = computer / "bin" / libvirt.QEMU
    program.write_text(f'#!/bin/sh\necho "$@" > {computer}/asked\n{does}\n')
    program.chmod(0o755)


def test_a_kernel_that_misses_its_disk_has_booted(computer: Path) -> None:
    qemu(computer, PANIC)
    assert libvirt.driver(computer / "state", lambda _: None) == KVM
    asked = (computer / "asked").read_text()
    assert "-accel kvm" in asked
    assert f"-kernel {computer}/boot/vmlinuz-6.1 " in asked


@pytest.mark.parametrize("does", ["exit 1", "echo 'Linux version 6.1'; exec sleep 5", "true"])
def test_what_gets_stuck_or_ends_before_that_means_emulation(computer: Path, does: str) -> None:
    qemu(computer, does)
    said: list[str] = []
    assert libvirt.driver(computer / "state", said.append) == EMULATED
    (line,) = said
    assert "vmlinuz-6.1 does not boot under it" in line


def test_what_a_kernel_says_before_it_gets_stuck_counts(computer: Path) -> None:
    qemu(computer, f"{PANIC}; exec sleep 5")
    assert libvirt.driver(computer / "state", lambda _: None) == KVM


def test_without_the_device_nothing_is_booted(computer: Path) -> None:
    qemu(computer, PANIC)
    (computer / "kvm").unlink()
    said: list[str] = []
    assert libvirt.driver(computer / "state", said.append) == EMULATED
    assert "is not there" in said[0]
    assert not (computer / "asked").exists()


def test_where_there_is_nothing_to_boot_the_device_is_believed(computer: Path) -> None:
    qemu(computer, "exit 1")
    (computer / "boot/vmlinuz-6.1").unlink()
    assert libvirt.driver(computer / "state", lambda _: None) == KVM


def test_the_kernel_of_a_box_comes_before_this_computers(computer: Path) -> None:
    qemu(computer, PANIC)
    kernel = computer / "box.kernel"
    kernel.touch()
    libvirt.driver(computer / "state", lambda _: None, kernel)
    assert f"-kernel {kernel} " in (computer / "asked").read_text()


def test_what_was_found_out_holds_while_there_are_machines(computer: Path) -> None:
    qemu(computer, "exit 1")
    state = computer / "state"
    assert libvirt.driver(state, lambda _: None) == EMULATED
    qemu(computer, PANIC)
    assert libvirt.driver(state, pytest.fail, machines=True) == EMULATED
    assert "does not boot" in json.loads((state / "libvirt.json").read_text())["why"]
    said: list[str] = []
    assert libvirt.driver(state, said.append) == KVM
    assert said == ["libvirt: machines run with KVM"]


def test_a_kernel_that_only_root_may_read_is_not_tried(computer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ubuntu's are: QEMU would fail for want of it, and not because of KVM."""
    qemu(computer, "exit 1")
    monkeypatch.setattr(os, "access", lambda path, _: "vmlinuz" not in str(path))
    assert libvirt.driver(computer / "state", lambda _: None) == KVM
    assert not (computer / "asked").exists()


# --- what stands in the way

VIRSH = """case "$3 $4" in
  "list --all") printf 'other\\n\\n%s' '{domains}' ;;
  "net-list --all") printf '%s\\n' default {networks} ;;
  "net-dumpxml default") echo "<network><ip address='192.168.122.1' netmask='255.255.255.0'><dhcp/></ip></network>" ;;
  "net-dumpxml v6") echo "<network><ip family='ipv6' address='fd00::1' prefix='64'/></network>" ;;
  net-dumpxml*) echo "<network connections='1'>"; echo "<ip family='ipv4' address='192.168.57.1' prefix='{prefix}'/>" ;;
esac
"""


def virsh(computer: Path, domains: str = "", networks: str = "", prefix: int = 24) -> None:
    program = computer / "bin/virsh"
    program.write_text("#!/bin/sh\n" + VIRSH.format(domains=domains, networks=networks, prefix=prefix))
    program.chmod(0o755)


@pytest.mark.parametrize("networks", ["", "sun", "v6"])
def test_what_others_have_elsewhere_is_no_matter(computer: Path, networks: str) -> None:
    virsh(computer, "moon-ctrl", networks)
    assert libvirt.in_the_way(make_plan(), {}) == []


def test_a_libvirt_that_does_not_answer_is_told(computer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{computer}/bin")
    (refusal,) = libvirt.in_the_way(make_plan(), {})
    tells(refusal, "libvirt-silent: make setup")
    (computer / "bin/virsh").write_text("#!/bin/sh\nexit 1\n")
    (computer / "bin/virsh").chmod(0o755)
    assert libvirt.running() == ["machines that this user may not see"]
    (refusal,) = libvirt.in_the_way(make_plan(), {})
    tells(refusal, "libvirt-silent: group libvirt")


def test_a_domain_of_our_name_is_not_taken_over(computer: Path) -> None:
    virsh(computer, "sun-ctrl")
    (refusal,) = libvirt.in_the_way(make_plan(), {})
    tells(refusal, "name-taken: domain sun-ctrl … qemu:///system undefine sun-ctrl --remove-all-storage")
    assert libvirt.in_the_way(make_plan(), {"ctrl": "1234"}) == []


@pytest.mark.parametrize(
    ("network", "prefix", "said"),
    [
        ("sun", 25, "name-taken: network sun … 192.168.57.0/25"),
        ("moon", 25, "network-in-use: 192.168.57.0/24 … network moon … 192.168.57.0/25"),
    ],
)
def test_networks_of_our_name_or_addresses_are_told(computer: Path, network: str, prefix: int, said: str) -> None:
    virsh(computer, networks=network, prefix=prefix)
    (refusal,) = libvirt.in_the_way(make_plan(), {})
    tells(refusal, said)


@pytest.mark.parametrize(("free", "refused"), [(8, True), (9, False)])
def test_disks_of_machines_that_are_new_need_room(computer: Path, free: int, refused: bool) -> None:
    virsh(computer)
    program = computer / "bin/virsh"
    program.write_text(program.read_text().replace("esac", f'  pool-info*) echo "Available: {free * 10**9}" ;;\nesac'))
    refusals = libvirt.in_the_way(make_plan(), {})
    assert [refusal.id for refusal in refusals] == ["no-room-for-machines"] * refused
    if refused:
        tells(refusals[0], "no-room-for-machines: need up to 9 GB … 8.0 GB are free")
    assert libvirt.in_the_way(make_plan(), {"node-1": "1234"}) == []


# --- what a killed run leaves, and what purge takes

ASKED = """echo "$*" >> {folder}/asked
case "$*" in
  *vol-list*) printf ' Name   Path\n------\n %s  /pool/%s\n' used.img used.img sun.img sun.img {copies} ;;
  *"vol-dumpxml"*sun.img) echo "<volume><target><path>/pool/sun.img</path></target>"
    echo "<backingStore><path>/pool/{used}</path></backingStore></volume>" ;;
  *"vol-dumpxml"*) for name; do :; done; echo "<volume><target><path>/pool/$name</path></target></volume>" ;;
esac
"""
USED, FREE = (f"slipway-debian-{release}-libvirt-0123456789ab_vagrant_box_image_0_box.img" for release in (12, 13))


def asking(computer: Path) -> None:
    copies = " ".join(f"{name} {name}" for name in (USED, FREE))
    program = computer / "bin/virsh"
    program.write_text("#!/bin/sh\n" + ASKED.format(folder=computer, copies=copies, used=USED))
    program.chmod(0o755)


def test_a_copy_of_a_box_that_a_disk_is_based_on_stays(computer: Path) -> None:
    asking(computer)
    assert libvirt.unused_copies() == [FREE]


def half_made(computer: Path, *files: str, box_file: str = "/boxes/x.box") -> list[str]:
    """What libvirt is asked for when machine ctrl has these files of Vagrant."""
    asking(computer)
    plan = make_plan(str(computer / "vagrant"))
    folder = computer / "vagrant/machines/ctrl/libvirt"
    folder.mkdir(parents=True)
    for machine in plan["machines"]:
        machine["box_file"] = box_file
    for name in files:
        (folder / name).write_text("1")
    libvirt.clear_half_made(plan, lambda _: None)
    asked = computer / "asked"
    assert folder.exists() == (not asked.exists())
    return asked.read_text().splitlines() if asked.exists() else []


def test_a_machine_that_vagrant_never_got_into_is_removed(computer: Path) -> None:
    destroy, undefine, volume = half_made(computer, "id", "index_uuid")
    assert destroy.endswith("destroy sun-ctrl")
    assert "undefine sun-ctrl --remove-all-storage" in undefine
    assert volume.endswith("vol-delete --pool default sun-ctrl.img")


def test_a_disk_without_a_machine_is_removed(computer: Path) -> None:
    (volume,) = half_made(computer, "index_uuid")
    assert volume.endswith("vol-delete --pool default sun-ctrl.img")


def test_machines_that_were_in_use_and_boxes_of_others_stay(computer: Path) -> None:
    assert half_made(computer, "id", "private_key") == []


def test_a_machine_of_a_box_of_others_stays(computer: Path) -> None:
    assert half_made(computer, "id", box_file="") == []


def test_a_machine_that_another_vagrant_makes_now_stays(computer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAGRANT_HOME", str(computer / "home"))
    name = hashlib.md5(f"{ROOT}{computer}/vagrantctrl".encode(), usedforsecurity=False).hexdigest()
    lock = computer / "home/data" / f"lock.machine-action-{name}.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert half_made(computer, "id") == []


@pytest.mark.parametrize(
    ("note", "factor"),
    [('{"driver": "kvm"}', 1), ('{"driver": "qemu"}', libvirt.EMULATED_PATIENCE), ("not json", 1), (None, 1)],
)
def test_a_run_waits_longer_for_emulated_machines(tmp_path: Path, note: str | None, factor: int) -> None:
    if note:
        (tmp_path / "libvirt.json").write_text(note)
    assert libvirt.patience(tmp_path) == factor
