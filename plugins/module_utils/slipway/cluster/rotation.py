"""The rotation of a cluster's CAs: the steps that are left, and the pods that still believe the old ones alone.

Pure: what controllers have and objects of the cluster in, steps and words out.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import SlipwayError
from ..lab.leftovers import PART
from ..node.authority import STEPS
from ..node.pod_network import NETWORKS
from ..node.trust import blocks, signed_with
from .eviction import Object, ends, finished, name_of, owner

# What a step is for, in words of the report.
TOLD = {
    "accept": "every node accepts what the new CAs and the new key sign, beside the old ones",
    "issue": "every certificate and every token is signed with the new ones",
    "drop": "the old ones go",
}
# What Kubernetes gives every namespace, and every pod with a token of it.
ROOT_CA = "kube-root-ca.crt"
# Where pods of the cluster itself run that no part of ours has a label for.
SYSTEM = ("kube-system", "metallb-system", *(each["namespace"] for each in NETWORKS.values()))
# Seconds within which a kubelet has surely seen another ConfigMap, so a container that started later has its files.
MARGIN = 30.0
_MIRROR = "kubernetes.io/config.mirror"
_TOKEN = "kubernetes.io/service-account-token"  # noqa: S105
# A pod template that is given it has its pods made anew.
RESTARTED = "slipway.io/trusts"
RENEWABLE = ("Deployment", "DaemonSet")


def steps(looked: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Plan a rotation from what each controller has.

    ``steps``: those that are left; the first one of them may be done in part. ``holder``: who has the new ones, or is
    to make them. ``begun``: an earlier run was cut off. A step begins only when all controllers are through the one
    before it, so whoever is furthest tells which one is under way.
    """
    furthest = max(int(one["begun"]) for one in looked.values())
    holders = sorted((name for name in looked if looked[name]["waits"]), key=lambda name: -int(looked[name]["begun"]))
    return {
        "steps": list(STEPS[max(furthest - 1, 0) :]),
        "begun": bool(holders),
        "holder": holders[0] if holders else next(iter(looked)),
    }


def uses_api(pod: Object) -> bool:
    """Tell whether a pod is given the CA of the API server: whoever asks it needs that."""
    for volume in (pod.get("spec") or {}).get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources") or []:
            if (source.get("configMap") or {}).get("name") == ROOT_CA:
                return True
        if (volume.get("configMap") or {}).get("name") == ROOT_CA:
            return True
    return False


def moment(text: str) -> float:
    """Read a time of the API, in seconds since 1970."""
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def changed_at(config_map: Object) -> float:
    """Tell when the CAs that pods are given were last others."""
    times = [moment(one["time"]) for one in config_map["metadata"].get("managedFields") or [] if one.get("time")]
    return max(times) if times else moment(config_map["metadata"]["creationTimestamp"])


def believes_old(pod: Object, since: float) -> bool:
    """Tell whether a pod has a container that started before its files had the new CA: not every client looks again."""
    # One that is ending has a successor, or nobody wants it.
    if finished(pod) or ends(pod) or not uses_api(pod) or _MIRROR in (pod["metadata"].get("annotations") or {}):
        return False
    status = pod.get("status") or {}
    running = [
        one["state"]["running"]["startedAt"]
        for kind in ("initContainerStatuses", "containerStatuses")
        for one in status.get(kind) or []
        if (one.get("state") or {}).get("running")
    ]
    return any(moment(text) < since + MARGIN for text in running)


@dataclass(frozen=True)
class Workload:
    """Whose pods are to start again. ``kind`` is empty for pods that nobody would make anew."""

    kind: str
    namespace: str
    name: str
    ours: bool
    # Someone else writes its template, or it is replaced pod by pod: its pods are evicted.
    evicted: bool
    pods: tuple[str, ...]

    @property
    def told(self) -> str:
        """Name it for people."""
        return f"{self.kind or 'Pod'} {self.namespace}/{self.name}"


def workloads(pods: Iterable[Object], owners: Iterable[Object], since: float) -> list[Workload]:
    """Name the workloads with pods that believe the old CA alone; ours first.

    ``owners`` are Deployments, ReplicaSets, DaemonSets and StatefulSets.
    """
    known = {(one["kind"], name_of(one)): one for one in owners}
    found: dict[tuple[str, str], tuple[Object, list[str]]] = {}
    for pod in pods:
        if not believes_old(pod, since):
            continue
        space = pod["metadata"].get("namespace", "default")
        item, reference = pod, owner(pod)
        while reference and (above := known.get((reference["kind"], f"{space}/{reference['name']}"))):
            item, reference = above, owner(above)
            if item["kind"] in (*RENEWABLE, "StatefulSet"):
                break
        key = (item["kind"] if item is not pod else "Pod", name_of(item))
        found.setdefault(key, (item, []))[1].append(pod["metadata"]["name"])
    done = [_workload(kind, item, names) for (kind, _), (item, names) in found.items()]
    return sorted(done, key=lambda one: (not one.ours, one.namespace, one.kind, one.name))


