"""What a namespace says of pods that do not come, and what would work then."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.cluster import holdups, workloads
from slipway.cluster.holdups import Signs, with_full_disk

Object = dict[str, Any]
QUOTA = 'pods "web-1-x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2'


def failing(message: str) -> Object:
    conditions = [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]
    return {"metadata": {"name": "web-1", "uid": "set"}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("message", "good"),
    [
        (QUOTA, False),
        ('error looking up service account shop/web: serviceaccount "web" not found', False),
        ('pods "web-1-x" is forbidden: violates PodSecurity "restricted:latest": runAsUser=0', True),
        ('pods "web-1-x" is forbidden: failed quota: few: must specify limits.cpu for: web', True),
    ],
)
def test_pods_that_are_refused_are_told_at_once_where_it_does_not_pass(message: str, good: bool) -> None:
    assert holdups.refused(failing(message)) == ("!" if good else "") + f"its pods are refused: {message}"


def test_a_deployment_that_gets_no_replica_set_is_told() -> None:
    message = "Failed to create new replica set: exceeded quota: few"
    condition = {"type": "Progressing", "status": "False", "reason": "ReplicaSetCreateError", "message": message}
    web: Object = {"kind": "Deployment", "metadata": {"name": "web"}, "status": {"conditions": [condition]}}
    assert workloads.stuck(web, [], []) == f"its ReplicaSet is refused: {message}"
    condition["reason"] = "ProgressDeadlineExceeded"
    assert workloads.stuck(web, [], []) == ""


def test_a_daemonset_has_its_refusals_in_events() -> None:
    status = {"desiredNumberScheduled": 2, "currentNumberScheduled": 1}
    agent: Object = {"kind": "DaemonSet", "metadata": {"name": "agent", "uid": "agent"}, "status": status}
    signs = Signs(({"reason": "FailedCreate", "message": QUOTA, "involvedObject": {"uid": "agent"}},))
    assert workloads.stuck(agent, [], [], signs) == f"its pods are refused: {QUOTA}"
    status["currentNumberScheduled"] = 2
    assert workloads.stuck(agent, [], [], signs) == ""


def test_the_reason_of_a_deployment_says_that_its_pods_are_refused() -> None:
    web = {**failing(QUOTA), "metadata": {"name": "web"}, "spec": {}}
    assert workloads.unready([web], [], ["web"]) == [f"web is not Available: its pods are refused: {QUOTA}"]


def test_the_reason_of_a_deployment_says_what_the_cluster_warns_of() -> None:
    web = {"metadata": {"name": "web"}, "spec": {}}
    waits = [{"name": "web", "state": {"waiting": {"reason": "ContainerCreating"}}}]
    status = {"containerStatuses": waits}
    one = {"metadata": {"name": "web-1-x", "uid": "pod"}, "spec": {"nodeName": "a"}, "status": status}
    event = {"reason": "FailedMount", "message": 'secret "s" not found', "involvedObject": {"uid": "pod"}}
    said = 'web is not Available: pod web-1-x: FailedMount: secret "s" not found'
    assert workloads.unready([web], [one], ["web"], [event]) == [said]
    assert workloads.unready([web], [one], ["web"]) == [
        "web is not Available: web-1-x is starting on a (web ContainerCreating)"
    ]


def pod(message: str = "", **more: Any) -> Object:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    status = {"conditions": [condition] if message else []}
    return {"metadata": {"name": "web-1-x", "uid": "pod"}, "spec": {}, "status": status, **more}


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (pod(), ""),
        (pod("0/3: 3 Insufficient memory."), "pod web-1-x: no node takes it: 0/3: 3 Insufficient memory."),
        (pod("1 untolerated taint {gpu: }."), "pod web-1-x: no node takes it: 1 untolerated taint {gpu: }."),
        (pod("0/2: 2 Insufficient cpu.", metadata={"name": "web-1-x", "deletionTimestamp": "now"}), ""),
    ],
)  # fmt: skip
def test_a_pod_without_a_node_is_told_in_the_schedulers_words(thing: Object, said: str) -> None:
    assert holdups.kept_back(thing) == said


@pytest.mark.parametrize(("ready", "told"), [("True", True), ("False", False), ("Unknown", False)])
def test_a_node_that_comes_may_take_it(ready: str, told: bool) -> None:
    nodes = [{"status": {"conditions": [{"type": "Ready", "status": state}]}} for state in ("True", ready)]
    words = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."
    assert bool(holdups.kept_back(pod(words), [], Signs((), (), tuple(nodes)))) is told
    new: Object = {"status": {}}
    assert holdups.kept_back(pod(words), [], Signs((), (), (new,))) == ""


def test_pods_that_end_make_room() -> None:
    going = {"metadata": {"name": "old", "deletionTimestamp": "now"}}
    assert holdups.kept_back(pod("0/2: 2 Insufficient cpu."), [going]) == ""
    assert holdups.kept_back(pod("0/2: 2 had untolerated taint {gpu: }."), [going])
    assert holdups.kept_back(pod("0/2: 2 Insufficient cpu."), [going], Signs(late=True))
    assert holdups.refused(failing(QUOTA), [going]) == ""
    assert holdups.refused(failing(QUOTA), [going], Signs(late=True))


def test_claims_that_are_not_bound_are_named() -> None:
    claim = {"metadata": {"name": "disk", "uid": "claim"}, "status": {"phase": "Pending"}}
    thing = pod("unbound immediate PersistentVolumeClaims")
    thing["spec"]["volumes"] = [{"persistentVolumeClaim": {"claimName": "disk"}}, {"emptyDir": {}}]
    said = holdups.kept_back(thing, [], Signs((), (claim,)))
    assert said.endswith("unbound immediate PersistentVolumeClaims; claims that are not bound: disk")


@pytest.mark.parametrize(
    ("first", "last", "goes_on"),
    [
        # At 12:00:40, tried again and again, each time after twice as long.
        ("12:00:00", "12:00:31", True),
        ("12:00:39", "12:00:39", True),
        ("12:00:20", "12:00:20", False),
        # It was mounted after two seconds, and what takes its time since is something else.
        ("12:00:00", "12:00:02", False),
    ],
)
def test_what_failed_once_and_went_on_is_no_reason(first: str, last: str, goes_on: bool) -> None:
    event = {"reason": "FailedMount", "message": "no such folder", "involvedObject": {"uid": "pod"}}
    event |= {"firstTimestamp": f"2026-01-01T{first}Z", "lastTimestamp": f"2026-01-01T{last}Z"}
    now = 1767268840.0
    thing = pod(spec={"nodeName": "node-1"})
    assert bool(holdups.kept_back(thing, [], Signs((event,), now=now))) is goes_on
    # When time is up all is told.
    assert holdups.kept_back(thing, [], Signs((event,), now=now, late=True))
    new = {key: value for key, value in event.items() if not key.endswith("Timestamp")}
    new["eventTime"] = f"2026-01-01T{last}.250000Z"
    assert bool(holdups.kept_back(thing, [], Signs((new,), now=now))) is (last in ("12:00:39", "12:00:31"))


def test_a_mesh_that_starts_is_no_reason() -> None:
    thing = pod(spec={"nodeName": "node-1"})
    message = 'MountVolume.SetUp failed for volume "istiod-ca-cert" : configmap "istio-ca-root-cert" not found'
    event = {"reason": "FailedMount", "message": message, "involvedObject": {"uid": "pod"}}
    assert holdups.kept_back(thing, [], Signs((event,))) == ""
    other = {**event, "message": 'secret "token" not found'}
    assert holdups.kept_back(thing, [], Signs((event, other))) == 'pod web-1-x: FailedMount: secret "token" not found'


@pytest.mark.parametrize(
    ("said", "works"),
    [
        (QUOTA, "kubectl --namespace shop describe resourcequota"),
        ("violates PodSecurity", "kubectl label --overwrite namespace shop pod-security"),
        ("NodePath only supports ReadWriteOnce access modes", "access: ReadWriteOnce"),
        ("hostPath type check failed: /none is not a directory", "a folder on every node"),
        ("Unable to retrieve some image pull secrets (registry)", "create secret docker-registry"),
        ("no node takes it: 0/3: 3 Insufficient cpu", "smaller resources"),
        ("no node takes it: 1 node(s) had untolerated taint {gpu: }", "without that taint"),
    ],
)
def test_what_would_work_is_said(said: str, works: str) -> None:
    (hint,) = holdups.hints(said, "shop")
    assert works in hint


def test_nothing_is_advised_where_nothing_is_known() -> None:
    assert not list(holdups.hints("container web has failed 3 times", "shop"))


def test_a_node_that_has_been_away_for_long_is_not_waited_for() -> None:
    def signs(ago: float) -> Signs:
        at = datetime.fromtimestamp(10_000 - ago, UTC).isoformat().replace("+00:00", "Z")
        unready = {"type": "Ready", "status": "Unknown", "lastTransitionTime": at}
        return Signs(nodes=({"metadata": {"name": "node-2"}, "status": {"conditions": [unready]}},), now=10_000)

    assert (signs(3).node_comes(), signs(3).nodes_lost()) == (True, [])
    assert not signs(300).node_comes()
    assert len(signs(300).nodes_lost()) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("write /var/lib/containerd/x: no space left on device", "a disk of node-2 is full"),
        ("1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }", "a node's disk is nearly full"),
        ("manifest unknown", ""),
    ],
)
def test_a_full_disk_is_named_as_itself(words: str, told: str) -> None:
    said = with_full_disk(words, "node-2")
    assert said.startswith(words)
    assert told in said
    assert bool(told) is (said != words)
