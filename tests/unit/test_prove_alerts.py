"""A proof makes the load or the errors that an alert is about, and waits for the alert and its mail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway import prove
from slipway.prove.questions import STAGES

from tests.support.prove_plan import IMAGE, PARKED, Json, asked, claim, facts, verdict


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
