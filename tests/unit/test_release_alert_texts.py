"""What a page says of an alert in its own words: description, labels, and that it fires at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.pasted import pasted
from tests.support.release import one, page, problems
from tests.support.release_changes import changed

MAIL = {"to": "a@b.c", "server": "mail.b.c:25"}


def planned(folder: Path, **alert: Any) -> Plan:
    values = changed(("alerts", {"X": {"when": "errors > 5%", **alert}}), ("alertmanager", "own"), ("mail", MAIL))
    return plan(load(page(folder, values)))


def rule(made: Plan) -> dict[str, Any]:
    (found,) = one(made, "PrometheusRule", "shop")["spec"]["groups"][0]["rules"]
    return dict(found)


def test_an_alert_has_its_own_description_and_labels_beside_those_that_mail_goes_by(tmp_path: Path) -> None:
    text = "{{ $value | humanizePercentage }} at {{$labels.instance}}"
    found = rule(planned(tmp_path, summary="Users see errors", description=text, labels={"team": "shop", "tier": 1}))
    assert found["annotations"] == {"summary": "Users see errors", "description": text}
    assert found["labels"] == {
        "team": "shop",
        "tier": "1",
        "severity": "warning",
        "release": "shop",
        "namespace": "shop",
        "alertmanager": "own",
    }


@pytest.mark.parametrize("text", ["0s", "0m"])
def test_an_alert_may_fire_at_once(tmp_path: Path, text: str) -> None:
    made = planned(tmp_path, **{"for": text})
    assert rule(made)["for"] == "0s"
    assert rule(made)["annotations"]["description"].startswith("errors > 5%, at the hosts")
    assert made.facts["alerts"][0]["for"] == 0


# What is wrong of an alert, the key, the id, and part of what would work.
WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    ({"for": "0"}, "for", "not-a-duration", "for: 0s"),
    ({"description": "{{ .Value }} x"}, "description", "alert-template", "{{ $value }} x"),
    ({"description": "{{ $value"}, "description", "alert-template", "{{ $value }}"),
    ({"description": "a }} b"}, "description", "alert-template", "{{ $value }}"),
    ({"description": "{{ $value | title }}"}, "description", "alert-template", "{{ $value }}"),
    ({"labels": {"severity": "x"}}, "labels.severity", "wrong-name", "team"),
    ({"labels": {"my-team": "x"}}, "labels.my-team", "wrong-name", "my_team"),
    ({"labels": {"team": 1.5}}, "labels.team", "needs-quotes", 'team: "1.5"'),
]


@pytest.mark.parametrize(("alert", "key", "error_id", "works"), WRONG)
def test_what_prometheus_would_not_take_is_refused(
    tmp_path: Path, alert: dict[str, Any], key: str, error_id: str, works: str
) -> None:
    found = problems(page(tmp_path, changed(("alerts", {"X": {"when": "errors > 5%", **alert}}))))
    (problem,) = (each for each in found if each.key == f"alerts.X.{key}")
    assert problem.id == error_id
    assert works in problem.works
    pasted(tmp_path, changed(("alerts", {"X": {"when": "errors > 5%", **alert}})), problem)
