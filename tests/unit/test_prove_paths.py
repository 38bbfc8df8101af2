"""Claims about cases, redirects and hosts with routes of their own: what is asked, and when they pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway import prove

from tests.support.prove_plan import asked, claim, facts, verdict

Json = dict[str, Any]
ROUTES: Json = {
    "/": {
        "to": "front",
        "when": [
            {"query": {"beta": "1"}, "headers": {"x-a": {"regex": "b+", "example": "bb"}}, "version": "v2"},
            {"methods": ["POST"], "to": "back"},
        ],
    }
}


def planned(folder: Path, **more: Any) -> Json:
    given = {"routes": ROUTES, "entries": {"*.admin.local": "back"}, "redirects": {"/old": "https://a.b/c"}, **more}
    made: Json = prove.plan(facts(folder, **given))
    return made


def test_what_the_page_says_is_asked(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    (experiment,) = asked(plan, "case")
    (step,) = experiment["steps"]
    assert step["path"].endswith("&beta=1") or step["path"].endswith("?beta=1")
    assert step["headers"] == {"x-a": "bb"}
    cases = [each for each in plan["claims"] if each["kind"] == "case"]
    assert [each["state"] for each in cases] == ["asked", "configured"]
    (entry,) = asked(plan, "entry")
    assert entry["steps"][0]["host"] == "prove-any-host.admin.local"
    (redirect,) = asked(plan, "redirect")
    assert redirect["steps"][0]["path"] == "/old"


FRONT2 = {"status": 200, "pods": ["front-v2-abc-x"], "chain": "frontend=v2"}
FRONT1 = {"status": 200, "pods": ["front-v1-abc-x"], "chain": "frontend=v1"}
BACK1 = {"status": 200, "pods": ["back-v1-abc-x"], "chain": "model=v1"}


@pytest.mark.parametrize(
    ("kind", "answer", "state", "seen"),
    [
        ("case", FRONT2, "passed", "5 answers are from front"),
        ("case", FRONT1, "failed", "front v1 answered instead of front v2"),
        ("case", {"status": 404}, "failed", "404"),
        ("entry", BACK1, "passed", "5 answers are from back"),
        ("entry", FRONT1, "failed", "front v1 answered instead of back v1 or v2"),
        ("redirect", {"status": 301, "location": "https://a.b/c"}, "passed", "sent to https://a.b/c"),
        ("redirect", {"status": 302, "location": "https://a.b/c"}, "failed", "302 instead of 301"),
        ("redirect", {"status": 301, "location": "http://a.b/c"}, "failed", "instead of https://a.b/c"),
        ("redirect", {"status": 301, "location": "https://a.b/d"}, "failed", "instead of https://a.b/c"),
    ],
)
def test_what_was_seen_is_judged(tmp_path: Path, kind: str, answer: Json, state: str, seen: str) -> None:
    found = verdict(planned(tmp_path), kind, answer)
    assert (found.state, seen in found.seen) == (state, True), found


def test_a_path_with_weights_of_its_own_is_asked_by_its_own_cookie(tmp_path: Path) -> None:
    routes = {"/": "front", "/own": {"to": "front", "weights": {"v1": 50, "v2": 50}}}
    plan = planned(tmp_path, routes=routes, version_header="x-v")
    shares = [each["expect"]["shares"] for each in plan["claims"] if each["kind"] == "share"]
    assert {tuple(share.values()) for share in shares} == {(90, 10), (50, 50)}
    cookies = {
        name
        for experiment in asked(plan, "version-header")
        for step in experiment["steps"]
        for name in step.get("cookies", {})
        if step["path"].startswith("/own")
    }
    assert cookies == {"shop-version-own"}
    sticky = claim(plan, "sticky")
    assert sticky["expect"]["route"] == "/"
