"""What a proof sees of headers: those of a path, the one that says the version, and what opens a path to browsers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway import prove

from tests.support.prove import Shop, served
from tests.support.prove_plan import ABORT, Json, asked, claim, facts, verdict

RESPONSE = {"set": {"x-a": "1"}, "add": {"vary": "Origin, Accept"}, "remove": ["x-b"]}
ROUTES = {"/": {"to": "front", "headers": {"response": RESPONSE}}}
CORS = {"origins": ["https://app.example.org", "https://*.example.net"], "methods": ["GET", "PUT"], "credentials": True}
FOR = "access-control-allow"


def shown(**headers: list[str]) -> Json:
    return {
        "status": 200,
        "chain": "f=v1",
        "headers": {name.replace("_", "-"): lines for name, lines in headers.items()},
    }


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (shown(x_a=["1"], vary=["Accept-Encoding,Origin,Accept"], x_b=[]), ""),
        (shown(x_a=["1"], vary=["Accept-Encoding", "Origin, Accept"], x_b=[]), ""),
        (shown(x_a=["1", "2"], vary=["Origin, Accept"], x_b=[]), "x-a is 1, 2 instead of 1"),
        (shown(x_a=[], vary=["Origin, Accept"], x_b=[]), "x-a is not there instead of 1"),
        (shown(x_a=["1"], vary=["Origin"], x_b=[]), "vary is Origin, without Origin, Accept"),
        (shown(x_a=["1"], vary=["Origin, Accept"], x_b=["c"]), "x-b is c instead of gone"),
        ({"status": 503}, "3 x 503"),
    ],
)
def test_headers_of_a_path(tmp_path: Path, answer: Json, said: str) -> None:
    found = verdict(prove.plan(facts(tmp_path, routes=ROUTES)), "headers", answer)
    assert (found.state == "failed") == bool(said)
    assert said in found.seen
    assert not said or "headers" in found.look


def test_what_a_service_gets_is_configured_and_not_seen(tmp_path: Path) -> None:
    plan = prove.plan(facts(tmp_path, routes={"/": {"to": "front", "headers": {"request": {"set": {"x-a": "1"}}}}}))
    assert claim(plan, "headers")["state"] == "configured"


def versions(said: str | None, answered: str = "v1") -> Json:
    return {"status": 200, "chain": f"f={answered},b={answered}", "headers": {"x-v": [said] if said else []}}


def test_the_version_in_a_header_is_that_of_who_answered(tmp_path: Path) -> None:
    plan = prove.plan(facts(tmp_path, version_header="x-v", override={"header": "x-version"}))
    first, second = asked(plan, "version-header")
    assert [item["steps"][0]["headers"]["x-version"] for item in (first, second)] == ["v1", "v2"]

    def judged(of_first: Json, of_second: Json) -> Any:
        seen = {}
        for item in plan["experiments"]:
            one = of_second if item["id"] == second["id"] else of_first
            count = item["clients"] * sum(step["times"] for step in item["steps"])
            seen[item["id"]] = {"answers": [{"client": 0, "step": 0, "at": 0.0, "ms": 1.0, **one}] * count}
        report = prove.judge(plan, {"experiments": seen, "reads": {}})
        return next(each for each in report.verdicts if each.kind == "version-header")

    assert judged(versions("v1"), versions("v2", "v2")).state == "passed"
    assert "x-v is not there instead of v1" in judged(versions(None), versions("v2", "v2")).seen
    assert "x-v is v1 instead of v2" in judged(versions("v1"), versions("v1", "v2")).seen
    assert "x-v says v2, and v1 answered" in judged(versions("v1"), versions("v2", "v1")).seen


def test_the_header_is_seen_also_where_the_app_tells_nothing(tmp_path: Path) -> None:
    plan = prove.plan(facts(tmp_path, version_header="x-v", sticky="none"), {"tells": False})
    assert claim(plan, "share")["state"] == "configured"
    silent = {"status": 200, "chain": ""}
    assert verdict(plan, "version-header", {**silent, "headers": {"x-v": ["v2"]}}).state == "passed"
    assert (
        "x-v is v9 instead of v1 or v2" in verdict(plan, "version-header", {**silent, "headers": {"x-v": ["v9"]}}).seen
    )


def cors(origin: str, methods: str = "GET,PUT", credentials: list[str] | None = None) -> Json:
    allowed = {f"{FOR}-origin": [origin] if origin else [], f"{FOR}-methods": [methods]}
    held = ["true"] if credentials is None else credentials
    return {"status": 200, "headers": {**allowed, f"{FOR}-headers": ["content-type"], f"{FOR}-credentials": held}}


def browsers(plan: Json, change: dict[str, Json]) -> Any:
    """Judge what browsers see: as the page says, but for the experiments of an origin that is named."""
    seen: Json = {}
    for item in asked(plan, "cors"):
        (step,) = item["steps"]
        origin = step["headers"]["origin"]
        answer = cors("" if origin.endswith(".invalid") else origin)
        answer = change.get(f"{step.get('method', 'GET')} {origin}", answer)
        seen[item["id"]] = {"answers": [{"client": 0, "step": 0, "at": 0.0, "ms": 1.0, **answer}] * 3}
    return next(v for v in prove.judge(plan, {"experiments": seen, "reads": {}}).verdicts if v.kind == "cors")


APP, STRANGER = "https://app.example.org", "https://stranger.invalid"


@pytest.mark.parametrize(
    ("asked_for", "answer", "said"),
    [
        ("", {}, ""),
        (f"OPTIONS {APP}", {"status": 404}, "a preflight from https://app.example.org is answered 404"),
        (f"OPTIONS {APP}", cors(""), f"{FOR}-origin for {APP} is not there"),
        (f"OPTIONS {APP}", cors("*"), f"{FOR}-origin for {APP} is *"),
        (f"OPTIONS {APP}", cors(APP, "GET"), f"{FOR}-methods for {APP} is without PUT"),
        (f"OPTIONS {APP}", cors(APP, credentials=[]), f"{FOR}-credentials for {APP} is not there"),
        ("OPTIONS https://prove.example.net", cors(""), "origin for https://prove.example.net is not there"),
        (f"OPTIONS {STRANGER}", cors(STRANGER), f"a preflight from {STRANGER} gets"),
        # How the service itself answers a stranger's preflight is no matter.
        (f"OPTIONS {STRANGER}", {"status": 0, "error": "x"}, ""),
        (f"GET {APP}", cors(""), f"{FOR}-origin for {APP} is not there"),
    ],
)
def test_preflights(tmp_path: Path, asked_for: str, answer: Json, said: str) -> None:
    plan = prove.plan(facts(tmp_path, routes={"/": {"to": "front", "cors": CORS}}))
    found = browsers(plan, {asked_for: answer})
    assert (found.state == "failed") == bool(said), found
    assert said in found.seen
    assert said or "2 preflights are answered" in found.seen


def test_an_injected_fault_takes_no_preflight_for_a_broken_one(tmp_path: Path) -> None:
    plan = prove.plan(
        facts(tmp_path, services={"front": {"faults": ABORT}}, routes={"/": {"to": "front", "cors": CORS}})
    )
    assert "no answer was seen" in browsers(plan, {f"OPTIONS {APP}": {"status": 503}}).seen


def test_everybody_means_that_nobody_is_a_stranger(tmp_path: Path) -> None:
    plan = prove.plan(facts(tmp_path, routes={"/": {"to": "front", "cors": "*"}}))
    assert claim(plan, "cors")["expect"]["stranger"] is None
    anybody = {**cors("*", "GET,HEAD,POST", [])}
    found = browsers(plan, {f"{how} https://anybody.invalid": anybody for how in ("OPTIONS", "GET")})
    assert found.state == "passed"


def test_the_agent_gives_the_headers_that_it_is_asked_for(tmp_path: Path) -> None:
    made = facts(tmp_path, weights={"v1": 50, "v2": 50})
    step = {"to": "gateway", "port": 80, "host": "shop.local", "path": "/", "show": ["set-cookie", "x-none"]}
    experiment = {"id": "e", "stage": "clients", "by": "here", "clients": 1, "steps": [step]}
    with served(Shop(made)) as send:
        said = send("here", {"experiments": [experiment], "targets": {"gateway": "x"}, "seconds": 5, "nonce": "n"})
    (answer,) = said["experiments"]["e"]["answers"]
    assert answer["headers"]["x-none"] == []
    assert answer["headers"]["set-cookie"][0].startswith("shop-version=")
