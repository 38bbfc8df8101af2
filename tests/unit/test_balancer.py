"""Addresses to hand out, CustomResourceDefinitions of a bundle, Services that got no address."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from slipway.parts import balancer

from tests.support.errors import refused
from tests.support.plugins import load

HOSTS = [
    {"name": "a", "address": "10.1.0.1", "role": "controller"},
    {"name": "b", "address": "10.1.0.95", "role": "worker"},
]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"cluster_metallb_addresses": ["192.168.56.20/30"]}, ["192.168.56.20/30"]),
        ({"cluster_metallb_addresses": []}, ["192.168.56.90-192.168.56.99"]),
        ({"cluster_metallb_addresses": [], "cluster_node_cidr": "172.30.4.0/24"}, ["172.30.4.90-172.30.4.99"]),
        (
            {
                "cluster_metallb_addresses": [],
                "cluster_node_cidr": "10.1.0.0/24",
                "cluster_provider": "hosts",
                "cluster_hosts": HOSTS,
            },
            ["10.1.0.245-10.1.0.254"],
        ),
        ({"cluster_metallb_addresses": ["192.168.56.20/30"], "slipway_state": "/x"}, ["192.168.56.20/30"]),
    ],
)
def test_ranges_are_those_of_the_page_or_free_ones(values: dict[str, Any], expected: list[str]) -> None:
    assert balancer.ranges(values) == expected


CRDS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: peers.example.org, creationTimestamp: null, annotations: {by: "{{ nobody }}"}}
spec: {group: example.org, versions: [{name: v1}]}
status: {conditions: []}
---
apiVersion: v1
kind: Namespace
metadata: {name: left-out}
---
---
kind: CustomResourceDefinition
metadata: {name: a.example.org}
spec: {}
"""


def test_definitions_are_kept_and_told_how_they_are_converted() -> None:
    conversion = {"strategy": "Webhook"}
    first, second = balancer.custom_resources(CRDS, {"peers.example.org": conversion})
    assert first["metadata"]["name"] == "a.example.org"
    assert "conversion" not in first["spec"]
    assert second["spec"]["conversion"] == conversion
    assert second["metadata"] == {"name": "peers.example.org", "annotations": {"by": "{{ nobody }}"}}
    assert "status" not in second


@pytest.mark.parametrize(
    ("limits", "becomes"),
    [
        ({"minimum": 0, "maximum": 4294967295}, "int64"),
        ({"minimum": -2147483649}, "int64"),
        ({"minimum": 0, "maximum": 65535}, "int32"),
        ({}, "int32"),
    ],
)
def test_a_number_has_a_format_that_can_hold_it(limits: dict[str, int], becomes: str) -> None:
    field = {"type": "integer", "format": "int32", **limits}
    spec = {"versions": [{"schema": {"openAPIV3Schema": {"properties": {"format": {"type": "string"}, "asn": field}}}}]}
    text = yaml.safe_dump({"kind": "CustomResourceDefinition", "metadata": {"name": "a"}, "spec": spec})
    ((made,),) = [one["spec"]["versions"] for one in balancer.custom_resources(text)]
    assert made["schema"]["openAPIV3Schema"]["properties"] == {
        "format": {"type": "string"},
        "asn": field | {"format": becomes},
    }


@pytest.mark.parametrize(
    ("text", "said"), [("a: [", "no YAML"), ("kind: List", "no CustomResourceDefinition x, but none")]
)
def test_a_file_without_them_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        balancer.custom_resources(text, {"x": {}})


def service(name: str, kind: str = "LoadBalancer", *, address: str = "", **spec: Any) -> dict[str, Any]:
    ingress = {"ingress": [{"ip": address}]} if address else {}
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"type": kind, **spec},
        "status": {"loadBalancer": ingress},
    }


SERVICES = [
    service("inside", "ClusterIP"),
    service("served", address="192.0.2.90"),
    service("somebody-elses", loadBalancerClass="example.org/cloud"),
    service("waiting"),
    service("asking"),
]


def test_services_without_an_address_are_those_that_metallb_should_serve() -> None:
    assert balancer.without_address(SERVICES) == ["shop/asking", "shop/waiting"]


def event(name: str, message: str, when: str | None, reason: str = "AllocationFailed") -> dict[str, Any]:
    about = {"kind": "Service", "namespace": "shop", "name": name}
    return {"metadata": {}, "involvedObject": about, "reason": reason, "message": message, "lastTimestamp": when}


def test_a_service_without_an_address_is_explained_by_the_latest_event() -> None:
    events = [
        event("asking", '["192.0.2.7"] is not allowed in config', "2026-11-21T10:00:05Z"),
        event("asking", "no available IPs", "2026-11-21T09:00:00Z"),
        event("asking", "something else", "2026-11-21T11:00:00Z", reason="Other"),
        event("served", "was in want once", "2026-11-21T09:00:00Z"),
        {"metadata": {}, "reason": "AllocationFailed", "involvedObject": {"kind": "Pod"}},
    ]
    assert balancer.explained(SERVICES, events) == [
        'Service shop/asking has no address: ["192.0.2.7"] is not allowed in config',
        "Service shop/waiting has no address: MetalLB has not said why",
    ]


def test_the_filters_say_what_is_wrong_for_somebody_who_runs_a_playbook() -> None:
    filters = load("filter", "balancer").FilterModule().filters()
    assert filters["balancer_ranges"]({"cluster_metallb_addresses": ["192.0.2.0/30"]}) == ["192.0.2.0/30"]
    with pytest.raises(AnsibleFilterError, match=r"the cluster_\* settings are wrong: run playbooks/validate.yml"):
        filters["balancer_ranges"]({"cluster_metallb_addresses": ["nonsense"]})
    assert [one["kind"] for one in filters["custom_resources"](CRDS)] == ["CustomResourceDefinition"] * 2
    with refused("wrong-artifact-file", AnsibleFilterError):
        filters["custom_resources"]("a: [")


def test_the_filters_of_the_bundle_explain_what_it_does_not_hold() -> None:
    filters = load("filter", "bundle").FilterModule().filters()
    image = {"name": "docker.io/library/web", "tag": "1", "digest": f"sha256:{'0' * 64}", "source": "built"}
    assert filters["bundle_hosts"]({"images": {"web": image}}) == ["docker.io"]
    with refused("not-in-bundle: api", AnsibleFilterError):
        filters["bundle_images"]({"images": {"web": image}}, ["api"])
