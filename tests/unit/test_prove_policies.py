"""A proof sees timeouts, retries and faults where requests can show them, and reads the rest from the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway import prove
from slipway.release.call_keys import Faults
from slipway.release.planner import plan as planned
from slipway.release.spec import load

from tests.support.prove_plan import ABORT, IMAGE, SPEAKING, TRIES, VERSIONS, Json, asked, claim, facts, verdict
from tests.support.release import page


@pytest.mark.parametrize(
    ("values", "kind", "good", "bad", "seen"),
    [
        ({"timeout": "2s"}, "timeout", {"status": 504, "ms": 2010.0}, {"status": 200, "ms": 4010.0}, "came with 200"),
        ({"retries": TRIES}, "retries", {"status": 200}, {"status": 503}, "5 x 503"),
    ],
)
def test_policies_of_an_app_that_obeys_the_test_header(
    tmp_path: Path, values: Json, kind: str, good: Json, bad: Json, seen: str
) -> None:
    plan = prove.plan(facts(tmp_path, services={"back": values}), SPEAKING)
    assert "at=model" in asked(plan, kind)[0]["steps"][0]["headers"]["x-slipway-test"]
    assert verdict(plan, kind, good).state == "passed"
    assert seen in verdict(plan, kind, bad).seen


def test_a_get_is_asked_again_and_a_post_is_not(tmp_path: Path) -> None:
    plan = prove.plan(facts(tmp_path, services={"front": {"retries": 2}}), SPEAKING)
    claims = [each for each in plan["claims"] if each["kind"] == "retries"]
    assert [each["title"] for each in claims] == ["front has retries", "front gets a POST once"]
    sent = {item["claim"]: item["steps"][0] for item in plan["experiments"]}
    assert [sent[each["id"]].get("method") for each in claims] == [None, "POST"]
    assert all("status=503;first=1;at=frontend" in str(sent[each["id"]]["headers"]) for each in claims)

    def judged(get: Json, post: Json) -> list[tuple[str, str]]:
        seen = {
            item["id"]: {"answers": [{"client": 0, "step": 0, "at": 0.0, "ms": 1.0, **how}] * 5}
            for each, how in zip(claims, (get, post), strict=True)
            for item in plan["experiments"]
            if item["claim"] == each["id"]
        }
        found = prove.judge(plan, {"experiments": seen, "reads": {}}).verdicts
        return [(each.state, each.seen) for each in found if each.kind == "retries"]

    assert judged({"status": 200}, {"status": 503}) == [
        ("passed", "5 requests that failed once were answered"),
        ("passed", "5 POSTs that failed were not sent again"),
    ]
    assert judged({"status": 503}, {"status": 400}) == [
        ("failed", "of 5 requests not answered with 200: 5 x 503; /sms?text=prove+{nonce}+{n} is answered 503"),
        ("failed", "5 of 5 POSTs that got 503 were sent again: 400"),
    ]
    assert judged({"status": 200}, {"status": 0, "error": "TimeoutError"})[1][0] == "failed"


def test_what_is_made_to_fail_is_told_from_faults_of_the_page(tmp_path: Path) -> None:
    services = {"front": {"faults": ABORT}, "back": {"retries": 2}}
    plan = prove.plan(facts(tmp_path, services=services, routes={"/": "front", "/sms": "back"}), SPEAKING)
    steps = [step for each in plan["experiments"] for step in each["steps"] if "headers" in step]
    assert {step["headers"]["x-slipway-test"].partition(";")[0] for step in steps} == {"status=502"}


def test_no_promise_about_a_post_where_the_page_wants_it_repeated(tmp_path: Path) -> None:
    for retries in (0, TRIES, {"attempts": 2, "reasons": ["connect-failure"]}):
        made = facts(tmp_path, services={"front": {"retries": retries}})
        assert [each["title"] for each in made["claims"] if each["kind"] == "retries"] == ["front has retries"]
    grpc = facts(tmp_path, services={"back": {"protocol": "grpc", "retries": 2}})
    assert grpc["services"]["back"]["retries"]["reasons"][-2:] == ["cancelled", "unavailable"]
    assert [each["title"] for each in grpc["claims"] if each["kind"] == "retries"] == ["back has retries"]


def test_faults_are_counted(tmp_path: Path) -> None:
    faults = {"abort": {"status": 503, "share": "20%"}, "delay": {"time": "1s", "share": "100%"}}
    plan = prove.plan(facts(tmp_path, services={"front": {"faults": faults}}))
    n = claim(plan, "faults")["expect"]["n"]
    assert plan["tolerated"] == [503]
    good = [{"status": 503 if i < n // 5 else 200, "ms": 1100.0} for i in range(n)]
    assert verdict(plan, "faults", good).state == "passed"
    assert "0 of" in verdict(plan, "faults", [{"status": 200, "ms": 1100.0}] * n).seen
    assert "slow" in verdict(plan, "faults", [{**answer, "ms": 3.0} for answer in good]).seen


def test_faults_of_neither_kind_are_no_claim(tmp_path: Path) -> None:
    values = {"name": "shop", "hosts": ["shop.local"], "services": {"front": {"versions": {"v1": IMAGE}}}}
    spec = load(page(tmp_path, values))
    none = Faults.model_construct(delay=None, abort=None)
    spec.release.services["front"] = spec.release.services["front"].model_copy(update={"faults": none})
    assert "faults" not in {each["kind"] for each in prove.plan(planned(spec).facts)["claims"]}


@pytest.mark.parametrize(
    ("read", "state", "seen"),
    [
        ({"found": True, "detail": "timeout 2s"}, "configured", "timeout 2s"),
        ({"found": False}, "failed", "does not have it"),
        ({"error": "no such pod"}, "failed", "no such pod"),
        ({}, "configured", "configured, not exercised"),
    ],
)
def test_what_is_only_configured_is_read_from_envoy(tmp_path: Path, read: Json, state: str, seen: str) -> None:
    plan = prove.plan(facts(tmp_path, services={"back": {"timeout": "2s"}}))
    found = verdict(plan, "timeout", {}, {claim(plan, "timeout")["reads"][0]: read})
    assert (found.state, seen in found.seen) == (state, True)


@pytest.mark.parametrize(
    ("kind", "front", "back"),
    [
        ("timeout", {"timeout": "3s"}, {"timeout": "3s"}),
        ("timeout", {"retries": {"attempts": 2, "per_try": "2s", "reasons": ["connect-failure"]}}, {"timeout": "3s"}),
        ("timeout", {"retries": TRIES}, {"timeout": "2s"}),
        ("retries", {"retries": TRIES}, {"retries": TRIES}),
    ],
)
def test_what_a_hop_before_would_cover_up_is_not_asked(tmp_path: Path, kind: str, front: Json, back: Json) -> None:
    plan = prove.plan(facts(tmp_path, services={"front": front, "back": back}), SPEAKING)
    (of_back,) = (each for each in plan["claims"] if each["kind"] == kind and each["title"].startswith("back "))
    assert of_back["state"] == "configured"
    assert "front, on the way there" in of_back["reason"]


def test_requests_that_end_late_are_sent_side_by_side(tmp_path: Path) -> None:
    """The longest timeout that is exercised leaves no room for a second request after the first."""
    plan = prove.plan(facts(tmp_path, services={"back": {"timeout": "6s"}}), SPEAKING)
    (item,) = asked(plan, "timeout")
    room = next(stage["seconds"] for stage in plan["stages"] if stage["name"] == item["stage"])
    assert item["clients"] == 3 <= item["parallel"]
    assert sum(step["times"] for step in item["steps"]) * 6 < room


OUTSIDE = {"callers": ["batch/reporter"], "versions": {"v1": IMAGE}}
POLICIES = {"timeout": "5s", "retries": 2, "circuit_breaking": {}, "faults": ABORT}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("front", [{}, {"calls": ["jobs"], "sidecar": False}])
def test_a_policy_that_no_proxy_of_ours_has_is_configured_and_not_read(
    tmp_path: Path, policy: str, front: Json
) -> None:
    jobs = {**OUTSIDE, "callers": ["batch/reporter", "plain"], policy: POLICIES[policy]}
    services = {"front": front, "jobs": jobs}
    plan = prove.plan(facts(tmp_path, services=services, mtls="permissive", routes={"/": "back"}), SPEAKING)
    found = verdict(plan, policy.replace("_", "-"), {})
    assert claim(plan, found.kind)["reads"] == []
    assert (found.state, "no proxy of this release calls jobs" in found.seen) == ("configured", True)


@pytest.mark.parametrize(
    ("roles", "attempts", "replicas", "state", "reason"),
    [
        ({"front": "frontend", "back": "model"}, 2, 1, "asked", ""),
        ({"front": "service", "back": "service"}, 2, 1, "configured", "front on the way is a service too: x-slipway"),
        ({"front": "frontend", "back": "model"}, 2, 3, "configured", "each of 3 pods fails once, and it asks again 2"),
    ],
)
def test_retries_are_seen_where_the_header_makes_that_hop_fail_alone(
    tmp_path: Path, roles: Json, attempts: int, replicas: int, state: str, reason: str
) -> None:
    back = {"retries": {**TRIES, "attempts": attempts}, "replicas": replicas}
    found = claim(
        prove.plan(facts(tmp_path, services={"back": back}), {"test_header": True, "roles": roles}), "retries"
    )
    assert found["state"] == state
    assert reason in found["reason"]
    assert found["reads"] == ["policy.back.retries"]


def test_a_hop_that_cannot_be_told_on_one_path_is_asked_on_another(tmp_path: Path) -> None:
    services = {"back": {"retries": TRIES}, "side": {"calls": ["back"], "versions": VERSIONS}}
    roles = {"test_header": True, "roles": {"front": "model", "side": "frontend", "back": "model"}}
    made = facts(tmp_path, services=services, routes={"/": "front", "/side": "side"})
    plan = prove.plan(made, {**roles, "paths": {"/": "/a?n={n}", "/side": "/side/b"}})
    assert {step["path"] for item in asked(plan, "retries") for step in item["steps"]} == {"/side/b"}
