"""What a cluster keeps of its CAs follows each step of their rotation, and pods are started again for it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from slipway.cluster import rollout, trusting
from slipway.cluster.client import Kind
from slipway.cluster.trusting import Rotation
from slipway.errors import SlipwayError
from slipway.node.trust import blocks, key_id, trusted

from tests.support.authorities import authorities
from tests.support.objects import FakeCluster
from tests.unit.test_rotation import EARLY, LATE, item, pod, secret
from tests.unit.test_trust import kubeconfig, token

OLD, NEW = authorities("old"), authorities("new")
BOTH = {name: OLD[name] + NEW[name] for name in OLD if name.endswith((".crt", ".pub"))}
INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
EXTENSIONS = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
ROOT = "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt"
SECRETS = "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Fservice-account-token"
PUBLISHED = "/api/v1/configmaps?fieldSelector=metadata.name%3Dkube-root-ca.crt"
KEY = key_id(blocks(NEW["pki/sa.pub"])[0])


class Cluster(FakeCluster):
    """One that has what rotations read."""

    def __init__(self, published: str = "") -> None:
        super().__init__()
        self.kinds["apps/v1"].append("StatefulSet")
        self.put(INFO, {"kubeconfig": kubeconfig(OLD["pki/ca.crt"]), "jws-kubeconfig-abc": "signed"})
        own = {"client-ca-file": OLD["pki/ca.crt"], "requestheader-client-ca-file": OLD["pki/front-proxy-ca.crt"]}
        self.put(EXTENSIONS, {**own, "requestheader-allowed-names": "[]"})
        self.lists: dict[str, list[Any]] = {"pods": [], "owners": [], SECRETS: []}
        self.lists[PUBLISHED] = [self.config("kube-system", published), self.config("shop", published)]
        self.evicted: list[str] = []
        self.refused: dict[str, tuple[int, dict[str, Any]]] = {}
        self.applied: list[dict[str, Any]] = []

    @staticmethod
    def config(space: str, text: str) -> dict[str, Any]:
        return {"metadata": {"namespace": space, "name": "kube-root-ca.crt"}, "data": {"ca.crt": text}}

    def put(self, path: str, data: dict[str, str]) -> None:
        metadata = {"name": path.rpartition("/")[2], "generation": 1, "creationTimestamp": EARLY}
        self.store[path] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def kind(self, version: str, name: str) -> Kind | None:
        return Kind(version, name, f"{name.lower()}s", True) if name == "StatefulSet" else super().kind(version, name)

    def listed(self, *given: Any, **_: Any) -> list[dict[str, Any]] | None:
        return [one for one in (*self.lists["pods"], *self.lists["owners"]) if one["kind"] == given[1]]

    def _ask(self, path: str, method: str, body: Any) -> tuple[int, dict[str, Any]]:
        if path.partition("?")[0] in self.refused:
            return self.refused[path.partition("?")[0]]
        if method == "GET" and path in self.lists:
            return 200, {"items": self.lists[path]}
        if path.endswith("/eviction"):
            self.evicted.append(body["metadata"]["name"])
            self.store.pop(path.removesuffix("/eviction"), None)
            self.lists["pods"] = [one for one in self.lists["pods"] if one["metadata"]["name"] not in self.evicted]
            return 201, {}
        if method == "PUT" and "/secrets/" in path:
            assert "token" not in body["data"]
            self.lists[SECRETS] = [secret(body["metadata"]["name"], token(KEY))]
            return 200, {}
        if method == "PATCH":
            self.applied.append(body)
            # A server keeps what others have.
            before = self.store.get(path.partition("?")[0], {})
            status, made = super()._ask(path, method, body)
            if "data" in made:
                made["data"] = {**before.get("data", {}), **made["data"]}
            return status, made
        return super()._ask(path, method, body)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "PAUSE", 0.01)
    monkeypatch.setattr(trusting, "PAUSE", 0.01)


def test_cluster_info_follows_and_a_second_time_is_no_change() -> None:
    cluster = Cluster(BOTH["pki/ca.crt"])
    assert Rotation(cluster, 0.1).bring("accept", BOTH)
    data = cluster.store[INFO]["data"]
    assert trusted(data["kubeconfig"]) == blocks(BOTH["pki/ca.crt"])
    assert data["jws-kubeconfig-abc"] == "signed"
    assert not Rotation(cluster, 0.1).bring("accept", BOTH)
    # What API servers tell others grows by itself.
    assert blocks(cluster.store[EXTENSIONS]["data"]["client-ca-file"]) == [OLD["pki/ca.crt"]]


def test_a_namespace_without_the_new_ca_stops_it() -> None:
    cluster = Cluster(BOTH["pki/ca.crt"])
    cluster.lists[PUBLISHED].append(Cluster.config("late", OLD["pki/ca.crt"]))
    with pytest.raises(SlipwayError, match=r"has other CAs than the controllers in late") as error:
        Rotation(cluster, 0.05).bring("accept", BOTH)
    assert error.value.id == "authority-unseen"


def test_with_the_last_step_nobody_is_told_of_the_old_ones() -> None:
    cluster = Cluster(NEW["pki/ca.crt"])
    public = {name: NEW[name] for name in BOTH}
    data = cluster.store[EXTENSIONS]["data"]
    data["client-ca-file"] += NEW["pki/ca.crt"]
    assert Rotation(cluster, 0.1).bring("drop", public)
    data = cluster.store[EXTENSIONS]["data"]
    assert blocks(data["client-ca-file"]) == [NEW["pki/ca.crt"]]
    assert blocks(data["requestheader-client-ca-file"]) == [NEW["pki/front-proxy-ca.crt"]]
    assert data["requestheader-allowed-names"] == "[]"
    assert trusted(cluster.store[INFO]["data"]["kubeconfig"]) == [NEW["pki/ca.crt"]]
    assert not Rotation(cluster, 0.1).bring("drop", public)


def test_tokens_that_never_end_are_signed_anew() -> None:
    cluster = Cluster(BOTH["pki/ca.crt"])
    files = {**BOTH, "pki/sa.pub": NEW["pki/sa.pub"] + OLD["pki/sa.pub"]}
    old = key_id(blocks(OLD["pki/sa.pub"])[0])
    cluster.lists[SECRETS] = [secret("robot", token(old))]
    assert Rotation(cluster, 0.1).bring("issue", files)
    (left,) = cluster.lists[SECRETS]
    assert base64.b64decode(left["data"]["token"]).decode() == token(KEY)
    cluster.lists[SECRETS] = [secret("robot", token(old))]
    cluster.refused["/api/v1/namespaces/shop/secrets/robot"] = (409, {})
    with pytest.raises(SlipwayError, match="shop/robot"):
        Rotation(cluster, 0.05).bring("issue", files)


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster whose pods started before they could see the new CA."""
    cluster = Cluster()
    cluster.put(ROOT, {"ca.crt": BOTH["pki/ca.crt"]})
    cluster.lists["owners"] = [
        item("ReplicaSet", "dns-1", ("Deployment", "dns"), space="kube-system"),
        item("Deployment", "dns", space="kube-system"),
        item("StatefulSet", "db", labels={"slipway.io/part": "x"}),
        item("ReplicaSet", "web-1", ("Deployment", "web")),
        item("Deployment", "web"),
    ]
    cluster.lists["pods"] = [
        pod("dns-1-x", owner=("ReplicaSet", "dns-1"), space="kube-system"),
        pod("db-0", owner=("StatefulSet", "db")),
        pod("web-1-x", owner=("ReplicaSet", "web-1")),
    ]
    for one in cluster.lists["pods"]:
        one["metadata"]["uid"] = one["metadata"]["name"]
        place = f"/api/v1/namespaces/{one['metadata']['namespace']}/pods/{one['metadata']['name']}"
        cluster.store[place] = one

    def waited(_cluster: Any, items: list[dict[str, Any]], _seconds: float) -> None:
        (one,) = items
        for each in cluster.lists["pods"]:
            if each["metadata"]["name"].startswith(one["metadata"]["name"]):
                each["status"]["containerStatuses"] = [{"state": {"running": {"startedAt": LATE}}}]

    monkeypatch.setattr(rollout, "wait", waited)
    return cluster


