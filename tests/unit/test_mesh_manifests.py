"""Manifests in an order that can be applied, the gateway's ports, settings laid over ours, reasons, names."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.mesh import manifests as mesh

from tests.support.errors import refused

MANIFESTS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system}
spec: {}
---
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: validator}
webhooks:
  - {name: a, failurePolicy: Ignore, sideEffects: None}
  - {name: b, sideEffects: None}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: injector}
webhooks:
  - {name: a, failurePolicy: Fail}
---
apiVersion: example.org/v1
kind: Other
metadata: {name: other}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: b, namespace: istio-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: a, namespace: istio-system}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gateways}
"""


def test_objects_come_in_an_order_that_can_be_applied() -> None:
    assert [(item["kind"], item["metadata"]["name"]) for item in mesh.objects(MANIFESTS)] == [
        ("CustomResourceDefinition", "gateways"),
        ("ServiceAccount", "a"),
        ("ServiceAccount", "b"),
        ("MutatingWebhookConfiguration", "injector"),
        ("ValidatingWebhookConfiguration", "validator"),
        ("Deployment", "istiod"),
        ("Other", "other"),
    ]


def test_what_istiod_sets_itself_is_left_out() -> None:
    webhooks = {item["metadata"]["name"]: item["webhooks"] for item in mesh.objects(MANIFESTS) if "webhooks" in item}
    assert webhooks["validator"] == [{"name": "a", "sideEffects": "None"}, {"name": "b", "sideEffects": "None"}]
    assert webhooks["injector"] == [{"name": "a", "failurePolicy": "Fail"}]


def test_ports_of_the_gateway_have_listeners_of_their_own() -> None:
    ports = mesh.service_ports([80, 443, 8080])
    assert [(port["name"], port["port"], port["targetPort"]) for port in ports] == [
        ("http-80", 80, 10080),
        ("https-443", 443, 10443),
        ("http-8080", 8080, 8080),
    ]
    assert {port["protocol"] for port in ports} == {"TCP"}


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ([15021], "port-taken: port 15021 … 15021 … Istio"),
        ([80, 80], "port-taken: port 80 … twice"),
        ([10080, 80], "port-taken: port 80 … 10080 … 10080"),
    ],
)
def test_ports_that_cannot_be_had_are_refused(ports: list[int], message: str) -> None:
    with refused(message):
        mesh.service_ports(ports)


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"c": 3}}, {"a": 1, "b": {"c": 3, "d": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({}, {"a": [{"name": "x"}]}, {"a": [{"name": "x"}]}),
        (
            {"a": [{"name": "x", "v": 1, "w": 2}, {"name": "y"}]},
            {"a": [{"name": "z"}, {"name": "x", "v": 3}]},
            {"a": [{"name": "x", "v": 3, "w": 2}, {"name": "y"}, {"name": "z"}]},
        ),
        ({"a": [{"name": "x"}]}, {"a": []}, {"a": []}),
    ],
)
def test_settings_are_laid_over_ours(base: Any, over: Any, result: Any) -> None:
    assert mesh.merged(base, over) == result


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('Error: could not unmarshal: json: unknown field "foo"\n', 'could not unmarshal: json: unknown field "foo"'),
        ("warn\nError: first\nUsage:\n", "first"),
        ("[Errno 2] No such file or directory: b'istioctl'", "[Errno 2] No such file or directory: b'istioctl'"),
        ("", "no reason given"),
    ],
)
def test_a_refusal_is_its_reason(said: str, reason: str) -> None:
    assert mesh.refusal(said) == reason


def test_an_address_is_the_first_that_was_given() -> None:
    assert mesh.address_of({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}) == "192.0.2.1"
    assert mesh.address_of({"status": {"loadBalancer": {}}}) == ""


def test_an_address_that_is_not_given_is_explained() -> None:
    events = [
        {"type": "Warning", "message": "older", "lastTimestamp": "2026-01-01T00:00:00Z"},
        {"type": "Warning", "message": "no available IPs", "lastTimestamp": "2026-01-02T00:00:00Z"},
        {"type": "Normal", "message": "else", "lastTimestamp": "2026-01-03T00:00:00Z"},
    ]
    assert mesh.no_address(events, "192.0.2.1") == "the gateway did not get the address 192.0.2.1: no available IPs"
    assert "nobody says why" in mesh.no_address([], "")


def test_names_are_those_that_people_can_type() -> None:
    gateways = [{"spec": {"servers": [{"hosts": ["team8.local", "*", "*.wild.local"]}, {"hosts": ["ns/b.local"]}]}}]
    routes = [
        {"spec": {"hosts": ["a.local", "team8.local"], "gateways": ["mesh", "gw"]}},
        {"spec": {"hosts": ["inside.local", "service"], "gateways": ["mesh"]}},
        {"spec": {"hosts": ["service", "x.y.svc.cluster.local"], "gateways": ["gw"]}},
        {"spec": {"hosts": ["no-gateway.local"]}},
    ]
    assert mesh.host_names(gateways, routes) == ["a.local", "b.local", "team8.local"]
    ingresses: list[dict[str, Any]] = [
        {"spec": {"rules": [{"host": "c.local"}, {"http": {}}]}},
        {"spec": {"defaultBackend": {}}},
    ]
    assert mesh.host_names(gateways, routes, ingresses) == ["a.local", "b.local", "c.local", "team8.local"]
    led: list[dict[str, Any]] = [{"spec": {"hostnames": ["d.local", "*.wild.local"]}}, {"spec": {}}]
    assert mesh.host_names([], [], [], led) == ["d.local"]
