"""Dashboards of files and of each sort, as Prometheus answers them panel by panel."""

from __future__ import annotations

import json
import time
from pathlib import Path

import yaml

from tests.support.mesh import gateway_address
from tests.support.releases import Stage
from tests.support.traffic import asked

PAGE = str(Path(__file__).parent / "pages/pictures.yml")


def test_each_panel_of_a_dashboard_is_asked_and_reported(empty: Stage, tmp_path: Path) -> None:
    try:
        empty.release(PAGE, prove="never").expect()
        # A rate needs requests between two readings of Prometheus.
        address = gateway_address(empty.kube)
        for _ in range(20):
            asked(address, "pictures.local", "/")
            time.sleep(2)
        empty.prove(PAGE).expect()
        empty.passed("pictures")
        pictures = json.loads(empty.report("pictures").read_text())["pictures"]["panels"]
        states = {each["title"]: each["state"] for each in pictures}
        drawn = ("Targets", "Rate of requests", "A line", "A number", "A gauge", "Bars", "A pie", "Heat")
        wanted = {**dict.fromkeys(drawn, "data"), "Logs": "not asked", "Nothing yet": "empty"}
        assert {title: state for title, state in states.items() if title in wanted} == wanted
        assert "Read me" not in states
        held = empty.kube("get", "configmap", "pictures-dashboards", "--namespace=pictures")
        exported = json.loads(held["data"]["exported.json"])
        assert {each["name"] for each in exported["templating"]["list"]} == {"datasource", "DS_METRICS", "job"}
        assert empty.release(PAGE, prove="never").expect().total("changed") == 0
        # Only Prometheus itself can tell that more than one series fits.
        page = yaml.safe_load(Path(PAGE).read_text())
        page["dashboards"] = {"sorts": {"panels": [{"title": "Too many", "query": "sum(up) / on () up"}]}}
        (tmp_path / "pictures.yml").write_text(yaml.safe_dump(page))
        refused = empty.release(str(tmp_path / "pictures.yml"), prove="always")
        assert refused.status != 0
        assert "Prometheus refuses the query of panel 'Too many'" in refused.output
    finally:
        empty.take_away((PAGE,))
