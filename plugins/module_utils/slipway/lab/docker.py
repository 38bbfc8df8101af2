"""Docker: its client, and the containers, volumes and networks that it holds.

Ours carry a label that names Vagrant's records.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import SlipwayError

Progress = Callable[[str], None]

CLUSTER = "io.slipway.cluster"
OWNER = "io.slipway.vagrant"
LABELS = "\t".join(f'{{{{.Label "{label}"}}}}' for label in (CLUSTER, OWNER))


@dataclass(frozen=True)
class Thing:
    """A container, volume or network of Docker; ``cluster`` and ``owner`` are our labels, empty on those of others."""

    name: str
    cluster: str
    owner: str
    id: str = ""
    subnets: tuple[str, ...] = ()
    attached: int = 0


def run(*arguments: str) -> str:
    """Run the Docker client and return what it prints; its complaint becomes a SlipwayError."""
    try:
        ended = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise SlipwayError("program-missing", "Docker's client is not installed; run `make setup`.") from exc
    if ended.returncode != 0:
        raise SlipwayError("program-failed", f"`docker {' '.join(arguments[:2])}` failed: {ended.stderr.strip()}")
    return ended.stdout


def is_there() -> bool:
    """Tell whether Docker answers."""
    try:
        return not json.loads(run("info", "--format", "{{json .}}")).get("ServerErrors")
    except SlipwayError:
        return False


def containers(*filters: str) -> Iterator[Thing]:
    """List containers, stopped ones too."""
    listed = run("ps", "--all", "--no-trunc", *filters, "--format", f"{{{{.Names}}}}\t{{{{.ID}}}}\t{LABELS}")
    for line in listed.splitlines():
        name, found, cluster, owner = line.split("\t")
        yield Thing(name, cluster, owner, id=found)


def volumes(*filters: str) -> Iterator[Thing]:
    """List named volumes."""
    for line in run("volume", "ls", *filters, "--format", f"{{{{.Name}}}}\t{LABELS}").splitlines():
        name, cluster, owner = line.split("\t")
        yield Thing(name, cluster, owner)


def networks(*filters: str) -> Iterator[Thing]:
    """List networks with their subnets, and how many containers (stopped ones too) are in each of ours."""
    ids = run("network", "ls", *filters, "--quiet").split()
    for network in json.loads(run("network", "inspect", *ids)) if ids else []:
        labels = network["Labels"] or {}
        owner = labels.get(OWNER, "")
        subnets = (config.get("Subnet") for config in network["IPAM"]["Config"] or ())
        yield Thing(
            network["Name"],
            labels.get(CLUSTER, ""),
            owner,
            subnets=tuple(subnet for subnet in subnets if subnet),
            attached=len(list(containers(f"--filter=network={network['Id']}"))) if owner else 0,
        )


def running_in(network: str) -> list[str]:
    """List the ids of containers that run in a network."""
    return run("ps", "--no-trunc", "--quiet", f"--filter=network={network}").split()
