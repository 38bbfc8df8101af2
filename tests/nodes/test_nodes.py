"""Nodes come and go while clients ask two releases: no request fails. What each command takes is printed.

One service has two replicas, the other one. The tests build on each other, in this order, on one cluster.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.changing import Place, placed
from tests.support.checkout import Run
from tests.support.figures import figure
from tests.support.kube import eventually, ready
from tests.support.lab import rewrite_page
from tests.support.releases import Stage, made
from tests.support.transitions import Row, api, page, web

# Requests a second, in all.
RATE = 50.0
# Seconds that it may take to add a worker on a machine that does nothing else.
ADDED = 45.0
PARTS = {"metallb": True, "istio": True, "storage": False, "metrics_server": False, "monitoring": False}
WORKERS: dict[str, Any] = {"count": 2, "cpus": 2, "memory": 3072}
DOUBLE = page(None, {"web": web(replicas=2), "api": api(replicas=2)})
SINGLE = page(None, {"web": web(), "api": api()})
Placed = tuple[Place, Place]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with made("nodes", mail=False, cluster_parts=PARTS, cluster_workers=WORKERS) as there:
        yield there


@pytest.fixture(scope="module")
def places(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Placed]:
    """Both releases."""
    with ExitStack() as stack:
        rows = (Row("double", DOUBLE, DOUBLE, "v1"), Row("single", SINGLE, SINGLE, "v1"))
        folder: Path = tmp_path_factory.mktemp("pages")
        first, second = (stack.enter_context(placed(stage, row, folder)) for row in rows)
        yield first, second


def command(stage: Stage, places: Sequence[Place], *words: str) -> Run:
    """Type ``make`` with some words while clients ask these releases; none of their requests may fail."""
    loads = [place.loaded(rate=RATE / len(places), most=600) for place in places]
    with ExitStack() as stack:
        for load in loads:
            stack.enter_context(load)
        time.sleep(2.5)
        done = stage.checkout.make(*words)
        time.sleep(3)
    lost = {
        place.name: [f"{each.at:.1f} s: {each.status} {each.said}" for each in load.answers if each.status != "200"]
        for place, load in zip(places, loads, strict=True)
    }
    for name, answers in lost.items():
        print(f"{name}: {'; '.join(answers) or 'none'} failed", flush=True)
    asked = sum(len(load.answers) for load in loads)
    said = f"make {' '.join(words)}"
    figure(said, done.seconds)
    figure(f"{said}: requests that failed, of {asked}", sum(map(len, lost.values())), "", most=0)
    assert asked > RATE / 2 * done.seconds
    assert not any(lost.values()), lost
    return done.expect()


def nodes(stage: Stage) -> dict[str, bool]:
    return {node["metadata"]["name"]: ready(node) for node in stage.kube.nodes()}


def pods_of(stage: Stage, place: Place, app: str = "web") -> dict[str, str]:
    """The Ready pods of a release's service, and the node of each."""
    found = stage.kube("get", "pods", place.where, f"--selector=app={app}")["items"]
    live = [pod for pod in found if ready(pod) and "deletionTimestamp" not in pod["metadata"]]
    return {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in live}


def host_of(stage: Stage, place: Place) -> str:
    """The node of the first pod of a release."""
    return next(iter(pods_of(stage, place).values()))


def holds_one(stage: Stage, place: Place, node: str) -> None:
    """Have exactly one of the two replicas of each service on a node, and the other one elsewhere."""
    others = [name for name in nodes(stage) if name != node]
    for app in ("web", "api"):

        def apart(app: str = app) -> bool:
            held = list(pods_of(stage, place, app).values())
            return len(held) == 2 and held.count(node) == 1

        if apart():
            continue
        there = pods_of(stage, place, app)
        closed = [node] if list(there.values()).count(node) == 2 else others
        stage.kube.text("cordon", *closed)
        try:
            stage.kube.text("delete", "pod", next(iter(there)), place.where, "--wait=false")
            eventually(apart, seconds=120, what=f"{node} has one pod of {app}")
        finally:
            stage.kube.text("uncordon", *closed)


def test_a_worker_is_added(stage: Stage, places: Placed) -> None:
    checkout = stage.checkout
    checkout.page.write_text(rewrite_page(checkout.settings, {"cluster_workers": {**WORKERS, "count": 3}}))
    command(stage, places, "add-nodes")
    assert nodes(stage) == dict.fromkeys(("ctrl", "node-1", "node-2", "node-3"), True)
    assert checkout.make("up").expect().total("changed") == 0


@pytest.mark.parametrize("which", [0, 1], ids=["two replicas", "one replica"])
def test_a_node_is_drained(stage: Stage, places: Placed, which: int) -> None:
    node = host_of(stage, places[which])
    command(stage, places, "drain", f"NODE={node}")
    left = stage.kube("get", "pods", "--all-namespaces", f"--field-selector=spec.nodeName={node}")["items"]
    assert {pod["metadata"]["ownerReferences"][0]["kind"] for pod in left} == {"DaemonSet"}
    stage.checkout.make("uncordon", f"NODE={node}").expect()


def test_the_certificates_are_renewed(stage: Stage, places: Placed) -> None:
    command(stage, places, "renew-certificates", "DAYS=400")
    eventually(lambda: stage.checkout.make("status").status == 0, seconds=120, what="all is well")


def test_a_worker_is_removed(stage: Stage, places: Placed) -> None:
    """The last one, with a replica of all that clients ask; the page has one worker less then."""
    checkout, double = stage.checkout, places[0]
    holds_one(stage, double, "node-3")
    command(stage, [double], "remove-node", "NODE=node-3")
    for app in ("web", "api"):
        held = pods_of(stage, double, app)
        assert len(held) == 2
        assert "node-3" not in held.values()
    assert nodes(stage) == dict.fromkeys(("ctrl", "node-1", "node-2"), True)
    checkout.page.write_text(checkout.settings)
    # Controllers forget its name.
    checkout.make("up").expect()
    assert checkout.make("up").expect().total("changed") == 0


def test_a_worker_is_added_in_time(stage: Stage) -> None:
    """With nothing else to do: the requests of the tests before take about half of two cores."""
    checkout = stage.checkout
    checkout.page.write_text(rewrite_page(checkout.settings, {"cluster_workers": {**WORKERS, "count": 3}}))
    done = checkout.make("add-nodes").expect()
    figure("make add-nodes, without load", done.seconds, most=ADDED)
    assert nodes(stage)["node-3"]
