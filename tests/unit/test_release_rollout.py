"""A stage is carried out in its order, and waits for what has to be learned or gone; the cluster is a stand-in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.cluster.client import Kind
from slipway.errors import SlipwayError
from slipway.release.stage import HANDED_OVER, Rollout

from tests.support.errors import refused

Object = dict[str, Any]
APPS = "/apis/apps/v1/namespaces/shop"
PODS = "/api/v1/namespaces/shop/pods"
KINDS = {
    "/api/v1": [("Service", "services"), ("Pod", "pods")],
    "/apis/apps/v1": [("Deployment", "deployments"), ("ReplicaSet", "replicasets")],
    "/apis/autoscaling/v2": [("HorizontalPodAutoscaler", "horizontalpodautoscalers")],
    "/apis/gateway.networking.k8s.io/v1": [("HTTPRoute", "httproutes")],
    "/apis/networking.istio.io/v1": [("VirtualService", "virtualservices")],
}


class Cluster:
    """Keeps objects by path, and what it was asked to change. ``lasting``: looks until what is taken away is gone."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.changes: list[tuple[str, str, str]] = []
        self.metrics: list[str | None] = []
        self.lasting: dict[str, int] = {}

    def many(self, what: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [what(item) for item in items]

    def kind(self, version: str, name: str) -> Kind | None:
        plural = dict(KINDS.get(f"/apis/{version}" if "/" in version else f"/api/{version}", [])).get(name)
        return Kind(version, name, plural, namespaced=True) if plural else None

    def path(self, item: Object) -> str:
        kind = self.kind(item["apiVersion"], item["kind"])
        assert kind
        return kind.path(item["metadata"].get("namespace", ""), item["metadata"]["name"])

    def read(self, version: str, kind: str, namespace: str, name: str) -> Object | None:
        return self.get(
            self.path({"apiVersion": version, "kind": kind, "metadata": {"namespace": namespace, "name": name}})
        )

    def listed(self, version: str, kind: str, namespace: str) -> list[Object]:
        known = self.kind(version, kind)
        return self.items(known.path(namespace), metadata=True) if known else []

    def get(self, path: str) -> Object | None:
        if path in self.lasting:
            self.lasting[path] -= 1
            if self.lasting[path] < 0:
                self.objects.pop(path, None)
        return self.objects.get(path)

    def items(self, path: str, _: str = "", *, metadata: bool = False) -> list[Object]:
        assert metadata or path.endswith(("/replicasets", "/pods"))
        return [item for at, item in self.objects.items() if at.startswith(f"{path}/")]

    def ask(self, path: str, *, method: str, body: Object) -> tuple[int, Object]:
        path, _, query = path.partition("?")
        self.changes.append((method, path.rpartition("/")[2], body.get("propagationPolicy") or query))
        if method == "DELETE":
            if path not in self.lasting:
                self.objects.pop(path, None)
            return 200, {}
        self.objects[path] = body
        return 200, body

    def text(self, _: str) -> str:
        told = self.metrics.pop(0) if len(self.metrics) > 1 else self.metrics[0]
        if told is None:
            raise SlipwayError("api-silent", "istiod cannot be asked")
        return told


def thing(kind: str, name: str, **rest: Any) -> Object:
    version = next(
        at.removeprefix("/apis/").removeprefix("/api/") for at, kinds in KINDS.items() if kind in dict(kinds)
    )
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}, **rest}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    clock = iter(range(100000))
    monkeypatch.setattr("slipway.release.stage.time.sleep", lambda _: None)
    # Each look takes a second.
    monkeypatch.setattr("slipway.release.stage.time.monotonic", lambda: float(next(clock)))
    return Cluster()


def rollout(cluster: Cluster, **more: Any) -> Rollout:
    return Rollout(cluster, "shop", "shop", **{"timeout": 600, "settle": 60, **more})  # type: ignore[arg-type]


