# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_stage
short_description: Carry out one stage of a release's change
description:
  - Does what M(release_plan) has planned for one stage. Objects are applied server-side. A Deployment that goes is done when its pods are gone.
  - Waits until all pods of the Deployments in O(waits) are of their present template and can serve. What holds them up ends the wait early, in
    the cluster's own words. That is an image that cannot be pulled, a quota, Pod Security, a claim that nobody can provide, a
    folder that is not there, a node that is too small, and a container that fails again and again, with the last lines of its log.
  - Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  release:
    description: Name of the release.
    type: str
    required: true
  namespace:
    description: Namespace of the release.
    type: str
    required: true
  stage:
    description: What is to be done, as M(release_plan) gives it in C(stages).
    type: dict
    required: true
  waits:
    description: Deployments that have to be rolled out at the end, each with its C(name).
    type: list
    elements: dict
    default: []
  timeout:
    description: Seconds until they have to be rolled out, and pods that go have to be gone.
    type: int
    required: true
  settle:
    description: Seconds at most until every proxy has the present routes and rules, where the stage asks for that.
    type: int
    required: true
author: The Slipway authors
attributes:
  check_mode: {support: none}
"""

EXAMPLES = r"""
- name: Route users
  release_stage:
    kubeconfig: .slipway/kubeconfig
    release: hello
    namespace: hello
    stage: "{{ plan.stages.users }}"
    timeout: 300
    settle: 10
"""

RETURN = r"""
changes:
  description: Objects that were changed or taken away.
  returned: success
  type: list
  elements: str
seconds:
  description: How long that took.
  returned: success
  type: float
"""
