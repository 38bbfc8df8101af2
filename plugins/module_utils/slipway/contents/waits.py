"""Wait for what rollouts do not follow: Jobs that come to their end, StatefulSets whose pods are there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ..cluster import pod_logs, workloads
from ..cluster.client import Cluster
from ..cluster.objects import identity
from ..cluster.rollout import PAUSE, signs
from ..errors import SlipwayError

Object = dict[str, Any]


class NotDoneError(SlipwayError):
    """A Job has failed, or something does not come to its end; the text says why."""


FOLLOWED = ("Job", "StatefulSet")
# Seconds between two looks at why pods do not start.
_SIGNS = 3.0


def wait(cluster: Cluster, wanted: Iterable[Mapping[str, str]], seconds: float) -> None:
    """Wait until all are there, or have ended well. Raises NotDoneError that says what keeps one, or how it ended."""
    began = looked = time.monotonic()
    waiting = list(wanted)
    followed = workloads.Rollouts(workloads.PATIENCE)
    while waiting:
        found = [(one, _read(cluster, one)) for one in waiting]
        for one, item in found:
            if item is not None and failed(item):
                raise NotDoneError("job-ended-badly", _ended(cluster, item, one))
        waiting = [one for one, item in found if item is None or not ended(item)]
        if not waiting:
            return
        now = time.monotonic()
        late = now - began >= seconds
        if late or now - looked >= _SIGNS:
            looked = now
            held = {name: why for one in waiting for name, why in [_held(cluster, one, late=late)]}
            stuck = {name: why for name, why in held.items() if _is_hopeless(why)}
            if faults := followed.hopeless(now, stuck):
                raise NotDoneError("pods-cannot-start", "\n".join(faults))
            if late:
                faults = [f"{name}: {why}" for name, why in held.items()]
                raise NotDoneError("not-rolled-out", "\n".join([f"not done within {seconds:g} s:", *faults]))
        time.sleep(PAUSE)


def ended(item: Mapping[str, Any]) -> bool:
    """Tell whether a Job has ended well, or all pods of a StatefulSet are there."""
    status, spec = item.get("status") or {}, item.get("spec") or {}
    if item["kind"] == "Job":
        return any(one["type"] == "Complete" and one["status"] == "True" for one in status.get("conditions") or [])
    wanted = 1 if spec.get("replicas") is None else int(spec["replicas"])
    on_delete = (spec.get("updateStrategy") or {}).get("type") == "OnDelete"
    return bool(
        int(status.get("observedGeneration") or 0) >= int(item["metadata"].get("generation") or 0)
        and (on_delete or int(status.get("updatedReplicas") or 0) >= wanted)
        and int(status.get("readyReplicas") or 0) >= wanted
    )


def failed(item: Mapping[str, Any]) -> bool:
    """Tell whether a Job has ended badly."""
    conditions = (item.get("status") or {}).get("conditions") or []
    return item["kind"] == "Job" and any(one["type"] == "Failed" and one["status"] == "True" for one in conditions)


def _read(cluster: Cluster, one: Mapping[str, str]) -> Object | None:
    found = cluster.read(one["apiVersion"], one["kind"], one["namespace"], one["name"])
    return None if found is None else {**found, "kind": one["kind"], "apiVersion": one["apiVersion"]}


def _pods(cluster: Cluster, one: Mapping[str, str]) -> list[Object]:
    pods = cluster.listed("v1", "Pod", one["namespace"]) or []
    return [
        pod
        for pod in pods
        if any(
            (owner.get("kind"), owner.get("name")) == (one["kind"], one["name"])
            for owner in pod["metadata"].get("ownerReferences") or []
        )
    ]


def _held(cluster: Cluster, one: Mapping[str, str], *, late: bool) -> tuple[str, str]:
    pods = _pods(cluster, one)
    told = signs(cluster, one["namespace"], pods, late=late)
    return f"{one['kind']}/{one['namespace']}/{one['name']}", workloads.reason(one["name"], pods, told)


def _is_hopeless(why: str) -> bool:
    return any(word in why for word in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainer"))


def _ended(cluster: Cluster, job: Object, one: Mapping[str, str]) -> str:
    """Say how a Job ended, with the last lines of its last pod, without what the pod's Secrets hold."""
    conditions = (job.get("status") or {}).get("conditions") or []
    why = next(
        (f"{each.get('reason', '')}: {each.get('message', '')}" for each in conditions if each["type"] == "Failed"), ""
    )
    text = f"{identity(job)} has failed ({why.strip(': ')})"
    pods = sorted(_pods(cluster, one), key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    if not pods:
        return text
    pod = pods[-1]
    name = pod["metadata"]["name"]
    try:
        values = pod_logs.hidden(cluster, one["namespace"], pod)
        containers = [each["name"] for each in pod["spec"]["containers"] if each["name"] != "istio-proxy"]
        lines = pod_logs.last_lines(cluster, one["namespace"], pod, values, container=containers[0])
    except (SlipwayError, LookupError):
        return text
    where = f"kubectl --namespace {one['namespace']} logs {name}"
    return "\n".join([text, *pod_logs.written(lines, where)])
