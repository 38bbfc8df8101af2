"""Filters of role monitoring."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from tests.support.errors import refused

PATH = Path(__file__).parents[2] / "plugins/filter/monitoring.py"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def filters() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("monitoring_filters", PATH)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[str, Any] = module.FilterModule().filters()
    return made


def thing(generation: int, observed: int, status: str = "True") -> dict[str, Any]:
    condition = {"type": "Available", "status": status, "observedGeneration": observed}
    return {"metadata": {"generation": generation}, "status": {"conditions": [condition]}}


@pytest.mark.parametrize(
    ("objects", "answer"),
    [
        ([], False),
        ([thing(2, 2)], True),
        ([thing(2, 1)], False),
        ([thing(2, 2, "False")], False),
        ([thing(1, 1), thing(1, 1, "Degraded")], False),
        ([{"metadata": {"generation": 1}}], False),
    ],
)
def test_available_is_said_of_what_the_operator_has_seen(
    filters: dict[str, Any], objects: list[Any], answer: bool
) -> None:
    assert filters["available"](objects) is answer


RELEASE = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus-operator}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec:
  names: {kind: Prometheus}
  schema:
    description: long
    properties:
      description: {type: string, description: longer}
      matchType: {enum: [!!str "!=", =, =~], description: longest}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec:
  names: {kind: ThanosRuler}
"""


def test_of_the_release_file_the_wanted_definitions_are_taken_and_no_more(filters: dict[str, Any]) -> None:
    (found,) = json.loads(filters["operator_resources"](RELEASE, ["Prometheus"]))
    assert found["spec"]["schema"] == {
        "properties": {"description": {"type": "string"}, "matchType": {"enum": ["!=", "=", "=~"]}}
    }


def test_another_file_is_refused_with_what_it_lacks(filters: dict[str, Any]) -> None:
    with refused("wrong-artifact-file: Probe; monitoring_crds", AnsibleFilterError):
        filters["operator_resources"](RELEASE, ["Prometheus", "Probe"])
