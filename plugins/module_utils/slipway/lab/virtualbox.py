"""VirtualBox: whether Vagrant knows the release of it, whether it has room, and the copies of boxes that it keeps."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SlipwayError
from . import computer
from .obstacles import no_room

if TYPE_CHECKING:
    from .plan import LabPlan

# The first Vagrant that knows a VirtualBox, newest first. Every Vagrant of today knows older ones.
KNOWN_SINCE = {(7, 2): (2, 4, 9), (7, 1): (2, 4, 3)}


def in_the_way(plan: LabPlan, known: Container[str]) -> list[SlipwayError]:
    """Refuse what does not work: too little room for new machines, or a VirtualBox that this Vagrant does not know.

    ``known`` are machines that exist.
    """
    told = "\n".join(computer.lines("VBoxManage", "list", "systemproperties"))
    folder = re.search(r"^Default machine folder:\s+(/.*)$", told, re.MULTILINE)
    place = Path(folder.group(1)) if folder else None
    free = computer.free_space(place) if place else None
    return [*_too_new(), *no_room(plan, known, free, f"in {place}, where VirtualBox keeps them")]


def _too_new() -> list[SlipwayError]:
    """Refuse a VirtualBox that is newer than Vagrant knows: Vagrant says so of each machine, and not what helps."""
    virtualbox = _version("VBoxManage", "--version")
    needs = next((vagrant for known, vagrant in KNOWN_SINCE.items() if virtualbox[:2] >= known), ())
    vagrant = _version("vagrant", "--version") if needs else ()
    if not vagrant or vagrant >= needs:
        return []
    here, there, wanted = (".".join(map(str, version)) for version in (virtualbox, vagrant, needs))
    text = (
        f"VirtualBox {here} is newer than Vagrant {there} knows. Install Vagrant {wanted} or later (the package of its "
        "makers, as Debian's is older), or VirtualBox 7.0, or take another provider: cluster_provider: docker"
    )
    return [SlipwayError("virtualbox-too-new", text)]


def masters(box: Path) -> list[str]:
    """Read which virtual machines are VirtualBox's copies of a box: Vagrant clones the disks of its machines from them.

    ``box`` is the folder of the box below Vagrant's own.
    """
    return [file.read_text(encoding="utf-8").strip() for file in sorted(box.glob("**/virtualbox/master_id"))]


def remove(identities: Iterable[str]) -> None:
    """Remove copies of boxes; VirtualBox keeps one that a machine has its disk from."""
    for identity in identities:
        computer.lines("VBoxManage", "unregistervm", identity, "--delete")


def _version(*command: str) -> tuple[int, ...]:
    """Read the release out of what a program prints; empty where it says none."""
    found = re.search(r"\d+(?:\.\d+)+", " ".join(computer.lines(*command)))
    return tuple(map(int, found.group().split("."))) if found else ()
