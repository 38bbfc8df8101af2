"""libvirt: whether its machines run on the processor (KVM) or are emulated, found out by booting a kernel.

A look is not enough: there are computers where /dev/kvm is there and gives out virtual machines, and no ordinary guest
gets past its first lines. So a kernel is booted without a disk, and has to get as far as missing it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TypedDict

from .docker import Progress

DEVICE = Path("/dev/kvm")
QEMU = "qemu-system-x86_64"
# Kernels of this computer; any that boots will do.
KERNELS = Path("/boot")
# Seconds in which a kernel gets there many times over: it takes one or two, also on an old computer.
BOOT_SECONDS = 20
# What a kernel says that has started all of its own and finds no disk.
REACHED = "Unable to mount root"
# A processor that every emulator of today has; without KVM the host's own model is none that QEMU could make.
EMULATED_MODEL = "Haswell-noTSX"


class Driver(TypedDict):
    """How libvirt runs machines: ``driver`` is ``kvm`` or ``qemu``, ``model`` the processor, empty for the host's."""

    driver: str
    model: str


KVM: Driver = {"driver": "kvm", "model": ""}
EMULATED: Driver = {"driver": "qemu", "model": EMULATED_MODEL}


def driver(state: Path, progress: Progress, kernel: Path | None = None) -> Driver:
    """Tell how machines are run; what was found out for the first of them holds for all (``<state>/libvirt.json``).

    ``kernel`` is tried before those of this computer.
    """
    note = state / "libvirt.json"
    try:
        return KVM if json.loads(note.read_text(encoding="utf-8"))["driver"] == "kvm" else EMULATED
    except (OSError, ValueError, KeyError, TypeError):
        pass
    why = obstacle(kernel)
    found = EMULATED if why else KVM
    if why:
        progress(f"libvirt: {why}, so machines are emulated: they work, and take about ten times as long")
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({**found, "why": why}) + "\n", encoding="utf-8")
    return found


def obstacle(kernel: Path | None = None) -> str:
    """Say why there is no KVM here; empty: a kernel booted under it, or there is none to try."""
    if not DEVICE.exists():
        return f"{DEVICE} is not there"
    kernels = [kernel] if kernel and kernel.exists() else sorted(KERNELS.glob("vmlinuz-*"))
    # The machines are libvirt's own user's: /dev/kvm may be closed to this one.
    if not kernels or not shutil.which(QEMU) or not os.access(DEVICE, os.R_OK | os.W_OK):
        return ""
    return "" if boots(kernels[-1]) else f"{DEVICE} is there, and {kernels[-1].name} does not boot under it"


def boots(kernel: Path) -> bool:
    """Tell whether ``kernel`` starts under KVM and gets as far as missing its disk."""
    command = [QEMU, "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "512", "-nodefaults", "-no-reboot"]
    command += ["-display", "none", "-serial", "stdio", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=BOOT_SECONDS, check=False)
        said = done.stdout
    except subprocess.TimeoutExpired as ended:
        said = ended.stdout or b""
    except OSError:
        return False
    return REACHED in said.decode(errors="replace")
