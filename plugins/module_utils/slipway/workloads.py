"""Whether Deployments are Available, and why one is not: for whoever applied them and waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Object = Mapping[str, Any]


# Names of Deployments; as a mapping with how many pods do where a node for another one is away, None: all.
Wanted = Iterable[str] | Mapping[str, int | None]


def all_available(deployments: Iterable[Object], wanted: Wanted) -> bool:
    """Tell whether every Deployment named in ``wanted`` is there and Available."""
    states = {item["metadata"]["name"]: item for item in deployments}
    return all(name in states and available(states[name], least) for name, least in _leasts(wanted).items())


def unready(deployments: Iterable[Object], pods: Iterable[Object], wanted: Wanted) -> list[str]:
    """Say of each wanted Deployment that is not Available why, as far as its pods know."""
    states = {item["metadata"]["name"]: item for item in deployments}
    faults = []
    for name, least in _leasts(wanted).items():
        if name not in states:
            faults.append(f"{name} is not there")
        elif not available(states[name], least):
            faults.append(f"{name} is not Available: {reason(name, pods)}")
    return faults


def reason(name: str, pods: Iterable[Object]) -> str:
    """Say what the pods of the workload ``name`` know of why it is not there yet."""
    own = [pod for pod in pods if str(pod["metadata"]["name"]).startswith(f"{name}-")]
    return "; ".join(_troubles(own)) or "its pods are starting"


def rolled_out(item: Object) -> bool:
    """Whether all pods of a Deployment or a DaemonSet are of its newest template and can serve."""
    if item["kind"] == "Deployment":
        return available(item)
    status = item.get("status", {})
    wanted = status.get("desiredNumberScheduled")
    return bool(
        status.get("observedGeneration") == item["metadata"].get("generation")
        and status.get("updatedNumberScheduled", 0) == wanted
        and status.get("numberAvailable", 0) == wanted
    )


def _leasts(wanted: Wanted) -> dict[str, int | None]:
    return dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(wanted)


def available(deployment: Object, least: int | None = None) -> bool:
    """Whether all pods that the Deployment asks for are of its newest template, and all, or ``least``, Available."""
    status = deployment.get("status", {})
    wanted = deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration") == deployment["metadata"].get("generation")
        and status.get("updatedReplicas", 0) == wanted
        and status.get("availableReplicas", 0) >= min(wanted, wanted if least is None else int(least))
        and status.get("replicas", 0) == wanted
    )


def _troubles(pods: Iterable[Object]) -> list[str]:
    troubles = []
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status", {})
        troubles += [
            f"{name} finds no node ({condition.get('message', 'no reason given')})"
            for condition in status.get("conditions", [])
            if condition["type"] == "PodScheduled" and condition["status"] != "True"
        ]
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            state = container.get("state", {})
            waiting = state.get("waiting", {})
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                troubles.append(f"{name} {waiting['reason']}: {waiting.get('message', '')}".strip(": "))
            elif "running" in state and not container.get("ready"):
                troubles.append(f"{name} runs and is not ready")
    return troubles
