"""Debian roots made with mmdebstrap, and the image of container nodes made from one.

A root is a tar, cached as ``<cache>/roots/<suite>-<12 hex>.tar`` under the hash of its recipe: suite, packages,
variant, what is laid over it and what is run in it. Two runs of one recipe with the same package versions give the
same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ..artifacts.cache import default_root, locked
from ..errors import SlipwayError
from ..node.architecture import AMD64, of_this_computer
from ..paths import ROOT
from . import docker
from .docker import Progress

NODE_SYSTEM = "debian-12"
# The suite of each system that a container node may have.
SUITES = {"debian-12": "bookworm", "debian-13": "trixie", "ubuntu-24.04": "noble"}
UBUNTU = frozenset({"noble"})
UBUNTU_KEYRING = Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg")
# Raise when build_root itself makes something else of the same recipe.
FORMAT = 1

DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
# The last thing done to every root: what mmdebstrap took from this machine stays here, its package sources too.
CLEAN = """set -eu
: > "$1/etc/resolv.conf"
rm -f "$1/etc/hostname" "$1/etc/apt/sources.list" "$1/etc/apt/apt.conf.d/99mmdebstrap"
[ ! -d "$1/etc/apt/sources.list.d" ] || printf '%s' "$SLIPWAY_SOURCES" > "$1/etc/apt/sources.list.d/debian.sources"
chmod 0644 "$1/etc/resolv.conf"
rm -rf "$1/var/cache/debconf/"*-old "$1/var/lib/dpkg/"*-old "$1/var/log/"*.log
# These come out differently with and without root.
rm -rf "$1/var/lib/apt/lists/"* "$1/var/cache/apt/"* "$1/usr/share/python3/debpython/__pycache__"
"""
SOURCES = """\
Types: deb
URIs: http://deb.debian.org/debian
Suites: {suite} {suite}-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: {suite}-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
# Ubuntu has all architectures but amd64 elsewhere.
UBUNTU_ARCHIVE, UBUNTU_PORTS = "http://archive.ubuntu.com/ubuntu", "http://ports.ubuntu.com/ubuntu-ports"
UBUNTU_SOURCES = """\
Types: deb
URIs: {archive}
Suites: {suite} {suite}-updates {suite}-security
Components: main universe
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
"""
# What `docker import` writes beside the files.
IMAGE_CHANGES = (
    'ENTRYPOINT ["/usr/local/sbin/node-entrypoint"]',
    "ENV container=docker",
    "LABEL io.slipway.source=built",
)


@dataclass(frozen=True)
class Recipe:
    """All that decides a root. ``overlay`` is a tar unpacked over it, ``script`` runs with the root's path as $1.

    ``architecture`` is Debian's name; empty: this computer's. Programs of another one run here only where the kernel
    hands them to an emulator (binfmt_misc).
    """

    suite: str
    packages: tuple[str, ...]
    variant: str
    overlay: bytes = b""
    script: str = ""
    architecture: str = ""

    @property
    def digest(self) -> str:
        """12 hex digits that name this recipe."""
        # A cache may serve computers of several architectures.
        architecture = self.architecture or of_this_computer()
        own = () if architecture == AMD64 else (architecture,)
        parts = (
            *own,
            *(str(FORMAT), CLEAN, archive(self.suite), MERGED_USR, *DPKG_OPTIONS),
            *(self.suite, self.variant, self.script, hashlib.sha256(self.overlay).hexdigest(), *self.packages),
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def archive(suite: str) -> str:
    """Return the package sources that a root of ``suite`` is left with, its name yet to be put in."""
    return UBUNTU_SOURCES.replace("{archive}", ubuntu_archive()) if suite in UBUNTU else SOURCES


def ubuntu_archive() -> str:
    """Return where Ubuntu's packages for this computer are."""
    return UBUNTU_ARCHIVE if of_this_computer() == AMD64 else UBUNTU_PORTS


def build_root(
    suite: str,
    packages: Iterable[str],
    cache_root: Path,
    progress: Progress,
    *,
    variant: str = "essential",
) -> Path:
    """Return the tar of a Debian root that holds ``packages``; make it when the cache has none.

    ``variant`` is mmdebstrap's: ``essential`` (dpkg and a shell), ``minbase`` (and apt), ``extract`` (nothing but the
    named packages and what they depend on, unpacked and not configured). Errors: SlipwayError.
    """
    return make(Recipe(suite, tuple(sorted(set(packages))), variant), cache_root, progress)


def make(recipe: Recipe, cache_root: Path, progress: Progress) -> Path:
    """Return the tar of ``recipe`` under ``cache_root``; one process makes it, others wait for that one."""
    roots = cache_root / "roots"
    target = roots / f"{recipe.suite}-{recipe.digest}.tar"
    if target.exists():
        return target
    roots.mkdir(parents=True, exist_ok=True)
    with alone(roots / f"{target.name}.lock", progress):
        if target.exists():
            return target
        for stale in roots.glob(f".{target.name}.*"):
            shutil.rmtree(stale)
        started = time.monotonic()
        progress(f"Debian {recipe.suite} root with {len(recipe.packages)} packages named: making it")
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=roots))
        try:
            made = work / "root.tar"
            run_mmdebstrap(recipe, made, work)
            made.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        size = target.stat().st_size / 2**20
        progress(f"Debian {recipe.suite} root: {size:.0f} MiB in {time.monotonic() - started:.0f} s")
    return target


