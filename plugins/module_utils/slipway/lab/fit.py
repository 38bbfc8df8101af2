"""Whether a Vagrant box fits: looked at before a machine is made of it, as Vagrant tells it late and in other words."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SlipwayError
from ..node.architecture import ARCHITECTURES, of_this_computer
from .docker import Progress
from .vagrant import box_folder, box_folders, box_providers

if TYPE_CHECKING:
    from .plan import LabPlan

METADATA = "metadata.json"
# The disk format that machines of libvirt are made of without a copy.
DISK_FORMAT = "qcow2"


def misfit(metadata: str | None, files: Collection[str], provider: str, architecture: str) -> str:
    """Say why no machine of ``provider`` can be made of a box; empty: nothing speaks against it.

    ``metadata`` is the text of its metadata.json, ``files`` are the names of all its files.
    """
    if metadata is None:
        return f"it has no {METADATA}"
    try:
        said = json.loads(metadata)
        made_for = str(said["provider"])
    except (ValueError, KeyError, TypeError):
        return f"its {METADATA} names no provider"
    if made_for != provider:
        return f"it is for {made_for}, and the machines are of {provider}"
    wanted = str(said.get("architecture", ""))
    if wanted in ARCHITECTURES and wanted != architecture:
        return f"it is for {wanted}, and this computer is {architecture}"
    if provider == "libvirt":
        return _disks_misfit(said, files)
    return "" if "box.ovf" in files else "it has no box.ovf, which VirtualBox imports"


def _disks_misfit(said: dict[str, Any], files: Collection[str]) -> str:
    """Look at what vagrant-libvirt reads: one disk box.img, or a list of disks."""
    disks = said.get("disks")
    if disks is None:
        if said.get("format") != DISK_FORMAT or said.get("virtual_size") is None:
            return f"its {METADATA} lacks format: {DISK_FORMAT} or virtual_size, which vagrant-libvirt reads"
        disks = [{"path": "box.img"}]
    try:
        lacking = [disk["path"] for disk in disks if disk["path"] not in files]
    except (KeyError, TypeError):
        return f"its {METADATA} has a disk without path"
    return f"it has no {', '.join(lacking)}, which is its disk" if lacking else ""


def file_misfit(file: Path, provider: str, architecture: str) -> str:
    """Say the same of a box that is a file; one that is cut off is no archive any more."""
    try:
        with tarfile.open(file) as archive:
            members = {member.name.removeprefix("./"): member for member in archive if member.isfile()}
            found = archive.extractfile(members[METADATA]) if METADATA in members else None
            metadata = found.read().decode(errors="replace") if found else None
    except (tarfile.TarError, EOFError, OSError) as exc:
        return f"it is no archive that can be read ({exc})"
    return misfit(metadata, members, provider, architecture)


def in_the_way(plan: LabPlan, known: Iterable[str]) -> list[SlipwayError]:
    """Refuse a box that Vagrant has, and that no machine can be made of; ``known`` are machines that exist.

    Boxes that are built here are not refused: :func:`forget_half_taken_in` sees to them.
    """
    new = [machine for machine in plan["machines"] if machine["name"] not in set(known)]
    boxes = {machine["box"] for machine in new if machine["box"] and not machine["box_file"]}
    return [error for box in sorted(boxes) if (error := _refused(box, plan["provider"], of_this_computer()))]


def _refused(box: str, provider: str, architecture: str) -> SlipwayError | None:
    folders = box_folders(box, provider, architecture)
    if not folders:
        # One with an address is looked for there: it may be given out for other providers too.
        others = [] if (box_folder(box) / "metadata_url").is_file() else box_providers(box)
        if not others:
            return None
        what = f"Vagrant has the box {box} for {', '.join(others)}, and the machines are of {provider}. "
        return SlipwayError("box-unfit", f"{what}Take one for {provider}: cluster_box: built")
    folder = folders[0]
    if not (why := _folder_misfit(folder, provider, architecture)):
        return None
    what = f"The box {box} does not fit: {why} ({folder}). Remove it (rm -r {folder}) and add one that does"
    return SlipwayError("box-unfit", f"{what}, or take another one: cluster_box: built")


def _folder_misfit(folder: Path, provider: str, architecture: str) -> str:
    file = folder / METADATA
    metadata = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
    return misfit(metadata, [path.name for path in folder.iterdir()], provider, architecture)


def forget_half_taken_in(plan: LabPlan, known: Iterable[str], progress: Progress) -> None:
    """Remove boxes that were built here and that Vagrant has only in part: it takes in one file after the other."""
    new = [machine for machine in plan["machines"] if machine["name"] not in set(known)]
    for box in sorted({machine["box"] for machine in new if machine["box_file"]}):
        for folder in box_folders(box, plan["provider"], of_this_computer()):
            if why := _folder_misfit(folder, plan["provider"], of_this_computer()):
                progress(f"box {box}: Vagrant has it in part only: {why}; it takes it in again")
                shutil.rmtree(folder)


def sum_file(file: Path) -> Path:
    """Name the file with the checksum of a box that is built here."""
    return file.with_name(f"{file.name}.sha256")


def write_sum(file: Path) -> None:
    """Keep the checksum of a box that is built here."""
    sum_file(file).write_text(f"{_sha256(file)}\n", encoding="ascii")


def damage(file: Path, provider: str, architecture: str) -> str:
    """Say what is wrong with the file of a box that was built here; empty: nothing."""
    try:
        known = sum_file(file).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        # Made by an earlier version.
        known = ""
    if known and _sha256(file) != known:
        return "its checksum is another one than when it was made"
    return file_misfit(file, provider, architecture)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
