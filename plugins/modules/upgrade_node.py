# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade_node
short_description: Have the turn of a node in an upgrade
description:
  - V(begun) drains the node as P(node_drain#module) does, and marks it as one that an upgrade has cordoned. If no other node takes its pods,
    they stay.
  - V(ended) waits until its kubelet is of the new release, the node is Ready, and so are the pods that every node has. Then it opens the node.
  - V(failed) opens it again without a wait, and says what every node runs.
  - A node that somebody else has cordoned stays cordoned.
  - Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  node:
    description: Name of the node.
    type: str
    required: true
  state:
    description: Which part of the turn.
    type: str
    choices: [begun, ended, failed]
    required: true
  version:
    description: For V(ended) the release that its kubelet has to be of.
    type: str
    default: ""
  force:
    description: As for P(node_drain#module).
    type: bool
    default: false
  gateway:
    description: C(host:port) of a gateway. If it answers HTTP before, it has to answer afterwards, too.
    type: str
    default: ""
  timeout:
    description: Seconds for the drain, and for the node to be well.
    type: int
    default: 300
"""

RETURN = r"""
runs:
  description: With V(failed), what each node runs.
  returned: always
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Open the node when it serves again
  upgrade_node:
    kubeconfig: .slipway/kubeconfig
    node: node-2
    state: ended
    version: 1.37.2
"""
