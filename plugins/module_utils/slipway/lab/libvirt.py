"""libvirt: what stands in the way of machines, and whether they run on the processor (KVM) or are emulated.

The latter is found out by booting a kernel. A look is not enough: there are computers where /dev/kvm is there and gives
out virtual machines, and no ordinary guest gets past its first lines. So a kernel is booted without a disk, and has to
get as far as missing it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from ..errors import SlipwayError
from ..node.fitness import GB, NEEDS
from .docker import Progress
from .obstacles import overlap, taken
from .vagrant import at_work

if TYPE_CHECKING:
    from .plan import LabPlan

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


SYSTEM = "qemu:///system"
# Where vagrant-libvirt puts disks.
POOL = "default"
# Seconds for an answer; removing a large disk takes some.
ANSWER_SECONDS = 120


def in_the_way(plan: LabPlan, records: Mapping[str, str]) -> list[SlipwayError]:
    """Return refusals: libvirt does not answer, or somebody else has the names or addresses of the plan there.

    ``records`` are the machines that Vagrant knows, name to id.
    """
    answer = _virsh("list", "--all", "--name")
    if answer is None:
        return [SlipwayError("libvirt-silent", _NO_ANSWER)]
    refusals = []
    for machine in plan["machines"]:
        name = f"{plan['cluster']}-{machine['name']}"
        if name in answer and machine["name"] not in records:
            what = (
                f"The libvirt domain {name} exists already, and Vagrant does not know it here. If nobody needs it, "
                f"remove it: virsh --connect {SYSTEM} destroy {name}; virsh --connect {SYSTEM} undefine {name} "
                "--remove-all-storage. Or set another cluster_name."
            )
            refusals.append(SlipwayError("name-taken", what))
    refusals += _no_room(plan, records)
    wanted = plan["network"]
    networks = _networks()
    for name, cidr in networks.items():
        if name == wanted["name"] and cidr == wanted["cidr"]:
            continue
        if name == wanted["name"]:
            what = (
                f"The libvirt network {name} exists already with {cidr or 'no addresses'}, and cluster_node_cidr is "
                f"{wanted['cidr']}. If no machine is on it, remove it: virsh --connect {SYSTEM} net-destroy {name}; "
                f"virsh --connect {SYSTEM} net-undefine {name}. Or set another cluster_name."
            )
            refusals.append(SlipwayError("name-taken", what))
        elif cidr and overlap(cidr, wanted["cidr"]):
            used = [*(other for other in networks.values() if other), *wanted["apart"]]
            refusals.append(taken(wanted["cidr"], f"the libvirt network {name}", cidr, used))
    return refusals


def _no_room(plan: LabPlan, records: Mapping[str, str]) -> list[SlipwayError]:
    """Refuse machines whose disks will not find room: they take none at first, and a node fills its own later."""
    told = "\n".join(_virsh("pool-info", "--bytes", POOL) or ())
    available = re.search(r"^Available:\s+(\d+)$", told, re.MULTILINE)
    needed = sum(NEEDS[machine["role"]].disk for machine in plan["machines"] if machine["name"] not in records)
    if available is None or int(available.group(1)) >= needed:
        return []
    what = (
        f"The disks of the new machines need up to {needed / GB:.0f} GB, and {int(available.group(1)) / GB:.1f} GB are "
        f"free where libvirt keeps them (virsh --connect {SYSTEM} pool-dumpxml {POOL}). Free some there, or have fewer "
        "machines: cluster_workers: {count: 1}"
    )
    return [SlipwayError("no-room-for-machines", what)]


_NO_ANSWER = (
    f"libvirt does not answer (virsh --connect {SYSTEM} list). Type `make setup`, which installs and starts it, with "
    "cluster_provider: libvirt on the page. If it runs, you are not in group libvirt: sudo usermod -aG libvirt $USER, "
    "and log in again."
)


def running() -> list[str]:
    """Name the domains that run; where libvirt does not answer there may be some."""
    found = _virsh("list", "--name")
    return ["machines that this user may not see"] if found is None else found


def clear_half_made(plan: LabPlan, progress: Progress) -> None:
    """Remove machines of a run that was killed before Vagrant had got into them.

    Vagrant would take such a machine for made: without its address on the node network and with the well-known key.
    Nobody has used it. Only of a box that is built here is it known that Vagrant leaves a key of its own behind.
    """
    for machine in plan["machines"]:
        folder = Path(plan["vagrant"]) / "machines" / machine["name"] / "libvirt"
        if not machine["box_file"] or not folder.is_dir() or (folder / "private_key").exists():
            continue
        if at_work(machine["name"], Path(plan["vagrant"])):
            continue
        name = f"{plan['cluster']}-{machine['name']}"
        if (folder / "id").exists():
            progress(f"{machine['name']} is half made by a run that was cut off: removing it, to make it again")
            _virsh("destroy", name)
            _virsh("undefine", name, "--remove-all-storage", "--snapshots-metadata")
        _virsh("vol-delete", "--pool", POOL, f"{name}.img")
        shutil.rmtree(folder)


def unused_copies() -> list[str]:
    """Name libvirt's copies of boxes that were built here and that no disk of any machine is based on."""
    volumes = [line.split()[0] for line in _virsh("vol-list", POOL) or () if "/" in line]
    described = {name: "\n".join(_virsh("vol-dumpxml", "--pool", POOL, name) or ()) for name in volumes}
    based_on = {path for text in described.values() for path in _BACKING.findall(text)}
    return [
        name
        for name, text in described.items()
        if _COPY.fullmatch(name) and not based_on & set(_PATH.findall(text.partition("<backingStore>")[0]))
    ]


