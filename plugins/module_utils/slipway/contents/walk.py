"""Find one's way in objects: pods, images, selectors, hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Object = dict[str, Any]


def inner(value: Any) -> Object:
    """Give a map; of anything else, which the API server refuses later, an empty one."""
    return dict(value) if isinstance(value, Mapping) else {}


def each(value: Any) -> list[Object]:
    """Give the maps of a list; what is none is left out."""
    return [dict(one) for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def number(value: Any) -> int:
    """Give a number; 0 of anything else."""
    return int(value) if str(value).isdecimal() else 0


def template(item: Mapping[str, Any]) -> Object:
    """Give the pod that an object makes: ``metadata`` and ``spec``; empty where it makes none."""
    spec = inner(item.get("spec"))
    if item["kind"] == "Pod":
        return dict(item)
    if item["kind"] == "CronJob":
        spec = inner(inner(spec.get("jobTemplate")).get("spec"))
    made = spec.get("template")
    return dict(made) if isinstance(made, Mapping) and isinstance(made.get("spec"), Mapping) else {}


def pod_labels(item: Mapping[str, Any]) -> dict[str, str]:
    """Give the labels of the pods that an object makes."""
    return dict((template(item).get("metadata") or {}).get("labels") or {})


def containers(item: Mapping[str, Any]) -> list[Object]:
    """Give the containers of the pods that an object makes, those of its beginning too."""
    spec = template(item).get("spec") or {}
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def images(items: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Give the images that objects need, each with what needs it."""
    found: dict[str, str] = {}
    for item in items:
        for container in containers(item):
            if container.get("image"):
                found.setdefault(str(container["image"]), f"{item['kind']} {item['metadata']['name']}")
    return found


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a selector with ``matchLabels`` and ``matchExpressions`` fits; an empty one fits everything."""
    selector = selector or {}
    if not all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_fits(one, labels) for one in selector.get("matchExpressions") or [])


def _fits(one: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = one.get("key", ""), one.get("values") or []
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }.get(str(one.get("operator")), True)


def of(items: Iterable[Object], *names: str) -> Iterator[Object]:
    """Give the objects of some kinds."""
    return (item for item in items if item["kind"] in names)


def space(item: Mapping[str, Any]) -> str:
    """Give the namespace of an object."""
    return str(item["metadata"].get("namespace", ""))


def name(item: Mapping[str, Any]) -> str:
    """Give the name of an object."""
    return str(item["metadata"]["name"])


def place(item: Mapping[str, Any]) -> tuple[str, str]:
    """Give namespace and name of an object."""
    return space(item), name(item)


def service_of(host: str, namespace: str, domain: str = "cluster.local") -> tuple[str, str] | None:
    """Give namespace and name of the Service that a host of the mesh means; None: it is no Service's."""
    host = host.removesuffix(f".{domain}").removesuffix(".svc")
    parts = host.split(".")
    if len(parts) == 1:
        return namespace, parts[0]
    return (parts[1], parts[0]) if len(parts) == 2 and parts[0] != "*" else None
