"""Vagrant's records of the machines that exist: where they are, and what they say."""

from __future__ import annotations

import os
from pathlib import Path

from ..paths import ROOT


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
    found = {}
    for file in sorted(vagrant.glob("machines/*/*/id")):
        text = file.read_text(encoding="utf-8").strip()
        # Vagrant itself takes an empty file for none.
        if text:
            found[file.parts[-3]] = (file.parts[-2], text)
    return found
