"""Settings against each other, and against the computer they are used on."""

from __future__ import annotations

import importlib
import itertools
import os
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from slipway.node.architecture import of_this_computer
from slipway.page import checks
from slipway.page.addresses import balancer_addresses
from slipway.page.checks import on_the_page, on_this_computer
from slipway.page.examine import Report, examine
from slipway.page.machines import architecture_of, members
from slipway.page.model import Settings
from slipway.page.rules import LocalRule, Rule, Surroundings
from slipway.page.ssh_keys import is_line

from tests.support.errors import tells


def public_key(key: Any) -> str:
    """The line of authorized_keys for a key."""
    text: bytes = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return text.decode()


GB = 10**9
CTRL = {"name": "ctrl", "address": "192.168.56.100", "role": "controller"}
NODE = {"name": "node-1", "address": "192.168.56.101", "role": "worker"}
MIRROR = {"name": "store", "address": "192.168.56.10", "role": "mirror"}
KEY = f"{public_key(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key())} me@example.org"
AMPLE = Surroundings(
    memory_total=64000, memory_available=60000, cache=Path("/cache"), cache_free=100 * GB, kubernetes_built="1.37.0"
)


def controllers(count: int, memory: int = 4096) -> dict[str, Any]:
    return {"cluster_controllers": {"count": count, "cpus": 2, "memory": memory}}


def workers(count: int, memory: int = 6144) -> dict[str, Any]:
    return {"cluster_workers": {"count": count, "cpus": 2, "memory": memory}}


def hosts(*entries: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"cluster_provider": "hosts", "cluster_hosts": list(entries), **others}


def anywhere(values: dict[str, Any]) -> dict[str, Any]:
    """A gateway that fits every network, unless the case is about it."""
    return {"cluster_gateway": {"address": "", "ports": [80]}, **values}


def page(**values: Any) -> Report:
    return examine(anywhere(values), check=on_the_page)


def here(values: dict[str, Any], **around: Any) -> Report:
    return examine(anywhere(values), check=on_this_computer(lambda _: replace(AMPLE, **around)))


FINE: list[dict[str, Any]] = [
    {},
    controllers(3),
    controllers(5),
    workers(0),
    workers(154),
    {**controllers(79), **workers(154)},
    hosts(CTRL),
    hosts(CTRL, NODE, MIRROR),
    hosts(CTRL, NODE, MIRROR, cluster_mirror=True),
    hosts(CTRL, NODE, cluster_mirror=False),
    hosts(CTRL, NODE, cluster_artifacts_from="upstream"),
    hosts(CTRL, NODE, MIRROR, cluster_artifacts_from="source"),
    {"cluster_artifacts_from": "source"},
    {"cluster_artifacts_from": "source", "cluster_mirror": True},
    # hosts' own gateway is not known, so .1 is not reserved
    hosts(CTRL, cluster_metallb_addresses=["192.168.56.1-192.168.56.9"]),
    {"cluster_provider": "docker", "cluster_hosts": [CTRL, CTRL]},
    {"cluster_api_endpoint": "api.example.org:65535"},
    {"cluster_api_endpoint": ".".join(["a" * 60] * 4) + ".abcdefghi:6443"},
    {"cluster_api_endpoint": "192.168.56.10", "cluster_mirror": False},
    {"cluster_api_endpoint": "192.168.56.100"},
    {"cluster_api_endpoint": "192.168.56.50:6443", **controllers(3)},
    {"cluster_metallb_addresses": ["192.168.56.80/30", "192.168.56.90-192.168.56.99"]},
    {"cluster_metallb_addresses": ["192.168.56.2-192.168.56.9"]},
    {"cluster_mirror": False, "cluster_metallb_addresses": ["192.168.56.10-192.168.56.19"]},
    {"cluster_node_cidr": "10.0.0.0/16", "cluster_metallb_addresses": ["10.0.5.0/24"]},
    {"cluster_pod_cidr": "10.244.0.0/22", **workers(3)},
    {"cluster_service_cidr": "10.96.0.0/28"},
]


@pytest.mark.parametrize("values", FINE)
def test_settings_that_can_work_pass(values: dict[str, Any]) -> None:
    assert page(**values).problems == []


