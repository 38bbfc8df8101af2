"""Filters about dashboards for Grafana; the answers come from slipway.parts.dashboards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: dashboard_files
short_description: Read dashboards from files, and refuse what Grafana would not show
description:
  - Texts by the name of their file. A file that is not JSON, is no dashboard or whose name does not end in .json is
    named with the reason.
  - Beside it is shipped_dashboards, which makes those of the cluster and (true) of its mesh.
options:
  _input: {description: Files on the Ansible machine., type: list, elements: path, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ ['~/disks.json'] | dashboard_files }}"
"""
RETURN = r"""
_value: {description: Texts by file name., type: dict}
"""


def dashboard_files(paths: Iterable[str]) -> dict[str, str]:
    """Read dashboards, each by the name of its file."""
    # What makes them is a large part of releases: a run that needs no dashboard does not load it.
    from slipway.errors import SlipwayError
    from slipway.parts import dashboards

    try:
        return dashboards.read(map(str, paths))
    except SlipwayError as exc:
        raise AnsibleFilterError(exc.message) from None


def shipped_dashboards(mesh: bool) -> dict[str, str]:
    """Make the dashboards of a cluster, by name."""
    from slipway.parts import dashboards

    return dashboards.shipped(bool(mesh))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"dashboard_files": dashboard_files, "shipped_dashboards": shipped_dashboards}
