"""Which pods leave a node that is drained, in which order, and what keeps those that stay. Pure: objects in, words out.

A pod leaves only while the others of its workload can serve, also where no PodDisruptionBudget says so: with two
replicas that run on one node, the second one goes when a replacement of the first is Ready.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .holdups import condition

Object = Mapping[str, Any]

_MIRROR = "kubernetes.io/config.mirror"
_HOSTNAME = "kubernetes.io/hostname"
_UNSCHEDULABLE = ("NoSchedule", "NoExecute")


@dataclass(frozen=True)
class Seen:
    """What the cluster had at one moment. ``owners`` are Deployments, ReplicaSets and StatefulSets."""

    node: Object
    nodes: Sequence[Object]
    pods: Sequence[Object]
    owners: Sequence[Object] = ()
    budgets: Sequence[Object] = ()
    claims: Sequence[Object] = ()
    volumes: Sequence[Object] = ()

    @property
    def name(self) -> str:
        """The node's name."""
        return str(self.node["metadata"]["name"])

    @property
    def leaving(self) -> list[Object]:
        """The pods that are to leave the node and are still there, those that end already too."""
        return [pod for pod in self.pods if on(pod, self.name) and leaves(pod)]

    @property
    def answers(self) -> bool:
        """Whether the node's kubelet answers: without it no pod there ever ends."""
        return condition(self.node, "Ready").get("status") == "True"


def name_of(item: Object) -> str:
    """Write ``namespace/name``."""
    return f"{item['metadata'].get('namespace', 'default')}/{item['metadata']['name']}"


def on(pod: Object, node: str) -> bool:
    """Tell whether a pod is on a node."""
    return bool((pod.get("spec") or {}).get("nodeName") == node)


def ends(pod: Object) -> bool:
    """Tell whether a pod is on its way out."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def finished(pod: Object) -> bool:
    """Tell whether a pod has run to its end."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def serves(pod: Object) -> bool:
    """Tell whether a pod is Ready and stays."""
    return not ends(pod) and condition(pod, "Ready").get("status") == "True"


def owner(pod: Object) -> Mapping[str, Any]:
    """Give the reference to the workload that a pod belongs to; empty: to none."""
    references = pod["metadata"].get("ownerReferences") or []
    return next((one for one in references if one.get("controller")), {})


def leaves(pod: Object) -> bool:
    """Tell whether a drain moves a pod: not a static one of the kubelet's, and not one that every node has."""
    return _MIRROR not in (pod["metadata"].get("annotations") or {}) and owner(pod).get("kind") != "DaemonSet"


def takes_pods(node: Object, tolerated: Collection[str] = ()) -> bool:
    """Tell whether the scheduler puts pods on a node: ordinary ones, or those that tolerate taints with these keys."""
    spec = node.get("spec") or {}
    taints = [taint for taint in spec.get("taints") or [] if taint.get("key") not in tolerated]
    tainted = any(taint.get("effect") in _UNSCHEDULABLE for taint in taints)
    return condition(node, "Ready").get("status") == "True" and not spec.get("unschedulable") and not tainted


# --- before


def orphans(seen: Seen) -> list[str]:
    """Name the pods that nobody would make anew."""
    return sorted(name_of(pod) for pod in seen.leaving if not owner(pod) and not finished(pod) and not ends(pod))


def local_volumes(seen: Seen) -> dict[str, str]:
    """Name the claims whose volume is on this node alone, and the pods that use them: claim to pods."""
    bound = {
        (ref.get("namespace"), ref.get("name")): volume
        for volume in seen.volumes
        if (ref := (volume.get("spec") or {}).get("claimRef"))
    }
    names = {seen.name, (seen.node["metadata"].get("labels") or {}).get(_HOSTNAME, seen.name)}
    found: dict[str, str] = {}
    for claim in seen.claims:
        metadata = claim["metadata"]
        volume = bound.get((metadata.get("namespace"), metadata["name"]))
        if volume and (places := _places(volume)) and places <= names:
            users = [name_of(pod) for pod in seen.pods if metadata["name"] in _claims(pod, metadata.get("namespace"))]
            found[name_of(claim)] = ", ".join(sorted(users))
    return dict(sorted(found.items()))


