"""Whether Deployments are Available, and why one is not: for whoever applied them and waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Object = Mapping[str, Any]


def all_available(deployments: Iterable[Object], wanted: Iterable[str]) -> bool:
    """Tell whether every Deployment named in ``wanted`` is there and Available."""
    states = {item["metadata"]["name"]: item for item in deployments}
    return all(name in states and available(states[name]) for name in wanted)


def unready(deployments: Iterable[Object], pods: Iterable[Object], wanted: Iterable[str]) -> list[str]:
    """Say of each wanted Deployment that is not Available why, as far as its pods know."""
    states = {item["metadata"]["name"]: item for item in deployments}
    faults = []
    for name in wanted:
        if name not in states:
            faults.append(f"{name} is not there")
        elif not available(states[name]):
            own = [pod for pod in pods if str(pod["metadata"]["name"]).startswith(f"{name}-")]
            faults.append(f"{name} is not Available: {'; '.join(_troubles(own)) or 'its pods are starting'}")
    return faults


def available(deployment: Object) -> bool:
    """Whether as many pods of the Deployment as it asks for are of its newest template and Available."""
    status = deployment.get("status", {})
    wanted = deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration") == deployment["metadata"].get("generation")
        and status.get("updatedReplicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
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
