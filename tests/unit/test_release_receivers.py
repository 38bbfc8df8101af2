"""Who is told about alerts beside mail: what Alertmanager gets, what is refused, and what a proof expects of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway import prove
from slipway.prove import receivers
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.pasted import pasted
from tests.support.prove_plan import claim, facts, verdict
from tests.support.release import Object, one, page, problems
from tests.support.release_changes import changed

KEY = {"secret": "hooks", "key": "K"}
SECRETS: Object = {"hooks": {"keys": {"K": {"environment": "HOOK"}}}}
ALERTS: Object = {
    "Slow": {"when": "p95 > 1s", "severity": "critical"},
    "Much": {"when": "requests > 30/minute", "for": "1m"},
}
SELECTED = {"name": "hooks", "key": "K"}


def values(**receivers: Any) -> Object:
    return changed(("receivers", receivers), ("secrets", SECRETS), ("alerts", ALERTS))


def planned(folder: Path, **receivers: Any) -> Plan:
    return plan(load(page(folder, values(**receivers))))


def config(made: Plan) -> Object:
    found: Object = one(made, "AlertmanagerConfig", "shop")["spec"]
    return found


@pytest.mark.parametrize(
    ("receiver", "where", "wanted"),
    [
        ({"slack": KEY, "channel": "#shop"}, "slackConfigs", {"apiURL": SELECTED, "channel": "#shop"}),
        ({"discord": KEY}, "discordConfigs", {"apiURL": SELECTED}),
        ({"teams": KEY, "resolved": False}, "msteamsv2Configs", {"webhookURL": SELECTED, "sendResolved": False}),
        ({"pagerduty": KEY, "url": "https://events.eu.pagerduty.com/v2/enqueue"}, "pagerdutyConfigs",
         {"routingKey": SELECTED, "url": "https://events.eu.pagerduty.com/v2/enqueue",
          "severity": "{{ .CommonLabels.severity }}"}),
        ({"webhook": KEY}, "webhookConfigs", {"urlSecret": SELECTED}),
        ({"url": "http://bot.chat.svc:8080/x"}, "webhookConfigs", {"url": "http://bot.chat.svc:8080/x"}),
    ],
)  # fmt: skip
def test_each_sort_is_what_alertmanager_calls_it(tmp_path: Path, receiver: Object, where: str, wanted: Object) -> None:
    found = next(each for each in config(planned(tmp_path, one=receiver))["receivers"] if each["name"] == "one")
    assert found == {"name": "one", where: [{"sendResolved": True, **wanted}]}


def test_alerts_go_to_all_that_want_their_severity(tmp_path: Path) -> None:
    chosen = values(chat={"slack": KEY}, mail={"discord": KEY, "severities": ["critical", "warning"], "repeat": "1h"})
    chosen["mail"] = {"to": "a@b.c", "server": "m.b.c:25", "severities": ["critical"]}
    made = plan(load(page(tmp_path, chosen)))
    route = config(made)["route"]
    assert route["receiver"] == "nobody"
    assert route["routes"] == [
        {"receiver": "mail", "continue": True, "repeatInterval": "4h",
         "matchers": [{"name": "severity", "value": "critical", "matchType": "=~"}]},
        {"receiver": "chat", "continue": True, "repeatInterval": "4h"},
        {"receiver": "to-mail", "continue": True, "repeatInterval": "1h",
         "matchers": [{"name": "severity", "value": "critical|warning", "matchType": "=~"}]},
    ]  # fmt: skip
    assert [each["name"] for each in config(made)["receivers"]] == ["nobody", "chat", "to-mail", "mail"]
    told = {alert["name"]: (alert["mailed"], [each["name"] for each in alert["receivers"]])
            for alert in made.facts["alerts"]}  # fmt: skip
    assert told == {"Slow": (True, ["chat", "mail"]), "Much": (False, ["chat", "mail"])}


def test_mail_alone_is_as_it_was(tmp_path: Path) -> None:
    made = plan(load(page(tmp_path, changed(("alerts", ALERTS), ("mail", {"to": "a@b.c", "server": "m.b.c:25"})))))
    assert config(made)["route"]["receiver"] == "mail"
    assert config(made)["route"]["repeatInterval"] == "4h"
    assert "routes" not in config(made)["route"]


@pytest.mark.parametrize(
    ("receiver", "error_id"),
    [
        ({}, "needs-one-of"),
        ({"slack": KEY, "teams": KEY}, "needs-one-of"),
        ({"slack": KEY, "url": "https://a.b/c"}, "keys-contradict"),
        ({"teams": KEY, "channel": "#a"}, "keys-contradict"),
        ({"slack": KEY, "channel": "shop"}, "wrong-form"),
        ({"url": "ftp://a.b"}, "not-a-url"),
        ({"url": "https://hooks.slack.com/services/T/B/x"}, "secret-on-page"),
        ({"slack": {"secret": "hoks", "key": "K"}}, "unknown-secret"),
        ({"slack": {"secret": "hooks", "key": "S"}}, "unknown-secret"),
        ({"slack": KEY, "severities": ["bad"]}, "not-one-of"),
    ],
)
def test_a_receiver_that_cannot_be_told_is_refused(tmp_path: Path, receiver: Object, error_id: str) -> None:
    found = problems(page(tmp_path, values(one=receiver)))
    assert error_id in [problem.id for problem in found]
    for problem in found:
        pasted(tmp_path, values(one=receiver), problem)


def test_a_receiver_that_no_alert_is_for_is_warned_of(tmp_path: Path) -> None:
    made = planned(tmp_path, one={"slack": KEY, "severities": ["info"]})
    assert "nothing-to-tell" in "\n".join(made.warnings)


METRICS = """
alertmanager_notification_requests_total{integration="slack",receiver_name="x"} 3
alertmanager_notification_requests_failed_total{integration="slack",receiver_name="x"} 1
alertmanager_notification_requests_total{integration="email"} 2
"""
CHAT = {"name": "chat", "kind": "slack", "integration": "slack"}


def test_how_far_it_got_is_told_by_counts_and_by_what_a_sink_has() -> None:
    before = receivers.counted([METRICS])
    assert before == {"slack": (3.0, 1.0), "email": (2.0, 0.0)}
    later = receivers.counted([METRICS, METRICS])
    assert receivers.since(later, before, "slack") == (3.0, 1.0)
    assert receivers.since(later, before, "discord") == (0.0, 0.0)
    assert receivers.state(CHAT, "Much", (0, 0), []) == {"state": "none", "error": ""}
    assert receivers.state(CHAT, "Much", (2, 2), [])["error"].startswith("2 of 2 tries failed")
    assert receivers.state(CHAT, "Much", (2, 1), [])["state"] == "handed over"
    hooks = [{"kind": "discord", "text": "Much"}, {"kind": "slack", "text": "x Much y"}]
    assert receivers.state(CHAT, "Much", (0, 0), hooks[1:])["state"] == "read"
    assert receivers.state(CHAT, "Much", (0, 0), hooks[:1])["state"] == "none"


@pytest.mark.parametrize(
    ("told", "state", "seen"),
    [
        ({"chat": {"state": "read"}}, "passed", "chat (slack) told and read"),
        ({"chat": {"state": "handed over"}}, "passed", "chat (slack) told"),
        ({"chat": {"state": "none", "error": "2 of 2 tries failed"}}, "failed", "was not told: 2 of 2"),
        ({}, "failed", "was not told"),
    ],
)
def test_an_alert_passes_if_all_are_told(tmp_path: Path, told: Object, state: str, seen: str) -> None:
    made = facts(tmp_path, alerts={"Much": ALERTS["Much"]}, receivers={"chat": {"slack": KEY}}, secrets=SECRETS)
    asked = prove.plan(made)
    read = {"before": "inactive", "fired_after": 80, "mail": "none", "receivers": told}
    found = verdict(asked, "alert", {"status": 200}, {claim(asked, "alert")["reads"][0]: read})
    assert (found.state, seen in found.seen) == (state, True), found