def _places(volume: Object) -> set[str]:
    terms = (((volume["spec"].get("nodeAffinity") or {}).get("required")) or {}).get("nodeSelectorTerms") or []
    return {
        str(value)
        for term in terms
        for rule in term.get("matchExpressions") or []
        if rule.get("key") == _HOSTNAME and rule.get("operator") == "In"
        for value in rule.get("values") or []
    }


def _claims(pod: Object, namespace: str) -> set[str]:
    if pod["metadata"].get("namespace") != namespace:
        return set()
    volumes = (pod.get("spec") or {}).get("volumes") or []
    return {str(one["persistentVolumeClaim"]["claimName"]) for one in volumes if one.get("persistentVolumeClaim")}


def elsewhere(seen: Seen) -> list[str]:
    """Name the other nodes that take pods."""
    return sorted(
        str(node["metadata"]["name"])
        for node in seen.nodes
        if node["metadata"]["name"] != seen.name and takes_pods(node)
    )


# --- meanwhile


def next_ones(seen: Seen) -> list[Object]:
    """Give the pods that may leave now."""
    going: list[Object] = []
    for pod in seen.leaving:
        if not ends(pod) and not _needed(pod, seen, going):
            going.append(pod)
    return going


def _needed(pod: Object, seen: Seen, going: Collection[Object]) -> bool:
    """Tell whether a workload would be short of more than one pod without this one."""
    if not serves(pod):
        return False
    reference = owner(pod)
    wanted = next(
        (int((one.get("spec") or {}).get("replicas") or 0) for one in seen.owners if _is(one, reference)), None
    )
    if wanted is None:
        return False
    left = [one for one in seen.pods if _is_of(one, reference) and serves(one) and one is not pod and one not in going]
    return len(left) < wanted - 1


def rolls(pod: Object, seen: Seen) -> Object:
    """Give the Deployment of which a pod is the only one that serves, if it can start another before this one ends.

    Empty: it cannot, or others serve. A pod with a volume cannot be in two places.
    """
    sets = [one for one in seen.owners if _is(one, owner(pod))]
    found = [one for item in sets for one in seen.owners if _is(one, owner(item)) and one.get("kind") == "Deployment"]
    if not found or not serves(pod) or not elsewhere(seen) or _has_claim(pod):
        return {}
    spec = found[0].get("spec") or {}
    rolling = (spec.get("strategy") or {}).get("rollingUpdate")
    one_more = rolling is not None and not spec.get("paused") and _keeps_one(rolling)
    return found[0] if one_more and spec.get("replicas", 1) == 1 else {}


def _keeps_one(rolling: Mapping[str, Any]) -> bool:
    """Tell whether the roll-out of one pod starts the new one first: a share of it is rounded up, or down to none."""
    surge, gone = (str(rolling.get(key, "25%")) for key in ("maxSurge", "maxUnavailable"))
    return surge not in ("0", "0%") and (gone == "0" or (gone.endswith("%") and int(gone[:-1]) < 100))


def _has_claim(pod: Object) -> bool:
    volumes = (pod.get("spec") or {}).get("volumes") or []
    return any("persistentVolumeClaim" in one or "ephemeral" in one for one in volumes)


def _is(item: Object, reference: Mapping[str, Any]) -> bool:
    return bool(reference and item["metadata"].get("uid") == reference.get("uid"))


def _is_of(pod: Object, reference: Mapping[str, Any]) -> bool:
    return bool(reference and owner(pod).get("uid") == reference.get("uid"))


def budgets_of(pod: Object, budgets: Iterable[Object]) -> list[Object]:
    """Give the PodDisruptionBudgets that hold a pod."""
    return [
        budget
        for budget in budgets
        if budget["metadata"].get("namespace") == pod["metadata"].get("namespace")
        and _selects(((budget.get("spec") or {}).get("selector")), pod["metadata"].get("labels") or {})
    ]


