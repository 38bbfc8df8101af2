"""Whether workloads are rolled out, and why one is not, or never will be: for whoever applied them and waits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import holdups
from .holdups import NONE, Signs

Object = Mapping[str, Any]

# A pod in this state gets no further by itself.
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull")
# The kubelet tries these again: with a registry that comes back they pass.
_PULLS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "RegistryUnavailable",
    "CreateContainerConfigError",
    "CreateContainerError",
)
# What registries answer to whom they do not know, as containerd tells it.
_NOT_LET_IN = re.compile(r"\b40[13]\b|unauthori[sz]ed|authorization failed|access denied", re.IGNORECASE)
# Seconds that such a state has to last, and starts that a container may fail.
PATIENCE = 20.0
_CRASHES = 3
# The program could not even be started, as one that the image does not have.
_NEVER_BEGAN = ("StartError", "ContainerCannotRun")
# What tells the ReplicaSet of a Deployment's present template, and the pods of a DaemonSet's.
_REVISION = "deployment.kubernetes.io/revision"
_GENERATION = ("deprecated.daemonset.template.generation", "pod-template-generation")

# Names of Deployments; as a mapping with how many pods do where a node for another one is away, None: all.
Wanted = Iterable[str] | Mapping[str, int | None]


def all_available(deployments: Iterable[Object], wanted: Wanted) -> bool:
    """Tell whether every Deployment named in ``wanted`` is there and Available."""
    states = {item["metadata"]["name"]: item for item in deployments}
    return all(name in states and available(states[name], least) for name, least in _leasts(wanted).items())


def unready(
    deployments: Iterable[Object], pods: Iterable[Object], wanted: Wanted, events: Iterable[Object] = ()
) -> list[str]:
    """Say of each wanted Deployment that is not Available why, as far as its pods and the ``events`` know."""
    signs, pods = Signs(tuple(events), late=True), list(pods)
    states = {item["metadata"]["name"]: item for item in deployments}
    faults = []
    for name, least in _leasts(wanted).items():
        if name not in states:
            faults.append(f"{name} is not there")
        elif not available(states[name], least):
            refused = holdups.refused(states[name]).removeprefix("!")
            faults.append(f"{name} is not Available: {refused or reason(name, pods, signs)}")
    return faults


def reason(name: str, pods: Iterable[Object], signs: Signs = NONE) -> str:
    """Say what the pods of the workload ``name`` know of why it is not there yet."""
    pods = list(pods)
    own = [pod for pod in pods if f"{pod['metadata']['name']}-".startswith(f"{name}-")]
    held = [words.removeprefix("!") for pod in own if (words := holdups.kept_back(pod, pods, signs))]
    return "; ".join(_troubles(own, signs) or held or _starting(own)) or "its pods are starting"


def rolled_out(item: Object, enough: int | None = None) -> bool:
    """Whether all pods of a Deployment or a DaemonSet are of its newest template and can serve, or a Pod is Ready.

    ``enough``: so many pods of a DaemonSet do, where nodes for others are away.
    """
    if item["kind"] == "Deployment":
        return available(item)
    status = item.get("status") or {}
    if item["kind"] == "Pod":
        return any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or [])
    wanted = status.get("desiredNumberScheduled")
    if enough is not None:
        return bool(
            status.get("observedGeneration") == item["metadata"].get("generation")
            # With a node away the rollout of a new template may stand still: its pod is the one that may be missing.
            and (enough < int(wanted or 0) or status.get("updatedNumberScheduled", 0) == wanted)
            and status.get("numberReady", 0) >= enough
        )
    return bool(
        status.get("observedGeneration") == item["metadata"].get("generation")
        and status.get("updatedNumberScheduled", 0) == wanted
        and status.get("numberAvailable", 0) == wanted
    )


def stuck(item: Object, replica_sets: Iterable[Object], pods: Iterable[Object], signs: Signs = NONE) -> str:
    """Say what holds up pods of the newest template of a Deployment or DaemonSet, or a Pod; empty: nothing does.

    The sets, pods and signs are those of its namespace. Whether it lasts is for the caller to see (``PATIENCE``); what
    begins with ``!`` needs no patience.
    """
    metadata, status, pods = item["metadata"], item.get("status") or {}, list(pods)
    if item["kind"] == "Pod":
        # Nobody makes it anew, as is done for the pods of a Deployment.
        failed = f"!pod {metadata['name']} has ended{_ends(item)}" if _failed(item) else ""
        return cannot_start(item, signs) or failed or holdups.kept_back(item, pods, signs)
    if int(status.get("observedGeneration") or 0) < int(metadata.get("generation") or 0):
        # What its controller shows is still about the template before.
        return ""
    sets = _newest_sets(item, replica_sets)
    own = _of_newest_template(item, sets, pods)
    owners = sets if item["kind"] == "Deployment" else [item]
    held = [
        *(cannot_start(pod, signs) for pod in own),
        *(holdups.kept_back(pod, pods, signs) for pod in own),
        *(holdups.refused(owner, pods, signs) for owner in owners),
        "" if owners else holdups.setless(item, pods, signs),
    ]
    return next((words for words in held if words.startswith("!")), "") or next(filter(None, held), "")


def crashed(item: Object, replica_sets: Iterable[Object], pods: Iterable[Object]) -> Iterator[tuple[Object, str, bool]]:
    """Give pods of the newest template with a container that has failed, and whether it was started anew since."""
    own = [item] if item["kind"] == "Pod" else _of_newest_template(item, _newest_sets(item, replica_sets), pods)
    for pod in own:
        for container in _statuses(pod):
            state, last = container.get("state") or {}, container.get("lastState") or {}
            if (state.get("terminated") or {}).get("exitCode"):
                yield pod, str(container["name"]), False
                continue
            ended = last.get("terminated") or {}
            if ended.get("exitCode") or (ended and (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff"):
                yield pod, str(container["name"]), True


def _newest_sets(item: Object, replica_sets: Iterable[Object]) -> list[Object]:
    """Give the ReplicaSets of a Deployment's present template."""
    metadata = item["metadata"]
    revision = (metadata.get("annotations") or {}).get(_REVISION)
    return [
        one
        for one in replica_sets
        if item["kind"] == "Deployment"
        and metadata["name"] in _owners(one)
        and (one["metadata"].get("annotations") or {}).get(_REVISION) == revision
    ]


