"""Lists of objects: how they are read, told apart, sorted and shown. Pure: objects in, objects out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import yaml

from ..errors import SlipwayError

try:
    from yaml import CSafeLoader as Loader
except ImportError:
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

Object = dict[str, Any]

_FIRST = ("Namespace", "CustomResourceDefinition", "PriorityClass")
_WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "Job", "CronJob", "Pod")
# On a definition: the sum of what was applied.
_SUM = "slipway.io/definition"


def identity(item: Mapping[str, Any]) -> str:
    """Write ``Kind/namespace/name``, or ``Kind/name`` where there is no namespace."""
    metadata = item["metadata"]
    return "/".join(part for part in (item["kind"], metadata.get("namespace", ""), metadata["name"]) if part)


def read(given: Any) -> list[Object]:
    """Give the objects of what a task was given: documents as YAML or JSON text, objects, and lists of both."""
    if isinstance(given, str):
        return list(flat(_documents(str(given))))
    listed = given if isinstance(given, list) else [given]
    return list(flat(_documents(str(item)) if isinstance(item, str) else item for item in listed))


def _documents(text: str) -> list[Any]:
    """Read a text. JSON is YAML too, and is read in a tenth of the time."""
    if text.lstrip().startswith("["):
        with suppress(ValueError):
            return [json.loads(text)]
    try:
        # Ansible's text is a kind of its own, which the reader in C does not know.
        return list(yaml.load_all(text, Loader=Loader))
    except yaml.YAMLError as exc:
        raise SlipwayError("yaml-syntax", f"not YAML: {exc}") from exc


def flat(given: Any) -> Iterator[Object]:
    """Give the objects of documents, lists of them and Lists; empty documents are none."""
    if isinstance(given, Mapping):
        if str(given.get("kind", "")).endswith("List") and isinstance(given.get("items"), list):
            yield from flat(given["items"])
        elif given.get("kind") and given.get("apiVersion") and (given.get("metadata") or {}).get("name"):
            yield dict(given)
        else:
            raise SlipwayError(
                "not-an-object", f"not an object with apiVersion, kind and metadata.name: {str(dict(given))[:200]}"
            )
    elif isinstance(given, Iterable) and not isinstance(given, str):
        for item in given:
            yield from flat(item)
    elif given is not None:
        raise SlipwayError("not-an-object", f"not an object: {str(given)[:200]}")


def stages(objects: Iterable[Object]) -> list[list[Object]]:
    """Sort objects into lists that can each be applied in any order, one list after the other.

    What others live in or are described by comes first; pods after what they mount and run as; objects of kinds that
    are defined in the same list last.
    """
    objects = list(objects)
    own = {item["spec"]["group"] for item in objects if item["kind"] == "CustomResourceDefinition"}
    sorted_out: list[list[Object]] = [[], [], [], []]
    for item in objects:
        if item["kind"] in _FIRST:
            place = 0
        elif item["apiVersion"].partition("/")[0] in own:
            place = 3
        else:
            place = 2 if item["kind"] in _WORKLOADS else 1
        sorted_out[place].append(item)
    return [stage for stage in sorted_out if stage]


def shown(item: Object | None) -> Object | None:
    """Give what may be seen of an object: of a Secret which keys it has, and nothing of what they hold."""
    if item is None or item["kind"] != "Secret":
        return item
    return {
        key: dict.fromkeys(value or {}, "(not shown)") if key in ("data", "stringData") else value
        for key, value in item.items()
    }


def marked(item: Object) -> Object:
    """Give a definition with the sum of itself as an annotation; anything else as it is.

    The API server takes up to half a second for each definition, whether it changes or not. One that carries the sum
    of what is to be applied and still holds all of it need not be sent: what an earlier version had and this one has
    not any more would have had another sum.
    """
    if item["kind"] != "CustomResourceDefinition":
        return item
    metadata = item["metadata"]
    own = hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()
    return {**item, "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), _SUM: own}}}


def without_status(item: Object) -> Object:
    """Give an object without its status: it is the server's own, though generators of definitions leave one."""
    return {key: value for key, value in item.items() if key != "status"}


def holds(there: Any, wanted: Any) -> bool:
    """Tell whether all of ``wanted`` is ``there``, which may have more; empty and not there are the same."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(
            holds(there[key], value) if key in there else not value for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(there, list) and len(there) == len(wanted) and all(map(holds, there, wanted))
    return bool(there == wanted)


def without(item: Object, hidden: Iterable[str] = ()) -> Object:
    """Give an object without what nobody reads, and without these keys of its data."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    data = {key: value for key, value in (item.get("data") or {}).items() if key not in set(hidden)}
    return {**item, "metadata": metadata, **({"data": data} if "data" in item else {})}
