"""What a plan shows of an object: lines of a length that people read."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from ansible.template import trust_as_template
from slipway.difference import written
from slipway.release.planner import plan
from slipway.release.spec import load

from tests.support.release import page

IMAGE = "example.org/app:1.0"


def test_a_dashboard_has_a_line_for_each_of_its_values() -> None:
    board = {"title": "Orders", "panels": [{"title": f"Panel {n}", "expr": "sum(rate(x[1m]))"} for n in range(9)]}
    item = {"kind": "ConfigMap", "data": {"orders.json": json.dumps(board)}}
    text = written(item)
    assert max(map(len, text.splitlines())) < 60
    assert json.loads(yaml.safe_load(text)["data"]["orders.json"]) == board
    changed = json.dumps({**board, "title": "Sales"})
    other = written({**item, "data": {"orders.json": changed}})
    assert sum(a != b for a, b in zip(text.splitlines(), other.splitlines(), strict=True)) == 1


def test_other_texts_are_as_they_are() -> None:
    item = {"a": "one\ntwo \n", "b": '{"short": 1}', "c": "{" + "x" * 200 + "}", "d": [1, None, True], "e": "ü"}
    text = written(item)
    assert "a: |\n  one\n  two\n" in text
    assert yaml.safe_load(text) == {**item, "a": "one\ntwo\n"}
    assert written(None) == ""


def test_ansibles_own_texts_are_written_too() -> None:
    assert written({"a": trust_as_template("b")}) == "a: b\n"


def test_no_line_of_a_plan_is_endless(tmp_path: Path) -> None:
    values = {"name": "shop", "hosts": ["a.b"], "services": {"web": {"versions": {"v1": IMAGE}}}}
    made = plan(load(page(tmp_path, {**values, "alerts": {"E": "errors > 5%"}, "limits": {"total": "9/second"}})))
    boards = [item for item in made.objects if item["kind"] == "ConfigMap"]
    assert boards
    assert max(len(line) for item in boards for line in written(item).splitlines()) < 600