def test_ours_start_again_and_those_of_others_are_named(busy: Cluster) -> None:
    said: list[str] = []
    with pytest.raises(SlipwayError, match="Deployment shop/web") as error:
        Rotation(busy, 0.1, said.append).restart(BOTH, everything=False, force=False)
    assert error.value.id == "pods-believe-old-ca"
    assert "kube-system" not in error.value.text
    (rolled,) = busy.applied
    assert (rolled["kind"], rolled["metadata"]["name"]) == ("Deployment", "dns")
    assert busy.evicted == ["db-0"]
    assert said == ["Deployment kube-system/dns starts again", "StatefulSet shop/db starts again"]
    # Once more: nothing of ours is left.
    assert Rotation(busy, 0.1).restart(BOTH, everything=False, force=True) == []


def test_all_start_again_if_that_is_asked_for(busy: Cluster) -> None:
    done = Rotation(busy, 0.1).restart(BOTH, everything=True, force=False)
    assert done == ["Deployment kube-system/dns", "StatefulSet shop/db", "Deployment shop/web"]
    marks = {one["spec"]["template"]["metadata"]["annotations"]["slipway.io/trusts"] for one in busy.applied}
    assert len(marks) == 1


def test_a_pod_that_nobody_makes_anew_is_never_taken_away(busy: Cluster) -> None:
    busy.lists["pods"] = [pod("lonely", space="kube-system")]
    with pytest.raises(SlipwayError, match="make these anew"):
        Rotation(busy, 0.1).restart(BOTH, everything=True, force=False)
    assert busy.evicted == []
    assert Rotation(busy, 0.1).restart(BOTH, everything=True, force=True) == []


def test_a_pod_that_does_not_end_is_told(busy: Cluster) -> None:
    busy.refused["/api/v1/namespaces/shop/pods/db-0/eviction"] = (429, {"message": "budget"})
    with pytest.raises(SlipwayError, match=r"shop/db-0 cannot be started again: budget"):
        Rotation(busy, 0.05).restart(BOTH, everything=False, force=True)


def test_the_plan_is_made_of_what_there_is(busy: Cluster) -> None:
    busy.lists[SECRETS] = [secret("robot", token("old"))]
    planned, lines = Rotation(busy, 0.1).plan({"ctrl": {"begun": 0, "waits": False}})
    assert planned["steps"] == ["accept", "issue", "drop"]
    text = "\n".join(lines)
    assert "Deployment shop/web" in text
    assert "shop/robot" in text
    assert "dns" not in text
