"""An upgrade of a live cluster: the plan is made of what is there, and each node has its turn, drained and opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from ..errors import SlipwayError, together
from ..node.pod_network import NETWORKS
from . import eviction, rollout, upgrade
from .client import Cluster
from .drain import Drain, through_gateway, upgraded
from .eviction import Object
from .holdups import condition
from .upgrade import Kept, Plan, Target

SYSTEM = "/api/v1/namespaces/kube-system"
# Whose pods a node needs before others may come to it.
NETWORK = ("kube-system", "metallb-system", *(each["namespace"] for each in NETWORKS.values()))


@dataclass(frozen=True)
class Made:
    """A plan, and its words."""

    plan: Plan
    lines: list[str]


def kept(cluster: Cluster) -> Kept:
    """Read what kubeadm keeps in the cluster. Raises SlipwayError where it keeps nothing."""
    found = cluster.get(f"{SYSTEM}/configmaps/kubeadm-config")
    try:
        stored = yaml.safe_load((found or {})["data"]["ClusterConfiguration"])
        release = str(stored["kubernetesVersion"]).removeprefix("v")
    except (yaml.YAMLError, KeyError, TypeError) as exc:
        what = "the ConfigMap kubeadm-config in kube-system is not there, or not kubeadm's: without it nothing upgrades"
        raise SlipwayError("kubeadm-config-gone", what) from exc
    etcd = str(((stored.get("etcd") or {}).get("local") or {}).get("imageTag") or "")
    proxy = cluster.read("apps/v1", "DaemonSet", "kube-system", "kube-proxy") or {}
    images = [one["image"] for one in _template(proxy).get("containers") or []]
    # A cluster without kube-proxy has none that would lag.
    return Kept(release, etcd, _tag(images[0]) if images else release)


def _template(item: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = ((item.get("spec") or {}).get("template") or {}).get("spec") or {}
    return found


def _tag(image: str) -> str:
    return image.partition("@")[0].rpartition(":")[2].removeprefix("v")


def make_plan(
    cluster: Cluster,
    target: Target,
    looked: Mapping[str, Mapping[str, Any]],
    page: Sequence[str],
    *,
    forced: bool = False,
) -> Made:
    """Look, and make the plan. ``forced``: what only a careful operator knows is named, and not refused.

    Raises SlipwayError that names all that forbids the upgrade.
    """
    seen = _seen(cluster)
    there = upgrade.machines(seen.nodes, looked, page)
    made = upgrade.plan(there, target, kept(cluster))
    moves: dict[str, list[str]] = {}
    faults: list[SlipwayError] = []
    for name in made.nodes:
        if upgrade.stays(name, seen.nodes):
            continue
        own = replace(seen, node=next(one for one in seen.nodes if one["metadata"]["name"] == name))
        moves[name] = upgrade.blocking(own)
        lost = eviction.orphans(own)
        if lost and not forced:
            what = f"{name}: nobody would make these pods anew: {', '.join(lost)}. FORCE=1 deletes them"
            faults.append(SlipwayError("unmanaged-pods", what))
    removed = upgrade.removed_apis(cluster.text("/metrics"), target.kubernetes) if made.control else []
    lines = upgrade.told(there, made, removed, moves)
    if removed and not forced:
        what = (
            f"somebody uses what Kubernetes {target.kubernetes} does not have any more: {'; '.join(removed)}. Who: "
            "look at the audit log, and at manifests and programs of your own. FORCE=1 goes on all the same"
        )
        faults.append(SlipwayError("removed-apis", what))
    if faults:
        error = together(faults)
        raise SlipwayError(error.id, "\n".join([error.text, *lines]))
    return Made(made, lines)


def _seen(cluster: Cluster) -> eviction.Seen:
    kinds = (("v1", "Node"), ("v1", "Pod"), ("policy/v1", "PodDisruptionBudget"))
    nodes, pods, budgets = cluster.many(lambda kind: cluster.listed(*kind) or [], kinds)
    return eviction.Seen({"metadata": {"name": ""}}, nodes, pods, budgets=budgets)


@dataclass
class Turn:
    """The turn of one node."""

    cluster: Cluster
    node: str
    seconds: float
    forced: bool = False
    say: Callable[[str], None] = lambda _: None

    def begin(self, gateway: str) -> bool:
        """Drain the node, unless no other one takes its pods, and tell whether that changed anything."""
        nodes = self.cluster.listed("v1", "Node") or []
        if upgrade.stays(self.node, nodes):
            self.say(f"{self.node}: its pods stay, as no other node takes them")
            return False
        drain = Drain(self.cluster, self.node, self.seconds, forced=self.forced, upgrades=True, say=self.say)
        return through_gateway(gateway, drain.run, self.seconds)

    def end(self, version: str, gateway: str) -> bool:
        """Wait until the node serves with the new release, open it, and tell whether that changed anything."""
        why, well = rollout.until(lambda: self.trouble(version), lambda told: not told, self.seconds)
        if not well:
            raise SlipwayError("node-not-well", f"{self.node} is not well {self.seconds:g} s after its upgrade: {why}")
        return through_gateway(gateway, self.open, self.seconds)

    def trouble(self, version: str) -> str:
        """Say what keeps the node from serving with a release; empty: nothing does."""
        found = self.cluster.read("v1", "Node", "", self.node) or {"metadata": {}}
        status = found.get("status") or {}
        runs = str((status.get("nodeInfo") or {}).get("kubeletVersion", "")).removeprefix("v")
        ready = condition(found, "Ready")
        if runs != version:
            return f"its kubelet says {runs or 'nothing'}; look at: journalctl -u kubelet there"
        if ready.get("status") != "True":
            return str(ready.get("message") or "it is not Ready")
        pods = self.cluster.items(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{self.node}") or []
        own = [pod for pod in pods if pod["metadata"].get("namespace") in NETWORK and not eviction.leaves(pod)]
        names = ", ".join(sorted(eviction.name_of(pod) for pod in own if not eviction.serves(pod)))
        return f"pods that every node has are not Ready: {names}" if names else ""

    def open(self) -> bool:
        """Let pods come again, unless somebody else has cordoned the node; tell whether that changed anything."""
        found = self.cluster.read("v1", "Node", "", self.node)
        if found is None or not upgraded(found):
            return False
        changed = Drain(self.cluster, self.node, self.seconds).open()
        self.say(f"{self.node}: open")
        return changed


def state(cluster: Cluster) -> list[str]:
    """Say what each node runs, from what the cluster alone knows of it."""
    nodes = cluster.listed("v1", "Node") or []
    pods = cluster.items(f"{SYSTEM}/pods?labelSelector=tier%3Dcontrol-plane") or []
    parts: dict[str, dict[str, str]] = {}
    for pod in pods:
        part = str((pod["metadata"].get("labels") or {}).get("component", ""))
        image = next((str(one["image"]) for one in pod["spec"].get("containers") or []), "")
        parts.setdefault(str(pod["spec"].get("nodeName", "")), {})[part] = _tag(image)
    names = sorted(str(node["metadata"]["name"]) for node in nodes)
    looked = {name: {"kubelet": "", "parts": parts.get(name, {})} for name in names}
    return [upgrade.runs(one) for one in upgrade.machines(nodes, looked, names)]
