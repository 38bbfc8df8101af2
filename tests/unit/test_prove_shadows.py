"""A proof counts the requests that shadows get against those of users."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway import prove

from tests.support.prove_plan import IMAGE, VERSIONS, Json, asked, claim, facts, verdict


@pytest.mark.parametrize(("percent", "state"), [(25, "passed"), (50, "failed"), (0, "failed")])
def test_a_share_of_copies(tmp_path: Path, percent: int, state: str) -> None:
    back = {"versions": {**VERSIONS, "v3": {"image": IMAGE, "shadow": "25%"}}}
    plan = prove.plan(facts(tmp_path, services={"back": back}))
    sent = claim(plan, "shadow")["expect"]["n"]
    assert sum(item["clients"] for item in asked(plan, "shadow")) == sent >= 400
    seen = {claim(plan, "shadow")["reads"][0]: {"before": 5, "after": 5 + sent * percent // 100, "source": "proxy"}}
    assert verdict(plan, "shadow", {"status": 200, "chain": "f=v1,b=v1"}, seen).state == state


SHADOW, SILENT, SOME = ({"image": IMAGE, "shadow": share} for share in ("100%", 0, "50%"))


def copies(plan: Json, title: str, got: int) -> prove.Verdict:
    """Judge the shadow whose claim begins so, when its pods got that many requests and users all they asked for."""
    (found,) = (each for each in plan["claims"] if each["title"].startswith(title))
    answer = {"client": 0, "step": 0, "at": 0.0, "ms": 1.0, "status": 200, "chain": "f=v1,b=v1"}
    seen = {
        item["id"]: {"answers": [answer] * item["clients"]} for item in plan["experiments"] if item["stage"] == "copies"
    }
    reads = {read: {"before": 5, "after": 5 + got, "source": "proxy"} for read in found["reads"]}
    report = prove.judge(plan, {"experiments": seen, "reads": reads})
    return next(each for each in report.verdicts if each.id == found["id"])


def test_shadows_on_one_path_are_counted_in_the_same_requests(tmp_path: Path) -> None:
    services = {
        "front": {"versions": {**VERSIONS, "v3": SHADOW}},
        "back": {"versions": {**VERSIONS, "v3": SILENT, "v4": SHADOW, "v5": SOME}},
    }
    plan = prove.plan(facts(tmp_path, services=services))
    (item,) = (item for item in plan["experiments"] if item["stage"] == "copies")
    sent = item["clients"]
    assert sent >= 400
    for title, got in (("front v3", sent), ("back v4", sent), ("back v5", sent // 2), ("back v3", sent)):
        assert copies(plan, title, got).state == "passed", copies(plan, title, got)
        assert copies(plan, title, 2 * sent).state == "failed"
        assert copies(plan, title, 0).state == "failed"


def test_shadows_on_two_paths_are_counted_in_the_requests_of_both(tmp_path: Path) -> None:
    services: Json = {
        "front": {"versions": {**VERSIONS, "v3": SHADOW}},
        "side": {"calls": ["back"], "versions": {**VERSIONS, "v5": SHADOW}},
        "back": {"versions": {**VERSIONS, "v4": SHADOW}},
    }
    routes = {"/": "front", "/side": "side"}
    made = facts(tmp_path, services=services, routes=routes)
    plan = prove.plan(made, {"paths": {"/": "/a?n={n}", "/side": "/side/b"}})
    assert [item["clients"] for item in plan["experiments"] if item["stage"] == "copies"] == [40, 40]
    for title, expected in (("front v3", 40), ("side v5", 40), ("back v4", 80)):
        assert copies(plan, title, expected).state == "passed", copies(plan, title, expected)
        assert copies(plan, title, 120 - expected).state == "failed"


@pytest.mark.parametrize(("got", "state"), [(40, "passed"), (0, "failed"), (80, "failed")])
def test_a_version_that_gets_no_copies_gets_the_calls_of_its_own_shadow(tmp_path: Path, got: int, state: str) -> None:
    services = {"front": {"versions": {**VERSIONS, "v3": SHADOW}}, "back": {"versions": {**VERSIONS, "v3": SILENT}}}
    found = copies(prove.plan(facts(tmp_path, services=services)), "back v3", got)
    assert found.state == state
    if state == "failed":
        assert found.seen == f"{got} requests, calls of other shadows included, of 40 of users instead of 40"


def test_a_version_that_nobody_calls_gets_nothing(tmp_path: Path) -> None:
    parked = {"image": IMAGE, "shadow": "100%", "replicas": 0}
    services = {"front": {"versions": {**VERSIONS, "v3": parked}}, "back": {"versions": {**VERSIONS, "v3": SILENT}}}
    plan = prove.plan(facts(tmp_path, services=services))
    assert copies(plan, "back v3", 0).state == "passed"
    assert copies(plan, "back v3", 40).state == "failed"
