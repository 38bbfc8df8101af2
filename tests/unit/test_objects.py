"""Lists of objects applied to a cluster: their order, what counts as a change, and what is said of what is refused."""

from __future__ import annotations

import copy
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible.template import trust_as_template
from slipway.cluster import rollout, webhooks, workloads
from slipway.cluster.apply import Applier
from slipway.cluster.client import Cluster, Kind
from slipway.cluster.objects import flat, holds, identity, read, shown, stages, without
from slipway.cluster.rollout import NotRolledOutError
from slipway.errors import SlipwayError

from tests.support.errors import refused

NAMESPACED = {
    "Pod",
    "ConfigMap",
    "Deployment",
    "DaemonSet",
    "ReplicaSet",
    "Service",
    "Secret",
    "Pool",
    "PersistentVolumeClaim",
}
RESOURCES = {
    "v1": ["Namespace", "ConfigMap", "Service", "Secret", "Pod", "Node", "PersistentVolumeClaim"],
    "apps/v1": ["Deployment", "DaemonSet", "ReplicaSet"],
    "apiextensions.k8s.io/v1": ["CustomResourceDefinition"],
}


class FakeCluster(Cluster):
    """An API server in memory: it merges nothing, and sets the fields that servers set."""

    def __init__(self) -> None:
        self.store: dict[str, dict[str, Any]] = {}
        self.kinds = copy.deepcopy(RESOURCES)
        self.asked: list[tuple[str, str]] = []
        self.refusals: dict[str, list[tuple[int, str]]] = {}
        self.lasting: set[str] = set()
        self.logs: dict[str, str] = {}
        self.lock = threading.Lock()

    def kind(self, version: str, name: str) -> Kind | None:
        if name not in self.kinds.get(version, []):
            return None
        return Kind(version, name, f"{name.lower()}s", name in NAMESPACED)

    def ask(self, path: str, *, method: str = "GET", body: Any = None, accept: str = "") -> tuple[int, dict[str, Any]]:
        assert not accept
        with self.lock:
            return self._ask(path, method, body)

    def _ask(self, path: str, method: str, body: Any) -> tuple[int, dict[str, Any]]:
        where, _, query = path.partition("?")
        self.asked.append((method, where))
        if where.endswith(("/pods", "/replicasets", "/events", "/persistentvolumeclaims", "/nodes")):
            return 200, {"items": self.store.get(where.rpartition("/")[2], {}).get("items", [])}
        if method == "GET":
            where = path
            return (200, self.store[where]) if where in self.store else (404, {"message": "not found"})
        if refusals := self.refusals.get(where):
            status, message = refusals.pop(0)
            return status, {"message": message}
        if method == "DELETE":
            # The query of a deletion with a body is not read by an API server.
            assert body["propagationPolicy"] == "Background"
            if where not in self.store:
                return 404, {"message": "not found"}
            stays = body.get("dryRun") == ["All"] or where in self.lasting
            return 200, self.store[where] if stays else self.store.pop(where)
        made = self._made(where, body)
        if "dryRun=All" not in query:
            self.store[where] = made
            if made["kind"] == "CustomResourceDefinition":
                self.kinds[f"{made['spec']['group']}/v1"] = ["Pool"]
        return 200, made

    def text(self, path: str, accept: str = "") -> str:
        assert not accept
        self.asked.append(("GET", path))
        if path.partition("?")[0] not in self.logs:
            raise SlipwayError("api-refuses", "not found")
        return self.logs[path.partition("?")[0]]

    def _made(self, where: str, body: dict[str, Any]) -> dict[str, Any]:
        before = self.store.get(where)
        made = {**copy.deepcopy(body), "status": {"conditions": [{"type": "Established", "status": "True"}]}}
        same = before is not None and before.get("spec") == made.get("spec") and before.get("data") == made.get("data")
        generation = before["metadata"]["generation"] + (not same) if before else 1
        made["metadata"] |= {"generation": generation, "managedFields": [len(self.asked)], "uid": "1"}
        return made


def item(kind: str, name: str = "a", version: str = "v1", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": "apps"} if kind in NAMESPACED else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


DEFINITION = item("CustomResourceDefinition", "pools.test.io", "apiextensions.k8s.io/v1", spec={"group": "test.io"})
POOL = item("Pool", version="test.io/v1", spec={"addresses": ["192.0.2.1"]})


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def test_what_others_need_comes_first_and_new_kinds_last() -> None:
    given = [POOL, item("Deployment", version="apps/v1"), item("ConfigMap"), DEFINITION, item("Namespace", "apps")]
    assert [[one["kind"] for one in stage] for stage in stages(given)] == [
        ["CustomResourceDefinition", "Namespace"],
        ["ConfigMap"],
        ["Deployment"],
        ["Pool"],
    ]


def test_documents_and_lists_are_read() -> None:
    one = item("ConfigMap")
    assert list(flat([one, None, {"apiVersion": "v1", "kind": "List", "items": [one]}, [one]])) == [one] * 3
    for wrong in ("text", {"kind": "ConfigMap"}, [7]):
        with refused("not-an-object"):
            list(flat(wrong))


def test_text_is_read_also_when_it_is_ansibles_own() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps}\n"
    assert read(trust_as_template(f"{text}---\n---\n{text}")) == [item("ConfigMap")] * 2
    assert read([item("ConfigMap")]) == [item("ConfigMap")]
    with refused("yaml-syntax"):
        read("a: [")


