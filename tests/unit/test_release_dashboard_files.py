"""Dashboards from files: found, refused, made fit for any Grafana; and what their panels ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slipway.release.dashboard_files import fitted
from slipway.release.panels import filled, questions
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.pasted import pasted
from tests.support.release import names, one, page, problems
from tests.support.release_changes import changed

EXPORTED = Path(__file__).parents[1] / "releases/pages/dashboards/shared.json"
SMALL: dict[str, Any] = {
    "title": "Shop",
    "panels": [{"type": "stat", "title": "Up", "targets": [{"expr": "sum(up)"}]}],
}


def written(folder: Path, name: str, value: Any) -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return name


def planned(folder: Path, dashboards: dict[str, Any], *more: tuple[str, Any]) -> Plan:
    return plan(load(page(folder, changed(("dashboards", dashboards), *more))))


def held(made: Plan, name: str = "shop-dashboards") -> dict[str, Any]:
    return {key: json.loads(text) for key, text in one(made, "ConfigMap", name)["data"].items()}


def test_a_file_several_files_and_a_folder_are_dashboards(tmp_path: Path) -> None:
    first = written(tmp_path, "boards/one.json", SMALL)
    second = written(tmp_path, "boards/two x.json", {**SMALL, "uid": "two"})
    made = planned(tmp_path, {"a": {"file": first}})
    assert set(held(made)) == {"a.json"}
    assert held(made)["a.json"]["uid"] == "shop-a-one"
    several = held(planned(tmp_path, {"b": {"file": [first, second]}, "own": {"shows": ["traffic"]}}))
    assert set(several) == {"b-one.json", "b-two-x.json", "own.json"}
    assert several["b-two-x.json"]["uid"] == "two"
    assert set(held(planned(tmp_path, {"c": {"folder": "boards"}}))) == {"c-one.json", "c-two-x.json"}
    apart = planned(tmp_path, {"a": {"file": first}, "b": {"file": second}}, ("names.dashboards", "d-{dashboard}"))
    assert {"d-a", "d-b"} <= names(apart, "ConfigMap")


def test_an_exported_dashboard_finds_its_data_in_any_grafana(tmp_path: Path) -> None:
    made = held(planned(tmp_path, {"a": {"file": str(EXPORTED)}}))["a.json"]
    assert "__inputs" not in made
    assert made["id"] is None
    variables = {each["name"]: each for each in made["templating"]["list"]}
    assert variables["DS_METRICS"]["type"] == variables["datasource"]["type"] == "datasource"
    assert variables["DS_METRICS"]["query"] == "prometheus"
    row, stat, logs = made["panels"]
    assert row["panels"][0]["datasource"]["uid"] == "${DS_METRICS}"
    assert stat["datasource"]["uid"] == "${datasource}"
    assert logs["datasource"] == {"type": "loki", "uid": "x"}
    constant = {"__inputs": [{"name": "VAR_A", "type": "constant", "value": "x"}], **SMALL}
    assert fitted(constant)["templating"]["list"] == [{"name": "VAR_A", "type": "constant", "query": "x", "hide": 2}]


def test_an_answer_of_grafanas_api_is_taken_for_the_dashboard_in_it(tmp_path: Path) -> None:
    name = written(tmp_path, "a.json", {"meta": {}, "dashboard": SMALL})
    assert held(planned(tmp_path, {"a": {"file": name}}))["a.json"]["title"] == "Shop"


PANEL = SMALL["panels"][0]


@pytest.mark.parametrize(
    ("value", "error_id", "said"),
    [
        ("{", "wrong-dashboard", "is not JSON"),
        ([], "wrong-dashboard", "all of it"),
        ({"panels": []}, "wrong-dashboard", "title"),
        ({"title": "a", "panels": [{"title": "no type"}]}, "wrong-dashboard", "panels.0.type"),
        ({**SMALL, "uid": "a b"}, "wrong-dashboard", "uid"),
        ({**SMALL, "panels": [{**PANEL, "gridPos": {"w": 40}}]}, "wrong-dashboard", "panels.0.gridPos.w"),
        ({**SMALL, "templating": {"list": [{"type": "custom"}]}}, "wrong-dashboard", "templating.list.0.name"),
        ({"kind": "Dashboard", "spec": {}}, "wrong-dashboard", "newer schema"),
        ({**SMALL, "panels": [{**PANEL, "targets": [{"expr": "sum(up"}]}]}, "promql-syntax", "panel 'Up'"),
        ({**SMALL, "panels": [PANEL], "x": "y" * 1_000_000}, "dashboards-too-large", "1 MiB"),
    ],
)
def test_a_file_that_grafana_would_not_show_is_refused_by_name(
    tmp_path: Path, value: Any, error_id: str, said: str
) -> None:
    name = written(tmp_path, "a.json", value)
    (found,) = problems(page(tmp_path, changed(("dashboards", {"a": {"file": name}}))))
    assert (found.id, found.key) == (error_id, "dashboards.a.file")
    assert said in found.what
    assert "a.json" in found.what
    assert found.works


@pytest.mark.parametrize(
    ("dashboard", "error_id", "works"),
    [
        ({"file": "boards/shp.json"}, "file-missing", "file: boards/shop.json"),
        ({"file": ["boards/shop.json", "x.json"]}, "file-missing", "file: boards/shop.json"),
        ({"folder": "board"}, "file-missing", "folder: boards"),
        ({"file": "shop.yml"}, "not-a-path", "file: shop.json"),
        ({"file": "boards/shop.json", "shows": ["traffic"]}, "needs-one-of", "a: {shows: [traffic]}"),
        ({"file": "boards/shop.json", "title": "x"}, "keys-contradict", "a: {shows: [traffic]}"),
        ({"panels": [{"title": "x"}]}, "needs-one-of", "panels: [{title: Cache, query: "),
        ({"panels": [{"title": "x", "text": "a", "type": "stat"}]}, "keys-contradict", "panels: [{title: "),
        ({"panels": [{"title": "x", "query": 'sum(up{job="$job"})'}]}, "unknown-placeholder", "job: [1m, 5m]"),
        ({"shows": ["traffic"], "variables": {"a": {"metric": "up"}}}, "needs-one-of", "label: path}"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_what_can(
    tmp_path: Path, dashboard: dict[str, Any], error_id: str, works: str
) -> None:
    written(tmp_path, "boards/shop.json", SMALL)
    (found,) = problems(page(tmp_path, changed(("dashboards", {"a": dashboard}))))
    assert found.id == error_id
    assert works in found.works
    pasted(tmp_path, changed(("dashboards", {"a": dashboard})), found)


def test_two_dashboards_with_one_uid_are_refused(tmp_path: Path) -> None:
    files = [written(tmp_path, name, {**SMALL, "uid": "same"}) for name in ("one.json", "two.json")]
    (found,) = problems(page(tmp_path, changed(("dashboards", {"a": {"file": files}}))))
    assert (found.id, found.key) == ("duplicate-value", "dashboards.a.file[1]")


KNOWN: dict[str, Any] = {
    "job": {"type": "query", "current": {}},
    "all": {"type": "custom", "query": "a,b", "current": {"value": ["$__all"]}},
    "env": {"type": "constant", "query": "prod"},
    "window": {"type": "custom", "query": "1m : 60s, 5m"},
    "step": {"type": "interval", "query": "1m,5m", "current": {"value": "$__auto_interval_step"}},
}


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ('up{job="$job"}', 'up{job=~".*"}'),
        ('up{job=~"${job:regex}", a!="[[all]]"}', 'up{job=~".*", a!~"no-label-has-this"}'),
        ('up{env="$env", b="c"}', 'up{env="prod", b="c"}'),
        ("rate(a[$__rate_interval]) * $__range_s", "rate(a[2m]) * 1800"),
        ("rate(a[$step]) + rate(a[$window])", "rate(a[1m]) + rate(a[60s])"),
    ],
)
def test_variables_are_filled_in_as_for_somebody_who_opens_the_dashboard(text: str, query: str) -> None:
    assert filled(text, KNOWN) == (query, "")


def test_what_cannot_be_asked_says_why() -> None:
    asked = list(questions(json.loads(EXPORTED.read_text(encoding="utf-8"))))
    assert [(each.title, each.query) for each in asked] == [
        ("Targets", 'sum(up{job=~".*"})'),
        ("Rate of requests", "sum(rate(app_requests_total[2m]))"),
        ("Logs", ""),
    ]
    assert asked[2].why == "its data source is loki"
    old = {
        "templating": {"list": [{"name": "DS", "type": "datasource", "query": "influxdb"}]},
        "rows": [{"panels": [{"title": "a", "datasource": "$DS", "targets": [{"expr": "up"}]}]}],
        "panels": [
            {"title": "b", "targets": [{"expr": "topk($n, up)"}, {"expr": "up", "hide": True}]},
            {"title": "c", "description": "Empty while nobody asks.", "targets": [{"expr": "up"}]},
        ],
    }
    b, c, a = questions(old)
    assert b.why == "the variable $n has no value"
    assert c.may_be_empty
    assert a.why == "its data source is influxdb"


def test_panels_of_a_page_have_the_sort_the_colours_and_the_choices_that_it_says(tmp_path: Path) -> None:
    panels = [
        {"title": "t", "text": "**a**"},
        {"title": "s", "type": "stat", "query": 'sum(up{job=~"$job"})', "thresholds": {"red": 5, "yellow": 1}},
        {"title": "b", "type": "bar", "query": "sum(up)"},
        {"title": "h", "type": "heatmap", "query": "sum by (le) (rate(istio_x_bucket[$w]))"},
        {"title": "l", "query": "sum(up)", "thresholds": {"red": 5}},
    ]
    variables = {"w": ["1m", "5m"], "job": {"metric": "up", "label": "job"}}
    made = held(planned(tmp_path, {"a": {"panels": panels, "variables": variables}}))["a.json"]
    text, stat, bar, heat, lines = made["panels"]
    assert (text["type"], text["options"]["content"]) == ("text", "**a**")
    assert "targets" not in text
    steps = stat["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [(step["color"], step["value"]) for step in steps] == [("green", None), ("yellow", 1), ("red", 5)]
    assert (stat["type"], stat["targets"][0]["instant"]) == ("stat", True)
    assert bar["type"] == "bargauge"
    assert heat["targets"][0]["format"] == "heatmap"
    assert lines["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"] == {"mode": "line"}
    chosen = {each["name"]: each for each in made["templating"]["list"]}
    assert chosen["w"]["query"] == "1m,5m"
    assert chosen["job"]["definition"] == "label_values(up, job)"
    assert [each.query for each in questions(made)][:2] == ['sum(up{job=~".*"})', "sum(up)"]
