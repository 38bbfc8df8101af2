"""A plan asks what a claim needs within its bounds, or says why a claim is only read from the configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from slipway import prove
from slipway.prove.questions import MOST_REQUESTS, STAGES

from tests.support.prove_plan import ABORT, GRAFANA, IMAGE, PARKED, SPEAKING, Json, asked, claim, facts, verdict
from tests.support.release import shipped
from tests.support.releases import EXERCISED


@pytest.mark.parametrize("name", ["hello", "sms-checker", "spam-detection", "app-frontend", "sentiment"])
def test_plans_are_plain_data_within_their_bounds_and_below_the_limits(name: str) -> None:
    plan = prove.plan(shipped(name).facts)
    assert json.loads(json.dumps(plan)) == plan
    assert sum(STAGES.values()) <= plan["seconds"] == 90
    assert plan["requests"] <= MOST_REQUESTS
    used: set[int] = set()
    limited = shipped(name).facts["limits"]
    for item in plan["experiments"]:
        first, count = item.get("sources", [0, 0])
        block = set(range(first, first + count))
        assert not block & used, "a source address is used twice"
        used |= block
        if limited and item["by"] == "addresses" and item["stage"] == "clients":
            per_client = sum(step["times"] for step in item["steps"])
            assert per_client * -(-item["clients"] // count) <= 8


def test_new_clients_are_as_many_as_the_rule_says_and_carry_nothing(tmp_path: Path) -> None:
    plan = prove.plan(facts(tmp_path, limits={"per_client": "10/minute"}))
    (item,) = asked(plan, "share")
    assert item["clients"] == claim(plan, "share")["expect"]["n"] >= 400
    assert item["sources"][1] == -(-item["clients"] // 8)
    assert not {"cookies", "headers"} & set(item["steps"][0])


@pytest.mark.parametrize(
    ("key", "where", "sources"),
    [({"header": "x-user"}, "headers", 8), ({"cookie": "login"}, "cookies", 8), ({"address": True}, "", 472)],
)
def test_clients_of_a_hash_differ_in_what_is_hashed(tmp_path: Path, key: Json, where: str, sources: int) -> None:
    plan = prove.plan(facts(tmp_path, sticky={"hash": key}))
    (item,) = asked(plan, "share")
    assert item["sources"][1] == sources
    if where:
        assert "{client}" in next(iter(item["steps"][0][where].values()))
    answers = [
        {"status": 200, "chain": f"f={v}", "client": c} for c, v in enumerate(("v1", "v2") * 20) for _ in range(8)
    ]
    assert verdict(plan, "sticky", answers).state == "passed"
    moved = [{**answer, "client": 0} for answer in answers]
    assert "1 of 1 clients changed their version" in verdict(plan, "sticky", moved).seen


@pytest.mark.parametrize(
    ("values", "known", "kind", "state", "reason"),
    [
        ({"limits": {"per_client": "1000/minute"}}, {}, "limit", "configured", "more than a bounded number"),
        ({"limits": {"total": "50/minute"}}, {}, "share", "configured", "do not fit below the limit of 50/minute"),
        ({"limits": {"per_client": "10/minute", "total": "5/minute"}}, {}, "limit", "configured", "5/minute bites"),
        ({}, {"sources": 3}, "share", "configured", "more than 3 source addresses"),
        ({"tools": GRAFANA}, {"missing_tools": ["grafana"]}, "tool", "skipped", "not part of this cluster"),
        ({"services": {"front": {"metrics": "/m"}}}, {"monitoring": False}, "metrics", "skipped", "no monitoring"),
        ({"alerts": {"Much": "requests > 1/minute"}}, {"monitoring": False}, "alert", "skipped", "no monitoring"),
        ({"alerts": {"Much": "requests > 1/minute"}}, {"skip": ["alert"]}, "alert", "skipped", "as prove_skip says"),
        ({}, {"skip": ["alert", "chain"]}, "share", "asked", ""),
        ({"alerts": {"Much": "requests > 900/s"}}, {}, "alert", "configured", "more load than a proof should make"),
        ({"alerts": {"Bad": "errors > 5%"}}, {}, "alert", "configured", "only a load of requests"),
        ({"services": {"back": {"timeout": "2s"}}}, {}, "timeout", "configured", "does not obey x-slipway-test"),
        ({"services": {"back": {"timeout": "60s"}}}, SPEAKING, "timeout", "configured", "longer than the test header"),
        ({"services": {"back": {"retries": 0}}}, SPEAKING, "retries", "configured", "asks again only after"),
        ({"services": {"back": {"retries": 2}}}, SPEAKING, "retries", "configured", "the program of its caller picks"),
        ({"services": {"front": {"circuit_breaking": {}}}}, {}, "circuit-breaking", "configured", "from users"),
        ({"services": {"back": {"faults": ABORT}}}, {}, "faults", "configured", "alone"),
        ({"mtls": "permissive", "access": "open"}, {}, "mtls", "asked", ""),
        ({"routes": {"/api": "front"}}, {}, "chain", "configured", "do not lead to /api"),
        ({"routes": {"/api": "front"}}, {"paths": {"/api": "/api/x"}}, "chain", "asked", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_exercised_says_why(
    tmp_path: Path, values: Json, known: Json, kind: str, state: str, reason: str
) -> None:
    found = claim(prove.plan(facts(tmp_path, **values), known), kind)
    assert found["state"] == state
    assert reason in found["reason"]


def test_neighbours_and_tools_are_asked_by_a_client_over_the_limit(tmp_path: Path) -> None:
    known = {"neighbours": [{"host": "other.local", "port": 80}]}
    plan = prove.plan(facts(tmp_path, limits={"per_client": "10/minute"}, tools=GRAFANA), known)
    hosts = [step["host"] for step in asked(plan, "limit")[0]["steps"]]
    assert hosts == ["shop.local", "grafana.shop.local", "other.local"]


def test_a_total_limit_is_reached_by_many_clients_at_the_end(tmp_path: Path) -> None:
    plan = prove.plan(facts(tmp_path, limits={"total": "20/minute"}))
    (item,) = asked(plan, "limit")
    assert (item["stage"], item["clients"] > 20) == ("total", True)
    let = [{"status": 200, "at": 0.1 * n} for n in range(20)]
    rest = [{"status": 429, "at": 2 + 0.01 * n} for n in range(item["clients"] - 20)]
    assert verdict(plan, "limit", let + rest).state == "passed"
    assert verdict(plan, "limit", {"status": 200}).state == "failed"
    assert "requests failed: 503" in verdict(plan, "limit", {"status": 503}).seen
    assert "not one of" in verdict(plan, "limit", {"status": 429}).seen


STATUSES = [(200, "passed"), (302, "passed"), (401, "passed"), (404, "failed"), (503, "failed")]


@pytest.mark.parametrize(("status", "state"), STATUSES)
def test_tools(tmp_path: Path, status: int, state: str) -> None:
    plan = prove.plan(facts(tmp_path, tools=GRAFANA))
    assert verdict(plan, "tool", {"status": status}).state == state


def test_circumstances_that_nobody_knows_are_refused() -> None:
    with pytest.raises(TypeError, match="unknown: test_heder; there are"):
        prove.plan(shipped("hello").facts, {"test_heder": True})


def test_pods_without_a_proxy_are_not_asked_what_only_a_proxy_does(tmp_path: Path) -> None:
    services = {"front": {"callers": ["plain"]}, "back": {"sidecar": False}}
    plan = prove.plan(facts(tmp_path, mtls="permissive", services=services))
    hosts = {
        step["host"].partition(".")[0]
        for kind in ("mtls", "access")
        for item in asked(plan, kind)
        for step in item["steps"]
    }
    assert hosts == {"front"}
    none = facts(tmp_path, mtls="permissive", services={"front": {"sidecar": False}, "back": {"sidecar": False}})
    plan = prove.plan(none)
    assert {claim(plan, kind)["state"] for kind in ("mtls", "access")} == {"configured"}
    assert plan["pods"] == {}


def test_a_parked_version_is_not_asked_who_may_call_it(tmp_path: Path) -> None:
    plan = prove.plan(facts(tmp_path, weights={"v1": 100, "v2": 0}, services={"front": PARKED, "back": PARKED}))
    assert {each["deployment"] for each in plan["reads"] if each["what"] == "rules"} == {"front-v1", "back-v1"}
    assert claim(plan, "mtls")["state"] == claim(plan, "access")["state"] == "asked"


def test_what_only_a_parked_version_could_show_is_configured(tmp_path: Path) -> None:
    back = {"versions": {**PARKED["versions"], "v3": {"image": IMAGE, "replicas": 0, "shadow": "100%"}}}
    values: Json = {"weights": {"v1": 100, "v2": 0}, "override": {"header": "x-version"}}
    plan = prove.plan(facts(tmp_path, services={"front": PARKED, "back": back}, **values))
    states = [(each["state"], each["reason"]) for each in plan["claims"] if each["kind"] == "override"]
    assert states == [("asked", ""), ("configured", "v2 has no pods (replicas: 0)")]
    assert {chain["version"] for chain in claim(plan, "chain")["expect"]["chains"].values()} == {"v1"}
    assert (claim(plan, "shadow")["state"], claim(plan, "shadow")["reads"]) == ("configured", [])


def test_an_app_that_does_not_tell_its_versions_is_not_judged_by_them(tmp_path: Path) -> None:
    plan = prove.plan(facts(tmp_path), {"tells": False})
    reason = "the app's answers do not say which version they are from"
    for kind in ("share", "chain"):
        assert (claim(plan, kind)["state"], claim(plan, kind)["reason"], asked(plan, kind)) == (
            "configured",
            reason,
            [],
        )
    assert claim(plan, "mtls")["state"] == "asked"


@pytest.mark.parametrize(("name", "kinds"), EXERCISED.items())
def test_what_the_live_tests_see_exercised_is_all_that_can_be(name: str, kinds: set[str]) -> None:
    facts = shipped(name).facts
    known = {
        "monitoring": True,
        "mail_sink": True,
        "away": "",
        "tells": True,
        "roles": dict.fromkeys(facts["services"], "frontend"),
        "missing_tools": ["grafana"],
    }
    assert {claim["kind"] for claim in prove.plan(facts, known)["claims"] if claim["state"] == "asked"} == kinds


def test_a_small_limit_is_tried_from_five_addresses() -> None:
    planned = prove.plan(shipped("app-frontend").facts, {})
    (claim,) = (claim for claim in planned["claims"] if claim["kind"] == "limit")
    names = [*claim["expect"]["main"], *claim["expect"]["forged"]]
    tried = [each for each in planned["experiments"] if each["id"] in names]
    sources = [first + number for each in tried for first, count in [each["sources"]] for number in range(count)]
    assert len(set(sources)) == len(sources) == 5


@pytest.mark.parametrize("kind", ["share", "sticky", "chain"])
def test_a_path_that_the_app_refuses_is_named_with_the_way_to_ask_another(tmp_path: Path, kind: str) -> None:
    plan = prove.plan(facts(tmp_path))
    found = verdict(plan, kind, {"status": 400, "said": "text is missing"})
    assert "/sms?text=prove+{nonce}+{n} is answered 400, which says: text is missing" in found.seen
    assert found.look == (
        """the app may answer other paths: -e '{"prove_paths": {"/": "/a-path-that-it-answers"}}' """
        "names the one to ask for /"
    )
    assert "virtualservice" in verdict(plan, kind, {"status": 503, "said": "x"}).look
    assert "virtualservice" in verdict(plan, kind, {"status": 403}).look
    # Without a word it may be the gateway that knows no route.
    look = verdict(plan, kind, {"status": 404}).look
    assert "virtualservice" in look
    assert "prove_paths" in look


def test_a_path_that_some_requests_get_through_is_no_wrong_one(tmp_path: Path) -> None:
    plan = prove.plan(facts(tmp_path))
    count = asked(plan, "share")[0]["clients"]
    answers = [{"status": 400 if number % 2 else 200, "chain": "f=v1"} for number in range(count)]
    assert "virtualservice" in verdict(plan, "share", answers).look


def test_a_way_past_the_limit_for_all_lets_every_claim_be_asked_but_that_limits_own(tmp_path: Path) -> None:
    limits = {"per_client": "10/minute", "total": "20/minute"}
    override = {"header": "x-version", "cookie": "use"}
    made = facts(tmp_path, limits=limits, override=override, tools=GRAFANA)
    held = {each["kind"]: each["state"] for each in prove.plan(made)["claims"]}
    assert {held["share"], held["sticky"], held["override"]} == {"configured"}
    plan = prove.plan(made, {"past": True, "neighbours": [{"host": "other.local", "port": 80}]})
    assert {each["state"] for each in plan["claims"]} == {"asked"}
    assert plan["requests"] <= MOST_REQUESTS
    for item in plan["experiments"]:
        for step in item["steps"]:
            past = step["to"] == "gateway" and step["host"] == "shop.local" and item["stage"] != "total"
            assert ("x-slipway-prove" in step.get("headers", {})) is past
    (item,) = (item for item in plan["experiments"] if item["stage"] == "total")
    assert "headers" not in item["steps"][0]
    assert item["sources"][1] == item["clients"] > 20
    headers = [s.get("headers", {}) for each in plan["experiments"] for s in each["steps"]]
    assert any({"x-version", "x-slipway-prove"} <= set(each) for each in headers)
    made_job = prove.job(plan, "clients", "addresses", {"gateway": "192.0.2.1"}, past="secret")
    assert made_job["past"] == "secret"
    assert "past" not in prove.job(plan, "total", "addresses", {"gateway": "192.0.2.1"})
    assert "secret" not in json.dumps(plan)