def test_a_second_apply_changes_nothing(cluster: FakeCluster) -> None:
    given = [item("Namespace", "apps"), item("ConfigMap", data={"a": "1"}), DEFINITION, POOL]
    assert [one.changed for one in Applier(cluster).apply(given)] == [True] * 4
    # The server has written managedFields anew, and a controller the status.
    assert [one.changed for one in Applier(cluster).apply(given)] == [False] * 4


def test_a_change_is_named_with_what_was_there(cluster: FakeCluster) -> None:
    Applier(cluster).apply([item("ConfigMap", data={"a": "1"})])
    (one,) = Applier(cluster).apply([item("ConfigMap", data={"a": "2"})])
    assert one.changed
    assert one.name == "ConfigMap/apps/a"
    assert one.before
    assert (one.before["data"], one.after["data"]) == ({"a": "1"}, {"a": "2"})


def test_a_definition_is_sent_again_only_when_it_is_another_or_was_changed(cluster: FakeCluster) -> None:
    def sent(given: dict[str, Any], dry_run: bool = False) -> tuple[bool, bool]:
        cluster.asked.clear()
        (one,) = Applier(cluster, dry_run).apply([given])
        return any(method == "PATCH" for method, _ in cluster.asked), one.changed

    long = {
        **DEFINITION,
        "status": {"conditions": []},
        "spec": {"group": "test.io", "versions": [{"name": "v1", "served": True}], "scope": "Cluster"},
    }
    assert sent(long) == (True, True)
    assert sent(long) == (False, False)
    # One version less is another sum, although all that is wanted is there.
    short = {**long, "spec": {"group": "test.io", "versions": [{"name": "v1", "served": True}]}}
    assert sent(short, dry_run=True) == (True, True)
    assert sent(short) == (True, True)
    (there,) = [one for path, one in cluster.store.items() if path.endswith("/pools.test.io")]
    there["spec"]["versions"][0]["served"] = False
    assert sent(short) == (True, True)
    assert sent(short) == (False, False)


@pytest.mark.parametrize(
    ("there", "wanted", "held"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        # What the server drops because it is empty.
        ({"a": 1}, {"a": 1, "b": None, "c": {}, "d": False}, True),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, True),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}]}, False),
        ({"a": {"b": 1}}, {"a": [1]}, False),
        ({"a": 1}, {"a": {"b": 1}}, False),
        ({"a": {"status": 1}}, {"a": {"status": 2}}, False),
    ],
)
def test_what_is_wanted_is_held_by_what_is_there(there: Any, wanted: Any, held: bool) -> None:
    assert holds(there, wanted) is held


def test_a_dry_run_says_what_would_be_new_and_makes_nothing(cluster: FakeCluster) -> None:
    given = [item("Namespace", "apps"), item("ConfigMap"), DEFINITION, {**POOL, "metadata": {"name": "a"}}]
    assert [one.changed for one in Applier(cluster, dry_run=True).apply(given)] == [True] * 4
    assert not cluster.store
    # What is in the namespace, or of the kind, that would be made cannot be asked about.
    assert not [path for method, path in cluster.asked if method == "PATCH" and "namespaces/apps/" in path]
    Applier(cluster).apply(given)
    assert not any(one.changed for one in Applier(cluster, dry_run=True).apply(given))


def test_all_that_is_refused_is_named_at_once(cluster: FakeCluster) -> None:
    base = "/api/v1/namespaces/apps/configmaps"
    cluster.refusals = {f"{base}/a": [(422, "a is wrong")], f"{base}/b": [(403, "b is forbidden")]}
    with pytest.raises(SlipwayError) as refused:
        Applier(cluster, patience=60).apply([item("ConfigMap", name) for name in "abc"])
    assert refused.value.text == (
        "ConfigMap/apps/a: the API server refuses it (422): a is wrong\n"
        "ConfigMap/apps/b: the API server refuses it (403): b is forbidden"
    )


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


def test_a_kind_that_is_not_known_is_named(cluster: FakeCluster) -> None:
    with refused("unknown-kind: Pool/apps/a: … Pool … test.io/v1"):
        Applier(cluster).apply([POOL])


def test_a_namespace_that_is_not_said_is_the_default_one(cluster: FakeCluster) -> None:
    bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    Applier(cluster).apply([bare])
    assert list(cluster.store) == ["/api/v1/namespaces/default/configmaps/a"]
    assert identity(bare) == "ConfigMap/a"


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


