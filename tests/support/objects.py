"""A cluster in memory for tests that apply objects, and the objects that they apply."""

from __future__ import annotations

import copy
import threading
from typing import Any

from slipway.cluster.client import Cluster, Kind
from slipway.errors import SlipwayError

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
    """An object of that kind, in a namespace where such objects are in one."""
    metadata = {"name": name, **({"namespace": "apps"} if kind in NAMESPACED else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


DEFINITION = item("CustomResourceDefinition", "pools.test.io", "apiextensions.k8s.io/v1", spec={"group": "test.io"})
POOL = item("Pool", version="test.io/v1", spec={"addresses": ["192.0.2.1"]})
