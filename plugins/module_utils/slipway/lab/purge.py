"""What Slipway keeps on a machine when its cluster is gone, and how to take that away: ``make purge``.

Only what a run of ours made: the cache, the state folder, the images of container nodes, and the Debian packages that
scripts/setup wrote down as newly installed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..artifacts.cache import folder_size
from ..errors import SlipwayError
from . import bake, docker, libvirt, virtualbox
from .baked import REPOSITORY
from .computer import as_root
from .docker import Progress
from .vagrant import home

if TYPE_CHECKING:
    from .plan import LabPlan

Simulate = Callable[[Sequence[str]], set[str]]

# Below the state folder: what setup installed.
NOTE = "packages"
IMAGES = (REPOSITORY, "slipway-node")
# Names that Vagrant knows boxes by that were built here.
BOXES = "slipway-debian-*"
# A cache that the user put elsewhere ($SLIPWAY_CACHE) may hold files of others: only ours go.
CACHE_ENTRIES = (
    *(
        "items",
        "tools",
        "go",
        "bundles",
        "bundles.lock",
        "apt",
        "roots",
        "boxes",
        "baked",
        "downloads",
        "images",
        "images.lock",
        "kinds",
        "charts",
    ),
)


def folders(plan: LabPlan) -> list[Path]:
    """Return what there is of the cache and the state folder."""
    cache = Path(plan["cache"])
    of_cache = [cache / name for name in CACHE_ENTRIES] if os.environ.get("SLIPWAY_CACHE") else [cache]
    return [folder for folder in (*of_cache, Path(plan["state"])) if folder.exists()]


def images() -> list[str]:
    """Return the images of container nodes that Docker holds."""
    if not docker.is_there():
        return []
    named = (f"--filter=reference={name}" for name in IMAGES)
    found = docker.run("images", "--format", "{{.Repository}}:{{.Tag}}", *named).split()
    # What is made of another one goes before it.
    return sorted(found, key=lambda image: IMAGES.index(image.partition(":")[0]))


def boxes() -> list[str]:
    """Return the boxes built here that Vagrant has taken in."""
    return sorted(folder.name for folder in (home() / "boxes").glob(BOXES))


def packages(plan: LabPlan, simulate: Simulate | None = None) -> list[str]:
    """Return the Debian packages that setup installed and that can go without taking others along."""
    note = Path(plan["state"]) / NOTE
    wanted = sorted(set(note.read_text(encoding="utf-8").split())) if note.exists() else []
    while wanted:
        going = (simulate or _simulate)(wanted)
        others = going - set(wanted)
        if not others:
            return sorted(going)
        # Something that came later needs one of them: find out which by leaving out one at a time.
        kept = [name for name in wanted if (simulate or _simulate)([name]) <= set(wanted)]
        if kept == wanted:
            return []
        wanted = kept
    return []


def _simulate(names: Sequence[str]) -> set[str]:
    """Return what apt would remove along with ``names``."""
    command = ["apt-get", "--simulate", "remove", *names]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    return set(re.findall(r"^Remv (\S+)", ended.stdout, re.MULTILINE))


def listing(plan: LabPlan) -> str:
    """Name all of it, with sizes."""
    lines = [f"  {folder}  ({folder_size(folder) / 2**20:.0f} MiB)" for folder in folders(plan)]
    lines += [f"  the image {image}" for image in images()]
    lines += [f"  the Vagrant box {box}" for box in boxes()]
    lines += [f"  libvirt's copy of a box, {copy}" for copy in libvirt.unused_copies()]
    if names := packages(plan):
        lines.append(f"  the Debian packages that setup installed: {' '.join(names)}")
    return "\n".join(lines) or "  (nothing else is left)"


def remove_images(progress: Progress) -> None:
    """Remove the images of container nodes; one that another cluster's machines use stays."""
    if docker.is_there():
        bake.remove_containers(bake.containers())
    for image in images():
        try:
            docker.run("rmi", image)
            progress(f"removing the image {image}")
        except SlipwayError:
            progress(f"the image {image} stays: the machines of another cluster use it")


def remove_boxes(progress: Progress) -> None:
    """Remove the boxes built here from Vagrant, and the providers' copies of them; one that a machine uses stays."""
    for box in boxes():
        # Without --force Vagrant asks about a box in use, and there is nobody who answers.
        command = ["vagrant", "box", "remove", "--all", box]
        masters = virtualbox.masters(home() / "boxes" / box)
        ended = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        progress(f"removing the Vagrant box {box}" if ended.returncode == 0 else f"the Vagrant box {box} stays")
        if ended.returncode == 0:
            virtualbox.remove(masters)
    for copy in libvirt.unused_copies():
        progress(f"removing libvirt's copy of a box, {copy}")
        libvirt.remove_copy(copy)


def remove_rest(plan: LabPlan, progress: Progress) -> None:
    """Remove packages, then folders; where the packages stay, so does the list of them, for the next time."""
    complaint = _remove_packages(packages(plan), progress)
    state = Path(plan["state"])
    for folder in folders(plan):
        progress(f"removing {folder}")
        kept = folder / NOTE if complaint and folder == state else None
        for entry in [folder] if kept is None else sorted(set(folder.iterdir()) - {kept}):
            _remove(entry)
    if complaint:
        left = shlex.quote(str(state))
        raise SlipwayError("not-removed", f"{complaint}\nThen remove the list of them, all that is left: rm -r {left}")


def _remove_packages(names: list[str], progress: Progress) -> str:
    """Remove Debian packages; return what to say where that fails."""
    if not names:
        return ""
    progress(f"removing {len(names)} Debian packages")
    command = ["apt-get", "remove", "--yes", *names]
    complaint = as_root(command, {**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    if not complaint:
        return ""
    typed = shlex.join([*([] if os.geteuid() == 0 else ["sudo"]), *command])
    return f"`{' '.join(command[:2])} …` failed:\n{complaint}\nThe packages stay. Remove them yourself: {typed}"


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            _make_writable(path)
            shutil.rmtree(path)
        else:
            path.unlink()
    except PermissionError:
        # Files that root of a machine has written into a folder that is shared with it.
        if complaint := as_root(["rm", "-rf", "--", str(path)]):
            typed = shlex.join(["sudo", "rm", "-rf", "--", str(path)])
            raise SlipwayError(
                "not-removed", f"{path} has files of root: {complaint}\nRemove it yourself: {typed}"
            ) from None


def _make_writable(folder: Path) -> None:
    """Go keeps its modules in folders that nobody may write to."""
    for place, _, _ in os.walk(folder):
        if not os.access(place, os.W_OK):
            Path(place).chmod(0o755)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the verbs on the plan on stdin; 1 and a message on stderr when it fails."""
    parser = argparse.ArgumentParser(prog="slipway.lab.purge", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("verb", choices=["list", "images", "rest"])
    options = parser.parse_args(argv)
    plan: LabPlan = json.load(sys.stdin)

    def progress(line: str) -> None:
        print(f"slipway: {line}", file=sys.stderr, flush=True)

    try:
        if options.verb == "list":
            print(listing(plan))
        elif options.verb == "images":
            remove_images(progress)
            remove_boxes(progress)
        else:
            remove_rest(plan, progress)
    except SlipwayError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
