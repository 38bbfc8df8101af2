"""Each documented system comes out of one page: object by object, field by field, against a table of its document."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.release.planner import Plan

from apps.textcheck.metrics import Metric, Metrics
from tests.support.release import RELEASES, at, names, one, shipped

TABLES = sorted((Path(__file__).parent / "documents").glob("*.yml"))
DOCUMENTS: dict[str, Any] = {path.stem: yaml.safe_load(path.read_text()) for path in TABLES}
RESOURCES = [(name, resource) for name, document in DOCUMENTS.items() for resource in document["resources"]]
FIELDS = [(name, item, path) for name, item in RESOURCES for path in item.get("fields", {})]

each_document = pytest.mark.parametrize("name", DOCUMENTS)


_plans: dict[str, Plan] = {}


def planned(name: str) -> Plan:
    if name not in _plans:
        _plans[name] = shipped(DOCUMENTS[name]["release"])
    return _plans[name]


def values(node: Any, path: str) -> list[Any]:
    """Give what is at a path; ``#`` at its end: the keys of the map there."""
    if path.endswith("/#"):
        return [key for found in at(node, path[:-2]) for key in found]
    return at(node, path)


@pytest.mark.parametrize(
    ("name", "resource"), RESOURCES, ids=[f"{name}-{item['number']}-{item['name']}" for name, item in RESOURCES]
)
def test_a_documented_resource_is_there(name: str, resource: dict[str, Any]) -> None:
    plan = planned(name)
    if resource["kind"] == "Secret":
        secrets = {secret["name"]: sorted(secret["keys"]) for secret in plan.secrets}
        assert secrets[resource["name"]] == sorted(resource["keys"])
        return
    found = one(plan, resource["kind"], resource["name"])
    namespace = resource.get("namespace", DOCUMENTS[name]["namespace"])
    assert found["metadata"].get("namespace", "") == ("" if resource["kind"] == "Namespace" else namespace)


@pytest.mark.parametrize(
    ("name", "resource", "path"), FIELDS, ids=[f"{name}-{item['name']}-{path}" for name, item, path in FIELDS]
)
def test_a_documented_field_has_its_value(name: str, resource: dict[str, Any], path: str) -> None:
    found = values(one(planned(name), resource["kind"], resource["name"]), path)
    wanted = resource["fields"][path]
    assert sorted(map(str, found)) == sorted(map(str, wanted if isinstance(wanted, list) else [wanted]))


@each_document
def test_what_is_not_documented_is_named_as_ours(name: str) -> None:
    document, plan = DOCUMENTS[name], planned(name)
    documented: dict[str, set[str]] = {}
    for item in [
        *document["resources"],
        *({**ours, "name": each} for ours in document["ours"] for each in ours["names"]),
    ]:
        documented.setdefault(item["kind"], set()).add(item["name"])
    made = {kind: names(plan, kind) for kind in {item["kind"] for item in plan.objects}}
    made["Secret"] = {secret["name"] for secret in plan.secrets}
    assert made == {"Secret": set(), **documented}


@each_document
def test_everything_ours_says_why(name: str) -> None:
    assert all(ours["why"] for ours in DOCUMENTS[name]["ours"])


def test_the_sms_checker_has_all_27_resources() -> None:
    numbers = [item["number"] for item in DOCUMENTS["sms-checker"]["resources"]]
    assert len(numbers) == 27
    assert {str(number) for number in range(1, 27)} < set(numbers)


def exported() -> dict[str, set[str]]:
    """Series of the example application, each with its labels."""
    found: dict[str, set[str]] = {}
    for metric in vars(Metrics("model", "v1")).values():
        if isinstance(metric, Metric):
            labels = {*metric.labels, "role", "version"}
            names = (
                [(metric.name, labels)]
                if not metric.bounds
                else [
                    (f"{metric.name}_bucket", {*labels, "le"}),
                    (f"{metric.name}_sum", labels),
                    (f"{metric.name}_count", labels),
                ]
            )
            found |= dict(names)
    return found


@pytest.mark.parametrize("path", sorted(RELEASES.glob("*.yml")), ids=lambda path: path.stem)
def test_a_dashboard_asks_only_for_what_the_application_exports(path: Path) -> None:
    known, page = exported(), yaml.safe_load(path.read_text())
    queries = [panel["query"] for board in page.get("dashboards", {}).values() for panel in board.get("panels", [])]
    for query in queries:
        series = re.findall(r"\b(app_\w+)(?:\{([^}]*)\})?", query)
        assert series, query
        for name, matchers in series:
            assert name in known, f"{name} in {query}"
            assert set(re.findall(r"(\w+)=", matchers)) <= known[name], query
        grouped = {label for text in re.findall(r"\bby \(([^)]*)\)", query) for label in text.split(", ")}
        assert grouped <= set.union(*(known[name] for name, _ in series)), query
