"""Asking a cluster: over connections that stay open, what is asked again, and what a release has to know of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.cluster.client import BusyError, Cluster, UnansweredError
from slipway.release.judge import MANAGED, OF_RELEASE, Found
from slipway.release.look import ReleaseClient
from slipway.release.objects import KINDS, OF_NAMESPACE

from tests.support.api import ApiServer, place
from tests.support.errors import refused

PODS = "/api/v1/namespaces/apps/pods"
OURS = {MANAGED: "slipway", OF_RELEASE: "shop", OF_NAMESPACE: "shop"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    started = ApiServer(tmp_path, monkeypatch)
    yield started
    started.stop()


@pytest.fixture
def cluster(server: ApiServer) -> Cluster:
    return Cluster(server.kubeconfig)


def metadata(name: str, namespace: str = "shop", **labels: str) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})}


def item(version: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": metadata(name, **OURS), **more}


def test_a_kubeconfig_that_is_not_there_says_what_makes_it(tmp_path: Path) -> None:
    with refused("kubeconfig-missing: No such file or directory … `make up`"):
        Cluster(tmp_path / "kubeconfig")


def test_a_kubeconfig_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("nothing: here\n")
    with refused("kubeconfig-wrong: current-context"):
        Cluster(tmp_path / "kubeconfig")


def test_objects_are_read_one_by_one_and_listed(server: ApiServer, cluster: Cluster) -> None:
    server.put(f"{PODS}/a", {"metadata": metadata("a", "apps")})
    assert [one["metadata"]["name"] for one in cluster.items(PODS) or []] == ["a"]
    assert (cluster.get(f"{PODS}/a") or {})["metadata"]["name"] == "a"
    assert cluster.get(f"{PODS}/b") is None
    cluster.items(PODS, "app=web,tier", metadata=True)
    method, path, accept = server.asked[-1]
    assert (method, path) == ("GET", f"{PODS}?labelSelector=app%3Dweb%2Ctier")
    assert "PartialObjectMetadataList" in accept


def test_a_kind_that_is_unknown_is_no_empty_list(server: ApiServer, cluster: Cluster) -> None:
    server.gone.add(PODS)
    assert cluster.items(PODS) is None


@pytest.mark.parametrize(("status", "kind"), [(403, UnansweredError), (429, BusyError), (503, BusyError)])
def test_another_answer_is_told_with_what_it_says(
    server: ApiServer, cluster: Cluster, status: int, kind: type[Exception]
) -> None:
    server.refusals[PODS] = [(status, "no")] * 2
    with refused(f"api-refuses: listing {PODS} … {status}: no"):
        cluster.items(PODS)
    with refused(f"api-refuses: reading {PODS} … {status}: no") as caught:
        cluster.get(PODS)
    assert type(caught.value) is kind


def test_who_is_told_to_come_again_does_so_to_read(
    server: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.cluster.access.time.sleep", lambda _: None)
    server.again = True
    server.refusals[PODS] = [(429, "storage is (re)initializing")] * 2
    assert cluster.items(PODS) == []
    # One try is one try, and what changes something is said once.
    server.refusals[PODS] = [(429, "no")]
    with refused("api-refuses: 429: no"):
        Cluster(server.kubeconfig, tries=1).items(PODS)
    server.refusals[PODS] = [(429, "no")]
    assert cluster.ask(PODS, method="PATCH", body={})[0] == 429
    monkeypatch.setattr("slipway.cluster.access.AGAIN", -1)
    server.refusals[PODS] = [(429, "no")]
    with refused("api-refuses: 429: no"):
        cluster.items(PODS)


def test_a_connection_that_the_server_closed_is_made_anew(server: ApiServer, cluster: Cluster) -> None:
    assert cluster.items(PODS) == []
    server.hang_up = 1
    assert cluster.items(PODS) == []
    assert len(server.asked) == 3


def test_a_cluster_that_does_not_answer_is_named(server: ApiServer, cluster: Cluster) -> None:
    server.hang_up = 2
    with refused("api-silent: http://127.0.0.1: … see `make status`", BusyError):
        cluster.items(PODS)


def test_an_answer_that_is_no_object_is_empty(server: ApiServer, cluster: Cluster) -> None:
    server.raw = "[1]"
    assert cluster.ask(PODS) == (200, {})


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("v1", "Namespace", "", "shop"), "/api/v1/namespaces/shop"),
        (("v1", "Secret", "shop", ""), "/api/v1/namespaces/shop/secrets"),
        (("apps/v1", "Deployment", "shop", "page"), "/apis/apps/v1/namespaces/shop/deployments/page"),
        (("security.istio.io/v1", "AuthorizationPolicy", "", ""), "/apis/security.istio.io/v1/authorizationpolicies"),
        (("storage.k8s.io/v1", "StorageClass", "shop", "local"), "/apis/storage.k8s.io/v1/storageclasses/local"),
    ],
)
def test_paths_of_the_api(cluster: Cluster, arguments: tuple[str, str, str, str], path: str) -> None:
    kind = cluster.kind(*arguments[:2])
    assert kind
    assert kind.path(*arguments[2:]) == path


def test_what_kinds_there_are_is_asked_once_and_kept_for_the_next_run(server: ApiServer, cluster: Cluster) -> None:
    assert cluster.kind("apps/v1", "Deployment")
    server.silent = True
    assert Cluster(server.kubeconfig).kind("apps/v1", "Deployment") == cluster.kind("apps/v1", "Deployment")
    with refused("api-silent", BusyError):
        Cluster(server.kubeconfig).kind("batch/v1", "Job")


def test_an_unknown_kind_is_no_kind_and_a_path_of_it_may_come(cluster: Cluster) -> None:
    assert cluster.kind("test.io/v1", "Pool") is None
    assert cluster.listed("test.io/v1", "Pool") is None
    assert cluster.read("test.io/v1", "Pool", "apps", "a") is None
    with refused("unknown-kind: Pool/apps/a: … Pool … test.io/v1", BusyError):
        cluster.path({"apiVersion": "test.io/v1", "kind": "Pool", "metadata": {"name": "a", "namespace": "apps"}})


# --- what a release asks ------------------------------------------------------------------------------------


@pytest.fixture
def release(server: ApiServer) -> ReleaseClient:
    return ReleaseClient(server.kubeconfig)


def test_a_look_brings_what_the_release_depends_on(server: ApiServer, release: ReleaseClient) -> None:
    server.put("/api/v1/namespaces/shop", {"metadata": {"name": "shop"}})
    server.put(place("v1", "Secret", "shop", "token"), {"metadata": metadata("token")})
    server.put(place("v1", "ServiceAccount", "shop", "reader"), {"metadata": metadata("reader")})
    server.put("/apis/storage.k8s.io/v1/storageclasses/local", {"metadata": {"name": "local"}})
    server.put(place("v1", "Service", "istio-system", "istio-ingressgateway"), {"metadata": {"name": "g"}})
    server.objects[place("apps/v1", "Deployment") + "/shop"] = {"metadata": metadata("web-v1", **OURS)}
    server.gone.add(place("monitoring.coreos.com/v1", "PrometheusRule"))
    found = release.look("shop", "shop")
    assert found.has_namespace
    assert [one["metadata"]["name"] for one in found.secrets] == ["token"]
    assert found.storage_classes == ["local"]
    assert [one["metadata"]["name"] for one in found.accounts or []] == ["reader"]
    assert found.gateway_service
    assert found.gateway_deployment is None
    assert found.missing_kinds == {"PrometheusRule", "HTTPRoute"}
    # A list says once what its items are; they are told apart by it.
    assert [(one["apiVersion"], one["kind"]) for one in found.own] == [("apps/v1", "Deployment")]


def test_of_secrets_a_look_asks_for_names_alone(server: ApiServer, release: ReleaseClient) -> None:
    release.look("shop", "shop")
    secrets = [accept for _, path, accept in server.asked if "/secrets" in path]
    assert len(secrets) == 3
    assert all("PartialObjectMetadataList" in accept for accept in secrets)


def test_a_cluster_without_the_mesh_cannot_have_a_release(server: ApiServer, release: ReleaseClient) -> None:
    server.gone |= {place(version, kind) for version, kind in KINDS if version.startswith("networking.istio")}
    kinds = "DestinationRule, EnvoyFilter, Gateway, ServiceEntry, Sidecar, VirtualService"
    with refused(f"no-mesh: {kinds} … cluster_parts: {{istio: true}}"):
        release.look("shop", "shop")


def test_changes_are_what_the_api_server_says_would_be(server: ApiServer, release: ReleaseClient) -> None:
    same, other, new = (item("v1", "ConfigMap", name, data={"a": "1"}) for name in ("same", "other", "new"))
    for one in (same, {**other, "data": {"a": "0"}}):
        server.put(place("v1", "ConfigMap", "shop", one["metadata"]["name"]), one)
    # Of a list, what is there has no kind of its own.
    own = {**same, "apiVersion": "v1", "kind": "ConfigMap"}
    found = Found("shop", "shop", applied=[own], namespaces=[{"metadata": {"name": "shop"}}])
    changes = release.changes(found, [same, other, new])
    assert [(one["metadata"]["name"], before is None) for one, before, _ in changes] == [
        ("other", False),
        ("new", True),
    ]
    assert all("dryRun=All" in path for method, path, _ in server.asked if method == "PATCH")
    assert place("v1", "ConfigMap", "shop", "new") not in server.objects


def test_what_is_in_a_namespace_that_is_to_be_made_is_not_asked_about(
    server: ApiServer, release: ReleaseClient
) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    changes = release.changes(Found("shop", "shop"), [space, item("v1", "ConfigMap", "new")])
    assert [after["kind"] for _, _, after in changes] == ["Namespace", "ConfigMap"]
    assert not [path for _, path, _ in server.asked if "configmaps" in path]


def test_all_that_the_api_server_refuses_is_named_at_once(server: ApiServer, release: ReleaseClient) -> None:
    bad = [item("v1", "ConfigMap", name) for name in ("a", "b")]
    for one in bad:
        path = place("v1", "ConfigMap", "shop", one["metadata"]["name"])
        server.put(path, one)
        # Reading it is answered, the dry run is not.
        server.objects[path] = one
    server.refusals = {place("v1", "ConfigMap", "shop", name): [(422, f"{name} is invalid")] for name in ("a", "b")}
    found = Found("shop", "shop", applied=bad, namespaces=[{"metadata": {"name": "shop"}}])
    with refused("refused-by-api") as caught:
        release.changes(found, bad)
    assert caught.value.text.splitlines() == [
        "ConfigMap/shop/a: the API server refuses it (422): a is invalid",
        "ConfigMap/shop/b: the API server refuses it (422): b is invalid",
    ]


def test_secrets_that_are_there_are_given_whole(server: ApiServer, release: ReleaseClient) -> None:
    server.put(place("v1", "Secret", "shop", "token"), {"metadata": metadata("token"), "data": {"K": "djE="}})
    found = release.present_secrets("shop", ["token", "other"])
    assert {name: one["data"] for name, one in found.items()} == {"token": {"K": "djE="}}
