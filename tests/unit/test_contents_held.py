"""A page of contents held against a cluster: what is new, what differs, what goes, what is refused, and its Secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from slipway.contents import waits
from slipway.contents.held import Held, looked
from slipway.contents.plan import RECORD
from slipway.contents.spec import is_of_contents, load
from slipway.contents.waits import NotDoneError
from slipway.errors import SlipwayError
from slipway.page.read import SettingsError
from slipway.release.listed import read as listed
from slipway.release.look import ReleaseClient

from tests.support.api import ApiServer, place
from tests.support.contents import ROUTES, SHOP
from tests.support.errors import tells
from tests.support.ingresses import ingress

Object = dict[str, Any]
SECRET = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {k: hidden-text}\n"


class Server(ApiServer):
    """Lists objects of all namespaces, too."""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Object]:
        status, found = super().answer(method, path, body)
        if method == "GET" and found.get("items") == []:
            asked = urlsplit(path).path
            places = {re.sub(r"/namespaces/[^/]+(?=/[^/]+/[^/]+$)", "", at): item for at, item in self.objects.items()}
            found = {"items": [item for at, item in places.items() if at.rpartition("/")[0] == asked]}
        return status, found


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    server = Server(tmp_path, monkeypatch)
    yield server
    server.stop()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "k8s").mkdir()
    (tmp_path / "k8s" / "all.yaml").write_text(f"{SHOP}---\n{ROUTES}{SECRET}")
    made = tmp_path / "shop.yml"
    made.write_text("name: shop\nmanifests: [k8s/]\n")
    return made


def held(page: Path, api: ApiServer, **arguments: Any) -> Held:
    return Held(page, arguments, ReleaseClient(str(api.kubeconfig)))


def planned(page: Path, api: ApiServer, **arguments: Any) -> dict[str, Any]:
    return held(page, api, **arguments).present(lambda _: {})


def apply(page: Path, api: ApiServer) -> None:
    """Do what the role does with a plan, as far as things are applied."""
    result = planned(page, api)
    made = held(page, api).made()
    secrets = [item for item in made.secrets if item["metadata"]["name"] in result["rendered_secrets_due"]]
    applied = [item for turn in result["turns"] for item in turn["stage"].get("apply", [])]
    for item in [*applied, *secrets]:
        where = item["metadata"].get("namespace", "")
        api.put(place(item["apiVersion"], item["kind"], where, item["metadata"]["name"]), item)


def text(result: dict[str, Any]) -> str:
    return "\n".join(str(one.get("after_header") or one) for one in result["differences"])


def test_all_of_it_is_new_and_then_nothing_differs(page: Path, api: ApiServer) -> None:
    first = planned(page, api)
    assert first["differs"]
    assert [turn["name"] for turn in first["turns"]] == ["namespace", "foundation", "workloads", "routes", "tidy"]
    assert "VirtualService/shop/shop" in text(first)
    apply(page, api)
    again = planned(page, api)
    assert not again["differs"]
    assert text(again) == ""
    assert [(turn["name"], turn["stage"]) for turn in again["turns"]] == [("workloads", {})]


def test_an_ingress_stays_until_the_clusters_gateway_serves_its_class(page: Path, api: ApiServer) -> None:
    (page.parent / "k8s" / "all.yaml").write_text(SHOP)
    (page.parent / "k8s" / "ingress.yaml").write_text(ingress(host="in.local", annotations={"rewrite-target": "/"}))
    assert any("of class nginx, and this cluster has no controller" in one for one in planned(page, api)["warnings"])
    apply(page, api)
    served = {"metadata": {"name": "nginx"}, "spec": {"controller": "istio.io/ingress-controller"}}
    api.put(place("networking.k8s.io/v1", "IngressClass", "", "nginx"), served)
    result = planned(page, api)
    told = "\n".join(result["warnings"])
    assert "what stands in its place is Gateway/shop/web-in-local, VirtualService/shop/web-in-local" in told
    assert "no controller" not in told
    routes = next(turn["stage"] for turn in result["turns"] if turn["name"] == "routes")
    assert [item["kind"] for item in routes["apply"]][-2:] == ["Gateway", "VirtualService"]
    assert [item["kind"] for item in routes["remove"]] == ["Ingress"]


def test_what_secrets_hold_is_in_no_plan_and_no_difference(page: Path, api: ApiServer) -> None:
    result = planned(page, api)
    assert result["rendered_secrets_due"] == ["key"]
    assert "Secret/shop/key" in text(result)
    for hidden in ("hidden-text", "aGlkZGVuLXRleHQ="):
        assert hidden not in str(result)


def test_a_change_touches_what_it_is_about_alone_and_prunes_what_is_gone(page: Path, api: ApiServer) -> None:
    apply(page, api)
    manifests = page.parent / "k8s" / "all.yaml"
    manifests.write_text(manifests.read_text().replace("weight: 90", "weight: 80").replace("weight: 10", "weight: 20"))
    result = planned(page, api)
    assert text(result).splitlines() == ["VirtualService/shop/shop", f"ConfigMap/shop/{RECORD.format('shop')}"]
    manifests.write_text(SHOP)
    gone = planned(page, api)
    removed = [item["kind"] for turn in gone["turns"] for item in turn["stage"].get("remove", [])]
    assert removed == ["VirtualService", "Secret"]


def test_of_another_owner_nothing_is_taken_but_with_adopt(page: Path, api: ApiServer) -> None:
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    owner = {f"meta.helm.sh/release-{key}": "shop" for key in ("name", "namespace")}
    there = {"metadata": {"name": "web", "namespace": "shop", "labels": labels, "annotations": owner}}
    api.put(place("v1", "Namespace", "", "shop"), {"kind": "Namespace", "metadata": {"name": "shop"}})
    api.put(place("v1", "Service", "shop", "web"), {"kind": "Service", **there})
    with pytest.raises(SettingsError, match="Helm release shop/shop") as caught:
        planned(page, api)
    tells(caught.value, "object-taken")
    taken = planned(page, api, adopt=True)
    assert any("takes it over" in one for one in taken["warnings"])


def test_what_the_api_server_refuses_is_said_with_the_file(page: Path, api: ApiServer) -> None:
    api.put(place("v1", "Namespace", "", "shop"), {"kind": "Namespace", "metadata": {"name": "shop"}})
    api.refusals[place("apps/v1", "Deployment", "shop", "back")] = [(404, ""), (422, "spec.selector: is immutable")]
    with pytest.raises(SettingsError, match=r"Deployment/shop/back \(k8s/all\.yaml\).*is immutable") as caught:
        planned(page, api)
    tells(caught.value, "refused-by-api")


def test_everything_goes_with_the_release(page: Path, api: ApiServer) -> None:
    apply(page, api)
    result = held(page, api).absent()
    kinds = [item["kind"] for item in result["prune"]]
    assert kinds[0] == "VirtualService"
    assert kinds[-1] == "Namespace"
    assert {"Secret", "ConfigMap", "Deployment"} <= set(kinds)


def test_kinds_that_only_the_record_knows_are_found(
    page: Path, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support import api as served

    monkeypatch.setitem(served.KINDS, "example.org/v1", "Poll")
    (page.parent / "k8s" / "poll.yaml").write_text("apiVersion: example.org/v1\nkind: Poll\nmetadata: {name: lunch}\n")
    apply(page, api)
    (page.parent / "k8s" / "poll.yaml").unlink()
    removed = [item["kind"] for turn in planned(page, api)["turns"] for item in turn["stage"].get("remove", [])]
    assert removed == ["Poll"]


def test_what_a_page_of_services_follows_was_a_chart_and_goes_whole(page: Path, api: ApiServer) -> None:
    labels = {"app.kubernetes.io/managed-by": "slipway", "slipway.io/release": "shop", "slipway.io/namespace": "shop"}
    item = {"kind": "StatefulSet", "metadata": {"name": "data", "namespace": "shop", "labels": labels}, "spec": {}}
    apply(page, api)
    api.put(place("apps/v1", "StatefulSet", "shop", "data"), item)
    found = looked(ReleaseClient(str(api.kubeconfig)), "shop", "shop")
    assert "StatefulSet" in {item["kind"] for item in found.own}


def test_without_a_cluster_all_is_planned(page: Path) -> None:
    result = Held(page, {"pending": True}, None).present(lambda _: {})
    assert result["differs"]
    assert "there is no cluster yet" in result["warnings"][-1]


# Pages.


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("name: a\nchart: ./helm\nmanifests: [k8s/]", "needs-one-of"),
        ("name: a\nchart: ./helm\nservices: {web: {versions: {v1: a}}}", "not-of-contents"),
        ("name: a\nchart: ./helm\nweights: {v1: 100}", "not-of-contents"),
        ("name: a\nchart: {path: ./helm, valeus: [a]}", "unknown-key"),
        ("chart: ./helm", "missing-key"),
    ],
)
def test_pages_that_cannot_work_are_refused(tmp_path: Path, text: str, error: str) -> None:
    made = tmp_path / "a.yml"
    made.write_text(f"{text}\n")
    with pytest.raises(SettingsError) as caught:
        load(made)
    tells(caught.value, error)


def test_values_of_a_run_that_are_the_chart_s_are_refused(page: Path) -> None:
    with pytest.raises(SettingsError, match="the value of the chart that says it") as caught:
        load(page, {"weights": {"v1": 100}})
    tells(caught.value, "override-unknown")
    assert load(page, {"name": "again", "weights": {}, "hosts": []}).release.name == "again"


def test_pages_are_told_apart_and_a_list_of_releases_takes_both(page: Path) -> None:
    assert is_of_contents(page)
    assert not is_of_contents("releases/hello.yml")
    assert listed(str(page)).namespace == "shop"


@pytest.mark.parametrize("key", ["manifests: [nowhere/]", "kustomization: ./nowhere"])
def test_files_that_are_not_there_are_refused(page: Path, api: ApiServer, key: str) -> None:
    page.write_text(f"name: shop\n{key}\n")
    with pytest.raises(SettingsError) as caught:
        planned(page, api)
    tells(caught.value, "file-missing")


def test_a_kustomization_of_elsewhere_is_refused(page: Path, api: ApiServer) -> None:
    (page.parent / "k8s" / "kustomization.yaml").write_text("resources: [https://example.org/all.yaml]\n")
    page.write_text("name: shop\nkustomization: k8s\n")
    with pytest.raises(SettingsError, match="may be another one tomorrow") as caught:
        planned(page, api)
    tells(caught.value, "not-repeatable")


def test_without_helm_a_chart_says_what_puts_it_there(page: Path, api: ApiServer) -> None:
    (page.parent / "Chart.yaml").write_text("name: shop\n")
    page.write_text("name: shop\nchart: .\n")
    with pytest.raises(SlipwayError, match="make up") as caught:
        planned(page, api, programs={"helm": "/nowhere/helm"})
    tells(caught.value, "program-missing")


# Waits.

JOB = {"apiVersion": "batch/v1", "kind": "Job", "namespace": "shop", "name": "once"}
SET = {"apiVersion": "apps/v1", "kind": "StatefulSet", "namespace": "shop", "name": "data"}


def conditions(**types: str) -> Object:
    return {"conditions": [{"type": name, "status": "True", "message": text} for name, text in types.items()]}


def test_a_job_is_done_when_it_is_complete_and_a_set_when_its_pods_are_there(api: ApiServer) -> None:
    job = {"kind": "Job", "metadata": {"name": "once", "namespace": "shop"}, "status": conditions(Complete="")}
    api.put(place("batch/v1", "Job", "shop", "once"), job)
    ready = {"observedGeneration": 1, "updatedReplicas": 2, "readyReplicas": 2}
    item = {"kind": "StatefulSet", "metadata": {"name": "data", "generation": 1}, "spec": {"replicas": 2}}
    api.put(place("apps/v1", "StatefulSet", "shop", "data"), {**item, "status": ready})
    waits.wait(ReleaseClient(str(api.kubeconfig)), [JOB, SET], 1)
    api.put(place("apps/v1", "StatefulSet", "shop", "data"), {**item, "status": {**ready, "readyReplicas": 1}})
    with pytest.raises(NotDoneError, match="StatefulSet/shop/data") as caught:
        waits.wait(ReleaseClient(str(api.kubeconfig)), [SET], 0.1)
    tells(caught.value, "not-rolled-out")


def test_a_job_that_has_failed_ends_the_wait_at_once(api: ApiServer) -> None:
    job = {"kind": "Job", "metadata": {"name": "once", "namespace": "shop"}, "status": conditions(Failed="it broke")}
    api.put(place("batch/v1", "Job", "shop", "once"), job)
    with pytest.raises(NotDoneError, match="it broke") as caught:
        waits.wait(ReleaseClient(str(api.kubeconfig)), [JOB], 60)
    tells(caught.value, "job-ended-badly")
