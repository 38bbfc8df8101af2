"""Vagrant: its records of the machines that exist, which of them run, and the key that opens container nodes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..paths import ROOT
from . import computer


def vagrant_folder(state: Path, root: Path = ROOT) -> Path:
    """Find Vagrant's records: ``.vagrant`` of the checkout, or ``<state>/vagrant`` of another state folder.

    $VAGRANT_DOTFILE_PATH names another one, as it does for Vagrant itself.
    """
    named = os.environ.get("VAGRANT_DOTFILE_PATH")
    if named:
        return Path(os.path.normpath(root / Path(named).expanduser()))
    return root / ".vagrant" if state == root / ".slipway" else state / "vagrant"


def records(vagrant: Path) -> dict[str, tuple[str, str]]:
    """Read which machines exist: name to (provider, id)."""
    return {name: (provider, identity) for name, provider, identity in _records(vagrant)}


def ids(vagrant: Path, provider: str) -> dict[str, str]:
    """Read which machines of one provider exist: name to id."""
    return {name: identity for name, kept_by, identity in _records(vagrant) if kept_by == provider}


def _records(vagrant: Path) -> Iterator[tuple[str, str, str]]:
    for file in sorted(vagrant.glob("machines/*/*/id")):
        text = file.read_text(encoding="utf-8").strip()
        # Vagrant itself takes an empty file for none.
        if text:
            yield file.parts[-3], file.parts[-2], text


def home() -> Path:
    """Find the folder where Vagrant keeps boxes and what it knows of all machines."""
    return Path(os.environ.get("VAGRANT_HOME") or Path.home() / ".vagrant.d")


def box_folder(box: str) -> Path:
    """Name the folder in which Vagrant keeps all versions of a box."""
    return home() / "boxes" / box.replace("/", "-VAGRANTSLASH-")


def box_folders(box: str, provider: str, architecture: str) -> list[Path]:
    """List the folders of a box that machines of ``provider`` may be made of, the newest version first.

    Vagrant takes a box in as ``<version>/<provider>``, and since 2.4 as ``<version>/<architecture>/<provider>``.
    """
    folder = box_folder(box)
    found = [*folder.glob(f"[!.]*/{provider}"), *folder.glob(f"[!.]*/{architecture}/{provider}")]
    kept = [place for place in found if place.is_dir()]
    return sorted(kept, key=lambda place: _version(place.relative_to(folder).parts[0]), reverse=True)


def box_providers(box: str) -> list[str]:
    """List the providers, with the architecture where Vagrant keeps one, that it has a box for."""
    folder = box_folder(box)
    found = [*folder.glob("[!.]*/*/metadata.json"), *folder.glob("[!.]*/*/*/metadata.json")]
    return sorted({" on ".join(reversed(file.relative_to(folder).parts[1:-1])) for file in found})


def _version(text: str) -> list[tuple[int, int, str]]:
    """Order versions as gems are: a part with letters is older than a number."""
    words = re.findall(r"\d+|[a-z]+", text.lower())
    parts = [(int(word.isdigit()), int(word) if word.isdigit() else 0, word) for word in words]
    return [*parts, (1, -1, "")]


def taken_in(box: str, provider: str, architecture: str) -> bool:
    """Tell whether Vagrant has a box for machines of ``provider``."""
    return bool(box_folders(box, provider, architecture))


def at_work(machine: str, vagrant: Path, root: Path = ROOT) -> bool:
    """Tell whether a Vagrant of this checkout is at work on a machine now: it holds a lock for as long as it is."""
    name = hashlib.md5(f"{root}{vagrant}{machine}".encode(), usedforsecurity=False).hexdigest()
    try:
        with (home() / "data" / f"lock.machine-action-{name}.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def running() -> set[str]:
    """Ask Vagrant for the names of machines that run."""
    rows = [line.split(",") for line in computer.lines("vagrant", "status", "--machine-readable")]
    return {row[1] for row in rows if row[2:4] == ["state", "running"]}


def make_key(vagrant: Path) -> str:
    """Return the public key that container nodes take in place of Vagrant's well-known one; make it when there is none.

    In Vagrant's own way a machine that a kill caught half-way keeps the well-known key.
    """
    key = vagrant / "key"
    if not key.exists():
        vagrant.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=vagrant) as work:
            # A kind that Vagrant's own SSH client reads everywhere.
            command = ["ssh-keygen", "-q", "-t", "ecdsa", "-m", "PEM", "-N", "", "-C", "slipway", "-f", f"{work}/key"]
            subprocess.run(command, check=True)
            Path(work, "key.pub").replace(vagrant / "key.pub")
            Path(work, "key").replace(key)
    return (vagrant / "key.pub").read_text(encoding="ascii").strip()
