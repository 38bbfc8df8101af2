"""What is read out of a chart's objects: claims that requests can show, and what is only listed."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.contents import claims, rules
from slipway.contents.keys import Contents
from slipway.contents.told import World
from slipway.prove import planner

from tests.support.contents import PICTURES, ROUTES, SHOP, made
from tests.support.release import shipped

Json = dict[str, Any]
GATEWAY = {"istio": "ingressgateway", "app": "istio-ingressgateway"}
WORLD = World(asked=True, ports={80: 8080, 443: 8443}, gateway_labels=GATEWAY)


def facts(*texts: str, world: World = WORLD, **page: Any) -> Json:
    contents = Contents.model_validate({"name": "shop", "chart": {"path": "./helm"}, **page})
    return claims.facts(contents, made(*texts, **page), world)


def kinds(found: Json) -> list[str]:
    return [claim["kind"] for claim in found["claims"]]


def listed(found: Json) -> str:
    return "\n".join(f"{claim['title']}: {claim['why']}" for claim in found["claims"] if claim["kind"] == "listed")


def test_shares_and_headers_of_a_route_are_claims() -> None:
    found = facts(SHOP, ROUTES)
    assert found["hosts"] == ["shop.local"]
    assert found["weights"] == {"stable": 90, "canary": 10}
    assert found["routes"][0]["shares"] == {"stable": 90, "canary": 10}
    assert found["overrides"] == [{"by": "header", "name": "x-group", "value": "testers", "version": "canary"}]
    assert found["services"]["web"]["versions"]["canary"]["deployment"] == "web-v2"
    assert kinds(found)[:4] == ["share", "counted", "override", "chain"]
    assert found["chains"][1]["hops"] == {"web": "canary", "back": "back"}
    # A proof can be planned of it.
    planned = planner.plan(found, {"tells": True})
    assert {claim["kind"]: claim["state"] for claim in planned["claims"]} | {"share": "asked"} == {
        "share": "asked",
        "counted": "skipped",
        "override": "asked",
        "chain": "asked",
    }


def test_a_gateway_that_is_another_one_claims_nothing() -> None:
    found = facts(SHOP.replace("istio: ingressgateway", "istio: other"), ROUTES)
    assert kinds(found) == ["listed"]
    assert "its gateway is none of this cluster's" in listed(found)


def test_a_version_without_weight_is_reached_by_its_header_alone() -> None:
    found = facts(SHOP, ROUTES.replace("weight: 90", "weight: 100").replace("weight: 10}", "weight: 0}"))
    assert found["routes"][0]["shares"] == {"stable": 100}
    assert found["weights"] == {"stable": 100, "canary": 0}
    planned = planner.plan(found, {"tells": True})
    states = {claim["kind"]: claim["state"] for claim in planned["claims"]}
    assert (states["default"], states["override"]) == ("asked", "asked")
    told = planner.plan(found, {"tells": False})
    (counted,) = (claim for claim in told["claims"] if claim["kind"] == "counted")
    assert counted["expect"]["bounds"] == {"stable": [40, 40], "canary": [40, 40]}


def test_a_header_that_counts_below_another_path_is_listed() -> None:
    narrow = ROUTES.replace("match: [{headers", "match: [{uri: {prefix: /admin}, headers")
    found = facts(SHOP, narrow)
    assert found["overrides"] == []
    assert "its rule is for /admin alone" in listed(found)


def test_weights_that_are_no_hundred_are_shares_of_all() -> None:
    rule = {"route": [{"destination": {"host": "a"}, "weight": 1}, {"destination": {"host": "b"}, "weight": 3}]}
    assert rules.shares_of(rule) == {("a", ""): 25, ("b", ""): 75}


STICKY = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: ["*"]
  gateways: [shop]
  http:
    - match: [{headers: {cookie: {regex: '^(.*;\\s*)?seen=stable(;.*)?$'}}}]
      route: [{destination: {host: web, subset: stable}}]
    - match: [{headers: {cookie: {regex: '^(.*;\\s*)?seen=canary(;.*)?$'}}}]
      route: [{destination: {host: web, subset: canary}}]
    - match: [{headers: {x-group: {exact: testers}}}]
      route: [{destination: {host: web, subset: canary}}]
    - route:
        - destination: {host: web, subset: stable}
          weight: 50
          headers: {response: {add: {Set-Cookie: seen=stable; Path=/; Max-Age=60}}}
        - destination: {host: web, subset: canary}
          weight: 50
          headers: {response: {add: {Set-Cookie: seen=canary; Path=/; Max-Age=60}}}
"""


def test_a_cookie_that_answers_set_and_rules_go_by_is_sticky() -> None:
    found = facts(SHOP, STICKY)
    assert found["sticky"] == {
        "by": "cookie",
        "cookie": "seen",
        "set_by": "mesh",
        "values": {"stable": "stable", "canary": "canary"},
        "max_age": 60,
        "withdrawn": [],
    }
    # The header comes after the cookie: a client with one is not led by it.
    assert found["overrides"] == []
    assert "rules of the cookie come before it" in listed(found)
    assert found["hosts"] == ["shop.local"]


