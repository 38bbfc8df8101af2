"""Rules about machines: controllers, mirrors, the hosts of the page, and what runs on them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address as Address
from ipaddress import IPv4Network as Network
from itertools import count

from ..node.fitness import NEEDS
from .addresses import PLACES, network_apart
from .form import Fault
from .machines import members
from .model import Settings, works
from .rules import MACHINES, rule


@rule("cluster_provider", "cluster_controllers", "cluster_hosts")
def controllers_are_odd(settings: Settings) -> Iterator[Fault]:
    what = "an even number of controllers survives no more failures than one fewer, and cannot agree when split"
    if settings.cluster_provider == "hosts":
        count = sum(host.role == "controller" for host in settings.cluster_hosts)
        if count and count % 2 == 0:
            yield Fault(
                "even-controllers",
                ("cluster_hosts",),
                f"{count} controllers: {what}",
                f"{count - 1} hosts with role: controller",
            )
    elif settings.cluster_controllers.count % 2 == 0:
        yield Fault(
            "even-controllers",
            ("cluster_controllers", "count"),
            what,
            f"count: {settings.cluster_controllers.count + 1}",
        )


@rule("cluster_provider", "cluster_hosts")
def hosts_are_there(settings: Settings) -> Iterator[Fault]:
    hosts = settings.cluster_hosts
    if settings.cluster_provider == "auto" and hosts:
        what = "cluster_hosts names machines, but auto would make others"
        yield Fault("hosts-not-used", ("cluster_provider",), what, "cluster_provider: hosts")
    if settings.cluster_provider == "hosts" and not any(host.role == "controller" for host in hosts):
        what = "provider hosts needs at least one host with role controller"
        yield Fault("no-controller", ("cluster_hosts",), what, works(("cluster_hosts",)))


@rule("cluster_provider", "cluster_hosts")
def hosts_are_distinct(settings: Settings) -> Iterator[Fault]:
    hosts = settings.cluster_hosts if settings.cluster_provider == "hosts" else []
    names = [host.name for host in hosts]
    addresses = [host.address for host in hosts]
    for index, host in enumerate(hosts):
        if host.name in names[:index]:
            free = next(name for number in count(1) if (name := f"node-{number}") not in names)
            what = f"is the name of cluster_hosts[{names.index(host.name)}] too"
            yield Fault("duplicate-value", ("cluster_hosts", index, "name"), what, f"name: {free}")
        if host.address in addresses[:index]:
            what = f"is the address of cluster_hosts[{addresses.index(host.address)}] too"
            yield Fault(
                "duplicate-value", ("cluster_hosts", index, "address"), what, "address: the one that this host has"
            )


@rule("cluster_provider", "cluster_hosts", "cluster_node_cidr")
def hosts_are_on_the_node_network(settings: Settings) -> Iterator[Fault]:
    network = Network(settings.cluster_node_cidr)
    for index, host in enumerate(settings.cluster_hosts if settings.cluster_provider == "hosts" else []):
        key = ("cluster_hosts", index, "address")
        address = Address(host.address)
        if address not in network:
            around = Network((address, 24), strict=False)
            moved = settings.model_copy(update={"cluster_node_cidr": str(around)})
            others = [other for other in PLACES if other != "cluster_node_cidr"]
            in_the_way = [other for other in others if around.overlaps(Network(getattr(settings, other)))]
            fix = [f"cluster_node_cidr: {around}", *(f"{other}: {network_apart(other, moved)}" for other in in_the_way)]
            yield Fault("address-not-in-node-cidr", key, f"is outside cluster_node_cidr {network}", ", and ".join(fix))
        elif address in (network[0], network[-1]):
            what = f"is the network or broadcast address of cluster_node_cidr {network}"
            yield Fault("reserved-address", key, what, "address: the one that this host has")


@rule("cluster_provider", "cluster_hosts", "cluster_mirror")
def mirror_has_a_host(settings: Settings) -> Iterator[Fault]:
    if settings.cluster_provider != "hosts":
        return
    mirrors = [index for index, host in enumerate(settings.cluster_hosts) if host.role == "mirror"]
    for index in mirrors[1:]:
        yield Fault(
            "second-mirror", ("cluster_hosts", index, "role"), "is a second mirror; one is used", "role: worker"
        )
    if settings.cluster_mirror is True and not mirrors:
        yield Fault(
            "no-mirror-host",
            ("cluster_mirror",),
            "needs one host with role mirror in cluster_hosts",
            "cluster_mirror: auto",
        )
    if settings.cluster_mirror is False and mirrors:
        what = f"{settings.cluster_hosts[mirrors[0]].name} has the role mirror, but no mirror is wanted"
        yield Fault("mirror-not-wanted", ("cluster_mirror",), what, "cluster_mirror: auto")


@rule("cluster_provider", "cluster_hosts", "cluster_mirror", "cluster_artifacts_from")
def what_is_built_has_a_mirror(settings: Settings) -> Iterator[Fault]:
    if settings.cluster_artifacts_from != "source":
        return
    wanted = settings.cluster_mirror is not False
    if settings.cluster_provider != "hosts":
        lacking, mirror = not wanted, "cluster_mirror: auto"
    else:
        # A mirror that is said to be there and is not is a fault of cluster_mirror already.
        lacking = settings.cluster_mirror is not True and all(host.role != "mirror" for host in settings.cluster_hosts)
        mirror = "one of cluster_hosts with role: mirror" + ("" if wanted else " and cluster_mirror: auto")
    if lacking:
        what = "needs a mirror: nobody else has what is built here, and what publishers have has other sums"
        yield Fault(
            "source-needs-mirror", ("cluster_artifacts_from",), what, f"{mirror}, or cluster_artifacts_from: upstream"
        )


@rule(*MACHINES, "cluster_nodes")
def nodes_are_of_machines(settings: Settings) -> Iterator[Fault]:
    known = {machine.name: machine for machine in members(settings, with_mirror=False)}
    nodes = {name: machine for name, machine in known.items() if machine.role != "mirror"}
    for name, node in settings.cluster_nodes.items():
        if name not in nodes:
            what = f"there is no node {name}; there are {', '.join(nodes)}"
            yield Fault(
                "unknown-machine", ("cluster_nodes", name), what, f"{list(nodes)[-1]}: {{labels: {{disk: ssd}}}}"
            )
            continue
        for key, least in (("cpus", NEEDS[nodes[name].role].cpus), ("memory", NEEDS[nodes[name].role].memory)):
            value = getattr(node, key)
            if value and settings.cluster_provider == "hosts":
                what = "is for machines that are made; with provider hosts a machine's size is its own"
                yield Fault("size-of-host", ("cluster_nodes", name, key), what, f"{key}: 0")
            elif value and value < least:
                what = f"must be 0, or at least {least} for a {nodes[name].role}"
                yield Fault("too-small", ("cluster_nodes", name, key), what, f"{key}: {least}")


@rule(*MACHINES, "cluster_systems")
def systems_are_of_machines(settings: Settings) -> Iterator[Fault]:
    names = [machine.name for machine in members(settings, with_mirror=True)]
    for name in settings.cluster_systems:
        if name not in names:
            what = f"there is no machine {name}; there are {', '.join(names)}"
            yield Fault("unknown-machine", ("cluster_systems", name), what, f"{names[-1]}: debian-13")
