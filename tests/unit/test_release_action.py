"""The action plugin that holds a plan against a cluster; the cluster is a stand-in that keeps objects in a dict."""

from __future__ import annotations

import datetime as dt
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from slipway.cluster.objects import identity
from slipway.mesh.certificate import renew, told
from slipway.page.read import SettingsError
from slipway.release import look as release_cluster
from slipway.release.judge import Found, Object, owner, secret_values
from slipway.release.render import render

from tests.support.errors import refused, tells
from tests.support.release import page

ROOT = Path(__file__).parents[2]
PAGE: dict[str, Any] = {
    "name": "shop",
    "hosts": ["shop.local"],
    "secrets": {"token": {"keys": {"K": {"environment": "SHOP_TOKEN"}}}},
    "services": {"web": {"secrets": "token", "versions": {"v1": "example.org/web:1"}}},
    "dashboards": {},
}


class Cluster:
    """What an API server would hold; what is applied is kept as it is."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.certificates: dict[str, dict[str, str]] = {}

    def look(self, name: str, namespace: str) -> Found:
        items = list(self.objects.values())
        spaces = [item for item in items if item["kind"] == "Namespace"]
        return Found(
            name,
            namespace,
            applied=[item for item in items if owner(item)],
            namespaces=spaces,
            certificates=self.certificates,
        )

    def present_secrets(self, namespace: str, names: Iterable[str]) -> dict[str, Object]:
        found = {name: self.objects.get(f"Secret/{namespace}/{name}") for name in names}
        return {name: item for name, item in found.items() if item}

    def changes(
        self, _: Found, objects: Iterable[Object], anew: Iterable[str] = ()
    ) -> list[tuple[Object, Object | None, Object]]:
        assert list(anew) == []
        pairs = ((item, self.objects.get(identity(item))) for item in objects)
        return [(item, before, item) for item, before in pairs if before != item]

    def apply(self, result: dict[str, Any], token: str) -> None:
        """Do what the role does with the plan's result."""
        for stage in result["stages"].values():
            self.objects |= {identity(item): item for item in stage["apply"]}
        present = self.present_secrets("shop", ["token"])
        surroundings, revisions = {"SHOP_TOKEN": token}, result["secret_revisions"]
        for made in secret_values(result["secrets"], present, "shop/shop", surroundings, {}, revisions)[0]:
            values = {"namespace": "shop", "labels": result["labels"], "annotations": made.annotations}
            self.objects |= {
                identity(item): item
                for item in render("secret", name=made.name, type=made.type, data=made.data, **values)
            }


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(release_cluster, "ReleaseClient", lambda _: made)
    monkeypatch.setenv("SHOP_TOKEN", "first")
    return made


def planned(path: Path, **given: Any) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("slipway_action_plan", ROOT / "plugins/action/release_plan.py")
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    action = module.ActionModule.__new__(module.ActionModule)
    empty = {
        "name": "",
        "namespace": "",
        "hosts": [],
        "weights": {},
        "adopt": False,
        "delete_claims": [],
        "mail": {},
        "cluster": {},
        "ca_folder": "",
        "pending": False,
    }
    found: dict[str, Any] = action._present({"page": str(path), "kubeconfig": "/k", **empty, **given}, {})  # noqa: SLF001
    return found


def changed(result: dict[str, Any]) -> set[str]:
    return {identity(item) for stage in result["stages"].values() for item in stage["apply"]}