def _of_newest_template(item: Object, sets: Iterable[Object], pods: Iterable[Object]) -> list[Object]:
    if item["kind"] == "Deployment":
        newest = {one["metadata"]["name"] for one in sets}
        return [pod for pod in pods if newest & _owners(pod)]
    metadata = item["metadata"]
    annotation, label = _GENERATION
    generation = (metadata.get("annotations") or {}).get(annotation)
    return [
        pod
        for pod in pods
        if metadata["name"] in _owners(pod) and (pod["metadata"].get("labels") or {}).get(label) in (None, generation)
    ]


def _owners(item: Object) -> set[str]:
    return {one["name"] for one in item["metadata"].get("ownerReferences") or []}


def cannot_start(pod: Object, signs: Signs = NONE) -> str:
    """Say why a pod does not start, in the words of its state; empty: nothing holds it up. ``!``: for good."""
    if pod["metadata"].get("deletionTimestamp"):
        return ""
    name = pod["metadata"]["name"]
    images = {item["name"]: item.get("image", "") for kind in ("initContainers", "containers")
              for item in (pod.get("spec") or {}).get(kind) or []}  # fmt: skip
    for container in _statuses(pod):
        state = (container.get("state") or {}).get("waiting") or {}
        reason, message = state.get("reason", ""), state.get("message", "")
        what = f"pod {name}, image {images.get(container.get('name'), '')}: {reason}"
        what += f": {message}" if message else ""
        if reason in _HOPELESS:
            return f"!{what}"
        if reason in _PULLS:
            beside = holdups.beside(pod, signs) or _credentials(pod, message)
            what = holdups.with_full_disk(what, (pod.get("spec") or {}).get("nodeName"))
            return f"{what} ({beside})" if beside else what
        ended = (container.get("lastState") or {}).get("terminated") or {}
        why = ended.get("reason", "Error")
        starts = 1 if why in _NEVER_BEGAN else _CRASHES
        if reason == "CrashLoopBackOff" and int(container.get("restartCount") or 0) >= starts:
            code = f", last with {ended['exitCode']}" if "exitCode" in ended else ""
            code += f" ({why})" if code and why not in ("Error", "Completed") else ""
            said = f": {ended['message'].strip()}" if ended.get("message") else ""
            often = "once" if container["restartCount"] == 1 else f"{container['restartCount']} times"
            what = f"container {container['name']} has failed {often}{code}{said}"
            return f"!pod {name}: {what}"
    return ""


def waits_for_image(pod: Object, now: float) -> bool:
    """Tell whether a pod is there so long without its image that the kubelet tries again ever more rarely."""
    metadata = pod["metadata"]
    if metadata.get("deletionTimestamp") or not metadata.get("creationTimestamp"):
        return False
    waiting = ((container.get("state") or {}).get("waiting") or {} for container in _statuses(pod))
    without = any(state.get("reason") in ("ErrImagePull", "ImagePullBackOff") for state in waiting)
    return without and now - holdups.seconds(metadata["creationTimestamp"]) >= PATIENCE


