"""What was applied for a part of the cluster, known by a label, and taking all of it away.

What others may have put in is looked at first: definitions of kinds stay, as deleting one deletes every object of that
kind, and so does a namespace in which there is a claim, which holds data, or anything that is not known to be the
part's or a controller's.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import SlipwayError
from ..lab.leftovers import PART
from .apply import Applier
from .client import MANAGER, Cluster, Object
from .objects import identity

# What has to go before what it calls, and what before the controller that sees it off. All else goes with them, then.
_GATES = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService")
_WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet", "Pod")
_STAY = ("CustomResourceDefinition", "PersistentVolumeClaim")
# Controllers write into every namespace, or into their part's, what is of no use without it. Programs that write at
# somebody's word are not among them, so neither are Kiali and Headlamp.
_CONTROLLERS = frozenset(
    {
        MANAGER,
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "local-path-provisioner",
        "pilot-discovery",
        # The operator gives this name itself; the other is the one of its image.
        "PrometheusOperator",
        "prometheus-operator",
    }
)
# Programs whose names others have, too: known only where their own part is taken away.
_OWN_CONTROLLERS = {"metallb": frozenset({"controller", "speaker"})}
# What controllers put into every namespace; people may have written to it since.
_EVERYWHERE = (("ConfigMap", "kube-root-ca.crt"), ("ConfigMap", "istio-ca-root-cert"), ("ServiceAccount", "default"))


def labelled(item: Object, part: str) -> Object:
    """Give an object as one of ``part``; of no part when that is empty."""
    if not part:
        return item
    metadata = item["metadata"]
    return {**item, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), PART: part}}}


def order(objects: Iterable[Object]) -> list[list[Object]]:
    """Sort objects into lists that go one after the other; what stays is in none."""
    lists: list[list[Object]] = [[], [], [], [], []]
    for item in objects:
        kind, group = item["kind"], item["apiVersion"].rpartition("/")[0]
        if kind in _STAY:
            continue
        if kind in _GATES:
            place = 0
        elif kind == "Namespace":
            place = 4
        elif kind in _WORKLOADS:
            place = 2
        else:
            # Objects of kinds that somebody has defined have a domain in their group that is not Kubernetes' own.
            place = 1 if "." in group and not group.endswith("k8s.io") else 3
        lists[place].append(item)
    return [sorted(one, key=lambda item: (item["apiVersion"], item["kind"])) for one in lists if one]


def somebody_elses(item: Mapping[str, Any], part: str) -> str:
    """Say why an object of a namespace is not this part's to take away; empty when it is known to be."""
    metadata = item["metadata"]
    other = (metadata.get("labels") or {}).get(PART, "")
    if other and other != part:
        return f"is of the part {other}"
    if item["kind"] == "PersistentVolumeClaim":
        return "holds data"
    if other or metadata.get("ownerReferences") or (item["kind"], metadata["name"]) in _EVERYWHERE:
        return ""
    managers = {str(one.get("manager", "")) for one in metadata.get("managedFields") or []}
    strangers = managers - _CONTROLLERS - _OWN_CONTROLLERS.get(part, frozenset())
    if managers and not strangers:
        return ""
    return f"was made {' and '.join(f'with {one}' for one in sorted(strangers) if one) or 'by nobody knows whom'}"


class Part:
    """A part of a cluster, found by its label in every kind that the API server lists and deletes."""

    def __init__(self, applier: Applier, name: str) -> None:
        self.applier, self.cluster, self.name = applier, applier.cluster, name
        self._kinds = kinds(self.cluster)

    def objects(self) -> list[Object]:
        """Give the objects that carry the part's label."""
        query = f"?{urllib.parse.urlencode({'labelSelector': f'{PART}={self.name}'})}"
        return self._listed([(version, kind, f"{path}{query}") for version, kind, path, _ in self._kinds])

    def held(self, namespace: str) -> list[str]:
        """Name what keeps a namespace of the part: what is in it and not the part's."""
        asked = [
            (version, kind, path.replace("/*/", f"/namespaces/{namespace}/"))
            for version, kind, path, namespaced in self._kinds
            if namespaced and kind not in ("Event", "Lease", "EndpointSlice", "Endpoints")
        ]
        found = [(item, somebody_elses(item, self.name)) for item in self._listed(asked)]
        return [f"{identity(item)} {why}" for item, why in found if why]

    def _listed(self, asked: list[tuple[str, str, str]]) -> list[Object]:
        answers = self.cluster.many(lambda one: self.cluster.items(one[2].replace("/*/", "/")) or [], asked)
        return [
            {**item, "apiVersion": version, "kind": kind}
            for (version, kind, _), items in zip(asked, answers, strict=True)
            for item in items
        ]

    def remove(self, seconds: float) -> tuple[list[str], list[str]]:
        """Take it away. Returns the names of what went, and sentences about what stays.

        Raises SlipwayError where something does not go within ``seconds``.
        """
        gone: list[str] = []
        kept: list[str] = []
        for stage in order(self.objects()):
            going = stage
            if stage[0]["kind"] == "Namespace":
                holds = {item["metadata"]["name"]: self.held(item["metadata"]["name"]) for item in stage}
                going = [item for item in stage if not holds[item["metadata"]["name"]]]
                kept += [f"namespace {name} stays: {', '.join(why)}" for name, why in holds.items() if why]
            removed = self.applier.remove(going)
            gone += [one.name for one in removed if one.changed]
            if not self.applier.dry_run:
                self.applier.gone(going, seconds)
        return gone, kept


