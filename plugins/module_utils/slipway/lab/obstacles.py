"""What stands in the way of machines before they are made: names, addresses and networks that others have.

``look`` finds out what there is, ``judge`` compares that with the plan and touches nothing. What a killed run of ours
left half made is no obstacle: it may be cleared away.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SlipwayError
from ..node.fitness import GB, NEEDS
from . import computer, docker
from .container import container_name, shared_volume
from .docker import Thing
from .vagrant import ids

if TYPE_CHECKING:
    from .plan import LabPlan

# Where a free network is looked for, in this order, and how many of them are tried in each place.
OWN_USE = ("192.168.56.0/21", "192.168.0.0/16", "172.24.0.0/13", "10.0.0.0/8")
MOST_LOOKED_AT = 1024

# Seconds to wait for an address of ours to answer somebody else's SSH; nothing there is what we hope for.
ANSWER_SECONDS = 0.5


@dataclass
class Seen:
    """What there is before machines are made. ``records``: machine name to the id that Vagrant wrote down."""

    records: dict[str, str] = field(default_factory=dict)
    containers: dict[str, Thing] = field(default_factory=dict)
    volumes: dict[str, Thing] = field(default_factory=dict)
    networks: dict[str, Thing] = field(default_factory=dict)
    # Networks that this computer reaches by itself: interface or route, and its network.
    interfaces: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Findings:
    """``refusals`` are errors for the user; the rest are names of what a killed run of ours left half made."""

    refusals: list[SlipwayError] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)


def look(plan: LabPlan) -> Seen:
    """Find out what there is that bears on the plan."""
    seen = Seen(records=ids(Path(plan["vagrant"]), plan["provider"]), interfaces=list(interfaces(plan["provider"])))
    if plan["provider"] == "docker":
        seen.containers = {thing.name: thing for thing in docker.containers()}
        seen.volumes = {thing.name: thing for thing in docker.volumes()}
        seen.networks = {thing.name: thing for thing in docker.networks()}
    return seen


def interfaces(provider: str) -> Iterator[tuple[str, str]]:
    """List what this computer reaches without its default route: (interface, network)."""
    # What a provider made for its machines is its own to judge.
    own = {"virtualbox": "vboxnet", "libvirt": "virbr"}.get(provider, "\0")
    for line in computer.lines("ip", "-4", "-o", "route", "show", "table", "main"):
        words = line.split()
        target = words[1] if words[0] in ("unreachable", "blackhole", "prohibit") else words[0]
        if target == "default" or "dev" not in words:
            continue
        device = words[words.index("dev") + 1]
        if not device.startswith(own):
            yield f"the network interface {device}", target if "/" in target else f"{target}/32"


def judge(plan: LabPlan, seen: Seen) -> Findings:
    """Compare the plan with what there is: what stands in the way, and what may be cleared away."""
    findings = Findings()
    for machine in plan["machines"]:
        _judge_machine(plan, machine["name"], seen, findings)
    _judge_shared_volume(plan, seen, findings)
    _judge_network(plan, seen, findings)
    return findings


def _judge_machine(plan: LabPlan, machine: str, seen: Seen, findings: Findings) -> None:
    name = container_name(plan, machine)
    volume = f"{name}-var"
    container = seen.containers.get(name)
    record = seen.records.get(machine, "")
    if container is not None and container.id != record:
        if container.owner == plan["vagrant"] and record == "preparing":
            # A run was killed after Docker had made it and before Vagrant wrote down which it is.
            findings.containers.append(name)
            findings.volumes += [volume] if volume in seen.volumes else []
        else:
            findings.refusals.append(
                SlipwayError("name-taken", f"The container {name} exists already. {whose(plan, container)}")
            )
    elif container is None and volume in seen.volumes:
        if seen.volumes[volume].owner == plan["vagrant"]:
            findings.volumes.append(volume)
        else:
            findings.refusals.append(
                SlipwayError("name-taken", f"The volume {volume} exists already. {whose(plan, seen.volumes[volume])}")
            )


def _judge_shared_volume(plan: LabPlan, seen: Seen, findings: Findings) -> None:
    volume = seen.volumes.get(shared_volume(plan))
    if volume is None:
        return
    if volume.owner != plan["vagrant"]:
        findings.refusals.append(
            SlipwayError("name-taken", f"The volume {volume.name} exists already. {whose(plan, volume)}")
        )
    elif not any(container.owner == plan["vagrant"] for container in seen.containers.values()):
        # No machine is left that could have written to it: a new cluster starts with an empty folder.
        findings.volumes.append(volume.name)


def _judge_network(plan: LabPlan, seen: Seen, findings: Findings) -> None:
    wanted = plan["network"]
    own = seen.networks.get(wanted["name"])
    if own is not None and own.owner != plan["vagrant"]:
        findings.refusals.append(
            SlipwayError("name-taken", f"The Docker network {own.name} exists already. {whose(plan, own)}")
        )
        return
    if own is not None and own.subnets == (wanted["cidr"],):
        return
    if own is not None:
        if own.attached:
            what = (
                f"The machines stand in the network {', '.join(own.subnets)}, and cluster_node_cidr is now "
                f"{wanted['cidr']}: run `make down` first, or set it back."
            )
            findings.refusals.append(SlipwayError("node-cidr-changed", what))
            return
        findings.networks.append(own.name)
    used = _used(plan, seen)
    for network in seen.networks.values():
        for subnet in network.subnets:
            if network is not own and overlap(subnet, wanted["cidr"]):
                owner = f"of the cluster {network.cluster} ({network.owner})" if network.owner else "of somebody else"
                findings.refusals.append(
                    taken(wanted["cidr"], f"the Docker network {network.name} {owner}", subnet, used)
                )
    bridged = {subnet for network in seen.networks.values() for subnet in network.subnets}
    for name, subnet in seen.interfaces:
        if subnet not in bridged and overlap(subnet, wanted["cidr"]):
            findings.refusals.append(taken(wanted["cidr"], name, subnet, used))


def _used(plan: LabPlan, seen: Seen) -> list[str]:
    """List the networks that others have: on this computer, and on the page."""
    bridged = [subnet for network in seen.networks.values() for subnet in network.subnets]
    return [*bridged, *(subnet for _, subnet in seen.interfaces), *plan["network"]["apart"]]


def whose(plan: LabPlan, thing: Thing) -> str:
    """Say whose a thing with a name of ours is, and what to do about it."""
    if thing.owner == plan["vagrant"]:
        return "An earlier run of this checkout left it and Vagrant no longer knows it: `make down` removes it."
    if not thing.owner:
        return f"It is not Slipway's: remove it, or set another cluster_name than {plan['cluster']!r}."
    if Path(thing.owner).exists():
        return (
            f"It belongs to the cluster {thing.cluster!r} whose records are in {thing.owner}: run `make down` "
            f"there, or set another cluster_name and cluster_node_cidr here."
        )
    return (
        f"It belongs to a cluster {thing.cluster!r} whose records ({thing.owner}) are gone: remove all of it with\n"
        f"  .venv/bin/python -m slipway.lab.provider remove --cluster {thing.cluster}"
    )


def no_room(plan: LabPlan, known: Container[str], free: int | None, where: str) -> list[SlipwayError]:
    """Refuse machines whose disks will not find room ``where``: a disk takes none at first, and is filled later.

    ``known`` are machines that exist; ``free`` are bytes, None where nobody knows.
    """
    needed = sum(NEEDS[machine["role"]].disk for machine in plan["machines"] if machine["name"] not in known)
    if free is None or free >= needed:
        return []
    what = (
        f"The disks of the new machines need up to {needed / GB:.0f} GB, and {free / GB:.1f} GB are free {where}. "
        "Free some there, or have fewer machines: cluster_workers: {count: 1}"
    )
    return [SlipwayError("no-room-for-machines", what)]


def taken(cidr: str, name: str, subnet: str, used: Iterable[str]) -> SlipwayError:
    """Say that the node network is not free; ``used`` are all networks that others have, here and on the page."""
    return SlipwayError(
        "network-in-use",
        f"cluster_node_cidr {cidr} is taken: {name} has {subnet}. Set one that is free, such as "
        f"{free_network(cidr, used)}, with cluster_metallb_addresses and the address of cluster_gateway inside it.",
    )


def answering(plan: LabPlan, seen: Seen) -> list[SlipwayError]:
    """Return refusals for addresses of machines that are not made yet, and at which some SSH server answers."""
    proposal = free_network(plan["network"]["cidr"], _used(plan, seen))
    new = [machine for machine in plan["machines"] if machine["name"] not in seen.records]
    with ThreadPoolExecutor(max_workers=max(len(new), 1)) as pool:
        answers = list(pool.map(lambda machine: _answers(machine["address"]), new))
    return [
        SlipwayError(
            "address-answers",
            f"{machine['address']}, the address for {machine['name']}, answers already: a machine that is not of this "
            f"cluster has it. Shut that one down, or set another cluster_node_cidr, such as {proposal}.",
        )
        for machine, answer in zip(new, answers, strict=True)
        if answer
    ]


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=ANSWER_SECONDS) as connection:
            # Some networks accept every connection: only a greeting shows that there is somebody.
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def free_network(cidr: str, used: Iterable[str]) -> str:
    """Propose a network of the same size that overlaps none in use: the next one, else one of those for own use."""
    network = ipaddress.IPv4Network(cidr)
    others = [cidr, *used]
    for place in map(ipaddress.IPv4Network, (cidr, *OWN_USE)):
        inside = next((own for own in map(ipaddress.IPv4Network, OWN_USE) if place.subnet_of(own)), None)
        if inside is None or network.prefixlen < inside.prefixlen:
            continue
        size = network.num_addresses
        first = int(place.network_address) // size * size
        for start in range(first, int(inside.broadcast_address), size)[:MOST_LOOKED_AT]:
            found = ipaddress.IPv4Network((start, network.prefixlen))
            if not any(overlap(str(found), other) for other in others):
                return str(found)
    return "another one"


def overlap(one: str, other: str) -> bool:
    """Tell whether two IPv4 networks share addresses; an IPv6 one never does."""
    first, second = ipaddress.ip_network(one, strict=False), ipaddress.ip_network(other, strict=False)
    return first.version == second.version and first.overlaps(second)
