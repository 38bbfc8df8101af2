"""Take a machine out of its cluster for good, so that it can join one again. Runs on that machine (stdlib only).

Nothing here asks the cluster, the kubelet or containerd: a machine whose cluster is gone, or broken, is reset as well
as a healthy one. Each step finds by itself what is left, so a reset that was cut off is finished by the next one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .fetch import load_record
from .folder import mount_points
from .pod_network import NETWORKS
from .units import with_block

Command = Callable[[Sequence[str]], tuple[int, str, str]]

STATE = "/var/lib/slipway"
VOLUMES = f"{STATE}/storage"
UNITS = "/etc/systemd/system/"
# Where pods and containers have their mounts.
MOUNTED = ("/var/lib/kubelet", "/var/lib/containerd", "/run/containerd", "/run/netns")
# The state folder goes last: it says what else there is.
FOLDERS = (
    "/etc/kubernetes",
    "/etc/containerd",
    "/etc/cni/slipway.d",
    "/etc/slipway",
    "/run/containerd",
    *sorted({f"/{os.path.dirname(network['lease_file'])}" for network in NETWORKS.values()}),
    "/srv/slipway",
    "/usr/local/lib/slipway",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/kubernetes",
    "/var/log/pods",
    "/var/log/slipway",
    STATE,
)
# They go if nothing is left in them, the innermost first. Pods of the control plane make those of kubelet plugins, and
# kube-proxy that of modules, where a machine has none.
EMPTY = (
    "/etc/cni",
    "/opt/cni/bin",
    "/opt/cni",
    "/opt/containerd/bin",
    "/opt/containerd/lib",
    "/opt/containerd",
    "/usr/lib/modules",
    "/usr/libexec/kubernetes/kubelet-plugins/volume/exec",
    "/usr/libexec/kubernetes/kubelet-plugins/volume",
    "/usr/libexec/kubernetes/kubelet-plugins",
    "/usr/libexec/kubernetes",
)
# Control groups of pods, and of containerd, whose shims outlive it.
_OURS = re.compile(r"/kubepods|/(?:containerd|kubelet)\.service\b")
# Also without a record, which clusters of earlier versions do not have.
_UNIT = re.compile(r"slipway-[a-z-]+\.(?:service|path|timer)|(?:kubelet|containerd)\.service")
TABLES = (
    "ip slipway-api",
    "ip kube-proxy",
    "ip6 kube-proxy",
    *(table for network in NETWORKS.values() for table in network["tables"]),
)
# Those of Kubernetes, of the CNI plugin portmap, and of pod networks.
_NAMES = ["KUBE-", "CNI-", *sorted(name for network in NETWORKS.values() for name in network["chains"])]
_CHAINS = re.compile(rf"(?:^:|\s-[jg] |^-A )(?:{'|'.join(map(re.escape, _NAMES))})")
# A login that Slipway was told to let in: the user may rely on it.
_KEYS = "/.ssh/authorized_keys"
# Seconds for processes to end by themselves.
GRACE = 10.0


@dataclass
class Reset:
    """One machine. ``root`` is another folder in tests."""

    run: Command
    root: str = ""
    dry_run: bool = False
    keep_volumes: bool = False
    grace: float = GRACE
    done: list[str] = field(default_factory=list)
    """What was there, and is gone; in check mode, what would go."""
    left: list[str] = field(default_factory=list)
    """What could not be removed, and why."""

    def volumes(self) -> dict[str, int]:
        """Give the bytes in each volume of the StorageClass local-path on this machine."""
        return {name: _size(self._at(f"{VOLUMES}/{name}")) for name in self._names(VOLUMES)}

    def all(self) -> None:
        """Reset the machine."""
        files = load_record(self._at(f"{STATE}/files.json"))
        # Other units (nginx, chrony) belong to their packages, which have them elsewhere.
        units = {
            name for name in self._names(UNITS) if _UNIT.fullmatch(name) and os.path.isfile(self._at(UNITS + name))
        }
        files |= {f"{UNITS}{unit}": {} for unit in units}
        first = [unit for unit in ("kubelet.service", "containerd.service") if unit in units]
        for unit in (*first, *sorted(units - {*first})):
            self._do(f"unit {unit}", ["systemctl", "disable", "--now", unit])
        self._end_processes()
        self._unmount()
        self._network()
        self._files(files)
        for folder in FOLDERS:
            self._folder(folder)
        for folder in EMPTY if not self.dry_run else ():
            self._empty(folder)
        if self.done and not self.dry_run:
            self.run(["systemctl", "daemon-reload"])
            for unit in {path.split("/")[-2][:-2] for path in files if ".service.d/" in path}:
                self.run(["systemctl", "try-restart", unit])

    def _at(self, path: str) -> str:
        return f"{self.root}{path}"

    def _names(self, folder: str) -> list[str]:
        return sorted(os.listdir(self._at(folder))) if os.path.isdir(self._at(folder)) else []

    def _do(self, what: str, command: Sequence[str]) -> None:
        self.done.append(what)
        if self.dry_run:
            return
        code, _, error = self.run(command)
        if code:
            self.left.append(f"{what}: {' '.join(command)} says: {error.strip()}")

    # --- what runs

    def _end_processes(self) -> None:
        found = self._processes()
        if found:
            self.done.append(f"{len(found)} processes of pods")
        if self.dry_run:
            return
        for sent in (signal.SIGTERM, signal.SIGKILL):
            until = time.monotonic() + self.grace
            for process in self._processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, sent)
            while (found := self._processes()) and time.monotonic() < until:
                time.sleep(0.2)
            if not found:
                return
        self.left.append(f"processes that do not end: {', '.join(map(str, found))}")

    def _processes(self) -> list[int]:
        found = []
        for name in os.listdir(self._at("/proc")):
            if name.isdigit():
                with contextlib.suppress(OSError), open(self._at(f"/proc/{name}/cgroup"), encoding="utf-8") as file:
                    if _OURS.search(file.read()) and not self._is_dead(name):
                        found.append(int(name))
        return found

    def _is_dead(self, process: str) -> bool:
        with open(self._at(f"/proc/{process}/stat"), encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[:1] == ["Z"]

    # --- mounts and the network

    def _mounts(self) -> set[str]:
        with open(self._at("/proc/self/mountinfo"), encoding="utf-8") as file:
            return mount_points(file.read())

    def _unmount(self) -> None:
        below = [path for path in self._mounts() if path.startswith(tuple(f"{folder}/" for folder in MOUNTED))]
        # The innermost first.
        for path in sorted(below, reverse=True):
            if path.startswith("/run/netns/") and not path.startswith("/run/netns/cni-"):
                continue
            self._do(f"mount {path}", ["umount", path])
            if path.startswith("/run/netns/") and not self.dry_run:
                with contextlib.suppress(OSError):
                    os.unlink(self._at(path))

    def _network(self) -> None:
        for link in [link for network in NETWORKS.values() for link in network["left"]]:
            if os.path.exists(self._at(f"/sys/class/net/{link}")):
                self._do(f"interface {link}", ["ip", "link", "delete", link])
        for table in TABLES if self._finds("nft") else ():
            if self.run(["nft", "list", "table", *table.split()])[0] == 0:
                self._do(f"nftables table {table}", ["nft", "delete", "table", *table.split()])
        for program in ("iptables", "ip6tables"):
            if self._finds(f"{program}-save"):
                self._rules(program)

    def _rules(self, program: str) -> None:
        """Take the chains of Kubernetes and of CNI plugins out, and every rule that leads there; others stay."""
        _, before, _ = self.run([f"{program}-save"])
        after = without_chains(before)
        path = self._at(f"/run/slipway-{program}.rules")
        if not self.dry_run:
            # Of one that was cut off.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        if after == before:
            return
        self.done.append(f"rules of {program}")
        if self.dry_run:
            return
        with open(path, "w", encoding="utf-8") as file:
            file.write(after)
        code, _, error = self.run([f"{program}-restore", path])
        os.unlink(path)
        if code:
            self.left.append(f"rules of {program}: {error.strip()}")

    def _finds(self, program: str) -> bool:
        return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None

    # --- files

    def _files(self, files: dict[str, dict[str, object]]) -> None:
        self._programs()
        for path, kept in sorted(files.items()):
            if kept.get("block"):
                if not path.endswith(_KEYS):
                    self._block(path)
            elif not kept.get("only_over") or re.search(str(kept["only_over"]), self._read(path), re.DOTALL):
                self._file(path)

    def _programs(self) -> None:
        items = load_record(self._at(f"{STATE}/artifacts.json")).values()
        paths = [path for item in items for path in item.get("files", {}) if os.path.lexists(self._at(path))]
        folders = sorted({os.path.dirname(path) for path in paths})
        self.done += [f"programs in {folder}" for folder in folders]
        if self.dry_run:
            return
        for path in paths:
            os.unlink(self._at(path))

    def _read(self, path: str) -> str:
        try:
            with open(self._at(path), encoding="utf-8", errors="surrogateescape") as file:
                return file.read()
        except OSError:
            return ""

    def _file(self, path: str) -> None:
        place = self._at(path)
        if not os.path.lexists(place):
            return
        # Files of folders that go as a whole are not named one by one.
        if not path.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
            self.done.append(path)
        if not self.dry_run:
            os.unlink(place)
            folder = os.path.dirname(path)
            if folder.endswith((".service.d", "/.kube")):
                self._empty(folder)

    def _empty(self, folder: str) -> None:
        """Remove a folder, unless something else is in it."""
        with contextlib.suppress(OSError):
            os.rmdir(self._at(folder))

    def _block(self, path: str) -> None:
        before = self._read(path)
        after = with_block(before, "")
        if not before or after == before:
            return
        self.done.append(f"our lines in {path}")
        if not self.dry_run:
            # In its place, not moved there: in a container, /etc/hosts is a mount.
            with open(self._at(path), "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(after)

    def _folder(self, folder: str) -> None:
        place = self._at(folder)
        if os.path.islink(place) or not os.path.isdir(place):
            return
        mounts = self._mounts()
        if folder in mounts and not os.listdir(place):
            # A disk of its own, which is empty.
            return
        self.done.append(folder)
        if self.dry_run:
            return
        kept = self._clear(folder, mounts)
        if not kept and folder not in mounts:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(place)

    def _clear(self, folder: str, mounts: set[str]) -> bool:
        """Empty a folder, and tell whether something stayed: what is mounted there belongs to somebody else."""
        kept = False
        with os.scandir(self._at(folder)) as entries:
            for entry in list(entries):
                path = f"{folder}/{entry.name}"
                if self.keep_volumes and path == VOLUMES:
                    kept = True
                elif path in mounts:
                    kept = True
                    if path.startswith(tuple(f"{place}/" for place in MOUNTED)):
                        self.left.append(f"{path}: something is mounted there still")
                elif entry.is_dir(follow_symlinks=False):
                    if self._clear(path, mounts):
                        kept = True
                    else:
                        os.rmdir(entry.path)
                else:
                    os.unlink(entry.path)
        return kept


def without_chains(saved: str) -> str:
    """Take chains of Kubernetes and pod networks out of what iptables-save prints, with the rules that lead there."""
    lines: Iterable[str] = saved.splitlines(keepends=True)
    return "".join(line for line in lines if not _CHAINS.search(line))


def _size(path: str) -> int:
    """Add up the bytes of the files below a folder."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total
