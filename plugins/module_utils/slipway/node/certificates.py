"""Certificates of a controller: which end soon, and which parts of the control plane still serve with the old ones.

kubeadm issues them. A part of the control plane reads them when it starts, so it starts again after they are renewed.
Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .durable import flush, replace
from .trust import blocks, vouches, vouches_for_kubeconfig

FOLDER = "/etc/kubernetes"
# What was there before a renewal, until all of it is renewed.
KEPT = "/var/lib/slipway/certificates"
DAY = 86400
# The process of each part, in the order in which they start again, and the files that it reads at its start.
READS: Mapping[str, tuple[str, ...]] = {
    "etcd": ("pki/etcd/ca.crt", "pki/etcd/server.crt", "pki/etcd/peer.crt"),
    "kube-apiserver": (
        "pki/ca.crt",
        "pki/front-proxy-ca.crt",
        "pki/etcd/ca.crt",
        "pki/sa.pub",
        "pki/sa.key",
        "pki/apiserver.crt",
        "pki/apiserver-etcd-client.crt",
        "pki/apiserver-kubelet-client.crt",
        "pki/front-proxy-client.crt",
        "encryption/config.yml",
    ),
    "kube-controller-manager": ("pki/ca.crt", "pki/ca.key", "pki/sa.key", "controller-manager.conf"),
    "kube-scheduler": ("scheduler.conf",),
}


@dataclass(frozen=True)
class Certificate:
    """One of kubeadm's. ``seconds``: until it ends; negative: since then. ``authority``: the CA that is to sign it."""

    name: str
    seconds: float
    authority: str = "ca"


def read(said: str) -> list[Certificate]:
    """Read what ``kubeadm certs check-expiration -o json`` says, without those that are missing or not kubeadm's.

    Raises ValueError, KeyError where it is something else.
    """
    found = json.loads(said)["certificates"]
    return [
        Certificate(one["name"], float(one["residualTime"]), one.get("caName") or "ca")
        for one in found
        if not one.get("missing") and not one.get("externallyManaged")
    ]


def due(certificates: Iterable[Certificate], days: float) -> list[str]:
    """Name those that end within ``days``."""
    return [one.name for one in certificates if one.seconds < days * DAY]


def foreign(certificates: Iterable[Certificate], root: str = "") -> list[str]:
    """Name those that the CA which signs now has not signed: it was replaced since."""
    found = []
    for one in certificates:
        authority = (
            f"etcd/{one.authority.removeprefix('etcd-')}" if one.authority.startswith("etcd-") else one.authority
        )
        try:
            # Of several certificates, the first one signs.
            signs = blocks(_text(f"{root}{FOLDER}/pki/{authority}.crt"))[0]
            paths = [f"{root}{FOLDER}/{name}" for name in _written(one.name)]
            if one.name.endswith(".conf"):
                good = vouches_for_kubeconfig(signs, _text(paths[0]))
            else:
                good = any(vouches(signs, *paths, server=server) for server in (False, True))
        except (OSError, IndexError):
            continue
        if not good:
            found.append(one.name)
    return found


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def _written(name: str) -> tuple[str, ...]:
    """Give the files, below /etc/kubernetes, that kubeadm writes when it renews one."""
    if name.endswith(".conf"):
        return (name,)
    path = f"pki/{name.replace('etcd-', 'etcd/', 1) if name.startswith('etcd-') else name}"
    return f"{path}.crt", f"{path}.key"


def keep(names: Iterable[str], root: str = "") -> None:
    """Copy the files of certificates that are to be renewed, before kubeadm writes into them.

    A kubeadm that is killed leaves half a file, or a key and the certificate of another one.
    """
    kept, part = f"{root}{KEPT}", f"{root}{KEPT}.part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part, mode=0o700)
    for name in [name for each in names for name in _written(each)]:
        if os.path.isfile(f"{root}{FOLDER}/{name}"):
            os.makedirs(os.path.dirname(f"{part}/{name}"), mode=0o700, exist_ok=True)
            # With its time, by which a part that reads it is found to be stale or not.
            shutil.copy2(f"{root}{FOLDER}/{name}", f"{part}/{name}")
            flush(f"{part}/{name}")
    os.replace(part, kept)
    flush(os.path.dirname(kept))


def put_back(root: str = "") -> list[str]:
    """Put back what a renewal that was cut off has kept, and name it; it is renewed anew then."""
    kept = f"{root}{KEPT}"
    names = sorted(_below(kept))
    for name in names:
        path = f"{root}{FOLDER}/{name}"
        shutil.copy2(f"{kept}/{name}", f"{path}.slipway")
        replace(f"{path}.slipway", path)
    forget(root)
    return names


def forget(root: str = "") -> None:
    """Remove what was kept: all is renewed."""
    for folder in (f"{root}{KEPT}", f"{root}{KEPT}.part"):
        shutil.rmtree(folder, ignore_errors=True)


def settle(names: Iterable[str], root: str = "") -> None:
    """Wait until files that kubeadm wrote are on the disk."""
    for name in [name for each in names for name in _written(each)]:
        if os.path.isfile(f"{root}{FOLDER}/{name}"):
            flush(f"{root}{FOLDER}/{name}")


def _below(folder: str) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(place, name), folder)


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
