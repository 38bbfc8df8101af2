"""Rules about networks: they are apart, and large enough; the addresses for Services are free."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network as Network
from itertools import combinations

from .addresses import NODE_POD_PREFIX, free_range, network_apart, node_prefix, overlap, pod_prefix, taken_addresses
from .form import Fault
from .machines import BALANCER_NUMBER, FIRST_NUMBER, MIRROR_NUMBER, node_count
from .model import Settings, address_range, works
from .rules import ENDPOINT, MACHINES, NETWORK_USERS, rule

# kube-apiserver takes no more than 2^20 Service addresses, and .10 of the network is the cluster's DNS.
SERVICE_PREFIXES = (12, 28)


@rule("cluster_node_cidr", "cluster_pod_cidr", "cluster_service_cidr")
def networks_are_apart(settings: Settings) -> Iterator[Fault]:
    keys = ("cluster_node_cidr", "cluster_pod_cidr", "cluster_service_cidr")
    networks = {key: Network(getattr(settings, key)) for key in keys}
    for first, second in combinations(keys, 2):
        if networks[first].overlaps(networks[second]):
            what = f"shares addresses with {first} {networks[first]}"
            yield Fault("network-overlap", (second,), what, works((second,), network_apart(second, settings)))


@rule("cluster_service_cidr")
def services_have_a_size(settings: Settings) -> Iterator[Fault]:
    shortest, longest = SERVICE_PREFIXES
    network = Network(settings.cluster_service_cidr)
    if not shortest <= network.prefixlen <= longest:
        prefix = min(max(network.prefixlen, shortest), longest)
        better = Network((network.network_address, prefix), strict=False)
        yield Fault(
            "service-cidr-size",
            ("cluster_service_cidr",),
            f"must be between /{shortest} and /{longest}: the API server takes no larger one, and DNS has address .10",
            works(("cluster_service_cidr",), network_apart("cluster_service_cidr", settings, better)),
        )


@rule(*MACHINES)
def nodes_have_addresses(settings: Settings) -> Iterator[Fault]:
    if settings.cluster_provider == "hosts":
        return
    network = Network(settings.cluster_node_cidr)
    controllers, workers = settings.cluster_controllers.count, settings.cluster_workers.count
    most = BALANCER_NUMBER - 1 - MIRROR_NUMBER
    if controllers > most:
        what = f"the numbers that controllers may have are for {most} of them"
        yield Fault("too-many-controllers", ("cluster_controllers", "count"), what, f"count: {most}")
    room = max(0, network.num_addresses - 1 - FIRST_NUMBER)
    if 1 + workers <= room:
        return
    what = f"has room for {room} machines from number {FIRST_NUMBER} up, but {1 + workers} (ctrl and workers) need one"
    if room > 0:
        yield Fault("node-cidr-too-small", ("cluster_workers", "count"), f"{network} {what}", f"count: {room - 1}")
        return
    larger = Network((network.network_address, node_prefix(settings)), strict=False)
    better = network_apart("cluster_node_cidr", settings, larger)
    yield Fault("node-cidr-too-small", ("cluster_node_cidr",), what, works(("cluster_node_cidr",), better))


@rule(*MACHINES, "cluster_pod_cidr")
def pods_have_addresses(settings: Settings) -> Iterator[Fault]:
    network = Network(settings.cluster_pod_cidr)
    nodes = node_count(settings)
    room = 2 ** (NODE_POD_PREFIX - network.prefixlen) if network.prefixlen <= NODE_POD_PREFIX else 0
    if nodes > room:
        larger = Network((network.network_address, pod_prefix(settings)), strict=False)
        yield Fault(
            "pod-cidr-too-small",
            ("cluster_pod_cidr",),
            f"has a /{NODE_POD_PREFIX} for {room} nodes, but there are {nodes}",
            works(("cluster_pod_cidr",), network_apart("cluster_pod_cidr", settings, larger)),
        )


@rule(*NETWORK_USERS)
def balancer_addresses_are_free(settings: Settings) -> Iterator[Fault]:
    network = Network(settings.cluster_node_cidr)
    taken = taken_addresses(settings)
    example = works(("cluster_metallb_addresses",), [free_range(network, taken)])
    # Of an endpoint in a range its own rule tells.
    owners = {address: owner for address, owner in taken.items() if owner != ENDPOINT}
    ranges = [address_range(text) for text in settings.cluster_metallb_addresses]
    for index, (first, last) in enumerate(ranges):
        inside = [f"{owner} {address}" for address, owner in owners.items() if first <= address <= last]
        earlier = [settings.cluster_metallb_addresses[i] for i in range(index) if overlap(ranges[i], (first, last))]
        others = {key: address_range(getattr(settings, key)) for key in ("cluster_pod_cidr", "cluster_service_cidr")}
        foreign = [key for key, other in others.items() if overlap(other, (first, last))]
        if foreign:
            error_id = "network-overlap"
            what = f"shares addresses with {foreign[0]} {getattr(settings, foreign[0])}"
        elif first not in network or last not in network:
            error_id = "address-not-in-node-cidr"
            what = f"is not inside cluster_node_cidr {network}: layer 2 answers only for addresses of the node network"
        elif inside:
            error_id = "address-taken"
            what = f"includes the address of {', '.join(inside[:3])}"
        elif earlier:
            error_id = "network-overlap"
            what = f"shares addresses with {earlier[0]}"
        else:
            continue
        yield Fault(error_id, ("cluster_metallb_addresses", index), what, example)
