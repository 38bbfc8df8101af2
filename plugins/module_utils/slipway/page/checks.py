"""Checks that concern more than one setting, or the settings and the computer they are used on."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations, count
from pathlib import Path

from ..mesh.manifests import port_fault
from ..node import networks
from ..node.fitness import NEEDS
from ..paths import ROOT
from ..release import listed as releases
from . import ssh_keys
from .model import LARGEST, Check, Fault, Settings, address_range, works

MIRROR_NUMBER = 10
GATEWAY_NUMBER = 1
FIRST_NUMBER = 100
# Where the addresses for Services begin by custom; below it are the further controllers.
BALANCER_NUMBER = 90
# What kube-controller-manager gives each node by default.
NODE_POD_PREFIX = 24
# kube-apiserver takes no more than 2^20 Service addresses, and .10 of the network is the cluster's DNS.
SERVICE_PREFIXES = (12, 28)

ENDPOINT = "cluster_api_endpoint"
LONGEST_NAME = 253
LOCAL_NAME = re.compile(r"(.+\.)?localhost(\.localdomain)?|(ip6-)?loopback")
OF_PODS_AND_SERVICES = ("cluster_pod_cidr", "cluster_service_cidr")

# Not "mirror": Ansible warns of a host that is called as its group.
MIRROR_NAME = "mirror-1"
MIRROR_CPUS = 1
MIRROR_MEMORY = 1024

# MiB that a machine must really get, whatever its limit.
FLOOR = {role: needs.memory for role, needs in NEEDS.items()}

GB = 10**9
FIRST_RUN_GB = {"source": 30, "auto": 30, "upstream": 5}
LATER_RUN_GB = 2

VIRTUALBOX_CONF = "/etc/vbox/networks.conf"

Network = ipaddress.IPv4Network
Address = ipaddress.IPv4Address
Rule = Callable[[Settings], Iterator[Fault]]
LocalRule = Callable[[Settings, "Surroundings"], Iterator[Fault]]


@dataclass(frozen=True)
class Member:
    """A machine of the cluster; ``memory`` in MiB, ``cpus`` and ``memory`` 0 for hosts that exist already."""

    name: str
    role: str
    address: str
    cpus: int = 0
    memory: int = 0


@dataclass(frozen=True)
class Surroundings:
    """What the checks know of this computer. Memory in MiB, disk in bytes; None or empty: not known."""

    root: Path = ROOT
    provider: str = "docker"
    with_mirror: bool = True
    existing: frozenset[str] = frozenset()
    memory_available: int | None = None
    memory_total: int | None = None
    cache: Path = Path("/")
    cache_free: int | None = None
    cache_filled: bool = False
    cache_used: Callable[[], int] = lambda: 0
    virtualbox_networks: tuple[str, ...] = ()
    kubernetes_minors: frozenset[str] = frozenset()
    kubernetes_built: str = ""
    kubernetes_running: str = ""
    founded: Mapping[str, str] = field(default_factory=dict)
    # The addresses of controllers that are in the cluster, by name.
    controllers: Mapping[str, str] = field(default_factory=dict)
    claimed: Callable[[], list[networks.Claim]] = list
    # The IPv4 addresses of a name.
    resolve: Callable[[str], list[str]] = lambda _: ["192.0.2.1"]


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
    return [
        Member(name, role, str(network[number]), cpus, memory)
        for name, role, number, cpus, memory in wanted
        if number < network.num_addresses - 1
    ]


def on_the_page(settings: Settings, wrong: frozenset[str]) -> Iterator[Fault]:
    """Hold the settings against each other; a rule about a key that is wrong in itself is left out."""
    for keys, rule in _RULES:
        if wrong.isdisjoint(keys):
            yield from rule(settings)


def on_this_computer(look: Callable[[Settings], Surroundings]) -> Check:
    """Make a check of the settings against each other and against what ``look`` finds."""

    def check(settings: Settings, wrong: frozenset[str]) -> Iterator[Fault]:
        yield from on_the_page(settings, wrong)
        around = look(settings)
        for keys, rule in _LOCAL_RULES:
            if wrong.isdisjoint(keys):
                yield from rule(settings, around)

    return check


_RULES: list[tuple[frozenset[str], Rule]] = []
_LOCAL_RULES: list[tuple[frozenset[str], LocalRule]] = []


def _rule(*keys: str) -> Callable[[Rule], Rule]:
    """Register a rule with the keys it reads."""

    def register(rule: Rule) -> Rule:
        _RULES.append((frozenset(keys), rule))
        return rule

    return register


def _local_rule(*keys: str) -> Callable[[LocalRule], LocalRule]:
    """Register a rule that also reads the surroundings, with the keys it reads."""

    def register(rule: LocalRule) -> LocalRule:
        _LOCAL_RULES.append((frozenset(keys), rule))
        return rule

    return register


_MACHINES = ("cluster_provider", "cluster_controllers", "cluster_workers", "cluster_hosts", "cluster_node_cidr")


_NETWORK_USERS = (
    *_MACHINES,
    "cluster_mirror",
    "cluster_api_endpoint",
    "cluster_metallb_addresses",
    "cluster_pod_cidr",
    "cluster_service_cidr",
)


@_rule("cluster_provider", "cluster_controllers", "cluster_hosts")
def _controllers_are_odd(settings: Settings) -> Iterator[Fault]:
    what = "an even number of controllers survives no more failures than one fewer, and cannot agree when split"
    if settings.cluster_provider == "hosts":
        count = sum(host.role == "controller" for host in settings.cluster_hosts)
        if count and count % 2 == 0:
            yield Fault(("cluster_hosts",), f"{count} controllers: {what}", f"{count - 1} hosts with role: controller")
    elif settings.cluster_controllers.count % 2 == 0:
        yield Fault(("cluster_controllers", "count"), what, f"count: {settings.cluster_controllers.count + 1}")


@_rule("cluster_node_cidr", "cluster_pod_cidr", "cluster_service_cidr")
def _networks_are_apart(settings: Settings) -> Iterator[Fault]:
    keys = ("cluster_node_cidr", "cluster_pod_cidr", "cluster_service_cidr")
    networks = {key: Network(getattr(settings, key)) for key in keys}
    for first, second in combinations(keys, 2):
        if networks[first].overlaps(networks[second]):
            what = f"shares addresses with {first} {networks[first]}"
            yield Fault((second,), what, works((second,), _free_network(second, settings)))


# Where networks are looked for that are apart from the others of the page; no place is that of two keys.
_PLACES = {
    "cluster_node_cidr": ("192.168.56.0/21", "192.168.0.0/16", "172.24.0.0/13"),
    "cluster_pod_cidr": ("10.244.0.0/14", "10.128.0.0/9", "172.20.0.0/14", "100.64.0.0/11"),
    "cluster_service_cidr": ("10.96.0.0/11", "10.0.0.0/9", "172.16.0.0/14", "100.96.0.0/11"),
}


def _free_network(key: str, settings: Settings, near: Network | None = None) -> str:
    """Find a network for ``key`` that is apart from the others of the page: ``near``, else one of the size it needs."""
    others = [Network(getattr(settings, other)) for other in _PLACES if other != key]
    if near and not any(
        network.overlaps(other) for network in (near, Network(getattr(settings, key))) for other in others
    ):
        return str(near)
    lengths = {"cluster_node_cidr": (_node_prefix(settings),), "cluster_pod_cidr": (_pod_prefix(settings),)}
    for place in map(Network, _PLACES[key]):
        for length in lengths.get(key, (12, 16)):
            for network in place.subnets(new_prefix=length) if length >= place.prefixlen else ():
                if not any(network.overlaps(other) for other in others):
                    return str(network)
    return "a network that is apart from the others"


def _pod_prefix(settings: Settings) -> int:
    """Give the length of a pod network that has room for every node."""
    return min(16, NODE_POD_PREFIX - _node_count(settings).bit_length())


def _node_prefix(settings: Settings) -> int:
    """Give the length of a node network that has numbers for every machine."""
    return min(24, 32 - (FIRST_NUMBER + 1 + settings.cluster_workers.count + 1).bit_length())


@_rule("cluster_service_cidr")
def _services_have_a_size(settings: Settings) -> Iterator[Fault]:
    shortest, longest = SERVICE_PREFIXES
    network = Network(settings.cluster_service_cidr)
    if not shortest <= network.prefixlen <= longest:
        prefix = min(max(network.prefixlen, shortest), longest)
        better = Network((network.network_address, prefix), strict=False)
        yield Fault(
            ("cluster_service_cidr",),
            f"must be between /{shortest} and /{longest}: the API server takes no larger one, and DNS has address .10",
            works(("cluster_service_cidr",), _free_network("cluster_service_cidr", settings, better)),
        )


@_rule(*_MACHINES)
def _nodes_have_addresses(settings: Settings) -> Iterator[Fault]:
    if settings.cluster_provider == "hosts":
        return
    network = Network(settings.cluster_node_cidr)
    controllers, workers = settings.cluster_controllers.count, settings.cluster_workers.count
    most = BALANCER_NUMBER - 1 - MIRROR_NUMBER
    if controllers > most:
        what = f"the numbers that controllers may have are for {most} of them"
        yield Fault(("cluster_controllers", "count"), what, f"count: {most}")
    room = max(0, network.num_addresses - 1 - FIRST_NUMBER)
    if 1 + workers <= room:
        return
    what = f"has room for {room} machines from number {FIRST_NUMBER} up, but {1 + workers} (ctrl and workers) need one"
    if room > 0:
        yield Fault(("cluster_workers", "count"), f"{network} {what}", f"count: {room - 1}")
        return
    larger = Network((network.network_address, _node_prefix(settings)), strict=False)
    better = _free_network("cluster_node_cidr", settings, larger)
    yield Fault(("cluster_node_cidr",), what, works(("cluster_node_cidr",), better))


@_rule(*_MACHINES, "cluster_pod_cidr")
def _pods_have_addresses(settings: Settings) -> Iterator[Fault]:
    network = Network(settings.cluster_pod_cidr)
    nodes = _node_count(settings)
    room = 2 ** (NODE_POD_PREFIX - network.prefixlen) if network.prefixlen <= NODE_POD_PREFIX else 0
    if nodes > room:
        larger = Network((network.network_address, _pod_prefix(settings)), strict=False)
        yield Fault(
            ("cluster_pod_cidr",),
            f"has a /{NODE_POD_PREFIX} for {room} nodes, but there are {nodes}",
            works(("cluster_pod_cidr",), _free_network("cluster_pod_cidr", settings, larger)),
        )


def _node_count(settings: Settings) -> int:
    if settings.cluster_provider == "hosts":
        return sum(host.role != "mirror" for host in settings.cluster_hosts)
    return settings.cluster_controllers.count + settings.cluster_workers.count


@_rule(*_NETWORK_USERS)
def _balancer_addresses_are_free(settings: Settings) -> Iterator[Fault]:
    network = Network(settings.cluster_node_cidr)
    taken = _taken(settings)
    example = works(("cluster_metallb_addresses",), [_free_range(network, taken)])
    # Of an endpoint in a range its own rule tells.
    owners = {address: owner for address, owner in taken.items() if owner != ENDPOINT}
    ranges = [address_range(text) for text in settings.cluster_metallb_addresses]
    for index, (first, last) in enumerate(ranges):
        inside = [f"{owner} {address}" for address, owner in owners.items() if first <= address <= last]
        earlier = [settings.cluster_metallb_addresses[i] for i in range(index) if _overlap(ranges[i], (first, last))]
        others = {key: address_range(getattr(settings, key)) for key in ("cluster_pod_cidr", "cluster_service_cidr")}
        foreign = [key for key, other in others.items() if _overlap(other, (first, last))]
        if foreign:
            what = f"shares addresses with {foreign[0]} {getattr(settings, foreign[0])}"
        elif first not in network or last not in network:
            what = f"is not inside cluster_node_cidr {network}: layer 2 answers only for addresses of the node network"
        elif inside:
            what = f"includes the address of {', '.join(inside[:3])}"
        elif earlier:
            what = f"shares addresses with {earlier[0]}"
        else:
            continue
        yield Fault(("cluster_metallb_addresses", index), what, example)


_PARTS_OF_OTHERS = (
    ("grafana", "monitoring", "its dashboards ask Prometheus (monitoring)"),
    ("kiali", "istio", "it shows the mesh (istio)"),
    ("kiali", "monitoring", "its graph asks Prometheus (monitoring)"),
    ("tracing", "istio", "traces come from the mesh's proxies (istio)"),
)


@_rule("cluster_parts")
def _parts_have_what_they_need(settings: Settings) -> Iterator[Fault]:
    if settings.cluster_parts.istio and not settings.cluster_parts.metallb:
        yield Fault(
            ("cluster_parts", "istio"), "the gateway gets its address from MetalLB, which is off", "metallb: true"
        )
    for part, needed, why in _PARTS_OF_OTHERS:
        if getattr(settings.cluster_parts, part) and not getattr(settings.cluster_parts, needed):
            yield Fault(("cluster_parts", part), f"{why}, which is off", f"{needed}: true")


@_local_rule("cluster_releases", "cluster_parts")
def _releases_can_be_made(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    on = settings.cluster_parts.model_dump()
    pages = settings.cluster_releases
    for index, what, fix, warning in releases.faults(pages, around.root, parts_on=on, with_mirror=around.with_mirror):
        key: tuple[str | int, ...] = ("cluster_releases",) if index is None else ("cluster_releases", index)
        yield Fault(key, what, fix, warning=warning)


@_rule(*_NETWORK_USERS, "cluster_gateway", "cluster_parts")
def _gateway_can_answer(settings: Settings) -> Iterator[Fault]:
    gateway = settings.cluster_gateway
    for index, port in enumerate(gateway.ports):
        if port in gateway.ports[:index]:
            ports = list(dict.fromkeys(gateway.ports))
            yield Fault(("cluster_gateway", "ports"), f"has {port} twice", works(("cluster_gateway", "ports"), ports))
        elif fault := port_fault(port, gateway.ports[:index]):
            rest = [other for other in gateway.ports if other != port] or [80]
            yield Fault(("cluster_gateway", "ports", index), fault, works(("cluster_gateway", "ports"), rest))
    if not gateway.address or not settings.cluster_parts.istio:
        return
    address = Address(gateway.address)
    ranges = [address_range(text) for text in balancer_addresses(settings)]
    if not any(_overlap(each, (address, address)) for each in ranges):
        said = ", ".join(balancer_addresses(settings))
        yield Fault(
            ("cluster_gateway", "address"),
            f"is none of cluster_metallb_addresses {said}",
            works(("cluster_gateway", "address"), _address_inside(settings)),
        )


def fitting(key: tuple[str | int, ...], value: object, settings: Settings) -> tuple[tuple[str, ...], object] | None:
    """Give what fits the rest of the page where ``value`` is no network or address at all, with its key; else None."""
    name = key[-1]
    if len(key) == 1 and name in _PLACES:
        near = None
        with suppress(ValueError):  # it may be one with bits set beyond its length
            near = Network(str(value), strict=False) if "/" in str(value) else None
        usable = near and near.prefixlen >= LARGEST and not networks.special(str(near))
        return (str(name),), _free_network(str(name), settings, near if usable else None)
    if key[0] == "cluster_metallb_addresses" and len(key) > 1:
        return (str(key[0]),), [_free_range(Network(settings.cluster_node_cidr), _taken(settings))]
    if key == ("cluster_gateway", "address"):
        return ("cluster_gateway", "address"), _address_inside(settings)
    return None


def _address_inside(settings: Settings) -> str:
    first, last = address_range(balancer_addresses(settings)[0])
    return str(first + min(2, int(last) - int(first)))


def balancer_addresses(settings: Settings) -> list[str]:
    """Give the ranges that MetalLB hands out: those of the page, else one that is free on the node network."""
    return settings.cluster_metallb_addresses or [_free_range(Network(settings.cluster_node_cidr), _taken(settings))]


def _overlap(one: tuple[Address, Address], other: tuple[Address, Address]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _taken(settings: Settings) -> dict[Address, str]:
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


def _free_range(network: Network, taken: Iterable[Address]) -> str:
    """Find up to ten addresses in a row that nobody has: .90 to .99 when they are free, else as high as possible."""
    numbers = {int(address) - int(network[0]) for address in taken}
    size = network.num_addresses
    for start in (BALANCER_NUMBER, *range(min(size, 1024) - 10, 0, -1)):
        if start + 10 <= size and start > 0 and numbers.isdisjoint(range(start, start + 10)):
            return f"{network[start]}-{network[start + 9]}"
    free = [number for number in range(min(size, 1024)) if number not in numbers]
    return f"{network[free[-1]]}-{network[free[-1]]}" if free else "a range inside a larger cluster_node_cidr"


@_rule("cluster_provider", "cluster_hosts")
def _hosts_are_there(settings: Settings) -> Iterator[Fault]:
    hosts = settings.cluster_hosts
    if settings.cluster_provider == "auto" and hosts:
        what = "cluster_hosts names machines, but auto would make others"
        yield Fault(("cluster_provider",), what, "cluster_provider: hosts")
    if settings.cluster_provider == "hosts" and not any(host.role == "controller" for host in hosts):
        what = "provider hosts needs at least one host with role controller"
        yield Fault(("cluster_hosts",), what, works(("cluster_hosts",)))


@_rule("cluster_provider", "cluster_hosts")
def _hosts_are_distinct(settings: Settings) -> Iterator[Fault]:
    hosts = settings.cluster_hosts if settings.cluster_provider == "hosts" else []
    names = [host.name for host in hosts]
    addresses = [host.address for host in hosts]
    for index, host in enumerate(hosts):
        if host.name in names[:index]:
            free = next(name for number in count(1) if (name := f"node-{number}") not in names)
            what = f"is the name of cluster_hosts[{names.index(host.name)}] too"
            yield Fault(("cluster_hosts", index, "name"), what, f"name: {free}")
        if host.address in addresses[:index]:
            what = f"is the address of cluster_hosts[{addresses.index(host.address)}] too"
            yield Fault(("cluster_hosts", index, "address"), what, "address: the one that this host has")


@_rule("cluster_provider", "cluster_hosts", "cluster_node_cidr")
def _hosts_are_on_the_node_network(settings: Settings) -> Iterator[Fault]:
    network = Network(settings.cluster_node_cidr)
    for index, host in enumerate(settings.cluster_hosts if settings.cluster_provider == "hosts" else []):
        key = ("cluster_hosts", index, "address")
        address = Address(host.address)
        if address not in network:
            around = Network((address, 24), strict=False)
            moved = settings.model_copy(update={"cluster_node_cidr": str(around)})
            others = [other for other in _PLACES if other != "cluster_node_cidr"]
            in_the_way = [other for other in others if around.overlaps(Network(getattr(settings, other)))]
            fix = [f"cluster_node_cidr: {around}", *(f"{other}: {_free_network(other, moved)}" for other in in_the_way)]
            yield Fault(key, f"is outside cluster_node_cidr {network}", ", and ".join(fix))
        elif address in (network[0], network[-1]):
            what = f"is the network or broadcast address of cluster_node_cidr {network}"
            yield Fault(key, what, "address: the one that this host has")


@_rule("cluster_provider", "cluster_hosts", "cluster_mirror")
def _mirror_has_a_host(settings: Settings) -> Iterator[Fault]:
    if settings.cluster_provider != "hosts":
        return
    mirrors = [index for index, host in enumerate(settings.cluster_hosts) if host.role == "mirror"]
    for index in mirrors[1:]:
        yield Fault(("cluster_hosts", index, "role"), "is a second mirror; one is used", "role: worker")
    if settings.cluster_mirror is True and not mirrors:
        yield Fault(("cluster_mirror",), "needs one host with role mirror in cluster_hosts", "cluster_mirror: auto")
    if settings.cluster_mirror is False and mirrors:
        what = f"{settings.cluster_hosts[mirrors[0]].name} has the role mirror, but no mirror is wanted"
        yield Fault(("cluster_mirror",), what, "cluster_mirror: auto")


@_rule("cluster_provider", "cluster_hosts", "cluster_mirror", "cluster_artifacts_from")
def _what_is_built_has_a_mirror(settings: Settings) -> Iterator[Fault]:
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
        yield Fault(("cluster_artifacts_from",), what, f"{mirror}, or cluster_artifacts_from: upstream")


@_rule(*_NETWORK_USERS)
def _endpoint_reaches_controllers(settings: Settings) -> Iterator[Fault]:
    key = ("cluster_api_endpoint",)
    host, _, port = settings.cluster_api_endpoint.partition(":")
    if port and int(port) > 65535:
        yield Fault(key, "has a port above 65535", f"cluster_api_endpoint: {host}:6443")
    if not host:
        return
    everyone = members(settings, with_mirror=settings.cluster_mirror is not False)
    example = _endpoint_that_works(settings)
    if not re.fullmatch(r"[\d.]+", host):
        if len(host) > LONGEST_NAME:
            what = f"has {len(host)} characters, and a name of DNS has {LONGEST_NAME} at most"
            yield Fault(key, what, example)
        elif LOCAL_NAME.fullmatch(host):
            yield Fault(
                key, f"{host} is each machine itself, and every node is to reach the controllers by it", example
            )
        return
    try:
        address = Address(host)
    except ValueError:
        yield Fault(key, f"{host} is not an IPv4 address", example)
        return
    if means := networks.special(host):
        yield Fault(key, f"is {means}, and every node is to reach the controllers by it", example)
        return
    other = [member.name for member in everyone if member.role != "controller" and member.address == host]
    inside = _handed_out(settings, address)
    if other:
        yield Fault(key, f"is the address of {other[0]}, which is no controller", example)
    elif inside:
        yield Fault(key, f"lies in {inside[0]}, which is the cluster's to hand out", example)


def _endpoint_that_works(settings: Settings) -> str:
    controllers = [member.address for member in members(settings, with_mirror=False) if member.role == "controller"]
    return works((ENDPOINT,), f"{controllers[0]}:6443" if controllers else None)


def _handed_out(settings: Settings, address: Address) -> list[str]:
    """Name the networks of the page in which the cluster gives addresses to pods and Services, and ``address`` lies."""
    ranges = [(name, getattr(settings, name)) for name in OF_PODS_AND_SERVICES]
    ranges += [("cluster_metallb_addresses", text) for text in settings.cluster_metallb_addresses]
    return [f"{name} {text}" for name, text in ranges if _overlap(address_range(text), (address, address))]


@_local_rule(*_NETWORK_USERS)
def _endpoint_is_found(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    host = settings.cluster_api_endpoint.partition(":")[0]
    # Of what is no name, and of names that are wrong in themselves, their own rule tells.
    is_name = (
        host and not re.fullmatch(r"[\d.]+", host) and not LOCAL_NAME.fullmatch(host) and len(host) <= LONGEST_NAME
    )
    if not is_name or ENDPOINT in around.founded:
        return
    example = f"{_endpoint_that_works(settings)}, or an entry for {host} in DNS or in /etc/hosts here and on every node"
    found = around.resolve(host)
    wrong = [(address, f"is {networks.special(address)}") for address in found if networks.special(address)]
    for address in found:
        wrong += [
            (address, f"lies in {text}, which is the cluster's to hand out")
            for text in _handed_out(settings, Address(address))
        ]
    if not found:
        what = f"this computer finds no IPv4 address for {host}, and the cluster is reached by it"
        yield Fault((ENDPOINT,), what, example)
    elif {address for address, _ in wrong} == set(found):
        what = f"this computer finds {wrong[0][0]} for {host}, which {wrong[0][1]}"
        yield Fault((ENDPOINT,), what, example)


@_local_rule("cluster_ssh_keys")
def _ssh_keys_are_public_keys(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    for index, text in enumerate(settings.cluster_ssh_keys):
        problem = ssh_keys.line_problem(text)
        if not problem and not ssh_keys.is_line(text):
            problem = ssh_keys.public_file_problem(user_path(around.root, text))
        if problem:
            yield Fault(("cluster_ssh_keys", index), problem, works(("cluster_ssh_keys",)))


def user_path(root: Path, text: str) -> Path:
    """Find the file that the user means: absolute, ``~/…``, or from the checkout."""
    try:
        return root / Path(text).expanduser()
    except RuntimeError:  # the home of a user that there is not
        return root / text


@_rule(*_MACHINES, "cluster_systems")
def _systems_are_of_machines(settings: Settings) -> Iterator[Fault]:
    names = [machine.name for machine in members(settings, with_mirror=True)]
    for name in settings.cluster_systems:
        if name not in names:
            what = f"there is no machine {name}; there are {', '.join(names)}"
            yield Fault(("cluster_systems", name), what, f"{names[-1]}: debian-13")


@_local_rule("cluster_provider", "cluster_systems")
def _only_containers_have_systems(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    if not settings.cluster_systems or around.provider == "docker":
        return
    what = f"is for nodes in containers; with provider {around.provider} a machine's system is "
    what += "its own" if around.provider == "hosts" else "that of cluster_box"
    yield Fault(("cluster_systems",), what, "cluster_systems: {}")


@_local_rule("cluster_provider", "cluster_hosts")
def _host_keys_exist(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    for index, host in enumerate(settings.cluster_hosts if settings.cluster_provider == "hosts" else []):
        if not host.key:
            continue
        what, works_too = ssh_keys.private_file_problem(user_path(around.root, host.key))
        if what:
            yield Fault(("cluster_hosts", index, "key"), what, works_too)


@_local_rule("cluster_kubernetes_version", "cluster_artifacts_from")
def _kubernetes_is_known(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    key = ("cluster_kubernetes_version",)
    version, built = settings.cluster_kubernetes_version, around.kubernetes_built
    example = f'cluster_kubernetes_version: "{built or Settings().cluster_kubernetes_version}"'
    minors = around.kubernetes_minors
    if minors and version.rpartition(".")[0] not in minors:
        yield Fault(key, f"artifacts/catalog.yml knows Kubernetes {', '.join(sorted(minors))} only", example)
    elif built and version != built and settings.cluster_artifacts_from != "upstream":
        what = f"artifacts/go/recipes.yml builds {built}; another release can only come from upstream"
        yield Fault(key, what, example, warning=settings.cluster_artifacts_from == "auto")


@_local_rule("cluster_kubernetes_version")
def _kubernetes_stays(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    running = around.kubernetes_running
    if running and running != settings.cluster_kubernetes_version:
        what = f"the cluster runs {running}; another release would be an upgrade, for which there is no playbook yet"
        yield Fault(("cluster_kubernetes_version",), what, f'cluster_kubernetes_version: "{running}"')


@_local_rule("cluster_name", "cluster_api_endpoint", "cluster_pod_cidr", "cluster_service_cidr", "cluster_dns_domain")
def _founding_stays(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    for key, value in around.founded.items():
        kept, asked = value, str(getattr(settings, key))
        if key == "cluster_api_endpoint":
            # What the page leaves out, group_vars/all/wiring.yml makes of the name, and of kubeadm's port.
            kept = "" if value == f"api.{around.founded['cluster_name']}.internal:6443" else value
            asked = f"{asked}:6443" if asked and ":" not in asked else asked
        if asked != kept:
            what = f"a cluster keeps what it was founded with, and this one has {kept or 'none of its own'}"
            yield Fault((key,), what, f"{works((key,), kept)}, {_made_anew(around)}")


def _made_anew(around: Surroundings) -> str:
    reset = "`sudo kubeadm reset --force` on every host and " if around.provider == "hosts" else ""
    return f"or {reset}`make down` before it is made anew"


@_local_rule(*_MACHINES)
def _controllers_keep_their_addresses(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    moved = [
        (member, around.controllers[member.name])
        for member in members(settings, with_mirror=False)
        if around.controllers.get(member.name, member.address) != member.address
    ]
    names = [host.name for host in settings.cluster_hosts]
    for member, known in moved:
        what = f"{member.name} is a controller at {known}, which etcd and the certificates of the cluster hold"
        if settings.cluster_provider == "hosts":
            key: tuple[str | int, ...] = ("cluster_hosts", names.index(member.name), "address")
            yield Fault(key, what, f"address: {known}, {_made_anew(around)}")
        else:
            # The number of a made machine follows from its name, so one says it of all.
            before = Network((known, Network(settings.cluster_node_cidr).prefixlen), strict=False)
            works_too = f"{works(('cluster_node_cidr',), str(before))}, {_made_anew(around)}"
            yield Fault(("cluster_node_cidr",), what, works_too)
            return


def free_network(key: str, claimed: Iterable[networks.Claim]) -> str:
    """Find a network of the usual size for ``key`` in whose way nothing is that somebody has claimed."""
    if key == "cluster_pod_cidr":
        candidates = [f"10.{second}.0.0/16" for second in range(244, 256)]
    else:
        candidates = ["10.96.0.0/12", "10.112.0.0/12"]
    # Not from 172.16.0.0/12, of which Docker takes its own.
    return networks.free([*candidates, *(f"100.{second}.0.0/16" for second in range(64, 128))], claimed)


def _claimed(keys: Iterable[str], settings: Settings) -> list[networks.Claim]:
    """Claim the networks of the page."""
    return [{"network": getattr(settings, key), "what": key, "route": False} for key in keys]


@_local_rule("cluster_node_cidr", *OF_PODS_AND_SERVICES)
def _networks_are_free_here(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    # A cluster that stands keeps what it has, and is not held up for a network that came later.
    # Of one that shares addresses with the node network its own rule tells.
    # Nor is one that was stopped before there was a note of its founding: its controllers are there.
    nodes = Network(settings.cluster_node_cidr)
    names = {machine.name for machine in members(settings, with_mirror=False) if machine.role == "controller"}
    if names & around.existing:
        return
    given = {key: getattr(settings, key) for key in OF_PODS_AND_SERVICES if key not in around.founded}
    keys = [key for key, network in given.items() if not Network(network).overlaps(nodes)]
    claimed = list(around.claimed()) if keys else []
    for key in keys:
        found = [f"{claim['network']} ({claim['what']})" for claim in networks.in_the_way(given[key], claimed)]
        if found:
            others = _claimed({"cluster_node_cidr", *OF_PODS_AND_SERVICES} - {key}, settings)
            what = f"shares addresses with {', '.join(found[:3])}, which this computer uses"
            yield Fault((key,), what, works((key,), free_network(key, [*claimed, *others])))


@_local_rule("cluster_provider", "cluster_node_cidr")
def _virtualbox_allows_the_network(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    network = Network(settings.cluster_node_cidr)
    allowed = [Network(text) for text in around.virtualbox_networks]
    if around.provider == "virtualbox" and allowed and not any(network.subnet_of(other) for other in allowed):
        what = f"VirtualBox allows host-only networks inside {', '.join(map(str, allowed))} only"
        better = f'cluster_node_cidr: {next(iter(_small(allowed[0])))}, or a line "* {network}" in {VIRTUALBOX_CONF}'
        yield Fault(("cluster_node_cidr",), what, better)


def _small(network: Network) -> Iterable[Network]:
    return network.subnets(new_prefix=max(24, network.prefixlen))


@_local_rule(*_MACHINES)
def _memory_is_there(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    total, available = around.memory_total, around.memory_available
    if around.provider == "hosts" or total is None or available is None:
        return
    machines = members(settings, with_mirror=around.with_mirror)
    new = [machine for machine in machines if machine.name not in around.existing]
    asked, least = sum(machine.memory for machine in new), sum(FLOOR[machine.role] for machine in new)
    key = ("cluster_workers" if settings.cluster_workers.count else "cluster_controllers", "memory")
    if max(machine.memory for machine in machines) > total:
        for role, name in (("controller", "cluster_controllers"), ("worker", "cluster_workers")):
            if any(machine.memory > total for machine in machines if machine.role == role):
                what = f"one machine cannot have more than the {total} MiB of this computer"
                yield Fault((name, "memory"), what, f"memory: {_memory_each(machines, total)}")
    elif least > available:
        what = f"{len(new)} machines need at least {least} MiB, but only {available} MiB are free here"
        yield Fault((key[0], "count"), what, f"fewer machines, or {least - available} MiB more of free memory")
    elif around.provider != "docker" and sum(machine.memory for machine in machines) > total:
        what = f"all machines together get {sum(machine.memory for machine in machines)} MiB; this computer has {total}"
        yield Fault(key, what, f"memory: {_memory_each(machines, total)}")
    elif asked > available:
        what = f"the machines may use {asked} MiB together, but {available} MiB are free here now"
        yield Fault(key, what, f"memory: {_memory_each(new, available)}", warning=True)


def _memory_each(machines: list[Member], available: int) -> int:
    """Share ``available`` MiB out, as a multiple of 256 and never below what a controller needs."""
    nodes = max(1, sum(machine.role != "mirror" for machine in machines))
    mirrors = sum(machine.memory for machine in machines if machine.role == "mirror")
    return max(FLOOR["controller"], (available - mirrors) // nodes // 256 * 256)


@_local_rule("cluster_artifacts_from")
def _disk_is_there(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    free = around.cache_free
    most = LATER_RUN_GB if around.cache_filled else FIRST_RUN_GB[settings.cluster_artifacts_from]
    if free is None or free >= most * GB:
        return
    used = 0 if around.cache_filled else around.cache_used()
    needed = max(LATER_RUN_GB * GB, most * GB - used)
    if free >= needed:
        return
    least = FIRST_RUN_GB["upstream"] * GB - used if settings.cluster_artifacts_from == "auto" else needed
    what = (
        f"{around.cache} has {free / GB:.1f} GB free; getting or building what the cluster is made of takes up to "
        f"{needed / GB:.1f} GB there"
    )
    works_too = f"SLIPWAY_CACHE=/a/folder/with/{needed / GB:.0f}GB/free in the environment"
    yield Fault(("cluster_artifacts_from",), what, works_too, warning=free >= max(least, LATER_RUN_GB * GB))
