"""Taking a part of the cluster away: what goes, in which order, and what stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from slipway.cluster import prune as parts
from slipway.cluster.apply import Applier
from slipway.cluster.client import Cluster, Kind
from slipway.lab.leftovers import PART

from tests.support.plugins import PLUGINS, load, run_action

OWN = {PART: "metallb"}
KINDS = {
    "v1": {
        "Namespace": False,
        "Service": True,
        "Secret": True,
        "ConfigMap": True,
        "ServiceAccount": True,
        "PersistentVolumeClaim": True,
        "Event": True,
    },
    "apps/v1": {"Deployment": True},
    "admissionregistration.k8s.io/v1": {"ValidatingWebhookConfiguration": False},
    "apiextensions.k8s.io/v1": {"CustomResourceDefinition": False},
    # The version that a client is to prefer need not have all kinds of its group.
    "metallb.io/v1beta2": {"BGPPeer": True},
    "metallb.io/v1beta1": {"IPAddressPool": True, "BGPPeer": True},
}
VERBS = ["list", "delete", "get"]


class Fake(Cluster):
    """An API server that holds objects in a list; what was deleted is in ``deleted``, in its order."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.held, self.deleted = list(objects), list[str]()

    def kind(self, version: str, name: str) -> Kind | None:
        known = KINDS.get(version, {})
        return Kind(version, name, name.lower(), known[name]) if name in known else None

    def ask(self, path: str, *, method: str = "GET", **more: Any) -> tuple[int, dict[str, Any]]:
        where = urlsplit(path)
        words = where.path.strip("/").split("/")
        if path == "/apis":
            versions: dict[str, list[dict[str, str]]] = {}
            for one in (*list(KINDS)[1:], "gone.example.org/v1"):
                versions.setdefault(one.partition("/")[0], []).append({"groupVersion": one})
            groups = [{"preferredVersion": found[0], "versions": found[::-1]} for found in versions.values()]
            return 200, {"groups": groups}
        version = words[1] if words[0] == "api" else "/".join(words[1:3])
        if version not in KINDS:
            return 503, {}
        rest = words[2:] if words[0] == "api" else words[3:]
        if not rest:
            entries = [
                {"name": kind.lower(), "kind": kind, "namespaced": namespaced, "verbs": VERBS}
                for kind, namespaced in KINDS[version].items()
            ]
            return 200, {"resources": [*entries, {"name": "secret/status", "kind": "Secret", "verbs": VERBS}]}
        namespace = ""
        if rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        found = [
            item
            for item in self.held
            if (item["apiVersion"], item["kind"].lower()) == (version, rest[0])
            and namespace in ("", item["metadata"].get("namespace"))
        ]
        if len(rest) == 1:
            for wanted in parse_qs(where.query).get("labelSelector", []):
                key, value = wanted.split("=")
                found = [item for item in found if (item["metadata"].get("labels") or {}).get(key) == value]
            return 200, {"items": found}
        found = [item for item in found if item["metadata"]["name"] == rest[1]]
        if not found:
            return 404, {}
        if method == "DELETE" and (more.get("body") or {}).get("dryRun") != ["All"]:
            self.held.remove(found[0])
            self.deleted.append(f"{found[0]['kind']}/{found[0]['metadata']['name']}")
        return 200, found[0]


def item(kind: str, name: str, namespace: str = "metallb-system", **metadata: Any) -> dict[str, Any]:
    version = next(version for version, found in KINDS.items() if kind in found)
    place = {"namespace": namespace} if KINDS[version][kind] else {}
    labels: dict[str, str] = metadata.pop("labels", OWN)
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, **place, "labels": labels, **metadata},
    }


OBJECTS = [
    item("Namespace", "metallb-system"),
    item("CustomResourceDefinition", "pools"),
    item("Service", "webhook"),
    item("Deployment", "controller"),
    item("IPAddressPool", "default"),
    item("ValidatingWebhookConfiguration", "judge"),
]


def removed(*more: dict[str, Any], dry_run: bool = False) -> tuple[Fake, list[str], list[str]]:
    cluster = Fake(*OBJECTS, *more)
    return cluster, *parts.Part(Applier(cluster, dry_run), "metallb").remove(1)


