"""A proof asks over TLS as browsers do, and pods without it as callers outside the mesh do."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from slipway import prove

from tests.support.prove_plan import GRAFANA, Json, asked, claim, facts, verdict


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