# settings, key, part of the message, what would work
WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    # controllers
    (controllers(2), "cluster_controllers.count", "even-controllers", "count: 3"),
    (controllers(4), "cluster_controllers.count", "even-controllers", "count: 5"),
    (
        hosts(CTRL, {**NODE, "role": "controller"}),
        "cluster_hosts",
        "even-controllers: 2",
        "1 hosts with role: controller",
    ),
    # overlapping networks
    (
        {"cluster_pod_cidr": "192.168.0.0/16"},
        "cluster_pod_cidr",
        "network-overlap: cluster_node_cidr 192.168.56.0/24",
        "cluster_pod_cidr: 10.244.0.0/16",
    ),
    (
        {"cluster_service_cidr": "192.168.56.0/25"},
        "cluster_service_cidr",
        "network-overlap: cluster_node_cidr",
        "cluster_service_cidr: 10.96.0.0/12",
    ),
    (
        {"cluster_service_cidr": "10.240.0.0/12"},
        "cluster_service_cidr",
        "network-overlap: cluster_pod_cidr 10.244.0.0/16",
        "cluster_service_cidr: 10.96.0.0/12",
    ),
    (
        {"cluster_pod_cidr": "10.100.0.0/16", "cluster_service_cidr": "10.96.0.0/12"},
        "cluster_service_cidr",
        "network-overlap: cluster_pod_cidr 10.100.0.0/16",
        "cluster_service_cidr: 10.112.0.0/12",
    ),
    # addresses that no machine can have
    *(
        ({key: network}, key, means, f"{key}: {works}")
        for key, works in (
            ("cluster_node_cidr", "192.168.56.0/24"),
            ("cluster_pod_cidr", "10.244.0.0/16"),
            ("cluster_service_cidr", "10.96.0.0/12"),
        )
        for network, means in (
            ("127.0.0.0/16", "special-address: loopback (127.0.0.0/8)"),
            ("0.0.0.0/16", "special-address: this host (0.0.0.0/8)"),
            ("169.254.0.0/16", "special-address: link-local"),
            ("224.0.0.0/16", "special-address: multicast"),
            ("240.0.0.0/16", "special-address: reserved"),
        )
    ),
    (
        hosts({**CTRL, "address": "127.0.0.1"}),
        "cluster_hosts[0].address",
        "special-address: loopback",
        "address: 192.168.56.101",
    ),
    (
        hosts({**CTRL, "address": "0.0.0.7"}),
        "cluster_hosts[0].address",
        "special-address: this host",
        "address: 192.168.56.101",
    ),
    # endpoints that lead to no controller
    *(
        ({"cluster_api_endpoint": text}, "cluster_api_endpoint", means, "cluster_api_endpoint: 192.168.56.100:6443")
        for text, means in (
            ("127.0.0.1", "special-address: loopback"),
            ("127.0.0.1:6443", "special-address: loopback"),
            ("0.0.0.0", "special-address: this host"),  # noqa: S104 - refused, not bound
            ("169.254.1.1", "special-address: link-local"),
            ("224.0.0.1", "special-address: multicast"),
            ("255.255.255.255", "special-address: reserved"),
            ("localhost", "endpoint-no-controller"),
            ("localhost:6443", "endpoint-no-controller"),
            ("api.localhost", "endpoint-no-controller"),
            ("localhost.localdomain", "endpoint-no-controller"),
            (".".join(["a" * 60] * 4) + ".abcdefghijk", "too-long: 255 … 253"),
        )
    ),
    # sizes
    ({"cluster_service_cidr": "172.0.0.0/8"}, "cluster_service_cidr", "service-cidr-size: /12 … /28", "172.0.0.0/12"),
    ({"cluster_service_cidr": "10.96.0.0/29"}, "cluster_service_cidr", "service-cidr-size: /12 … /28", "10.96.0.0/28"),
    (workers(155), "cluster_workers.count", "node-cidr-too-small: 192.168.56.0/24 … 155", "count: 154"),
    (controllers(91), "cluster_controllers.count", "too-many-controllers: 79", "count: 79"),
    (
        {"cluster_node_cidr": "192.168.56.0/26", "cluster_metallb_addresses": ["192.168.56.40-192.168.56.49"]},
        "cluster_node_cidr",
        "node-cidr-too-small: 0 … 100 … 3",
        "cluster_node_cidr: 192.168.56.0/24",
    ),
    ({"cluster_pod_cidr": "10.244.0.0/23"}, "cluster_pod_cidr", "pod-cidr-too-small: /24 … 2 … 3", "10.244.0.0/16"),
    ({"cluster_pod_cidr": "10.244.0.0/25"}, "cluster_pod_cidr", "pod-cidr-too-small: /24 … 0 … 3", "10.244.0.0/16"),
    (
        hosts(CTRL, NODE, MIRROR, cluster_pod_cidr="10.244.0.0/24"),
        "cluster_pod_cidr",
        "pod-cidr-too-small: /24 … 1 … 2",
        "10.244.0.0/16",
    ),
    # balancer addresses
    (
        {"cluster_metallb_addresses": ["192.168.57.90-192.168.57.99"]},
        "cluster_metallb_addresses[0]",
        "address-not-in-node-cidr: cluster_node_cidr 192.168.56.0/24",
        "[192.168.56.90-192.168.56.99]",
    ),
    (
        {"cluster_metallb_addresses": ["192.168.56.250-192.168.57.9"]},
        "cluster_metallb_addresses[0]",
        "address-not-in-node-cidr: cluster_node_cidr",
        "[192.168.56.90-192.168.56.99]",
    ),
    (
        {"cluster_metallb_addresses": ["192.168.56.95-192.168.56.105"]},
        "cluster_metallb_addresses[0]",
        "address-taken: ctrl 192.168.56.100, node-1 192.168.56.101, node-2 192.168.56.102",
        "[192.168.56.90-192.168.56.99]",
    ),
    (
        {"cluster_metallb_addresses": ["192.168.56.80-192.168.56.82", "192.168.56.10/32"]},
        "cluster_metallb_addresses[1]",
        "address-taken: mirror-1 192.168.56.10",
        "[192.168.56.90-192.168.56.99]",
    ),
    (
        {"cluster_metallb_addresses": ["192.168.56.0-192.168.56.1"]},
        "cluster_metallb_addresses[0]",
        "address-taken: 192.168.56.0 … 192.168.56.1",
        "[192.168.56.90-192.168.56.99]",
    ),
    (
        {"cluster_metallb_addresses": ["192.168.56.240-192.168.56.255"]},
        "cluster_metallb_addresses[0]",
        "address-taken: 192.168.56.255",
        "[192.168.56.90-192.168.56.99]",
    ),
    (
        {"cluster_metallb_addresses": ["10.244.3.0/24"]},
        "cluster_metallb_addresses[0]",
        "network-overlap: cluster_pod_cidr 10.244.0.0/16",
        "[192.168.56.90-192.168.56.99]",
    ),
    (
        {"cluster_metallb_addresses": ["10.96.0.0-10.96.0.9"]},
        "cluster_metallb_addresses[0]",
        "network-overlap: cluster_service_cidr 10.96.0.0/12",
        "[192.168.56.90-192.168.56.99]",
    ),
    (
        {"cluster_metallb_addresses": ["192.168.56.90-192.168.56.99", "192.168.56.99-192.168.56.99"]},
        "cluster_metallb_addresses[1]",
        "network-overlap: 192.168.56.90-192.168.56.99",
        "[192.168.56.90-192.168.56.99]",
    ),
    (
        hosts(CTRL, {**NODE, "address": "192.168.56.95"}),
        "cluster_metallb_addresses[0]",
        "address-taken: node-1 192.168.56.95",
        "[192.168.56.245-192.168.56.254]",
    ),
    (
        hosts({**CTRL, "address": "10.9.9.2"}, cluster_node_cidr="10.9.9.0/30"),
        "cluster_metallb_addresses[0]",
        "address-not-in-node-cidr: cluster_node_cidr 10.9.9.0/30",
        "[10.9.9.1-10.9.9.1]",
    ),
    (
        hosts(
            {**CTRL, "address": "10.9.9.0"}, cluster_node_cidr="10.9.9.0/32", cluster_metallb_addresses=["10.9.9.0/32"]
        ),
        "cluster_metallb_addresses[0]",
        "address-taken: ctrl",
        "a range inside a larger cluster_node_cidr",
    ),
    # hosts
    (hosts(), "cluster_hosts", "no-controller", "role: controller"),
    (hosts(NODE), "cluster_hosts", "no-controller", "role: controller"),
    ({"cluster_hosts": [CTRL]}, "cluster_provider", "hosts-not-used", "cluster_provider: hosts"),
    (
        hosts(CTRL, NODE, {**NODE, "address": "192.168.56.102"}),
        "cluster_hosts[2].name",
        "duplicate-value: cluster_hosts[1]",
        "name: node-2",
    ),
    (
        hosts(CTRL, {**NODE, "address": "192.168.56.100"}),
        "cluster_hosts[1].address",
        "duplicate-value: cluster_hosts[0]",
        "address: the one that this host has",
    ),
    (
        hosts(CTRL, {**NODE, "address": "10.3.4.5"}),
        "cluster_hosts[1].address",
        "address-not-in-node-cidr: cluster_node_cidr 192.168.56.0/24",
        "cluster_node_cidr: 10.3.4.0/24",
    ),
    (
        hosts(CTRL, {**NODE, "address": "192.168.56.255"}),
        "cluster_hosts[1].address",
        "reserved-address",
        "address: the one that this host has",
    ),
    (
        hosts(CTRL, MIRROR, {**MIRROR, "name": "other", "address": "192.168.56.11"}),
        "cluster_hosts[2].role",
        "second-mirror",
        "role: worker",
    ),
    (hosts(CTRL, cluster_mirror=True), "cluster_mirror", "no-mirror-host", "cluster_mirror: auto"),
    (hosts(CTRL, MIRROR, cluster_mirror=False), "cluster_mirror", "mirror-not-wanted: store", "cluster_mirror: auto"),
    # what is built here
    (
        {"cluster_artifacts_from": "source", "cluster_mirror": False},
        "cluster_artifacts_from",
        "source-needs-mirror",
        "cluster_mirror: auto, or cluster_artifacts_from: upstream",
    ),
    (
        hosts(CTRL, cluster_artifacts_from="source"),
        "cluster_artifacts_from",
        "source-needs-mirror",
        "one of cluster_hosts with role: mirror, or cluster_artifacts_from: upstream",
    ),
    (
        hosts(CTRL, cluster_artifacts_from="source", cluster_mirror=False),
        "cluster_artifacts_from",
        "source-needs-mirror",
        "one of cluster_hosts with role: mirror and cluster_mirror: auto, or",
    ),
    # the endpoint
    (
        {"cluster_api_endpoint": "192.168.56.10"},
        "cluster_api_endpoint",
        "endpoint-no-controller: mirror-1",
        "192.168.56.100:6443",
    ),
    (
        {"cluster_api_endpoint": "api.example.org:65536"},
        "cluster_api_endpoint",
        "endpoint-port: 65535",
        "cluster_api_endpoint: api.example.org:6443",
    ),
    (
        {"cluster_api_endpoint": "192.168.56.300"},
        "cluster_api_endpoint",
        "not-an-address: 192.168.56.300",
        "192.168.56.100:6443",
    ),
    (
        {"cluster_api_endpoint": "192.168.56.101:6443"},
        "cluster_api_endpoint",
        "endpoint-no-controller: node-1",
        "cluster_api_endpoint: 192.168.56.100:6443",
    ),
    (
        {"cluster_api_endpoint": "192.168.56.90:6443"},
        "cluster_api_endpoint",
        "endpoint-handed-out: cluster_metallb_addresses 192.168.56.90-192.168.56.99",
        "192.168.56.100:6443",
    ),
    ({"cluster_systems": {"node-3": "debian-13"}}, "cluster_systems.node-3", "unknown-machine: node-3", "node-2: "),
    ({"cluster_nodes": {"node-3": {}}}, "cluster_nodes.node-3", "unknown-machine: node-3 … ctrl, node-1", "node-2: "),
    ({"cluster_nodes": {"mirror-1": {}}}, "cluster_nodes.mirror-1", "unknown-machine: mirror-1", "node-2: "),
    ({"cluster_nodes": {"ctrl": {"cpus": 1}}}, "cluster_nodes.ctrl.cpus", "too-small: 2 for a controller", "cpus: 2"),
    ({"cluster_nodes": {"node-1": {"memory": 64}}}, "cluster_nodes.node-1.memory", "too-small: 700", "memory: 700"),
    ({"cluster_nodes": {"node-1": {"taints": ["gpu"]}}}, "cluster_nodes.node-1.taints[0]", "wrong-form", "gpu=true:"),
    ({"cluster_nodes": {"node-1": {"labels": {"a b": "c"}}}}, "cluster_nodes.node-1.labels.a b", "wrong-form", ""),
    (
        {"cluster_nodes": {"node-1": {"labels": {"kubernetes.io/hostname": "x"}}}},
        "cluster_nodes.node-1.labels.kubernetes.io/hostname",
        "reserved-name",
        "",
    ),
    (
        {"cluster_api_endpoint": "10.244.0.9"},
        "cluster_api_endpoint",
        "endpoint-handed-out: cluster_pod_cidr",
        "192.168.56.100:6443",
    ),
]


