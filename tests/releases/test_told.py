"""Alerts told to Slack, Discord, Teams, PagerDuty and a webhook, each in its protocol, at the sink in the cluster."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.support.releases import SINK, Stage

PAGE = str(Path(__file__).parent / "pages/told.yml")
# As an alert's namespace may reach it, whatever the domain of the cluster is.
AT = f"http://mail.{SINK}.svc:8025"
SORTS = {
    "told_slack": "slack",
    "told_discord": "discord",
    "told_teams": "teams",
    "told_own": "webhook",
    "told_night": "webhook/night",
}
GIVEN = {**{name: f"{AT}/{sort}" for name, sort in SORTS.items()}, "told_pager": "0123456789abcdef0123456789abcdef"}


def test_each_receiver_of_its_severity_is_told_in_its_own_words(empty: Stage) -> None:
    try:
        empty.release(PAGE, prove="always", **GIVEN).expect()
        empty.passed("told")
        (claim,) = (each for each in empty.claims("told") if each["kind"] == "alert")
        assert claim["state"] == "passed"
        for receiver in ("chat (slack)", "team (discord)", "office (teams)", "oncall (pagerduty)", "own (webhook)"):
            assert f"{receiver} told and read" in claim["seen"]
        got = json.loads(empty.kube.text("get", "--raw", f"/api/v1/namespaces/{SINK}/services/mail:http/proxy/"))[
            "hooks"
        ]
        firing = [hook for hook in got if "Much" in hook["text"]]
        assert {hook["path"] for hook in firing} == {"/slack", "/discord", "/teams", "/pagerduty", "/webhook"}
        # Its own words arrive, and it is not critical: nobody is told at night.
        own = [json.loads(hook["text"]) for hook in firing if hook["path"] == "/webhook"]
        (alert,) = own[0]["alerts"]
        assert alert["labels"].items() >= {"alertname": "Much", "team": "told", "severity": "warning"}.items()
        assert alert["annotations"]["summary"] == "Told is asked too often"
        assert re.fullmatch(r"[0-9.]+m? requests a second of people who are told", alert["annotations"]["description"])
    finally:
        empty.take_away((PAGE,))
