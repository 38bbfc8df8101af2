"""What a path says of its own: weights, stickiness, overrides, cases, redirects; and hosts with routes of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.release.environment import Environment
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.full_release import container
from tests.support.pasted import pasted
from tests.support.release import Object, ask, names, one, page, problems
from tests.support.release_changes import IMAGE, changed

ADMIN = ("services.admin", {"versions": {"v1": IMAGE}})


def planned(folder: Path, *changes: tuple[str, Any]) -> Plan:
    return plan(load(page(folder, changed(*changes))))


def test_a_path_has_weights_and_a_cookie_of_its_own(tmp_path: Path) -> None:
    routes = {"/": "front", "/api/v1": {"to": "front", "weights": {"v1": 50, "v2": 50}}}
    made = planned(tmp_path, ("routes", routes))
    root, api = ask(made, "shop.local/"), ask(made, "shop.local/api/v1/x")
    assert root.shares == {"front:v1": 90, "front:v2": 10}
    assert api.shares == {"front:v1": 50, "front:v2": 50}
    assert all(cookie.startswith("shop-version=") and "; Path=/;" in cookie for cookie in root.cookies)
    assert all(cookie.startswith("shop-version-api-v1=v") and "; Path=/api/v1;" in cookie for cookie in api.cookies)
    kept = {"cookie": "shop-version-api-v1=v2; shop-version=v1"}
    assert ask(made, "shop.local/api/v1", **kept).shares == {"front:v2": 100}
    assert ask(made, "shop.local/", **kept).shares == {"front:v1": 100}
    # A version without weight there has no cookie that counts.
    gone = planned(tmp_path, ("routes", {"/": {"to": "front", "weights": {"v1": 100, "v2": 0}}}))
    assert ask(gone, "shop.local/", cookie="shop-version-root=v2").shares == {"front:v1": 100}


def test_a_refused_request_takes_no_cookie_of_another_path_away(tmp_path: Path) -> None:
    limits = ("limits", {"per_client": "1/s"})
    own = planned(tmp_path, ("routes", {"/": {"to": "front", "weights": {"v1": 50, "v2": 50}}}), limits)
    assert "shop-version-refused=; Path=/" in str(one(own, "EnvoyFilter", "shop-rate-limit"))
    assert "shop-version=; Path=/" in str(one(planned(tmp_path, limits), "EnvoyFilter", "shop-rate-limit"))


def test_a_path_may_be_sticky_to_nobody_and_ask_in_its_own_way(tmp_path: Path) -> None:
    routes = {
        "/": "front",
        "/free": {"to": "front", "sticky": "none"},
        "/beta": {"to": "front", "override": {"header": {"name": "x-beta", "values": {"v2": "yes"}}}},
    }
    made = planned(tmp_path, ("routes", routes), ("override.header", "x-version"))
    assert ask(made, "shop.local/free").cookies == ()
    assert ask(made, "shop.local/free", cookie="shop-version=v2").shares == {"front:v1": 90, "front:v2": 10}
    assert ask(made, "shop.local/beta", x_beta="yes").shares == {"front:v2": 100}
    assert ask(made, "shop.local/beta", x_version="v2").shares == {"front:v1": 90, "front:v2": 10}
    assert ask(made, "shop.local/", x_beta="yes").shares == {"front:v1": 90, "front:v2": 10}


def test_headers_may_ask_by_a_pattern(tmp_path: Path) -> None:
    header = {
        "name": "x-user",
        "values": {"v2": {"regex": "beta-[0-9]+", "example": "beta-7"}, "v1": {"prefix": "old-"}},
    }
    made = planned(tmp_path, ("override", {"header": header}))
    assert ask(made, "shop.local/", x_user="beta-12").shares == {"front:v2": 100}
    assert ask(made, "shop.local/", x_user="old-style").shares == {"front:v1": 100}
    assert len(ask(made, "shop.local/", x_user="a-beta-12").shares) == 2
    asked = {each["version"]: each["value"] for each in made.facts["overrides"]}
    assert asked == {"v1": "old-", "v2": "beta-7"}


CASES = [
    {"methods": ["POST", "PUT"], "to": "admin"},
    {"query": {"beta": 1}, "version": "v2"},
    {"headers": {"x-team": {"prefix": "qa"}}, "path": {"regex": "/items/[0-9]+", "example": "/items/7"}, "to": "back"},
]


def test_the_first_case_that_fits_counts_before_overrides_and_cookies(tmp_path: Path) -> None:
    made = planned(tmp_path, ("routes", {"/": {"to": "front", "when": CASES}}), ADMIN, ("services.front.retries", 2))
    assert ask(made, "shop.local/x", method="POST").shares == {"admin:v1": 100}
    assert ask(made, "shop.local/x?beta=1", cookie="shop-version=v1").shares == {"front:v2": 100}
    assert len(ask(made, "shop.local/x?beta=2").shares) == 2
    team = {"x_team": "qa-1"}
    assert ask(made, "shop.local/items/7", **team, cookie="shop-version=v2").shares == {"back:v2": 100}
    assert set(ask(made, "shop.local/items/7", **team).shares) == {"back:v1", "back:v2"}
    assert set(ask(made, "shop.local/items/x", **team).shares) == {"front:v1", "front:v2"}
    assert set(ask(made, "shop.local/items/7").shares) == {"front:v1", "front:v2"}
    # What a POST is repeated after is said for the methods of the case alone.
    assert ask(made, "shop.local/x?beta=1", method="POST").shares == {"admin:v1": 100}
    # The gateway may call what only a case leads to.
    (rule,) = one(made, "AuthorizationPolicy", "admin-v1")["spec"]["rules"]
    assert "istio-ingressgateway" in str(rule)


def test_retries_of_a_case_are_for_its_methods_alone(tmp_path: Path) -> None:
    case = {"methods": ["POST", "GET"], "version": "v2"}
    tries = ("services.front.retries", {"attempts": 2, "reasons": ["5xx"]})
    made = planned(tmp_path, ("routes", {"/": {"to": "front", "when": [case]}}), tries)
    rules = [rule for rule in one(made, "VirtualService", "shop-entry")["spec"]["http"] if "when-1" in rule["name"]]
    assert [rule["match"][0]["method"]["regex"] for rule in rules] == ["GET", "POST|GET"]
    only = planned(tmp_path, ("routes", {"/": {"to": "front", "when": [{**case, "methods": ["POST"]}]}}), tries)
    rules = [rule for rule in one(only, "VirtualService", "shop-entry")["spec"]["http"] if "when-1" in rule["name"]]
    assert [rule["match"][0]["method"]["regex"] for rule in rules] == ["POST"]


REDIRECTS = {
    "/old": ("/new", {"redirectCode": 301, "uri": "/new"}),
    "/docs": ({"to": "https://docs.example.org", "code": 302},
              {"redirectCode": 302, "scheme": "https", "authority": "docs.example.org",
               "derivePort": "FROM_PROTOCOL_DEFAULT"}),
    "/port": ("http://a.b:8080/x",
              {"redirectCode": 301, "scheme": "http", "authority": "a.b", "port": 8080, "uri": "/x"}),
}  # fmt: skip


def test_redirects_are_answered_by_the_gateway_before_a_shorter_path(tmp_path: Path) -> None:
    given = {path: redirect for path, (redirect, _) in REDIRECTS.items()}
    made = planned(tmp_path, ("redirects", given), ("routes", {"/": "front", "/old/kept": "back"}))
    rules = {rule["name"]: rule for rule in one(made, "VirtualService", "shop-entry")["spec"]["http"]}
    for path, (_, wanted) in REDIRECTS.items():
        assert rules[f"shop/shop:{path}:redirect"]["redirect"] == wanted
        assert "route" not in rules[f"shop/shop:{path}:redirect"]
    assert ask(made, "shop.local/old/x").status == 301
    assert ask(made, "shop.local/older").status == 0
    assert set(ask(made, "shop.local/old/kept").shares) == {"back:v1", "back:v2"}


def test_a_prefix_is_stripped(tmp_path: Path) -> None:
    made = planned(tmp_path, ("routes", {"/": "front", "/api": {"to": "back", "strip": True}}))
    rules = [r for r in one(made, "VirtualService", "shop-entry")["spec"]["http"] if ":/api:" in r["name"]]
    assert all(rule["rewrite"]["uriRegexRewrite"] == {"match": "^/api/?(.*)$", "rewrite": r"/\1"} for rule in rules)


def test_hosts_have_routes_of_their_own(tmp_path: Path) -> None:
    entries = {"admin.local": "admin", "*.api.local": {"routes": {"/": "back", "/x": "front"}}}
    made = planned(tmp_path, ("entries", entries), ADMIN, ("limits", {"per_client": "1/s"}))
    assert {"shop-entry-admin-local", "shop-entry-any-api-local"} <= names(made, "VirtualService")
    assert ask(made, "admin.local/any").shares == {"admin:v1": 100}
    assert set(one(made, "Gateway", "shop")["spec"]["servers"][0]["hosts"]) == {"shop.local", *entries}
    api = one(made, "VirtualService", "shop-entry-any-api-local")["spec"]
    assert api["hosts"] == ["*.api.local"]
    assert {to["destination"]["host"] for rule in api["http"] for to in rule["route"]} == {
        "back.shop.svc.cluster.local", "front.shop.svc.cluster.local",
    }  # fmt: skip
    limited = {
        patch["match"]["routeConfiguration"]["vhost"]["name"]
        for patch in one(made, "EnvoyFilter", "shop-rate-limit")["spec"]["configPatches"]
    }
    assert limited == {"shop.local:80", "admin.local:80", "*.api.local:80"}
    assert container(made, "admin-v1")


def test_wildcards_are_hosts_and_complete_names(tmp_path: Path) -> None:
    made = planned(tmp_path, ("hosts", ["*.shop.local"]), ("override", {"hosts": {"next": "v2"}}))
    assert one(made, "VirtualService", "shop-entry")["spec"]["hosts"] == ["*.shop.local", "next.shop.local"]
    every = planned(tmp_path, ("hosts", ["*"]))
    assert one(every, "Gateway", "shop")["spec"]["servers"][0]["hosts"] == ["*"]
    assert made.facts["hosts"][0] == "*.shop.local"


def test_a_certificate_is_never_for_every_host(tmp_path: Path) -> None:
    known = Environment(
        certificates={"slipway-gateway-tls": ("a.local",)}, renewable=frozenset(["slipway-gateway-tls"])
    )
    tls: tuple[str, Any] = ("gateway", {"tls": {}})
    every = plan(load(page(tmp_path, changed(("hosts", ["*", "b.local"]), tls))), known)
    assert every.certificate == ["b.local"]
    assert "certificate-not-for-all" in "\n".join(every.warnings)
    some = plan(load(page(tmp_path, changed(("hosts", ["*.b.local"]), tls))), known)
    assert some.certificate == ["*.b.local"]


WEB = {"/": "front", "/chat": {"to": "front", "websocket": True}}
CALLS = ("services.calls", {"protocol": "grpc", "versions": {"v1": IMAGE}})


def test_a_path_promises_upgrades_and_calls_and_the_mesh_needs_nothing_for_them(tmp_path: Path) -> None:
    entries = {"calls.local": "calls", "live.local": {"routes": {"/": WEB["/chat"]}}}
    made = planned(tmp_path, ("routes", {**WEB, "/a.B": "calls"}), ("entries", entries), CALLS)
    found = [(each["kind"], each["host"], each["route"]) for each in made.facts["claims"] if "host" in each]
    assert found == [
        ("websocket", "", "/chat"),
        ("grpc", "", "/a.B"),
        ("grpc", "calls.local", "/"),
        ("websocket", "live.local", "/"),
    ]
    # Only calls are answered there, so no plain request is claimed.
    assert [each["entry"]["host"] for each in made.facts["claims"] if each["kind"] == "entry"] == ["live.local"]
    plain = planned(tmp_path, ("routes", {**WEB, "/chat": "front"}))
    with_it = planned(tmp_path, ("routes", WEB))
    assert with_it.objects == plain.objects
    assert with_it.warnings == plain.warnings
    warned = planned(tmp_path, ("routes", WEB), ("services.front.timeout", "5s")).warnings
    assert [line for line in warned if "websocket-timeout" in line and "timeout 5s ends each connection" in line]


def route(**more: Any) -> Object:
    return {"/": {"to": "front", **more}}


@pytest.mark.parametrize(
    ("changes", "error_id", "works"),
    [
        ([("hosts", ["a.*.local"])], "not-a-host-name", 'hosts: ["*.local"]'),
        ([("hosts", ["b.c", "*shop.local"])], "not-a-host-name", 'hosts: [b.c, "*.shop.local"]'),
        ([("hosts", ["*"]), ("override", {"hosts": {"next": "v2"}})], "host-without-dot", "next.shop.local"),
        ([("entries", {"admin.local": "amin"}), ADMIN], "unknown-service", "admin.local: admin"),
        ([("entries", {"shop.local": "back"})], "duplicate-host", "another-shop.local"),
        ([("entries", {"a.local": {}})], "needs-one-of", "a.local: "),
        ([("routes", route(weights={"v1": 50, "v2": 40}))], "weights-sum", "weights: {v1: 50, v2: 50}"),
        ([("routes", route(weights={"v1": 50, "v3": 50}))], "unknown-version", ": 50"),
        ([("routes", {"/": "front", "/a": {"to": "admin", "weights": {"v1": 50, "v2": 50}}}), ADMIN],
         "keys-contradict", "another version of admin"),
        ([("routes", route(weights={"v1": 50, "v2": 50})), ("sticky", {"hash": {"address": True}})],
         "keys-contradict", "sticky: cookie"),
        ([("routes", route(version="v1", weights={"v1": 50, "v2": 50}))], "keys-contradict", "one of the two"),
        ([("routes", {"/": "front", "/c": {"to": "calls", "websocket": True}}), CALLS], "keys-contradict",
         "no websocket here"),
        ([("routes", route(rewrite="/x", strip=True))], "keys-contradict", "one of the two"),
        ([("routes", route(when=[{"to": "back"}]))], "needs-one-of", "methods: [POST]"),
        ([("routes", route(when=[{"methods": ["POST"]}]))], "needs-one-of", "to: writer"),
        ([("routes", route(when=[{"methods": ["POST"], "to": "bck"}]))], "unknown-service", "to: back"),
        ([("routes", route(when=[{"methods": ["POST"], "version": "v9"}]))], "unknown-version", "version: v"),
        ([("routes", route(when=[{"methods": ["POST"], "to": "back"}] * 2))], "duplicate-value", "one of the two"),
        ([("routes", {"/": "front", "/a": {"to": "front", "when": [
            {"path": {"regex": "/b", "example": "/b"}, "to": "back"}]}})], "case-beside-path", "the case at /"),
        ([("routes", route(when=[{"path": {"regex": "/(?=b)", "example": "/b"}, "to": "back"}]))], "not-a-pattern",
         'regex: "/.*"'),
        ([("routes", route(when=[{"path": {"regex": "/b", "example": "/c"}, "to": "back"}]))],
         "pattern-misses-example", "example: /items/7"),
        ([("routes", route(when=[{"query": {"a": {"prefix": "b"}}, "to": "back"}]))], "keys-contradict", "when: ["),
        ([("override", {"header": {"name": "x-u", "values": {"v2": {"regex": "b.*"}}}})], "needs-one-of", "v2: B"),
        ([("override", {"header": {"name": "x-u", "values": {"v2": "b.*"}}})], "regular-expression", "v2: b"),
        ([("override", {"header": {"name": "x-version", "values": {"v2": {"prefix": "b"}}}})], "keys-contradict",
         "header: x-shop-ask"),
        ([("redirects", {"/": "/new"})], "redirect-circle", "/old: /new"),
        ([("redirects", {"/": "/old/x"})], "redirect-circle", "/from: /old/x"),
        ([("redirects", {"/old": "/old/x"})], "redirect-circle", "/old: /new/old"),
        ([("redirects", {"/new": "/new/x"})], "redirect-circle", "/new: /other/new"),
        ([("redirects", {"/old": "new"})], "not-a-path", "/new"),
        ([("redirects", {"/api": "/new"}), ("routes", {"/": "front", "/api": "back"})], "duplicate-value", "/api-old"),
    ],
)  # fmt: skip
def test_what_leads_nowhere_or_contradicts_itself_is_refused(
    tmp_path: Path, changes: list[tuple[str, Any]], error_id: str, works: str
) -> None:
    found = problems(page(tmp_path, changed(*changes)))
    assert error_id in [problem.id for problem in found], found
    assert works in next(problem.works for problem in found if problem.id == error_id)
    for problem in found:
        pasted(tmp_path, changed(*changes), problem)
