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

from .state import PLACED, missing_packages, read

GB = 10**9
MIB = 2**20


@dataclass(frozen=True)
class Needs:
    """What a machine has to have: processors, memory in MiB, bytes free for what is installed and pulled."""

    cpus: int
    memory: int
    disk: int


# MiB: kubeadm's own floor, the kubelet's, the mirror's. The disk has to take the images of all parts.
NEEDS = {
    "controller": Needs(cpus=2, memory=1700, disk=3 * GB),
    "worker": Needs(cpus=1, memory=700, disk=3 * GB),
    "mirror": Needs(cpus=1, memory=256, disk=3 * GB),
}
# A kubelet takes no pods where less of the file system of images is free.
EVICTS = 15
# Seconds that clocks may differ; the way to a machine takes some of them.
APART = 60

# What Debian, Ubuntu, Docker and Kubernetes call what runs containers and pods.
RUNTIMES = ("containerd", "containerd.io", "cri-o")
KUBERNETES = ("kubelet", "kubeadm")
OTHERS = {"usr/local/bin/k3s": "k3s", "usr/local/bin/rke2": "rke2", "snap/bin/microk8s": "microk8s"}
UNITS = ("kubelet", "containerd")
UNIT_FOLDERS = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")


def hindrances(
    root: str, node: Mapping[str, Any], role: str, *, free: int, size: int, cpus: int, apart: float
) -> list[str]:
    """Say all that keeps a machine from becoming a ``role`` (controller, worker, mirror), each with what works.

    ``node`` is what :func:`.state.describe` gives; ``free`` and ``size`` are bytes of the file system that images
    go to; ``apart`` is how many seconds its clock is ahead of the one of the machine that runs Ansible. One that is in
    a cluster already has shown that it can be.
    """
    if node["kubernetes"]["joined"]:
        return []
    found = [*_sizes(root, node, NEEDS[role], cpus), *_clock(apart)]
    # What Slipway has placed takes the room that was asked for.
    if not read(os.path.join(root, PLACED)):
        found += _disk(NEEDS[role], free, size, evicts=role != "mirror" and not node["container"])
    if role != "mirror":
        found += [*_programs(root), *_replaced_units(root)]
    return found


def _sizes(root: str, node: Mapping[str, Any], needs: Needs, cpus: int) -> Iterator[str]:
    total = re.search(r"^MemTotal:\s*(\d+) kB$", read(os.path.join(root, "proc/meminfo")), re.MULTILINE)
    memory = int(total.group(1)) // 1024 - int(node["memory_withheld"]) if total else needs.memory
    if memory < needs.memory:
        yield f"it has {memory} MiB of memory, and needs {needs.memory} MiB: give it more, or take another machine"
    if cpus < needs.cpus:
        yield f"it has {cpus} CPU{'s' * (cpus != 1)}, and needs {needs.cpus}: give it more, or take another machine"


def _clock(apart: float) -> Iterator[str]:
    if abs(apart) > APART:
        yield (
            f"its clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the one of the machine that runs "
            "Ansible, and certificates would not be valid yet, or no more: sudo timedatectl set-ntp true, "
            "on the one that is wrong"
        )


def _disk(needs: Needs, free: int, size: int, *, evicts: bool) -> Iterator[str]:
    kept = size * EVICTS // 100 if evicts else 0
    if free < needs.disk + kept:
        why = f", of which the kubelet keeps {EVICTS} % ({_gb(kept)}) free" if kept else ""
        yield (
            f"{_gb(free)} of {_gb(size)} are free under /var/lib{why}; {_gb(needs.disk + kept)} are needed for images: "
            "free some (df --human-readable /var/lib), or mount a larger disk there"
        )


def _gb(size: int) -> str:
    return f"{size / GB:.1f} GB"


def _programs(root: str) -> Iterator[str]:
    status = read(os.path.join(root, "var/lib/dpkg/status"))
    for names, what in ((RUNTIMES, "runs containers already, with settings that a run would replace"),
                        (KUBERNETES, "has a kubelet of its own packages already")):  # fmt: skip
        there = sorted(set(names) - set(missing_packages(status, names)))
        if there:
            yield f"it {what}: if nothing needs it, sudo apt-get purge {' '.join(there)}"
    for path, name in OTHERS.items():
        if os.path.lexists(os.path.join(root, path)):
            yield f"it has {name} (/{path}), which is a cluster of its own: remove that, or take another machine"
    by_hand = [f"/usr/local/bin/{name}" for name in UNITS if os.path.lexists(os.path.join(root, "usr/local/bin", name))]
    if by_hand and not read(os.path.join(root, PLACED)):
        paths = " ".join(by_hand)
        yield f"somebody has installed {paths} by hand: if nothing needs that, sudo rm {paths}"


def _replaced_units(root: str) -> Iterator[str]:
    for unit in UNITS:
        for folder in UNIT_FOLDERS:
            place = os.path.join(root, folder, f"{unit}.service.d")
            for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
                if name.endswith(".conf") and re.search(r"(?m)^\s*ExecStart\s*=", read(os.path.join(place, name))):
                    path = f"/{folder}/{unit}.service.d/{name}"
                    yield (
                        f"{path}, left by another installation, replaces the command of {unit}.service: "
                        f"sudo rm {shlex.quote(path)} && sudo systemctl daemon-reload"
                    )