def remove_copy(name: str) -> None:
    """Remove one of them."""
    _virsh("vol-delete", "--pool", POOL, name)


# What vagrant-libvirt calls its copy of a box's disk.
_COPY = re.compile(r"slipway-debian-[\w-]+_vagrant_box_image_\S+")
_BACKING = re.compile(r"<backingStore>\s*<path>([^<]+)</path>")
_PATH = re.compile(r"<path>([^<]+)</path>")


def _networks() -> dict[str, str]:
    """List libvirt's networks with their IPv4 network, which is empty for one without."""
    found = {}
    for name in _virsh("net-list", "--all", "--name") or ():
        described = "\n".join(_virsh("net-dumpxml", name) or ())
        found[name] = ""
        for address, mask, prefix in _ADDRESS.findall(described):
            found[name] = str(ipaddress.ip_network(f"{address}/{mask or prefix}", strict=False))
    return found


_ADDRESS = re.compile(r"<ip\b[^>]*?\baddress='([0-9.]+)'[^>]*?(?:\bnetmask='([0-9.]+)'|\bprefix='(\d+)')")


def _virsh(*words: str) -> list[str] | None:
    """Ask libvirt: the lines of its answer that say something; None when there is none."""
    command = ["virsh", "--connect", SYSTEM, *words]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else None


class Driver(TypedDict):
    """How libvirt runs machines: ``driver`` is ``kvm`` or ``qemu``, ``model`` the processor, empty for the host's."""

    driver: str
    model: str


KVM: Driver = {"driver": "kvm", "model": ""}
EMULATED: Driver = {"driver": "qemu", "model": EMULATED_MODEL}


# How many times as long a run waits for emulated machines.
EMULATED_PATIENCE = 5


def patience(state: Path) -> int:
    """Give the factor of all waits: 1, and more where machines are emulated. No note means KVM."""
    try:
        return EMULATED_PATIENCE if _noted(state) == EMULATED else 1
    except (OSError, ValueError, KeyError, TypeError):
        return 1


def _noted(state: Path) -> Driver:
    found = json.loads((state / "libvirt.json").read_text(encoding="utf-8"))["driver"]
    return KVM if found == KVM["driver"] else EMULATED


def driver(state: Path, progress: Progress, kernel: Path | None = None, *, machines: bool = False) -> Driver:
    """Tell how machines are run. What was found out for the first of them holds while there are ``machines``.

    It is kept in ``<state>/libvirt.json``. ``kernel`` is tried before those of this computer.
    """
    note = state / "libvirt.json"
    if machines:
        try:
            return _noted(state)
        except (OSError, ValueError, KeyError, TypeError):
            pass
    why = obstacle(kernel)
    found = EMULATED if why else KVM
    how = (
        f"{why}, so machines are emulated: they work, and take about ten times as long"
        if why
        else "machines run with KVM"
    )
    progress(f"libvirt: {how}")
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({**found, "why": why}) + "\n", encoding="utf-8")
    return found


def obstacle(kernel: Path | None = None) -> str:
    """Say why there is no KVM here; empty: a kernel booted under it, or there is none to try."""
    if not DEVICE.exists():
        return f"{DEVICE} is not there"
    kernels = [kernel] if kernel and kernel.exists() else sorted(KERNELS.glob("vmlinuz-*"))
    # Ubuntu shows its kernels to root alone.
    kernels = [found for found in kernels if os.access(found, os.R_OK)]
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