@pytest.mark.parametrize(("values", "key", "what", "works"), WRONG)
def test_settings_that_cannot_work_are_refused(values: dict[str, Any], key: str, what: str, works: str) -> None:
    problems = page(**values).problems
    (problem,) = [problem for problem in problems if problem.key == key]
    tells(problem, what)
    assert works in problem.works


@pytest.mark.parametrize(
    ("values", "key", "works"),
    [
        (v, k, w)
        for v, k, _, w in WRONG
        if w.startswith(("count:", "cluster_mirror:", "role: worker")) and ", or" not in w
    ],
)
def test_what_is_said_to_work_works(values: dict[str, Any], key: str, works: str) -> None:
    name, _, text = works.partition(": ")
    value: Any = int(text) if text.isdigit() else text
    top = key.partition(".")[0].partition("[")[0]
    better = dict(values)
    if name == "role":
        better[top] = [*values[top][:-1], {**values[top][-1], "role": value}]
    else:
        better[top] = {**values[top], name: value} if name == "count" else value
    assert page(**better).problems == []


def parts(**values: bool) -> dict[str, Any]:
    return {"cluster_parts": {**Settings().cluster_parts.model_dump(), **values}}


def test_the_gateway_has_an_address_of_the_pool() -> None:
    for address, ranges in (("192.168.56.92", []), ("", []), ("192.168.56.200", ["192.168.56.200/32"])):
        gateway = {"address": address, "ports": [80]}
        assert page(cluster_gateway=gateway, cluster_metallb_addresses=ranges).problems == []
    (problem,) = page(cluster_gateway={"address": "192.168.56.89", "ports": [80]}).problems
    assert problem.key == "cluster_gateway.address"
    tells(problem, "gateway-not-in-metallb: 192.168.56.90-192.168.56.99")
    assert problem.works == "address: 192.168.56.92"
    elsewhere = {"address": "10.0.0.1", "ports": [80]}
    assert page(cluster_gateway=elsewhere, **parts(istio=False)).problems == []


