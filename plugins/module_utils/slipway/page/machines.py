"""The machines that the settings mean: their names, their numbers on the node network, and their sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network as Network
from typing import Any

from ..node.architecture import AUTO, of_this_computer
from ..node.fitness import NEEDS
from .model import Settings

MIRROR_NUMBER = 10
GATEWAY_NUMBER = 1
FIRST_NUMBER = 100
# Where the addresses for Services begin by custom; below it are the further controllers.
BALANCER_NUMBER = 90

# Not "mirror": Ansible warns of a host that is called as its group.
MIRROR_NAME = "mirror-1"
MIRROR_CPUS = 1
MIRROR_MEMORY = 1024

# MiB that a machine must really get, whatever its limit.
FLOOR = {role: needs.memory for role, needs in NEEDS.items()}


@dataclass(frozen=True)
class Member:
    """A machine of the cluster; ``memory`` in MiB, ``cpus`` and ``memory`` 0 for hosts that exist already."""

    name: str
    role: str
    address: str
    cpus: int = 0
    memory: int = 0


def members(settings: Settings, *, with_mirror: bool) -> list[Member]:
    """List the machines of the settings in the order they are made. Numbers beyond the network are left out."""
    if settings.cluster_provider == "hosts":
        return [Member(host.name, host.role, host.address) for host in settings.cluster_hosts]
    network = Network(settings.cluster_node_cidr)
    controllers, workers = settings.cluster_controllers, settings.cluster_workers
    wanted = [(MIRROR_NAME, "mirror", MIRROR_NUMBER, MIRROR_CPUS, MIRROR_MEMORY)] if with_mirror else []
    # A number follows from the name alone: machines that exist keep theirs, however many of the other kind come or go.
    for n in range(1, controllers.count + 1):
        name, number = ("ctrl", FIRST_NUMBER) if n == 1 else (f"ctrl-{n}", MIRROR_NUMBER + n)
        wanted.append((name, "controller", number, controllers.cpus, controllers.memory))
    numbers = range(1, workers.count + 1)
    # No more than there are numbers: so many are refused, but not counted one by one before.
    numbers = numbers[: network.num_addresses]
    wanted += [(f"node-{n}", "worker", FIRST_NUMBER + n, workers.cpus, workers.memory) for n in numbers]
    others = settings.cluster_nodes
    return [
        Member(
            name,
            role,
            str(network[number]),
            (others[name].cpus if name in others else 0) or cpus,
            (others[name].memory if name in others else 0) or memory,
        )
        for name, role, number, cpus, memory in wanted
        if number < network.num_addresses - 1
    ]


def architecture_of(name: str, wanted: str, hosts: Iterable[Mapping[str, Any]]) -> str:
    """Give the architecture of a machine: what its entry of ``hosts`` says, else ``wanted``, else this computer's."""
    own = next((str(host.get("architecture", AUTO)) for host in hosts if host["name"] == name), AUTO)
    return next((said for said in (own, wanted) if said != AUTO), of_this_computer())


def node_count(settings: Settings) -> int:
    if settings.cluster_provider == "hosts":
        return sum(host.role != "mirror" for host in settings.cluster_hosts)
    return settings.cluster_controllers.count + settings.cluster_workers.count
