"""Networks and addresses of the page: who has which, and which ones are free.

Messages take from here what they propose. MetalLB gets its addresses from here where the page names none.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address as Address
from ipaddress import IPv4Network as Network

from ..node import networks
from .machines import BALANCER_NUMBER, FIRST_NUMBER, GATEWAY_NUMBER, members, node_count
from .model import LARGEST, Settings, address_range
from .rules import ENDPOINT

# What kube-controller-manager gives each node by default.
NODE_POD_PREFIX = 24
# Where networks are looked for that are apart from the others of the page; no place is that of two keys.
PLACES = {
    "cluster_node_cidr": ("192.168.56.0/21", "192.168.0.0/16", "172.24.0.0/13"),
    "cluster_pod_cidr": ("10.244.0.0/14", "10.128.0.0/9", "172.20.0.0/14", "100.64.0.0/11"),
    "cluster_service_cidr": ("10.96.0.0/11", "10.0.0.0/9", "172.16.0.0/14", "100.96.0.0/11"),
}


def network_apart(key: str, settings: Settings, near: Network | None = None) -> str:
    """Find a network for ``key`` that is apart from the others of the page: ``near``, else one of the size it needs."""
    others = [Network(getattr(settings, other)) for other in PLACES if other != key]
    if near and not any(
        network.overlaps(other) for network in (near, Network(getattr(settings, key))) for other in others
    ):
        return str(near)
    lengths = {"cluster_node_cidr": (node_prefix(settings),), "cluster_pod_cidr": (pod_prefix(settings),)}
    for place in map(Network, PLACES[key]):
        for length in lengths.get(key, (12, 16)):
            for network in place.subnets(new_prefix=length) if length >= place.prefixlen else ():
                if not any(network.overlaps(other) for other in others):
                    return str(network)
    return "a network that is apart from the others"


def pod_prefix(settings: Settings) -> int:
    """Give the length of a pod network that has room for every node."""
    return min(16, NODE_POD_PREFIX - node_count(settings).bit_length())


def node_prefix(settings: Settings) -> int:
    """Give the length of a node network that has numbers for every machine."""
    return min(24, 32 - (FIRST_NUMBER + 1 + settings.cluster_workers.count + 1).bit_length())


def free_network(key: str, claimed: Iterable[networks.Claim]) -> str:
    """Find a network of the usual size for ``key`` in whose way nothing is that somebody has claimed."""
    if key == "cluster_pod_cidr":
        candidates = [f"10.{second}.0.0/16" for second in range(244, 256)]
    else:
        candidates = ["10.96.0.0/12", "10.112.0.0/12"]
    # Not from 172.16.0.0/12, of which Docker takes its own.
    return networks.free([*candidates, *(f"100.{second}.0.0/16" for second in range(64, 128))], claimed)


def fitting(key: tuple[str | int, ...], value: object, settings: Settings) -> tuple[tuple[str, ...], object] | None:
    """Give what fits the rest of the page where ``value`` is no network or address at all, with its key; else None."""
    name = key[-1]
    if len(key) == 1 and name in PLACES:
        near = None
        with suppress(ValueError):  # it may be one with bits set beyond its length
            near = Network(str(value), strict=False) if "/" in str(value) else None
        usable = near and near.prefixlen >= LARGEST and not networks.special(str(near))
        return (str(name),), network_apart(str(name), settings, near if usable else None)
    if key[0] == "cluster_metallb_addresses" and len(key) > 1:
        return (str(key[0]),), [free_range(Network(settings.cluster_node_cidr), taken_addresses(settings))]
    if key == ("cluster_gateway", "address"):
        return ("cluster_gateway", "address"), address_inside(settings)
    return None


def address_inside(settings: Settings) -> str:
    first, last = address_range(balancer_addresses(settings)[0])
    return str(first + min(2, int(last) - int(first)))


def balancer_addresses(settings: Settings) -> list[str]:
    """Give the ranges that MetalLB hands out: those of the page, else one that is free on the node network."""
    return settings.cluster_metallb_addresses or [
        free_range(Network(settings.cluster_node_cidr), taken_addresses(settings))
    ]


def overlap(one: tuple[Address, Address], other: tuple[Address, Address]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def taken_addresses(settings: Settings) -> dict[Address, str]:
    """Name who has which address of the node network."""
    network = Network(settings.cluster_node_cidr)
    taken = {network[0]: "the network", network[-1]: "broadcast"}
    if settings.cluster_provider != "hosts" and network.num_addresses > GATEWAY_NUMBER:
        taken[network[GATEWAY_NUMBER]] = "the gateway"
    for member in members(settings, with_mirror=settings.cluster_mirror is not False):
        taken[Address(member.address)] = member.name
    with suppress(ValueError):  # a name, or nothing
        taken.setdefault(Address(settings.cluster_api_endpoint.partition(":")[0]), ENDPOINT)
    return taken


def free_range(network: Network, taken: Iterable[Address]) -> str:
    """Find up to ten addresses in a row that nobody has: .90 to .99 when they are free, else as high as possible."""
    numbers = {int(address) - int(network[0]) for address in taken}
    size = network.num_addresses
    for start in (BALANCER_NUMBER, *range(min(size, 1024) - 10, 0, -1)):
        if start + 10 <= size and start > 0 and numbers.isdisjoint(range(start, start + 10)):
            return f"{network[start]}-{network[start + 9]}"
    free = [number for number in range(min(size, 1024)) if number not in numbers]
    return f"{network[free[-1]]}-{network[free[-1]]}" if free else "a range inside a larger cluster_node_cidr"


def first_address(network: str) -> str:
    """Give the first address of ``network`` (CIDR) that can be had; of Services, ``kubernetes`` has it."""
    return str(Network(network).network_address + 1)
