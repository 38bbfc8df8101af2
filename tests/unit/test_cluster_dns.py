"""Cluster DNS gets a second node."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.parts.cluster_dns import to_move

Json = dict[str, Any]
TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def pod(name: str, node: str, *, ready: bool = True, made: str = "2026-01-01T00:00:00Z", **more: Any) -> Json:
    metadata = {
        "name": name, "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}, "creationTimestamp": made, **more,
    }  # fmt: skip
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": {"conditions": conditions}}


def node(name: str, *, ready: bool = True, **spec: Any) -> Json:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions}}


NODES = [node("ctrl", taints=[TAINT]), node("node-1")]
YOUNG = "2026-01-02T00:00:00Z"


def names(pods: list[Json], nodes: list[Json]) -> list[str]:
    return [each["metadata"]["name"] for each in to_move(pods, nodes)]


def test_of_two_on_one_node_the_youngest_or_what_is_not_ready_moves() -> None:
    both = [pod("a", "ctrl"), pod("b", "ctrl", made=YOUNG)]
    assert to_move(both, NODES) == [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b", "namespace": "kube-system"}}
    ]
    assert names([pod("a", "ctrl", ready=False), pod("b", "ctrl", made=YOUNG)], NODES) == ["a"]
    # A controller takes it, too.
    assert names([pod("a", "node-1"), pod("b", "node-1", made=YOUNG)], NODES) == ["b"]


@pytest.mark.parametrize(
    "other",
    [
        node("node-1", ready=False),
        node("node-1", unschedulable=True),
        node("node-1", taints=[{"key": "gpu", "effect": "NoSchedule"}]),
    ],
    ids=["not ready", "cordoned", "for others"],
)
def test_where_no_other_node_takes_it_nothing_moves(other: Json) -> None:
    both = [pod("a", "ctrl"), pod("b", "ctrl")]
    assert names(both, [NODES[0], other]) == []
    assert names(both, NODES[:1]) == []


def test_what_is_spread_or_on_its_way_stays() -> None:
    assert names([pod("a", "ctrl"), pod("b", "node-1")], NODES) == []
    assert names([pod("a", "ctrl")], NODES) == []
    assert names([pod("a", "ctrl"), pod("b", "")], NODES) == []
    assert names([pod("a", "ctrl"), pod("b", "ctrl", deletionTimestamp="now")], NODES) == []
    assert names([pod("a", "ctrl"), pod("b", "ctrl", namespace="other")], NODES) == []
