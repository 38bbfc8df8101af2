"""Settings as tests write them: what differs from the defaults, a computer with room for it, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from slipway.page.checks import on_the_page, on_this_computer
from slipway.page.examine import Report, examine
from slipway.page.read import Page
from slipway.page.rules import Surroundings

from .kubernetes import SHIPPED

GB = 10**9
CTRL = {"name": "ctrl", "address": "192.168.56.100", "role": "controller"}
NODE = {"name": "node-1", "address": "192.168.56.101", "role": "worker"}
MIRROR = {"name": "store", "address": "192.168.56.10", "role": "mirror"}
# One that no machine of the defaults is.
HOST = {"name": "node-9", "address": "192.168.56.109", "role": "worker"}
# What a cluster of the defaults was founded with.
FOUNDED = {
    "cluster_name": "slipway",
    "cluster_api_endpoint": "api.slipway.internal:6443",
    "cluster_pod_cidr": "10.244.0.0/16",
    "cluster_service_cidr": "10.96.0.0/12",
    "cluster_dns_domain": "cluster.local",
}
AMPLE = Surroundings(
    memory_total=64000,
    memory_available=60000,
    cache=Path("/cache"),
    cache_free=100 * GB,
    kubernetes_releases=(SHIPPED,),
)


def controllers(count: int, memory: int = 4096) -> dict[str, Any]:
    """So many controllers."""
    return {"cluster_controllers": {"count": count, "cpus": 2, "memory": memory}}


def workers(count: int, memory: int = 6144) -> dict[str, Any]:
    """So many workers."""
    return {"cluster_workers": {"count": count, "cpus": 2, "memory": memory}}


def hosts(*entries: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Machines that exist already."""
    return {"cluster_provider": "hosts", "cluster_hosts": list(entries), **others}


def anywhere(values: dict[str, Any]) -> dict[str, Any]:
    """A gateway that fits every network, unless the case is about it."""
    return {"cluster_gateway": {"address": "", "ports": [80]}, **values}


def page(**values: Any) -> Report:
    """Hold settings against each other."""
    return examine(anywhere(values), check=on_the_page)


def here(values: dict[str, Any], **around: Any) -> Report:
    """Hold settings against each other and against a computer that has plenty of everything but ``around``."""
    return examine(anywhere(values), check=on_this_computer(lambda _: replace(AMPLE, **around)))


def only(values: dict[str, Any], read: Page | None = None) -> Any:
    """Give the one thing that is wrong with values, each looked at by itself."""
    (problem,) = examine(values, read).problems
    return problem