def run_mmdebstrap(recipe: Recipe, made: Path, work: Path) -> None:
    """Write the root of ``recipe`` to ``made``; ``work`` is a folder of ours on the same disk."""
    program = shutil.which("mmdebstrap")
    if program is None:
        raise SlipwayError(
            "program-missing", "mmdebstrap is not installed; run `make setup` or `sudo apt-get install mmdebstrap`."
        )
    env = {**os.environ, "SOURCE_DATE_EPOCH": "0", "SLIPWAY_SOURCES": archive(recipe.suite).format(suite=recipe.suite)}
    if os.geteuid() == 0:
        # Where a kill leaves no half root in /tmp. Without root the files belong to a user who may not enter ours.
        env["TMPDIR"] = str(work)
    command = [program, "--quiet", f"--variant={recipe.variant}", "--format=tar", "--skip=cleanup/apt"]
    if recipe.architecture:
        command.append(f"--architectures={recipe.architecture}")
    command += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    command += [f"--aptopt={option}" for option in host_apt_options()]
    command.append(f"--hook-dir={MERGED_USR}")
    # With this package the root needs none of Perl's 50 MiB, which the other way to a merged /usr installs.
    merged = () if recipe.variant == "extract" else ("usr-is-merged",)
    command.append(f"--include={','.join((*recipe.packages, *merged))}")
    if recipe.overlay:
        (work / "overlay.tar").write_bytes(recipe.overlay)
        command.append(f"--customize-hook=tar-in {work / 'overlay.tar'} /")
    if recipe.script:
        command.append(f"--customize-hook={recipe.script}")
    # mmdebstrap customizes no root that is only unpacked.
    last = "--extract-hook" if recipe.variant == "extract" else "--customize-hook"
    command += [f"{last}={CLEAN}", recipe.suite, str(made), *sources(recipe.suite)]
    ended = subprocess.run(command, env=env, cwd=work, capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode != 0:
        tail = "\n".join(ended.stderr.strip().splitlines()[-15:])
        raise SlipwayError(
            "build-failed",
            f"mmdebstrap could not make a Debian {recipe.suite} root:\n{tail}{remedy(ended.stderr)}",
        )


def remedy(log: str) -> str:
    """Name what to do about the failures that a machine of a user has."""
    if "No space left" in log:
        return "\nThe disk is full: free some space, or let SLIPWAY_CACHE name a folder on another disk."
    if "subuid" in log or "newuidmap" in log or "unprivileged" in log.lower():
        return "\nRun it as root, or install uidmap and give your user a line in /etc/subuid and /etc/subgid."
    if "NO_PUBKEY" in log or "not signed" in log:
        return "\nThe keys of the Debian archive are missing: sudo apt-get install debian-archive-keyring"
    if "Could not resolve" in log or "Failed to fetch" in log or "Temporary failure" in log:
        return "\nThe Debian mirror was not reached: see that `apt-get update` works on this machine."
    return ""


def sources(suite: str) -> list[str]:
    """Return ``deb`` lines for ``suite``: this machine's own when it has that Debian release, else deb.debian.org.

    Ubuntu's come from its own archive; SlipwayError where its keys are not on this machine.
    """
    if suite in UBUNTU:
        if not UBUNTU_KEYRING.exists():
            raise SlipwayError(
                "keyring-missing",
                f"{UBUNTU_KEYRING} is missing, so Ubuntu's packages cannot be trusted; "
                "install it with `sudo apt-get install ubuntu-archive-keyring`.",
            )
        start = f"deb [signed-by={UBUNTU_KEYRING}] {ubuntu_archive()} {suite}"
        return [f"{start}{part} main universe" for part in ("", "-updates", "-security")]
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    fields = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    found = ask("apt-get", "indextargets", "--format", fields, "Created-By: Packages", "Origin: Debian")
    split = (line.split("|") for line in found)
    lines = sorted({f"deb {uri} {name} main" for uri, name, part in split if name in wanted and part == "main"})
    if any(f" {suite} main" in line for line in lines):
        return lines
    return [
        f"deb http://deb.debian.org/debian {suite} main",
        f"deb http://deb.debian.org/debian {suite}-updates main",
        f"deb http://deb.debian.org/debian-security {suite}-security main",
    ]


def host_apt_options() -> list[str]:
    """Return how this machine's apt gets out (proxies, certificates, credentials), as options for another apt."""
    keep = ("Acquire::http::", "Acquire::https::", "Acquire::Retries")
    return [line for line in ask("apt-config", "dump") if line.startswith(keep) and '""' not in line]


def ask(*command: str) -> list[str]:
    """Return the lines a program prints; none when it is not there or fails."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return []
    return ended.stdout.splitlines() if ended.returncode == 0 else []


def alone(path: Path, progress: Progress) -> AbstractContextManager[None]:
    """Hold the lock file ``path``; say so once when another run has it."""
    return locked(
        path, lambda: progress(f"another run is at work on {path.name.removesuffix('.lock')}: waiting for it")
    )


# --- container nodes ----------------------------------------------------------------------------------------


def node_recipe(root: Path, system: str = NODE_SYSTEM) -> Recipe:
    """Return the recipe of container nodes with ``system``."""
    return machine_recipe(root, "container", system)


def machine_recipe(
    root: Path, kind: str, system: str, more: Iterable[str] = (), folders_over: Iterable[Path] = ()
) -> Recipe:
    """Return the recipe of a machine out of ``machines/common`` and ``machines/<kind>`` of the checkout ``root``.

    ``more`` are packages, and ``folders_over`` folders of files, that it gets besides.
    """
    folders = [root / "machines" / name for name in ("common", kind)]
    lists = [folder / "packages" for folder in folders if (folder / "packages").exists()]
    listed = (line.partition("#")[0].split() for file in lists for line in file.read_text().splitlines())
    packages = {package for line in listed for package in line} | set(more)
    if SUITES[system] in UBUNTU:
        packages = packages - {"debian-archive-keyring"} | {"ubuntu-keyring"}
    return Recipe(
        suite=SUITES[system],
        packages=tuple(sorted(packages)),
        variant="minbase",
        overlay=overlay(*(folder / "root" for folder in folders), *folders_over),
        script="".join((folder / "customize").read_text() for folder in folders),
    )


def overlay(*folders: Path) -> bytes:
    """Pack ``folders`` as one tar of root's: the same bytes for any user, umask and time."""
    packed = io.BytesIO()
    found = {str(path.relative_to(folder)): path for folder in folders for path in folder.rglob("*")}
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, path in sorted(found.items()):
            entry = tar.gettarinfo(path, arcname=name)
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            entry.mtime = 0
            entry.mode = 0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)
    return packed.getvalue()


