"""Networks that are spoken for, and what of the page cannot be on machines as they are."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.node import networks
from slipway.page.nodes import node_faults

LINKS: list[dict[str, Any]] = [
    {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]},
    {"ifname": "eth0", "addr_info": [{"local": "172.17.0.2", "prefixlen": 16}, {"local": "fe80::1", "prefixlen": 64}]},
    {"ifname": "cni0", "addr_info": [{"local": "10.244.1.1", "prefixlen": 24}]},
    {"ifname": "flannel.1", "addr_info": [{"local": "10.244.1.0", "prefixlen": 32}]},
    {"ifname": "wg0", "addr_info": [{}]},
]
ROUTES: list[dict[str, Any]] = [
    {"dst": "default", "gateway": "172.31.1.1", "dev": "eth0"},
    {"dst": "0.0.0.0/1", "gateway": "172.31.1.1", "dev": "eth0"},
    {"dst": "172.17.0.0/16", "dev": "eth0", "protocol": "kernel", "scope": "link"},
    {"dst": "10.244.2.0/24", "gateway": "10.244.2.0", "dev": "flannel.1"},
    {"dst": "10.0.0.0/8", "dev": "wg0"},
    {"dst": "10.9.0.7", "dev": "wg0"},
    {"type": "unreachable", "dst": "10.8.0.0/16"},
    {"dst": "198.51.100.0/24", "nexthops": [{"gateway": "172.17.0.3", "dev": "eth0"}]},
]


@pytest.mark.parametrize(
    ("network", "means"),
    [
        ("127.0.0.0/8", "loopback"),
        ("127.3.0.0/16", "loopback"),
        ("0.0.0.0/8", "this host"),
        ("0.0.0.7", "this host"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/4", "multicast"),
        ("239.1.0.0/16", "multicast"),
        ("255.255.255.255", "reserved"),
        ("0.0.0.0/0", "this host"),
        ("64.0.0.0/2", "loopback"),
        ("10.244.0.0/16", ""),
        ("100.64.0.0/10", ""),
        ("192.168.56.100", ""),
    ],
)
def test_addresses_that_no_machine_can_have(network: str, means: str) -> None:
    assert networks.special(network).startswith(means)
    assert bool(networks.special(network)) is bool(means)


def test_what_a_machine_has_and_reaches_but_for_what_is_of_pods() -> None:
    found = [(claim["network"], claim["what"], claim["route"]) for claim in networks.claims(LINKS, ROUTES)]
    assert found == [
        ("172.17.0.0/16", "interface eth0", False),
        ("172.31.1.1/32", "gateway 172.31.1.1", False),
        ("10.0.0.0/8", "route 10.0.0.0/8 by wg0", True),
        ("10.9.0.7/32", "route 10.9.0.7 by wg0", True),
        ("10.8.0.0/16", "route 10.8.0.0/16", True),
        ("172.17.0.3/32", "gateway 172.17.0.3", False),
        ("198.51.100.0/24", "route 198.51.100.0/24", True),
    ]


@pytest.mark.parametrize(
    ("network", "what"),
    [
        ("172.17.0.0/16", ["interface eth0", "gateway 172.17.0.3"]),
        ("172.16.0.0/13", ["interface eth0", "gateway 172.17.0.3"]),
        ("172.17.9.0/24", ["interface eth0"]),
        # A gateway that lies in no network of the machine.
        ("172.31.0.0/16", ["gateway 172.31.1.1"]),
        ("10.9.0.0/16", ["route 10.9.0.7 by wg0"]),
        ("10.8.0.0/16", ["route 10.8.0.0/16"]),
        # The longer prefix wins over what a VPN takes besides.
        ("10.244.0.0/16", []),
        ("10.0.0.0/8", ["route 10.0.0.0/8 by wg0", "route 10.9.0.7 by wg0", "route 10.8.0.0/16"]),
    ],
)
def test_what_is_in_the_way_of_a_network(network: str, what: list[str]) -> None:
    found = networks.in_the_way(network, networks.claims(LINKS, ROUTES))
    assert [claim["what"] for claim in found] == what


def test_name_servers_claim_their_addresses() -> None:
    claimed = networks.of_name_servers(["10.96.0.10", "fd00::1", ""])
    assert [claim["what"] for claim in networks.in_the_way("10.96.0.0/12", claimed)] == ["name server 10.96.0.10"]


WANTED = {"cluster_pod_cidr": "172.17.0.0/16", "cluster_service_cidr": "10.96.0.0/12"}


def seen(**more: Any) -> dict[str, Any]:
    return {
        "networks": networks.claims(LINKS[:2], []),
        "nameservers": ["192.0.2.53"],
        "kubernetes": {"joined": False, "address": ""},
        **more,
    }


def test_a_network_that_a_machine_has_is_named_with_it_and_one_that_would_work() -> None:
    (fault,) = node_faults({"node-1": seen(), "node-2": seen(networks=[])}, WANTED, {})
    assert fault.startswith(
        "cluster_pod_cidr 172.17.0.0/16 shares addresses with 172.17.0.0/16 of node-1 (interface eth0)"
    )
    assert "cluster_pod_cidr: 10.244.0.0/16 in group_vars/all/cluster.yml" in fault


def test_what_would_work_is_free_on_every_machine() -> None:
    other = {"network": "10.244.0.0/15", "what": "interface eth1", "route": False}
    (fault,) = node_faults({"node-1": seen(), "node-2": seen(networks=[other])}, WANTED, {})
    assert "cluster_pod_cidr: 10.246.0.0/16" in fault


def test_a_name_server_among_the_services_is_named() -> None:
    node = seen(networks=[], nameservers=["10.96.0.10"])
    (fault,) = node_faults({"node-1": node}, WANTED, {})
    assert "cluster_service_cidr 10.96.0.0/12 shares addresses with 10.96.0.10/32 of node-1 (name server" in fault
    assert "cluster_service_cidr: 10.112.0.0/12" in fault


@pytest.mark.parametrize("joined", [False, True])
def test_an_address_that_a_stranger_has_is_named_before_there_is_a_cluster(joined: bool) -> None:
    others = {"192.0.2.90": ["02:42:c0:00:02:65"]}
    node = seen(networks=[], strangers=others, kubernetes={"joined": joined, "address": ""})
    faults = node_faults({"ctrl": node, "node-1": seen(networks=[], strangers=None)}, WANTED, {})
    assert ["192.0.2.90 is answered by 02:42:c0:00:02:65" in fault for fault in faults] == ([] if joined else [True])


def test_machines_that_are_in_keep_the_networks_that_they_have() -> None:
    assert node_faults({"node-1": seen(kubernetes={"joined": True, "address": ""})}, WANTED, {}) == []


@pytest.mark.parametrize(("asked", "refused"), [("192.0.2.7", True), ("192.0.2.100", False), ("", False)])
def test_the_address_of_a_controller_stays(asked: str, refused: bool) -> None:
    node = seen(kubernetes={"joined": True, "address": "192.0.2.100"})
    faults = node_faults({"ctrl": node}, WANTED, {"ctrl": asked} if asked else {})
    assert bool(faults) is refused
    assert all("controller with the address 192.0.2.100, and the page gives it 192.0.2.7" in fault for fault in faults)


@pytest.mark.parametrize(
    ("endpoint", "joined", "refused"),
    [
        ({"api.example.org": []}, False, "node-1 finds no IPv4 address for api.example.org"),
        ({"api.example.org": ["127.0.1.1"]}, False, "node-1 finds 127.0.1.1 for api.example.org"),
        ({"api.example.org": ["192.0.2.50"]}, False, ""),
        ({"api.example.org": ["127.0.1.1", "192.0.2.50"]}, False, ""),
        ({"api.example.org": []}, True, ""),
        ({}, False, ""),
    ],
)
def test_an_endpoint_that_a_machine_does_not_find_is_named_with_the_machine(
    endpoint: dict[str, list[str]], joined: bool, refused: str
) -> None:
    node = seen(networks=[], endpoint=endpoint, kubernetes={"joined": joined, "address": ""})
    faults = node_faults({"node-1": node}, WANTED, {})
    assert [refused in fault and "/etc/hosts of node-1" in fault for fault in faults] == [True] * bool(refused)
