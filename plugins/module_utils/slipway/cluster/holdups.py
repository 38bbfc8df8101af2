"""What a namespace says of pods that do not come: refused pods, claims, nodes, mounts. Pure: objects in, words out.

Words that begin with ``!`` say that it does not pass by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]

# Whatever else changes on the cluster, these need another page, or another namespace.
_FOR_GOOD = re.compile(
    r"violates PodSecurity|hostPath type check failed|"
    r"failed quota: \S+: must specify|only supports? .*access mode|unsupported access mode",
    re.IGNORECASE,
)
# What pods that are ending give back.
_ROOM = re.compile(r"exceeded quota|Insufficient |Too many pods|free ports")
# istiod makes it in every namespace as soon as it is there itself.
_MESH_STARTS = "istio-ca-root-cert"
# Seconds after which a node that is not Ready is not taken for one that comes, or comes back.
_NODE_COMES = 120.0
# A disk of the pod's node is full, or nearly so, in the words of the kubelet, the runtime and the scheduler.
_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_PRESSED = re.compile(r"disk-pressure|low on resource: (ephemeral-storage|inodes)")
# Seconds that clocks may differ, and that a try may take.
_MARGIN = 5.0
_OF_MOUNTS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox")
_PULL_SECRET = "FailedToRetrieveImagePullSecret"  # noqa: S105, the reason of an event


@dataclass(frozen=True)
class Signs:
    """What a namespace has beside its pods: ``events`` that are warnings, and ``claims`` of storage.

    ``nodes`` are the cluster's, where a pod finds none. ``now``: seconds since 1970, 0 for not known. ``late``: nothing
    passes any more, so all is told.
    """

    events: tuple[Object, ...] = ()
    claims: tuple[Object, ...] = ()
    nodes: tuple[Object, ...] = ()
    now: float = 0.0
    late: bool = False

    def of(self, item: Object, reasons: Iterable[str]) -> list[Object]:
        """Give the events of an object with one of these reasons, the newest first."""
        uid, wanted = item["metadata"].get("uid"), tuple(reasons)
        found = [
            event
            for event in self.events
            if uid and (event.get("involvedObject") or {}).get("uid") == uid and event.get("reason") in wanted
        ]
        return sorted(found, key=_last, reverse=True)

    def lasting(self, item: Object, reasons: Iterable[str]) -> list[Object]:
        """Give those of them that go on: what is tried again waits twice as long each time, and says so each time.

        So a failure that was told for the last time before the latter half of its time has passed.
        """
        found = self.of(item, reasons)
        if not found or self.late or not self.now:
            return found
        since, last = min(map(_first, found)), max(map(_last, found))
        return found if self.now - last <= (self.now - since) / 2 + _MARGIN else []

    def node_comes(self) -> bool:
        """Tell whether a node is not Ready: new, or about to come back. The scheduler names no taints."""
        return len(self.nodes_lost()) < sum(map(_not_ready, self.nodes))

    def nodes_lost(self) -> list[Object]:
        """Give the nodes that have not been Ready for so long that nobody waits for them."""
        return [
            node
            for node in self.nodes
            if self.now and _not_ready(node) and (since := seconds(condition(node, "Ready").get("lastTransitionTime")))
            and self.now - since >= _NODE_COMES
        ]  # fmt: skip

    def names_claims(self) -> bool:
        """Tell whether a claim is warned of."""
        return any((event.get("involvedObject") or {}).get("kind") == "PersistentVolumeClaim" for event in self.events)


NONE = Signs()


def _not_ready(node: Object) -> bool:
    return bool(condition(node, "Ready").get("status") != "True")


def with_full_disk(words: str, node: str | None) -> str:
    """Add to what is said of a pod that it is a disk that is full, where that is what the words come from."""
    if _FULL.search(words):
        look = "df --human-readable / /var /var/lib/containerd"
        return f"{words} (a disk of {node or 'its node'} is full; look there at: {look})"
    if _PRESSED.search(words):
        look = "kubectl describe nodes, and there at: df --human-readable"
        return f"{words} (a node's disk is nearly full; look at: {look})"
    return words


def _last(event: Object) -> float:
    series = event.get("series") or {}
    return seconds(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime"))


def _first(event: Object) -> float:
    return seconds(event.get("firstTimestamp") or event.get("eventTime") or event.get("lastTimestamp"))


def seconds(stamp: object) -> float:
    """Read a time as the API writes it; 0: there is none."""
    return datetime.fromisoformat(str(stamp).replace("Z", "+00:00")).timestamp() if stamp else 0.0


def _said(event: Object) -> str:
    return " ".join(str(event.get("message") or event.get("reason") or "").split())


def condition(item: Object, name: str) -> Object:
    """Give the condition of that name; empty: there is none."""
    found = (item.get("status") or {}).get("conditions") or []
    return next((one for one in found if one.get("type") == name), {})


def _marked(words: str) -> str:
    return f"!{words}" if _FOR_GOOD.search(words) else words


def refused(owner: Object, pods: Iterable[Object] = (), signs: Signs = NONE) -> str:
    """Say why the API server takes no (more) pods of a ReplicaSet, a Deployment or a DaemonSet; empty: it does."""
    failure = condition(owner, "ReplicaFailure")
    words = str(failure.get("message") or failure.get("reason") or "") if failure.get("status") == "True" else ""
    status = owner.get("status") or {}
    if not words and int(status.get("currentNumberScheduled") or 0) < int(status.get("desiredNumberScheduled") or 0):
        words = next((_said(event) for event in signs.of(owner, ("FailedCreate",))), "")
    return _unless_room_comes("its pods are refused", words, pods, signs)


def setless(deployment: Object, pods: Iterable[Object] = (), signs: Signs = NONE) -> str:
    """Say why a Deployment has no ReplicaSet of its newest template; empty: it is still to be made."""
    progress = condition(deployment, "Progressing")
    failed = progress.get("status") == "False" and progress.get("reason") == "ReplicaSetCreateError"
    words = str(progress.get("message") or progress["reason"]) if failed else ""
    return _unless_room_comes("its ReplicaSet is refused", words, pods, signs)


def _unless_room_comes(what: str, words: str, pods: Iterable[Object], signs: Signs) -> str:
    return "" if not words or (_room_comes(words, pods) and not signs.late) else _marked(f"{what}: {words}")


def _room_comes(words: str, pods: Iterable[Object]) -> bool:
    """Tell whether pods are ending, which may give back what is missing."""
    return bool(_ROOM.search(words)) and any(pod["metadata"].get("deletionTimestamp") for pod in pods)


def finds_no_node(pod: Object) -> bool:
    """Tell whether the scheduler has said that no node takes a pod."""
    return condition(pod, "PodScheduled").get("status") == "False"


def kept_back(pod: Object, pods: Iterable[Object] = (), signs: Signs = NONE) -> str:
    """Say what keeps a pod from starting any container: no node, no volume, no network; empty: nothing does."""
    if pod["metadata"].get("deletionTimestamp"):
        return ""
    found = _mounts(pod, signs) if (pod.get("spec") or {}).get("nodeName") else _place(pod, pods, signs)
    return _marked(f"pod {pod['metadata']['name']}: {found}") if found else ""


def _place(pod: Object, pods: Iterable[Object], signs: Signs) -> str:
    claims = _claims(pod, signs)
    if told := next(filter(None, claims.values()), ""):
        return told
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") != "False" or scheduled.get("reason", "Unschedulable") != "Unschedulable":
        return ""
    event = next((_said(event) for event in signs.of(pod, ("FailedScheduling",))), "")
    words = str(scheduled.get("message") or event or "no reason given")
    nominated = (pod.get("status") or {}).get("nominatedNodeName")
    if not signs.late and (nominated or signs.node_comes() or _room_comes(words, pods)):
        # Others make room for it, or a node comes.
        return ""
    waits = f"; claims that are not bound: {', '.join(claims)}" if claims else ""
    return f"no node takes it: {with_full_disk(words, None)}{waits}"


def _claims(pod: Object, signs: Signs) -> dict[str, str]:
    """Give the claims of a pod that are not bound, each with what its provisioner says of it."""
    volumes = (pod.get("spec") or {}).get("volumes") or []
    names = {str((volume.get("persistentVolumeClaim") or {}).get("claimName") or "") for volume in volumes}
    found = {}
    for claim in signs.claims:
        name = claim["metadata"]["name"]
        if name in names and (claim.get("status") or {}).get("phase") != "Bound":
            told = next((_said(event) for event in signs.lasting(claim, ("ProvisioningFailed", "FailedBinding"))), "")
            found[name] = f"claim {name} is not bound: {told}" if told else ""
    return found


def _mounts(pod: Object, signs: Signs) -> str:
    status = pod.get("status") or {}
    started = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    if condition(pod, "PodReadyToStartContainers").get("status") == "True" or any(
        {"running", "terminated"} & set(one.get("state") or {}) for one in started
    ):
        # What was missing before is there.
        return ""
    # Nobody makes the folder in a moment, so there is nothing to wait for.
    for_good = [event for event in signs.of(pod, _OF_MOUNTS) if _FOR_GOOD.search(_said(event))]
    events = for_good or [event for event in signs.lasting(pod, _OF_MOUNTS) if _MESH_STARTS not in _said(event)]
    # The kubelet's summary names volumes and no reason.
    events.sort(key=lambda event: "timed out waiting for the condition" in _said(event))
    node = (pod.get("spec") or {}).get("nodeName")
    return next((f"{event['reason']}: {with_full_disk(_said(event), node)}" for event in events), "")


def beside(pod: Object, signs: Signs) -> str:
    """Say what an image that cannot be pulled may have to do with: a Secret for its registry that is not there."""
    return next((_said(event) for event in signs.of(pod, (_PULL_SECRET,))), "")


def unhealthy(pod: Object, signs: Signs) -> str:
    """Say what a probe of a pod has got for an answer last."""
    return next((_said(event) for event in signs.of(pod, ("Unhealthy",))), "")


_HINTS = (
    (
        r"exceeded quota|failed quota",
        "fewer replicas or smaller resources, or a larger quota: kubectl --namespace {} describe resourcequota",
    ),
    (
        r"violates PodSecurity",
        "a weaker level: kubectl label --overwrite namespace {} pod-security.kubernetes.io/enforce=privileged",
    ),
    (r"access mode", "access: ReadWriteOnce at that volume, or a storage_class whose volumes several nodes can mount"),
    (
        r"hostPath type check failed",
        "create: true at that volume, or a host_path that is a folder on every node, as /mnt/shared is",
    ),
    (
        r"Multi-Attach error",
        "access: ReadWriteMany at that volume, with a storage_class that can do it, or a volume for each version",
    ),
    (
        r"image pull secret",
        "kubectl --namespace {} create secret docker-registry, under the name that image_pull_secrets has",
    ),
    (
        # In the last lines of a container that has failed, or in the reason why it could not be started.
        r"(?im)^(\s+\| |.*container \S+ has failed).*(permission denied|operation not permitted|EACCES|EPERM)",
        (
            "a right that the program lacks: user: image at its service (the image's own user, also root), and "
            "writable: true if it writes outside of /tmp and of volumes"
        ),
    ),
    (
        r"(?im)^(\s+\| |.*container \S+ has failed).*(read-only file system|EROFS)",
        "writable: true at that service, or a volume in mounts for the folder that it writes to",
    ),
    (r"no node takes it.*Insufficient", "smaller resources or fewer replicas on the page, or more nodes"),
    (r"no node takes it(?!.*Insufficient).* taint", "a node without that taint: kubectl describe nodes"),
)


def hints(text: str, namespace: str) -> Iterator[str]:
    """Give what would work for each sort of hold-up that ``text`` tells of."""
    for pattern, works in _HINTS:
        if re.search(pattern, text):
            yield works.format(namespace)
