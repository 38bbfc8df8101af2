"""Run the jobs of a release one after the other, and say how one failed, with the end of its log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..cluster import pod_logs
from ..cluster.apply import Applier
from ..cluster.client import Cluster, Object
from ..errors import SlipwayError

_PAUSE = 1.0
# Seconds beyond its own that a job may take until it says that it is over.
_GRACE = 30.0


def condition(item: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any] | None:
    """Give a condition of a Job that is true; None: it is not."""
    listed = ((item or {}).get("status") or {}).get("conditions") or []
    return next((each for each in listed if each.get("type") == kind and each.get("status") == "True"), None)


def failed(item: Mapping[str, Any]) -> bool:
    """Tell whether a live object is a Job that has failed, and so has to run again."""
    return item["kind"] == "Job" and condition(item, "Failed") is not None


def run(cluster: Cluster, applier: Applier, item: Object) -> bool:
    """Apply a Job and wait until it is done; tell whether it ran now. Raises SlipwayError when it fails."""
    kind, where = item["apiVersion"], (item["metadata"]["namespace"], item["metadata"]["name"])
    there = cluster.read(kind, "Job", *where)
    if condition(there, "Complete"):
        return False
    if there is not None and condition(there, "Failed"):
        applier.remove([item], "Foreground")
        applier.gone([item], _GRACE)
    applier.apply([item])
    until = time.monotonic() + float(item["spec"]["activeDeadlineSeconds"]) + _GRACE
    while True:
        there = cluster.read(kind, "Job", *where)
        if condition(there, "Complete"):
            return True
        if (why := condition(there, "Failed")) or time.monotonic() > until:
            raise SlipwayError("release-job-failed", _told(cluster, *where, why or {}))
        time.sleep(_PAUSE)


def _told(cluster: Cluster, namespace: str, name: str, why: Mapping[str, Any]) -> str:
    said = ": ".join(str(why[key]) for key in ("reason", "message") if why.get(key)) or "it does not end"
    where = f"kubectl --namespace {namespace} logs job/{name}"
    lines = [f"Job {namespace}/{name} failed: {said}", *_log(cluster, namespace, name, where)]
    return "\n".join([*lines, "Pods and routes are as they were: what served before serves on."])


def _log(cluster: Cluster, namespace: str, name: str, where: str) -> list[str]:
    try:
        pods = cluster.items(f"/api/v1/namespaces/{namespace}/pods", f"batch.kubernetes.io/job-name={name}") or []
        pod = max(pods, key=lambda each: str(each["metadata"].get("creationTimestamp", "")))
        values = pod_logs.hidden(cluster, namespace, pod)
        lines = pod_logs.last_lines(cluster, namespace, pod, values)
    except (SlipwayError, ValueError, LookupError):
        return [f"look at: {where}"]
    return pod_logs.written(lines, where) or [f"look at: {where}"]
