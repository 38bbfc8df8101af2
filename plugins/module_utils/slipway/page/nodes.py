"""What machines are, held against what the page wants of them, before anything on them is changed.

Pure: a run hands in the facts ``slipway_node`` of all machines that it has looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..node.arp import conflict
from ..node.networks import Claim, in_the_way, of_name_servers, special
from .addresses import free_network


def node_faults(
    nodes: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, str], addresses: Mapping[str, str]
) -> list[str]:
    """Say what of the page cannot be on machines as they are; empty: nothing.

    ``nodes`` are the facts ``slipway_node`` by the machine's name, ``wanted`` the networks by their key
    (``cluster_pod_cidr``, ``cluster_service_cidr``), ``addresses`` those of the page by the machine's name. A machine
    that is in a cluster already keeps the networks it has, and a controller its address.
    """
    faults = []
    stands = any(node.get("kubernetes", {}).get("joined") for node in nodes.values())
    everything = [claim for node in nodes.values() for claim in _claimed(node)]
    others = [{"network": network, "what": key, "route": False} for key, network in wanted.items()]
    for name, node in nodes.items():
        state = node.get("kubernetes", {})
        known, asked = str(state.get("address", "")), addresses.get(name, "")
        if known and asked and known != asked:
            faults.append(
                f"{name} is a controller with the address {known}, and the page gives it {asked}: etcd and the "
                f"certificates of the cluster hold its address, so it stays. What works: give {name} its address back"
            )
        for host, found in node.get("endpoint", {}).items() if not state.get("joined") else ():
            if not any(not special(address) for address in found):
                what = f"finds {found[0]}" if found else "finds no IPv4 address"
                faults.append(
                    f"cluster_api_endpoint: {name} {what} for {host}, by which it is to reach the controllers. "
                    f"What works: an entry for {host} in DNS or in /etc/hosts of {name}, or a controller's address"
                )
        for key, network in wanted.items() if not state.get("joined") else ():
            for claim in in_the_way(network, _claimed(node)):
                rest = [*everything, *(other for other in others if other["what"] != key)]
                works = f"{key}: {free_network(key, rest)} in group_vars/all/cluster.yml"
                # What a cluster was founded with stays.
                works = f"another network on {name}, or {name} off the page" if stands else works
                faults.append(
                    f"{key} {network} shares addresses with {claim['network']} of {name} ({claim['what']}), "
                    f"which would lose its way there. What works: {works}"
                )
        # Where a cluster stands, nodes that the page does not have may announce addresses.
        if not stands and node.get("strangers"):
            faults.append(conflict(node["strangers"]))
    return faults


def _claimed(node: Mapping[str, Any]) -> list[Claim]:
    return [*node.get("networks", []), *of_name_servers(node.get("nameservers", []))]
