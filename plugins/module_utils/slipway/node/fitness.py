"""What keeps a machine that is in no cluster yet from becoming part of one, all of it at once.

Runs on the nodes (stdlib only). Every function takes a path and plain values, and changes nothing.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .architecture import ARCHITECTURES
from .state import PLACED, missing_packages, read

GB = 10**9
MIB = 2**20


@dataclass(frozen=True)
class Needs:
    """What a machine has to have: processors, memory in MiB, and by folder the bytes free for what comes there."""

    cpus: int
    memory: int
    rooms: Mapping[str, int]

    @property
    def disk(self) -> int:
        """The bytes, where all folders are on one disk."""
        return sum(self.rooms.values())


@dataclass(frozen=True)
class Disk:
    """The file system of a folder: which one it is, and its bytes."""

    device: int
    free: int
    size: int


IMAGES, PODS, ETCD, BUNDLES = "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd", "/srv/slipway"
# MiB: kubeadm's own floor, the kubelet's, the mirror's. The disk has to take the images of all parts.
NEEDS = {
    "controller": Needs(2, 1700, {IMAGES: 23 * GB // 10, PODS: 2 * GB // 10, ETCD: 5 * GB // 10}),
    "worker": Needs(1, 700, {IMAGES: 28 * GB // 10, PODS: 2 * GB // 10}),
    "mirror": Needs(1, 256, {BUNDLES: 3 * GB}),
}
# A kubelet takes no pods where less of these file systems is free (in %).
EVICTS = {IMAGES: 15, PODS: 10}
# What is left to come where a run has begun: the images. Nodes that share one disk share what is in it.
BEGUN = 3
# Seconds that clocks may differ; the way to a machine takes some of them.
APART = 60
# The same for machines that Slipway makes: the way to an emulated one is long.
APART_MADE = 300

# What Debian, Ubuntu, Docker and Kubernetes call what runs containers and pods.
RUNTIMES = ("containerd", "containerd.io", "cri-o")
KUBERNETES = ("kubelet", "kubeadm")
OTHERS = {"usr/local/bin/k3s": "k3s", "usr/local/bin/rke2": "rke2", "snap/bin/microk8s": "microk8s"}
UNITS = ("kubelet", "containerd")
UNIT_FOLDERS = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")


def hindrances(
    root: str, node: Mapping[str, Any], role: str, *, disks: Mapping[str, Disk], cpus: int, apart: float
) -> list[tuple[str, str]]:
    """Say all that keeps a machine from becoming a ``role`` (controller, worker, mirror): ids and words.

    The words say what works. ``node`` is what :func:`.state.describe` gives, ``disks`` what :func:`disks_of` does;
    ``apart`` is how many seconds its clock is ahead of the one of the machine that runs Ansible. One that is in a
    cluster already has shown that it can be.
    """
    if node["kubernetes"]["joined"]:
        return []
    begun = bool(read(os.path.join(root, PLACED)))
    found = [*_sizes(root, node, NEEDS[role], cpus), *_clock(apart)]
    found += _disks(NEEDS[role], disks, evicts=role != "mirror" and not node["container"], begun=begun)
    if role != "mirror":
        found += [*_programs(root), *_replaced_units(root)]
    return found


def strains(
    root: str, node: Mapping[str, Any], role: str, *, disks: Mapping[str, Disk], apart: float
) -> list[tuple[str, str]]:
    """Say what has come upon a machine that Slipway made, as :func:`hindrances` does: its disks, and its clock."""
    if node["kubernetes"]["joined"]:
        return []
    container = bool(node["container"])
    # The disk and the clock of a container are those of this computer.
    begun = container or bool(read(os.path.join(root, PLACED)))
    found = [*_disks(NEEDS[role], disks, evicts=not container, begun=begun)]
    return found if container else [*found, *_clock(apart, APART_MADE)]


def disks_of(role: str, root: str = "/") -> dict[str, Disk]:
    """Look at the file systems that the folders of a role are on, or will be."""
    found = {}
    for folder in NEEDS[role].rooms:
        path = os.path.join(root, folder[1:])
        while not os.path.isdir(path):
            path = os.path.dirname(path)
        state = os.statvfs(path)
        block = state.f_frsize
        found[folder] = Disk(os.stat(path).st_dev, state.f_bavail * block, state.f_blocks * block)
    return found


def other_architecture(machine: str, wanted: str, name: str) -> list[tuple[str, str]]:
    """Say that a machine is not what the page says of it, with the line to write: id and words; nothing where it is.

    ``machine`` is its own architecture, ``wanted`` that of the page (empty: no check), ``name`` the machine's.
    """
    if not wanted or machine == wanted:
        return []
    page = "group_vars/all/cluster.yml"
    if machine not in ARCHITECTURES:
        what = f"its processor is {machine}, and there is nothing for that: take a machine that is amd64 or arm64"
        return [("other-architecture", what)]
    what = (
        f"its processor is {machine} (uname -m), and the page says {wanted}: write architecture: {machine} into the "
        f"entry of {name or 'this machine'} in cluster_hosts of {page}, or cluster_architecture: {machine} where all "
        "machines are; machines that Slipway makes have cluster_architecture: auto"
    )
    return [("other-architecture", what)]


def _sizes(root: str, node: Mapping[str, Any], needs: Needs, cpus: int) -> Iterator[tuple[str, str]]:
    total = re.search(r"^MemTotal:\s*(\d+) kB$", read(os.path.join(root, "proc/meminfo")), re.MULTILINE)
    memory = int(total.group(1)) // 1024 - int(node["memory_withheld"]) if total else needs.memory
    if memory < needs.memory:
        what = f"it has {memory} MiB of memory, and needs {needs.memory} MiB: give it more, or take another machine"
        yield "machine-too-small", what
    if cpus < needs.cpus:
        what = f"it has {cpus} CPU{'s' * (cpus != 1)}, and needs {needs.cpus}: give it more, or take another machine"
        yield "machine-too-small", what


def _clock(apart: float, most: float = APART) -> Iterator[tuple[str, str]]:
    if abs(apart) > most:
        what = (
            f"its clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the one of the machine that runs "
            "Ansible, and certificates would not be valid yet, or no more: sudo timedatectl set-ntp true, "
            "on the one that is wrong"
        )
        yield "clock-apart", what


def _disks(needs: Needs, disks: Mapping[str, Disk], *, evicts: bool, begun: bool) -> Iterator[tuple[str, str]]:
    together: dict[int, list[str]] = {}
    for folder, disk in disks.items():
        together.setdefault(disk.device, []).append(folder)
    for folders in together.values():
        disk = disks[folders[0]]
        room = sum(needs.rooms[folder] for folder in folders) // (BEGUN if begun else 1)
        share = max(EVICTS.get(folder, 0) for folder in folders) if evicts else 0
        kept = disk.size * share // 100
        if disk.free >= room + kept:
            continue
        why = f", of which the kubelet keeps {share} % ({_gb(kept)}) free" if kept else ""
        what = (
            f"{_gb(disk.free)} of {_gb(disk.size)} are free under {', '.join(folders)}{why}; {_gb(room + kept)} are "
            f"needed: free some (df --human-readable {folders[0]}), or mount a larger disk there"
        )
        yield "machine-disk-full", what


def _gb(size: int) -> str:
    return f"{size / GB:.1f} GB"


def _programs(root: str) -> Iterator[tuple[str, str]]:
    status = read(os.path.join(root, "var/lib/dpkg/status"))
    for names, what in ((RUNTIMES, "runs containers already, with settings that a run would replace"),
                        (KUBERNETES, "has a kubelet of its own packages already")):  # fmt: skip
        there = sorted(set(names) - set(missing_packages(status, names)))
        if there:
            yield "programs-in-the-way", f"it {what}: if nothing needs it, sudo apt-get purge {' '.join(there)}"
    for path, name in OTHERS.items():
        if os.path.lexists(os.path.join(root, path)):
            why = f"it has {name} (/{path}), which is a cluster of its own: remove that, or take another machine"
            yield "programs-in-the-way", why
    by_hand = [f"/usr/local/bin/{name}" for name in UNITS if os.path.lexists(os.path.join(root, "usr/local/bin", name))]
    if by_hand and not read(os.path.join(root, PLACED)):
        paths = " ".join(by_hand)
        yield "programs-in-the-way", f"somebody has installed {paths} by hand: if nothing needs that, sudo rm {paths}"


def _replaced_units(root: str) -> Iterator[tuple[str, str]]:
    for unit in UNITS:
        for folder in UNIT_FOLDERS:
            place = os.path.join(root, folder, f"{unit}.service.d")
            for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
                if name.endswith(".conf") and re.search(r"(?m)^\s*ExecStart\s*=", read(os.path.join(place, name))):
                    path = f"/{folder}/{unit}.service.d/{name}"
                    what = (
                        f"{path}, left by another installation, replaces the command of {unit}.service: "
                        f"sudo rm {shlex.quote(path)} && sudo systemctl daemon-reload"
                    )
                    yield "programs-in-the-way", what
