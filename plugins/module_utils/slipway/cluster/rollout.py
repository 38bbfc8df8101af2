"""Wait until workloads can serve, and say why they do not: the one way of waiting for pods."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..errors import SlipwayError
from . import last_words, pod_logs, webhooks, workloads
from .client import BusyError, Cluster, Object
from .holdups import NONE, Signs, finds_no_node
from .nodes import node_trouble
from .objects import identity, without_status

# Seconds between two looks at what is waited for, and at the events of its namespace.
PAUSE = 0.25
SIGNS = 3.0

T = TypeVar("T")


class NotRolledOutError(SlipwayError):
    """A workload's pods do not come to serve; the text names each with what keeps it."""


def wait(
    cluster: Cluster, items: Iterable[Object], seconds: float, patience: float | None = None, enough: int | None = None
) -> None:
    """Wait until Deployments and DaemonSets are rolled out and Pods Ready; of each its name and place are enough.

    ``enough``: so many pods of each DaemonSet do.

    Raises NotRolledOutError as soon as pods of the newest template have been held up for ``patience`` seconds (by
    their image, a node, volumes, a quota), or for good, and when time is up.
    """
    began = looked = time.monotonic()
    followed = workloads.Rollouts(workloads.PATIENCE if patience is None else patience)
    told: dict[str, Signs] = {}
    waiting = [item for item in items if not _there(item, enough)]
    while waiting:
        present = cluster.many(lambda item: cluster.get(cluster.path(item)) or without_status(item), waiting)
        waiting = [item for item in present if not _there(item, enough)]
        if not waiting:
            return
        found = {space: _Namespace.of(cluster, space) for space in _spaces(waiting)}
        now = time.monotonic()
        late = now - began >= seconds
        if late or now - looked >= SIGNS:
            told = {space: signs(cluster, space, found[space].pods, late=late) for space in found}
            looked = now
        held = {
            identity(item): workloads.stuck(item, found[space].sets, found[space].pods, told.get(space, NONE))
            for item in waiting
            if "status" in item
            for space in _spaces([item])
        }
        if faults := followed.hopeless(now, held):
            raise NotRolledOutError("pods-cannot-start", "\n".join(_with_last_words(cluster, faults, waiting, found)))
        if late:
            faults = [
                f"{identity(item)}: {held.get(identity(item), '').removeprefix('!') or _reason(item, found, told)}"
                for item in waiting
            ]
            faults = _with_last_words(cluster, faults, waiting, found)
            raise NotRolledOutError("not-rolled-out", "\n".join([f"not rolled out within {seconds:g} s:", *faults]))
        time.sleep(PAUSE)


def until(look: Callable[[], T], fit: Callable[[T], bool], seconds: float) -> tuple[T, bool]:
    """Look until what is seen fits, for ``seconds``; give what was seen last, and whether it does.

    A cluster that does not answer meanwhile is asked again. Raises BusyError where it has not answered once.
    """
    end = time.monotonic() + seconds
    seen: list[T] = []
    while True:
        try:
            seen = [look()]
            if fit(seen[0]):
                return seen[0], True
        except BusyError:
            if not seen and time.monotonic() >= end:
                raise
        if seen and time.monotonic() >= end:
            return seen[0], False
        time.sleep(PAUSE)


@dataclass(frozen=True)
class _Namespace:
    """ReplicaSets and pods of a namespace."""

    sets: list[Object]
    pods: list[Object]

    @classmethod
    def of(cls, cluster: Cluster, namespace: str) -> _Namespace:
        asked = (("apps/v1", "ReplicaSet"), ("v1", "Pod"))
        return cls(*cluster.many(lambda kind: cluster.listed(*kind, namespace) or [], asked))


def signs(cluster: Cluster, namespace: str, pods: Iterable[Object], *, late: bool) -> Signs:
    """Read the warnings of a namespace, its claims where one is warned of, and the nodes where a pod finds none."""
    try:
        events = cluster.items(f"/api/v1/namespaces/{namespace}/events?fieldSelector=type%3DWarning")
        found = Signs(tuple(events or []))
        claims = cluster.listed("v1", "PersistentVolumeClaim", namespace) if found.names_claims() else []
        nodes = cluster.listed("v1", "Node") if any(map(finds_no_node, pods)) else []
    except SlipwayError:
        # They only tell more; what is waited for is asked anew in a moment.
        return Signs(late=late)
    return Signs(found.events, tuple(claims or []), tuple(nodes or []), time.time(), late)


def _with_last_words(
    cluster: Cluster, faults: Iterable[str], items: Iterable[Object], found: Mapping[str, _Namespace]
) -> list[str]:
    """Add to what is told of each workload the last lines of its container that has failed."""
    names = {identity(item): item for item in items}
    told = []
    for fault in faults:
        item = names[next(name for name in names if fault.startswith((f"{name}:", f"{name} ")))]
        (space,) = _spaces([item])
        failed = workloads.crashed(item, found[space].sets, found[space].pods)
        first = next((one for one in failed if one[0]["metadata"]["name"] in fault), None)
        told.append(_last_words(cluster, fault, space, *first) if first else fault)
    return told


