"""Rules about this computer: its files, its networks, its memory and its disk are enough for the settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network as Network

from ..node import networks
from ..node.architecture import AMD64, AUTO
from ..paths import user_path
from . import audit, ssh_keys
from .addresses import free_network, network_apart
from .form import Fault
from .machines import FLOOR, Member, members
from .model import Settings, works
from .rules import MACHINES, OF_PODS_AND_SERVICES, Surroundings, local_rule

GB = 10**9
FIRST_RUN_GB = {"source": 30, "auto": 30, "upstream": 5}
LATER_RUN_GB = 2

VIRTUALBOX_CONF = "/etc/vbox/networks.conf"


@local_rule("cluster_ssh_keys")
def ssh_keys_are_public_keys(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    for index, text in enumerate(settings.cluster_ssh_keys):
        problem = ssh_keys.line_problem(text)
        if not problem and not ssh_keys.is_line(text):
            problem = ssh_keys.public_file_problem(user_path(around.root, text))
        if problem:
            yield Fault(problem[0], ("cluster_ssh_keys", index), problem[1], works(("cluster_ssh_keys",)))


@local_rule("cluster_audit")
def audit_policy_is_one(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    if settings.cluster_audit not in (audit.OFF, audit.METADATA):
        path = user_path(around.root, str(settings.cluster_audit))
        if problem := audit.file_problem(path):
            yield Fault("audit-policy", ("cluster_audit",), problem, works(("cluster_audit",)))


# What a box is built with.
BOX_SYSTEMS = ("debian-12", "debian-13")


@local_rule("cluster_provider", "cluster_systems", "cluster_box")
def systems_are_of_what_is_made(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    if not settings.cluster_systems or around.provider == "docker":
        return
    if around.provider == "hosts":
        what = "is for machines that are made; with provider hosts a machine's system is its own"
        yield Fault("system-not-of-page", ("cluster_systems",), what, "cluster_systems: {}")
    elif settings.cluster_box != "built":
        what = f"a machine's system is that of cluster_box, which is {settings.cluster_box}"
        yield Fault("system-not-of-page", ("cluster_systems",), what, "cluster_systems: {}, or cluster_box: built")
    for name, system in settings.cluster_systems.items() if settings.cluster_box == "built" else ():
        if around.provider != "hosts" and system not in BOX_SYSTEMS:
            what = f"no box is built with it; there are {', '.join(BOX_SYSTEMS)}"
            yield Fault("no-box-of-system", ("cluster_systems", name), what, f"{name}: {BOX_SYSTEMS[-1]}")


@local_rule("cluster_provider", "cluster_architecture", "cluster_box")
def machines_are_of_this_computer(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    if around.provider == "hosts":
        return
    if settings.cluster_architecture not in (AUTO, around.architecture):
        what = f"machines that are made here have the architecture of this computer, which is {around.architecture}"
        works_too = f"cluster_architecture: {around.architecture}, or cluster_provider: hosts with such machines"
        yield Fault("architecture-not-here", ("cluster_architecture",), what, works_too)
    if around.provider != "docker" and settings.cluster_box == "built" and around.architecture != AMD64:
        what = f"a box is built for {AMD64} alone, and this computer is {around.architecture}"
        yield Fault("no-box-for-architecture", ("cluster_box",), what, "cluster_box: auto")


@local_rule("cluster_provider", "cluster_hosts")
def host_keys_exist(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    for index, host in enumerate(settings.cluster_hosts if settings.cluster_provider == "hosts" else []):
        if not host.key:
            continue
        if problem := ssh_keys.private_file_problem(user_path(around.root, host.key)):
            error_id, what, works_too = problem
            yield Fault(error_id, ("cluster_hosts", index, "key"), what, works_too)


@local_rule("cluster_kubernetes_version", "cluster_artifacts_from")
def kubernetes_is_known(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    version, known = settings.cluster_kubernetes_version, around.kubernetes_releases
    if not known or version in known:
        return
    key, names = ("cluster_kubernetes_version",), ", ".join(known)
    example = "cluster_kubernetes_version: " + " or ".join(f'"{one}"' for one in known)
    if version.rpartition(".")[0] not in {one.rpartition(".")[0] for one in known}:
        yield Fault("kubernetes-unknown", key, f"artifacts/catalog.yml knows Kubernetes {names} only", example)
    elif settings.cluster_artifacts_from != "upstream":
        what = f"artifacts/go builds {names}; another release can only come from upstream"
        yield Fault("kubernetes-not-built", key, what, example, warning=settings.cluster_artifacts_from == "auto")


@local_rule("cluster_node_cidr", *OF_PODS_AND_SERVICES)
def networks_are_free_here(settings: Settings, around: Surroundings) -> Iterator[Fault]:
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
            yield Fault("network-in-use", (key,), what, works((key,), free_network(key, [*claimed, *others])))


# The network of a provider over which Vagrant gets into machines, beside the one of the nodes.
OF_PROVIDERS = {
    "libvirt": {"192.168.121.0/24": "Vagrant gets into machines of libvirt over it"},
    "virtualbox": {"10.0.2.0/24": "every machine of VirtualBox has a card in it (NAT)"},
}


@local_rule("cluster_provider", "cluster_node_cidr")
def nodes_are_apart_from_the_providers_network(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    key = "cluster_node_cidr"
    for network, what in OF_PROVIDERS.get(around.provider, {}).items():
        if Network(settings.cluster_node_cidr).overlaps(Network(network)) and not around.existing:
            better = network_apart(key, settings, None)
            yield Fault("network-in-use", (key,), f"shares addresses with {network} ({what})", works((key,), better))


def _claimed(keys: Iterable[str], settings: Settings) -> list[networks.Claim]:
    """Claim the networks of the page."""
    return [{"network": getattr(settings, key), "what": key, "route": False} for key in keys]


@local_rule("cluster_provider", "cluster_node_cidr")
def virtualbox_allows_the_network(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    network = Network(settings.cluster_node_cidr)
    allowed = [Network(text) for text in around.virtualbox_networks]
    if around.provider == "virtualbox" and allowed and not any(network.subnet_of(other) for other in allowed):
        what = f"VirtualBox allows host-only networks inside {', '.join(map(str, allowed))} only"
        better = f'cluster_node_cidr: {next(iter(_small(allowed[0])))}, or a line "* {network}" in {VIRTUALBOX_CONF}'
        yield Fault("virtualbox-network", ("cluster_node_cidr",), what, better)


def _small(network: Network) -> Iterable[Network]:
    return network.subnets(new_prefix=max(24, network.prefixlen))


@local_rule(*MACHINES)
def memory_is_there(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    total, available = around.memory_total, around.memory_available
    if around.provider == "hosts" or total is None or available is None:
        return
    machines = members(settings, with_mirror=around.with_mirror)
    new = [machine for machine in machines if machine.name not in around.existing]
    asked, least = sum(machine.memory for machine in new), sum(FLOOR[machine.role] for machine in new)
    key = ("cluster_workers" if settings.cluster_workers.count else "cluster_controllers", "memory")
    if max((machine.memory for machine in machines), default=0) > total:
        for role, name in (("controller", "cluster_controllers"), ("worker", "cluster_workers")):
            if any(machine.memory > total for machine in machines if machine.role == role):
                what = f"one machine cannot have more than the {total} MiB of this computer"
                yield Fault(
                    "machines-exceed-memory", (name, "memory"), what, f"memory: {_memory_each(machines, total)}"
                )
    elif least > available:
        what = f"{len(new)} machines need at least {least} MiB, but only {available} MiB are free here"
        yield Fault(
            "not-enough-memory",
            (key[0], "count"),
            what,
            f"fewer machines, or {least - available} MiB more of free memory",
        )
    elif around.provider != "docker" and sum(machine.memory for machine in machines) > total:
        what = f"all machines together get {sum(machine.memory for machine in machines)} MiB; this computer has {total}"
        yield Fault("machines-exceed-memory", key, what, f"memory: {_memory_each(machines, total)}")
    elif asked > available:
        what = f"the machines may use {asked} MiB together, but {available} MiB are free here now"
        yield Fault("memory-not-free", key, what, f"memory: {_memory_each(new, available)}", warning=True)


def _memory_each(machines: list[Member], available: int) -> int:
    """Share ``available`` MiB out, as a multiple of 256 and never below what a controller needs."""
    nodes = max(1, sum(machine.role != "mirror" for machine in machines))
    mirrors = sum(machine.memory for machine in machines if machine.role == "mirror")
    return max(FLOOR["controller"], (available - mirrors) // nodes // 256 * 256)


@local_rule("cluster_artifacts_from")
def disk_is_there(settings: Settings, around: Surroundings) -> Iterator[Fault]:
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
    yield Fault(
        "not-enough-disk", ("cluster_artifacts_from",), what, works_too, warning=free >= max(least, LATER_RUN_GB * GB)
    )