def test_what_judges_goes_first_and_what_its_controller_sees_off_before_that() -> None:
    cluster, gone, kept = removed()
    assert cluster.deleted == [
        "ValidatingWebhookConfiguration/judge",
        "IPAddressPool/default",
        "Deployment/controller",
        "Service/webhook",
        "Namespace/metallb-system",
    ]
    assert (len(gone), kept) == (5, [])
    assert [one["kind"] for one in cluster.held] == ["CustomResourceDefinition"]


def test_kinds_of_every_version_are_asked_for_and_each_once() -> None:
    found = {(version, kind) for version, kind, _, _ in parts.kinds(Fake()) if version.startswith("metallb.io/")}
    assert found == {("metallb.io/v1beta2", "BGPPeer"), ("metallb.io/v1beta1", "IPAddressPool")}


def test_what_is_not_the_parts_is_not_touched_and_a_second_time_nothing_goes() -> None:
    other = item("Service", "web", "shop", labels={})
    cluster, *_ = removed(other)
    assert other in cluster.held
    assert parts.Part(Applier(cluster), "metallb").remove(1) == ([], [])


def made(*managers: str, kind: str = "Secret", name: str = "theirs", **metadata: Any) -> dict[str, Any]:
    fields = [{"manager": one} for one in managers]
    return item(kind, name, labels=metadata.pop("labels", {}), managedFields=fields, **metadata)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (made("kubectl-create"), "was made with kubectl-create"),
        (made("Mozilla"), "was made with Mozilla"),
        (made("Terraform"), "was made with Terraform"),
        (made("curl"), "was made with curl"),
        (made("pulumi-kubernetes"), "was made with pulumi-kubernetes"),
        (made("slipway", "ansible", "curl", "ansible"), "was made with ansible and with curl"),
        # Of a name that begins as one that is known nobody knows anything.
        (made("kubelet-tool"), "was made with kubelet-tool"),
        (made(), "was made by nobody knows whom"),
        (made(""), "was made by nobody knows whom"),
        (item("ConfigMap", "settings", labels={}), "was made by nobody knows whom"),
        (item("ServiceAccount", "robot", labels={}), "was made by nobody knows whom"),
        (item("Secret", "default", labels={}), "was made by nobody knows whom"),
        (item("PersistentVolumeClaim", "data", labels={}), "holds data"),
        (item("PersistentVolumeClaim", "data"), "holds data"),
        (
            made("kube-controller-manager", kind="PersistentVolumeClaim", ownerReferences=[{"name": "a"}]),
            "holds data",
        ),
        (item("Secret", "theirs", labels={PART: "kiali"}), "is of the part kiali"),
        (made("slipway", labels={PART: "kiali"}, ownerReferences=[{"name": "a"}]), "is of the part kiali"),
    ],
)
def test_a_namespace_with_something_of_others_stays(more: dict[str, Any], why: str) -> None:
    cluster, _, kept = removed(more)
    assert more in cluster.held
    assert [one["metadata"]["name"] for one in cluster.held if one["kind"] == "Namespace"] == ["metallb-system"]
    name = f"{more['kind']}/metallb-system/{more['metadata']['name']}"
    assert kept == [f"namespace metallb-system stays: {name} {why}"]


@pytest.mark.parametrize(
    "more",
    [
        made("controller"),
        made("speaker", "kubelet"),
        made("kube-controller-manager", "kube-scheduler", "kube-apiserver"),
        made("pilot-discovery"),
        made("PrometheusOperator"),
        made("local-path-provisioner"),
        made("slipway"),
        made("Mozilla", ownerReferences=[{"kind": "Deployment", "name": "controller"}]),
        item("ConfigMap", "kube-root-ca.crt", labels={}),
        item("ConfigMap", "istio-ca-root-cert", labels={}),
        made("kubectl-patch", kind="ServiceAccount", name="default"),
        item("Event", "happened", labels={}, managedFields=[{"manager": "kubectl-edit"}]),
        # Somebody has edited what is the part's.
        item("Secret", "edited", managedFields=[{"manager": "kubectl-edit"}]),
    ],
)
def test_what_controllers_made_goes_with_its_namespace(more: dict[str, Any]) -> None:
    cluster, _, kept = removed(more)
    assert kept == []
    assert "Namespace/metallb-system" in cluster.deleted