def test_the_gateway_has_each_port_once() -> None:
    (problem,) = page(cluster_gateway={"address": "", "ports": [80, 443, 80]}).problems
    assert (problem.key, problem.works) == ("cluster_gateway.ports", "ports: [80, 443]")


@pytest.mark.parametrize(
    ("ports", "index", "what", "fix"),
    [
        ([80, 443, 10080], 2, "port-taken: 10080 … 80", "ports: [80, 443]"),
        ([15021], 0, "port-taken: 15021", "ports: [80]"),
    ],
)
def test_a_port_that_the_gateway_cannot_open_is_refused_before_there_is_one(
    ports: list[int], index: int, what: str, fix: str
) -> None:
    (problem,) = page(cluster_gateway={"address": "", "ports": ports}).problems
    assert (problem.key, problem.value, problem.works) == (f"cluster_gateway.ports[{index}]", str(ports[index]), fix)
    tells(problem, what)


def test_a_mesh_needs_addresses() -> None:
    assert page(**parts(metallb=False, istio=False)).problems == []
    (problem,) = page(**parts(metallb=False)).problems
    assert (problem.key, problem.works) == ("cluster_parts.istio", "metallb: true")


@pytest.mark.parametrize(
    ("on", "off", "works"),
    [
        ("grafana", {"monitoring": False}, ["monitoring: true"]),
        ("kiali", {"monitoring": False}, ["monitoring: true"]),
        ("kiali", {"monitoring": False, "istio": False}, ["istio: true", "monitoring: true"]),
        ("kiali", {"monitoring": True}, []),
        ("tracing", {"istio": False}, ["istio: true"]),
        ("tracing", {}, []),
        ("headlamp", {"istio": False}, []),
    ],
)
def test_a_console_needs_what_it_shows(on: str, off: dict[str, bool], works: list[str]) -> None:
    problems = page(**parts(**{on: True, **off})).problems
    assert [(problem.key, problem.works) for problem in problems] == [(f"cluster_parts.{on}", one) for one in works]


def test_a_page_of_before_there_were_consoles_still_works() -> None:
    before = ("metallb", "istio", "storage", "metrics_server", "monitoring")
    assert page(cluster_parts=dict.fromkeys(before, True)).problems == []


def test_a_listed_release_has_what_it_needs() -> None:
    sms: dict[str, Any] = {"cluster_releases": ["releases/sms-checker.yml"]}
    assert here({**sms, **parts(monitoring=True)}).problems == []
    (problem,) = here({**sms, **parts(monitoring=True)}, with_mirror=False).problems
    assert (problem.key, problem.works) == ("cluster_releases[0]", "cluster_mirror: true, or cluster_releases: []")
    (warning,) = here({**sms, **parts(monitoring=False)}).warnings
    assert (warning.key, warning.works) == ("cluster_releases[0]", "monitoring: true")
    (problem,) = here({**sms, **parts(monitoring=True, istio=False, metallb=False)}).problems
    assert (problem.key, problem.works) == ("cluster_releases", "cluster_parts: {istio: true}")
    (problem,) = here({"cluster_releases": ["releases/sms-checker"]}).problems
    assert problem.id == "wrong-form"


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


def test_a_check_is_left_out_where_a_value_is_wrong_in_itself() -> None:
    report = page(cluster_pod_cidr="nonsense", cluster_service_cidr="10.0.0.0/29", **controllers(2))
    assert [problem.key for problem in report.problems] == [
        "cluster_controllers.count",
        "cluster_pod_cidr",
        "cluster_service_cidr",
    ]


# --- the machines


@pytest.mark.parametrize(
    ("values", "with_mirror", "expected"),
    [
        (
            {},
            True,
            [
                ("mirror-1", "mirror", ".10", 1, 1024),
                ("ctrl", "controller", ".100", 2, 4096),
                ("node-1", "worker", ".101", 2, 6144),
                ("node-2", "worker", ".102", 2, 6144),
            ],
        ),
        (
            {**controllers(3, 2000), **workers(1, 800)},
            False,
            [
                ("ctrl", "controller", ".100", 2, 2000),
                ("ctrl-2", "controller", ".12", 2, 2000),
                ("ctrl-3", "controller", ".13", 2, 2000),
                ("node-1", "worker", ".101", 2, 800),
            ],
        ),
        (hosts(CTRL, NODE), True, [("ctrl", "controller", ".100", 0, 0), ("node-1", "worker", ".101", 0, 0)]),
    ],
)
def test_machines_have_names_addresses_and_sizes(
    values: dict[str, Any], with_mirror: bool, expected: list[Any]
) -> None:
    found = members(examine(values).accepted(), with_mirror=with_mirror)
    assert [(m.name, m.role, m.address.removeprefix("192.168.56"), m.cpus, m.memory) for m in found] == expected


def test_the_last_address_of_a_network_is_nobodys() -> None:
    small = {"cluster_node_cidr": "192.168.56.0/25", **workers(27)}
    assert members(examine(small).accepted(), with_mirror=False)[-1].address == "192.168.56.126"
    (problem,) = page(**small).problems
    assert (problem.key, problem.works) == ("cluster_workers.count", "count: 26")
    assert page(**{**small, **workers(26)}).problems == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({**controllers(1), **workers(3)}, {**controllers(3), **workers(3)}),
        ({**controllers(3), **workers(2)}, {**controllers(5), **workers(4)}),
        ({**controllers(3), **workers(0)}, {**controllers(1), **workers(2)}),
    ],
)
def test_a_machine_keeps_its_address_when_others_come_or_go(before: dict[str, Any], after: dict[str, Any]) -> None:
    first, second = (
        {m.name: m.address for m in members(examine(values).accepted(), with_mirror=True)} for values in (before, after)
    )
    both = first.keys() & second.keys()
    assert len(both) >= 2
    assert {name: first[name] for name in both} == {name: second[name] for name in both}
    assert len(set(second.values())) == len(second)


