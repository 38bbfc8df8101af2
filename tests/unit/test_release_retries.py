"""Proxies ask again only for what does nothing twice, and a service's policies hold wherever it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.chain import made
from tests.support.release import ask, at, call, one


def test_policies_of_a_service_hold_wherever_it_is_asked(tmp_path: Path) -> None:
    image = "example.org/app:1.0"
    faults = {"delay": {"time": "2s", "share": "5%"}, "abort": {"status": 503, "share": 0.5}}
    back = {"calls": ["model"], "versions": {"v1": image, "v2": image}, "timeout": "3s", "faults": faults}
    back["retries"] = {"attempts": 2, "per_try": "1500ms", "reasons": ["5xx", "reset"], "methods": "all"}
    release = made(tmp_path, services={"back": back}, routes={"/": "front", "/api": "back"})
    rules = one(release, "VirtualService", "back")["spec"]["http"]
    rules += [rule for rule in one(release, "VirtualService", "shop-entry")["spec"]["http"] if ":/api:" in rule["name"]]
    for rule in rules:
        assert rule["timeout"] == "3s"
        assert rule["retries"] == {"attempts": 2, "retryOn": "5xx,reset", "perTryTimeout": "1.5s"}
        assert rule["fault"]["delay"] == {"fixedDelay": "2s", "percentage": {"value": 5}}
        assert rule["fault"]["abort"] == {"httpStatus": 503, "percentage": {"value": 0.5}}


def test_no_retries_is_said_in_so_many_words(tmp_path: Path) -> None:
    image = "example.org/app:1.0"
    release = made(tmp_path, services={"model": {"versions": {"v1": image, "v2": image}, "retries": 0}})
    assert {str(item) for item in at(one(release, "VirtualService", "model"), "spec/http/*/retries")} == {
        "{'attempts': 0}"
    }


UNSENT = "connect-failure,refused-stream"
USUAL = f"{UNSENT},gateway-error"


@pytest.mark.parametrize(
    ("retries", "method", "after"),
    [
        (2, "GET", USUAL),
        (2, "HEAD", USUAL),
        (2, "OPTIONS", USUAL),
        (2, "POST", UNSENT),
        (2, "PATCH", UNSENT),
        (2, "PUT", UNSENT),
        (2, "GETX", UNSENT),
        ({"attempts": 2, "methods": "idempotent"}, "PUT", USUAL),
        ({"attempts": 2, "methods": "idempotent"}, "DELETE", USUAL),
        ({"attempts": 2, "methods": "idempotent"}, "POST", UNSENT),
        ({"attempts": 2, "methods": "all"}, "POST", USUAL),
        ({"attempts": 2, "reasons": ["5xx"]}, "POST", UNSENT),
        ({"attempts": 2, "reasons": ["reset", "retriable-4xx"]}, "POST", UNSENT),
        ({"attempts": 2, "reasons": ["retriable-4xx"]}, "POST", None),
        ({"attempts": 2, "reasons": ["retriable-4xx", "refused-stream"]}, "POST", "refused-stream"),
        ({"attempts": 2, "reasons": ["connect-failure"]}, "POST", "connect-failure"),
    ],
)
def test_what_may_do_something_twice_is_repeated_only_while_nothing_was_sent(
    tmp_path: Path, retries: Any, method: str, after: str | None
) -> None:
    image = "example.org/app:1.0"
    own = {"calls": ["model"], "versions": {"v1": image, "v2": image}, "retries": retries}
    release = made(tmp_path, services={"back": own}, routes={"/": "front", "/api": "back"})
    wanted = {"attempts": 2, "retryOn": after} if after else {"attempts": 0}
    for cookie in ("", "shop-version=v2"):
        assert ask(release, "shop.local/api/x", method=method, cookie=cookie).retries == wanted
    for version in ("v1", "v2"):
        assert call(release, "front", version, "back", method=method).retries == wanted
    assert ask(release, "shop.local/", method=method).retries == {}


def test_both_methods_go_the_same_way(tmp_path: Path) -> None:
    image = "example.org/app:1.0"
    front = {"calls": ["back"], "versions": {"v1": image, "v2": image}, "retries": 2}
    front["versions"] = {**front["versions"], "v3": {"image": image, "shadow": "50%"}}  # type: ignore[dict-item]
    release = made(tmp_path, services={"front": front}, override={"header": "x-show"}, sticky={"hash": {"header": "u"}})
    for headers in ({}, {"x_show": "v2"}):
        get, post = (ask(release, "shop.local/", method=method, **headers) for method in ("GET", "POST"))
        assert get.rule == f"{post.rule}:again"
        assert (get.shares, get.copies, get.cookies) == (post.shares, post.copies, post.cookies)
        assert get.shares
    hashed = one(release, "EnvoyFilter", "shop-hash")["spec"]["configPatches"]
    named = {patch["match"]["routeConfiguration"]["vhost"]["route"]["name"] for patch in hashed}
    assert named == {"shop/shop:front:/:hash", "shop/shop:front:/:hash:again"}


def test_a_rule_is_called_after_the_service_that_it_leads_to(tmp_path: Path) -> None:
    """A request whose rule finds nothing there is counted by that name alone."""
    release = made(
        tmp_path, routes={"/": "front", "/api": "back"}, names={"service": "{service}-svc"}, override={"header": "x-v"}
    )
    for item in (item for item in release.objects if item["kind"] == "VirtualService"):
        for rule in item["spec"]["http"]:
            (host,) = {to["destination"]["host"].partition(".")[0] for to in rule["route"]}
            assert rule["name"].startswith(f"shop/shop:{host}:")


def test_rules_are_two_only_where_what_is_repeated_goes_by_the_method(tmp_path: Path) -> None:
    image = "example.org/app:1.0"
    two = {"versions": {"v1": image, "v2": image}}
    for more in (
        {},
        {"retries": 0},
        {"retries": {"attempts": 2, "methods": "all"}},
        {"protocol": "grpc", "retries": 2},
    ):
        release = made(tmp_path, services={"model": {**two, **more}})
        rules = at(one(release, "VirtualService", "model"), "spec/http/*")
        assert not [rule for rule in rules if "method" in str(rule.get("match"))], more
    found = at(one(made(tmp_path, services={"model": {**two, "retries": 2}}), "VirtualService", "model"), "spec/http/*")
    rules = [rule["name"] for rule in found]
    assert len(set(rules)) == len(rules)
    assert [rule["name"] for rule in found if "GET" not in str(rule.get("match"))] == rules[1::2]


GRPC = f"{UNSENT},cancelled,unavailable"


@pytest.mark.parametrize(
    ("retries", "after"),
    [(2, GRPC), ({"attempts": 2, "reasons": ["unavailable", "internal"]}, "unavailable,internal")],
)
def test_calls_of_grpc_are_repeated_after_its_own_statuses(tmp_path: Path, retries: Any, after: str) -> None:
    image = "example.org/app:1.0"
    model = {"versions": {"v1": image, "v2": image}, "protocol": "grpc", "retries": retries}
    release = made(tmp_path, services={"model": model})
    assert call(release, "back", "v1", "model", method="POST").retries == {"attempts": 2, "retryOn": after}
