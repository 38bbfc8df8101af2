"""Routes of the Gateway API in a chart: what a proof asks of them, and what of them does nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from slipway.contents import claims, gateway_api, told
from slipway.contents.keys import Contents
from slipway.contents.plan import plan
from slipway.contents.source import Source
from slipway.contents.told import World

from tests.support.contents import SHOP, made, read

Json = dict[str, Any]
HOME = {"name": "slipway", "namespace": "istio-system"}
WORLD = World(
    asked=True,
    ports={80: 10080, 443: 10443, 8080: 8080},
    gateway_labels={"istio": "ingressgateway"},
    api_gateways=frozenset({("istio-system", "slipway")}),
)
# Two Services, each with one version.
PODS = "\n---\n".join(
    [
        SHOP.partition("---\napiVersion: v1")[0],
        *(
            f"apiVersion: v1\nkind: Service\nmetadata: {{name: web-{version}}}\n"
            f"spec: {{selector: {{app: web, version: {version}}}, ports: [{{port: 80}}]}}"
            for version in ("v1", "v2")
        ),
    ]
)


def to(name: str, weight: int | None = None, **more: Any) -> Json:
    return {"name": name, "port": 80, **({} if weight is None else {"weight": weight}), **more}


def path(value: str, sort: str = "PathPrefix") -> Json:
    return {"path": {"type": sort, "value": value}}


def route(*rules: Json, name: str = "web", parent: Json | None = None, kind: str = "HTTPRoute") -> str:
    spec = {"parentRefs": [parent or HOME], "hostnames": ["web.local"], "rules": list(rules)}
    return yaml.safe_dump(
        {"apiVersion": f"{gateway_api.GROUP}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    )


def gateway(name: str = "own", service: str = "") -> str:
    addresses = {"addresses": [{"type": "Hostname", "value": service}]} if service else {}
    listeners = [{"name": "http", "port": 8080, "protocol": "HTTP"}]
    spec = {"gatewayClassName": "istio", "listeners": listeners, **addresses}
    return yaml.safe_dump(
        {"apiVersion": f"{gateway_api.GROUP}/v1", "kind": "Gateway", "metadata": {"name": name}, "spec": spec}
    )


def facts(*texts: str) -> Json:
    page = Contents.model_validate({"name": "shop", "chart": {"path": "./helm"}})
    return claims.facts(page, made(*texts), WORLD)


def listed(found: Json) -> str:
    return "\n".join(f"{claim['title']}: {claim['why']}" for claim in found["claims"] if claim["kind"] == "listed")


def rules(*texts: str) -> list[Json]:
    (item,) = (
        one for one in gateway_api.as_routes(made(*texts).objects, (80,), "cluster.local") if "http" in one["spec"]
    )
    found: list[Json] = item["spec"]["http"]
    return found


def test_weights_between_services_are_shares_of_versions() -> None:
    found = facts(PODS, route({"backendRefs": [to("web-v1", 9), to("web-v2", 1)]}))
    assert (found["hosts"], found["ports"]) == (["web.local"], [80, 8080])
    assert found["routes"][0]["shares"] == {"v1": 90, "v2": 10}
    assert [claim["kind"] for claim in found["claims"]] == ["share", "counted"]


def test_a_header_that_leads_to_a_version_is_claimed() -> None:
    asks = {"headers": [{"name": "x-group", "value": "testers"}]}
    rule = {"matches": [asks], "backendRefs": [to("web-v2")]}
    found = facts(PODS, route({"backendRefs": [to("web-v1")]}, rule))
    assert found["overrides"] == [{"by": "header", "name": "x-group", "value": "testers", "version": "v2"}]
    assert listed(found) == ""


def test_paths_come_in_the_order_of_the_gateway_api() -> None:
    given = [
        {"matches": [path("/")], "backendRefs": [to("web")]},
        {"matches": [path("/shop/"), path("/shop", "Exact")], "backendRefs": [to("web")]},
        {"matches": [{**path("/shop"), "method": "POST"}], "backendRefs": [to("web")]},
        {"matches": [path("/[0-9]+", "RegularExpression")], "backendRefs": [to("web")]},
    ]
    assert [rule["match"] for rule in rules(SHOP, route(*given))] == [
        [{"uri": {"exact": "/shop"}}],
        [{"uri": {"regex": "/[0-9]+"}}],
        [{"uri": {"exact": "/shop"}}, {"uri": {"prefix": "/shop/"}}],
        [
            {"uri": {"exact": "/shop"}, "method": {"exact": "POST"}},
            {"uri": {"prefix": "/shop/"}, "method": {"exact": "POST"}},
        ],
        [{"uri": {"prefix": "/"}}],
    ]


def test_filters_are_read_as_what_they_do() -> None:
    cookie = {
        "type": "ResponseHeaderModifier",
        "responseHeaderModifier": {"add": [{"name": "Set-Cookie", "value": "a=b"}]},
    }
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": to("back"), "percent": 20}}
    rule = {"filters": [mirror], "timeouts": {"request": "2s"}, "backendRefs": [to("web", filters=[cookie])]}
    (found,) = rules(SHOP, route(rule))
    assert found["route"][0]["headers"] == {"response": {"add": {"Set-Cookie": "a=b"}}}
    assert found["mirrors"] == [
        {
            "destination": {"host": "back.shop.svc.cluster.local", "port": {"number": 80}},
            "percentage": {"value": 20},
        }
    ]
    assert found["timeout"] == "2s"
    half = {
        "type": "RequestMirror",
        "requestMirror": {"backendRef": to("back"), "fraction": {"numerator": 1, "denominator": 2}},
    }
    (found,) = rules(SHOP, route({**rule, "filters": [half]}))
    assert found["mirrors"][0]["percentage"] == {"value": 50}
    redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}
    assert "answers by itself" in listed(facts(SHOP, route({"filters": [redirect]})))


@pytest.mark.parametrize(
    ("service", "ports"),
    [
        ("istio-ingressgateway.istio-system.svc.cluster.local", [8080]),
        ("istio-ingressgateway.istio-system", [8080]),
        ("other.istio-system.svc.cluster.local", [80]),
        ("", [80]),
    ],
)
def test_a_gateway_counts_if_it_names_the_service_that_is_there(service: str, ports: list[int]) -> None:
    own = {"name": "own"}
    found = facts(PODS, gateway(service=service), route({"backendRefs": [to("web-v1")]}, parent=own))
    assert [claim["kind"] for claim in found["claims"] if claim["kind"] != "listed"] == (
        ["answer"] if ports == [8080] else []
    )
    assert found["ports"] == ports
    assert ("HTTPRoute/shop/web is applied as it is" in listed(found)) is (ports == [80])


def said(*texts: str, world: World = WORLD) -> list[str]:
    return list(told.warnings(made(*texts), world))


def test_what_leads_nowhere_or_makes_a_second_gateway_is_told() -> None:
    good = route({"backendRefs": [to("web")]})
    assert said(SHOP, good) == []
    assert said(SHOP, gateway(service="istio-ingressgateway.istio-system.svc.cluster.local")) == []
    (second,) = said(SHOP, gateway())
    assert "makes a gateway of its own, with another address" in second
    (nowhere,) = said(SHOP, good, world=replace(WORLD, api_gateways=frozenset()))
    assert "is for the Gateway istio-system/slipway, which is nowhere" in nowhere
    assert "parentRefs: [{name: slipway, namespace: istio-system}]" in nowhere
    missing = said(SHOP, route({"backendRefs": [to("nobody")]}))
    assert any("HTTPRoute/shop/web leads to Service shop/nobody, which is nowhere" in one for one in missing)


def test_a_cluster_without_the_gateway_api_says_which_key_installs_it() -> None:
    page = Contents.model_validate({"name": "shop", "chart": {"path": "./helm"}})
    source = Source(read(SHOP, route({"backendRefs": [to("web")]})), "shop 1.0.0")
    found = plan(page, source, lambda version, _: None if gateway_api.GROUP in version else True).faults
    assert [(fault.id, fault.works) for fault in found] == [
        ("unknown-kind", "cluster_gateway_api: true on the page of the cluster")
    ]


def test_routes_of_other_protocols_are_listed() -> None:
    found = facts(SHOP, route({"backendRefs": [to("web")]}, kind="TCPRoute"))
    assert "TCPRoute/shop/web is applied as it is: no connection is made" in listed(found)