def _last_words(
    cluster: Cluster, fault: str, namespace: str, pod: Mapping[str, Any], container: str, previous: bool
) -> str:
    """Give what is told, without what the pod's Secrets hold, and the last lines of a container's log after it."""
    name = pod["metadata"]["name"]
    where = f"kubectl --namespace {namespace} logs{' --previous' if previous else ''} {name} --container {container}"
    try:
        values = pod_logs.hidden(cluster, namespace, pod)
    except SlipwayError:
        return f"{fault}\n    its log is not shown, as its Secrets cannot be read to take them out: {where}"
    try:
        lines = pod_logs.last_lines(cluster, namespace, pod, values, container=container, previous=previous)
    except SlipwayError:
        lines = []
    return "\n".join([last_words.masked(fault, values), *pod_logs.written(lines, where)])


def _there(item: Object, enough: int | None) -> bool:
    return "status" in item and workloads.rolled_out(item, enough)


def _reason(item: Object, found: Mapping[str, _Namespace], told: Mapping[str, Signs]) -> str:
    if "status" not in item:
        return "it is not there"
    (space,) = _spaces([item])
    pods = [item] if item["kind"] == "Pod" else found[space].pods
    return workloads.reason(item["metadata"]["name"], pods, told.get(space, NONE))


def _spaces(items: Iterable[Object]) -> set[str]:
    return {item["metadata"].get("namespace") or "default" for item in items}


class Webhooks:
    """What stands behind webhooks that do not answer, seen again and again while they are waited for."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._followed: dict[tuple[str, str], workloads.Rollouts] = {}
        self._ready: dict[tuple[str, str], float] = {}
        self._looked: float | None = None

    def unanswered(self, said: str, *, late: bool) -> str:
        """Say why webhooks that ``said`` names will never answer, or when it is ``late``, do not; empty: they may."""
        calls, now = webhooks.calls(said), time.monotonic()
        if not calls or (not late and self._looked is not None and now - self._looked < SIGNS):
            return ""
        self._looked = now
        places = {(call.namespace, call.service): call.lost for call in calls}
        try:
            faults = [fault for place, lost in places.items() for fault in self._behind(place, now, lost, late)]
            nodes = self.cluster.listed("v1", "Node") or [] if faults else []
        except SlipwayError:
            # It only tells more.
            faults, nodes = [], []
        if not faults and not late:
            return ""
        troubles = {node["metadata"]["name"]: node_trouble(node) for node in nodes}
        faults += [f"node {name}: {trouble}" for name, trouble in sorted(troubles.items()) if trouble]
        return "\n".join([webhooks.summary(said), *faults])

    def _behind(self, place: tuple[str, str], now: float, lost: bool, late: bool) -> list[str]:
        """Say what keeps a Service (namespace and name) from answering: Deployments, DaemonSets, pods, nodes."""
        space, name = place
        service = self.cluster.read("v1", "Service", space, name)
        if service is None:
            return [f"there is no Service {space}/{name}"] if late else []
        selector = (service.get("spec") or {}).get("selector") or {}
        there = _Namespace.of(self.cluster, space)
        nodes = tuple(self.cluster.listed("v1", "Node") or [])
        told = replace(signs(self.cluster, space, there.pods, late=late), nodes=nodes, now=time.time())
        own = [pod for pod in there.pods if webhooks.selects(selector, pod["metadata"].get("labels"))]
        items = [
            item
            for kind in ("Deployment", "DaemonSet")
            for item in self.cluster.listed("apps/v1", kind, space) or []
            if webhooks.selects(selector, item["spec"]["template"]["metadata"].get("labels"))
        ]
        serving = [pod for pod in own if workloads.rolled_out(pod)]
        held = {
            identity(item): workloads.stuck(item, there.sets, there.pods, told) or webhooks.on_lost_nodes(own, told)
            for item in items
            if not serving
        }
        faults = self._followed.setdefault(place, workloads.Rollouts(workloads.PATIENCE)).hopeless(now, held)
        if late and not faults and not serving:
            reasons = {identity(item): workloads.reason(item["metadata"]["name"], there.pods, told) for item in items}
            faults = [f"{item}: {held[item].removeprefix('!') or reason}" for item, reason in reasons.items()]
        faults = _with_last_words(self.cluster, faults, items, {space: there})
        if not serving:
            self._ready.pop(place, None)
        elif lost and (now - self._ready.setdefault(place, now) >= webhooks.REACHED or late):
            faults.append(webhooks.not_reached(serving, f"Service {space}/{name}"))
        return faults