def test_a_cookie_without_a_path_is_not_claimed() -> None:
    found = facts(SHOP, STICKY.replace("; Path=/", ""))
    assert found["sticky"] == {"by": "none"}
    assert "with Path=/" in listed(found)
    assert [one["by"] for one in found["overrides"]] == ["cookie", "cookie", "header"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("match: [{queryParams: {v: {exact: '2'}}}]", "asks for queryParams"),
        ("match: [{headers: {x-group: {regex: '[ab]+'}}}]", "which value of x-group"),
        ("match: [{uri: {regex: '/v[0-9]/.*'}}]", "goes by the expression"),
        ("match: [{uri: {prefix: /old}}]\n      redirect: {scheme: https}", "answers by itself"),
    ],
)
def test_what_is_not_understood_is_listed(rule: str, words: str) -> None:
    text = ROUTES.replace("match: [{headers: {x-group: {exact: testers}}}]", rule)
    found = facts(SHOP, text)
    assert words in listed(found)
    assert kinds(found)[0] == "share"


def test_faults_are_claims_and_what_else_a_rule_does_is_listed() -> None:
    rule = "fault: {abort: {httpStatus: 503, percentage: {value: 20}}}\n      timeout: 2s\n      route:\n"
    policy = SHOP.replace("{host: web, subsets", "{host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets")
    found = facts(policy, ROUTES.replace("route:\n", rule))
    wanted = {"delay": None, "abort": {"status": 503, "share": 20.0}}
    assert found["services"]["web"]["faults"] == wanted
    (claim,) = (claim for claim in found["claims"] if claim["kind"] == "faults")
    assert claim["policy"] == wanted
    # So a proof takes these answers for what they are.
    assert planner.plan(found, {"tells": True})["tolerated"] == [503]
    assert "nothing asks about its timeout" in listed(found)
    assert "DestinationRule/shop/web is applied as it is: nothing asks about its trafficPolicy" in listed(found)


def test_a_rule_that_is_never_reached_is_said() -> None:
    first, second = ROUTES.partition("    - match")[0], ROUTES.partition("  http:\n")[2]
    match, route = second.partition("    - route:\n")[::2]
    found = facts(SHOP, f"{first}    - route:\n{route}{match}")
    assert found["overrides"] == []
    assert "rule 2 is never reached" in listed(found)


BESIDE = """
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: web}
spec: {selector: {matchLabels: {app: web}}, endpoints: [{port: http, interval: 10s}]}
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: shop}
spec: {groups: [{name: a, rules: [{alert: Busy, expr: vector(1) > 2}, {record: shop:a, expr: vector(1)}]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: board, labels: {grafana_dashboard: "1"}}
data:
  a.json: |
    {"templating": {"list": [{"name": "x", "type": "interval", "query": "1m,5m"}]},
     "panels": [{"targets": [{"expr": "up"}, {"expr": "rate(a[$x])"}, {"expr": "rate(a[$unknown])"}]}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web}
spec: {}
"""
MORE = f"{PICTURES}---{BESIDE}"


def test_monitoring_tools_and_mutual_tls_are_claims_and_policies_are_listed() -> None:
    found = facts(SHOP, ROUTES, MORE)
    by_kind = {claim["kind"]: claim for claim in found["claims"]}
    assert by_kind["metrics"]["metrics"] == {"path": "/metrics", "port": 8080, "interval": "10s"}
    assert by_kind["rules"]["rules"] == ["Busy", "shop:a"]
    assert by_kind["queries"]["queries"] == ["up", "rate(a[1m])"]
    assert by_kind["tool"]["host"] == "pictures.local"
    assert found["tool_services"] == {"pictures": "shop-grafana.shop"}
    assert by_kind["mtls"]["mode"] == "strict"
    assert "AuthorizationPolicy/shop/web" in listed(found)


SECURE = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure}
spec:
  selector: {istio: ingressgateway}
  servers:
    - {port: {number: 80, protocol: HTTP}, hosts: ["shop.local"], tls: {httpsRedirect: true}}
    - {port: {number: 443, protocol: HTTPS}, hosts: ["*/shop.local"], tls: {mode: SIMPLE, credentialName: shop}}
