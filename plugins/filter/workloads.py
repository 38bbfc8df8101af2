"""Filters of roles and playbooks that wait for Deployments; the answers come from slipway.cluster.workloads."""

from __future__ import annotations

from typing import Any

from slipway.cluster import workloads

DOCUMENTATION = r"""
name: workloads_available
short_description: Tell whether Deployments are there and Available
description:
  - True when every wanted Deployment has as many pods of its newest template as it asks for, all Available.
  - Beside it is workloads_unready, which says of each one that is not why, as far as its pods know, and warnings
    of the cluster where they are given.
options:
  _input: {description: Deployments as the API gives them., type: list, elements: dict, required: true}
  wanted: {description: Names of the Deployments., type: list, elements: str, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- kubernetes.core.k8s_info:
    api_version: apps/v1
    kind: Deployment
    namespace: kube-system
  register: there
  until: there.resources | default([]) | workloads_available(['coredns'])
- ansible.builtin.fail:
    msg: "{{ there.resources | workloads_unready(pods.resources, ['coredns']) | join('. ') }}"
"""
RETURN = r"""
_value: {description: Whether all of them are., type: bool}
"""


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"workloads_available": workloads.all_available, "workloads_unready": workloads.unready}