def test_a_large_network_counts_on() -> None:
    settings = examine({"cluster_node_cidr": "10.0.0.0/16", **workers(200)}).accepted()
    assert members(settings, with_mirror=False)[-1].address == "10.0.1.44"


def test_a_single_node_may_have_another_size() -> None:
    values = {"cluster_nodes": {"node-2": {"memory": 8192}, "ctrl": {"cpus": 4}}}
    sizes = {one.name: (one.cpus, one.memory) for one in members(examine(values).accepted(), with_mirror=False)}
    plain = {one.name: (one.cpus, one.memory) for one in members(examine({}).accepted(), with_mirror=False)}
    assert sizes == {**plain, "node-2": (plain["node-2"][0], 8192), "ctrl": (4, plain["ctrl"][1])}


def test_the_size_of_a_host_is_its_own() -> None:
    hosts = [{"name": "box", "address": "192.168.56.100", "role": "controller"}]
    values = {"cluster_provider": "hosts", "cluster_hosts": hosts, "cluster_nodes": {"box": {"memory": 4096}}}
    (problem,) = [one for one in page(**values).problems if one.key == "cluster_nodes.box.memory"]
    tells(problem, "size-of-host")


# --- this computer


def key_file(folder: Path, text: str) -> str:
    path = folder / "key.pub"
    path.write_bytes(text.encode("latin-1"))
    return str(path)


def wire(*parts: bytes) -> str:
    """A public key as it travels: each part with its length before it, in base64."""
    return b64encode(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).decode()


SK = f"sk-ssh-ed25519@openssh.com {wire(b'sk-ssh-ed25519@openssh.com', bytes(range(32)), b'ssh:')}"
RSA = public_key(RSAPublicNumbers(65537, 2**2047 + 1).public_key())


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"{KEY}\n",
        RSA,
        public_key(derive_private_key(7, SECP256R1()).public_key()),
        f"{SK} name",
        f'from="192.0.2.0/24,!192.0.2.9" {KEY}',
        f'restrict,command="echo \\"a b\\" # c",no-X11-forwarding {KEY}',
        f"no-pty {RSA}",
    ],
)
def test_public_keys_and_their_files_are_taken(tmp_path: Path, text: str) -> None:
    values = {"cluster_ssh_keys": [text, key_file(tmp_path, f"# mine\n\n{text}\n")]}
    assert here(values).problems == []
    assert is_line(text)


def test_a_key_file_is_found_from_the_checkout_and_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_file(tmp_path, KEY)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert here({"cluster_ssh_keys": ["key.pub", "~/key.pub"]}, root=tmp_path).problems == []
    (tmp_path / "key.pub").rename(tmp_path / "ssh-key.pub")
    assert here({"cluster_ssh_keys": ["ssh-key.pub"]}, root=tmp_path).problems == []


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "ssh-key-private"),
        ("hello\n", "no-ssh-key"),
        ("", "no-ssh-key"),
        (f"{KEY}\nhello\n", "no-ssh-key"),
        (f"{KEY}\n{RSA[:-40]}\n", "ssh-key-damaged"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "ssh-key-private"),
        ("\xff\xfe", "ssh-key-unreadable"),
    ],
)
def test_a_file_without_public_keys_is_refused(tmp_path: Path, content: str, what: str) -> None:
    (problem,) = here({"cluster_ssh_keys": [KEY, key_file(tmp_path, content)]}).problems
    assert problem.key == "cluster_ssh_keys[1]"
    tells(problem, what)
    assert problem.works == "cluster_ssh_keys: [~/.ssh/id_ed25519.pub]"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("~/.ssh/nobody-has-this.pub", "ssh-key-unreadable"),
        ("ssh-ed25519 AAAA*", "ssh-key-damaged"),
        (RSA[:-40], "ssh-key-damaged"),
        (f"{RSA[:-4]} me", "ssh-key-damaged"),
        (RSA.replace("ssh-rsa", "ssh-ed25519"), "ssh-key-damaged"),
        (f"{KEY}\n{RSA}", "ssh-key-damaged"),
        (f'from="192.0.2.1 {KEY}', "ssh-key-damaged"),
        (f'form="192.0.2.1" {KEY}', "ssh-key-option"),
        (f"ssh-dss {wire(b'ssh-dss', b'1')}", "ssh-key-dsa"),
        ("~nobody-of-this-name/.ssh/id.pub", "ssh-key-unreadable"),
        ("-----BEGIN RSA PRIVATE KEY-----", "ssh-key-private"),
        ("/", "ssh-key-unreadable"),
        ("nul\0", "ssh-key-unreadable"),
    ],
)
def test_what_is_neither_key_nor_file_is_refused(text: str, what: str) -> None:
    (problem,) = here({"cluster_ssh_keys": [text]}).problems
    tells(problem, what)


PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"


def test_the_key_of_a_host_must_exist(tmp_path: Path) -> None:
    good = {**CTRL, "key": key_file(tmp_path, PRIVATE)}
    Path(good["key"]).chmod(0o600)
    assert here(hosts(good, NODE)).problems == []
    for absent in ("~/.ssh/nobody", "~nobody-of-this-name/.ssh/id"):
        (problem,) = here(hosts(good, {**NODE, "key": absent})).problems
        assert problem.key == "cluster_hosts[1].key"
        assert problem.id == "ssh-key-unreadable"
        assert 'key: ""' in problem.works
    (problem,) = here(hosts({**CTRL, "key": str(tmp_path)})).problems
    assert problem.id == "ssh-key-unreadable"
    assert here({"cluster_provider": "docker", "cluster_hosts": [{**CTRL, "key": "nobody"}]}).problems == []


