"""Alerts: what the short form means in PromQL, and what an alert says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.release import promql
from slipway.release.alerts import MEASURES, condition, example
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.release import at, one, page

IMAGE = "example.org/app:1.0"
AT_HOSTS = 'namespace="shop",service="front",source="istio-ingressgateway"'


def made(folder: Path, alert: Any, **values: Any) -> Plan:
    versions = {"v1": IMAGE, "v2": IMAGE}
    services = {
        "front": {"calls": ["model"], "versions": versions},
        "model": {"versions": {**versions, "v3": {"image": IMAGE, "shadow": 100}}, "names": {"service": "model-svc"}},
    }
    base = {"name": "shop", "hosts": ["shop.local"], "weights": {"v1": 50, "v2": 50}, "services": services}
    return plan(load(page(folder, {**base, "alerts": {"X": alert}, **values})))


def rule(release: Plan) -> dict[str, Any]:
    (found,) = at(one(release, "PrometheusRule", "shop"), "spec/groups/*/rules/*")
    return dict(found)


RATE = "slipway:requests:rate1m"
BUCKETS = 'slipway:latency_ms_bucket:rate5m{namespace="shop",service="front"}'
MODEL = 'namespace="shop",service="model-svc"'
EXPRESSIONS: list[tuple[Any, str]] = [
    ("errors > 5%", f'sum({RATE}{{{AT_HOSTS},code=~"5.."}}) / sum({RATE}{{{AT_HOSTS}}}) > 0.05'),
    ("5xx>=0.1%", f'sum({RATE}{{{AT_HOSTS},code=~"5.."}}) / sum({RATE}{{{AT_HOSTS}}}) >= 0.001'),
    ("refused > 50%", f'sum({RATE}{{{AT_HOSTS},code=~"4.."}}) / sum({RATE}{{{AT_HOSTS}}}) > 0.5'),
    ("requests > 15/minute", f"sum({RATE}{{{AT_HOSTS}}}) * 60 > 15"),
    ("requests > 3 per second", f"sum({RATE}{{{AT_HOSTS}}}) > 3"),
    ("requests < 1/hour", f"(sum({RATE}{{{AT_HOSTS}}}) or vector(0)) * 3600 < 1"),
    ("limited > 10/minute", 'sum(slipway:limited:rate1m{limiter="slipway_shop_shop"}) * 60 > 10'),
    (
        "p95 > 500ms",
        f"histogram_quantile(0.95, sum by (le) ({BUCKETS})) > 500",
    ),
    ({"when": "requests > 1/s", "service": "model"}, f'sum({RATE}{{{MODEL},version!~"v3"}}) > 1'),
    ({"when": "requests > 1/s", "service": "model", "version": "v3"}, f'sum({RATE}{{{MODEL},version="v3"}}) > 1'),
    ({"promql": "up == 0"}, "up == 0"),
]


@pytest.mark.parametrize(("alert", "expr"), EXPRESSIONS)
def test_the_short_form_is_this_in_promql(tmp_path: Path, alert: Any, expr: str) -> None:
    found = rule(made(tmp_path, alert))["expr"]
    assert found == expr
    assert promql.metrics(found)


def test_versions_are_known_by_subset_and_by_label(tmp_path: Path) -> None:
    alert = {"when": "requests > 1/s", "service": "front", "version": "v2"}
    release = made(tmp_path, alert, version_labels={"v2": "canary", "v3": "next"})
    assert 'version=~"v2|canary"' in rule(release)["expr"]
    alert = {"when": "requests > 1/s", "service": "model"}
    assert 'version!~"v3|next"' in rule(made(tmp_path, alert, version_labels={"v2": "canary", "v3": "next"}))["expr"]


def test_the_one_version_of_a_service_is_the_service(tmp_path: Path) -> None:
    alert = {"when": "errors > 5%", "service": "front", "version": "v1"}
    services = {"front": {"versions": {"v1": IMAGE}}}
    expr = rule(made(tmp_path, alert, services=services, weights={}))["expr"]
    assert 'service="front"' in expr
    assert "version" not in expr


def test_an_alert_says_whose_it_is_and_what_is_wrong(tmp_path: Path) -> None:
    alert = {"when": "errors > 5%", "for": "90s", "severity": "critical", "service": "model", "version": "v2"}
    found = rule(made(tmp_path, alert))
    assert found["for"] == "90s"
    assert found["labels"] == {
        "severity": "critical",
        "release": "shop",
        "namespace": "shop",
        "service": "model",
        "version": "v2",
    }
    assert found["annotations"] == {
        "summary": "shop: errors > 5%",
        "description": "errors > 5%, for 90s, at model v2. It is {{ $value | humanize }} now.",
    }
    told = rule(made(tmp_path, {"promql": "up == 0", "summary": "Down"}))["annotations"]
    assert told["summary"] == "Down"
    assert told["description"].startswith("up == 0, for 5m, at the hosts of the release.")
    assert rule(made(tmp_path, {"promql": "up == 0"}))["annotations"]["summary"] == "shop: X"


def test_all_entries_are_counted_together(tmp_path: Path) -> None:
    release = made(tmp_path, "requests > 1/s", routes={"/": "front", "/m": "model"})
    expr = rule(release)["expr"]
    assert 'service=~"model-svc|front",source="istio-ingressgateway",version!~"v3"' in expr


def test_every_measure_has_an_example_that_works() -> None:
    for what, (text, about) in MEASURES.items():
        assert condition(text).what == what
        assert condition(example(f"{what} is too much")).what == what
        assert about
    assert example("") == example("???") == "errors > 5%"


def test_facts_tell_what_to_expect(tmp_path: Path) -> None:
    mail = {"to": "a@b.c", "server": "mail.b.c:25"}
    facts = made(tmp_path, {"when": "requests > 15/minute", "for": "2m"}, mail=mail).facts
    (alert,) = facts["alerts"]
    assert (alert["name"], alert["for"], alert["when"]) == ("X", 120, "requests > 15/minute")
    assert facts["mail"] == {"to": ["a@b.c"], "server": "mail.b.c:25"}
    (claim,) = [claim for claim in facts["claims"] if claim["kind"] == "alert"]
    assert claim["mail"] == facts["mail"]
