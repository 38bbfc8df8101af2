"""The tables of ``docs/reference/release.md``, made from the model, so that nobody retypes them.

``python -m slipway.release.reference --write`` renews what lies between ``<!-- table: … -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .. import tables as written
from ..contents import keys as contents_keys
from ..page.form import keys_of
from ..page.read import flow
from ..paths import ROOT
from . import (
    call_keys,
    dashboard_keys,
    header_keys,
    keys,
    limit_keys,
    match_keys,
    model,
    monitoring_keys,
    name_keys,
    outside_keys,
    pod_keys,
    receiver_keys,
    resource_keys,
    routing_keys,
    series,
    storage_keys,
    workload,
    workload_keys,
)
from .alerts import MEASURES
from .fields import FIELDS
from .names import PATTERNS
from .values import SHARE, whole

# Where the maps of a page are.
_MAPS = (
    model,
    keys,
    workload_keys,
    name_keys,
    call_keys,
    routing_keys,
    header_keys,
    storage_keys,
    monitoring_keys,
    dashboard_keys,
    limit_keys,
    match_keys,
    receiver_keys,
    pod_keys,
    resource_keys,
    outside_keys,
)
_OF_CONTENTS = (contents_keys,)
DOCUMENT = ROOT / "docs" / "reference" / "release.md"


def tables() -> dict[str, list[list[str]]]:
    """Give every table by its name: rows of cells, the head first. Maps go by the names of their models."""
    maps = {
        name: kind
        for module in (*_MAPS, *_OF_CONTENTS)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == module.__name__
    }
    made = {name: list(_keys(kind)) for name, kind in maps.items() if not issubclass(kind, name_keys.Names)}
    made["Series"] = [
        ["Series", "Labels", "Unit", "Meaning"],
        *([f"`{item.name}`", ", ".join(item.labels), item.unit, item.what] for item in series.ALL),
    ]
    made["Names"] = [
        ["Key", "Object", "Default name"],
        *([f"`{key}`", _about(key), f"`{pattern}`"] for key, pattern in PATTERNS.items()),
    ]
    made["Measures"] = [
        ["Measure", "Meaning", "Example"],
        *([f"`{name}`", about, f"`{example}`"] for name, (example, about) in MEASURES.items()),
    ]
    return made


def _keys(kind: type[BaseModel]) -> Iterator[list[str]]:
    becomes = {**FIELDS, **contents_keys.FIELDS}.get(kind.__name__, {})
    yield ["Key", "Meaning", "Default", "Example", *(["Field that it becomes"] if becomes else [])]
    inherited = _inherited(kind)
    for key, declared in keys_of(kind).items():
        if declared.description not in inherited:
            field = [becomes.get(key, "")] if becomes else []
            default = _default(declared) or _usual(kind, key)
            yield [f"`{key}`", declared.description or "", default, _example(key, declared), *field]


def _inherited(kind: type[BaseModel]) -> set[str | None]:
    """Give what the maps say that this one is made of: those have tables of their own."""
    shared = (
        workload_keys.Workload,
        pod_keys.Container,
        limit_keys.PathLimits,
        name_keys.Names,
        name_keys.ServiceNames,
    )
    return {
        declared.description
        for base in kind.__mro__[1:]
        if base in shared and issubclass(base, BaseModel)
        for declared in keys_of(base).values()
    }


def _default(declared: FieldInfo) -> str:
    default = declared.default
    if default is PydanticUndefined:
        return "**required**"
    if isinstance(default, keys.Short):
        return f"`{flow(getattr(default, default.short))}`"
    if default is None or isinstance(default, BaseModel) or default in ({}, []):
        return ""
    if isinstance(default, dict) and any(isinstance(item, BaseModel) for item in default.values()):
        return f"`{flow({key: item.model_dump(exclude_defaults=True) for key, item in default.items()})}`"
    if isinstance(default, float) and SHARE in declared.metadata:
        return f"`{whole(default)}%`"
    return f"`{flow(default)}`"


def _usual(kind: type[BaseModel], key: str) -> str:
    """Give what holds for a key of a workload that neither a version nor its service has."""
    known = kind is workload_keys.Workload and key in workload.USUAL
    return f"`{flow(workload.USUAL[key])}`" if known else ""


def _example(key: str, declared: FieldInfo) -> str:
    example: Any = (declared.examples or [None])[0]
    return f"`{key}: {flow(example)}`"


def _about(key: str) -> str:
    declared = name_keys.ReleaseNames.model_fields[key]
    return (declared.description or "").rstrip(".")


def renewed(text: str) -> str:
    """Give a document with its tables as they are now; ``KeyError`` for one that does not exist."""
    return written.renewed(text, tables())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the document with fresh tables, or write it."""
    return written.run("slipway.release.reference", DOCUMENT, renewed, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
