"""Where requests go: override, then sticky, then weights; along the chain; and never a user to a shadow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.release.planner import plan
from slipway.release.routing import cookie_pattern
from slipway.release.spec import load

from tests.support.chain import made
from tests.support.release import ask, at, call, names, one, page, shipped


def test_new_clients_are_shared_by_the_weights_and_get_the_cookie_of_their_version(tmp_path: Path) -> None:
    answer = ask(made(tmp_path), "shop.local/")
    assert answer.shares == {"front:v1": 90, "front:v2": 10}
    assert answer.cookies == (
        "shop-version=v1; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax",
        "shop-version=v2; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax",
    )


@pytest.mark.parametrize(
    ("cookie", "shares"),
    [
        ("shop-version=v2", {"front:v2": 100}),
        ("a=b; shop-version=v2; c=d", {"front:v2": 100}),
        ("a=b;shop-version=v1", {"front:v1": 100}),
        ("other-shop-version=v2", {"front:v1": 90, "front:v2": 10}),
        ("shop-version=v22", {"front:v1": 90, "front:v2": 10}),
        ("shop-version=v3", {"front:v1": 90, "front:v2": 10}),
        ("a=shop-version=v2", {"front:v1": 90, "front:v2": 10}),
        ("shopxversion=v2", {"front:v1": 90, "front:v2": 10}),
    ],
)
def test_a_client_stays_by_its_cookie_and_by_no_other(tmp_path: Path, cookie: str, shares: dict[str, int]) -> None:
    assert ask(made(tmp_path), "shop.local/", cookie=cookie).shares == shares


def test_a_version_without_weight_keeps_nobody_and_its_cookie_is_replaced(tmp_path: Path) -> None:
    answer = ask(made(tmp_path, weights={"v1": 100, "v2": 0}), "shop.local/", cookie="shop-version=v2")
    assert answer.shares == {"front:v1": 100}
    assert answer.cookies == ("shop-version=v1; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax",)


def test_an_override_still_reaches_a_version_without_weight(tmp_path: Path) -> None:
    override = {"hosts": {"next": "v2"}, "header": "x-show", "cookie": "show"}
    release = made(tmp_path, weights={"v1": 100, "v2": 0}, override=override)
    assert ask(release, "next.shop.local/").shares == {"front:v2": 100}
    assert ask(release, "NEXT.shop.local:8080/".replace("NEXT", "next")).shares == {"front:v2": 100}
    assert ask(release, "shop.local/", x_show="v2").shares == {"front:v2": 100}
    assert ask(release, "shop.local/", cookie="show=v2").shares == {"front:v2": 100}


def test_an_override_comes_before_the_cookie_and_changes_nothing_for_later(tmp_path: Path) -> None:
    release = made(tmp_path, override={"hosts": {"next": "v2"}, "header": {"name": "x-show", "values": {"v2": "B"}}})
    sticky = {"cookie": "shop-version=v1"}
    assert ask(release, "next.shop.local/", **sticky).shares == {"front:v2": 100}
    answer = ask(release, "shop.local/", x_show="B", **sticky)
    assert (answer.shares, answer.cookies) == ({"front:v2": 100}, ())
    assert ask(release, "shop.local/", x_show="v2", **sticky).shares == {"front:v1": 100}


def test_a_host_does_not_match_another_that_looks_like_it(tmp_path: Path) -> None:
    release = made(tmp_path, override={"hosts": {"next": "v2"}})
    (pattern,) = {
        match["authority"]["regex"]
        for rule in one(release, "VirtualService", "shop-entry")["spec"]["http"]
        for match in rule.get("match", [])
        if "authority" in match
    }
    assert pattern == r"(?i)next\.shop\.local(:\d+)?"


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("", "front"),
        ("api", "back"),
        ("api/x", "back"),
        ("apis", "front"),
        ("api?x=1", "back"),
        ("api/model/x", "model"),
    ],
)
def test_the_longest_path_wins_and_a_path_is_not_a_prefix_of_a_word(tmp_path: Path, path: str, service: str) -> None:
    release = made(tmp_path, routes={"/": "front", "/api": {"to": "back", "version": "v1"}, "/api/model/": "model"})
    assert next(iter(ask(release, f"shop.local/{path}").shares)).startswith(f"{service}:")


def test_a_route_with_a_version_of_its_own_sets_no_cookie(tmp_path: Path) -> None:
    release = made(tmp_path, routes={"/": "front", "/api": {"to": "back", "version": "v1"}})
    assert ask(release, "shop.local/api").shares == {"back:v1": 100}
    assert ask(release, "shop.local/api").cookies == ()
    assert ask(release, "shop.local/api", cookie="shop-version=v2").shares == {"back:v2": 100}


@pytest.mark.parametrize(
    ("path", "wanted", "rewrite"),
    [
        ("/api", "/", {"match": "^/api/?(.*)$", "rewrite": r"/\1"}),
        ("/api", "/v1/", {"match": "^/api(.*)$", "rewrite": r"/v1\1"}),
        ("/", "/app", {"match": "^/(.*)$", "rewrite": r"/app/\1"}),
    ],
)
def test_a_path_becomes_another(tmp_path: Path, path: str, wanted: str, rewrite: dict[str, str]) -> None:
    release = made(tmp_path, routes={path: {"to": "front", "rewrite": wanted}})
    found = at(one(release, "VirtualService", "shop-entry"), "spec/http/*/rewrite/uriRegexRewrite")
    assert {tuple(item.items()) for item in found} == {tuple(rewrite.items())}


def test_none_sticky_is_each_request_anew(tmp_path: Path) -> None:
    answer = ask(made(tmp_path, sticky="none"), "shop.local/", cookie="shop-version=v2")
    assert (answer.shares, answer.cookies) == ({"front:v1": 90, "front:v2": 10}, ())


def test_the_apps_own_cookie_is_read_and_never_set(tmp_path: Path) -> None:
    sticky = {"cookie": "canary", "set_by": "app", "values": {"v1": "false", "v2": "true"}}
    release = made(tmp_path, sticky=sticky)
    assert ask(release, "shop.local/").cookies == ()
    assert ask(release, "shop.local/", cookie="canary=true").shares == {"front:v2": 100}
    assert ask(release, "shop.local/", cookie="canary=v2").shares == {"front:v1": 90, "front:v2": 10}


def test_a_hash_picks_the_version_where_there_is_something_to_pick(tmp_path: Path) -> None:
    release = made(tmp_path, sticky={"hash": {"header": "x-user"}})
    (patch,) = one(release, "EnvoyFilter", "shop-hash")["spec"]["configPatches"]
    name = patch["match"]["routeConfiguration"]["vhost"]["route"]["name"]
    # Once on the route, however many destinations it has: from a DestinationRule there would be one for each.
    hashed = [{"header": {"header_name": "x-user"}}]
    assert patch["patch"]["value"] == {"route": {"hash_policy": hashed, "weighted_clusters": {"use_hash_policy": True}}}
    assert ask(release, "shop.local/").rule == name == "shop/shop:front:/:hash"
    assert at(one(release, "DestinationRule", "front"), "spec/trafficPolicy/loadBalancer") == []
    assert at(one(release, "DestinationRule", "back"), "spec/trafficPolicy") == []


@pytest.mark.parametrize(
    ("key", "policy"),
    [
        ({"cookie": "session"}, {"cookie": {"name": "session"}}),
        ({"address": True}, {"connection_properties": {"source_ip": True}}),
    ],
)
def test_a_hash_can_be_of_a_cookie_that_is_there_or_of_the_address(
    tmp_path: Path, key: dict[str, Any], policy: dict[str, Any]
) -> None:
    release = made(tmp_path, sticky={"hash": key})
    path = "spec/configPatches/*/patch/value/route/hash_policy/*"
    assert at(one(release, "EnvoyFilter", "shop-hash"), path) == [policy]


def test_without_two_weights_the_hash_finds_no_rule(tmp_path: Path) -> None:
    release = made(tmp_path, sticky={"hash": {"header": "x-user"}}, weights={"v1": 100, "v2": 0})
    assert "shop-hash" not in names(release, "EnvoyFilter")
    assert ask(release, "shop.local/").rule == "shop/shop:front:/:weights"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_version_meets_itself_all_along_the_chain(tmp_path: Path, version: str) -> None:
    release = made(tmp_path)
    assert call(release, "front", version, "back").shares == {f"back:{version}": 100}
    assert call(release, "back", version, "model").shares == {f"model:{version}": 100}
    assert {
        "path": "/",
        "version": version,
        "hops": dict.fromkeys(("front", "back", "model"), version),
    } in release.facts["chains"]


def test_two_ways_to_one_service_are_one_hop(tmp_path: Path) -> None:
    image = "example.org/app:1.0"
    front = {"calls": ["back", "model"], "versions": {"v1": image, "v2": image}}
    release = made(tmp_path, services={"front": front})
    assert call(release, "front", "v2", "model").shares == {"model:v2": 100}
    assert call(release, "back", "v2", "model").shares == {"model:v2": 100}
    assert release.facts["chains"][1]["hops"] == {"front": "v2", "back": "v2", "model": "v2"}


def test_whoever_else_calls_gets_the_heaviest_version(tmp_path: Path) -> None:
    release = made(tmp_path, weights={"v1": 20, "v2": 80})
    assert call(release, "stranger", "v1", "model").shares == {"model:v2": 100}


def test_no_rule_joins_source_labels_with_gateways(tmp_path: Path) -> None:
    for item in made(tmp_path).objects:
        if item["kind"] == "VirtualService":
            assert at(item, "spec/http/*/match/*/gateways") == []
            if at(item, "spec/http/*/match/*/sourceLabels"):
                assert item["spec"]["gateways"] == ["mesh"]


def test_versions_are_known_by_their_labels(tmp_path: Path) -> None:
    release = made(tmp_path, version_labels={"v1": "stable", "v2": "canary"})
    assert call(release, "front", "canary", "back").shares == {"back:v2": 100}
    assert at(one(release, "DestinationRule", "back"), "spec/subsets/*/labels/version") == ["stable", "canary"]


def test_a_service_may_go_by_the_weights_again(tmp_path: Path) -> None:
    image = "example.org/app:1.0"
    back = {"follows": "weights", "calls": ["model"], "versions": {"v1": image, "v2": image}}
    release = made(tmp_path, services={"back": back})
    assert call(release, "front", "v2", "back").shares == {"back:v1": 90, "back:v2": 10}
    assert call(release, "back", "v2", "model").shares == {"model:v2": 100}
    hops = [chain["hops"] for chain in release.facts["chains"]]
    assert hops == [{"front": "v1", "back": None}, {"front": "v2", "back": None}]
    gone = made(tmp_path, services={"back": back}, weights={"v1": 100, "v2": 0})
    assert call(gone, "front", "v2", "back").shares == {"back:v1": 100}


CARRIER = {"back": {"calls": ["model"], "versions": {"v1": "example.org/app:1.0"}}}


def test_a_hop_with_one_version_is_handed_the_version_to_pass_on(tmp_path: Path) -> None:
    release = made(tmp_path, services=CARRIER)
    answer = call(release, "front", "v2", "back")
    assert (answer.shares, answer.stamps) == ({"back:v1": 100}, {"v2": 100})
    assert call(release, "back", "v1", "model", x_version="v2").shares == {"model:v2": 100}
    assert call(release, "back", "v1", "model").shares == {"model:v1": 100}
    assert call(release, "stranger", "v1", "model", x_version="v2").shares == {"model:v1": 100}
    assert any("has to forward the header x-version" in warning for warning in release.warnings)
    assert release.facts["services"]["back"]["forwards"] == "x-version"
    assert {"path": "/", "version": "v2", "hops": {"front": "v2", "back": "v1", "model": "v2"}} in release.facts[
        "chains"
    ]


def test_a_single_first_service_is_handed_the_version_by_the_gateway(tmp_path: Path) -> None:
    front = {"calls": ["back"], "versions": {"v1": "example.org/app:1.0"}}
    release = made(tmp_path, services={"front": front})
    answer = ask(release, "shop.local/")
    assert (answer.shares, answer.stamps) == ({"front:v1": 100}, {"v1": 90, "v2": 10})
    assert ask(release, "shop.local/", cookie="shop-version=v2").stamps == {"v2": 100}
    assert call(release, "front", "v1", "back", x_version="v2").shares == {"back:v2": 100}


def test_the_header_that_asks_for_a_version_carries_it_in_the_same_words(tmp_path: Path) -> None:
    override = {"header": {"name": "x-version", "values": {"v2": "canary"}}}
    release = made(tmp_path, services=CARRIER, override=override)
    assert call(release, "front", "v2", "back").stamps == {"canary": 100}
    assert call(release, "back", "v1", "model", x_version="canary").shares == {"model:v2": 100}


def test_two_carriers_in_a_row_pass_it_on_themselves(tmp_path: Path) -> None:
    image = "example.org/app:1.0"
    services = {
        "back": {"calls": ["middle"], "versions": {"v1": image}},
        "middle": {"calls": ["model"], "versions": {"v1": image}},
    }
    release = made(tmp_path, services=services)
    assert call(release, "middle", "v1", "model", x_version="v2").shares == {"model:v2": 100}
    assert call(release, "back", "v1", "middle") == call(release, "nobody", "v1", "middle")
    assert release.facts["services"]["middle"]["forwards"] == "x-version"


SHADOWED = {"model": {"versions": {"v1": "a/b:1", "v2": "a/b:1", "v3": {"image": "a/b:2", "shadow": "50%"}}}}


def test_a_shadow_gets_copies_and_no_user(tmp_path: Path) -> None:
    release = made(tmp_path, services=SHADOWED, override={"header": "x-show"})
    for version in ("v1", "v2"):
        answer = call(release, "back", version, "model")
        assert (answer.shares, answer.copies) == ({f"model:{version}": 100}, {"model:v3": 50})
    rules = [rule for item in release.objects if item["kind"] == "VirtualService" for rule in item["spec"]["http"]]
    assert "v3" not in at(rules, "*/route/*/destination/subset")
    assert release.facts["shadows"] == [
        {"service": "model", "version": "v3", "percent": 50, "of": ["v1", "v2"], "calls": {}}
    ]


def test_the_gateway_copies_too(tmp_path: Path) -> None:
    front = {"calls": ["back"], "versions": {"v1": "a/b:1", "v2": "a/b:1", "next": {"image": "a/b:2", "shadow": 100}}}
    release = made(tmp_path, services={"front": front})
    assert ask(release, "shop.local/").copies == {"front:next": 100}
    assert ask(release, "shop.local/", cookie="shop-version=v2").copies == {"front:next": 100}
    assert ask(release, "shop.local/", cookie="shop-version=next").shares == {"front:v1": 90, "front:v2": 10}


def test_what_a_shadow_calls_is_its_own_kind_or_nobody(tmp_path: Path) -> None:
    back = {"calls": ["model"], "versions": {"v1": "a/b:1", "v2": "a/b:1", "v3": {"image": "a/b:2", "shadow": 100}}}
    refused = made(tmp_path, services={"back": back})
    assert call(refused, "back", "v3", "model").status == 403
    assert call(refused, "back", "v1", "model").shares == {"model:v1": 100}
    assert any("is a shadow that calls model" in warning for warning in refused.warnings)
    allowed = {(row["service"], row["version"]): row["callers"] for row in refused.facts["access"]}
    assert allowed["model", "v1"] == [{"service": "back", "version": "v1"}]
    paired = made(tmp_path, services={"back": back, **SHADOWED})
    answer = call(paired, "back", "v3", "model")
    assert (answer.shares, answer.copies) == ({"model:v3": 100}, {})


def test_a_shadow_of_nothing_is_reached_by_shadows_alone(tmp_path: Path) -> None:
    back = {"calls": ["model"], "versions": {"v1": "a/b:1", "v2": "a/b:1", "v3": {"image": "a/b:2", "shadow": 100}}}
    model = {"versions": {"v1": "a/b:1", "v2": "a/b:1", "v3": {"image": "a/b:2", "shadow": 0}}}
    release = made(tmp_path, services={"back": back, "model": model})
    assert call(release, "back", "v1", "model").copies == {}
    assert call(release, "back", "v3", "model").shares == {"model:v3": 100}
    allowed = {(row["service"], row["version"]): row["callers"] for row in release.facts["access"]}
    assert allowed["model", "v3"] == [{"service": "back", "version": "v3"}]


def test_calls_lead_to_a_version_by_name_also_where_there_is_but_one(tmp_path: Path) -> None:
    """Else whatever is Ready behind the Service gets them: a version that is to come, or one that goes."""
    release = made(tmp_path, services={"model": {"versions": {"v1": "a/b:1"}}})
    assert call(release, "back", "v2", "model").shares == {"model:v1": 100}
    assert at(one(release, "DestinationRule", "model"), "spec/subsets/*/name") == ["v1"]
    # Nobody calls it, so there is nothing to route.
    assert "front" not in names(release, "VirtualService")
    anybody = made(tmp_path, access="open")
    assert call(anybody, "stranger", "v1", "front").shares == {"front:v1": 100}


def test_a_port_of_metrics_is_asked_by_its_own_number(tmp_path: Path) -> None:
    model = {"versions": {"v1": "a/b:1"}, "metrics": {"port": 9090}}
    (first, *_) = one(made(tmp_path, services={"model": model}), "VirtualService", "model")["spec"]["http"]
    assert (first["match"], at(first, "route/*/destination/port/number")) == ([{"port": 9090}], [9090])


def test_a_first_service_without_versions_to_tell_apart_gets_no_cookie(tmp_path: Path) -> None:
    image = "example.org/app:1.0"
    services = {"page": {"versions": {"v1": image}}, "api": {"versions": {"v1": image, "v2": image}}}
    values = {"name": "shop", "hosts": "shop.local", "weights": {"v1": 90, "v2": 10}, "services": services}
    release = plan(load(page(tmp_path, {**values, "routes": {"/": "page", "/api": "api"}})))
    assert ask(release, "shop.local/").shares == {"page:v1": 100}
    assert ask(release, "shop.local/").cookies == ()
    assert len(ask(release, "shop.local/api").cookies) == 2


def test_three_versions_work_as_two_do(tmp_path: Path) -> None:
    image = "example.org/app:1.0"
    versions = {"v1": image, "v2": image, "v3": image}
    services = {name: {"versions": versions} for name in ("back", "model")}
    services["back"]["calls"] = ["model"]  # type: ignore[assignment]
    services["front"] = {"versions": versions, "calls": ["back"]}  # type: ignore[dict-item]
    release = made(tmp_path, services=services, weights={"v1": 70, "v2": 20, "v3": 10})
    assert ask(release, "shop.local/").shares == {"front:v1": 70, "front:v2": 20, "front:v3": 10}
    assert ask(release, "shop.local/", cookie="shop-version=v3").shares == {"front:v3": 100}
    assert call(release, "front", "v3", "back").shares == {"back:v3": 100}


def test_a_percent_sign_is_no_command_to_envoy(tmp_path: Path) -> None:
    release = made(tmp_path, sticky={"cookie": "c%d", "values": {"v1": "50%", "v2": "b"}})
    assert ask(release, "shop.local/").cookies[0].startswith("c%%d=50%%; ")
    assert ask(release, "shop.local/", cookie="c%d=50%").shares == {"front:v1": 100}


def test_a_secure_cookie_where_everybody_is_sent_to_https(tmp_path: Path) -> None:
    release = made(tmp_path, gateway={"tls": {"redirect": True}})
    assert all(cookie.endswith("; Secure") for cookie in ask(release, "shop.local/").cookies)
    servers = one(release, "Gateway", "shop")["spec"]["servers"]
    assert [server.get("tls") for server in servers] == [
        {"httpsRedirect": True},
        {"mode": "SIMPLE", "credentialName": "slipway-gateway-tls"},
    ]


def test_the_sms_checker_goes_as_documented() -> None:
    release = shipped("sms-checker")
    assert ask(release, "team8.local:8080/").shares == {"app-frontend:v1": 90, "app-frontend:v2": 10}
    assert ask(release, "team8.local/", cookie="canary-user=true").shares == {"app-frontend:v2": 100}
    assert ask(release, "team8.local/", cookie="canary-user=false").shares == {"app-frontend:v1": 100}
    assert ask(release, "canary.team8.local:8080/").shares == {"app-frontend:v2": 100}
    assert ask(release, "team8.local/sms").shares == {"app-service:v1": 100}
    assert ask(release, "team8.local/sms", cookie="canary-user=true").shares == {"app-service:v2": 100}
    assert call(release, "app-service", "v2", "model-service").copies == {"model-service:v3": 100}


def test_after_a_roll_back_nobody_stays_with_the_canary() -> None:
    release = shipped("sms-checker", weights={"v1": 100, "v2": 0})
    assert ask(release, "team8.local/", cookie="canary-user=true").shares == {"app-frontend:v1": 100}
    assert ask(release, "team8.local/sms", cookie="canary-user=true").shares == {"app-service:v1": 100}
    assert ask(release, "canary.team8.local/").shares == {"app-frontend:v2": 100}


def test_a_cookies_name_and_value_are_taken_literally() -> None:
    assert cookie_pattern("a.b", "c+d|e") == r"^(.*;\s*)?a\.b=c\+d\|e(;.*)?$"
