"""Certificates of a controller: which end soon, and which parts of the control plane still serve with the old ones.

kubeadm issues them. A part of the control plane reads them when it starts, so it starts again after they are renewed.
Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FOLDER = "/etc/kubernetes"
DAY = 86400
# The process of each part, in the order in which they start again, and the files that it reads at its start.
READS: Mapping[str, tuple[str, ...]] = {
    "etcd": ("pki/etcd/server.crt", "pki/etcd/peer.crt"),
    "kube-apiserver": (
        "pki/apiserver.crt",
        "pki/apiserver-etcd-client.crt",
        "pki/apiserver-kubelet-client.crt",
        "pki/front-proxy-client.crt",
    ),
    "kube-controller-manager": ("controller-manager.conf",),
    "kube-scheduler": ("scheduler.conf",),
}


@dataclass(frozen=True)
class Certificate:
    """One of kubeadm's. ``seconds``: until it ends; negative: since then."""

    name: str
    seconds: float


def read(said: str) -> list[Certificate]:
    """Read what ``kubeadm certs check-expiration -o json`` says, without those that are missing or not kubeadm's.

    Raises ValueError, KeyError where it is something else.
    """
    found = json.loads(said)["certificates"]
    return [
        Certificate(one["name"], float(one["residualTime"]))
        for one in found
        if not one.get("missing") and not one.get("externallyManaged")
    ]


def due(certificates: Iterable[Certificate], days: float) -> list[str]:
    """Name those that end within ``days``."""
    return [one.name for one in certificates if one.seconds < days * DAY]


def started(process: int, root: str = "") -> float:
    """Tell when a process started, in seconds since 1970. Raises OSError where it is gone."""
    with open(f"{root}/proc/{process}/stat", encoding="utf-8") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    with open(f"{root}/proc/stat", encoding="utf-8") as file:
        boot = next(int(line.split()[1]) for line in file if line.startswith("btime "))
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def processes(root: str = "") -> dict[str, int]:
    """Find the process of each part that runs here."""
    found = {}
    for name in filter(str.isdigit, os.listdir(f"{root}/proc")):
        try:
            with open(f"{root}/proc/{name}/cmdline", "rb") as file:
                program = os.path.basename(file.read().split(b"\0")[0].decode(errors="replace"))
        except OSError:
            continue
        if program in READS:
            found[program] = int(name)
    return found


def stale(root: str = "") -> dict[str, int]:
    """Give the parts that started before a file that they read was written, and their processes."""
    found = {}
    running = processes(root)
    for part, files in READS.items():
        if part not in running:
            continue
        paths = [f"{root}{FOLDER}/{name}" for name in files]
        try:
            # Within a second of it, a part may have read either.
            since = started(running[part], root) + 1
            if any(os.path.exists(path) and os.stat(path).st_mtime > since for path in paths):
                found[part] = running[part]
        except OSError:
            continue
    return found
