"""Prometheus' own promtool reads every rule and every query of a dashboard, and passes our tests of the rules."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.parts import dashboards
from slipway.parts.rules import faults
from slipway.release.environment import Environment
from slipway.release.planner import plan
from slipway.release.spec import load

from tests.support.promtool import have

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "roles/monitoring/files/rules").glob("*.yml"))
TESTS = sorted(Path(__file__).parent.glob("*.yml"))
RELEASES = sorted((ROOT / "releases").glob("*.yml"))


@pytest.fixture(scope="session")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return have(tmp_path_factory.mktemp("promtool"))


def test_there_are_rules_tests_of_them_and_releases() -> None:
    assert RULES
    assert TESTS
    assert RELEASES


def test_promtool_reads_every_rule(promtool: Path) -> None:
    assert faults(promtool, {path.stem: yaml.safe_load(path.read_text())["groups"] for path in RULES}) == []


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.stem))
def test_promtool_passes_our_tests_of_the_rules(promtool: Path, path: Path) -> None:
    done = subprocess.run([str(promtool), "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_with_an_error_is_named(promtool: Path) -> None:
    broken = [{"name": "disks", "rules": [{"alert": "Full", "expr": "node_filesystem_avail_bytes =="}]}]
    good = [{"name": "fine", "rules": [{"record": "a:b", "expr": "up"}]}]
    (found,) = faults(promtool, {"mine": broken, "other": good})
    assert found.startswith("mine: ")
    for word in ("disks", "Full", "parse error"):
        assert word in found
    assert "/" not in found.split("parse error")[0]


def asked(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The queries of a dashboard as rules, which promtool reads; an alert's name may be a panel's title."""
    rules = [{"alert": title, "expr": query} for title, query, _ in dashboards.questions(dashboard)]
    return [{"name": "panels", "rules": rules}]


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: str(path.stem))
def test_promtool_reads_rules_and_dashboards_of_a_release(promtool: Path, path: Path) -> None:
    made = plan(load(path), Environment()).objects
    rules = {item["metadata"]["name"]: item["spec"]["groups"] for item in made if item["kind"] == "PrometheusRule"}
    for item in made:
        if item["kind"] == "ConfigMap" and item["metadata"]["labels"].get(dashboards.LABEL) == "1":
            rules |= {Path(key).stem: asked(json.loads(text)) for key, text in item["data"].items()}
    assert rules
    assert faults(promtool, rules) == []


def test_promtool_reads_every_query_of_the_clusters_dashboards(promtool: Path) -> None:
    boards = {name: asked(json.loads(text)) for name, text in dashboards.shipped(mesh=True).items()}
    assert faults(promtool, boards) == []
    broken = {"title": "b", "panels": [{"title": "Full disks", "targets": [{"expr": "sum(up"}]}]}
    (found,) = faults(promtool, {"board": asked(broken)})
    assert "Full disks" in found
