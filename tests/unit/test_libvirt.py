"""Whether machines of libvirt run on the processor or are emulated: a kernel is booted, and looks do not count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from slipway.lab import libvirt
from slipway.lab.libvirt import EMULATED, KVM

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
    assert libvirt.driver(computer / "state", pytest.fail) == KVM
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
    assert libvirt.driver(computer / "state", pytest.fail) == KVM


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
    assert libvirt.driver(computer / "state", pytest.fail) == KVM


def test_the_kernel_of_a_box_comes_before_this_computers(computer: Path) -> None:
    qemu(computer, PANIC)
    kernel = computer / "box.kernel"
    kernel.touch()
    libvirt.driver(computer / "state", pytest.fail, kernel)
    assert f"-kernel {kernel} " in (computer / "asked").read_text()


def test_what_was_found_out_holds_for_all_machines(computer: Path) -> None:
    qemu(computer, "exit 1")
    state = computer / "state"
    assert libvirt.driver(state, lambda _: None) == EMULATED
    qemu(computer, PANIC)
    assert libvirt.driver(state, pytest.fail) == EMULATED
    assert "does not boot" in json.loads((state / "libvirt.json").read_text())["why"]