def test_a_program_with_a_name_that_any_may_have_is_known_in_its_own_part_alone() -> None:
    assert parts.somebody_elses(made("controller"), "metallb") == ""
    assert parts.somebody_elses(made("controller"), "tracing") == "was made with controller"


def test_a_dry_run_takes_nothing() -> None:
    cluster, gone, _ = removed(dry_run=True)
    assert (len(gone), cluster.deleted) == (5, [])


def test_objects_carry_their_part_as_a_label_and_keep_their_own() -> None:
    given: dict[str, Any] = {"kind": "Secret", "metadata": {"name": "a", "labels": {"app": "a"}}}
    assert parts.labelled(given, "")["metadata"] == given["metadata"]
    assert parts.labelled(given, "istio")["metadata"]["labels"] == {"app": "a", PART: "istio"}
    assert given["metadata"]["labels"] == {"app": "a"}


def seen(kind: str, name: str, *, part: str = "", **spec: Any) -> dict[str, Any]:
    labels = {PART: part} if part else {}
    return {"kind": kind, "metadata": {"namespace": "shop", "name": name, "labels": labels}, "spec": spec}


SEEN = [
    seen("StorageClass", "local-path", part="storage"),
    seen("StorageClass", "mine"),
    seen("PersistentVolumeClaim", "data", storageClassName="local-path"),
    seen("PersistentVolumeClaim", "other", storageClassName="mine"),
    seen("Service", "web", type="LoadBalancer"),
    seen("Service", "inner", type="ClusterIP"),
    seen("Service", "gateway", part="istio", type="LoadBalancer"),
    seen("VirtualService", "shop"),
    seen("VirtualService", "kiali", part="kiali"),
    seen("Gateway", "front"),
    seen("Gateway", "slipway-consoles", part="istio"),
    seen("IngressClass", "istio", part="istio"),
    seen("IngressClass", "traefik"),
    seen("Ingress", "entry", ingressClassName="istio"),
    seen("Ingress", "else", ingressClassName="traefik"),
    seen("HTTPRoute", "api"),
]


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("storage", ["the claim shop/data"]),
        ("metallb", ["the Service shop/web"]),
        (
            "istio",
            [
                *("the VirtualService shop/shop", "the Gateway shop/front"),
                *("the Ingress shop/entry", "the HTTPRoute shop/api"),
            ],
        ),
        ("grafana", []),
    ],
)
def test_what_builds_on_a_part_is_named(part: str, named: list[str]) -> None:
    found = parts.hindrances(part, SEEN)
    assert [next(name for name in named if line.startswith(name)) for line in found] == named
    assert len(found) == len(named)


def test_all_that_can_hinder_is_looked_at() -> None:
    (play,) = yaml.safe_load((PLUGINS.parent / "playbooks/remove-parts.yml").read_text())
    looked = {(one["version"], one["kind"]) for one in play["tasks"][0]["loop"]}
    assert {one["kind"] for one in SEEN} <= {kind for _, kind in looked}
    assert ("networking.istio.io/v1", "Gateway") in looked


@pytest.mark.parametrize("definition", ["", "\n# nothing\n---\n", [], None])
def test_a_definition_without_objects_takes_nothing_away(
    definition: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Fake(*OBJECTS)
    monkeypatch.setattr("slipway.cluster.client.Cluster", lambda _: cluster)
    given: dict[str, Any] = {
        "kubeconfig": str(tmp_path / "none"),
        "state": "absent",
        "part": "metallb",
        "wait_timeout": 1,
    }
    result = run_action(load("action", "cluster_objects"), {**given, "definition": definition})
    assert (result["changed"], result["changes"], cluster.deleted) == (False, [], [])
    assert run_action(load("action", "cluster_objects"), given)["changed"]
    assert "Namespace/metallb-system" in cluster.deleted
