"""Nodes, pods and workloads as an API server gives them, and a cluster that takes evictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from slipway.cluster.drain import EXCLUDED

Object = dict[str, Any]


def node(name: str, *, ready: bool = True, tainted: bool = False) -> Object:
    taints = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}] if tainted else []
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"taints": taints},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]},
    }


def pod(
    name: str, place: str, of: str = "", *, kind: str = "ReplicaSet", ready: bool = True, claim: str = ""
) -> Object:
    owners = [{"kind": kind, "name": of, "uid": f"uid-{of}", "controller": True}] if of else []
    volumes = [{"persistentVolumeClaim": {"claimName": claim}}] if claim else []
    return {
        "metadata": {"namespace": "shop", "name": name, "labels": {"app": of}, "ownerReferences": owners},
        "spec": {"nodeName": place, "volumes": volumes, "terminationGracePeriodSeconds": 30},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def workload(name: str, replicas: int, kind: str = "ReplicaSet") -> Object:
    metadata = {"namespace": "shop", "name": name, "uid": f"uid-{name}"}
    return {"kind": kind, "metadata": metadata, "spec": {"replicas": replicas}}


def deployment(name: str, replicas: int = 1, **more: Any) -> tuple[Object, Object]:
    """A Deployment and its ReplicaSet, which has the pods of ``name``."""
    metadata = {"namespace": "shop", "name": name, "uid": f"uid-deployment-{name}"}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    spec = {"replicas": replicas, "strategy": strategy, "template": {"metadata": {}}, **more}
    owned = workload(name, replicas)
    owner = {"kind": "Deployment", "name": name, "uid": metadata["uid"], "controller": True}
    owned["metadata"]["ownerReferences"] = [owner]
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}, owned


def budget(name: str, of: str) -> Object:
    status = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1}
    selector = {"matchLabels": {"app": of}}
    return {"metadata": {"namespace": "shop", "name": name}, "spec": {"selector": selector}, "status": status}


CLAIM: Object = {"metadata": {"namespace": "shop", "name": "data"}}
VOLUME: Object = {
    "metadata": {"name": "pv"},
    "spec": {
        "claimRef": {"namespace": "shop", "name": "data"},
        "nodeAffinity": {
            "required": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-2"]}]}
                ]
            }
        },
    },
}


class Cluster:
    """A cluster that takes evictions, and makes a pod anew on node-1 at the next look."""

    def __init__(self, pods: Iterable[Object] = (), **more: list[Object]) -> None:
        self.lists: dict[str, list[Object]] = {
            "Node": [node("ctrl", tainted=True), node("node-1"), node("node-2")],
            "Pod": list(pods),
            **more,
        }
        self.asked: list[tuple[str, str]] = []
        self.refuses: Callable[[str], str] = lambda _: ""
        self.remade = True

    def many(self, what: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [what(item) for item in items]

    def listed(self, _version: str, kind: str) -> list[Object] | None:
        return list(self.lists.get(kind, []))

    def kind(self, *_: str) -> object:
        return object()

    def path(self, item: Object) -> str:
        return f"/{item['kind']}/{item['metadata']['name']}"

    def get(self, path: str) -> Object | None:
        _, kind, name = path.split("/")
        return next((one for one in self.lists[kind] if one["metadata"]["name"] == name), None)

    def ask(self, path: str, *, method: str = "GET", body: Any = None) -> tuple[int, Object]:
        self.asked.append((method, path))
        if method == "PATCH":
            before = self.get(path.partition("?")[0])
            assert before
            if before.get("kind") == "Deployment":
                return 200, self.roll(before, body)
            labels = {key: value for key, value in before["metadata"]["labels"].items() if key != EXCLUDED}
            metadata = {**before["metadata"], "labels": labels | body["metadata"].get("labels", {})}
            # All annotations here are the drain's own: what it does not name any more goes.
            metadata["annotations"] = body["metadata"].get("annotations", {})
            after = {**before, "metadata": metadata, "spec": {**before["spec"], **body["spec"]}}
            self.lists["Node"] = [after if one is before else one for one in self.lists["Node"]]
            return 200, after
        name = path.removesuffix("/eviction").rpartition("/")[2]
        if method == "POST" and (why := self.refuses(name)):
            return 429, {"message": why}
        if path.startswith("/Node/"):
            self.lists["Node"] = [one for one in self.lists["Node"] if one["metadata"]["name"] != name]
            return 200, {}
        (gone,) = (one for one in self.lists["Pod"] if one["metadata"]["name"] == name)
        self.lists["Pod"].remove(gone)
        if gone["metadata"]["ownerReferences"] and self.remade:
            again = {**gone, "metadata": {**gone["metadata"], "name": f"{name}-again"}}
            self.lists["Pod"].append({**again, "spec": {**gone["spec"], "nodeName": "node-1"}})
        return 201, {}

    def roll(self, before: Object, body: Object) -> Object:
        """A new pod on node-1, and the old one ends, unless no new one can start."""
        after = {**before, "spec": {**before["spec"], "template": body["spec"]["template"]}}
        self.lists["Deployment"] = [after if one is before else one for one in self.lists["Deployment"]]
        (old,) = (one for one in self.lists["Pod"] if one["metadata"]["labels"]["app"] == before["metadata"]["name"])
        new = {**old, "metadata": {**old["metadata"], "name": f"{old['metadata']['name']}-new"}}
        new["spec"] = {**old["spec"], "nodeName": "node-1"}
        if self.remade:
            self.lists["Pod"].remove(old)
        else:
            scheduled = {"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}
            new["status"] = {"phase": "Pending", "conditions": [scheduled]}
        self.lists["Pod"].append(new)
        return after

    @property
    def evicted(self) -> list[str]:
        return [path.split("/")[-2] for method, path in self.asked if method == "POST"]
