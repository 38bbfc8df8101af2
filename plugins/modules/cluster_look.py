# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_look
short_description: Read objects of a cluster
description:
  - Gives the objects of a kind, without their C(managedFields); none where the cluster does not know the kind.
  - Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
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
  field_selectors:
    description: Only those that all of these field selectors fit.
    type: list
    elements: str
    default: []
  label_selectors:
    description: Only those that all of these label selectors fit.
    type: list
    elements: str
    default: []
  hidden_fields:
    description: Fields that are left out of the result, such as C(data[tls.key]).
    type: list
    elements: str
    default: []
  wait:
    description:
      - Wait until the one that is named, a Deployment, DaemonSet or Pod, can serve. A pod that will never start ends the wait early, with
        the words of its state.
      - With O(wait_condition) or O(wait_until), wait for that.
    type: bool
    default: false
  wait_timeout:
    description: Seconds until it has to be so.
    type: int
    default: 180
  wait_condition:
    description: Condition that all of the objects must have, of which there must be one at least.
    type: dict
    suboptions:
      type:
        description: Type of the condition.
        type: str
        required: true
      status:
        description: Its status.
        type: str
        default: "True"
  wait_until:
    description: Expression over C(resources), as for C(until), without braces. When time is up, the result has what was seen last.
    type: str
    default: ""
  wait_enough:
    description: Number of pods of a DaemonSet that is enough, where nodes for others are away.
    type: int
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Wait until every node is Ready
  cluster_look:
    kubeconfig: .slipway/kubeconfig
    kind: Node
    wait: true
    wait_timeout: 60
    wait_condition: {type: Ready}
"""

RETURN = r"""
resources:
  description: The objects.
  returned: success
  type: list
  elements: dict
"""