def test_a_second_run_finds_nothing_to_do_and_a_new_secret_makes_only_its_pods_anew(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = page(tmp_path, PAGE)
    first = planned(path)
    assert first["secrets_due"] == ["token"]
    cluster.apply(first, "first")
    again = planned(path)
    assert (changed(again), again["secrets_due"], again["differences"]) == (set(), [], [])
    monkeypatch.setenv("SHOP_TOKEN", "hunter2")
    third = planned(path)
    assert (changed(third), third["secrets_due"]) == ({"Deployment/shop/web-v1"}, ["token"])
    assert "hunter2" not in str(third)
    cluster.apply(third, "hunter2")
    assert planned(path)["differences"] == []


def test_what_is_somebody_elses_is_refused_with_its_line_and_taken_over_when_told_to(
    tmp_path: Path, cluster: Cluster
) -> None:
    path = page(tmp_path, PAGE)
    metadata = {"name": "web", "namespace": "shop", "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {}}
    cluster.objects |= {identity(item): item for item in (space, service)}
    with pytest.raises(SettingsError) as caught:
        planned(path)
    (problem,) = caught.value.problems
    tells(problem, "object-taken: Service/shop/web … managed by Helm")
    assert problem.where.startswith(f"{path}:")
    assert "release_adopt=true" in problem.works
    taken = planned(path, adopt=True)
    assert "Service/shop/web is managed by Helm: this release takes it over" in taken["warnings"]
    assert "Service/shop/web" in changed(taken)
    cluster.apply(taken, "first")
    # From then on it is the release's.
    assert planned(path)["differences"] == []


def test_a_check_of_a_cluster_that_is_still_to_be_made_plans_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "first")
    path, nowhere = page(tmp_path, PAGE), str(tmp_path / "kubeconfig")
    with refused("kubeconfig-missing: make up"):
        planned(path, kubeconfig=nowhere)
    made = planned(path, kubeconfig=nowhere, pending=True)
    assert {"Namespace/shop", "Service/shop/web", "Deployment/shop/web-v1"} <= changed(made)
    assert made["secrets_due"] == ["token"]
    assert (made["stages"].get("retire", []), made["warnings"][-1][:38]) == (
        [],
        "there is no cluster with a mesh yet th",
    )
    # What is wrong with the page is said all the same, and what this machine lacks.
    monkeypatch.delenv("SHOP_TOKEN")
    with refused("value-not-set: SHOP_TOKEN", SettingsError):
        planned(path, kubeconfig=nowhere, pending=True)


def test_a_cluster_without_a_mesh_is_one_that_is_still_to_be_made(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: str) -> Found:
        raise release_cluster.NoMeshError(
            "no-mesh", "this cluster does not know VirtualService: a release needs the mesh"
        )

    monkeypatch.setattr(cluster, "look", look)
    (tmp_path / "kubeconfig").write_text("")
    path, there = page(tmp_path, PAGE), str(tmp_path / "kubeconfig")
    with refused("no-mesh"):
        planned(path, kubeconfig=there)
    assert "VirtualService/shop/shop-entry" in changed(planned(path, kubeconfig=there, pending=True))


def test_hosts_that_the_gateways_certificate_lacks_are_told_where_its_authority_is_and_refused_elsewhere(
    tmp_path: Path, cluster: Cluster
) -> None:
    path = page(tmp_path, {**PAGE, "gateway": {"tls": {}}})
    folder = tmp_path / "ca"
    renew(folder, ["*.lab.local"], "Authority", dt.datetime.now(dt.UTC))
    cluster.certificates = {"slipway-gateway-tls": told(folder / "gateway.crt", folder), "of-others": {}}
    result = planned(path, ca_folder=str(folder))
    assert result["certificate"] == ["shop.local"]
    assert {"prepared": "the gateway's certificate\n+ shop.local\n"} in result["differences"]
    with refused("certificate-not-for-host", SettingsError):
        planned(path)
    renew(folder, ["shop.local"], "Authority", dt.datetime.now(dt.UTC))
    cluster.certificates = {"slipway-gateway-tls": told(folder / "gateway.crt", folder)}
    assert planned(path)["certificate"] == []


def test_what_the_api_server_refuses_is_said_of_the_page(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"Deployment/shop/web-v1": (422, "spec.replicas: Invalid value")}

    def refuse(*_: Any) -> None:
        raise release_cluster.RefusedError(told)

    monkeypatch.setattr(cluster, "changes", refuse)
    said = r"page.yml:\d+: services.web.versions.v1: .*\[refused-by-api\]\n.*spec.replicas"
    with pytest.raises(SettingsError, match=said):
        planned(page(tmp_path, PAGE))
    told.clear()
    told["ConfigMap/shop/none"] = (403, "no")
    with refused("refused-by-api: ConfigMap/shop/none: … (403): no"):
        planned(page(tmp_path, PAGE))
