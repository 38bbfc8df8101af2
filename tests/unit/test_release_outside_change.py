"""Hosts outside, what may leave, and tokens while a release changes: at no moment is refused what both pages allow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slipway.cluster.objects import identity
from slipway.release.transition import costs, due, transition

from tests.support.moments import Change, Page, There, change, planned, released

IMAGE = "example.org/app:1.0"
ISSUER, OTHER = "https://id.example.org", "https://id.example.net"
KEYS = {
    "keys": [
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "euugiZtW9tnDGy4URlRn4-UcaugN9QMOFn9zs3l0FZg",
            "y": "96jCVyDEhGN0HwfFes85ZeAcCcfOMGZT6MSDjQMdkrE",
        }
    ]
}
NEW_KEYS = {
    "keys": [
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "BcD4qbJzDqXtWUBZxviANSDYQZi4Zn5oiuk4n53I9lM",
            "y": "HQ2ayI1VqLL22ApWfNE3KVlsib8p42Boh5YpJKg6Gbs",
        }
    ]
}
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
PAY = "pay.example.com"


def shop(**keys: Any) -> Page:
    env = keys.pop("env", {})
    services = {"web": {"versions": {"v1": IMAGE}, "env": env}}
    return {"name": "shop", "hosts": ["shop.local"], "dashboards": {}, "services": services, **keys}


def jwt(*free: str, keys: Any = KEYS, issuer: str = ISSUER) -> dict[str, Any]:
    return {"issuers": {issuer: {"jwks": keys, "audiences": ["shop"]}}, "free": list(free)}


# What the program of each page does differently.
NEXT = {"env": {"NEXT": "1"}}
PAIRS: dict[str, tuple[Page, Page]] = {
    "tokens are asked for": (shop(), shop(jwt=jwt("/login"), **NEXT)),
    "tokens are asked for no more": (shop(jwt=jwt("/login")), shop(**NEXT)),
    "another path is free": (shop(jwt=jwt("/login")), shop(jwt=jwt("/help"), **NEXT)),
    "nothing is free any more": (shop(jwt=jwt("/login")), shop(jwt=jwt(), **NEXT)),
    "keys are others": (shop(jwt=jwt()), shop(jwt=jwt(keys=NEW_KEYS), **NEXT)),
    "the issuer is another": (shop(jwt=jwt()), shop(jwt=jwt(issuer=OTHER), **NEXT)),
    "what may leave is named": (shop(), shop(egress="named", outside={PAY: {}}, **NEXT)),
    "all may leave again": (shop(egress="named", outside={PAY: {}}), shop(**NEXT)),
    "another host is called": (
        shop(egress="named", outside={PAY: {}}),
        shop(egress="named", outside={"api.example.com": {}}, **NEXT),
    ),
    "the mesh encrypts": (shop(outside={PAY: {}}), shop(outside={PAY: {"tls": "mesh", "timeout": "2s"}}, **NEXT)),
    "the program encrypts": (shop(outside={PAY: {"tls": "mesh", "timeout": "2s"}}), shop(outside={PAY: {}}, **NEXT)),
    "the port that is called is another": (
        shop(outside={PAY: {"tls": "mesh", "retries": 2}}),
        shop(outside={PAY: {"tls": "mesh", "retries": 2, "call_port": 8000}}, **NEXT),
    ),
}


def moments(way: Change) -> list[tuple[str, There, bool, bool]]:
    """Give each moment: its stage, what is there, and whether pods of before and of after may serve."""
    there, found = way.start.copy(), []
    old, new = True, False
    for stage in way.stages:
        new = new or stage.name == "workloads"
        found += [(stage.name, moment, old, new) for moment in there.micro(stage)]
        old = old and stage.name not in ("workloads", "retire")
    return found


def ask(there: There, token: tuple[str, Any] | None, path: str) -> int:
    """Say what the sidecar answers: the status of a request of the gateway with a token of (issuer, keys), or none."""
    valid = False
    for item in there.objects.values():
        if item["kind"] == "RequestAuthentication" and token:
            rules = item["spec"]["jwtRules"]
            valid = any((rule["issuer"], json.loads(rule["jwks"])) == token for rule in rules)
            if not valid:
                return 401
    for item in there.objects.values():
        if item["kind"] == "AuthorizationPolicy" and item["spec"]["action"] == "DENY":
            (rule,) = item["spec"]["rules"]
            free = rule["to"][0]["operation"]["notPaths"] if "to" in rule else []
            known = token[0] if token and valid else ""
            if path not in free and known not in rule["when"][0]["notValues"]:
                return 403
    return 200


def reached(there: There, host: str, port: int) -> bool:
    """Tell whether a pod reaches a host outside at a port."""
    sidecars = [item for item in there.objects.values() if item["kind"] == "Sidecar"]
    known = any(
        item["kind"] == "ServiceEntry"
        and host in item["spec"]["hosts"]
        and port in [one["number"] for one in item["spec"]["ports"]]
        for item in there.objects.values()
    )
    # Without anything a program reaches every host by TLS; only the mesh can make TLS of a plain call.
    if not sidecars:
        return known or port == 443
    return known and all(f"./{host}" in item["spec"]["egress"][0]["hosts"] for item in sidecars)


def calls(given: Page) -> list[tuple[str, int]]:
    """Give the calls that the program of a page makes."""
    named = given.get("outside", {})
    made = [(host, own.get("call_port", 80) if own.get("tls") == "mesh" else 443) for host, own in named.items()]
    return made if given.get("egress") == "named" or named else [(PAY, 443), ("any.example.net", 443)]


@pytest.mark.parametrize("name", PAIRS)
def test_what_both_pages_allow_is_never_refused(tmp_path: Path, name: str) -> None:
    before, after = PAIRS[name]
    way = change(tmp_path, before, after)
    both = [There({identity(item): item for item in made.objects}) for made in (way.before, way.after)]
    for stage, there, old, new in moments(way):
        for token in (None, (ISSUER, KEYS), (ISSUER, NEW_KEYS), (OTHER, KEYS)):
            for path in ("/", "/login", "/help"):
                if all(ask(page, token, path) == 200 for page in both):
                    assert ask(there, token, path) == 200, (stage, token, path)
        for host, port in [*(calls(before) if old else ()), *(calls(after) if new else ())]:
            assert reached(there, host, port), (stage, host, port)
    end = moments(way)[-1][1]
    wanted = {identity(item): item for item in way.after.objects}
    assert {name: end.objects[name] for name in wanted} == wanted
    assert not {name for name in end.objects if name not in wanted}


@pytest.mark.parametrize("name", PAIRS)
def test_tokens_of_either_page_are_taken_while_it_changes(tmp_path: Path, name: str) -> None:
    before, after = PAIRS[name]
    way = change(tmp_path, before, after)
    tokens = [
        (issuer, given["jwks"])
        for page in (before, after)
        for issuer, given in (page.get("jwt") or {"issuers": {}})["issuers"].items()
    ]
    middle = [there for stage, there, _, _ in moments(way) if stage in ("workloads", "calls", "users")]
    assert middle
    for there in middle:
        assert {ask(there, token, "/") for token in tokens} <= {200}


@pytest.mark.parametrize("name", PAIRS)
def test_a_release_that_is_as_its_page_says_does_not_change(tmp_path: Path, name: str) -> None:
    there, made = released(tmp_path, PAIRS[name][1])
    # As the API server gives them back: in an order of its own.
    there = There({key: json.loads(json.dumps(item, sort_keys=True)) for key, item in there.objects.items()})
    again = planned(tmp_path, PAIRS[name][1], there)
    stages = transition(again, there.objects.values())
    assert made.objects == again.objects
    assert due(stages, lambda item: there.objects.get(identity(item)) != item, busy=True) == {}


def test_what_shuts_waits_for_the_last_old_pod_and_what_opens_does_not(tmp_path: Path) -> None:
    shut = change(tmp_path, shop(), shop(jwt=jwt(), egress="named", **NEXT))
    where = {identity(item): stage.name for stage in shut.stages for item in stage.apply}
    assert where["AuthorizationPolicy/shop/web-jwt"] == where["Sidecar/shop/shop"] == "close"
    opened = change(tmp_path, shop(jwt=jwt(), egress="named"), shop(**NEXT))
    gone = {identity(item): stage.name for stage in opened.stages for item in stage.remove}
    assert gone["AuthorizationPolicy/shop/web-jwt"] == gone["Sidecar/shop/shop"] == "prepare"
    assert gone["RequestAuthentication/shop/web-jwt"] == "tidy"
    # A new release is shut from its first moment on.
    first = planned(tmp_path, shop(jwt=jwt(), egress="named"))
    stages = transition(first, [])
    where = {}
    for stage in stages:
        for item in stage.apply:
            where.setdefault(identity(item), stage.name)
    assert where["AuthorizationPolicy/shop/web-jwt"] == where["Sidecar/shop/shop"] == "prepare"


def test_new_authorities_cost_calls_of_old_pods(tmp_path: Path) -> None:
    one = {"a.example.com": {"tls": "mesh", "ca": PEM}, "b.example.com": "mesh"}
    there, _ = released(tmp_path, shop(outside=one))
    both = {host: {"tls": "mesh", "ca": PEM} for host in (*one, "c.example.com")}
    (said,) = costs(planned(tmp_path, shop(outside=both)), there.objects.values())
    assert said.startswith("b.example.com gets authorities of its own")
    assert not costs(planned(tmp_path, shop(outside=both)), [])
