"""Networks that are spoken for: by their meaning, by a machine's interfaces and routes, by its name servers.

Runs on the nodes too (stdlib only). A claim is ``{"network": CIDR, "what": who has it, "route": bool}``; ``route`` is
true for what lies behind a gateway, where a longer prefix takes precedence.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .pod_network import USED

Network = ipaddress.IPv4Network
Claim = Mapping[str, Any]

SPECIAL = {
    "0.0.0.0/8": "this host (0.0.0.0/8)",
    "127.0.0.0/8": "loopback (127.0.0.0/8)",
    "169.254.0.0/16": "link-local addresses (169.254.0.0/16)",
    "224.0.0.0/4": "multicast (224.0.0.0/4)",
    "240.0.0.0/4": "reserved addresses (240.0.0.0/4)",
}
# What Kubernetes and its pod network make on a machine, and what never leaves it.
OWN_DEVICES = re.compile(rf"(lo|{USED['devices']}|veth.*|kube-ipvs\d*)")
# Two of these are a default route that a VPN has cut in halves.
DEFAULT_HALF = 1


def special(network: str) -> str:
    """Name the addresses of ``network`` (an address, or CIDR) that no machine can have; ``""`` when there are none."""
    asked = Network(network, strict=False)
    return next((name for text, name in SPECIAL.items() if Network(text).overlaps(asked)), "")


def claims(links: Iterable[Mapping[str, Any]], routes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List what a machine has and reaches, from the output of ``ip -json address`` and ``ip -json route``.

    Its default route claims nothing, but every gateway does, also one outside of all networks. What belongs to pods is
    left out.
    """
    found = [*_of_interfaces(links), *_of_routes(routes)]
    return [claim for index, claim in enumerate(found) if claim not in found[:index]]


def _of_interfaces(links: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for link in links:
        for info in link.get("addr_info", []):
            address, prefix = str(info.get("local", "")), info.get("prefixlen", 32)
            if _is_address(address) and not OWN_DEVICES.fullmatch(str(link.get("ifname", ""))):
                network = Network(f"{address}/{prefix}", strict=False)
                yield {"network": str(network), "what": f"interface {link['ifname']}", "route": False}


def _of_routes(routes: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for route in routes:
        device, target = str(route.get("dev", "")), str(route.get("dst", "default"))
        if OWN_DEVICES.fullmatch(device):
            continue
        gateways = [hop.get("gateway", "") for hop in (route, *route.get("nexthops", []))]
        for gateway in filter(_is_address, gateways):
            yield {"network": f"{gateway}/32", "what": f"gateway {gateway}", "route": False}
        if target == "default" or not _is_address(target.partition("/")[0]):
            continue
        network = Network(target, strict=False)
        if network.prefixlen > DEFAULT_HALF and route.get("protocol") != "kernel":
            by = f" by {device}" if device else ""
            yield {"network": str(network), "what": f"route {target}{by}", "route": True}


def of_name_servers(servers: Iterable[str]) -> list[dict[str, Any]]:
    """Claim the address of each name server; what is no IPv4 address is left out."""
    return [
        {"network": f"{server}/32", "what": f"name server {server}", "route": False}
        for server in servers
        if _is_address(server)
    ]


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def in_the_way(network: str, claimed: Iterable[Claim]) -> list[Claim]:
    """Keep the claims that a network of pods or Services would take something from.

    A route that reaches further than ``network`` is not in its way: the longer prefix wins, and what else lies behind
    that route stays where it is.
    """
    asked = Network(network)
    return [
        claim
        for claim in claimed
        if Network(claim["network"]).overlaps(asked)
        and not (claim["route"] and asked != Network(claim["network"]) and asked.subnet_of(Network(claim["network"])))
    ]


def free(candidates: Iterable[str], claimed: Iterable[Claim]) -> str:
    """Give the first candidate in whose way nothing is, else the last one."""
    known, given = list(claimed), list(candidates)
    return next((network for network in given if not in_the_way(network, known)), given[-1])
