# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_wait
short_description: Wait until the workloads of a release are rolled out
description:
  - Waits until all pods of the Deployments are of their present template and can serve. What holds them up ends the wait early, in
    the cluster's own words. That is an image that cannot be pulled, a quota, Pod Security, a claim that nobody can provide, a
    folder that is not there, a node that is too small, and a container that fails again and again, with the last lines of its log.
  - Changes nothing. Runs on the computer that runs Ansible.
options:
  kubeconfig:
    description: Kubeconfig of the cluster.
    type: path
    required: true
  namespace:
    description: Namespace of the Deployments.
    type: str
    required: true
  deployments:
    description: Deployments, each with its C(name).
    type: list
    elements: dict
    required: true
  timeout:
    description: Seconds until they have to be rolled out.
    type: int
    required: true
author: The Slipway authors
attributes:
  check_mode: {support: none}
"""

EXAMPLES = r"""
- name: Wait for the pods
  release_wait:
    kubeconfig: .slipway/kubeconfig
    namespace: hello
    deployments: [{name: frontend-v1}]
    timeout: 300
"""

RETURN = r"""
seconds:
  description: How long that took.
  returned: success
  type: float
"""
