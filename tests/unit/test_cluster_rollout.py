"""A run waits until what it applied is ready, or tells what keeps it from getting there."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.cluster import rollout
from slipway.cluster.apply import Applier
from slipway.cluster.rollout import NotRolledOutError

from tests.support.errors import refused
from tests.support.objects import FakeCluster, item


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def test_rollouts_are_waited_for_and_reasons_given(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "PAUSE", 0.01)
    given = [item("Deployment", "a", "apps/v1", spec={"replicas": 1}), item("DaemonSet", "b", "apps/v1", spec={})]
    applier = Applier(cluster)
    applied = applier.apply(given)
    states = {
        "deployments/a": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
        "daemonsets/b": {
            "observedGeneration": 1,
            "desiredNumberScheduled": 2,
            "updatedNumberScheduled": 2,
            "numberAvailable": 1,
        },
    }
    for path, state in states.items():
        cluster.store[f"/apis/apps/v1/namespaces/apps/{path}"]["status"] = state
    pod = {"metadata": {"name": "b-x"}, "status": {"containerStatuses": [{"state": {"running": {}}, "ready": False}]}}
    cluster.store["pods"] = {"items": [pod]}
    with refused("not-rolled-out") as late:
        applier.wait(applied, 0.1)
    assert late.value.text == "not rolled out within 0.1 s:\nDaemonSet/apps/b: b-x runs and is not ready"
    states["daemonsets/b"]["numberAvailable"] = 2
    applier.wait(applied, 5)


def test_pods_that_will_never_start_end_the_wait_early(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "PAUSE", 0.01)
    wanted = item("Deployment", "a", "apps/v1", spec={"replicas": 1})
    applier = Applier(cluster)
    (applied,) = applier.apply([wanted])
    cluster.store["/apis/apps/v1/namespaces/apps/deployments/a"]["status"] = {"observedGeneration": 1}
    metadata = {"name": "a-1", "ownerReferences": [{"name": "a"}]}
    cluster.store["replicasets"] = {"items": [{"metadata": metadata}]}
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    pod = {
        "metadata": {"name": "a-1-x", "ownerReferences": [{"name": "a-1"}]},
        "spec": {"containers": [{"name": "a", "image": "shop/a:2"}]},
        "status": {"containerStatuses": [{"name": "a", "state": state}]},
    }
    cluster.store["pods"] = {"items": [pod]}
    said = "Deployment/apps/a cannot start: pod a-1-x, image shop/a:2: ImagePullBackOff: no such image"
    with refused("pods-cannot-start", NotRolledOutError) as hopeless:
        rollout.wait(cluster, [applied.live], 60, patience=0.05)
    assert hopeless.value.text == said
    state["waiting"]["reason"] = "InvalidImageName"
    with refused("pods-cannot-start: InvalidImageName", NotRolledOutError):
        applier.wait([applied], 60)
    with refused("not-rolled-out: Deployment/apps/none", NotRolledOutError):
        rollout.wait(cluster, [item("Deployment", "none", "apps/v1")], 0.05)


def event(reason: str, message: str, uid: str, kind: str = "Pod", ago: float = 0) -> dict[str, Any]:
    involved = {"kind": kind, "uid": uid}
    at = datetime.fromtimestamp(time.time() - ago, UTC).isoformat().replace("+00:00", "Z")
    return {"metadata": {}, "reason": reason, "message": message, "involvedObject": involved, "lastTimestamp": at}


def starting(cluster: FakeCluster, **status: Any) -> dict[str, Any]:
    """Have a Deployment with a ReplicaSet and one pod that does not start, and give the pod."""
    Applier(cluster).apply([item("Deployment", "web", "apps/v1", spec={"replicas": 1})])
    cluster.store["/apis/apps/v1/namespaces/apps/deployments/web"]["status"] = {"observedGeneration": 1}
    replica_set = {"metadata": {"name": "web-1", "uid": "set", "ownerReferences": [{"name": "web"}]}}
    cluster.store["replicasets"] = {"items": [replica_set]}
    metadata = {"name": "web-1-x", "uid": "pod", "ownerReferences": [{"name": "web-1"}]}
    pod: dict[str, Any] = {"metadata": metadata, "spec": {"containers": [{"name": "web"}]}, "status": status}
    cluster.store["pods"] = {"items": [pod]}
    return pod


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "PAUSE", 0.01)
    monkeypatch.setattr(rollout, "SIGNS", 0.03)


def told(cluster: FakeCluster, patience: float | None = 0.05, seconds: float = 20) -> str:
    with pytest.raises(NotRolledOutError) as caught:
        rollout.wait(cluster, [item("Deployment", "web", "apps/v1")], seconds, patience)
    late = caught.value.text.startswith("not rolled out")
    assert caught.value.id == ("not-rolled-out" if late else "pods-cannot-start")
    return caught.value.text


CREATING = [{"name": "web", "state": {"waiting": {"reason": "PodInitializing"}}}]


@pytest.mark.usefixtures("quick")
def test_pods_that_are_refused_are_told_by_their_replica_set(cluster: FakeCluster) -> None:
    starting(cluster)
    cluster.store["pods"] = {"items": []}
    (replica_set,) = cluster.store["replicasets"]["items"]
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: few, used: pods=2"}
    replica_set["status"] = {"conditions": [failure]}
    said = "Deployment/apps/web cannot start: its pods are refused: exceeded quota: few, used: pods=2"
    assert told(cluster) == said
    # Pods that end give back what is missing: until they have, it is only told when time is up.
    cluster.store["pods"] = {"items": [{"metadata": {"name": "old", "deletionTimestamp": "now"}}]}
    late = "not rolled out within 0.3 s:\nDeployment/apps/web: its pods are refused: exceeded quota: few, used: pods=2"
    assert told(cluster, seconds=0.3) == late
    failure["message"] = 'pods "web-1-" is forbidden: violates PodSecurity "restricted:latest"'
    assert 'violates PodSecurity "restricted:latest"' in told(cluster, patience=None)


@pytest.mark.usefixtures("quick")
def test_a_volume_that_cannot_be_mounted_is_told_by_the_pods_event(cluster: FakeCluster) -> None:
    pod = starting(cluster, containerStatuses=CREATING)
    pod["spec"]["nodeName"] = "node-1"
    message = 'MountVolume.SetUp failed for volume "disk" : hostPath type check failed: /none is not a directory'
    events = [
        event("FailedMount", message, "pod", ago=2),
        event("FailedMount", "of the pod before it", "another", ago=1),
        event("FailedMount", "timed out waiting for the condition", "pod"),
    ]
    cluster.store["events"] = {"items": events}
    assert told(cluster) == f"Deployment/apps/web cannot start: pod web-1-x: FailedMount: {message}"
    # It was mounted in the end: an image that takes long to pull is nobody's fault.
    pod["status"]["conditions"] = [{"type": "PodReadyToStartContainers", "status": "True"}]
    assert "FailedMount" not in told(cluster, seconds=0.2)


@pytest.mark.usefixtures("quick")
def test_a_claim_that_nobody_can_provide_is_told_by_its_event(cluster: FakeCluster) -> None:
    pod = starting(cluster)
    pod["spec"]["volumes"] = [{"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}]
    message = "NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes"
    cluster.store["events"] = {"items": [event("ProvisioningFailed", message, "claim", "PersistentVolumeClaim")]}
    claim = {"metadata": {"name": "disk", "uid": "claim"}, "status": {"phase": "Pending"}}
    cluster.store["persistentvolumeclaims"] = {"items": [claim]}
    # It does not pass by itself, so no patience is needed.
    assert told(cluster, patience=None).endswith(f"pod web-1-x: claim disk is not bound: {message}")
    claim["status"] = {"phase": "Bound"}
    assert "claim disk" not in told(cluster, seconds=0.2)


@pytest.mark.usefixtures("quick")
def test_a_pod_that_no_node_takes_is_told_in_the_schedulers_words(cluster: FakeCluster) -> None:
    message = "0/3 nodes are available: 3 Insufficient cpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod = starting(cluster, conditions=[condition])
    assert told(cluster) == f"Deployment/apps/web cannot start: pod web-1-x: no node takes it: {message}"
    # A node that is coming back takes it.
    node = {"metadata": {"name": "node-1"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    cluster.store["nodes"] = {"items": [node]}
    assert told(cluster, patience=0.1, seconds=0.3).startswith("not rolled out")
    # So does one from which others are being moved.
    del cluster.store["nodes"]
    pod["status"]["nominatedNodeName"] = "node-1"
    assert told(cluster, seconds=0.2).startswith("not rolled out")


@pytest.mark.usefixtures("quick")
def test_a_secret_for_the_registry_that_is_not_there_is_told_with_the_image(cluster: FakeCluster) -> None:
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "unauthorized"}}
    starting(cluster, containerStatuses=[{"name": "web", "state": state}])
    message = "Unable to retrieve some image pull secrets (registry); attempting to pull the image may not succeed."
    cluster.store["events"] = {"items": [event("FailedToRetrieveImagePullSecret", message, "pod")]}
    assert told(cluster, patience=0.1).endswith(f"ImagePullBackOff: unauthorized ({message})")


@pytest.mark.usefixtures("quick")
def test_a_crash_is_told_with_the_last_lines_and_without_secrets(cluster: FakeCluster) -> None:
    ended = {"exitCode": 1, "reason": "Error", "message": "no answer with hunter2\n"}
    crash = {"name": "web", "restartCount": 3, "lastState": {"terminated": ended}}
    pod = starting(cluster, containerStatuses=[{**crash, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}])
    source = {"secretKeyRef": {"name": "token", "key": "TOKEN"}}
    pod["spec"]["containers"] = [{"name": "web", "env": [{"name": "TOKEN", "valueFrom": source}]}]
    cluster.store["/api/v1/namespaces/apps/secrets/token"] = {"data": {"TOKEN": "aHVudGVyMg=="}}
    log = "/api/v1/namespaces/apps/pods/web-1-x/log"
    cluster.logs[log] = "connecting with hunter2\nTraceback:\nKeyError: 'MODEL'\n"
    failed = "pod web-1-x: container web has failed 3 times, last with 1: no answer with …"
    assert told(cluster).splitlines() == [
        f"Deployment/apps/web cannot start: {failed}",
        "    its last lines (kubectl --namespace apps logs --previous web-1-x --container web):",
        "    | connecting with …",
        "    | Traceback:",
        "    | KeyError: 'MODEL'",
    ]
    assert ("GET", f"{log}?container=web&tailLines=10&limitBytes=65536&previous=true") in cluster.asked
    del cluster.logs[log]
    assert "its last lines" not in told(cluster)


@pytest.mark.usefixtures("quick")
def test_a_log_is_not_shown_where_what_to_take_out_is_not_known(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = {"name": "web", "restartCount": 3, "lastState": {"terminated": {"exitCode": 1}}}
    pod = starting(cluster, containerStatuses=[{**crash, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}])
    pod["spec"]["volumes"] = [{"name": "token", "secret": {"secretName": "token"}}]
    cluster.logs["/api/v1/namespaces/apps/pods/web-1-x/log"] = "hunter2"
    ask = cluster.ask

    def refuse(path: str, **more: Any) -> tuple[int, dict[str, Any]]:
        return (403, {"message": "forbidden"}) if "/secrets/" in path else ask(path, **more)

    monkeypatch.setattr(cluster, "ask", refuse)
    said = told(cluster)
    assert "hunter2" not in said
    assert "its log is not shown, as its Secrets cannot be read" in said


@pytest.mark.usefixtures("quick")
def test_what_goes_on_when_time_is_up_is_told_with_events_and_log(cluster: FakeCluster) -> None:
    pod = starting(cluster, containerStatuses=[{"name": "web", "state": {"running": {}}, "ready": False}])
    probe = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    cluster.store["events"] = {"items": [event("Unhealthy", probe, "pod")]}
    assert told(cluster, seconds=0).endswith(f"Deployment/apps/web: web-1-x runs and is not ready ({probe})")
    pod["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 3}}
    cluster.logs["/api/v1/namespaces/apps/pods/web-1-x/log"] = "out of luck\n"
    assert told(cluster, seconds=0).endswith("    | out of luck")


@pytest.mark.usefixtures("quick")
def test_events_are_read_only_where_something_is_not_there_yet(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting(cluster, containerStatuses=CREATING)
    state = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    web = cluster.store["/apis/apps/v1/namespaces/apps/deployments/web"]
    web["status"], started = state, web["status"]
    rollout.wait(cluster, [item("Deployment", "web", "apps/v1")], 5)
    assert not [path for _, path in cluster.asked if path.endswith("/events")]
    web["status"] = started
    monkeypatch.setattr(rollout, "SIGNS", 0.1)
    told(cluster, seconds=0.25)
    looks = [path for _, path in cluster.asked if path.endswith("/pods")]
    read = [path for _, path in cluster.asked if path.endswith("/events")]
    assert 2 <= len(read) <= 4 < len(looks)


@pytest.mark.usefixtures("quick")
def test_a_cluster_that_refuses_to_show_events_is_waited_for_all_the_same(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting(cluster, containerStatuses=CREATING)
    ask = cluster.ask

    def refuse(path: str, **more: Any) -> tuple[int, dict[str, Any]]:
        return (403, {"message": "forbidden"}) if "/events" in path else ask(path, **more)

    monkeypatch.setattr(cluster, "ask", refuse)
    assert told(cluster, seconds=0.1).endswith(
        "Deployment/apps/web: web-1-x is starting on no node (web PodInitializing)"
    )


def test_pods_are_waited_for_until_they_are_ready(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "PAUSE", 0.01)
    applier = Applier(cluster)
    applied = applier.apply([item("Pod", "client", spec={})])
    status: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "False"}]}
    cluster.store["/api/v1/namespaces/apps/pods/client"]["status"] = status
    waiting = {"reason": "InvalidImageName", "message": "no"}
    status["containerStatuses"] = [{"name": "agent", "state": {"waiting": {"reason": "ContainerCreating"}}}]
    with refused("not-rolled-out: Pod/apps/client: … no node (agent ContainerCreating)", NotRolledOutError):
        applier.wait(applied, 0.05)
    status["containerStatuses"] = [{"name": "agent", "state": {"waiting": waiting}}]
    with refused("pods-cannot-start: Pod/apps/client … InvalidImageName: no", NotRolledOutError):
        applier.wait(applied, 60)
    status["conditions"] = [{"type": "Ready", "status": "True"}]
    applier.wait(applied, 5)
