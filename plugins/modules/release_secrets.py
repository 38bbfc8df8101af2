# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_secrets
short_description: The Secrets of a release with their values
description:
  - Finds the values that the page of a release names, in the environment of the run, in variables, in the present Secret, or
    makes them up once. The result holds them, so the task needs C(no_log).
  - Changes nothing. Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  release:
    description: Name of the release.
    type: str
    required: true
  namespace:
    description: Its namespace.
    type: str
    required: true
  labels:
    description: Labels of all its objects.
    type: dict
    required: true
  secrets:
    description: The Secrets as a plan lists them.
    type: list
    elements: dict
    required: true
  revisions:
    description: Revisions that the plan has made up, by name of the Secret.
    type: dict
    default: {}
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Find the values
  release_secrets:
    kubeconfig: .slipway/kubeconfig
    release: hello
    namespace: hello
    labels: {app.kubernetes.io/managed-by: slipway}
    secrets: [{name: token, existing: false, keys: {TOKEN: {environment: API_TOKEN}}}]
  register: secrets
  no_log: true
"""

RETURN = r"""
objects:
  description: The Secrets that differ from what is there.
  returned: success
  type: list
  elements: dict
"""
