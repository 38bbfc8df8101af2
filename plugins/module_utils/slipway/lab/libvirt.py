"""libvirt: what stands in the way of machines, and whether they run on the processor (KVM) or are emulated.

The latter is found out by booting a kernel. A look is not enough: there are computers where /dev/kvm is there and gives
out virtual machines, and no ordinary guest gets past its first lines. So a kernel is booted without a disk, and has to
get as far as missing it.
"""

from __future__ import annotations

import grp
import ipaddress
import json
import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from ..errors import SlipwayError
from ..node.architecture import of_this_computer
from . import computer
from .docker import Progress
from .obstacles import no_room, overlap, taken
from .vagrant import at_work, box_folders

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
# Where it makes that, if it is not there yet.
IMAGES = Path("/var/lib/libvirt/images")
# Who is in it may use libvirt.
GROUP = "libvirt"
# Seconds in which a file that is copied grows.
GROWS_SECONDS = 2.0
# Seconds for an answer; removing a large disk takes some.
ANSWER_SECONDS = 120


def in_the_way(plan: LabPlan, records: Mapping[str, str]) -> list[SlipwayError]:
    """Return refusals: libvirt does not answer, or somebody else has the names or addresses of the plan there.

    ``records`` are the machines that Vagrant knows, name to id.
    """
    asked = _ask("list", "--all", "--name")
    if asked is None or asked.returncode != 0:
        return [silent(asked.stderr if asked else None, member=_is_member())]
    answer = asked.stdout.split()
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
    refusals += no_room(plan, records, *_room())
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


def _room() -> tuple[int | None, str]:
    """Tell how many bytes are free where libvirt keeps disks, and where that is; a pool that is missing is made."""
    told = "\n".join(_virsh("pool-info", "--bytes", POOL) or ())
    available = re.search(r"^Available:\s+(\d+)$", told, re.MULTILINE)
    if available:
        return int(available.group(1)), f"where libvirt keeps them (virsh --connect {SYSTEM} pool-dumpxml {POOL})"
    return computer.free_space(IMAGES), f"in {IMAGES}, where libvirt is going to keep them"


# What installs and starts libvirt, and Vagrant's plugin for it, whatever the page says.
SETUP = "SLIPWAY_PROVIDER=libvirt make setup"


def silent(said: str | None, *, member: bool) -> SlipwayError:
    """Say why libvirt does not answer. ``said`` are virsh's words, None without virsh; ``member``: of group libvirt."""
    if said is None:
        what = f"libvirt is not installed here: there is no virsh. What works: {SETUP}, which installs and starts it."
        return SlipwayError("libvirt-silent", what)
    quoted = "".join(f"\n    | {line.strip()}" for line in said.splitlines() if line.strip())
    if re.search(r"permission denied|authentication (unavailable|failed)|access denied|polkit", said, re.IGNORECASE):
        what = "You may not use libvirt here: you are not in group libvirt. What works: sudo usermod -aG libvirt $USER"
        what = f"{what} ({SETUP} does the same), and a new login"
        if member:
            what = "You may not use libvirt yet: this login is older than your membership in group libvirt. What "
            what += "works: a new login, or make up, or sg libvirt -c 'vagrant up'"
        return SlipwayError("libvirt-not-allowed", what + quoted)
    if re.search(r"no connection driver", said, re.IGNORECASE):
        what = "libvirt has no driver for QEMU. What works on Debian: sudo apt-get install libvirt-daemon-system "
        return SlipwayError("libvirt-silent", f"{what}qemu-system-x86, and then: {SETUP}{quoted}")
    what = f"libvirt does not answer (virsh --connect {SYSTEM} list). What works: {SETUP}, which starts it."
    return SlipwayError("libvirt-silent", f"{what} If it runs, see whether you are in group libvirt: id{quoted}")


def _is_member() -> bool:
    """Tell whether the user is in group libvirt, be it since this login began or not."""
    try:
        group = grp.getgrnam(GROUP)
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return user.pw_name in group.gr_mem or user.pw_gid == group.gr_gid


def running() -> list[str]:
    """Name the domains that run; where libvirt does not answer there may be some."""
    found = _virsh("list", "--name")
    return ["machines that this user may not see"] if found is None else found


def clear_half_made(plan: LabPlan, progress: Progress) -> None:
    """Remove machines of a run that was killed before Vagrant had got into them.

    Vagrant would take such a machine for made: without its address on the node network and with the well-known key.
    Nobody has used it. Only of a box that is built here is it known that Vagrant leaves a key of its own behind.
    """
    if halves := _half_copied(plan):
        # One that still grows is copied by somebody else.
        time.sleep(GROWS_SECONDS)
        for copy, _ in halves.items() & _half_copied(plan).items():
            progress(f"{copy} was copied in part by a run that was cut off: removing it, to copy it again")
            remove_copy(copy)
    for machine in plan["machines"]:
        folder = _records(plan, machine["name"])
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
    return list(_unused_copies())


def _unused_copies() -> dict[str, str]:
    """Give these copies, and how libvirt describes each."""
    volumes = [line.split()[0] for line in _virsh("vol-list", POOL) or () if "/" in line]
    described = {name: "\n".join(_virsh("vol-dumpxml", "--pool", POOL, name) or ()) for name in volumes}
    based_on = {path for text in described.values() for path in _BACKING.findall(text)}
    return {
        name: text
        for name, text in described.items()
        if _COPY.fullmatch(name) and not based_on & set(_PATH.findall(text.partition("<backingStore>")[0]))
    }


def _half_copied(plan: LabPlan) -> dict[str, int]:
    """Give the copies of boxes built here that are smaller than the box, and the bytes of each.

    Vagrant copies a box once, and afterwards takes what is there for all of it.
    """
    sizes = {}
    for machine in plan["machines"]:
        if machine["box_file"] and not (_records(plan, machine["name"]) / "id").exists():
            for folder in box_folders(machine["box"], "libvirt", of_this_computer()):
                if (disk := folder / "box.img").is_file():
                    sizes[machine["box"]] = disk.stat().st_size
    return {
        name: int(has.group(1))
        for name, text in (_unused_copies() if sizes else {}).items()
        for box, size in sizes.items()
        if name.startswith(f"{box}_vagrant_box_image_") and (has := _PHYSICAL.search(text)) and int(has.group(1)) < size
    }


def _records(plan: LabPlan, machine: str) -> Path:
    """Name the folder of what Vagrant knows of a machine."""
    return Path(plan["vagrant"]) / "machines" / machine / "libvirt"


def remove_copy(name: str) -> None:
    """Remove one of them."""
    _virsh("vol-delete", "--pool", POOL, name)


# What vagrant-libvirt calls its copy of a box's disk.
_COPY = re.compile(r"slipway-debian-[\w-]+_vagrant_box_image_\S+")
_BACKING = re.compile(r"<backingStore>\s*<path>([^<]+)</path>")
_PHYSICAL = re.compile(r"<physical unit='bytes'>(\d+)<")
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
    done = _ask(*words)
    if done is None or done.returncode != 0:
        return None
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _ask(*words: str) -> subprocess.CompletedProcess[str] | None:
    """Run virsh; None where there is none. One that hangs has said so."""
    command = ["virsh", "--connect", SYSTEM, *words]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS, env=environment
        )
    except OSError:
        return None
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {ANSWER_SECONDS} s")


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
