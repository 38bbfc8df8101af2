"""Dashboards of files and of each sort, as Prometheus answers them panel by panel."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.releases import Stage

PAGE = str(Path(__file__).parent / "pages/pictures.yml")


def test_each_panel_of_a_dashboard_is_asked_and_reported(empty: Stage) -> None:
    try:
        empty.release(PAGE, prove="always").expect()
        empty.passed("pictures")
        pictures = json.loads(empty.report("pictures").read_text())["pictures"]["panels"]
        states = {each["title"]: each["state"] for each in pictures}
        assert states["Targets"] == states["Rate of requests"] == states["A line"] == states["A number"] == "data"
        assert states["Logs"] == "not asked"
        assert "Read me" not in states
        held = empty.kube("get", "configmap", "pictures-dashboards", "--namespace=pictures")
        exported = json.loads(held["data"]["exported.json"])
        assert {each["name"] for each in exported["templating"]["list"]} == {"datasource", "DS_METRICS", "job"}
        assert empty.release(PAGE, prove="never").expect().total("changed") == 0
    finally:
        empty.take_away((PAGE,))
