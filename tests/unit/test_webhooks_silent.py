"""A webhook that is silent is asked again, and a run that gives up tells which pod, node or network is the cause."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.cluster import rollout, webhooks, workloads
from slipway.cluster.apply import Applier
from slipway.errors import SlipwayError

from tests.support.errors import refused
from tests.support.objects import FakeCluster, item


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def test_a_webhook_that_does_not_answer_yet_is_asked_again(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "PAUSE", 0.01)
    not_yet = (500, 'Internal error occurred: failed calling webhook "a.test.io": connection refused')
    path = "/api/v1/namespaces/apps/configmaps/a"
    cluster.refusals = {path: [not_yet, (500, "etcdserver: leader changed"), (503, "shutting down"), (429, "later")]}
    assert Applier(cluster, patience=20).apply([item("ConfigMap")])[0].changed
    cluster.refusals = {path: [not_yet] * 2}
    with refused("refused-by-api: failed calling webhook"):
        Applier(cluster).apply([item("ConfigMap")])


SPACE = "/api/v1/namespaces/apps"
LABELS = {"app": "judge"}
JUDGE = {
    "metadata": {"name": "judge", "namespace": "apps", "generation": 1},
    "spec": {"replicas": 1, "template": {"metadata": {"labels": LABELS}}},
    "status": {"observedGeneration": 1},
}
OTHER = {**JUDGE, "metadata": {"name": "other"}, "spec": {"template": {"metadata": {}}}}


def judged(cluster: FakeCluster, why: str = "context deadline exceeded", **pod: Any) -> dict[str, Any]:
    """Have objects whose webhook does not answer, with one pod behind it, and give that pod."""
    for name in "ab":
        call = f'Post "https://judge.apps.svc:443/validate-{name}?timeout=10s": {why}'
        said = f'Internal error occurred: failed calling webhook "{name}.test.io": failed to call webhook: {call}'
        cluster.refusals[f"{SPACE}/configmaps/{name}"] = [(500, said)] * 10000
    cluster.store[f"{SPACE}/services/judge"] = {"spec": {"selector": LABELS}}
    cluster.store["/apis/apps/v1/namespaces/apps/deployments"] = {"items": [JUDGE, OTHER]}
    replica_set = {"metadata": {"name": "judge-1", "ownerReferences": [{"name": "judge"}]}}
    cluster.store["replicasets"] = {"items": [replica_set]}
    owners = [{"name": "judge-1"}]
    made: dict[str, Any] = {
        "metadata": {"name": "judge-1-x", "uid": "pod", "labels": LABELS, "ownerReferences": owners},
        "spec": {"nodeName": "node-2", "containers": [{"name": "judge", "image": "test.io/judge:1"}]},
        "status": {},
        **pod,
    }
    cluster.store["pods"] = {"items": [made]}
    return made


def node(name: str, ready: str = "True", ago: float = 0, message: str = "") -> dict[str, Any]:
    at = datetime.fromtimestamp(time.time() - ago, UTC).isoformat().replace("+00:00", "Z")
    found = {"type": "Ready", "status": ready, "lastTransitionTime": at, "message": message}
    return {"metadata": {"name": name}, "status": {"conditions": [found]}}


def unanswered(cluster: FakeCluster, patience: float = 20) -> list[str]:
    began = time.monotonic()
    with pytest.raises(SlipwayError) as caught:
        Applier(cluster, patience=patience).apply([item("ConfigMap", name) for name in "ab"])
    assert time.monotonic() - began < 10
    first, *rest = caught.value.message.splitlines()
    assert first.startswith(
        "ConfigMap/apps/a, ConfigMap/apps/b: the webhook of Service apps/judge, which judges this, "
    )
    return rest


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "PAUSE", 0.01)
    monkeypatch.setattr(rollout, "SIGNS", 0.03)
    monkeypatch.setattr(workloads, "PATIENCE", 0.05)
    monkeypatch.setattr(webhooks, "REACHED", 0.05)


@pytest.mark.usefixtures("hasty")
def test_a_webhook_whose_image_is_not_pulled_is_told_by_its_pod_and_ends_early(cluster: FakeCluster) -> None:
    full = "write /var/lib/containerd/ingest/1: no space left on device"
    waiting = {"waiting": {"reason": "ErrImagePull", "message": full}}
    judged(cluster, status={"containerStatuses": [{"name": "judge", "state": waiting}]})
    (said,) = unanswered(cluster)
    assert said == (
        f"Deployment/apps/judge cannot start: pod judge-1-x, image test.io/judge:1: ErrImagePull: {full} "
        "(a disk of node-2 is full; look there at: df --human-readable / /var /var/lib/containerd)"
    )


@pytest.mark.usefixtures("hasty")
def test_a_webhook_on_a_node_that_is_away_is_told_by_the_node_and_ends_early(cluster: FakeCluster) -> None:
    judged(cluster)
    cluster.store["nodes"] = {"items": [node("ctrl"), node("node-2", "Unknown", 300, "Kubelet stopped posting.")]}
    assert unanswered(cluster) == [
        "Deployment/apps/judge cannot start: pod judge-1-x is on node-2, which is not Ready: Kubelet stopped posting.",
        "node node-2: Kubelet stopped posting",
    ]
    # One that is away since a moment ago may come back.
    cluster.store["nodes"] = {"items": [node("ctrl"), node("node-2", "Unknown", 3, "Kubelet stopped posting.")]}
    late = unanswered(cluster, patience=0.3)
    assert late == ["Deployment/apps/judge: its pods are starting", "node node-2: Kubelet stopped posting"]


@pytest.mark.usefixtures("hasty")
def test_a_webhook_that_no_node_takes_is_told_in_the_schedulers_words(cluster: FakeCluster) -> None:
    words = "0/2 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }."
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    judged(cluster, spec={"containers": []}, status={"conditions": [unplaced]})
    pressed = node("node-2")
    pressed["status"]["conditions"].append({"type": "DiskPressure", "status": "True"})
    cluster.store["nodes"] = {"items": [pressed]}
    told_, by_node = unanswered(cluster)
    assert f"no node takes it: {words} (a node's disk is nearly full" in told_
    assert by_node == "node node-2: DiskPressure"


@pytest.mark.usefixtures("hasty")
def test_a_webhook_whose_pods_are_ready_and_not_reached_is_told_with_likely_causes(cluster: FakeCluster) -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.244.2.5"}
    judged(cluster, status=ready)
    told_, look = unanswered(cluster)
    assert "the pods behind Service apps/judge are Ready (judge-1-x on node-2, 10.244.2.5)" in told_
    assert "8472/udp (VXLAN)" in told_
    assert look.startswith("look at: kubectl --namespace kube-flannel")
    # A certificate that is not there yet comes by itself.
    judged(cluster, why="tls: failed to verify certificate: x509", status=ready)
    assert unanswered(cluster, patience=0.3) == []


@pytest.mark.usefixtures("hasty")
def test_a_webhook_of_nobody_is_named_when_time_is_up(cluster: FakeCluster) -> None:
    judged(cluster)
    del cluster.store[f"{SPACE}/services/judge"]
    assert unanswered(cluster, patience=0.2) == ["there is no Service apps/judge"]
