"""The checks name networks and addresses that collide, and propose those that fit the rest of the page."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from slipway.page.addresses import balancer_addresses
from slipway.page.examine import examine

from tests.support.errors import tells
from tests.support.settings import CTRL, anywhere, here, hosts, page, workers


@pytest.mark.parametrize(
    ("values", "derived"),
    [
        ({}, "192.168.56.90-192.168.56.99"),
        ({"cluster_node_cidr": "10.7.0.0/25"}, "10.7.0.90-10.7.0.99"),
        (hosts({"name": "ctrl", "address": "192.168.56.95", "role": "controller"}), "192.168.56.245-192.168.56.254"),
        ({"cluster_api_endpoint": "192.168.56.95:6443"}, "192.168.56.245-192.168.56.254"),
        ({"cluster_api_endpoint": "192.168.56.250"}, "192.168.56.90-192.168.56.99"),
        ({"cluster_api_endpoint": "203.0.113.95:6443"}, "192.168.56.90-192.168.56.99"),
        ({"cluster_api_endpoint": "api.example.org:6443"}, "192.168.56.90-192.168.56.99"),
    ],
)
def test_without_a_range_ten_free_addresses_are_taken(values: dict[str, Any], derived: str) -> None:
    settings = examine({**anywhere(values), "cluster_metallb_addresses": []}).accepted()
    assert balancer_addresses(settings) == [derived]


def test_an_endpoint_in_a_range_is_one_fault_and_the_derived_range_leaves_it_out() -> None:
    endpoint = {"cluster_api_endpoint": "192.168.56.95:6443"}
    assert [problem.key for problem in page(**endpoint).problems] == ["cluster_api_endpoint"]
    assert page(**endpoint, cluster_metallb_addresses=[]).problems == []


@pytest.mark.parametrize("mirrored", ["auto", True])
def test_the_mirrors_address_is_kept_free(mirrored: Any) -> None:
    values = {"cluster_mirror": mirrored, "cluster_metallb_addresses": ["192.168.56.10-192.168.56.19"]}
    tells(page(**values).problems[0], "address-taken: mirror-1")


NETWORKS = {
    "cluster_node_cidr": [
        "192.168.56.0/24",
        "10.0.0.0/8",
        "10.244.0.0/16",
        "172.16.0.0/12",
        "192.168.56.0/26",
        "100.64.0.0/10",
    ],
    "cluster_pod_cidr": ["10.244.0.0/16", "192.168.0.0/16", "10.0.0.0/8", "10.97.0.0/25", "172.20.0.0/16"],
    "cluster_service_cidr": ["10.96.0.0/12", "10.0.0.0/8", "192.168.56.0/30", "172.16.0.0/12", "10.254.0.0/29"],
}


@pytest.mark.parametrize("count", [2, 600])
@pytest.mark.parametrize("networks", list(itertools.product(*NETWORKS.values())), ids=str)
def test_a_network_that_is_said_to_work_is_apart_from_the_others(networks: tuple[str, ...], count: int) -> None:
    values: dict[str, Any] = {**dict(zip(NETWORKS, networks, strict=True)), "cluster_metallb_addresses": []}
    for _ in range(3):
        problems = page(**values, **workers(count)).problems
        said = {problem.key: problem.works.partition(": ")[2] for problem in problems if problem.key in NETWORKS}
        assert all(len({problem.works for problem in problems if problem.key == key}) == 1 for key in said)
        values |= said
    # A number of workers that does not fit into a network is a problem of its own.
    assert not said


@pytest.mark.parametrize(
    ("values", "key", "works"),
    [
        (
            {"cluster_node_cidr": "x", "cluster_pod_cidr": "192.168.0.0/16"},
            "cluster_node_cidr",
            "cluster_node_cidr: 172.24.0.0/24",
        ),
        (
            {"cluster_pod_cidr": 7, "cluster_node_cidr": "10.244.0.0/16", "cluster_metallb_addresses": []},
            "cluster_pod_cidr",
            "cluster_pod_cidr: 10.245.0.0/16",
        ),
        ({"cluster_pod_cidr": "10.9.8.7/16"}, "cluster_pod_cidr", "cluster_pod_cidr: 10.9.0.0/16"),
        ({"cluster_pod_cidr": "10.97.0.1/16"}, "cluster_pod_cidr", "cluster_pod_cidr: 10.244.0.0/16"),
        (
            {"cluster_node_cidr": "10.9.0.0/16", "cluster_metallb_addresses": ["10.9.0.90-10.8.0.99"]},
            "cluster_metallb_addresses[0]",
            "cluster_metallb_addresses: [10.9.0.90-10.9.0.99]",
        ),
        (
            {
                "cluster_node_cidr": "10.9.0.0/16",
                "cluster_metallb_addresses": ["10.9.7.0/24"],
                "cluster_gateway": {"address": "10.9.7", "ports": [80]},
            },
            "cluster_gateway.address",
            "address: 10.9.7.2",
        ),
    ],
)
def test_what_is_said_to_work_fits_the_rest_of_the_page(values: dict[str, Any], key: str, works: str) -> None:
    (problem,) = page(**values).problems
    assert (problem.key, problem.works) == (key, works)


def test_a_network_around_a_host_says_what_else_has_to_move() -> None:
    (problem,) = [
        p for p in page(**hosts({**CTRL, "address": "10.244.7.8"})).problems if p.key.startswith("cluster_hosts")
    ]
    assert problem.works == "cluster_node_cidr: 10.244.7.0/24, and cluster_pod_cidr: 10.245.0.0/16"


def test_networks_as_large_as_half_the_internet_are_refused() -> None:
    for key in NETWORKS:
        for text in ("0.0.0.0/0", "128.0.0.0/1", "10.0.0.0/7"):
            problem = page(**{key: text}).problems[0]
            assert problem.key == key
            tells(problem, "network-too-large: /8")


def test_overlap_is_looked_for_in_all_three_pairs() -> None:
    problems = page(cluster_pod_cidr="192.168.0.0/16", cluster_service_cidr="192.168.0.0/20").problems
    assert [problem.key for problem in problems if problem.id == "network-overlap"][:3] == [
        "cluster_metallb_addresses[0]",
        "cluster_pod_cidr",
        "cluster_service_cidr",
    ]


HERE = [
    {"network": "172.17.0.0/16", "what": "interface docker0", "route": False},
    {"network": "10.0.0.0/8", "what": "route 10.0.0.0/8 by tun0", "route": True},
    {"network": "10.112.0.53/32", "what": "name server 10.112.0.53", "route": False},
]


@pytest.mark.parametrize(
    ("values", "key", "what", "works"),
    [
        (
            {"cluster_pod_cidr": "172.17.0.0/16"},
            "cluster_pod_cidr",
            "network-in-use: 172.17.0.0/16 … docker0",
            "10.244.0.0/16",
        ),
        (
            {"cluster_pod_cidr": "172.16.0.0/14"},
            "cluster_pod_cidr",
            "network-in-use: 172.17.0.0/16 … docker0",
            "10.244.0.0/16",
        ),
        ({"cluster_service_cidr": "172.17.4.0/24"}, "cluster_service_cidr", "network-in-use: docker0", "10.96.0.0/12"),
        (
            {"cluster_service_cidr": "10.112.0.0/12", "cluster_pod_cidr": "10.96.0.0/16"},
            "cluster_service_cidr",
            "network-in-use: 10.112.0.53/32 … 10.112.0.53",
            "100.64.0.0/16",
        ),
    ],
)
def test_networks_that_this_computer_uses_are_refused(values: dict[str, Any], key: str, what: str, works: str) -> None:
    (problem,) = here(values, claimed=lambda: HERE).problems
    assert (problem.key, problem.works) == (key, f"{key}: {works}")
    tells(problem, what)


@pytest.mark.parametrize(
    ("provider", "network", "told"),
    [
        ("libvirt", "192.168.121.0/24", "network-in-use: 192.168.121.0/24"),
        ("libvirt", "192.168.120.0/22", "network-in-use: 192.168.121.0/24"),
        ("virtualbox", "10.0.0.0/16", "network-in-use: 10.0.2.0/24"),
        ("libvirt", "10.0.2.0/24", ""),
        ("docker", "192.168.121.0/24", ""),
    ],
)
def test_nodes_are_apart_from_the_network_over_which_vagrant_gets_in(provider: str, network: str, told: str) -> None:
    values: dict[str, Any] = {"cluster_node_cidr": network, "cluster_metallb_addresses": []}
    values["cluster_gateway"] = {"address": "", "ports": [80]}
    problems = here(values, provider=provider, virtualbox_networks=()).problems
    assert [problem.key for problem in problems] == ["cluster_node_cidr"] * bool(told)
    for problem in problems:
        tells(problem, told)
        again = {**values, "cluster_node_cidr": problem.works.partition(": ")[2]}
        assert here(again, provider=provider, virtualbox_networks=()).problems == []
    # What stands, works.
    assert here(values, provider=provider, virtualbox_networks=(), existing=frozenset({"ctrl"})).problems == []


VIRTUALBOX = {"provider": "virtualbox", "virtualbox_networks": ("192.168.56.0/21",)}


def test_virtualbox_allows_some_networks_only() -> None:
    elsewhere = {"cluster_node_cidr": "10.7.0.0/24", "cluster_metallb_addresses": ["10.7.0.90/31"]}
    (problem,) = here(elsewhere, **VIRTUALBOX).problems
    tells(problem, "virtualbox-network: 192.168.56.0/21")
    assert problem.works == 'cluster_node_cidr: 192.168.56.0/24, or a line "* 10.7.0.0/24" in /etc/vbox/networks.conf'
    assert here(elsewhere, **{**VIRTUALBOX, "provider": "docker"}).problems == []
    assert here(elsewhere, **{**VIRTUALBOX, "virtualbox_networks": ()}).problems == []
    assert here(elsewhere, **{**VIRTUALBOX, "virtualbox_networks": ("192.168.56.0/21", "10.0.0.0/8")}).problems == []
    assert here({}, **VIRTUALBOX).problems == []


def test_a_node_network_without_room_for_a_machine_is_refused_and_no_traceback() -> None:
    found = here({"cluster_node_cidr": "192.168.56.0/30"}, provider="docker").problems
    assert "cluster_node_cidr" in {problem.key for problem in found}
