# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_trust
short_description: What a cluster keeps of its CAs, while they are replaced
description:
  - V(planned) makes the plan of a rotation from what controllers have, and prints it.
  - V(brought) brings C(cluster-info) and what API servers tell others to where the controllers are after O(step), has tokens that never end
    signed anew, and waits until every namespace has the CAs for its pods.
  - V(restarted) has the pods of Slipway's own workloads that started before they could see the new CA start again, one workload after the
    other. Workloads of others are named, and the task fails.
  - Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  state:
    description: What is to be done.
    type: str
    choices: [planned, brought, restarted]
    required: true
  looked:
    description: What M(authority) has found on each controller, by name.
    type: dict
  step:
    description: The step.
    type: str
    choices: [accept, issue, drop]
  files:
    description: What controllers trust after it, by file.
    type: dict
  everything:
    description: Have the workloads of others start again, too?
    type: bool
    default: false
  force:
    description: Go on without those of others?
    type: bool
    default: false
  timeout:
    description: Seconds for each wait.
    type: int
    default: 180
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Bring what the cluster keeps
  cluster_trust:
    kubeconfig: .slipway/kubeconfig
    state: brought
    step: accept
    files: "{{ looked.public }}"
"""

RETURN = r"""
steps:
  description: The steps that are left.
  returned: V(planned)
  type: list
  elements: str
holder:
  description: The controller that has the new CAs, or is to make them.
  returned: V(planned)
  type: str
begun:
  description: Whether an earlier run was cut off.
  returned: V(planned)
  type: bool
lines:
  description: The plan in words.
  returned: V(planned)
  type: list
  elements: str
restarted:
  description: Workloads whose pods were started again.
  returned: V(restarted)
  type: list
  elements: str
"""