def test_a_stage_is_carried_out_in_its_order(cluster: Cluster) -> None:
    for path, item in (
        ("/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/web", thing("HorizontalPodAutoscaler", "web")),
        (f"{APPS}/deployments/taken", thing("Deployment", "taken")),
        (f"{APPS}/deployments/gone", thing("Deployment", "gone")),
        (f"{APPS}/replicasets/taken-1", thing("ReplicaSet", "taken-1")),
        (f"{APPS}/replicasets/owned-1", thing("ReplicaSet", "owned-1") | {"metadata": {"ownerReferences": [{}]}}),
        ("/api/v1/namespaces/shop/services/old", thing("Service", "old")),
    ):
        cluster.objects[path] = item
    stage = {
        "remove_first": [thing("HorizontalPodAutoscaler", "web")],
        "hand_over": [thing("Deployment", "scaled", spec={"replicas": 3})],
        "take_over": [thing("Deployment", "taken")],
        "apply": [thing("Service", "new")],
        "remove": [thing("Service", "old")],
        "in_turn": [[thing("Deployment", "gone")]],
        "orphans": True,
    }
    changed = rollout(cluster).carry_out(stage)
    assert cluster.changes == [
        ("DELETE", "web", "Background"),
        ("PATCH", "scaled", f"fieldManager={HANDED_OVER}&force=true"),
        ("DELETE", "taken", "Orphan"),
        ("PATCH", "new", "fieldManager=slipway&force=true"),
        ("DELETE", "old", "Background"),
        ("DELETE", "taken-1", "Foreground"),
        ("DELETE", "gone", "Foreground"),
    ]
    assert len(changed) == len(cluster.changes)


def test_what_an_interrupted_run_has_told_to_go_is_made_anew_when_it_is_gone(cluster: Cluster) -> None:
    path = f"{APPS}/deployments/web"
    cluster.objects[path] = thing("Deployment", "web") | {"metadata": {"deletionTimestamp": "now", "name": "web"}}
    cluster.lasting[path] = 5
    rollout(cluster).carry_out({"apply": [thing("Deployment", "web")]})
    assert "deletionTimestamp" not in cluster.objects[path]["metadata"]


def pod(grace: int) -> Object:
    return {"metadata": {"name": "web-1", "deletionTimestamp": "now", "deletionGracePeriodSeconds": grace}}


def test_pods_on_a_node_that_is_away_are_waited_for_no_longer_than_they_may_take(cluster: Cluster) -> None:
    cluster.objects[f"{APPS}/deployments/web"] = thing("Deployment", "web")
    cluster.lasting[f"{APPS}/deployments/web"] = 10**6
    cluster.objects[f"{PODS}/web-1"] = pod(33)
    rollout(cluster).carry_out({"in_turn": [[thing("Deployment", "web")]]})
    assert 40 < 10**6 - cluster.lasting[f"{APPS}/deployments/web"] < 60


def without_image(name: str, ago: float, reason: str = "ImagePullBackOff", **more: Any) -> Object:
    at = datetime.fromtimestamp(time.time() - ago, UTC).isoformat().replace("+00:00", "Z")
    status = {"containerStatuses": [{"name": "web", "state": {"waiting": {"reason": reason}}}]}
    return {"metadata": {"name": name, "creationTimestamp": at, **more}, "status": status}


def test_pods_that_an_earlier_run_left_without_their_image_are_made_anew(cluster: Cluster) -> None:
    done = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    cluster.objects[f"{APPS}/deployments/web"] = thing("Deployment", "web", status=done)
    for item in (
        without_image("left", 60),
        without_image("left-too", 60, "ErrImagePull"),
        without_image("new", 5),
        without_image("starting", 60, "ContainerCreating"),
        without_image("going", 60, deletionTimestamp="now"),
    ):
        cluster.objects[f"{PODS}/{item['metadata']['name']}"] = item
    rollout(cluster).carry_out({}, [{"name": "web"}])
    assert cluster.changes == [("DELETE", "left", "Background"), ("DELETE", "left-too", "Background")]
    cluster.changes.clear()
    cluster.objects[f"{PODS}/left"] = without_image("left", 60)
    rollout(cluster).carry_out({})
    assert not cluster.changes


