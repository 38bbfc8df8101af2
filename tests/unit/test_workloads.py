"""Deployments that are Available, and the reasons of those that are not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from slipway import workloads

ROOT = Path(__file__).parents[2]


def deployment(name: str, wanted: int = 1, generation: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "generation": generation},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, **status},
    }


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        (deployment("a"), True),
        (deployment("a", availableReplicas=0), False),
        (deployment("a", generation=2), False),
        (deployment("a", wanted=2), False),
        # A pod of the old template is still there.
        (deployment("a", replicas=2), False),
        ({"metadata": {"name": "a", "generation": 1}, "spec": {}}, False),
    ],
)
def test_a_deployment_is_available_with_all_its_newest_pods(state: dict[str, Any], answer: bool) -> None:
    assert workloads.available(state) is answer


def test_what_is_not_available_is_named_with_its_pods_reasons() -> None:
    pods = [
        {
            "metadata": {"name": "gateway-1"},
            "status": {
                "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]
            },
        },
        {
            "metadata": {"name": "istiod-1"},
            "status": {
                "containerStatuses": [
                    {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
                    {"state": {"waiting": {"reason": "ContainerCreating"}}},
                    {"state": {"running": {}}, "ready": False},
                ]
            },
        },
    ]
    states = [deployment("gateway", availableReplicas=0), deployment("istiod", availableReplicas=0), deployment("fine")]
    assert workloads.unready(states, pods, ["gateway", "istiod", "fine", "gone"]) == [
        "gateway is not Available: gateway-1 finds no node (0/3 nodes are available)",
        "istiod is not Available: istiod-1 ImagePullBackOff: no such image; istiod-1 runs and is not ready",
        "gone is not there",
    ]
    assert workloads.unready([deployment("a", availableReplicas=0)], [], ["a"]) == [
        "a is not Available: its pods are starting"
    ]


def test_everything_that_is_wanted_has_to_be_available() -> None:
    assert workloads.all_available([deployment("a")], ["a"])
    assert workloads.all_available([], [])
    assert not workloads.all_available([deployment("a")], ["a", "b"])
    assert not workloads.all_available([deployment("a"), deployment("b", replicas=2)], ["a", "b"])


def test_the_filters_are_for_any_deployment() -> None:
    spec = importlib.util.spec_from_file_location("slipway_filter_workloads", ROOT / "plugins/filter/workloads.py")
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    filters = module.FilterModule().filters()
    assert filters["workloads_available"]([deployment("a")], ["a"])
    assert filters["workloads_unready"]([], [], ["a"]) == ["a is not there"]
