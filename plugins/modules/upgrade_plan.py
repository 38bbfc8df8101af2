# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade_plan
short_description: Plan an upgrade of Kubernetes
description:
  - Compares what each node runs with a release, and prints what is to be done on which node, in which order.
  - Refuses what cannot work, all of it at once, with what would; a release that is older, one that skips a minor version, a controller that is
    away, no node for the Job that kubeadm begins with, APIs in use that the release does not have any more, pods that a drain would lose.
  - Changes nothing. Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  version:
    description: The release to go to, without the leading v.
    type: str
    required: true
  looked:
    description: By the name of each node that was reached C(slipway_node.kubernetes) of it, as P(node_state#module) gives it.
    type: dict
    required: true
  page:
    description: The names of all nodes of the page, in the order of their turns.
    type: list
    elements: str
    required: true
  batch:
    description: How many workers have their turn at a time.
    type: int
    default: 1
  force:
    description: Name APIs in use and pods that would be lost, and go on.
    type: bool
    default: false
"""

RETURN = r"""
needed:
  description: Whether anything is to be done.
  returned: success
  type: bool
begun:
  description: Whether something is of the new release already.
  returned: success
  type: bool
control:
  description: Controllers whose control plane is to be upgraded, in their order.
  returned: success
  type: list
  elements: str
first:
  description: The controller that upgrades what kubeadm keeps in the cluster; empty if that is done.
  returned: success
  type: str
nodes:
  description: Nodes whose kubelets are to be upgraded, in their order.
  returned: success
  type: list
  elements: str
left:
  description: Nodes that are left out, because they are away or not on the page.
  returned: success
  type: list
  elements: str
batch:
  description: As given.
  returned: success
  type: int
lines:
  description: The plan, for reading.
  returned: success
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Make the plan
  upgrade_plan:
    kubeconfig: .slipway/kubeconfig
    version: 1.37.2
    looked: {ctrl: "{{ hostvars.ctrl.slipway_node.kubernetes }}"}
    page: [ctrl]
"""
