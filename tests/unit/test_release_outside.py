"""Hosts outside the mesh, and what may leave: the objects that are made, and the pages that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slipway.release.environment import Environment
from slipway.release.judge import Found, environment
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.pasted import pasted
from tests.support.release import Object, at, names, one, page, problems
from tests.support.release_changes import IMAGE, Changes, changed

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
PAY = "pay.example.com"
TWO = ["192.0.2.1", "192.0.2.2"]


def planned(folder: Path, *changes: tuple[str, Any], **known: Any) -> Plan:
    return plan(load(page(folder, changed(*changes))), Environment(**known))


def outside(folder: Path, host: str, given: Any) -> tuple[Plan, Object]:
    """Plan a page with one host outside, and give its ServiceEntry, too."""
    made = planned(folder, ("outside", {host: given}))
    (name,) = names(made, "ServiceEntry")
    return made, one(made, "ServiceEntry", name)


@pytest.mark.parametrize(
    ("given", "port", "more"),
    [
        ({}, {"number": 443, "name": "tls-443", "protocol": "TLS"}, {"resolution": "DNS"}),
        ("none", {"number": 80, "name": "http-80", "protocol": "HTTP"}, {"resolution": "DNS"}),
        ("mesh", {"number": 80, "name": "http-80", "protocol": "HTTP", "targetPort": 443}, {"resolution": "DNS"}),
        (
            {
                "tls": "mesh",
                "protocol": "grpc",
                "port": 8443,
                "call_port": 9000,
                "addresses": ["192.0.2.1", "192.0.2.2"],
            },
            {"number": 9000, "name": "grpc-9000", "protocol": "GRPC", "targetPort": 8443},
            {"resolution": "STATIC", "endpoints": [{"address": address} for address in TWO]},
        ),
        (
            {"tls": "none", "protocol": "tcp", "port": 5432, "addresses": "10.1.0.0/16"},
            {"number": 5432, "name": "tcp-5432", "protocol": "TCP"},
            {"resolution": "NONE", "addresses": ["10.1.0.0/16"]},
        ),
    ],
    ids=["the program encrypts", "nobody encrypts", "the mesh encrypts", "grpc at addresses", "tcp in a network"],
)
def test_a_host_outside_is_known_in_the_namespace_alone(folder: Any, given: Any, port: Object, more: Object) -> None:
    _, entry = outside(folder, PAY, given)
    known = {"hosts": [PAY], "exportTo": ["."], "location": "MESH_EXTERNAL", "ports": [port]}
    assert entry["spec"] == {**known, **more}
    assert entry["metadata"]["name"] == "shop-pay-example-com"


def test_a_wildcard_goes_by_the_name_that_the_program_gives(tmp_path: Path) -> None:
    made, entry = outside(tmp_path, "*.cdn.example.com", "app")
    assert (entry["spec"]["resolution"], entry["spec"]["hosts"]) == ("NONE", ["*.cdn.example.com"])
    assert entry["metadata"]["name"] == "shop-any-cdn-example-com"
    assert not {item["kind"] for item in made.objects if item["metadata"]["name"] == "shop-any-cdn-example-com"} - {
        "ServiceEntry"
    }


def test_the_mesh_encrypts_for_one_name_and_trusts_what_the_page_says(tmp_path: Path) -> None:
    made, _ = outside(tmp_path, PAY, {"tls": "mesh", "ca": PEM})
    rule = one(made, "DestinationRule", "shop-pay-example-com")["spec"]
    assert (rule["host"], rule["exportTo"]) == (PAY, ["."])
    (level,) = rule["trafficPolicy"]["portLevelSettings"]
    file = "/etc/slipway/authorities/pay.example.com.pem"
    tls = {"mode": "SIMPLE", "sni": PAY, "subjectAltNames": [PAY], "caCertificates": file}
    assert level == {"port": {"number": 80}, "tls": tls}
    assert one(made, "ConfigMap", "shop-authorities")["data"] == {"pay.example.com.pem": PEM}
    annotations = at(one(made, "Deployment", "front-v1"), "spec/template/metadata/annotations")[0]
    (volume,) = json.loads(annotations["sidecar.istio.io/userVolume"]).items()
    (mount,) = json.loads(annotations["sidecar.istio.io/userVolumeMount"]).items()
    assert volume == (mount[0], {"configMap": {"name": "shop-authorities"}})
    assert mount[1] == {"mountPath": "/etc/slipway/authorities", "readOnly": True}
    public, _ = outside(tmp_path, PAY, "mesh")
    assert "caCertificates" not in str(one(public, "DestinationRule", "shop-pay-example-com"))
    assert "userVolume" not in str(one(public, "Deployment", "front-v1"))


def test_a_pod_without_a_proxy_gets_no_authorities(tmp_path: Path) -> None:
    bare = ("services.back.sidecar", False)
    made = planned(tmp_path, ("outside", {PAY: {"tls": "mesh", "ca": PEM}}), bare, ("access", "open"))
    assert "userVolume" not in str(one(made, "Deployment", "back-v1"))
    assert "userVolume" in str(one(made, "Deployment", "front-v1"))


def test_a_timeout_and_retries_are_of_the_port_that_is_called(tmp_path: Path) -> None:
    made, _ = outside(tmp_path, PAY, {"tls": "mesh", "timeout": "1.5s", "retries": {"attempts": 2, "per_try": "500ms"}})
    route = one(made, "VirtualService", "shop-pay-example-com")["spec"]
    assert (route["hosts"], route["gateways"], route["exportTo"]) == ([PAY], ["mesh"], ["."])
    again, once = route["http"]
    assert again["match"] == [{"port": 80, "method": {"regex": "GET|HEAD|OPTIONS|TRACE"}}]
    assert once["match"] == [{"port": 80}]
    assert {rule["timeout"] for rule in route["http"]} == {"1.5s"}
    assert again["retries"]["retryOn"] == "connect-failure,refused-stream,gateway-error"
    assert once["retries"] == {"attempts": 2, "retryOn": "connect-failure,refused-stream", "perTryTimeout": "0.5s"}
    assert at(route, "http/*/route/*/destination") == [{"host": PAY, "port": {"number": 80}}] * 2
    only = planned(tmp_path, ("outside", {PAY: {"tls": "none", "timeout": "2s"}}))
    (rule,) = one(only, "VirtualService", "shop-pay-example-com")["spec"]["http"]
    assert (rule["timeout"], "retries" in rule) == ("2s", False)


def test_only_named_hosts_may_be_called_where_the_page_says_so(tmp_path: Path) -> None:
    hosts = {PAY: "mesh", "*.cdn.example.com": {}}
    made = planned(tmp_path, ("egress", "named"), ("outside", hosts), cluster_domain="k8s.local")
    assert one(made, "Sidecar", "shop")["spec"] == {
        "workloadSelector": {"labels": {"slipway.io/release": "shop"}},
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
        "egress": [{"hosts": ["*/*.svc.k8s.local", "./pay.example.com", "./*.cdn.example.com"]}],
    }
    labels = at(one(made, "Deployment", "front-v1"), "spec/template/metadata/labels")[0]
    assert labels["slipway.io/release"] == "shop"
    assert not names(planned(tmp_path, ("outside", hosts)), "Sidecar")


def test_a_page_without_these_keys_makes_none_of_it(tmp_path: Path) -> None:
    made = planned(tmp_path)
    kinds = {item["kind"] for item in made.objects}
    assert not kinds & {"ServiceEntry", "Sidecar", "RequestAuthentication"}
    assert "outside" not in {step.name for step in made.steps}
    assert all(item["spec"]["action"] == "ALLOW" for item in made.objects if item["kind"] == "AuthorizationPolicy")
    assert not any("exportTo" in item["spec"] for item in made.objects if item["kind"] == "VirtualService")


def test_a_host_that_others_of_the_namespace_name_is_told(tmp_path: Path) -> None:
    entry = one(planned(tmp_path, ("outside", {PAY: {}})), "ServiceEntry", "shop-pay-example-com")
    other = {
        **entry["metadata"],
        "name": "other",
        "labels": {**entry["metadata"]["labels"], "slipway.io/release": "other"},
    }
    found = Found("shop", "shop", [{**entry, "metadata": other}, entry])
    made = plan(load(page(tmp_path, changed(("outside", {PAY: {}, "b.example.com": {}})))), environment(found))
    (said,) = [text for text in made.warnings if "the older one counts" in text]
    assert said.startswith(f"{PAY} is outside for release shop/other in this namespace too")


TCP = {"tls": "none", "protocol": "tcp", "port": 5432}
NAMED = ("egress", "named")
WRONG: list[tuple[str, Changes, str, str, str]] = [
    ("not-a-host-name", [("outside", {"https://Api.Example.com/v1": {}})], "outside", "a dot", "api.example.com"),
    ("not-a-host-name", [("outside", {"*": {}})], "outside", "a dot", "api.example.org"),
    ("not-a-host-name", [("outside", {"192.0.2.1": {}})], "outside", "a dot", "api.example.org"),
    ("host-in-cluster", [("outside", {"a.b.svc.cluster.local": {}})], "outside.a", "is a Service", "callers"),
    ("host-in-cluster", [("outside", {"shop.local": {}})], "outside.shop.local", "of this release", "calls: [front]"),
    ("wildcard-outside", [("outside", {"*.a.com": "mesh"})], "outside.*.a.com.tls", "for one host", "api.a.com"),
    (
        "wildcard-outside",
        [("outside", {"*.a.com": {"addresses": "192.0.2.1"}})],
        "outside.*.a.com.addresses",
        "for one host",
        "api.a.com",
    ),
    ("not-one-of", [("outside", {PAY: "https"})], f"outside.{PAY}", "", "tls: mesh"),
    ("keys-contradict", [("outside", {PAY: {"timeout": "1s"}})], f"outside.{PAY}", "tls: mesh shows", "tls: mesh"),
    (
        "keys-contradict",
        [("outside", {PAY: {"tls": "none", "ca": PEM}})],
        f"outside.{PAY}",
        "only tls: mesh",
        "tls: mesh",
    ),
    ("keys-contradict", [("outside", {PAY: {"call_port": 81}})], f"outside.{PAY}", "only tls: mesh", "tls: mesh"),
    ("keys-contradict", [("outside", {PAY: {**TCP, "tls": "mesh"}})], f"outside.{PAY}", "for tcp", "tls: none"),
    (
        "keys-contradict",
        [("outside", {PAY: {"addresses": "10.0.0.0/8"}})],
        f"outside.{PAY}",
        "a network",
        "addresses: [10.0.0.0]",
    ),
    (
        "needs-one-of",
        [("outside", {PAY: TCP})],
        f"outside.{PAY}",
        "port and addresses",
        "port: 5432, addresses: [192.0.2.10]",
    ),
    ("not-an-address", [("outside", {PAY: {"addresses": "pay"}})], "addresses", "an IP address", "192.0.2.10"),
    ("not-an-address", [("outside", {PAY: {**TCP, "addresses": "10.1.2.3/16"}})], "addresses", "", "10.1.0.0/16"),
    ("not-a-certificate", [("outside", {PAY: {"tls": "mesh", "ca": "ca.pem"}})], "ca", "in PEM", "ca.pem"),
    (
        "port-of-two-kinds",
        [("outside", {PAY: {"port": 8080}})],
        f"outside.{PAY}",
        "is called on 8080 as HTTP",
        "tls: mesh, port: 8080",
    ),
    (
        "port-of-two-kinds",
        [("outside", {PAY: {"port": 80}, "other.example.com": "mesh"})],
        f"outside.{PAY}",
        "other.example.com is called on 80 as HTTP",
        "tls: mesh, port: 80",
    ),
    (
        "duplicate-value",
        [("outside", {name: {**TCP, "addresses": "192.0.2.1"} for name in ("a.com", "b.com")})],
        "outside.b.com.addresses",
        "a.com too",
        "one of the two",
    ),
    ("not-one-of", [("egress", "closed")], "egress", "", "named"),
    ("proxy-user", [NAMED, ("services.front.user", 1337)], "services.front.user", "goes around", "65532"),
    (
        "proxy-user",
        [NAMED, ("services.front.init", {"wait": {"image": IMAGE, "user": 1337}})],
        "services.front.init.wait.user",
        "goes around",
        "65532",
    ),
    (
        "keys-contradict",
        [
            ("outside", {PAY: {"tls": "mesh", "ca": PEM}}),
            ("services.front.annotations", {"sidecar.istio.io/userVolume": "{}"}),
        ],
        "services.front.annotations",
        "mounts into the proxy",
        "one of the two",
    ),
]


@pytest.mark.parametrize(("error", "changes", "key", "what", "works"), WRONG)
def test_a_page_that_cannot_work_is_refused(
    folder: Any, error: str, changes: Changes, key: str, what: str, works: str
) -> None:
    found = [each for each in problems(page(folder, changed(*changes))) if each.id == error]
    assert found, [str(each) for each in problems(page(folder, changed(*changes)))]
    assert key in found[0].key
    assert what in found[0].sentence
    assert works in found[0].works
    pasted(folder, changed(*changes), found[0])


@pytest.mark.parametrize(
    ("change", "key", "what"),
    [
        (("services.back", {"sidecar": False, "versions": {"v1": IMAGE, "v2": IMAGE}}), "services.back", "no proxy"),
        (("services.front.user", "image"), "services.front.user", "root"),
        (("services.front.init", {"a": {"image": IMAGE, "user": "image"}}), "services.front.init.a.user", "root"),
        (
            ("services.front.annotations", {"traffic.sidecar.istio.io/excludeOutboundPorts": "443"}),
            "services.front.annotations",
            "around the proxy",
        ),
        (("jobs", {"migrate": {"image": IMAGE}}), "jobs.migrate", "no proxy"),
    ],
)
def test_what_the_mesh_cannot_hold_is_said(folder: Any, change: tuple[str, Any], key: str, what: str) -> None:
    def said(*changes: tuple[str, Any]) -> list[str]:
        made = planned(folder, change, ("access", "open"), *changes)
        return [text for text in made.warnings if "[egress-not-held]" in text]

    (first, *_) = said(NAMED)
    assert key in first
    assert what in first
    assert not said()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
