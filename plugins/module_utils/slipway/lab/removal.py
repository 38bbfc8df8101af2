"""Taking away what machines leave behind: containers, volumes, the network, the notes about them, and Docker itself.

Containers, volumes and networks are ours by their label. Nothing else is ever removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..page.founding import FILE as FOUNDED
from . import docker
from .container import shared_volume
from .docker import OWNER, Progress
from .vagrant import ids

if TYPE_CHECKING:
    from .plan import LabPlan


def clear(gone: Iterable[str], empty: Iterable[str], unused: Iterable[str], progress: Progress) -> None:
    """Remove containers (with what Docker keeps for them), volumes and networks by name, in this order."""
    removals: list[tuple[str, str, list[str]]] = [
        *(("container", name, ["--force", "--volumes"]) for name in gone),
        *(("volume", name, ["--force"]) for name in empty),
        *(("network", name, []) for name in unused),
    ]
    for what, name, options in removals:
        progress(f"removing the {what} {name}")
        docker.run(what, "rm", *options, name)


def remove(label: str, progress: Progress) -> None:
    """Remove every container, volume and network with ``label`` (key=value)."""
    chosen = f"--filter=label={label}"
    gone = [thing.name for thing in docker.containers(chosen)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda name: clear([name], [], [], progress), gone))
    clear(
        [],
        [thing.name for thing in docker.volumes(chosen)],
        [thing.name for thing in docker.networks(chosen)],
        progress,
    )


def remove_cluster(plan: LabPlan, progress: Progress) -> None:
    """Remove all that Docker holds of this cluster, known to Vagrant or forgotten, and Vagrant's records of it."""
    remove(f"{OWNER}={plan['vagrant']}", progress)
    for record in Path(plan["vagrant"]).glob("machines/*/docker"):
        shutil.rmtree(record)


def sweep(plan: LabPlan, progress: Progress) -> None:
    """Remove the volumes and the network that no machine of ours uses any more, after ``vagrant destroy``."""
    mine = f"--filter=label={OWNER}={plan['vagrant']}"
    left = list(docker.containers(mine))
    kept = {f"{thing.name}-var" for thing in left} | ({shared_volume(plan)} if left else set())
    empty = [thing.name for thing in docker.volumes(mine) if thing.name not in kept]
    unused = [thing.name for thing in docker.networks(mine) if not thing.attached]
    clear([], empty, unused, progress)


def forget_founding(plan: LabPlan) -> None:
    """Take away what is kept of a cluster's founding once none of its controllers is left."""
    known = ids(Path(plan["vagrant"]), plan["provider"])
    if not any(machine["name"] in known for machine in plan["machines"] if machine["role"] == "controller"):
        Path(plan["state"], FOUNDED).unlink(missing_ok=True)
