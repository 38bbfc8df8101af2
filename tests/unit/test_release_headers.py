"""Headers of a path, the header that says the version, and pages of other origins, as a plan gives them to the mesh."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.release import Object, one, page, problems
from tests.support.release_changes import BASE, changed

CHANGE = {
    "request": {"set": {"x-from": "gateway"}, "remove": ["X-Debug"]},
    "response": {"set": {"X-Share": "100%"}, "add": {"set-cookie": "a=b"}, "remove": ["x-powered-by"]},
}


def rules(made: Plan, name: str = "shop-entry") -> list[Object]:
    found: list[Object] = one(made, "VirtualService", name)["spec"]["http"]
    return found


def planned(folder: Path, *changes: tuple[str, Any]) -> Plan:
    return plan(load(page(folder, changed(*changes))))


def test_every_rule_of_a_path_has_its_headers_and_no_rule_of_another(tmp_path: Path) -> None:
    routes = {"/": "front", "/api": {"to": "front", "headers": CHANGE}}
    made = planned(tmp_path, ("routes", routes), ("override.header", "x-version"), ("services.front.retries", 2))
    wanted = {
        "request": {"set": {"x-from": "gateway"}, "remove": ["x-debug"]},
        # Envoy takes a single % for the beginning of a command.
        "response": {"set": {"x-share": "100%%"}, "add": {"set-cookie": "a=b"}, "remove": ["x-powered-by"]},
    }
    of_api = [rule for rule in rules(made) if ":/api:" in rule["name"]]
    assert len(of_api) > 4
    assert all(rule["headers"] == wanted for rule in of_api)
    assert all("headers" not in rule for rule in rules(made) if ":/api:" not in rule["name"])


def test_each_destination_of_users_says_its_version_beside_the_cookie(tmp_path: Path) -> None:
    made = planned(tmp_path, ("version_header", "X-Served-By-Version"), ("override.header", "x-version"))
    seen = set()
    for rule in rules(made):
        for to in rule["route"]:
            said = to["headers"]["response"]
            assert said["set"] == {"x-served-by-version": to["destination"]["subset"]}
            seen.add((to["destination"]["subset"], "add" in said))
    assert seen == {("v1", True), ("v2", True), ("v1", False), ("v2", False)}
    # Calls inside the mesh are not for users.
    assert "response" not in str(rules(made, "back"))


def test_a_path_with_one_version_says_that_one(tmp_path: Path) -> None:
    values = {
        "name": "one",
        "hosts": "one.local",
        "version_header": "x-v",
        "services": {"web": {"versions": {"b7": "a:1"}}},
    }
    (rule,) = rules(plan(load(page(tmp_path, values))), "one-entry")
    assert rule["route"][0]["headers"]["response"] == {"set": {"x-v": "b7"}}


ORIGINS = {
    "https://app.example.org": (
        {"https://app.example.org"},
        {"https://app.example.org.evil", "http://app.example.org"},
    ),
    "https://*.example.org": (
        {"https://a.example.org", "https://a.b.example.org"},
        {"https://example.org", "https://a.examplexorg", "https://a.example.org:8443", "https://evil/x.example.org"},
    ),
    "http://localhost:3000": ({"http://localhost:3000"}, {"http://localhost"}),
    "*": ({"https://a.b", "null"}, set()),
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_an_origin_is_those_that_it_means_and_no_other(tmp_path: Path, origin: str) -> None:
    made = planned(tmp_path, ("routes", {"/": {"to": "front", "cors": origin}}))
    (found,) = rules(made)[0]["corsPolicy"]["allowOrigins"]

    def fits(given: str) -> bool:
        return given == found["exact"] if "exact" in found else re.fullmatch(found["regex"], given) is not None

    allowed, refused = ORIGINS[origin]
    assert all(map(fits, allowed))
    assert not any(map(fits, refused))


def test_what_other_origins_may_do_stands_in_every_rule(tmp_path: Path) -> None:
    cors = {
        "origins": ["https://a.b"],
        "methods": ["get", "PUT"],
        "expose": ["X-Id"],
        "max_age": "1h",
        "credentials": True,
    }
    made = planned(tmp_path, ("routes", {"/": {"to": "front", "cors": cors}}))
    wanted = {
        "allowOrigins": [{"exact": "https://a.b"}],
        "allowMethods": ["GET", "PUT"],
        "allowHeaders": ["content-type"],
        "exposeHeaders": ["x-id"],
        "maxAge": "3600s",
        "allowCredentials": True,
        # The service never sees a preflight, so it cannot let in whom the page does not.
        "unmatchedPreflights": "IGNORE",
    }
    assert [rule["corsPolicy"] for rule in rules(made)] == [wanted] * len(rules(made))


def test_a_secret_in_a_header_is_warned_of_and_not_shown(tmp_path: Path) -> None:
    request = {"set": {"authorization": "Bearer of-nobody", "x-from": "gateway"}}
    made = planned(tmp_path, ("routes", {"/": {"to": "front", "headers": {"request": request}}}))
    (warning,) = made.warnings
    assert "routes./.headers.request.set.authorization" in warning
    assert "of-nobody" not in warning


def test_a_page_without_them_is_as_before(tmp_path: Path) -> None:
    assert problems(page(tmp_path, BASE)) == []
    text = str(rules(plan(load(page(tmp_path, BASE)))))
    assert "corsPolicy" not in text
    assert "'set'" not in text
