"""A virtual machine on a lab's network: its own kernel, systemd and disks, from Debian packages and without a download.

It is emulated (qemu's TCG), also where the processor could do better: so the test is the same on every machine. What a
user's VM has is there: a first card behind NAT with the default route, a second one on the node network, and swap.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slipway.artifacts.cache import default_root
from slipway.lab.image import Recipe, make, node_recipe
from slipway.node.architecture import AMD64, ARM64

from .kube import eventually
from .lab import ROOT, run


@dataclass(frozen=True)
class Kind:
    """A computer that QEMU can be: ``debs`` has its program, ``options`` are its machine and processor."""

    qemu: str
    debs: str
    options: tuple[str, ...]
    console: str


KINDS = {
    AMD64: Kind("qemu-system-x86_64", "qemu-system-x86", ("-machine", "q35", "-cpu", "max"), "ttyS0"),
    # Pointer authentication as the standard has it takes an emulator most of its time.
    ARM64: Kind(
        "qemu-system-aarch64",
        "qemu-system-arm",
        ("-machine", "virt,gic-version=3", "-cpu", "max,pauth-impdef=on"),
        "ttyAMA0",
    ),
}
# Its kernel is named by the architecture.
PACKAGES = ("udev", "e2fsprogs", "util-linux")
DISK, SWAP = "6G", "256M"
# Cards are known by their addresses: what they are called is the machine's own business.
NAT_CARD, NODE_CARD = "52:54:00:00:00:01", "52:54:00:00:00:02"
FSTAB = "/dev/vda / ext4 errors=remount-ro 0 1\n/dev/vdb none swap sw 0 0\n"
# The way out is named here: a card from which nothing goes out hands out none, and a user's VM has one.
NAT = f"[Match]\nMACAddress={NAT_CARD}\n[Network]\nDHCP=ipv4\nGateway=10.0.2.2\n"
# The key of the lab; nobody has a password.
CUSTOMIZE = """set -eu
chroot "$1" useradd --create-home --shell /bin/bash vagrant
chroot "$1" install -d -m 0700 -o vagrant -g vagrant /home/vagrant/.ssh
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' > "$1/etc/sudoers.d/vagrant"
chmod 0440 "$1/etc/sudoers.d/vagrant"
chroot "$1" systemctl --quiet enable systemd-networkd.service
chroot "$1" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer systemd-networkd-wait-online.service
chroot "$1" systemctl --quiet set-default multi-user.target
"""


def recipe(architecture: str) -> Recipe:
    """What a container node has, a kernel on top of it, and nothing of the container."""
    node = node_recipe(ROOT)
    packages = {*node.packages, *PACKAGES, f"linux-image-cloud-{architecture}"}
    return Recipe(node.suite, tuple(sorted(packages)), node.variant, script=CUSTOMIZE, architecture=architecture)


@dataclass(frozen=True)
class Box:
    """Where a machine's disks, kernel and first memory disk lie."""

    folder: Path
    kind: Kind

    @property
    def disks(self) -> tuple[Path, Path]:
        return self.folder / "root.img", self.folder / "swap.img"


def build(folder: Path, name: str, address: str, prefix: int, key: str, *, architecture: str = AMD64) -> Box:
    """Make the disks of machine ``name``; ``key`` is the public SSH key that opens it."""
    shutil.rmtree(folder, ignore_errors=True)
    root = folder / "root"
    root.mkdir(parents=True)
    subprocess.run(["tar", "-xf", str(make(recipe(architecture), default_root(), print)), "-C", str(root)], check=True)
    network = f"[Match]\nMACAddress={NODE_CARD}\n[Network]\nAddress={address}/{prefix}\n"
    texts = {
        "etc/hostname": f"{name}\n",
        "etc/hosts": f"127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n",
        "etc/fstab": FSTAB,
        # What its first card hands out; role kubelet takes what a machine has.
        "etc/resolv.conf": "nameserver 10.0.2.3\n",
        "etc/systemd/network/10-nat.network": NAT,
        "etc/systemd/network/20-node.network": network,
        "home/vagrant/.ssh/authorized_keys": f"{key}\n",
    }
    for path, text in texts.items():
        (root / path).write_text(text)
    box = Box(folder, KINDS[architecture])
    for pattern, target in (("vmlinuz-*", "kernel"), ("initrd.img-*", "initrd")):
        (found,) = (root / "boot").glob(pattern)
        shutil.copyfile(found, folder / target)
    disk, swap = box.disks
    run("mkfs.ext4", "-q", "-d", str(root), str(disk), DISK)
    run("truncate", f"--size={SWAP}", str(swap))
    run("mkswap", str(swap))
    shutil.rmtree(root)
    return box


def bridge(network: str) -> str:
    """The device of a Docker network on this machine."""
    (found,) = json.loads(run("docker", "network", "inspect", network))
    return str(found["Options"].get("com.docker.network.bridge.name") or f"br-{found['Id'][:12]}")


@contextmanager
def tap(network: str) -> Iterator[str]:
    """A port on a Docker network for a machine that is no container."""
    name = f"slipway{os.getpid() % 100000}"
    run("ip", "tuntap", "add", "dev", name, "mode", "tap")
    try:
        run("ip", "link", "set", name, "master", bridge(network), "up")
        yield name
    finally:
        run("ip", "link", "delete", name)


class Machine:
    """The machine as a process; what its console says goes to ``console.log`` in the folder of its box."""

    def __init__(self, box: Box, port: str, address: str, *, memory: int = 2048, processors: int = 2) -> None:
        self.address, self.kind = address, box.kind
        disks = [word for disk in box.disks for word in ("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe")]
        self.command: Sequence[str] = (
            *(box.kind.qemu, *box.kind.options, "-accel", "tcg,thread=multi", "-display", "none"),
            *("-m", str(memory), "-smp", str(processors), *disks),
            *("-kernel", str(box.folder / "kernel"), "-initrd", str(box.folder / "initrd")),
            *("-append", f"root=/dev/vda rw console={box.kind.console} quiet"),
            # Nothing goes out to anywhere: what it installs comes from the mirror.
            *("-netdev", "user,id=nat,restrict=on", "-device", f"virtio-net-pci,netdev=nat,mac={NAT_CARD}"),
            *("-netdev", f"tap,id=node,ifname={port},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=node,mac={NODE_CARD}"),
            *("-serial", f"file:{box.folder / 'console.log'}"),
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 300) -> float:
        """Switch it on and wait for its SSH server; seconds that took."""
        began = time.monotonic()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)
        self.wait(seconds)
        return time.monotonic() - began

    def wait(self, seconds: float = 300) -> None:
        """Wait until SSH answers."""
        eventually(self._greets, seconds=seconds, what=f"SSH answers at {self.address}")

    def _greets(self) -> bool:
        assert self.process is not None
        status = self.process.poll()
        if status is not None:
            raise RuntimeError(f"{self.kind.qemu} has ended with {status}")
        with contextlib.suppress(OSError), socket.create_connection((self.address, 22), timeout=5) as wire:
            return wire.recv(4) == b"SSH-"
        return False

    def cut(self) -> None:
        """Take its power away."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
