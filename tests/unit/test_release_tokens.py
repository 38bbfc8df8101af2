"""Tokens (JWT) that requests need: what each service refuses, and the pages that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slipway.release.environment import Environment
from slipway.release.jwt_paths import Tokens
from slipway.release.planner import Plan, plan
from slipway.release.shape import Shape
from slipway.release.spec import load

from tests.support.pasted import pasted
from tests.support.release import Object, names, one, page, problems
from tests.support.release_changes import IMAGE, Changes, changed

ISSUER = "https://id.example.org"
EC = {
    "kty": "EC",
    "kid": "1",
    "crv": "P-256",
    "x": "euugiZtW9tnDGy4URlRn4-UcaugN9QMOFn9zs3l0FZg",
    "y": "96jCVyDEhGN0HwfFes85ZeAcCcfOMGZT6MSDjQMdkrE",
}
RSA = {"kty": "RSA", "n": "v" * 342, "e": "AQAB"}
KEYS = {"keys": [EC]}
JWT: Object = {"issuers": {ISSUER: {"jwks": KEYS, "audiences": ["shop"]}}}
GATEWAY = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"


def planned(folder: Path, *changes: tuple[str, Any]) -> Plan:
    return plan(load(page(folder, changed(("jwt", JWT), *changes))))


def refused_at(made: Plan, service: str) -> list[str] | None:
    """Give the paths at which a service refuses nobody; None: it refuses at all of them."""
    (rule,) = one(made, "AuthorizationPolicy", f"{service}-jwt")["spec"]["rules"]
    found: list[str] | None = rule["to"][0]["operation"]["notPaths"] if "to" in rule else None
    return found


def test_the_service_that_a_path_leads_to_checks_tokens(tmp_path: Path) -> None:
    made = planned(tmp_path)
    assert names(made, "RequestAuthentication") == {"front-jwt"}
    selected = {"matchLabels": {"app": "front", "slipway.io/release": "shop"}}
    checked = one(made, "RequestAuthentication", "front-jwt")["spec"]
    (rule,) = checked["jwtRules"]
    assert checked["selector"] == selected
    assert json.loads(rule.pop("jwks")) == KEYS
    assert rule == {"issuer": ISSUER, "audiences": ["shop"], "forwardOriginalToken": True}
    denied = one(made, "AuthorizationPolicy", "front-jwt")["spec"]
    assert denied == {
        "selector": selected,
        "action": "DENY",
        "rules": [
            {
                "from": [{"source": {"principals": [GATEWAY]}}],
                "when": [{"key": "request.auth.claims[iss]", "notValues": [ISSUER]}],
            }
        ],
    }
    # Who may call at all is as it was.
    assert one(made, "AuthorizationPolicy", "front-v1")["spec"]["action"] == "ALLOW"
    assert not names(planned(tmp_path, ("jwt", None)), "RequestAuthentication")


def test_an_issuer_may_publish_its_keys(tmp_path: Path) -> None:
    issuers = {ISSUER: f"{ISSUER}/keys", "urn:other": {"jwks": json.dumps({"keys": [RSA]}), "audiences": "shop"}}
    jwt = {"issuers": issuers, "header": "X-Id-Token", "forward": False}
    made = planned(tmp_path, ("jwt", jwt))
    first, second = one(made, "RequestAuthentication", "front-jwt")["spec"]["jwtRules"]
    held = {"forwardOriginalToken": False, "fromHeaders": [{"name": "x-id-token"}]}
    assert first == {"issuer": ISSUER, "jwksUri": f"{ISSUER}/keys", **held}
    assert json.loads(second["jwks"]) == {"keys": [RSA]}
    (when,) = one(made, "AuthorizationPolicy", "front-jwt")["spec"]["rules"][0]["when"]
    assert when["notValues"] == [ISSUER, "urn:other"]
    cookie = planned(tmp_path, ("jwt", {**JWT, "cookie": "id"}))
    assert one(cookie, "RequestAuthentication", "front-jwt")["spec"]["jwtRules"][0]["fromCookies"] == ["id"]


ADMIN = ("services.admin", {"versions": {"v1": IMAGE}})
ROUTES = {
    "/": "front",
    "/api": {"to": "back", "strip": True},
    "/api/admin": "admin",
    "/old": {"to": "admin", "rewrite": "/v1/x"},
}


@pytest.mark.parametrize(
    ("free", "front", "back", "admin"),
    [
        (["/login/"], ["/login", "/login/*"], None, None),
        (["/api/health"], None, ["/health", "/health/*"], None),
        # All of a path that the gateway takes away.
        (["/api", "/old"], None, "no tokens", "no tokens"),
        (["/old"], None, None, ["/v1/x", "/v1/x/*"]),
        # A longer path is for another service.
        (["/api/admin/help"], None, None, ["/api/admin/help", "/api/admin/help/*"]),
    ],
)
def test_free_paths_are_those_that_the_service_sees(
    tmp_path: Path, free: list[str], front: Any, back: Any, admin: Any
) -> None:
    made = planned(tmp_path, ADMIN, ("routes", ROUTES), ("jwt", {**JWT, "free": free}))
    for service, wanted in (("front", front), ("back", back), ("admin", admin)):
        if wanted == "no tokens":
            assert f"{service}-jwt" not in names(made, "AuthorizationPolicy")
            assert f"{service}-jwt" not in names(made, "RequestAuthentication")
        else:
            assert refused_at(made, service) == wanted


def test_a_case_leads_to_a_service_that_checks_too(tmp_path: Path) -> None:
    routes = {"/": {"to": "front", "when": [{"methods": ["POST"], "to": "admin"}]}}
    made = planned(tmp_path, ADMIN, ("routes", routes), ("entries", {"other.local": "back"}))
    assert names(made, "RequestAuthentication") == {"front-jwt", "admin-jwt", "back-jwt"}


def test_what_a_service_sees_of_two_paths_is_kept_apart(tmp_path: Path) -> None:
    routes = {"/": "front", "/a": {"to": "front", "strip": True}}
    spec = page(tmp_path, changed(("routes", routes), ("jwt", {**JWT, "free": ["/a/x"]})))
    (leak,) = problems(spec)
    assert leak.id == "free-path-leaks"
    assert leak.key == "jwt.free[0]"
    assert "front sees of /x too" in leak.sentence
    assert "free: [/a/x, /x]" in leak.works
    both = changed(("routes", routes), ("jwt", {**JWT, "free": ["/a/x", "/x"]}))
    assert not problems(page(tmp_path, both))
    # All below /a is all of the service.
    (leak,) = problems(page(tmp_path, changed(("routes", routes), ("jwt", {**JWT, "free": ["/a"]}))))
    assert "front sees of / too" in leak.sentence


def test_every_free_path_is_free_and_no_other(tmp_path: Path) -> None:
    free = ["/login", "/api/health", "/old/pictures"]
    release = load(page(tmp_path, changed(ADMIN, ("routes", ROUTES), ("jwt", {**JWT, "free": free})))).release
    tokens = Tokens(Shape(release))
    asked = ["/", "/login", "/login/a", "/loginx", "/api", "/api/health/x", "/api/healthy", "/old/pictures", "/old/x"]
    for path in asked:
        service = "back" if path.startswith("/api") else "admin" if path.startswith("/old") else "front"
        way = max((way for way in tokens.ways(service) if path.startswith(way.path)), key=lambda way: len(way.path))
        opened = any(way.seen(path) == each or way.seen(path).startswith(f"{each}/") for each in tokens.opened(service))
        assert opened == tokens.is_free(path), path


PRIVATE = {"keys": [{**EC, "d": "aHVzaA"}]}
WRONG: list[tuple[str, Changes, str, str]] = [
    ("missing-key", [("jwt", {"free": ["/a"]})], "jwt.issuers", "issuers"),
    ("needs-one-of", [("jwt", {"issuers": {ISSUER: {"audiences": "a"}}})], f"jwt.issuers.{ISSUER}", "jwks_uri: https"),
    (
        "needs-one-of",
        [("jwt", {"issuers": {ISSUER: {"jwks": KEYS, "jwks_uri": ISSUER}}})],
        "jwt.issuers",
        "{jwks_uri: ",
    ),
    ("not-a-url", [("jwt", {"issuers": {ISSUER: "id.example.org"}})], "jwks_uri", "https://id.example.org"),
    ("not-a-key-set", [("jwt", {"issuers": {ISSUER: {"jwks": "keys.json"}}})], "jwks", "keys:"),
    ("not-a-key-set", [("jwt", {"issuers": {ISSUER: {"jwks": {"keys": []}}}})], "jwks", "keys:"),
    ("not-a-key-set", [("jwt", {"issuers": {ISSUER: {"jwks": {"keys": [{"kty": "EC"}]}}}})], "jwks", "keys:"),
    ("not-a-key-set", [("jwt", {"issuers": {ISSUER: {"jwks": {"keys": [{"kty": "DSA"}]}}}})], "jwks", "keys:"),
    ("not-a-key-set", [("jwt", {"issuers": {ISSUER: {"jwks": {"keys": [{**EC, "kid": 7}]}}}})], "jwks", "keys:"),
    (
        "not-a-key-set",
        [("jwt", {"issuers": {ISSUER: {"jwks": {"keys": [{**EC, "x": EC["x"][:-4]}]}}}})],
        "jwks",
        "keys:",
    ),
    ("not-a-key-set", [("jwt", {"issuers": {ISSUER: {"jwks": {"keys": [{**EC, "y": "…" * 43}]}}}})], "jwks", "keys:"),
    ("not-a-key-set", [("jwt", {"issuers": {ISSUER: {"jwks": {"keys": [{**RSA, "n": "bg"}]}}}})], "jwks", "keys:"),
    ("private-key-on-page", [("jwt", {"issuers": {ISSUER: {"jwks": PRIVATE}}})], "jwks", "keys:"),
    (
        "private-key-on-page",
        [("jwt", {"issuers": {ISSUER: {"jwks": {"keys": [{"kty": "oct", "k": "aHVzaA"}]}}}})],
        "jwks",
        "keys:",
    ),
    ("keys-contradict", [("jwt", {**JWT, "header": "x-a", "cookie": "b"})], "jwt", "header: x-a}"),
    ("keys-contradict", [("jwt", {**JWT, "free": ["/"]})], "jwt", "free: []}"),
    ("duplicate-value", [("jwt", {**JWT, "free": ["/a", "/a/"]})], "jwt.free[1]", "one of the two"),
    (
        "jwt-without-sidecar",
        [("jwt", JWT), ("services.front.sidecar", False), ("access", "open")],
        "services.front.sidecar",
        "sidecar: true",
    ),
    (
        "keys-contradict",
        [("jwt", JWT), ("routes", {"/": {"to": "front", "headers": {"request": {"remove": ["authorization"]}}}})],
        "routes./.headers.request.remove",
        "no authorization here",
    ),
    ("keys-contradict", [("jwt", {**JWT, "free": ["/a"]}), ("routes", {"/a": "front"})], "jwt.free", "no jwt"),
    (
        "jwt-other-gateway",
        [("jwt", JWT), ("gateway.selector", {"istio": "second"})],
        "gateway.selector",
        "selector: {istio: ingressgateway}",
    ),
    ("wrong-name", [("jwt", {"issuers": {"a*": {"jwks": KEYS}}})], "jwt.issuers", "a"),
]


@pytest.mark.parametrize(("error", "changes", "key", "works"), WRONG)
def test_a_page_whose_tokens_nobody_could_check_is_refused(
    tmp_path: Path, error: str, changes: Changes, key: str, works: str
) -> None:
    all_found = problems(page(tmp_path, changed(*changes)))
    found = [each for each in all_found if each.id == error]
    assert found, [each.sentence for each in all_found]
    assert key in found[0].key
    assert works in found[0].works
    for each in all_found:
        pasted(tmp_path, changed(*changes), each)
    assert not any("aHVzaA" in f"{each}" for each in all_found)


def test_tokens_for_anybody_are_worth_a_warning(tmp_path: Path) -> None:
    made = planned(tmp_path, ("jwt", {"issuers": {ISSUER: {"jwks": KEYS}}}))
    (said,) = [text for text in made.warnings if "[jwt-any-audience]" in text]
    assert ISSUER in said
    assert not any("jwt" in text for text in planned(tmp_path).warnings)


def test_keys_that_a_cluster_with_a_mirror_has_to_fetch_are_told(tmp_path: Path) -> None:
    issuers = {name: f"https://{name}/keys" for name in ("id.example.org", "id.shop.svc")}
    spec = load(page(tmp_path, changed(("jwt", {"issuers": issuers}))))
    (said,) = [text for text in plan(spec, Environment(images=frozenset())).warnings if text.startswith("istiod")]
    assert "id.example.org from https://id.example.org/keys" in said
    assert not [text for text in plan(spec).warnings if text.startswith("istiod")]


def test_what_is_promised_names_no_key(tmp_path: Path) -> None:
    made = planned(tmp_path, ("jwt", {**JWT, "free": ["/login"]}))
    promised = made.facts["jwt"]
    assert promised["free"] == ["/login"]
    assert promised["refused"] == [{"host": "shop.local", "path": "/"}]
    assert promised["services"] == ["front"]
    assert promised["issuers"] == [{"issuer": ISSUER, "audiences": ["shop"], "jwks_uri": None, "kinds": ["EC"]}]
    assert [claim["title"] for claim in made.facts["claims"] if claim["kind"] == "jwt"] == [
        f"requests need a token of {ISSUER}, but for /login"
    ]
