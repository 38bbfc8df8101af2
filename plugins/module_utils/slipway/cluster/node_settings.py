"""Labels and taints that the page gives to nodes, and those that it gave before and has no more."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import SlipwayError
from ..node.state import SETTINGS
from .client import Cluster, Object

# Others write Node objects too: the kubelet and the node controller.
TRIES = 5
# What one node is to have: labels, and taints as kubectl writes them; and `without`, taints that it is not to have.
Wanted = Mapping[str, Any]
# What kubeadm gives controllers. Without a worker, pods have nowhere else to run.
CONTROLLER = "node-role.kubernetes.io/control-plane:NoSchedule"


def wanted(
    page: Mapping[str, Wanted], *, controllers: Iterable[str] = (), workers: Iterable[str] = ()
) -> dict[str, Wanted]:
    """Give what each node is to have: what ``page`` says, and controllers that take pods where there is no worker."""
    made: dict[str, Wanted] = dict(page)
    if not list(workers):
        for name in controllers:
            of_page = made.get(name) or {}
            given = {_named(taint(str(text))) for text in of_page.get("taints") or []}
            made[name] = {**of_page, "without": [] if CONTROLLER in given else [CONTROLLER]}
    return made


def settled(node: Mapping[str, Any], wanted: Wanted) -> Object | None:
    """Give the Node as the page wants it; None: it is so already.

    What was set or taken off before is noted on the node. All other labels and taints are somebody else's.
    """
    made: Object = copy.deepcopy(dict(node))
    metadata, spec = made["metadata"], made.setdefault("spec", {})
    labels, annotations = metadata.setdefault("labels", {}), metadata.setdefault("annotations", {})
    noted = _noted(annotations)
    new_labels = {str(key): str(value) for key, value in (wanted.get("labels") or {}).items()}
    new_taints = [taint(str(text)) for text in wanted.get("taints") or []]
    for key in noted.get("labels", []):
        labels.pop(key, None)
    labels.update(new_labels)
    ours = {*noted.get("taints", []), *map(_named, new_taints)}
    there = [one for one in spec.get("taints") or [] if _named(one) not in ours]
    without = [text for text in wanted.get("without") or [] if text in {*noted.get("without", []), *map(_named, there)}]
    there = [one for one in there if _named(one) not in without]
    back = [text for text in noted.get("without", []) if text not in {*without, *map(_named, [*there, *new_taints])}]
    spec["taints"] = there + list(map(taint, back)) + new_taints
    note = {"labels": sorted(new_labels), "taints": sorted(map(_named, new_taints))}
    if without:
        note["without"] = without
    annotations.pop(SETTINGS, None)
    if any(note.values()):
        annotations[SETTINGS] = json.dumps(note)
    return None if _compared(made) == _compared(node) else made


def taint(text: str) -> dict[str, str]:
    """Read a taint as kubectl writes it: ``key=value:effect`` or ``key:effect``."""
    place, _, effect = text.rpartition(":")
    key, _, value = place.partition("=")
    return {"key": key, **({"value": value} if value else {}), "effect": effect}


def _named(one: Mapping[str, Any]) -> str:
    return f"{one.get('key')}:{one.get('effect')}"


def _noted(annotations: Mapping[str, str]) -> dict[str, list[str]]:
    try:
        found = json.loads(annotations.get(SETTINGS) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _compared(node: Mapping[str, Any]) -> tuple[Any, ...]:
    metadata = node["metadata"]
    taints = (node.get("spec") or {}).get("taints") or []
    order = sorted((_named(one), str(one.get("value", ""))) for one in taints)
    return metadata.get("labels") or {}, (metadata.get("annotations") or {}).get(SETTINGS), order


def differing(nodes: Iterable[Mapping[str, Any]], page: Mapping[str, Wanted]) -> Iterator[tuple[Object, Object]]:
    """Give each node that is otherwise than ``page`` (name to what it says) wants, as it is and as it should be."""
    for node in nodes:
        made = settled(node, page.get(node["metadata"]["name"]) or {})
        if made is not None:
            yield dict(node), made


def apply(cluster: Cluster, page: Mapping[str, Wanted], *, dry_run: bool = False) -> list[tuple[Object, Object]]:
    """Give nodes what the page says, and tell which were changed: before and after. Raises SlipwayError."""
    found = list(differing(cluster.listed("v1", "Node") or [], page))
    if not dry_run:
        for before, after in found:
            _put(cluster, before, after, page)
    return found


def _put(cluster: Cluster, before: Object, after: Object, page: Mapping[str, Wanted]) -> None:
    name = before["metadata"]["name"]
    path = cluster.path({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    for _ in range(TRIES):
        status, said = cluster.ask(path, method="PUT", body=after)
        if status != 409:
            break
        # Somebody else has written it meanwhile.
        again = cluster.get(path)
        made = settled(again, page.get(name) or {}) if again else None
        if made is None:
            return
        after = made
    if status not in (200, 201):
        raise SlipwayError(
            "refused-by-api", f"Node/{name}: the API server refuses it ({status}): {said.get('message')}"
        )


def shown(node: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a diff shows of a node."""
    taints: Sequence[Mapping[str, Any]] = (node.get("spec") or {}).get("taints") or []
    return {"labels": node["metadata"].get("labels") or {}, "taints": list(taints)}
