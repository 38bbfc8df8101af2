"""Limits: what the gateway's filter is told for the hosts of a release."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from slipway.release.environment import Environment
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.release import at, names, one, page, shipped

IMAGE = "example.org/app:1.0"
FILTER = "envoy.filters.http.local_ratelimit"


def made(folder: Path, environment: Environment | None = None, **values: Any) -> Plan:
    base = {"name": "shop", "hosts": ["shop.local"], "services": {"web": {"versions": {"v1": IMAGE}}}}
    return plan(load(page(folder, {**base, **values})), environment)


def told(release: Plan) -> dict[str, Any]:
    patches = one(release, "EnvoyFilter", "shop-rate-limit")["spec"]["configPatches"]
    every = at(patches, f"*/patch/value/typed_per_filter_config/{FILTER}/value")
    assert all(each == every[0] for each in every)
    return dict(every[0])


def test_a_limit_per_client_is_one_bucket_for_each_address_seen(tmp_path: Path) -> None:
    config = told(made(tmp_path, limits={"per_client": "10/minute", "clients": 500}))
    assert config["rate_limits"] == [{"actions": [{"remote_address": {}}]}]
    assert config["descriptors"] == [
        {
            "entries": [{"key": "remote_address"}],
            "token_bucket": {"max_tokens": 10, "tokens_per_fill": 1, "fill_interval": "6s"},
        }
    ]
    assert config["max_dynamic_descriptors"] == 500
    assert config["always_consume_default_token_bucket"] is False
    for switch in ("filter_enabled", "filter_enforced"):
        assert config[switch]["default_value"] == {"numerator": 100, "denominator": "HUNDRED"}


def test_each_action_has_its_descriptor(tmp_path: Path) -> None:
    limits = {"per_client": {"rate": "10/minute", "burst": 20}, "total": "100/second"}
    routes = {
        "/": {"to": "web", "limits": {"per_client": "5/minute", "total": "50/second"}},
        "/api.v1": {"to": "web", "limits": {"per_client": "2/minute", "total": "9/second"}},
    }
    config = told(made(tmp_path, limits=limits, routes=routes))
    entries = [tuple((e["key"], e.get("value")) for e in item["entries"]) for item in config["descriptors"]]
    assert entries == [
        (("remote_address", None),),
        (("generic_key", "total"),),
        (("remote_address", None), ("path", "/api.v1")),
        (("path", "/api.v1"),),
        (("remote_address", None), ("generic_key", "client/")),
        (("generic_key", "total/"),),
    ]
    assert len(set(entries)) == len(config["rate_limits"])
    assert [len(item["actions"]) for item in config["rate_limits"]] == [len(entry) for entry in entries]
    (pattern,) = set(at(config, "rate_limits/*/actions/*/header_value_match/headers/*/string_match/safe_regex/regex"))
    assert [
        path for path in ("/api.v1", "/api.v1/x?y", "/api.v1?z", "/api.v11", "/apixv1") if re.fullmatch(pattern, path)
    ] == [
        "/api.v1",
        "/api.v1/x?y",
        "/api.v1?z",
    ]


def test_it_is_for_the_hosts_of_the_release_on_its_ports_alone(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "limits": {"per_client": "1/s"},
        "gateway": {"ports": [80, 8080], "tls": {}},
        "override": {"hosts": {"next": "v1"}},
        "tools": {"grafana": "grafana"},
    }
    patches = one(made(tmp_path, **values), "EnvoyFilter", "shop-rate-limit")["spec"]["configPatches"]
    assert at(patches, "*/match/routeConfiguration/vhost/name") == [
        f"{host}:{port}" for port in (80, 8080, 443) for host in ("shop.local", "next.shop.local")
    ]
    assert {(patch["applyTo"], patch["match"]["context"], patch["patch"]["operation"]) for patch in patches} == {
        ("VIRTUAL_HOST", "GATEWAY", "MERGE")
    }


def test_it_lies_beside_the_gateway_under_a_name_of_its_own(tmp_path: Path) -> None:
    environment = Environment(gateway_namespace="mesh")
    for namespace, name in (("shop", "shop-rate-limit"), ("default", "shop-rate-limit"), ("b", "shop-b-rate-limit")):
        release = made(tmp_path, environment, limits={"per_client": "1/s"}, namespace=namespace)
        (found,) = [item for item in release.objects if item["kind"] == "EnvoyFilter"]
        assert (found["metadata"]["namespace"], found["metadata"]["name"]) == ("mesh", name)
        assert found["spec"]["workloadSelector"] == {"labels": {"istio": "ingressgateway"}}


def test_a_refused_new_client_is_not_tied_to_a_version() -> None:
    release = shipped("hello")
    config = at(
        one(release, "EnvoyFilter", "hello-rate-limit"), "spec/configPatches/0/patch/value/typed_per_filter_config"
    )
    header = config[0][FILTER]["value"]["response_headers_to_add"]
    assert header == [
        {
            "header": {"key": "set-cookie", "value": "hello-version=; Path=/; Max-Age=0"},
            "append_action": "OVERWRITE_IF_EXISTS",
        }
    ]


@pytest.mark.parametrize("sticky", ["none", {"cookie": "c", "set_by": "app"}, {"hash": {"header": "x"}}])
def test_a_cookie_that_the_mesh_does_not_set_is_not_taken_off(tmp_path: Path, sticky: Any) -> None:
    versions = {"v1": IMAGE, "v2": IMAGE}
    values: dict[str, Any] = {
        "weights": {"v1": 50, "v2": 50},
        "services": {"web": {"versions": versions}},
        "sticky": sticky,
    }
    assert "response_headers_to_add" not in told(made(tmp_path, limits={"per_client": "1/s"}, **values))


def test_no_limit_is_no_filter(tmp_path: Path) -> None:
    assert names(made(tmp_path), "EnvoyFilter") == set()


def test_what_a_limit_comes_to_with_several_gateways_is_said(tmp_path: Path) -> None:
    release = made(tmp_path, Environment(gateway_replicas=3), limits={"per_client": "10/minute"})
    (limit,) = release.facts["limits"]
    assert (limit["effective"], limit["hosts"], limit["ports"]) == (30, ["shop.local"], [80])
    assert any("each of 3 gateway pods counts for itself, so up to 30" in warning for warning in release.warnings)
    assert not made(tmp_path, limits={"per_client": "10/minute"}).warnings


def test_what_is_refused_is_counted_by_release() -> None:
    release = shipped("sentiment")
    assert at(
        one(release, "EnvoyFilter", "sentiment-rate-limit"),
        f"spec/configPatches/0/patch/value/typed_per_filter_config/{FILTER}/value/stat_prefix",
    ) == ["slipway_default_sentiment"]
