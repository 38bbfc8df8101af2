"""Filter that gives items of a bundle their place on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: placed
short_description: Give items of the bundle their place on a machine
description: Merges into every item what the dictionary of places holds under its name.
options:
  _input: {description: Items as the filter bundle_files gives them., type: list, elements: dict, required: true}
  places: {description: Place of each item by its name., type: dict, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- node_service:
    artifacts: "{{ kubelet_files | placed({'kubelet': {'dest': '/usr/local/bin/kubelet'}}) }}"
"""
RETURN = r"""
_value: {description: The items with their places., type: list, elements: dict}
"""


def placed(items: list[Mapping[str, Any]], places: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Merge ``places[item["name"]]`` into every item; both sides have to name the same items."""
    names = {str(item["name"]) for item in items}
    if names != set(places):
        raise AnsibleFilterError(
            f"the bundle gives {', '.join(sorted(names)) or 'nothing'}, "
            f"places are known for {', '.join(sorted(places))}; "
            "the role's *_files variable has to name exactly these"
        )
    return [{**item, **places[str(item["name"])]} for item in items]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"placed": placed}
