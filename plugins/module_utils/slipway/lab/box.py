"""Vagrant boxes made from Debian packages alone: ``python -m slipway.lab.box`` (``make box``).

A box is kept as ``<cache>/boxes/<system>-<provider>-<12 hex>.box``, under the hash of all that decides it. Its disk has
one partition that UEFI boots from and one with the root; BIOS finds its boot code before the first of them. Everything
is written into a plain file, so it needs neither root nor a loop device.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..artifacts.cache import default_root, disk_full_explained
from ..errors import SlipwayError
from ..node.architecture import AMD64, of_this_computer
from ..node.fetch import FetchError
from ..page.computer_rules import BOX_SYSTEMS
from ..page.environment import settings_of
from ..page.model import PAGE
from ..paths import ROOT, state_folder
from .baked import Baked, of_box, tree
from .decide import ALWAYS, AUTO, said_of_baked
from .docker import Progress
from .fit import damage, sum_file, write_sum
from .image import alone, machine_recipe, make

SYSTEMS = BOX_SYSTEMS
PROVIDERS = ("libvirt", "virtualbox")
LABEL = "slipway"
# In the name of a box that has something baked into it.
BAKED = "-baked-"
# Raise when this module makes something else of the same root.
FORMAT = 2
# Bytes of disk while one is made: the root twice, the disk, and the box.
NEEDS = 3 * 2**30
SECTOR = 512
MIB = 2**20
# In MiB. The disk is empty but for the root, so it takes that little on this computer, too.
DISK, FIRST, ESP = 40 * 1024, 1, 16
ROOT_AT = FIRST + ESP
# What is in /boot/box of the root is the boot loader's; it goes before and into the first partition.
LOADER = "boot/box"
# The gap before the first partition, without the sector of the partition table.
CODE_AT, CODE_SIZE = SECTOR, FIRST * MIB - SECTOR
# A BIOS runs this much of the first sector; what follows is the partition table.
BOOT_CODE = 440
TABLE = f"""\
label: dos
start={FIRST}MiB, size={ESP}MiB, type=ef
start={ROOT_AT}MiB, type=83, bootable
"""
# One inode for each 32 KiB: half of what is usual, and more than images of a node take.
INODE_RATIO = 32768
# Where systemd-resolved says which name servers there are.
RESOLVER = "../run/systemd/resolve/stub-resolv.conf"
# What the root's file system can do, whatever this computer's own mke2fs.conf says: the boot loader knows all of it.
MKE2FS = """\
[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
blocksize = 4096
inode_size = 256
[fs_types]
ext4 = {
    features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
}
"""
TOOLS = {
    "mke2fs": "e2fsprogs",
    "sfdisk": "fdisk",
    "mkfs.fat": "dosfstools",
    "mcopy": "mtools",
    "qemu-img": "qemu-utils",
}
VAGRANTFILE = {
    "libvirt": """\
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.disk_bus = "virtio"
  end
end
""",
    "virtualbox": """\
Vagrant.configure("2") do |config|
  config.vm.base_mac = "080027510FAB"
end
""",
}


@dataclass(frozen=True)
class Box:
    """A box that can be made: its system, whom it is for, and its file."""

    system: str
    provider: str
    file: Path

    @property
    def name(self) -> str:
        """What Vagrant knows it by: another box has another name."""
        return f"slipway-{self.file.stem}"


def box_of(root: Path, cache_root: Path, system: str, provider: str, content: Baked | None = None) -> Box:
    """Name the box of ``system`` for ``provider`` as the checkout ``root`` makes it, with ``content`` baked into it."""
    parts = [str(FORMAT), machine_recipe(root, "box", system).digest, TABLE, MKE2FS, str(DISK), VAGRANTFILE[provider]]
    parts += [_ovf(root)] if provider == "virtualbox" else []
    parts += [content.digest] if content else []
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    name = f"{system}-{provider}{BAKED if content else '-'}{digest}.box"
    return Box(system, provider, cache_root / "boxes" / name)


def kernel_of(file: Path) -> Path:
    """Name the file with the kernel of a box, which lies beside it."""
    return file.with_suffix(".kernel")


def ensure_box(
    root: Path, cache_root: Path, system: str, provider: str, progress: Progress, content: Baked | None = None
) -> Box:
    """Make the box when the cache has none; one process makes it, others wait for that one. Errors: SlipwayError."""
    box = box_of(root, cache_root, system, provider, content)
    if _is_sound(box):
        return box
    if of_this_computer() != AMD64:
        what = f"A box is built for {AMD64} alone, and this computer is {of_this_computer()}: cluster_box: auto."
        raise SlipwayError("no-box-for-architecture", what)
    _check_tools()
    box.file.parent.mkdir(parents=True, exist_ok=True)
    with alone(box.file.parent / f"{box.file.name}.lock", progress):
        if _is_sound(box):
            return box
        if box.file.exists():
            progress(f"box {box.name}: {damage(box.file, provider, AMD64)}; it is made again")
        for stale in box.file.parent.glob(f".{box.file.name}.*"):
            shutil.rmtree(stale)
        started = time.monotonic()
        work = Path(tempfile.mkdtemp(prefix=f".{box.file.name}.", dir=box.file.parent))
        try:
            tar = _root(root, system, content, cache_root, work, progress)
            progress(f"box {box.name}: making its disk")
            with disk_full_explained(cache_root, f"box {box.name}", NEEDS):
                _write_disk(tar, work / "disk.raw", work)
                (work / "kernel").rename(kernel_of(box.file))
                (work / "box").mkdir()
                _pack(box, root, work / "disk.raw", work / "box")
                _archive(work / "box", work / "made.box")
                # Without a sum for a moment, and never with that of another file.
                sum_file(box.file).unlink(missing_ok=True)
                (work / "made.box").rename(box.file)
                write_sum(box.file)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        if content:
            clear_older(box)
        size = box.file.stat().st_size / MIB
        progress(f"box {box.name}: {size:.0f} MiB in {time.monotonic() - started:.0f} s")
    return box


def _is_sound(box: Box) -> bool:
    """Tell whether the cache has the box as it was made: a power cut, or a disk that fails, may have damaged it."""
    return box.file.exists() and not damage(box.file, box.provider, AMD64)


def _root(root: Path, system: str, content: Baked | None, cache: Path, work: Path, progress: Progress) -> Path:
    """Make the root that the disk of a box gets, with what is baked into it."""
    if content is None:
        return make(machine_recipe(root, "box", system), cache, progress)
    folder = work / "baked"
    folder.mkdir(mode=0o755)
    try:
        tree(content, folder)
    except FetchError as exc:
        raise SlipwayError("build-failed", f"What a box is to have cannot be put into it: {exc}") from exc
    # No other box is made of it, so it goes with the working folder.
    return make(machine_recipe(root, "box", system, content.packages, [folder]), work, progress)


def clear_older(box: Box) -> None:
    """Remove boxes for the same system and provider that were baked from another bundle: Vagrant has its own copies."""
    for file in box.file.parent.glob(f"{box.system}-{box.provider}{BAKED}*.box"):
        if file != box.file:
            for one in (kernel_of(file), file, sum_file(file)):
                one.unlink(missing_ok=True)


def _check_tools() -> None:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool, path=path)})
    if os.geteuid() and not shutil.which("fakeroot"):
        missing.append("fakeroot")
    if missing:
        raise SlipwayError(
            "program-missing", f"These packages make a box, and are missing: sudo apt-get install {' '.join(missing)}"
        )


def _run(*command: str, stdin: str = "", **more: str) -> None:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    environment = {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", **more}
    ended = subprocess.run(
        command, input=stdin, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    if ended.returncode != 0:
        tail = "\n".join((ended.stderr or ended.stdout).strip().splitlines()[-10:])
        full = "\nThe disk is full: free some space, or let SLIPWAY_CACHE name a folder on another disk."
        hint = full if "No space left" in tail else ""
        raise SlipwayError("build-failed", f"{' '.join(command[:6])} failed while a box was made:\n{tail}{hint}")


def _write_disk(tar: Path, disk: Path, work: Path) -> None:
    """Write the partitions, the root of ``tar`` and the boot loader into the file ``disk``."""
    with disk.open("wb") as file:
        file.truncate(DISK * MIB)
    _run("sfdisk", "--quiet", str(disk), stdin=TABLE)
    root = work / "root"
    root.mkdir()
    # Owners and devices are kept by root alone, or by fakeroot for as long as its shell lasts.
    fake = ["fakeroot"] if os.geteuid() else []
    script = 'set -eu; tar -xf "$1" -C "$2" --same-owner --preserve-permissions; ln -sf "$3" "$2/etc/resolv.conf"; '
    script += 'shift 3; exec mke2fs "$@"'
    options = ["-q", "-t", "ext4", "-L", LABEL, "-i", str(INODE_RATIO), "-E", f"offset={ROOT_AT * MIB}"]
    size = f"{DISK - ROOT_AT}M"
    (work / "mke2fs.conf").write_text(MKE2FS)
    settings = {"MKE2FS_CONFIG": str(work / "mke2fs.conf")}
    _run(
        *fake,
        "sh",
        "-c",
        script,
        "sh",
        str(tar),
        str(root),
        RESOLVER,
        *options,
        "-d",
        str(root),
        str(disk),
        size,
        **settings,
    )
    loader = root / LOADER
    esp = work / "esp.img"
    with esp.open("wb") as file:
        file.truncate(ESP * MIB)
    _run("mkfs.fat", "-n", "BOOT", "-i", "51119aa7", str(esp))
    _run("mcopy", "-s", "-i", str(esp), str(loader / "EFI"), "::")
    with disk.open("r+b") as file:
        _write(file, 0, (loader / "boot.img").read_bytes()[:BOOT_CODE])
        code = (loader / "core.img").read_bytes()
        if len(code) > CODE_SIZE:
            raise SlipwayError(
                "build-failed",
                f"The boot loader has {len(code)} bytes, and {CODE_SIZE} are free before the partitions.",
            )
        _write(file, CODE_AT, code)
        _write(file, FIRST * MIB, esp.read_bytes())
    shutil.copyfile(_kernel(root), work / "kernel")
    shutil.rmtree(root, ignore_errors=True)


def _kernel(root: Path) -> Path:
    """Find the kernel that the box boots."""
    return max((root / "boot").glob("vmlinuz-*"))


def _write(file: IO[bytes], at: int, data: bytes) -> None:
    file.seek(at)
    file.write(data)


def _ovf(root: Path) -> str:
    """Read how VirtualBox is told what the machine has."""
    return (root / "machines" / "box" / "box.ovf").read_text(encoding="utf-8")


def _pack(box: Box, root: Path, disk: Path, folder: Path) -> None:
    """Put the disk into ``folder`` in the provider's format, and beside it what Vagrant wants."""
    (folder / "Vagrantfile").write_text(VAGRANTFILE[box.provider])
    if box.provider == "libvirt":
        _run("qemu-img", "convert", "-c", "-O", "qcow2", str(disk), str(folder / "box.img"))
        metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": DISK // 1024}
    else:
        _run(
            "qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", str(disk), str(folder / "disk.vmdk")
        )
        values = {"NAME": box.name, "CAPACITY": str(DISK * MIB), "FILE": str((folder / "disk.vmdk").stat().st_size)}
        ovf = _ovf(root)
        for name, value in values.items():
            ovf = ovf.replace(f"@{name}@", value)
        (folder / "box.ovf").write_text(ovf, encoding="utf-8")
        metadata = {"provider": "virtualbox"}
    (folder / "metadata.json").write_text(json.dumps(metadata) + "\n")


def _archive(folder: Path, made: Path) -> None:
    with tarfile.open(made, "w", format=tarfile.GNU_FORMAT) as tar:
        # Vagrant reads metadata.json before the rest.
        for name in sorted(os.listdir(folder), key=lambda name: (name != "metadata.json", name)):
            tar.add(folder / name, arcname=name)


def content_of(state: Path, said: str, system: str) -> Baked | None:
    """Work out what is baked into a box; SlipwayError where the page asks for it, and nothing can be."""
    content = of_box(state, said, system)
    if content is None and said == ALWAYS:
        what = (
            "cluster_baked is true, and nothing can be baked into the box: there is no bundle, or it lacks containerd"
        )
        raise SlipwayError("not-baked", f"{what}. Get it with `make bundle`, or set auto.")
    return content


def of_machines(
    root: Path, cache_root: Path, said: str, system: str, provider: str, content: Baked | None
) -> Baked | None:
    """Give what of ``content`` is in the box that machines are made of: it, or nothing.

    With ``AUTO``, a box that is there is taken, the baked one first: it takes minutes to make another one.
    """
    if said != AUTO or content is None:
        return content
    baked, plain = (box_of(root, cache_root, system, provider, each).file.exists() for each in (content, None))
    return content if baked or not plain else None


def main(argv: Sequence[str] | None = None) -> int:
    """Make a box and print its file."""
    parser = argparse.ArgumentParser(prog="slipway.lab.box", description="Make a Vagrant box from Debian packages.")
    parser.add_argument("--system", default=SYSTEMS[0], choices=SYSTEMS)
    parser.add_argument("--provider", default=PROVIDERS[0], choices=PROVIDERS)
    options = parser.parse_args(argv)

    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        said = said_of_baked(settings_of(Path(os.environ.get("SLIPWAY_PAGE") or PAGE))["cluster_baked"])
        content = content_of(state_folder(), said, options.system)
        box = ensure_box(ROOT, default_root(), options.system, options.provider, progress, content)
    except SlipwayError as error:
        print(error.message, file=sys.stderr)
        return 1
    print(box.file)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