def node_image_tag(root: Path, system: str = NODE_SYSTEM) -> str:
    """Return the name of the image of container nodes: ``slipway-node:<12 hex of all that decides it>``."""
    parts = (node_recipe(root, system).digest, *IMAGE_CHANGES)
    return f"slipway-node:{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"


def ensure_node_image(root: Path, cache_root: Path, progress: Progress, system: str = NODE_SYSTEM) -> str:
    """Give Docker the image of container nodes when it has none, and return the image's name."""
    tag = node_image_tag(root, system)
    if has_image(tag):
        return tag
    tar = make(node_recipe(root, system), cache_root, progress)
    with alone(cache_root / "roots" / f"{tag.replace(':', '-')}.lock", progress):
        if not has_image(tag):
            progress(f"node image {tag}: handing it to Docker")
            changes = [word for change in IMAGE_CHANGES for word in ("--change", change)]
            # Only a whole import gets a name: Docker drops what it had when the client is killed.
            docker.run("import", *changes, str(tar), tag)
    return tag


def has_image(tag: str) -> bool:
    """Tell whether Docker holds ``tag``."""
    return bool(docker.run("images", "--quiet", tag).strip())


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m slipway.lab.image node-image``: print the image's name, after making it when it is not there."""
    parser = argparse.ArgumentParser(prog="slipway.lab.image", description="The image that container nodes start from.")
    parser.add_argument("what", choices=["node-image", "node-tag"])
    parser.add_argument("--system", default=NODE_SYSTEM, choices=list(SUITES))
    options = parser.parse_args(argv)
    root = ROOT
    try:
        if options.what == "node-image":
            print(ensure_node_image(root, default_root(), lambda line: print(line, file=sys.stderr), options.system))
        else:
            print(node_image_tag(root, options.system))
    except SlipwayError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
