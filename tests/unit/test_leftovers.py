"""What the page no longer has, and the commands that take it away."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.lab import leftovers


def node(name: str, *, controller: bool = False) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {leftovers.CONTROLLER: ""} if controller else {}}}


NODES = [node("ctrl", controller=True), node("node-1")]
LISTED = ["ctrl", "node-1"]


def told(*more: dict[str, Any], machines: tuple[str, ...] = (), hosts: bool = False) -> list[str]:
    return list(leftovers.machines_told([*NODES, *more], LISTED, machines, hosts=hosts).values())


def test_what_the_page_has_is_not_left() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("more", "machines", "hosts", "what", "steps"),
    [
        ([node("box")], ("box",), False, "a worker", ["make remove-node NODE=box"]),
        ([node("box")], (), False, "a worker without a machine", ["make remove-node NODE=box"]),
        ([], ("box",), False, "a machine", ["vagrant destroy --force box"]),
        ([node("box", controller=True)], ("box",), False, "a controller", ["make remove-node NODE=box"]),
        (
            [node("box")],
            (),
            True,
            "a worker",
            [
                "make remove-node NODE=box",
                "on that machine, where it still is: sudo kubeadm reset --force",
                "sudo ip link delete cni0",
                "sudo ip link delete flannel.1",
            ],
        ),
    ],
)
def test_what_it_has_not_is_named_with_what_takes_it_away(
    more: list[dict[str, Any]], machines: tuple[str, ...], hosts: bool, what: str, steps: list[str]
) -> None:
    (said,) = told(*more, machines=machines, hosts=hosts)
    assert said == f"box is {what}, and the page does not have it. To take it away: {'; '.join(steps)}"


def deployment(namespace: str, name: str, part: str = "") -> dict[str, Any]:
    labels = {"labels": {leftovers.PART: part}} if part else {}
    return {"metadata": {"namespace": namespace, "name": name, **labels}}


def test_parts_that_are_off_and_there_are_left_and_those_that_build_on_others_come_first() -> None:
    there = [deployment(*place, part) for part, place in leftovers.PARTS.items()]
    assert leftovers.parts_left(there, dict.fromkeys(leftovers.PARTS, True)) == []
    off = {**dict.fromkeys(leftovers.PARTS, True), "istio": False, "metallb": False, "kiali": False}
    assert leftovers.parts_left(there, off) == ["kiali", "istio", "metallb"]
    assert leftovers.parts_left([deployment("istio-system", "istiod", "istio")], off) == ["istio"]


@pytest.mark.parametrize("part", ["", "kiali"])
def test_what_others_have_installed_under_the_same_name_is_not_a_part(part: str) -> None:
    theirs = deployment("kube-system", "metrics-server", part)
    assert leftovers.parts_left([theirs], {"metrics_server": False}) == []
    assert leftovers.parts_left_told([theirs], {"metrics_server": False}) == []
    assert (
        leftovers.parts_left([deployment("apps", "metrics-server", "metrics_server")], {"metrics_server": False}) == []
    )


def test_what_came_of_it_is_told() -> None:
    results = [{"item": "istio", "changes": ["a", "b"], "kept": ["namespace istio-system stays: x"]}]
    assert leftovers.parts_told(results) == ["", "istio: 2 objects are gone", "  namespace istio-system stays: x"]
    assert leftovers.parts_told([]) == ["", "No part that is off is in the cluster."]


def test_every_part_of_the_page_has_what_shows_it() -> None:
    from slipway.page.model import Parts

    assert set(leftovers.PARTS) == set(Parts.model_fields)


def test_a_size_that_differs_is_said_with_both_values() -> None:
    wanted = {"memory": 4096, "cpus": 2}
    assert leftovers.sizes_differ("node-1", wanted, wanted) == []
    assert leftovers.sizes_differ("node-1", wanted, {"memory": 0, "cpus": 0}) == []
    assert leftovers.sizes_differ("node-1", wanted, {"memory": 2048, "cpus": 4}) == [
        "memory of node-1 is 2048 MiB and the page says 4096 MiB",
        "cpus of node-1 is 4 and the page says 2",
    ]