"""


def places(found: Json) -> dict[str, list[tuple[int, bool]]]:
    """Give where the proof asks for each host."""
    steps = [step for each in planner.plan(found, {"tells": True})["experiments"] for step in each["steps"]]
    made: dict[str, list[tuple[int, bool]]] = {}
    for step in steps:
        if step["to"] == "gateway":
            made.setdefault(step["host"], []).append((step["port"], step.get("tls", False)))
    return {host: sorted(set(at)) for host, at in made.items()}


def test_each_host_is_asked_at_the_port_and_with_the_scheme_that_it_has() -> None:
    plain, secure = [(80, False)], [(443, True)]
    assert places(facts(SHOP, ROUTES, MORE)) == {"shop.local": plain, "pictures.local": plain}
    routes = ROUTES.replace("gateways: [shop]", "gateways: [secure]")
    assert places(facts(SHOP, SECURE, routes, MORE)) == {"shop.local": secure, "pictures.local": plain}
    # The other way round.
    own = SECURE.replace("shop.local", "*.local")
    tool = MORE.replace("gateways: [shop]", "gateways: [secure]")
    assert places(facts(SHOP, own, ROUTES, tool)) == {"shop.local": plain, "pictures.local": secure}
    # Another port, and one that the gateway does not have.
    for port, at in ((8443, [(8443, True)]), (9443, plain)):
        text = own.replace("443", str(port))
        world = World(asked=True, ports={80: 8080, 8443: 8443}, gateway_labels=GATEWAY)
        assert places(facts(SHOP, text, ROUTES, tool, world=world)) == {"shop.local": plain, "pictures.local": at}


def test_a_host_without_tls_beside_others_of_its_route_is_asked_without() -> None:
    text = ROUTES.replace("hosts: [shop.local]", "hosts: [shop.local, next.local]").replace(
        "headers: {x-group: {exact: testers}}", "authority: {exact: next.local}"
    )
    found = facts(SHOP, SECURE, text.replace("gateways: [shop]", "gateways: [shop, secure]"))
    # Where a host is answered without TLS, too, it is asked so.
    assert found["served"] == {host: [{"port": 80, "tls": False}] for host in ("shop.local", "next.local")}
    only = SHOP.replace('hosts: ["*"]', "hosts: [next.local]")
    found = facts(only, SECURE, text.replace("gateways: [shop]", "gateways: [shop, secure]"))
    assert places(found) == {"shop.local": [(443, True)], "next.local": [(80, False)]}


def test_a_host_that_wants_certificates_of_clients_is_listed() -> None:
    tool = MORE.replace("gateways: [shop]", "gateways: [secure]")
    for mode in ("MUTUAL", "PASSTHROUGH"):
        own = SECURE.replace("shop.local", "pictures.local").replace("SIMPLE", mode)
        found = facts(SHOP, own, ROUTES, tool)
        assert "pictures.local is only for clients with a certificate" in listed(found)
        assert "tool" not in kinds(found)


FOLLOWS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: back}
spec: {host: back, subsets: [{name: one, labels: {version: v1}}, {name: two, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: back}
spec:
  hosts: [back]
  http:
    - match: [{sourceLabels: {version: v2}}]
      route: [{destination: {host: back, subset: two}}]
    - route: [{destination: {host: back, subset: one}}]
"""


def test_calls_that_go_by_the_caller_s_version_are_a_chain() -> None:
    start = SHOP.index("---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: back}")
    end = SHOP.index("---\napiVersion: v1\nkind: Service\nmetadata: {name: web")
    one = SHOP[start:end].replace("labels: {app: back}", "labels: {app: back, version: v1}")
    two = one.replace("v1", "v2").replace("name: back}", "name: back-v2}", 1)
    found = facts(SHOP[:start] + one + two + SHOP[end:], ROUTES, FOLLOWS)
    assert {chain["version"]: chain["hops"] for chain in found["chains"]} == {
        "stable": {"web": "stable", "back": "one"},
        "canary": {"web": "canary", "back": "two"},
    }
    assert found["services"]["back"]["follows"]


LIMIT = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: limit, namespace: istio-system}
spec:
  workloadSelector: {labels: {istio: ingressgateway}}
  configPatches:
    - applyTo: HTTP_FILTER
      match: {context: GATEWAY, listener: {portNumber: 8080}}
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.http.local_ratelimit
          typed_config:
            "@type": type.googleapis.com/udpa.type.v1.TypedStruct
            type_url: type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
            value:
              stat_prefix: a
              token_bucket: {max_tokens: 20, tokens_per_fill: 20, fill_interval: 60s}
              filter_enforced: {default_value: {numerator: 100}}
"""


def test_a_limit_at_the_gateway_is_a_claim_unless_it_does_nothing() -> None:
    found = facts(SHOP, ROUTES, LIMIT)
    assert [(one["per"], one["bucket"]["max_tokens"]) for one in found["limits"]] == [("total", 20)]
    assert "limit" in kinds(found)
    for text in (LIMIT.replace("8080", "80"), LIMIT.replace("namespace: istio-system", "namespace: shop")):
        found = facts(SHOP, ROUTES, text)
        assert found["limits"] == []
        assert "EnvoyFilter" in listed(found)


def test_a_proof_finds_all_that_it_finds_of_a_page_of_services() -> None:
    """One program asks for both: a key that is only here or there would end a proof half-way."""
    of_services, of_contents = shipped("sms-checker").facts, facts(SHOP, ROUTES)
    assert sorted(of_contents) == sorted(of_services)
    assert sorted(of_contents["routes"][0]) == sorted(of_services["routes"][0])