def test_what_is_taken_away_is_gone_and_a_second_run_changes_nothing(cluster: FakeCluster) -> None:
    given = [item("ConfigMap", "a", data={"a": "1"}), item("ConfigMap", "b"), item("Namespace", "apps")]
    applier = Applier(cluster)
    applier.apply(given)
    assert [one.changed for one in Applier(cluster, dry_run=True).remove(given)] == [True] * 3
    assert len(cluster.store) == 3
    cluster.asked.clear()
    removed = applier.remove(given)
    assert [(one.name, one.changed) for one in removed] == [
        ("ConfigMap/apps/a", True),
        ("ConfigMap/apps/b", True),
        ("Namespace/apps", True),
    ]
    assert removed[0].before
    assert removed[0].before["data"] == {"a": "1"}
    # In the order that was given: what is in a namespace before it.
    assert [path for method, path in cluster.asked if method == "DELETE"][-1] == "/api/v1/namespaces/apps"
    assert not cluster.store
    applier.gone(given, 1)
    assert not any(one.changed for one in applier.remove(given))


def test_of_a_kind_that_is_not_known_there_is_nothing(cluster: FakeCluster) -> None:
    assert [one.changed for one in Applier(cluster).remove([POOL])] == [False]
    Applier(cluster).gone([POOL], 1)


def test_what_does_not_go_is_named_with_what_keeps_it(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "PAUSE", 0.01)
    applier = Applier(cluster)
    applier.apply([item("Namespace", "apps")])
    path = "/api/v1/namespaces/apps"
    cluster.lasting = {path}
    cluster.store[path]["status"] = {"conditions": [{"status": "True", "message": "some content remains"}]}
    assert applier.remove([item("Namespace", "apps")])[0].changed
    with refused("still-there") as kept:
        applier.gone([item("Namespace", "apps")], 0.05)
    assert kept.value.text == "Namespace/apps is still there: some content remains"
    # It is going already: that is no change of ours.
    cluster.store[path]["metadata"]["deletionTimestamp"] = "now"
    assert not applier.remove([item("Namespace", "apps")])[0].changed


def test_a_removal_that_is_refused_is_named(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "PAUSE", 0.01)
    given = [item("ConfigMap", name) for name in "ab"]
    Applier(cluster).apply(given)
    base = "/api/v1/namespaces/apps/configmaps"
    cluster.refusals = {f"{base}/a": [(403, "forbidden")]}
    with refused("refused-by-api: ConfigMap/apps/a: … (403): forbidden"):
        Applier(cluster).remove(given)
    cluster.refusals = {f"{base}/a": [(503, "shutting down")]}
    assert [one.changed for one in Applier(cluster, patience=20).remove(given)] == [True, False]


def test_objects_are_read_by_kind_by_place_and_by_name(cluster: FakeCluster) -> None:
    applier = Applier(cluster)
    applier.apply([item("ConfigMap", data={"a": "1"}), item("Namespace", "apps")])
    cluster.store["/api/v1/namespaces/apps/configmaps"] = {"items": [{"metadata": {"name": "a"}}]}
    cluster.store["/api/v1/configmaps"] = {"items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}
    assert [one["metadata"]["name"] for one in applier.look("v1", "ConfigMap")] == ["a", "b"]
    assert applier.look("v1", "ConfigMap", "apps") == [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    ]
    assert [one["data"] for one in applier.look("v1", "ConfigMap", "apps", "a")] == [{"a": "1"}]
    assert not applier.look("v1", "ConfigMap", "apps", "gone")
    selected = "/api/v1/configmaps?fieldSelector=metadata.name%3Da&labelSelector=app%3Dweb%2Ctier%3Dback"
    cluster.store[selected] = {"items": [{"metadata": {"name": "b"}}]}
    found = applier.look("v1", "ConfigMap", fields=["metadata.name=a"], labels=["app=web", "tier=back"])
    assert [one["metadata"]["name"] for one in found] == ["b"]
    # A namespace says nothing about what is in none, and an unknown kind has no rollout.
    assert applier.look("v1", "Namespace", "other", "apps")
    assert not applier.look("test.io/v1", "Pool")


def test_what_is_hidden_or_for_nobody_is_left_out() -> None:
    secret = item("Secret", data={"tls.crt": "a", "tls.key": "b"})
    secret["metadata"]["managedFields"] = [1]
    seen = without(secret, ["tls.key"])
    assert seen == {**item("Secret"), "data": {"tls.crt": "a"}}
    assert without(item("Namespace"), ["tls.key"]) == item("Namespace")


def test_of_a_secret_only_the_keys_are_shown() -> None:
    secret = item("Secret", data={"password": "c2VjcmV0"}, type="Opaque")
    assert shown(secret) == {**secret, "data": {"password": "(not shown)"}}
    assert shown(item("ConfigMap", data={"a": "1"})) == item("ConfigMap", data={"a": "1"})
    assert shown(None) is None


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
