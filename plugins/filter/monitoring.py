"""Filters about Prometheus' objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"available": available}