def test_what_never_goes_is_named_when_time_is_up(cluster: Cluster) -> None:
    cluster.objects[f"{APPS}/deployments/web"] = thing("Deployment", "web")
    cluster.lasting[f"{APPS}/deployments/web"] = 10**6
    with refused("still-there: Deployment/shop/web"):
        rollout(cluster, timeout=5).carry_out({"in_turn": [[thing("Deployment", "web")]]})


def told(updates: int) -> str:
    return (
        f'# HELP pilot_inbound_updates x\npilot_inbound_updates{{type="config"}} {updates}\n'
        f'pilot_inbound_updates{{type="svc"}} 2\npilot_xds_pushes{{type="cds"}} {updates}\nother 7\n'
    )


def settled(cluster: Cluster, **more: Any) -> int:
    """Give the looks that it took."""
    cluster.objects["/api/v1/namespaces/istio-system/pods/istiod-1"] = {"metadata": {"name": "istiod-1"}}
    looks = len(cluster.metrics)
    rollout(cluster, **more).settled()
    return looks - len(cluster.metrics)


def test_it_goes_on_when_istiod_has_nothing_new_for_some_looks(cluster: Cluster) -> None:
    cluster.metrics = [told(number) for number in (1, 2, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4)]
    assert settled(cluster) == 8


def test_where_istiod_cannot_be_asked_all_the_time_is_waited(cluster: Cluster) -> None:
    cluster.metrics = [None] * 100
    assert settled(cluster, settle=20) == 20


def test_a_mesh_that_is_never_quiet_is_waited_for_no_longer_than_told(cluster: Cluster) -> None:
    cluster.metrics = [told(number) for number in range(100)]
    assert settled(cluster, settle=20) == 20


def test_pods_that_still_answer_are_waited_for(cluster: Cluster) -> None:
    cluster.metrics = [told(1)] * 100
    cluster.objects[f"{PODS}/web-1"] = pod(33)
    assert 43 <= settled(cluster) <= 48


PARENT = {"name": "slipway", "namespace": "istio-system", "sectionName": "http-80"}


def http_route(*, accepted: str = "True", resolved: str = "True", seen: int = 2, **parent: str) -> Object:
    conditions = [
        {"type": kind, "status": status, "observedGeneration": seen, "message": f"why {kind}"}
        for kind, status in (("Accepted", accepted), ("ResolvedRefs", resolved))
    ]
    made = thing("HTTPRoute", "shop-entry", spec={"parentRefs": [PARENT]})
    made["metadata"]["generation"] = 2
    return {**made, "status": {"parents": [{"parentRef": {**PARENT, **parent}, "conditions": conditions}]}}


@pytest.mark.parametrize(
    ("route", "why"),
    [
        (http_route(accepted="False"), "http-80: why Accepted"),
        (http_route(resolved="False"), "http-80: why ResolvedRefs"),
        (http_route(seen=1), "http-80: nobody says whether it is taken"),
        (http_route(sectionName="http-8080"), "http-80: nobody says whether it is taken"),
        ({**http_route(), "status": {}}, "http-80: nobody says whether it is taken"),
    ],
)
def test_old_routes_stay_while_istiod_has_not_taken_the_new_ones(cluster: Cluster, route: Object, why: str) -> None:
    path = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/shop-entry"
    old = thing("VirtualService", "shop-entry")
    # As a run that goes on where another one was killed: nothing is applied any more.
    stage = {"remove": [old], "taken": [thing("HTTPRoute", "shop-entry")]}
    cluster.objects[path] = route
    cluster.objects["/apis/networking.istio.io/v1/namespaces/shop/virtualservices/shop-entry"] = old
    with refused(f"route-not-accepted: HTTPRoute/shop/shop-entry … {why}"):
        rollout(cluster).carry_out(stage)
    assert cluster.changes == []
    cluster.objects[path] = http_route()
    rollout(cluster).carry_out(stage)
    assert cluster.changes == [("DELETE", "shop-entry", "Background")]


def test_an_http_route_that_is_gone_is_named(cluster: Cluster) -> None:
    with refused("route-not-accepted: HTTPRoute/shop/shop-entry … it is gone"):
        rollout(cluster).carry_out({"taken": [thing("HTTPRoute", "shop-entry")]})
