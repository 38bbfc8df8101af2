"""The rules that role monitoring ships: their names, what every alert carries, and how promtool's words are told.

What promtool itself says of them: tests/rules.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.parts.rules import explained
from slipway.release import series

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "roles/monitoring/files/rules").glob("*.yml"))
TESTS = sorted((ROOT / "tests/rules").glob("*.yml"))


def rules(path: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


RECORDED = [rule for path in RULES for rule in rules(path) if "record" in rule]
ALERTS = [rule for path in RULES for rule in rules(path) if "alert" in rule]

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: str(rule["alert"]))


def test_recorded_series_are_those_that_alerts_and_dashboards_know() -> None:
    assert [rule["record"] for rule in RECORDED] == [known.name for known in series.ALL]


@pytest.mark.parametrize("known", series.ALL, ids=lambda known: str(known.name))
def test_a_recorded_series_has_the_labels_that_are_told_of_it(known: series.Series) -> None:
    (rule,) = (rule for rule in RECORDED if rule["record"] == known.name)
    sums = {tuple(re.split(r",\s*", labels)) for labels in re.findall(r"sum by \(([^)]*)\)", rule["expr"])}
    if sums:
        assert sums == {known.labels}
    else:
        assert "le" not in known.labels
        assert "slipway:latency_ms_bucket:rate5m" in rule["expr"]


def test_only_our_own_scrape_of_the_proxies_is_read() -> None:
    for rule in RECORDED:
        for selector in re.findall(r"\b(?:istio|envoy)_\w+(\{[^}]*\})?", rule["expr"]):
            assert 'job="monitoring/mesh"' in selector, rule["record"]


@each_alert
def test_an_alert_says_how_bad_it_is_where_it_belongs_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning", "none"}
    # Mail may be routed by namespace: it is set, or comes out of the expression.
    assert "namespace" in alert["labels"] or alert["alert"] in {"TargetDown", "PodCrashLooping"}
    assert alert["annotations"]["summary"]
    if alert["labels"]["severity"] != "none":
        assert alert["annotations"]["description"]


@each_alert
def test_an_alert_is_tested_for_firing_and_for_silence(alert: dict[str, Any]) -> None:
    text = "\n".join(path.read_text() for path in TESTS)
    assert f'alertname="{alert["alert"]}"' in text


def test_names_of_alerts_are_told_once() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names)


SAID = """Checking /tmp/r/mine.yml
  FAILED:
/tmp/r/mine.yml: 8:14: group "disks", rule 1, "Full": could not parse expression: 1:31: parse error: unexpected end
"""


def test_what_promtool_says_is_told_without_places_on_the_machine() -> None:
    assert explained(SAID, "/tmp/r", "mine") == [  # noqa: S108 - a text
        'group "disks", rule 1, "Full": could not parse expression: 1:31: parse error: unexpected end'
    ]
