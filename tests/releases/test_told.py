"""Alerts told to Slack, Discord, Teams, PagerDuty and a webhook, each in its protocol, at the sink in the cluster."""

from __future__ import annotations

from pathlib import Path

from tests.support.releases import SINK, Stage

PAGE = str(Path(__file__).parent / "pages/told.yml")
# As an alert's namespace may reach it, whatever the domain of the cluster is.
AT = f"http://mail.{SINK}.svc:8025"
SORTS = {"told_slack": "slack", "told_discord": "discord", "told_teams": "teams", "told_own": "webhook"}
GIVEN = {**{name: f"{AT}/{sort}" for name, sort in SORTS.items()}, "told_pager": "0123456789abcdef0123456789abcdef"}


def test_each_receiver_of_its_severity_is_told_in_its_own_words(empty: Stage) -> None:
    try:
        empty.release(PAGE, prove="always", **GIVEN).expect()
        empty.passed("told")
        (claim,) = (each for each in empty.claims("told") if each["kind"] == "alert")
        assert claim["state"] == "passed"
        for receiver in ("chat (slack)", "team (discord)", "office (teams)", "oncall (pagerduty)", "own (webhook)"):
            assert f"{receiver} told and read" in claim["seen"]
        # It is not critical.
        assert "night" not in claim["seen"]
    finally:
        empty.take_away((PAGE,))
