"""Filters that say which consoles a cluster gets; the answers come from slipway.parts.consoles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slipway.parts import consoles

DOCUMENTATION = r"""
name: consoles_on
short_description: Name the consoles that the page wants and the bundle can give
description:
  - Grafana, Kiali, Headlamp and tracing are parts whose images cannot all be built from source.
  - Beside it are consoles_told, which says in one line what is left out and why, and
    consoles_hosts, which gives the host of each (of their names and that of the cluster).
options:
  _input: {description: The page's cluster_parts., type: dict, required: true}
  manifest: {description: "The bundle's manifest, as in .slipway/bundle.json.", type: dict, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ cluster_parts | consoles_on(slipway_bundle) }}"
"""
RETURN = r"""
_value: {description: Names of roles., type: list, elements: str}
"""


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"consoles_on": consoles.on, "consoles_told": consoles.told, "consoles_hosts": consoles.hosts}
