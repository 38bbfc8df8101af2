"""The claim about dashboards: what is looked up panel by panel, and when that passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway import prove
from slipway.cluster.access import UnansweredError
from slipway.prove.reads import Reads

from tests.support.prove import FakeCluster
from tests.support.prove_plan import claim, facts, verdict

Json = dict[str, Any]
ASK = "/api/v1/namespaces/monitoring/services/prometheus:http-web/proxy/api/v1/query?query="
PANELS = [
    {"title": "Up", "query": "sum(up)"},
    {"title": "Empty", "query": "sum(up)*0"},
]


def planned(folder: Path, **more: Any) -> Json:
    made: Json = prove.plan(facts(folder, dashboards={"a": {"panels": PANELS}}), more)
    return made


def test_each_panel_is_asked_once_all_requests_are_sent_and_every_state_is_told(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    (read,) = (each for each in plan["reads"] if each["what"] == "panels")
    more = {"query": "", "may_be_empty": False, "why": "its data source is loki"}
    read["panels"] += [{"title": "Logs", **more}, {"title": "Bad", "query": "x", "may_be_empty": False, "why": ""}]

    def bad() -> None:
        raise UnansweredError("api-refuses", "invalid parameter query", 400)

    one = {"data": {"result": [{"value": [0, "1"]}]}}
    api = FakeCluster({f"{ASK}sum%28up%29": one, f"{ASK}sum%28up%29%2A0": {"data": {"result": []}}, f"{ASK}x": bad})
    reads = Reads(api, lambda *_: None, plan)
    reads.panels(0)
    states = {each["title"]: each["state"] for each in reads.seen[read["id"]]["panels"]}
    assert states == {"Up": "data", "Empty": "empty", "Logs": "not asked", "Bad": "refused"}


def test_an_empty_dashboard_is_asked_again_until_time_is_up(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    answers = [[], [], [], [{"value": [0, "1"]}]]
    nothing: Json = {"data": {"result": []}}
    api = FakeCluster(
        {f"{ASK}sum%28up%29": lambda: {"data": {"result": answers.pop(0)}}, f"{ASK}sum%28up%29%2A0": nothing}
    )
    clock = [0.0]
    reads = Reads(api, lambda *_: None, plan, now=lambda: clock[0], sleep=lambda s: clock.__setitem__(0, clock[0] + s))
    reads.panels(45)
    assert (clock[0], answers) == (9.0, [])


def panel(title: str, state: str, why: str = "", *, may: bool = False) -> Json:
    return {"title": title, "state": state, "why": why, "may_be_empty": may}


@pytest.mark.parametrize(
    ("panels", "state", "seen"),
    [
        ([panel("A", "data"), panel("B", "empty")], "passed", "1 of 2 queries of its panels have data; empty: B"),
        ([panel("A", "data"), panel("B", "empty", may=True)], "passed", "well and empty: B"),
        ([panel("A", "data"), panel("B", "refused", "parse error")], "failed", "panel 'B': parse error"),
        ([panel("A", "empty"), panel("B", "empty")], "failed", "not one of 2 panels shows anything: A, B"),
        ([panel("A", "empty", may=True)], "passed", "0 of 1 queries"),
        ([panel("A", "not asked", "its data source is loki")], "passed", "not asked: A (its data source is loki)"),
    ],
)
def test_a_dashboard_passes_if_no_query_is_refused_and_something_is_there(
    tmp_path: Path, panels: list[Json], state: str, seen: str
) -> None:
    plan = planned(tmp_path)
    (read,) = claim(plan, "dashboard")["reads"]
    found = verdict(plan, "dashboard", [], {read: {"panels": panels}})
    assert found.state == state
    assert seen in found.seen


def test_without_monitoring_dashboards_are_skipped(tmp_path: Path) -> None:
    plan = planned(tmp_path, monitoring=False)
    assert claim(plan, "dashboard")["state"] == "skipped"
    assert not [each for each in plan["reads"] if each["what"] == "panels"]