def _selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_matches(rule, labels) for rule in selector.get("matchExpressions") or [])


def _matches(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = rule.get("key", ""), rule.get("values") or []
    match rule.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


# --- at the end of the time


def held(seen: Seen, refused: Mapping[str, str]) -> Iterator[str]:
    """Say of each pod that is still there what keeps it. ``refused``: pod to the API server's words."""
    for pod in seen.leaving:
        name, metadata = name_of(pod), pod["metadata"]
        if ends(pod) and metadata.get("finalizers"):
            yield f"{name} ends, and waits for {', '.join(metadata['finalizers'])}"
        elif ends(pod):
            seconds = (pod.get("spec") or {}).get("terminationGracePeriodSeconds")
            yield f"{name} still ends (terminationGracePeriodSeconds: {seconds})"
        elif name not in refused and (deployment := rolls(pod, seen)):
            why = "; ".join(filter(None, map(_why, _others(pod, deployment, seen)))) or "it is not Ready"
            yield f"{name} waits for another pod of Deployment {name_of(deployment)}: {why}"
        elif blocking := budgets_of(pod, seen.budgets):
            yield f"{name} is held by {', '.join(map(_budget, blocking))}"
        elif name in refused:
            yield f"{name}: {refused[name]}"
        else:
            kind = owner(pod).get("kind", "workload")
            yield f"{name} is needed: the other pods of its {kind} {owner(pod).get('name', '')} are not Ready"


def _others(pod: Object, deployment: Object, seen: Seen) -> list[Object]:
    """Give the other pods of a pod's Deployment."""
    sets = [one for one in seen.owners if _is(deployment, owner(one))]
    return [one for one in seen.pods if one is not pod and any(_is(item, owner(one)) for item in sets)]


def _budget(budget: Object) -> str:
    status = budget.get("status") or {}
    allowed, healthy = status.get("disruptionsAllowed", 0), status.get("currentHealthy", 0)
    wanted = status.get("desiredHealthy", 0)
    return (
        f"PodDisruptionBudget {name_of(budget)} (disruptionsAllowed: {allowed}, {healthy} pods are healthy, "
        f"{wanted} have to be)"
    )


def short(seen: Seen, workloads: Collection[str], parked: Collection[str]) -> list[str]:
    """Say which workloads that had pods on the node serve with too few elsewhere, and why as far as pods know.

    ``workloads`` are uids of owners; ``parked`` are pods (``namespace/name``) that wait for the node by design.
    """
    told = []
    for item in seen.owners:
        if item["metadata"].get("uid") not in workloads:
            continue
        wanted = int((item.get("spec") or {}).get("replicas") or 0)
        if stuck(item, seen):
            continue
        own = [pod for pod in seen.pods if owner(pod).get("uid") == item["metadata"]["uid"] and not ends(pod)]
        ready = [pod for pod in own if serves(pod) and not on(pod, seen.name)]
        waiting = [pod for pod in own if not serves(pod) and name_of(pod) not in parked]
        # One that is kept to a node of its own finds none while this one is away: the others serve.
        if ready and waiting and all(condition(pod, "PodScheduled").get("status") == "False" for pod in waiting):
            continue
        if len(ready) < wanted and (waiting or not own):
            why = "; ".join(filter(None, map(_why, waiting))) or "its pods start"
            told.append(f"{item['kind']} {name_of(item)} has {len(ready)} of {wanted} pods Ready elsewhere: {why}")
    return sorted(told)


def stuck(item: Object, seen: Seen) -> list[str]:
    """Name the pods that a StatefulSet makes anew only when the silent node is back, or gone: each has one name."""
    if item.get("kind") != "StatefulSet" or seen.answers:
        return []
    return [name_of(pod) for pod in seen.leaving if ends(pod) and _is(item, owner(pod))]


def _why(pod: Object) -> str:
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"{pod['metadata']['name']} finds no node ({scheduled.get('message', '')})"
    for one in (pod.get("status") or {}).get("containerStatuses") or []:
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return f"{pod['metadata']['name']}: {waiting['reason']}"
    return ""
