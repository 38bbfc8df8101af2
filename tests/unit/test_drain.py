"""A node is drained pod by pod, what would be lost is refused, and what holds it is named."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from slipway.cluster import drain as module
from slipway.cluster import rollout
from slipway.cluster.drain import EXCLUDED, LEAVING, ROLLED, Drain, through_gateway, upgraded
from slipway.cluster.eviction import Seen, held, local_volumes, next_ones, rolls, short
from slipway.errors import SlipwayError

from tests.support.draining import (
    CLAIM,
    VOLUME,
    Cluster,
    Object,
    budget,
    deployment,
    node,
    pod,
    workload,
)
from tests.support.errors import tells


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.001)
    monkeypatch.setattr(rollout, "PAUSE", 0.001)
    monkeypatch.setattr(module, "MOVES", 0.01)


def of(cluster: Cluster, **more: Any) -> Drain:
    return Drain(cluster, "node-2", more.pop("seconds", 0.2), **more)  # type: ignore[arg-type]


# --- which pods leave, and when


def seen(pods: list[Object], owners: list[Object] | None = None, **more: Any) -> Seen:
    return Seen(node("node-2"), [node("node-1"), node("node-2")], pods, owners or [], **more)


def test_pods_of_the_node_itself_stay() -> None:
    static = pod("etcd", "node-2")
    static["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "1"}
    every = pod("flannel", "node-2", "flannel", kind="DaemonSet")
    assert seen([static, every, pod("web", "node-1", "web")]).leaving == []


def test_of_two_that_serve_only_one_leaves_at_a_time() -> None:
    both = [pod("web-a", "node-2", "web"), pod("web-b", "node-2", "web")]
    assert next_ones(seen(both, [workload("web", 2)])) == both[:1]
    # Its replacement is not Ready yet.
    starting = [both[1], pod("web-c", "node-1", "web", ready=False)]
    assert next_ones(seen(starting, [workload("web", 2)])) == []
    assert next_ones(seen([both[1], pod("web-c", "node-1", "web")], [workload("web", 2)])) == [both[1]]


def test_one_that_serves_nobody_or_stands_alone_leaves_at_once() -> None:
    alone, broken = pod("one", "node-2", "one"), pod("web-a", "node-2", "web", ready=False)
    pods = [alone, broken, pod("web-b", "node-2", "web")]
    assert next_ones(seen(pods, [workload("one", 1), workload("web", 2)])) == [alone, broken]
    job = pod("job", "node-2", "job", kind="Job")
    assert next_ones(seen([job])) == [job]


@pytest.mark.parametrize(
    ("more", "rolled"),
    [
        ({}, True),
        ({"replicas": 2}, False),
        ({"paused": True}, False),
        ({"strategy": {"type": "Recreate"}}, False),
        ({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}, False),
        ({"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}, False),
        ({"strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "100%"}}}, False),
        ({"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}, True),
    ],
)
def test_the_only_pod_of_a_deployment_is_replaced_before_it_ends(more: Object, rolled: bool) -> None:
    of, owned = deployment("web", **more)
    there = seen([pod("web", "node-2", "web")], [of, owned])
    assert bool(rolls(there.pods[0], there)) is rolled


def test_one_that_cannot_be_twice_is_evicted() -> None:
    owners = list(deployment("web"))
    for single in (pod("web", "node-2", "web", claim="data"), pod("web", "node-2", "web", ready=False)):
        assert not rolls(single, seen([single], owners))
    alone = pod("web", "node-2", "web")
    assert not rolls(alone, Seen(node("node-2"), [node("node-2")], [alone], owners))
    assert not rolls(pod("job", "node-2", "job", kind="Job"), seen([], owners))


def test_a_volume_of_the_node_is_told_with_the_pods_that_use_it() -> None:
    user = pod("db", "node-2", "db", claim="data")
    assert local_volumes(seen([user], claims=[CLAIM], volumes=[VOLUME])) == {"shop/data": "shop/db"}
    other: Object = {"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "shop", "name": "data"}}}
    assert local_volumes(seen([user], claims=[CLAIM], volumes=[other])) == {}


def test_what_holds_a_pod_is_named() -> None:
    ending, bound = pod("slow", "node-2", "slow"), pod("bound", "node-2", "bound")
    ending["metadata"]["deletionTimestamp"] = bound["metadata"]["deletionTimestamp"] = "now"
    bound["metadata"]["finalizers"] = ["shop.io/keep"]
    pods = [ending, bound, pod("web-a", "node-2", "web"), pod("one", "node-2", "one"), pod("two", "node-2", "two")]
    found = seen(pods, budgets=[budget("b", "web")])
    assert list(held(found, {"shop/two": "no"})) == [
        "shop/slow still ends (terminationGracePeriodSeconds: 30)",
        "shop/bound ends, and waits for shop.io/keep",
        "shop/web-a is held by PodDisruptionBudget shop/b (disruptionsAllowed: 0, 1 pods are healthy, 1 have to be)",
        "shop/one is needed: the other pods of its ReplicaSet one are not Ready",
        "shop/two: no",
    ]


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        ({}, True),
        (None, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, True),
        ({"matchLabels": {"app": "api"}}, False),
    ],
)
def test_budgets_select_as_the_api_server_does(selector: Any, holds: bool) -> None:
    given = {**budget("any", "web"), "spec": {"selector": selector}}
    (told,) = held(seen([pod("web", "node-2", "web")], budgets=[given]), {})
    assert ("PodDisruptionBudget" in told) is holds


def test_what_serves_with_too_few_elsewhere_is_told() -> None:
    waiting = pod("web-b", "", "web", ready=False)
    waiting["status"]["conditions"].append({"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"})
    pulling = pod("web-c", "node-1", "web", ready=False)
    pulling["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    found = seen([waiting, pulling], [workload("web", 2)])
    (told,) = short(found, {"uid-web"}, set())
    assert told == (
        "ReplicaSet shop/web has 0 of 2 pods Ready elsewhere: web-b finds no node (Insufficient cpu); "
        "web-c: ImagePullBackOff"
    )
    assert short(found, set(), set()) == []
    assert short(seen([waiting], [workload("web", 1)]), {"uid-web"}, {"shop/web-b"}) == []


def test_a_pod_that_has_no_other_node_to_itself_is_not_waited_for_while_others_serve() -> None:
    waiting = pod("gateway-b", "", "gateway", ready=False)
    waiting["status"]["conditions"].append({"type": "PodScheduled", "status": "False", "message": "anti-affinity"})
    owners = [workload("gateway", 2)]
    assert short(seen([pod("gateway-a", "node-1", "gateway"), waiting], owners), {"uid-gateway"}, set()) == []
    # The one that is Ready is on the node that is drained.
    (told,) = short(seen([pod("gateway-a", "node-2", "gateway"), waiting], owners), {"uid-gateway"}, set())
    assert "0 of 2 pods Ready elsewhere" in told


# --- the whole of it


def test_a_drain_moves_all_and_a_second_one_changes_nothing() -> None:
    pods = [pod("web-a", "node-2", "web"), pod("web-b", "node-2", "web"), pod("api", "node-2", "api")]
    cluster = Cluster(pods, ReplicaSet=[workload("web", 2), workload("api", 1)])
    drain = of(cluster)
    assert drain.run()
    assert cluster.evicted == ["web-a", "api", "web-b"]
    assert drain.left == ["shop/web-a", "shop/api", "shop/web-b"]
    (drained,) = (one for one in cluster.lists["Node"] if one["metadata"]["name"] == "node-2")
    assert drained["spec"]["unschedulable"]
    assert EXCLUDED in drained["metadata"]["labels"]
    assert of(cluster).plan() == (False, ["node-2: cordoned already"])
    assert not of(cluster).run()
    assert of(cluster).open(dry_run=True)
    assert of(cluster).open()
    assert not of(cluster).open()
    assert not of(cluster).open(dry_run=True)


def test_the_only_pod_leaves_by_a_roll_out_whatever_its_budget_says() -> None:
    single, owned = deployment("web")
    cluster = Cluster([pod("web", "node-2", "web")], Deployment=[single], ReplicaSet=[owned])
    cluster.refuses = lambda _: "Cannot evict pod as it would violate the pod's disruption budget."
    drain = of(cluster)
    assert drain.run()
    assert drain.left == ["shop/web"]
    assert cluster.evicted == []
    (after,) = cluster.lists["Deployment"]
    assert after["spec"]["template"]["metadata"]["annotations"] == {ROLLED: "web"}


def test_a_roll_out_that_does_not_end_is_named_and_asked_for_once() -> None:
    single, owned = deployment("web")
    cluster = Cluster([pod("web", "node-2", "web")], Deployment=[single], ReplicaSet=[owned])
    cluster.remade = False
    with pytest.raises(SlipwayError) as error:
        of(cluster, seconds=0.05).run()
    tells(error.value, "not-drained: shop/web waits for another pod of Deployment shop/web: web-new finds no node")
    assert [path for method, path in cluster.asked if method == "PATCH" and "Deployment" in path] == [
        "/Deployment/web?fieldManager=slipway-drain&force=true"
    ]


def test_addresses_leave_before_pods_do(monkeypatch: pytest.MonkeyPatch) -> None:
    announced = {"status": {"node": "node-2", "serviceNamespace": "istio-system", "serviceName": "gateway"}}
    cluster = Cluster([pod("web", "node-2", "web")], ReplicaSet=[workload("web", 1)], ServiceL2Status=[announced])
    drain = of(cluster)
    assert drain.announced() == ["istio-system/gateway"]
    looks: list[list[str]] = []

    def waits(_seconds: float) -> None:
        looks.append(cluster.evicted)
        cluster.lists["ServiceL2Status"] = []

    monkeypatch.setattr(time, "sleep", waits)
    drain.run()
    assert looks[0] == []


def _staying() -> Cluster:
    """A cluster where MetalLB goes on announcing an address from the node, whatever is done."""
    announced = {"status": {"node": "node-2", "serviceNamespace": "istio-system", "serviceName": "gateway"}}
    return Cluster([pod("web", "node-2", "web")], ReplicaSet=[workload("web", 1)], ServiceL2Status=[announced])


def test_an_address_that_does_not_move_is_named() -> None:
    cluster = _staying()
    with pytest.raises(SlipwayError) as error:
        of(cluster, seconds=0.05).run()
    tells(error.value, "not-served-elsewhere: Service istio-system/gateway: MetalLB still announces its address from")
    # Also where no pod is left to go.
    with pytest.raises(SlipwayError):
        of(cluster, seconds=0.05).run()


def test_an_address_that_cannot_move_holds_nothing() -> None:
    of(_staying(), seconds=0.05, forced=True).run()
    # The speaker of a silent node says what it said last.
    silent = _staying()
    for each in silent.lists["Node"]:
        if each["metadata"]["name"] == "node-2":
            each["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    of(silent, seconds=0.05).run()


def test_a_check_says_what_would_be_done_and_touches_nothing() -> None:
    pods = [pod("web", "node-2", "web"), pod("db", "node-2", "db", claim="data")]
    cluster = Cluster(pods, PersistentVolumeClaim=[CLAIM], PersistentVolume=[VOLUME])
    assert of(cluster).plan() == (
        True,
        [
            "node-2: to be cordoned",
            "  shop/web moves",
            "  shop/db moves",
            "  shop/data is on this node alone and waits for the node to come back (shop/db)",
        ],
    )
    assert cluster.asked == []


def test_all_that_would_be_lost_is_refused_at_once_unless_forced() -> None:
    pods = [pod("mine", "node-2"), pod("db", "node-2", "db", claim="data")]
    nodes = [node("ctrl", tainted=True), node("node-2")]
    cluster = Cluster(pods, PersistentVolumeClaim=[CLAIM], PersistentVolume=[VOLUME], Node=nodes)
    with pytest.raises(SlipwayError) as error:
        of(cluster, losing=True).run()
    tells(error.value, "unmanaged-pods: shop/mine … shop/data … no other node takes the pods of node-2")
    assert re.findall(r"\[([a-z-]+)\]", str(error.value)) == ["unmanaged-pods", "volumes-would-go", "nowhere-to-go"]
    assert cluster.asked == []
    assert of(cluster, losing=True, forced=True).run()
    assert sorted(cluster.evicted) == ["db", "mine"]


def test_a_budget_that_never_lets_go_is_named_and_force_deletes() -> None:
    pods, more = (
        [pod("web", "node-2", "web")],
        {"ReplicaSet": [workload("web", 1)], "PodDisruptionBudget": [budget("b", "web")]},
    )
    cluster = Cluster(pods, **more)
    cluster.refuses = lambda _: "Cannot evict pod as it would violate the pod's disruption budget."
    with pytest.raises(SlipwayError) as error:
        of(cluster, seconds=0.05).run()
    tells(error.value, "not-drained: shop/web is held by PodDisruptionBudget shop/b … make uncordon NODE=node-2")
    assert of(cluster, seconds=0.05, forced=True).run()
    assert cluster.lists["Pod"][0]["spec"]["nodeName"] == "node-1"


def test_a_node_that_dies_meanwhile_is_not_waited_for() -> None:
    ending = pod("web", "node-2", "web")
    ending["metadata"]["deletionTimestamp"] = "now"
    cluster = Cluster([ending], Node=[node("node-1"), node("node-2", ready=False)])
    assert of(cluster, seconds=30).run()


def test_a_pod_of_a_set_that_is_stuck_on_a_silent_node_is_told_and_not_waited_for() -> None:
    ending = pod("db-0", "node-2", "db", kind="StatefulSet")
    ending["metadata"]["deletionTimestamp"] = "now"
    sets, silent = [workload("db", 1, "StatefulSet")], [node("node-1"), node("node-2", ready=False)]
    said: list[str] = []
    cluster = Cluster([ending], Node=silent, StatefulSet=sets)
    silent[1]["metadata"]["annotations"] = {LEAVING: "uid-db"}
    assert of(cluster, say=said.append).run()
    assert said[-1] == (
        "node-2 does not answer: shop/db-0 starts elsewhere when it is back, or gone (`make remove-node NODE=node-2`)"
    )
    assert of(Cluster([ending], Node=silent, StatefulSet=sets), losing=True, say=said.append).run()
    assert said[-1] == "node-2 does not answer: shop/db-0 starts elsewhere when it is gone"
    # While the node answers the pod ends, and is waited for.
    there = Seen(node("node-2"), [node("node-2")], [ending], sets)
    assert "StatefulSet shop/db has 0 of 1" in short(there, {"uid-db"}, set())[0]


def test_a_drain_that_was_cut_off_has_said_what_the_next_one_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster([pod("web", "node-2", "web")], ReplicaSet=[workload("web", 1)])
    cluster.remade = False

    def killed(_self: Drain, _pod: Object) -> None:
        raise KeyboardInterrupt

    # The pod has left, and the run is killed before it has seen another one serve.
    monkeypatch.setattr(Drain, "_note", killed)
    with pytest.raises(KeyboardInterrupt):
        of(cluster).run()
    monkeypatch.undo()
    assert cluster.lists["Pod"] == []
    with pytest.raises(SlipwayError) as error:
        of(cluster, seconds=0.05).run()
    tells(error.value, "not-served-elsewhere: ReplicaSet shop/web has 0 of 1 pods Ready elsewhere")
    cluster.lists["Pod"] = [pod("web-again", "node-1", "web")]
    assert not of(cluster).run()
    (drained,) = (one for one in cluster.lists["Node"] if one["metadata"]["name"] == "node-2")
    assert drained["metadata"]["annotations"] == {}


def test_what_does_not_come_back_elsewhere_fails_the_drain() -> None:
    cluster = Cluster([pod("web", "node-2", "web")], ReplicaSet=[workload("web", 1)])
    cluster.remade = False
    with pytest.raises(SlipwayError) as error:
        of(cluster, seconds=0.05).run()
    tells(error.value, "not-served-elsewhere: ReplicaSet shop/web has 0 of 1 pods Ready elsewhere")


def test_an_unknown_node_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SlipwayError) as error:
        Drain(Cluster(), "node-9", 1).run()  # type: ignore[arg-type]
    tells(error.value, "no-such-node: node-9 … ctrl, node-1, node-2")


def test_the_node_object_goes_and_is_no_change_twice() -> None:
    cluster = Cluster()
    assert of(cluster).remove()
    assert not of(cluster).remove()


def test_a_gateway_that_answered_has_to_answer_again(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([True, False, True])
    monkeypatch.setattr(module, "answers", lambda _: next(said))
    assert through_gateway("192.0.2.1:80", lambda: True, 1)
    monkeypatch.setattr(module, "answers", lambda _: False)
    assert not through_gateway("192.0.2.1:80", lambda: False, 0)
    said = iter([True, False])
    monkeypatch.setattr(module, "answers", lambda _: next(said))
    with pytest.raises(SlipwayError) as error:
        through_gateway("192.0.2.1:80", lambda: True, 0)
    tells(error.value, "gateway-silent: 192.0.2.1:80")


# --- for an upgrade


def test_a_node_that_an_upgrade_drains_is_marked_until_it_is_open() -> None:
    cluster = Cluster([pod("web", "node-2", "web")], ReplicaSet=[workload("web", 1)])
    assert of(cluster, upgrades=True).run()
    marked = cluster.get("/Node/node-2")
    assert marked
    assert upgraded(marked)
    # One that was cut off goes on, and the mark stays.
    of(cluster, upgrades=True).run()
    assert upgraded(cluster.get("/Node/node-2") or {})
    assert of(cluster).open()
    assert not upgraded(cluster.get("/Node/node-2") or {})


def test_a_node_that_somebody_else_has_drained_is_not_an_upgrades() -> None:
    cluster = Cluster()
    of(cluster).run()
    of(cluster, upgrades=True).run()
    assert not upgraded(cluster.get("/Node/node-2") or {})
