"""The images of container nodes that have in them what roles would put there: made once per bundle, found, cleared.

``python -m slipway.lab.bake`` reads the machine plan (``slipway.lab.plan``) on stdin, and makes what the machines that
are yet to be made start from. Each is made in a throw-away container without a network, by ``slipway.node.bake``; it
gets its name when it is complete. The image of controllers is made on top of that of workers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..artifacts.manifest import Manifest
from ..errors import SlipwayError
from ..paths import ROOT
from . import docker
from .baked import CONTROLLER, KINDS, REPOSITORY, WORKER, Baked, baked, bundle_of, order
from .container import Host, bundles, capabilities, mount, this_host
from .decide import ALWAYS, NEVER
from .docker import Progress
from .image import IMAGE_CHANGES, SUITES, alone, ensure_node_image, has_image
from .vagrant import ids

if TYPE_CHECKING:
    from .plan import LabPlan

# How the names of the containers begin in which images are made.
CONTAINER = "slipway-baking-"
LABEL = "io.slipway.baked"
LIBRARY = ROOT / "plugins" / "module_utils"
# Where the container sees the bundles and this library: below a volume, so that no folder is left in the image.
BUNDLES, MODULES = "/mnt/bundles", "/mnt/lib"
# Seconds for which an image that a run has chosen stays, also when there is a newer one of its kind.
FRESH = 3600


def wanted(plan: LabPlan, manifest: Manifest) -> dict[str, Baked]:
    """Say of each container of the plan what is baked for it. SlipwayError when the bundle lacks some of it."""
    made: dict[tuple[str, str], Baked] = {}

    def one(kind: str, system: str, image: str) -> Baked:
        if (kind, system) not in made:
            parent = one(WORKER, system, image) if kind == CONTROLLER else None
            made[kind, system] = baked(manifest, kind, system, SUITES[system], image, parent)
        return made[kind, system]

    if plan["provider"] != "docker" or plan["baked"] == NEVER:
        return {}
    machines = [machine for machine in plan["machines"] if machine["role"] in KINDS]
    return {machine["name"]: one(machine["role"], machine["system"], machine["image"]) for machine in machines}


def chosen(plan: LabPlan) -> dict[str, str]:
    """Name the image that each machine starts from: the baked one if Docker has it, else that of its system alone."""
    manifest = bundle_of(Path(plan["state"]))
    try:
        found = wanted(plan, manifest) if manifest else {}
    except SlipwayError:
        found = {}
    there = set(held()) if found else set()
    taken = {name: each.tag for name, each in found.items() if each.tag in there}
    for tag in set(taken.values()):
        _stamp(plan, tag).parent.mkdir(parents=True, exist_ok=True)
        _stamp(plan, tag).touch()
    return {each["name"]: taken.get(each["name"], each["image"]) for each in plan["machines"]}


def ensure(plan: LabPlan, progress: Progress, root: Path = ROOT) -> None:
    """Make the images that are missing for machines that are yet to be made, and clear older ones away.

    What cannot be baked is told, and its machines are made without; SlipwayError where the page insists.
    """
    known = ids(Path(plan["vagrant"]), plan["provider"])
    new = [machine["name"] for machine in plan["machines"] if machine["name"] not in known]
    if plan["provider"] != "docker" or plan["baked"] == NEVER or not new:
        return
    try:
        made = _ensure(plan, new, progress, root)
    except SlipwayError as error:
        if plan["baked"] == ALWAYS:
            raise
        progress(f"nodes are not baked, so each gets everything by itself: {error.message}")
        return
    for each in made:
        clear_older(plan, each, progress)


def _ensure(plan: LabPlan, new: list[str], progress: Progress, root: Path) -> list[Baked]:
    manifest = bundle_of(Path(plan["state"]))
    if manifest is None:
        raise SlipwayError("not-baked", "there is no bundle yet to bake nodes from; `make bundle` gets it.")
    found = [each for name, each in wanted(plan, manifest).items() if name in new]
    # What is made on top of another comes after it, and the rest side by side.
    chains: dict[tuple[str, bool], dict[str, Baked]] = {}
    for each in found:
        chain = chains.setdefault((each.system, bool(each.images)), {})
        chain |= {one.tag: one for one in (each.parent, each) if one}
    there = set(held())

    def follow(chain: dict[str, Baked]) -> list[Baked]:
        ordered = sorted(chain.values(), key=lambda one: one.parent is not None)
        for each in ordered:
            if each.tag not in there:
                make(plan, manifest, each, progress, root)
        return ordered

    with ThreadPoolExecutor(max_workers=2) as pool:
        return [each for chain in pool.map(follow, chains.values()) for each in chain]


def make(plan: LabPlan, manifest: Manifest, each: Baked, progress: Progress, root: Path = ROOT) -> None:
    """Make one image; one process makes it, others wait for that one."""
    cache, container = Path(plan["cache"]), f"{CONTAINER}{each.digest}"
    with alone(cache / "roots" / f"{each.tag.replace(':', '-')}.lock", progress):
        if has_image(each.tag):
            return
        started = time.monotonic()
        progress(f"{each.tag}: baking it")
        # What a killed run left.
        remove_containers([name for name in containers() if name == container])
        if each.parent is None:
            ensure_node_image(root, cache, progress, each.system)
        try:
            _run(plan, manifest, each, container)
            changes = [*IMAGE_CHANGES, f"LABEL {LABEL}={each.digest}"]
            # Only a whole layer gets a name.
            docker.run("commit", *(word for change in changes for word in ("--change", change)), container, each.tag)
        finally:
            remove_containers([name for name in containers() if name == container])
        progress(f"{each.tag}: baked in {time.monotonic() - started:.0f} s")


def _run(plan: LabPlan, manifest: Manifest, each: Baked, container: str) -> None:
    command = ["docker", "run", "--interactive", f"--name={container}", *run_arguments(plan, this_host())]
    command += ["--entrypoint=env", each.base, f"PYTHONPATH={MODULES}", "PYTHONDONTWRITEBYTECODE=1"]
    command += ["python3", "-m", "slipway.node.bake"]
    text = json.dumps(order(each, manifest, BUNDLES, SUITES[each.system]))
    ended = subprocess.run(command, input=text, capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode:
        tail = "\n".join(ended.stderr.strip().splitlines()[-10:])
        raise SlipwayError("not-baked", f"the image of a {each.kind} with {each.system} could not be made: {tail}")


def run_arguments(plan: LabPlan, host: Host) -> list[str]:
    """Return what ``docker run`` is told of a container in which an image is made."""
    return [
        "--network=none",
        "--hostname=baking",
        *(f"--cap-add={capability}" for capability in capabilities(host.bounding, host.server)),
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
        "--security-opt=label=disable",
        "--tmpfs=/run",
        "--tmpfs=/tmp",
        # Without a name: it goes with the container.
        mount({"type": "volume", "dst": "/mnt"}),
        mount({"type": "bind", "src": str(bundles(plan)), "dst": BUNDLES}, ["readonly"]),
        mount({"type": "bind", "src": str(LIBRARY), "dst": MODULES}, ["readonly"]),
    ]


def held() -> list[str]:
    """List the baked images that Docker has."""
    return docker.run("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split()


def containers() -> list[str]:
    """List the containers in which images are made, and those that a killed run left."""
    names = docker.run("ps", "--all", f"--filter=name=^/?{CONTAINER}", "--format", "{{.Names}}").split()
    return [name for name in names if name.startswith(CONTAINER)]


def remove_containers(names: Sequence[str]) -> None:
    """Remove such containers, with what Docker keeps for them."""
    for name in names:
        docker.run("rm", "--force", "--volumes", name)


def clear_older(plan: LabPlan, newest: Baked, progress: Progress) -> None:
    """Remove images of the same kind that another bundle left; one that a machine uses, or is about to, stays."""
    alike = newest.tag.removesuffix(newest.digest)
    for tag in held():
        if tag == newest.tag or not tag.startswith(alike) or _fresh(_stamp(plan, tag)):
            continue
        try:
            docker.run("rmi", tag)
        except SlipwayError:
            continue
        _stamp(plan, tag).unlink(missing_ok=True)
        progress(f"removing {tag}, which was baked from another bundle")


def _stamp(plan: LabPlan, tag: str) -> Path:
    """Name the file whose time says when a run last chose an image."""
    return Path(plan["cache"]) / "baked" / tag.partition(":")[2]


def _fresh(stamp: Path) -> bool:
    try:
        return time.time() - stamp.stat().st_mtime < FRESH
    except OSError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """Make the images for the plan on stdin; 1 and a message on stderr when the page insists and it cannot be."""
    argparse.ArgumentParser(prog="slipway.lab.bake", description=(__doc__ or "").partition("\n")[0]).parse_args(argv)
    plan: LabPlan = json.load(sys.stdin)
    try:
        ensure(plan, lambda line: print(f"slipway: {line}", file=sys.stderr, flush=True))
    except SlipwayError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    raise SystemExit(main())