def _workload(kind: str, item: Object, names: Sequence[str]) -> Workload:
    metadata = item["metadata"]
    managed = kind in (*RENEWABLE, "StatefulSet")
    space = metadata.get("namespace", "default")
    return Workload(
        kind=kind if managed else "",
        namespace=space,
        name=metadata["name"],
        ours=PART in (metadata.get("labels") or {}) or space in SYSTEM or _of_ours(metadata),
        evicted=kind not in RENEWABLE or bool(owner(item)),
        pods=tuple(sorted(names)),
    )


def _of_ours(metadata: Mapping[str, Any]) -> bool:
    # What our Prometheus operator makes has the labels of the object that it makes it of.
    return metadata.get("namespace") == "monitoring" and bool(owner({"metadata": metadata}))


def restarted(workload: Workload, mark: str) -> dict[str, Any]:
    """Give what has the pods of a workload made anew, by its own rules for a rollout; twice the same is no change."""
    return {
        "apiVersion": "apps/v1",
        "kind": workload.kind,
        "metadata": {"namespace": workload.namespace, "name": workload.name},
        "spec": {"template": {"metadata": {"annotations": {RESTARTED: mark}}}},
    }


def refusal(others: Sequence[Workload]) -> SlipwayError:
    """Say which workloads of others have to start again before old CAs may go, and how."""
    rolls = [f"kubectl --namespace {one.namespace} rollout restart {one.kind.lower()}/{one.name}" for one in others]
    rolls = [line for line, one in zip(rolls, others, strict=True) if one.kind]
    names = ", ".join(one.told for one in others)
    by_hand = [one.told for one in others if not one.kind]
    return SlipwayError(
        "pods-believe-old-ca",
        "\n".join(
            [
                f"these pods have started before they could see the new CA: {names}.",
                "Not every client of the API reads it again, and from the next step on the old one is not served.",
                "RESTART=1 starts all of them again, one workload after the other: make rotate-ca RESTART=1. By hand:",
                *(f"  {line}" for line in rolls),
                *([f"  make these anew, as nobody else does: {', '.join(by_hand)}"] if by_hand else []),
                "Then make rotate-ca goes on. Without them, if they do not ask the API: make rotate-ca FORCE=1.",
                "Until then the old CAs and the new ones are both accepted",
            ]
        ),
    )


def old_tokens(secrets: Iterable[Object], key: str) -> list[Object]:
    """Keep the Secrets whose token, which never ends, another key has signed."""
    found = []
    for one in secrets:
        text = base64.b64decode((one.get("data") or {}).get("token", "")).decode(errors="replace")
        if one.get("type") == _TOKEN and text and signed_with(text) != key:
            found.append(one)
    return found


def bundles_with(hooks: Iterable[Object], authority: str) -> list[str]:
    """Name webhooks and API services that the CA of the cluster vouches for: whoever made them has to renew them."""
    return sorted({f"{one['kind']} {one['metadata']['name']}" for one in hooks if authority in _bundles(one)})


def _bundles(item: Any) -> list[str]:
    if isinstance(item, Mapping):
        own = item.get("caBundle")
        found = blocks(base64.b64decode(own).decode(errors="replace")) if isinstance(own, str) else []
        return found + [one for each in item.values() for one in _bundles(each)]
    return [one for each in item for one in _bundles(each)] if isinstance(item, list) else []


def told(
    planned: Mapping[str, Any],
    controllers: Sequence[str],
    others: Sequence[Workload],
    secrets: Sequence[str],
    hooks: Sequence[str],
) -> list[str]:
    """Write the plan."""
    begun = "A rotation was begun, and goes on." if planned["begun"] else ""
    lines = [begun, "In this order, each step on all nodes before the next one:"]
    lines += [f"  {name}: {TOLD[name]}" for name in planned["steps"]]
    if len(controllers) == 1:
        lines.append("With one controller the API does not answer for up to a minute in each step. Applications go on.")
    else:
        lines.append(f"{', '.join(controllers)} have their turn one after the other. The API answers all the time.")
    if "accept" in planned["steps"]:
        lines.append("Started again after the first step, because they read the CA when they start: what is Slipway's")
        if others:
            names = ", ".join(one.told for one in others)
            lines.append(f"and, which only RESTART=1 or you do: {names}")
    if secrets:
        lines.append(
            f"Tokens that never end, which get new ones; who has copied one needs it again: {', '.join(secrets)}"
        )
    if hooks:
        lines.append(f"Believed by the CA of the cluster, and to be renewed by whoever made them: {', '.join(hooks)}")
    lines.append("Kubeconfigs that were copied from here, and certificates for users, end with the last step.")
    return [line for line in lines if line]