@pytest.mark.parametrize(
    ("content", "mode", "what", "works"),
    [
        (PRIVATE, 0o644, "ssh-key-mode: 0644", "it after: chmod 600 "),
        (PRIVATE, 0o640, "ssh-key-mode: 0640", "it after: chmod 600 "),
        (f"{KEY}\n", 0o600, "ssh-key-public", "key: {folder}/key"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\n", 0o600, "ssh-key-public", "key: {folder}/key"),
        ("PuTTY-User-Key-File-2: ssh-rsa\n", 0o600, "ssh-key-putty", "puttygen key.pub -O private-openssh"),
        ("hello", 0o600, "no-ssh-key", "key: ~/.ssh/id_ed25519"),
        ("\xff", 0o600, "no-ssh-key", "key: ~/.ssh/id_ed25519"),
    ],
)
def test_a_key_that_ssh_would_not_take_is_refused(
    tmp_path: Path, content: str, mode: int, what: str, works: str
) -> None:
    """As ssh does after half an hour of making artifacts, and without anything of what is in it."""
    file = Path(key_file(tmp_path, content))
    file.chmod(mode)
    (problem,) = here(hosts({**CTRL, "key": str(file)})).problems
    assert (problem.key, problem.value) == ("cluster_hosts[0].key", str(file))
    tells(problem, what)
    assert works.format(folder=tmp_path) in problem.works


def test_a_name_that_no_file_can_have_is_no_key() -> None:
    values = {**hosts({**CTRL, "key": "k" * 300}), "cluster_ssh_keys": ["~/" + "k" * 300]}
    assert {problem.id for problem in here(values).problems} == {"ssh-key-unreadable"}


def test_a_pipe_is_no_key_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    values = {**hosts({**CTRL, "key": str(tmp_path / "pipe")}), "cluster_ssh_keys": [str(tmp_path / "pipe")]}
    assert len(here(values).problems) == 2


@pytest.mark.parametrize(
    ("provider", "box", "system", "key", "works"),
    [
        ("docker", "auto", "debian-13", "", ""),
        ("hosts", "built", "debian-13", "cluster_systems", "cluster_systems: {}"),
        ("libvirt", "auto", "debian-13", "cluster_systems", "cluster_systems: {}, or cluster_box: built"),
        (
            "virtualbox",
            "debian/bookworm64",
            "debian-13",
            "cluster_systems",
            "cluster_systems: {}, or cluster_box: built",
        ),
        ("libvirt", "built", "debian-13", "", ""),
        ("libvirt", "built", "ubuntu-24.04", "cluster_systems.node-2", "node-2: debian-13"),
    ],
)
def test_only_what_is_built_here_has_a_system_of_the_page(
    provider: str, box: str, system: str, key: str, works: str
) -> None:
    values = {"cluster_systems": {"node-2": system}, "cluster_box": box, "cluster_provider": "docker"}
    problems = here(values, provider=provider).problems
    assert [(problem.key, problem.works) for problem in problems] == ([(key, works)] if key else [])
    error_id = "system-not-of-page" if key == "cluster_systems" else "no-box-of-system"
    assert all(problem.id == error_id for problem in problems)


@pytest.mark.parametrize(
    ("provider", "said", "computer", "works"),
    [
        ("docker", "auto", "arm64", ""),
        ("docker", "arm64", "arm64", ""),
        ("docker", "amd64", "amd64", ""),
        ("docker", "arm64", "amd64", "cluster_architecture: amd64, or cluster_provider: hosts with such machines"),
        ("virtualbox", "amd64", "arm64", "cluster_architecture: arm64, or cluster_provider: hosts with such machines"),
        ("hosts", "arm64", "amd64", ""),
        ("hosts", "amd64", "arm64", ""),
    ],
)
def test_machines_that_are_made_here_have_the_architecture_of_this_computer(
    provider: str, said: str, computer: str, works: str
) -> None:
    values = {"cluster_architecture": said, **(hosts(CTRL) if provider == "hosts" else {"cluster_provider": "docker"})}
    problems = here(values, provider=provider, architecture=computer).problems
    found = [(problem.key, problem.id, problem.value, problem.works) for problem in problems]
    assert found == ([("cluster_architecture", "architecture-not-here", said, works)] if works else [])


@pytest.mark.parametrize(
    ("provider", "box", "computer", "wrong"),
    [
        ("libvirt", "built", "arm64", True),
        ("libvirt", "built", "amd64", False),
        ("virtualbox", "auto", "arm64", False),
        ("docker", "built", "arm64", False),
    ],
)
def test_a_box_is_built_for_amd64_alone(provider: str, box: str, computer: str, wrong: bool) -> None:
    problems = here({"cluster_box": box}, provider=provider, architecture=computer).problems
    assert [(problem.id, problem.works) for problem in problems] == (
        [("no-box-for-architecture", "cluster_box: auto")] if wrong else []
    )


def test_a_host_may_have_another_architecture_than_the_others() -> None:
    entries = [CTRL, {**NODE, "architecture": "arm64"}, {**MIRROR, "architecture": "auto"}]
    settings = examine(hosts(*entries, cluster_architecture="amd64")).accepted().as_values()
    found = [
        architecture_of(one["name"], settings["cluster_architecture"], settings["cluster_hosts"]) for one in entries
    ]
    assert found == ["amd64", "arm64", "amd64"]
    # The page may leave it out, and what is no host of it is as the page says.
    assert architecture_of("node-7", "arm64", entries) == "arm64"
    assert architecture_of("ctrl", "auto", [CTRL]) == of_this_computer()
    assert architecture_of("ctrl", "auto", [{**CTRL, "architecture": "arm64"}]) == "arm64"


def version(text: str, source: str = "auto") -> dict[str, Any]:
    return {"cluster_kubernetes_version": text, "cluster_artifacts_from": source}


@pytest.mark.parametrize(
    ("values", "known", "problem", "warning"),
    [
        (version("1.37.0"), {"1.37"}, "", ""),
        (version("1.37.5", "upstream"), {"1.37"}, "", ""),
        (version("1.37.5"), {"1.37"}, "", "kubernetes-not-built: 1.37.0"),
        (version("1.37.5", "source"), {"1.37"}, "kubernetes-not-built: 1.37.0", ""),
        (version("1.36.0"), {"1.37", "1.38"}, "kubernetes-unknown: 1.37, 1.38", ""),
        (version("1.36.0", "upstream"), set(), "", ""),
    ],
)
def test_a_kubernetes_release_must_be_known(
    values: dict[str, Any], known: set[str], problem: str, warning: str
) -> None:
    report = here(values, kubernetes_minors=frozenset(known))
    for found, expected in ((report.problems, problem), (report.warnings, warning)):
        assert len(found) == bool(expected)
        for one in found:
            tells(one, expected)
            assert one.works == 'cluster_kubernetes_version: "1.37.0"'


def test_the_shipped_release_is_named_where_no_recipe_is_known() -> None:
    (problem,) = here(version("1.36.0"), kubernetes_built="", kubernetes_minors=frozenset({"1.37"})).problems
    assert problem.works == 'cluster_kubernetes_version: "1.37.0"'


def test_a_cluster_that_stands_keeps_its_release() -> None:
    (problem,) = here(version("1.37.1"), kubernetes_built="", kubernetes_running="1.37.0").problems
    assert (problem.key, problem.works) == ("cluster_kubernetes_version", 'cluster_kubernetes_version: "1.37.0"')
    tells(problem, "kubernetes-upgrade: 1.37.0")
    assert here(version("1.37.0"), kubernetes_running="1.37.0").problems == []


FOUNDED = {
    "cluster_name": "slipway",
    "cluster_api_endpoint": "api.slipway.internal:6443",
    "cluster_pod_cidr": "10.244.0.0/16",
    "cluster_service_cidr": "10.96.0.0/12",
    "cluster_dns_domain": "cluster.local",
}
BALANCED = {**FOUNDED, "cluster_api_endpoint": "api.example.org:6443"}


@pytest.mark.parametrize(
    ("values", "founded", "works"),
    [
        ({}, FOUNDED, ""),
        ({"cluster_name": "other"}, {}, ""),
        ({"cluster_name": "other"}, FOUNDED, "cluster_name: slipway"),
        ({"cluster_pod_cidr": "10.200.0.0/16"}, FOUNDED, "cluster_pod_cidr: 10.244.0.0/16"),
        ({"cluster_service_cidr": "10.112.0.0/16"}, FOUNDED, "cluster_service_cidr: 10.96.0.0/12"),
        ({"cluster_dns_domain": "k8s.local"}, FOUNDED, "cluster_dns_domain: cluster.local"),
        ({"cluster_api_endpoint": "api.example.org"}, FOUNDED, 'cluster_api_endpoint: ""'),
        ({"cluster_api_endpoint": "api.example.org"}, BALANCED, ""),
        ({"cluster_api_endpoint": "api.example.org:6443"}, BALANCED, ""),
        ({"cluster_api_endpoint": "api.example.org:443"}, BALANCED, "cluster_api_endpoint: api.example.org:6443"),
        ({}, BALANCED, "cluster_api_endpoint: api.example.org:6443"),
    ],
)
def test_a_cluster_that_stands_keeps_what_it_was_founded_with(
    values: dict[str, Any], founded: dict[str, str], works: str
) -> None:
    found = here(values, founded=founded).problems
    assert [problem.works for problem in found] == (
        [f"{works}, or `make down` before it is made anew"] if works else []
    )


def test_a_made_controller_keeps_its_address() -> None:
    """Its number follows from its name: another address is another node network."""
    moved = {"cluster_node_cidr": "192.168.99.0/24", "cluster_metallb_addresses": []}
    (problem,) = here(moved, controllers={"ctrl": "192.168.56.100"}).problems
    assert problem.key == "cluster_node_cidr"
    tells(problem, "controller-address-changed: ctrl … 192.168.56.100")
    assert problem.works == "cluster_node_cidr: 192.168.56.0/24, or `make down` before it is made anew"
    assert here({}, controllers={"ctrl": "192.168.56.100", "ctrl-2": "192.168.56.12"}).problems == []


def test_a_controller_that_is_a_host_keeps_its_address_and_a_worker_may_have_another() -> None:
    around = {"provider": "hosts", "controllers": {"ctrl": "192.168.56.100"}}
    (problem,) = here(hosts({**CTRL, "address": "192.168.56.77"}, NODE), **around).problems
    assert (problem.key, problem.value) == ("cluster_hosts[0].address", "192.168.56.77")
    assert problem.works.startswith(
        "address: 192.168.56.100, or `sudo kubeadm reset --force` on every host and `make down`"
    )
    assert here(hosts(CTRL, {**NODE, "address": "192.168.56.77"}), **around).problems == []


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
    ("addresses", "what"),
    [
        (["192.0.2.50"], ""),
        (["127.0.0.1", "192.0.2.50"], ""),
        ([], "endpoint-not-found: api.example.org"),
        (["127.0.1.1"], "special-address: 127.0.1.1 … api.example.org … (127.0.0.0/8)"),
        (["10.244.0.5"], "endpoint-handed-out: 10.244.0.5 … api.example.org … cluster_pod_cidr"),
    ],
)
def test_an_endpoint_that_leads_nowhere_is_refused_before_anything_is_founded(addresses: list[str], what: str) -> None:
    asked: list[str] = []

    def resolve(name: str) -> list[str]:
        asked.append(name)
        return addresses

    values = {"cluster_api_endpoint": "api.example.org:6443"}
    problems = here(values, resolve=resolve).problems
    assert asked == ["api.example.org"]
    assert [problem.key for problem in problems] == ["cluster_api_endpoint"] * bool(what)
    for problem in problems:
        tells(problem, what)
    assert all("cluster_api_endpoint: 192.168.56.100:6443" in problem.works for problem in problems)
    # A cluster that stands, and an endpoint without a name.
    assert here(values, founded=BALANCED, resolve=resolve).problems == []
    assert here({"cluster_api_endpoint": "192.168.56.100"}, resolve=resolve).problems == []
    assert asked == ["api.example.org"]


