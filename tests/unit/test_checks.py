"""The checks of the page let settings pass that can work, and tell of all others what is wrong and what would work."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from slipway.page import checks
from slipway.page.examine import examine
from slipway.page.model import Settings
from slipway.page.rules import LocalRule, Rule

from tests.support.errors import tells
from tests.support.settings import CTRL, MIRROR, NODE, controllers, here, hosts, page, workers

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


def test_a_check_is_left_out_where_a_value_is_wrong_in_itself() -> None:
    report = page(cluster_pod_cidr="nonsense", cluster_service_cidr="10.0.0.0/29", **controllers(2))
    assert [problem.key for problem in report.problems] == [
        "cluster_controllers.count",
        "cluster_pod_cidr",
        "cluster_service_cidr",
    ]


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
