# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_look
short_description: Read objects of a cluster
description:
  - Gives the objects of a kind, without their C(managedFields); none where the cluster does not know the kind.
  - Runs on the computer that runs Ansible.
options:
  kubeconfig:
    description: Kubeconfig of the cluster.
    type: path
    required: true
  api_version:
    description: Version of the kind.
    type: str
    default: v1
  kind:
    description: Kind of the objects.
    type: str
    required: true
  namespace:
    description: Only those of this namespace.
    type: str
    default: ""
  name:
    description: Only the one of this name.
    type: str
    default: ""
  fields:
    description: Only those that all of these field selectors fit.
    type: list
    elements: str
    default: []
  labels:
    description: Only those that all of these selectors of labels fit.
    type: list
    elements: str
    default: []
  wait:
    description:
      - Seconds to wait until the one that is named, a Deployment, DaemonSet or Pod, can serve; 0 for not at all.
      - What will never come to serve ends it early; either failure says why.
    type: int
    default: 0
  enough:
    description: Pods of a DaemonSet that do, where nodes for others are away.
    type: int
  hidden:
    description: Keys of the objects' data that stay where they are.
    type: list
    elements: str
    default: []
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Wait until every node is Ready
  cluster_look:
    kubeconfig: .slipway/kubeconfig
    kind: Node
  register: there
  until: there.resources | ready_nodes | length == 3
"""

RETURN = r"""
resources:
  description: The objects.
  returned: success
  type: list
  elements: dict
"""