def _credentials(pod: Object, message: str) -> str:
    """Say with which Secrets an image was asked for, if that is what the registry did not like."""
    names = [str(one.get("name")) for one in (pod.get("spec") or {}).get("imagePullSecrets") or []]
    if not names or not _NOT_LET_IN.search(message):
        return ""
    kind = "Secret" if len(names) == 1 else "Secrets"
    return f"asked for with {kind} {', '.join(names)}: see user and password there"


def _statuses(pod: Object) -> list[Mapping[str, Any]]:
    """Give the states of a pod's containers, those that set it up first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _failed(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") == "Failed"


def _ends(pod: Object) -> str:
    """Say why a pod has failed: in its own words, or which of its containers ended with a failure, and how."""
    status = pod.get("status") or {}
    ends = {one["name"]: (one.get("state") or {}).get("terminated") or {} for one in _statuses(pod)}
    containers = [
        f"container {name} with {end['exitCode']}" + (f", {end['message'].strip()}" if end.get("message") else "")
        for name, end in ends.items()
        if end.get("exitCode")
    ]
    said = status.get("message") or "; ".join(containers) or status.get("reason")
    return f": {said}" if said else ""


@dataclass
class Rollouts:
    """Follows workloads from look to look. ``patience``: seconds that a pod may fail to start before it is hopeless."""

    patience: float = PATIENCE

    def __post_init__(self) -> None:
        self.since: dict[str, float] = {}

    def hopeless(self, now: float, held: Mapping[str, str]) -> list[str]:
        """Say which workloads will never be there, by what holds them up (name → words of ``stuck``) at this look."""
        held = {name: reason for name, reason in held.items() if reason}
        self.since = {name: self.since.get(name, now) for name in held}
        return [
            f"{name} cannot start: {reason.removeprefix('!')}"
            for name, reason in held.items()
            if reason.startswith("!") or now - self.since[name] >= self.patience
        ]


def _leasts(wanted: Wanted) -> dict[str, int | None]:
    return dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(wanted)


def available(deployment: Object, least: int | None = None) -> bool:
    """Whether all pods that the Deployment asks for are of its newest template, and all, or ``least``, Available."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    wanted = 1 if spec.get("replicas") is None else int(spec["replicas"])
    updated = int(status.get("updatedReplicas") or 0)
    enough = updated if least is None else min(wanted, int(least))
    return (
        int(status.get("observedGeneration") or 0) >= int(deployment["metadata"].get("generation") or 0)
        and updated >= wanted
        and int(status.get("replicas") or 0) <= updated
        and int(status.get("availableReplicas") or 0) >= enough
    )


def _troubles(pods: Iterable[Object], signs: Signs) -> list[str]:
    troubles = []
    for pod in pods:
        if pod["metadata"].get("deletionTimestamp"):
            continue
        name, status = pod["metadata"]["name"], pod.get("status", {})
        troubles += [
            f"{name} finds no node ({holdups.with_full_disk(condition.get('message', 'no reason given'), None)})"
            for condition in status.get("conditions", [])
            if condition["type"] == "PodScheduled" and condition["status"] != "True"
        ]
        for container in _statuses(pod):
            state = container.get("state", {})
            waiting = state.get("waiting", {})
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                words = f"{name} {waiting['reason']}: {waiting.get('message', '')}".strip(": ")
                troubles.append(holdups.with_full_disk(words, (pod.get("spec") or {}).get("nodeName")))
            elif "running" in state and not container.get("ready"):
                probe = holdups.unhealthy(pod, signs)
                troubles.append(f"{name} runs and is not ready" + (f" ({probe})" if probe else ""))
    return troubles


def _starting(pods: Iterable[Object]) -> list[str]:
    """Say where pods are, and what their containers wait for, that are neither in trouble nor there yet."""
    found = []
    for pod in pods:
        waits = {one["name"]: one.get("state") or {} for one in _statuses(pod) if not one.get("ready")}
        words = ", ".join(f"{name} {_state(state)}" for name, state in waits.items())
        if words and not pod["metadata"].get("deletionTimestamp"):
            node = (pod.get("spec") or {}).get("nodeName") or "no node"
            found.append(f"{pod['metadata']['name']} is starting on {node} ({words})")
    return found


def _state(state: Mapping[str, Any]) -> str:
    if "terminated" in state:
        return f"ended with {state['terminated'].get('exitCode')}"
    return str((state.get("waiting") or {}).get("reason") or "waits")