def kinds(cluster: Cluster) -> list[tuple[str, str, str, bool]]:
    """List what can be listed and deleted: apiVersion, kind, path (``/*/`` where a namespace goes), namespaced.

    A group need not serve all its kinds in one version, so each is asked; a kind of several comes once, in the one that
    the group prefers where that has it. A group whose own server does not answer is left out: what it serves is not
    stored as an object.
    """
    status, groups = cluster.ask("/apis")
    if status != 200:
        raise SlipwayError("api-refuses", f"the API server does not say which kinds it knows ({status})")
    roots = {"v1": "/api/v1"}
    for group in groups["groups"]:
        for one in (group["preferredVersion"], *group["versions"]):
            roots.setdefault(one["groupVersion"], f"/apis/{one['groupVersion']}")
    asked = list(roots.items())
    answers = cluster.many(lambda one: cluster.ask(one[1]), asked)
    found: dict[tuple[str, str], tuple[str, str, str, bool]] = {}
    for (version, root), (status, answer) in zip(asked, answers, strict=True):
        for entry in answer["resources"] if status == 200 else ():
            name = entry["name"]
            if "/" not in name and {"list", "delete"} <= set(entry["verbs"]):
                namespaced = entry["namespaced"]
                path = f"{root}/*/{name}" if namespaced else f"{root}/{name}"
                found.setdefault((version.rpartition("/")[0], name), (version, entry["kind"], path, namespaced))
    return list(found.values())


def hindrances(part: str, seen: Iterable[Object]) -> list[str]:
    """Say what builds on a part and would be lost with it.

    ``seen``: StorageClasses, PersistentVolumeClaims, Services, VirtualServices, Istio's Gateways, IngressClasses,
    Ingresses and HTTPRoutes of the cluster, those of parts among them.
    """
    of_kind: dict[str, list[Object]] = {}
    for item in seen:
        of_kind.setdefault(item["kind"], []).append(item)

    def others(kind: str) -> list[Object]:
        return [item for item in of_kind.get(kind, []) if PART not in (item["metadata"].get("labels") or {})]

    if part == "storage":
        classes = {item["metadata"]["name"] for item in of_kind.get("StorageClass", [])} - {
            item["metadata"]["name"] for item in others("StorageClass")
        }
        return [
            f"the claim {_where(item)} has its volume from it; take it away first, or keep cluster_parts.storage on"
            for item in of_kind.get("PersistentVolumeClaim", [])
            if (item.get("spec") or {}).get("storageClassName") in classes
        ]
    if part == "metallb":
        return [
            f"the Service {_where(item)} of type LoadBalancer would lose its address; give it another type first, or "
            "keep cluster_parts.metallb on"
            for item in others("Service")
            if (item.get("spec") or {}).get("type") == "LoadBalancer"
        ]
    if part == "istio":
        served = {item["metadata"]["name"] for item in of_kind.get("IngressClass", [])} - {
            item["metadata"]["name"] for item in others("IngressClass")
        }
        return [
            f"the {kind} {_where(item)} is served by it; take it away first (a release with -e release_state=absent), "
            "or keep cluster_parts.istio on"
            for kind in ("VirtualService", "Gateway", "Ingress", "HTTPRoute")
            for item in others(kind)
            if kind != "Ingress" or (item.get("spec") or {}).get("ingressClassName") in served
        ]
    return []


def _where(item: Mapping[str, Any]) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
