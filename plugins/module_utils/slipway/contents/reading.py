"""Read objects as Helm and kubectl read them, each with the file that it comes from. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ..cluster.objects import flat
from ..errors import SlipwayError

Object = dict[str, Any]

_SOURCE = re.compile(r"^# Source: (\S+)\s*$", re.MULTILINE)
_DOCUMENT = re.compile(r"^---(?:[ \t].*)?$", re.MULTILINE)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Without times of day (``12:30``) and dates, which Kubernetes reads as texts."""


_PLAIN = (
    ("tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?0b[01]+|[-+]?0o?[0-7]+|[-+]?(?:0|[1-9]\d*)|[-+]?0x[0-9a-fA-F]+)$")),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$|^[-+]?\.inf$|^\.nan$"),
    ),
)
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.rpartition(":")[2] not in ("timestamp", "int", "float", "value")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _PLAIN:
    _Loader.add_implicit_resolver(_tag, _pattern, list("-+.0123456789"))


@dataclass(frozen=True)
class Read:
    """An object, and the file that it comes from."""

    item: Object
    source: str


def documents(text: str, source: str = "") -> Iterator[Read]:
    """Give the objects of a text. Raises SlipwayError that names the file."""
    for part in _DOCUMENT.split(text):
        named = _SOURCE.search(part)
        where = named[1] if named else source
        try:
            content = yaml.load(part, Loader=_Loader)  # noqa: S506, it is a safe one
            for item in flat(content) if content is not None else ():
                yield Read(_plain(item), where)
        except yaml.YAMLError as exc:
            raise SlipwayError("yaml-syntax", f"{where or 'what was rendered'}: not YAML: {exc}") from exc
        except SlipwayError as exc:
            raise SlipwayError(exc.id, f"{where}: {exc.text}") from exc


def values(text: str, source: str) -> dict[str, Any]:
    """Give the map of a file of values. Raises SlipwayError."""
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506, it is a safe one
    except yaml.YAMLError as exc:
        raise SlipwayError("yaml-syntax", f"{source}: not YAML: {exc}") from exc
    if content is not None and not isinstance(content, dict):
        raise SlipwayError("yaml-syntax", f"{source}: is no map of values")
    return content or {}


def _plain(item: Object) -> Object:
    """Give an object as JSON has it; what a Secret holds in plain is written as data."""
    made: Object = json.loads(json.dumps(item, default=str))
    metadata = made["metadata"]
    # An empty map is none, and a null is nothing; the API server would take them for a wish of ours.
    for key in ("labels", "annotations"):
        if key in metadata and not metadata[key]:
            del metadata[key]
    metadata.pop("creationTimestamp", None)
    made.pop("status", None)
    if made["kind"] == "Secret" and made.get("stringData"):
        given = {key: base64.b64encode(str(text).encode()).decode("ascii") for key, text in made["stringData"].items()}
        made["data"] = {**(made.get("data") or {}), **given}
        del made["stringData"]
    return made


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Put one map of values over another, as Helm does."""
    made = dict(below)
    for key, value in above.items():
        before = made.get(key)
        made[key] = merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return made


def spread(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give values whose keys lead into maps with a dot as those maps; ``\\.`` is a dot."""
    made: dict[str, Any] = {}
    for path, value in given.items():
        parts = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", str(path))]
        inner: Any = spread(value) if isinstance(value, Mapping) else value
        for part in reversed(parts):
            inner = {part: inner}
        made = merged(made, inner)
    return made
