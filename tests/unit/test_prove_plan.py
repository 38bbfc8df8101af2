"""Which requests a claim asks for, and when it is only read from the configuration; and the verdicts on policies."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from slipway import prove
from slipway.prove.questions import MOST_REQUESTS, STAGES
from slipway.release.call_keys import Faults
from slipway.release.planner import plan as planned
from slipway.release.spec import load

from tests.support.release import page, shipped
from tests.support.releases import EXERCISED

Json = dict[str, Any]
IMAGE = "example.org/app:1"
ABORT = {"abort": {"status": 503, "share": "5%"}}
GRAFANA = {"grafana": {"host": "grafana"}}
VERSIONS = {"v1": IMAGE, "v2": IMAGE}
PARKED = {"versions": {"v1": IMAGE, "v2": {"image": IMAGE, "replicas": 0}}}


def facts(folder: Path, **values: Any) -> Json:
    services: Json = {"front": {"calls": ["back"], "versions": VERSIONS}, "back": {"versions": VERSIONS}}
    for name, more in values.pop("services", {}).items():
        services[name] = {**services.get(name, {}), **more}
    base = {"name": "shop", "hosts": ["shop.local"], "weights": {"v1": 90, "v2": 10}, "services": services}
    return planned(load(page(folder, {**base, **values}))).facts


def claim(plan: Json, kind: str) -> Json:
    found: Json = next(each for each in plan["claims"] if each["kind"] == kind)
    return found


def asked(plan: Json, kind: str) -> list[Json]:
    return [item for item in plan["experiments"] if item["claim"] == claim(plan, kind)["id"]]


TRIES = {"attempts": 2, "reasons": ["5xx"], "methods": "all"}
SPEAKING = {"test_header": True, "roles": {"front": "frontend", "back": "model"}}


def verdict(plan: Json, kind: str, answers: Json | list[Json], reads: Json | None = None) -> prove.Verdict:
    """Judge one kind, with every request of it answered alike, or as listed."""
    seen = {}
    for item in asked(plan, kind):
        count = item["clients"] * sum(step["times"] for step in item["steps"])
        given = answers if isinstance(answers, list) else [answers] * count
        seen[item["id"]] = {"answers": [{"client": 0, "step": 0, "at": 0.0, "ms": 1.0, **one} for one in given]}
    report = prove.judge(plan, {"experiments": seen, "reads": reads or {}})
    return next(each for each in report.verdicts if each.kind == kind)


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


def test_a_page_that_redirects_is_asked_over_tls(tmp_path: Path) -> None:
    gateway = {"ports": [80, 8080], "tls": {"redirect": True}}
    made = facts(
        tmp_path, gateway=gateway, limits={"per_client": "10/minute"}, tools=GRAFANA, hosts=["a.local", "b.local"]
    )
    known = {"neighbours": [{"host": "other.local", "port": 80}], "away": ""}
    plan = prove.plan(made, known)
    steps = [step for item in plan["experiments"] for step in item["steps"]]
    sent_on = [step for item in asked(plan, "tls") for step in item["steps"] if step["port"] != 443]
    assert {(step["host"], step["port"]) for step in sent_on} == set(product(("a.local", "b.local"), (80, 8080)))
    own = [s for s in steps if s["to"] == "gateway" and s["host"] != "other.local" and s not in sent_on]
    assert {(step["port"], step["tls"]) for step in own} == {(443, True)}
    assert {step["host"] for step in own} == {"a.local", "b.local", "grafana.a.local"}
    assert not [step for step in steps if step not in own and "tls" in step]
    assert claim(plan, "address")["expect"]["port"] == 443


def test_a_page_with_tls_that_does_not_redirect_is_asked_in_clear(tmp_path: Path) -> None:
    plan = prove.plan(facts(tmp_path, gateway={"tls": {}}, limits={"per_client": "10/minute"}))
    steps = [s for item in plan["experiments"] if item not in asked(plan, "tls") for s in item["steps"]]
    assert {(step["port"], "tls" in step) for step in steps if step["to"] == "gateway"} == {(80, False)}
    (own,) = (step for item in asked(plan, "tls") for step in item["steps"])
    assert (own["host"], own["port"], own["tls"]) == ("shop.local", 443, True)


MOVED = {"status": 301, "location": "https://shop.local/sms?text=x"}


@pytest.mark.parametrize(
    ("secure", "clear", "seen"),
    [
        ({"status": 200}, MOVED, ""),
        ({"status": 200}, {**MOVED, "location": "https://shop.local:443/"}, ""),
        ({"status": 0, "error": "ConnectionResetError"}, MOVED, "shop.local:443 over TLS: 1 of 1 requests without"),
        ({"status": 404}, MOVED, "shop.local:443 over TLS: of 1 requests not answered with 200: 1 x 404"),
        ({"status": 200}, {"status": 200}, "shop.local:80 answered 200 instead of 301 to https"),
        ({"status": 200}, {**MOVED, "status": 302}, "answered 302 to https://shop.local/sms"),
        ({"status": 200}, {**MOVED, "location": "http://shop.local/"}, "answered 301 to http://shop.local/ instead"),
        ({"status": 200}, {**MOVED, "location": "https://shop.local.example.org/"}, "instead of 301 to https"),
        ({"status": 200}, {"status": 0, "error": "TimeoutError"}, "shop.local:80 answered TimeoutError instead"),
    ],
)  # fmt: skip
def test_over_tls_it_answers_and_without_it_sends_there(tmp_path: Path, secure: Json, clear: Json, seen: str) -> None:
    plan = prove.plan(facts(tmp_path, gateway={"tls": {"redirect": True}}))
    answers = {
        item["id"]: {"answers": [{"client": 0, "step": 0, "at": 0.0, "ms": 1.0, **how}]}
        for item, how in zip(asked(plan, "tls"), (secure, clear), strict=True)
    }
    report = prove.judge(plan, {"experiments": answers, "reads": {}})
    (found,) = (each for each in report.verdicts if each.kind == "tls")
    assert (found.state, seen in found.seen) == ("failed" if seen else "passed", True), found.seen


@pytest.mark.parametrize(
    ("answer", "state", "seen"),
    [
        ({}, "passed", "2 hosts answer, with a certificate"),
        ({"shop.local": {"status": 0, "error": "certificate: Hostname mismatch"}}, "failed",
         "shop.local:443: browsers refuse the certificate: Hostname mismatch"),
        ({"grafana.shop.local": {"status": 0, "error": "certificate: self-signed"}}, "failed",
         "grafana.shop.local:443: browsers refuse the certificate: self-signed"),
        ({"grafana.shop.local": {"status": 302}}, "passed", ""),
        ({"grafana.shop.local": {"status": 0, "error": "TimeoutError"}}, "failed", "shop.local:443 over TLS: Time"),
        ({"other.local on shop.local": {"status": 404}}, "failed",
         "a connection for shop.local that a browser uses for other.local too answers 404 instead of 421"),
        ({"other.local on shop.local": {"status": 0, "error": "TimeoutError"}}, "failed", "answers TimeoutError"),
        ({"shop.local on other.local": {"status": 0, "error": "ConnectionResetError"}}, "passed", ""),
        ({"shop.local on other.local": {"status": 200}}, "failed", "for shop.local too answers 200 instead of 421"),
    ],
)  # fmt: skip
def test_over_tls_it_is_as_browsers_want_it(tmp_path: Path, answer: Json, state: str, seen: str) -> None:
    plan = prove.plan(facts(tmp_path, gateway={"tls": {}}, tools=GRAFANA), {"elsewhere": ["other.local"]})
    answers = {}
    for item in asked(plan, "tls"):
        (step,) = item["steps"]
        assert (step["port"], step["tls"], "verify" in step) == (443, True, "server" not in step)
        name = f"{step['host']} on {step['server']}" if "server" in step else step["host"]
        told = {"status": 421 if "server" in step else 200, **answer.get(name, {})}
        answers[item["id"]] = {"answers": [{"client": 0, "step": 0, "at": 0.0, "ms": 1.0, **told}]}
    report = prove.judge(plan, {"experiments": answers, "reads": {}})
    (found,) = (each for each in report.verdicts if each.kind == "tls")
    assert (found.state, seen in found.seen) == (state, True), found.seen
    made = prove.job(plan, "clients", "addresses", {"gateway": "192.0.2.1"}, authorities="PEM")
    assert made["authorities"] == "PEM"
    assert "authorities" not in prove.job(plan, "copies", "addresses", {"gateway": "192.0.2.1"}, authorities="PEM")


def test_a_page_without_tls_claims_none(tmp_path: Path) -> None:
    assert "tls" not in {each["kind"] for each in prove.plan(facts(tmp_path))["claims"]}


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
    ("mode", "answer", "state"),
    [
        ("strict", {"status": 0, "error": "RemoteDisconnected: closed"}, "passed"),
        ("strict", {"status": 0, "error": "TimeoutError"}, "failed"),
        ("strict", {"status": 200}, "failed"),
        ("permissive", {"status": 200}, "passed"),
        ("permissive", {"status": 404}, "passed"),
        ("permissive", {"status": 403}, "failed"),
        ("permissive", {"status": 0, "error": "ConnectionResetError"}, "failed"),
    ],
)
def test_mutual_tls(tmp_path: Path, mode: str, answer: Json, state: str) -> None:
    plan = prove.plan(facts(tmp_path, mtls=mode, access="open"))
    assert verdict(plan, "mtls", answer).state == state


@pytest.mark.parametrize(
    ("front", "back", "state", "said"),
    [
        (403, 200, "passed", "back let a client without mutual TLS in; front answer it 403"),
        (403, 403, "failed", "back answered 403 to a client without mutual TLS; callers lets it in"),
        (200, 200, "failed", "front answered 200 to a client without mutual TLS; callers has no plain"),
    ],
)
def test_a_client_without_mutual_tls_gets_in_where_callers_say_so(
    tmp_path: Path, front: int, back: int, state: str, said: str
) -> None:
    plan = prove.plan(facts(tmp_path, mtls="permissive", services={"back": {"callers": ["legacy/*", "plain"]}}))
    seen = {}
    for item in asked(plan, "mtls"):
        status = front if item["steps"][0]["host"].startswith("front.") else back
        seen[item["id"]] = {"answers": [{"client": 0, "step": 0, "at": 0.0, "ms": 1.0, "status": status}] * 3}
    report = prove.judge(plan, {"experiments": seen, "reads": {}})
    found = next(each for each in report.verdicts if each.kind == "mtls")
    assert (found.state, said in found.seen) == (state, True), found.seen


@pytest.mark.parametrize(
    ("read", "state"),
    [
        ({"before": "inactive", "fired_after": 80, "mail": "read"}, "passed"),
        ({"before": "inactive", "fired_after": 80, "mail": "handed over"}, "failed"),
        ({"before": "inactive", "fired_after": 900, "mail": "read"}, "failed"),
        ({"before": "inactive", "fired_after": None}, "failed"),
        ({"before": "pending"}, "failed"),
    ],
)
def test_alerts(tmp_path: Path, read: Json, state: str) -> None:
    mail = {"to": "a@example.org", "server": "sink.mail:25"}
    made = facts(tmp_path, alerts={"Much": {"when": "requests > 30/minute", "for": "1m"}}, mail=mail)
    plan = prove.plan(made, {"mail_sink": True})
    assert claim(plan, "alert")["expect"]["within"] == 150
    (item,) = asked(plan, "alert")
    assert item["clients"] / item["pace"] * 60 > 30
    assert verdict(plan, "alert", {"status": 200}, {claim(plan, "alert")["reads"][0]: read}).state == state


@pytest.mark.parametrize(
    ("about", "values", "wanted"),
    [
        ({"version": "v2"}, {}, {"cookies": {"shop-version": "v2"}}),
        ({"version": "v2"}, {"override": {"header": "x-version"}}, {"headers": {"x-version": "v2"}}),
        ({"version": "v2"}, {"override": {"hosts": {"canary": "v2"}}}, {"host": "canary.shop.local"}),
        ({"version": "v2", "service": "back"}, {}, {"cookies": {"shop-version": "v2"}}),
        ({"version": "v1"}, {"weights": {"v1": 100, "v2": 0}}, {}),
        ({}, {}, {}),
        ({"service": "other"}, {}, {"path": "/other"}),
    ],
)
def test_the_load_of_an_alert_meets_the_version_that_it_is_about(
    tmp_path: Path, about: Json, values: Json, wanted: Json
) -> None:
    alert = {"when": "requests > 60/minute", "service": "front", **about}
    other = {"other": {"versions": {"v1": IMAGE}}}
    routes = {"/": "front", "/other": "other"}
    plan = prove.plan(facts(tmp_path, alerts={"Much": alert}, services=other, routes=routes, **values))
    (step,) = (item["steps"][0] for item in asked(plan, "alert"))
    assert {name: step.get(name) for name in wanted} == wanted
    assert {"cookies", "headers"} & set(step) == {"cookies", "headers"} & set(wanted)


@pytest.mark.parametrize(
    ("alert", "faults", "state"),
    [
        ("errors > 5%", {"abort": {"status": 503, "share": "30%"}}, "asked"),
        ("5xx > 2.5%", {"abort": {"status": 500, "share": "5%"}}, "asked"),
        ({"when": "errors > 5%", "service": "front"}, {"abort": {"status": 503, "share": "30%"}}, "asked"),
        ({"when": "errors > 5%", "service": "back"}, {"abort": {"status": 503, "share": "30%"}}, "configured"),
        # Too near to the value, no error, none at all.
        ("errors > 5%", {"abort": {"status": 503, "share": "6%"}}, "configured"),
        ("errors > 5%", {"abort": {"status": 404, "share": "30%"}}, "configured"),
        ("errors > 5%", {"delay": {"time": "1s", "share": "30%"}}, "configured"),
    ],
)
def test_an_alert_about_errors_is_exercised_where_the_page_puts_enough_in(
    tmp_path: Path, alert: Any, faults: Json, state: str
) -> None:
    plan = prove.plan(facts(tmp_path, alerts={"Errors": alert}, services={"front": {"faults": faults}}))
    assert claim(plan, "alert")["state"] == state
    assert claim(plan, "alert")["expect"].get("within") == (300 + 90 + STAGES["clients"] if state == "asked" else None)
    assert [(item["clients"], item["pace"]) for item in asked(plan, "alert")] == (
        [(2, 1.0)] if state == "asked" else []
    )


def test_errors_are_made_where_the_faults_are(tmp_path: Path) -> None:
    services = {"front": {"faults": {"abort": {"status": 503, "share": "30%"}}}, "other": {"versions": {"v1": IMAGE}}}
    routes = {"/": "front", "/sms": "other"}
    plan = prove.plan(facts(tmp_path, alerts={"Errors": "errors > 5%"}, services=services, routes=routes))
    (item,) = asked(plan, "alert")
    assert item["steps"][0]["path"].startswith("/analyze?")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "nothing makes every request meet front v2"),
        ({"services": {"front": PARKED}, "weights": {"v1": 100, "v2": 0}}, "front v2 has no pods (replicas: 0)"),
    ],
)
def test_an_alert_about_a_version_that_no_load_can_aim_at_is_configured(
    tmp_path: Path, values: Json, reason: str
) -> None:
    alert = {"when": "requests > 60/minute", "service": "front", "version": "v2"}
    found = claim(
        prove.plan(facts(tmp_path, alerts={"Much": alert}, sticky={"hash": {"header": "x-user"}}, **values)), "alert"
    )
    assert (found["state"], found["reason"]) == ("configured", reason)
    assert found["reads"] != []


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


@pytest.mark.parametrize(("percent", "state"), [(25, "passed"), (50, "failed"), (0, "failed")])
def test_a_share_of_copies(tmp_path: Path, percent: int, state: str) -> None:
    back = {"versions": {**VERSIONS, "v3": {"image": IMAGE, "shadow": "25%"}}}
    plan = prove.plan(facts(tmp_path, services={"back": back}))
    sent = claim(plan, "shadow")["expect"]["n"]
    assert sum(item["clients"] for item in asked(plan, "shadow")) == sent >= 400
    seen = {claim(plan, "shadow")["reads"][0]: {"before": 5, "after": 5 + sent * percent // 100, "source": "proxy"}}
    assert verdict(plan, "shadow", {"status": 200, "chain": "f=v1,b=v1"}, seen).state == state


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
