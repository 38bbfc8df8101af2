"""Dashboards for Grafana: what they are made of, what they ask for, and what is none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from slipway.parts import dashboards
from slipway.release import promql, series
from slipway.release.environment import Environment
from slipway.release.planner import plan
from slipway.release.spec import load

from tests.support.dashboards import SCHEMA, faults
from tests.support.errors import refused

ROOT = Path(__file__).parents[2]
RELEASES = sorted((ROOT / "releases").glob("*.yml"))
KEPT = yaml.safe_load((ROOT / "roles/monitoring/vars/main.yml").read_text())["__monitoring_keep"]
# What other exporters show: node-exporter, the file of the controllers, and Prometheus itself.
OTHERS = (
    r"node_(cpu_seconds_total|memory_Mem(Available|Total)_bytes|filesystem_(avail|size)_bytes|network_(receive|transmit)_bytes_total)",
    r"etcd_(disk_wal_fsync_duration_seconds_bucket|mvcc_db_total_size_in_bytes)",
    r"control_plane_certificate_expiry_timestamp_seconds",
    r"up|ALERTS",
)


def of_releases() -> dict[str, dict[str, Any]]:
    """Dashboards of the example releases, by release and key."""
    return {
        f"{path.stem}/{key}": json.loads(text)
        for path in RELEASES
        for item in plan(load(path), Environment()).objects
        if item["kind"] == "ConfigMap" and item["metadata"]["labels"].get(dashboards.LABEL) == "1"
        for key, text in item["data"].items()
    }


SHIPPED = {name: json.loads(text) for name, text in dashboards.shipped(mesh=True).items()}
ALL = {**SHIPPED, **of_releases()}

each = pytest.mark.parametrize("name", ALL)


def test_a_cluster_without_a_mesh_has_no_dashboard_of_it() -> None:
    assert list(dashboards.shipped(mesh=False)) == ["cluster"]
    assert list(SHIPPED) == ["cluster", "mesh"]
    assert len(ALL) > len(SHIPPED)


@each
def test_a_dashboard_is_what_grafana_reads(name: str) -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    errors = [
        f"{list(error.path)}: {error.message}" for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(ALL[name])
    ]
    assert errors == []
    assert dashboards.fault(f"{name}.json", json.dumps(ALL[name])) == ""


@each
def test_panels_have_names_and_places_of_their_own(name: str) -> None:
    panels = ALL[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    taken = set[tuple[int, int]]()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_no_two_dashboards_share_an_address() -> None:
    assert len({board["uid"] for board in ALL.values()}) == len(ALL)


@each
def test_every_query_is_promql_once_its_variables_are_put_in(name: str) -> None:
    asked = list(dashboards.questions(ALL[name]))
    assert asked
    for title, query, _ in asked:
        assert "$" not in query, title
        assert promql.metrics(query), title


@pytest.mark.parametrize("name", SHIPPED)
def test_a_query_asks_for_what_is_kept(name: str) -> None:
    kept = re.compile("|".join(f"(?:{expression})" for expression in (*KEPT.values(), *OTHERS)))
    recorded = {known.name for known in series.ALL}
    for title, query, _ in dashboards.questions(SHIPPED[name]):
        assert {one for one in promql.metrics(query) if one not in recorded and not kept.fullmatch(one)} == set(), title


@pytest.mark.parametrize("name", SHIPPED)
def test_a_legend_names_labels_that_the_query_leaves(name: str) -> None:
    for panel in SHIPPED[name]["panels"]:
        (target,) = panel["targets"]
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        groups = [set(re.split(r",\s*", found)) for found in re.findall(r"by \(([^)]*)\)", target["expr"])]
        assert named <= (set.intersection(*groups) if groups else named), panel["title"]


def test_variables_are_put_in_and_what_is_none_stays() -> None:
    board = {
        "panels": [{"title": "a", "targets": [{"expr": 'x{v=~"($version)?"}[$__rate_interval] ${version:regex} $1'}]}]
    }
    assert list(dashboards.questions(board)) == [("a", 'x{v=~"(.*)?"}[2m] .* $1', False)]


GOOD = json.dumps({"title": "Disks", "panels": []})


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("a.json", GOOD, ""),
        ("a.yaml", GOOD, "does not end in .json"),
        ("json", GOOD, "does not end in .json"),
        ("a.json", "title: Disks", "is not JSON: Expecting value: line 1"),
        ("a.json", "[]", "holds a list"),
        ("a.json", json.dumps({"dashboard": json.loads(GOOD), "meta": {}}), "stands under its key dashboard"),
        ("a.json", json.dumps({"panels": []}), "has no title"),
        ("a.json", json.dumps({"title": "Disks"}), "has no list of panels"),
    ],
)
def test_what_grafana_would_not_show_is_told(key: str, text: str, says: str) -> None:
    assert (says in dashboards.fault(key, text)) if says else dashboards.fault(key, text) == ""


def test_files_are_read_and_each_that_is_none_is_named(tmp_path: Path) -> None:
    good, bad = tmp_path / "disks.json", tmp_path / "nets.json"
    good.write_text(GOOD)
    bad.write_text("{")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/disks.json").write_text(GOOD)
    assert dashboards.read([str(good)]) == {"disks.json": GOOD}
    with refused("wrong-dashboard") as caught:
        dashboards.read([str(good), str(bad), str(tmp_path / "gone.json"), str(tmp_path / "more/disks.json")])
    lines = caught.value.message.splitlines()
    assert lines[0].startswith(f"{bad}: is not JSON")
    assert lines[1].endswith("gone.json: No such file or directory")
    assert lines[2].endswith("more/disks.json: has the name of another one")
    assert lines[-1].startswith("works: ")


class Answers:
    """A Prometheus that knows two queries."""

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        if "refused" in expression:
            raise AssertionError("bad_data")
        return [] if "nothing" in expression else [({}, 1.0)]


def test_a_panel_that_is_refused_or_empty_is_told() -> None:
    def board(query: str, description: str = "") -> dict[str, Any]:
        return {"b": {"panels": [{"title": "p", "description": description, "targets": [{"expr": query}]}]}}

    prometheus: Any = Answers()
    assert faults(prometheus, board("up")) == []
    assert faults(prometheus, board("nothing")) == ["b: p: nothing to show for nothing"]
    assert faults(prometheus, board("nothing", "Empty while all is well.")) == []
    assert faults(prometheus, board("nothing"), well=["p"]) == []
    (told,) = faults(prometheus, board("refused", "Empty while all is well."))
    assert "Prometheus refuses" in told
