"""What a rule about the settings is: the keys that it reads, and the function that finds its faults.

``rule`` makes one that reads the settings alone. ``local_rule`` makes one that also reads ``Surroundings``: what is
known of this computer. ``checks.py`` lists all rules, in the order in which their faults are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..node import networks
from ..paths import ROOT
from .form import Fault
from .model import Settings

ENDPOINT = "cluster_api_endpoint"
OF_PODS_AND_SERVICES = ("cluster_pod_cidr", "cluster_service_cidr")
# The keys that decide which machines there are.
MACHINES = ("cluster_provider", "cluster_controllers", "cluster_workers", "cluster_hosts", "cluster_node_cidr")
# The keys that decide who has which address.
NETWORK_USERS = (
    *MACHINES,
    "cluster_mirror",
    "cluster_api_endpoint",
    "cluster_metallb_addresses",
    "cluster_pod_cidr",
    "cluster_service_cidr",
)


@dataclass(frozen=True)
class Surroundings:
    """What the checks know of this computer. Memory in MiB, disk in bytes; None or empty: not known."""

    root: Path = ROOT
    provider: str = "docker"
    architecture: str = "amd64"
    with_mirror: bool = True
    existing: frozenset[str] = frozenset()
    memory_available: int | None = None
    memory_total: int | None = None
    cache: Path = Path("/")
    cache_free: int | None = None
    cache_filled: bool = False
    cache_used: Callable[[], int] = lambda: 0
    virtualbox_networks: tuple[str, ...] = ()
    # Those that the catalog knows, oldest first.
    kubernetes_releases: tuple[str, ...] = ()
    kubernetes_running: str = ""
    # This run is to take the cluster to another one.
    upgrading: bool = False
    founded: Mapping[str, str] = field(default_factory=dict)
    # The addresses of controllers that are in the cluster, by name.
    controllers: Mapping[str, str] = field(default_factory=dict)
    claimed: Callable[[], list[networks.Claim]] = list
    # The IPv4 addresses of a name.
    resolve: Callable[[str], list[str]] = lambda _: ["192.0.2.1"]


@dataclass(frozen=True)
class Rule:
    """A rule about the page; it is left out when one of its ``keys`` is wrong in itself."""

    keys: frozenset[str]
    faults: Callable[[Settings], Iterator[Fault]]


@dataclass(frozen=True)
class LocalRule:
    """A rule about the page and this computer; it is left out when one of its ``keys`` is wrong in itself."""

    keys: frozenset[str]
    faults: Callable[[Settings, Surroundings], Iterator[Fault]]


def rule(*keys: str) -> Callable[[Callable[[Settings], Iterator[Fault]]], Rule]:
    """Make a rule of a function that reads these keys."""
    return lambda faults: Rule(frozenset(keys), faults)


def local_rule(*keys: str) -> Callable[[Callable[[Settings, Surroundings], Iterator[Fault]]], LocalRule]:
    """Make a rule of a function that reads these keys, and the surroundings."""
    return lambda faults: LocalRule(frozenset(keys), faults)
