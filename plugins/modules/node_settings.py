# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_settings
short_description: Give nodes labels and taints
description:
  - Gives nodes the labels and taints that they are to have, and takes away those that it gave before and are not wanted any more. Labels and
    taints of others stay.
  - What it gave is noted in the annotation C(slipway.io/node-settings) of the node.
  - Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  nodes:
    description:
      - Nodes by name, each with C(labels) (a map) and C(taints) (as kubectl writes them, such as C(gpu=true:NoSchedule)). A node that the
        cluster does not have is left out.
    type: dict
    required: true
  controllers:
    description: Names of the controllers. Without O(workers), the taint that kubeadm gives them is taken off, until there is a worker again.
    type: list
    elements: str
    default: []
  workers:
    description: Names of the workers.
    type: list
    elements: str
    default: []
"""

RETURN = r"""
changes:
  description: Names of the nodes that were changed.
  returned: always
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Keep pods that need no GPU off a node
  node_settings:
    kubeconfig: "{{ slipway_kubernetes_api.kubeconfig }}"
    nodes:
      node-2: {labels: {gpu: "true"}, taints: ["gpu=true:NoSchedule"]}
"""