def test_a_cluster_that_stands_is_not_asked_for_other_networks() -> None:
    """What is there has the networks that it was founded with; whoever added a network since is told by nobody."""

    def look() -> list[dict[str, Any]]:
        raise AssertionError("looked")

    assert here({}, founded=FOUNDED, claimed=look).problems == []


def test_any_release_passes_where_none_is_known() -> None:
    report = here(version("1.99.0"), kubernetes_built="")
    assert (report.problems, report.warnings) == ([], [])


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


# settings, surroundings, the key, part of the message, what would work, is it only a warning
MEMORY: list[tuple[dict[str, Any], dict[str, Any], str, str, str, bool]] = [
    (
        {},
        {"memory_total": 5000, "memory_available": 4900},
        "cluster_workers.memory",
        "machines-exceed-memory: 5000",
        "memory: 1700",
        False,
    ),
    (
        controllers(1, 20000),
        {"memory_total": 16000, "memory_available": 15000},
        "cluster_controllers.memory",
        "machines-exceed-memory: 16000",
        "memory: 4864",
        False,
    ),
    (
        workers(2, 3000),
        {"memory_total": 16000, "memory_available": 3300},
        "cluster_workers.count",
        "not-enough-memory: 4 … 3356 … 3300",
        "fewer machines, or 56 MiB more of free memory",
        False,
    ),
    (
        workers(0),
        {"memory_total": 16000, "memory_available": 1000},
        "cluster_controllers.count",
        "not-enough-memory: 2 … 1956 … 1000",
        "fewer machines, or 956 MiB more of free memory",
        False,
    ),
    (
        {},
        {"memory_total": 16000, "memory_available": 15000, "provider": "virtualbox"},
        "cluster_workers.memory",
        "machines-exceed-memory: 17408 … 16000",
        "memory: 4864",
        False,
    ),
    (
        {},
        {"memory_total": 16000, "memory_available": 12000},
        "cluster_workers.memory",
        "memory-not-free: 17408 … 12000",
        "memory: 3584",
        True,
    ),
]


