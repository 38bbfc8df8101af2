"""Whether machines of libvirt run on the processor or are emulated: a kernel is booted, and looks do not count."""

from __future__ import annotations

import fcntl
import grp
import hashlib
import json
import os
import pwd
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


CONNECT = "error: failed to connect to the hypervisor\nerror: "
SOCKET = f"{CONNECT}Failed to connect socket to '/var/run/libvirt/libvirt-sock': "
POLKIT = "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'"


@pytest.mark.parametrize(
    ("said", "member", "told"),
    [
        (None, False, "libvirt-silent: not installed … SLIPWAY_PROVIDER=libvirt make setup"),
        (f"{SOCKET}No such file or directory", False, "libvirt-silent: SLIPWAY_PROVIDER=libvirt make setup … No such"),
        (f"{SOCKET}Connection refused", True, "libvirt-silent: SLIPWAY_PROVIDER=libvirt make setup … refused"),
        (f"{SOCKET}Permission denied", False, "libvirt-not-allowed: usermod -aG libvirt $USER … Permission denied"),
        (f"{CONNECT}{POLKIT}", False, "libvirt-not-allowed: usermod -aG libvirt $USER"),
        (f"{CONNECT}{POLKIT}", True, "libvirt-not-allowed: new login … sg libvirt -c 'vagrant up'"),
        (f"{CONNECT}no connection driver available for qemu:///system", True, "libvirt-silent: apt-get install"),
        ("no answer within 120 s", True, "libvirt-silent: make setup … no answer within"),
    ],
)
def test_why_libvirt_does_not_answer_is_told_with_what_works(said: str | None, member: bool, told: str) -> None:
    refusal = libvirt.silent(said, member=member)
    tells(refusal, told)
    assert "\n    | error: failed to connect" in refusal.text or CONNECT not in (said or "")


@pytest.mark.parametrize("listed", [True, False])
def test_who_is_in_the_group_is_told_from_who_is_not(
    computer: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    group = grp.struct_group(("libvirt", "x", 64055, [me] if listed else []))
    monkeypatch.setattr(grp, "getgrnam", {"libvirt": group}.__getitem__)
    (computer / "bin/virsh").write_text(f"#!/bin/sh\necho '{SOCKET.splitlines()[-1]} Permission denied' >&2; exit 1\n")
    (computer / "bin/virsh").write_text(
        (computer / "bin/virsh").read_text().replace("'/var", "/var").replace("k':", "k:")
    )
    (computer / "bin/virsh").chmod(0o755)
    (refusal,) = libvirt.in_the_way(make_plan(), {})
    tells(refusal, f"libvirt-not-allowed: {'sg libvirt' if listed else 'usermod'}")
    monkeypatch.setattr(grp, "getgrnam", {}.__getitem__)
    (refusal,) = libvirt.in_the_way(make_plan(), {})
    tells(refusal, "libvirt-not-allowed: usermod")


def test_a_virsh_that_hangs_is_an_answer_too(computer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt, "ANSWER_SECONDS", 0.2)
    (computer / "bin/virsh").write_text("#!/bin/sh\nexec sleep 5\n")
    (computer / "bin/virsh").chmod(0o755)
    (refusal,) = libvirt.in_the_way(make_plan(), {})
    tells(refusal, "libvirt-silent: no answer within 0.2 s")


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


@pytest.mark.parametrize(("free", "refused"), [(8 * 10**9, True), (9 * 10**9, False), (None, False)])
def test_a_pool_that_is_going_to_be_made_needs_room_where_it_will_be(
    computer: Path, monkeypatch: pytest.MonkeyPatch, free: int | None, refused: bool
) -> None:
    virsh(computer)
    monkeypatch.setattr("slipway.lab.computer.free_space", {libvirt.IMAGES: free}.__getitem__)
    assert [refusal.id for refusal in libvirt.in_the_way(make_plan(), {})] == ["no-room-for-machines"] * refused


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


@pytest.mark.parametrize(
    ("sizes", "used", "known", "removed"),
    [
        ([1000, 1000], False, "", True),
        # All of it; and one that somebody is copying now.
        ([5000, 5000], False, "", False),
        ([1000, 2000], False, "", False),
        # A disk is based on it; and all machines are made.
        ([1000, 1000], True, "", False),
        ([1000, 1000], False, "id", False),
    ],
)
@pytest.mark.parametrize("layout", ["0/libvirt", "0/amd64/libvirt"])
def test_a_copy_of_a_box_that_was_cut_off_is_removed(
    computer: Path,
    monkeypatch: pytest.MonkeyPatch,
    sizes: list[int],
    used: bool,
    known: str,
    removed: bool,
    layout: str,
) -> None:
    """Vagrant would take it for the whole box, and its machines would not boot."""
    monkeypatch.setenv("VAGRANT_HOME", str(computer / "home"))
    monkeypatch.setattr(libvirt, "GROWS_SECONDS", 0.0)
    monkeypatch.setattr(libvirt, "of_this_computer", lambda: "amd64")
    box = FREE.partition("_")[0]
    disk = computer / "home/boxes" / box / layout / "box.img"
    disk.parent.mkdir(parents=True)
    disk.write_bytes(b"x" * 5000)
    asking(computer)
    program = computer / "bin/virsh"
    for number, size in enumerate(sizes):
        (computer / f"size-{number}").write_text(str(size))
    script = program.read_text().replace("</path></target></volume>", "</path></target>$physical</volume>")
    seen = f"n=$(ls {computer}/size-* | head -1); physical=\"<physical unit='bytes'>$(cat $n)</physical>\"\n"
    seen += f'case "$*" in *vol-dumpxml*{FREE}) [ "$(ls {computer}/size-* | wc -l)" = 1 ] || rm $n ;; esac\n'
    script = script.replace("case", f"{seen}case", 1)
    program.write_text(
        script.replace(f"/pool/{USED}</path></backing", f"/pool/{FREE if used else USED}</path></backing")
    )
    plan = make_plan(str(computer / "vagrant"))
    for machine in plan["machines"]:
        machine |= {"box": box, "box_file": "/boxes/x.box"}
        if known:
            folder = computer / "vagrant/machines" / machine["name"] / "libvirt"
            folder.mkdir(parents=True)
            (folder / known).write_text("1")
            (folder / "private_key").touch()
    said: list[str] = []
    libvirt.clear_half_made(plan, said.append)
    asked = (computer / "asked").read_text() if (computer / "asked").exists() else ""
    assert (f"vol-delete --pool default {FREE}" in asked, len(said)) == (removed, int(removed))


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
