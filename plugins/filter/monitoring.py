"""Filters about Prometheus' objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError
from slipway.derived import derived
from slipway.errors import SlipwayError

DOCUMENTATION = r"""
name: available
short_description: Tell whether the operator has made its objects what they say now
description: True when there is an object and each has the condition Available for its present generation.
options:
  _input: {description: Prometheus or Alertmanager objects of the API., type: list, elements: dict, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.assert:
    that: seen.resources | available
"""
RETURN = r"""
_value: {description: The answer., type: bool}
"""


def available(objects: Iterable[Mapping[str, Any]]) -> bool:
    """Whether there is an object, and each has the condition ``Available`` for its present generation."""
    listed = list(objects)
    return bool(listed) and all(
        any(
            condition["type"] == "Available"
            and condition["status"] == "True"
            and condition.get("observedGeneration", 0) >= thing["metadata"]["generation"]
            for condition in thing.get("status", {}).get("conditions", [])
        )
        for thing in listed
    )


class Reader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads a plain ``=`` as the text that it is, where YAML 1.1 sees a value of a kind that PyYAML does not make."""


Reader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


def undescribed(value: Any) -> Any:
    """Leave out the texts that describe fields: three quarters of it, and nobody asks the API server for them here."""
    if isinstance(value, dict):
        return {k: undescribed(v) for k, v in value.items() if not (k == "description" and isinstance(v, str))}
    if isinstance(value, list):
        return [undescribed(item) for item in value]
    return value


def operator_resources(text: str, kinds: Iterable[str]) -> str:
    """The definitions of ``kinds`` in the operator's release file, without their descriptions, as a list in JSON."""
    wanted = set(map(str, kinds))
    parts = [str(text).encode(), json.dumps(sorted(wanted)).encode(), Path(__file__).read_bytes()]
    return derived("crds", parts, lambda: json.dumps(_definitions(str(text), wanted))).read_text(encoding="utf-8")


def _definitions(text: str, wanted: set[str]) -> list[dict[str, Any]]:
    found = [
        undescribed(item)
        for item in yaml.load_all(text, Loader=Reader)
        if item and item["kind"] == "CustomResourceDefinition" and item["spec"]["names"]["kind"] in wanted
    ]
    missing = wanted - {item["spec"]["names"]["kind"] for item in found}
    if missing:
        what = (
            f"the file of the operator's CustomResourceDefinitions has none of {', '.join(sorted(missing))}; "
            "monitoring_crds has to be the bundle.yaml of the operator's release"
        )
        raise AnsibleFilterError(SlipwayError("wrong-artifact-file", what).message)
    return found


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"available": available, "operator_resources": operator_resources}