@pytest.mark.parametrize(("values", "around", "key", "what", "works", "warning"), MEMORY)
def test_too_little_memory_is_said(
    values: dict[str, Any], around: dict[str, Any], key: str, what: str, works: str, warning: bool
) -> None:
    report = here(values, **around)
    (found,) = report.warnings if warning else report.problems
    assert len(report.warnings) == warning
    assert (found.key, found.works) == (key, works)
    tells(found, what)


@pytest.mark.parametrize(
    ("values", "around"),
    [
        (workers(2, 3000), {"memory_total": 11120, "memory_available": 11120}),
        (workers(2, 3000), {"memory_total": 11120, "memory_available": 11120, "provider": "virtualbox"}),
        (
            {**controllers(1, 8000), **workers(0)},
            {"memory_total": 8000, "memory_available": 8000, "with_mirror": False},
        ),
    ],
)
def test_just_enough_memory_is_enough(values: dict[str, Any], around: dict[str, Any]) -> None:
    report = here(values, **around)
    assert (report.problems, report.warnings) == ([], [])


def test_the_least_memory_is_just_warned_of() -> None:
    report = here({}, memory_total=64000, memory_available=3356)
    assert (len(report.problems), len(report.warnings)) == (0, 1)


def test_machines_that_exist_have_their_memory_already() -> None:
    around = {"memory_total": 24000, "memory_available": 4000}
    assert here({}, **around, existing=frozenset({"mirror-1", "ctrl", "node-1", "node-2"})).warnings == []
    (warning,) = here({}, **around, existing=frozenset({"mirror-1", "ctrl", "node-1"})).warnings
    tells(warning, "memory-not-free: 6144 MiB")


@pytest.mark.parametrize("unknown", [{"memory_total": None}, {"memory_available": None}, {"provider": "hosts"}])
def test_memory_is_left_alone_where_it_does_not_count(unknown: dict[str, Any]) -> None:
    around = {"memory_total": 100, "memory_available": 100, **unknown}
    report = here(hosts(CTRL) if unknown.get("provider") else {}, **around)
    assert (report.problems, report.warnings) == ([], [])


# where from, free GB, used GB, filled, is it refused, is it warned of, GB said to be needed
DISK: list[tuple[str, float, float, bool, bool, bool, str]] = [
    ("auto", 30, 0, False, False, False, ""),
    ("auto", 29.9, 0, False, False, True, "30.0"),
    ("auto", 5, 0, False, False, True, "30.0"),
    ("auto", 4.9, 0, False, True, False, "30.0"),
    ("auto", 6, 25, False, False, False, ""),
    ("auto", 5, 25, False, False, False, ""),
    ("auto", 3, 25, False, False, True, "5.0"),
    ("auto", 1.9, 29, False, True, False, "2.0"),
    ("source", 29.9, 0, False, True, False, "30.0"),
    ("source", 29.9, 1, False, False, False, ""),
    ("upstream", 5, 0, False, False, False, ""),
    ("upstream", 4.9, 0, False, True, False, "5.0"),
    ("source", 2, 9, True, False, False, ""),
    ("source", 1.9, 9, True, True, False, "2.0"),
]


@pytest.mark.parametrize(("source", "free", "used", "filled", "refused", "warned", "needed"), DISK)
def test_too_little_disk_is_said(
    source: str, free: float, used: float, filled: bool, refused: bool, warned: bool, needed: str
) -> None:
    report = here(
        {"cluster_artifacts_from": source},
        cache_free=int(free * GB),
        cache_used=lambda: int(used * GB),
        cache_filled=filled,
    )
    assert (len(report.problems), len(report.warnings)) == (refused, warned)
    for found in (*report.problems, *report.warnings):
        assert found.key == "cluster_artifacts_from"
        tells(found, f"not-enough-disk: /cache … {free:.1f} GB … {needed} GB")
        assert "SLIPWAY_CACHE=" in found.works


def test_a_disk_of_unknown_size_passes() -> None:
    assert here({}, cache_free=None).problems == []


def test_the_cache_is_not_counted_while_there_is_room() -> None:
    def count() -> int:
        raise AssertionError("counting a cache takes seconds")

    assert here({}, cache_used=count).problems == []


def test_a_wrong_value_does_not_reach_the_checks_of_this_computer() -> None:
    around = {"memory_total": 10, "memory_available": 10, "cache_free": 0}
    report = here({"cluster_workers": 1, "cluster_artifacts_from": 1}, **around)
    assert [problem.id for problem in report.problems] == ["not-one-of", "wrong-type"]
    assert isinstance(examine({}).settings, Settings)


def test_every_rule_of_the_page_is_asked_once() -> None:
    folder = Path(checks.__file__).parent
    found = [
        rule
        for file in sorted(folder.glob("*_rules.py"))
        for rule in vars(importlib.import_module(f"slipway.page.{file.stem}")).values()
        if isinstance(rule, Rule | LocalRule)
    ]
    asked = [*checks.RULES, *checks.LOCAL_RULES]
    assert len(asked) == len(found) == len(set(asked))
    assert set(asked) == set(found)


def test_a_node_network_without_room_for_a_machine_is_refused_and_no_traceback() -> None:
    found = here({"cluster_node_cidr": "192.168.56.0/30"}, provider="docker").problems
    assert "cluster_node_cidr" in {problem.key for problem in found}
