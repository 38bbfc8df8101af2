# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kept_secret
short_description: A Secret whose values are made once and stay
description:
  - Makes up what a Secret is to have and has not, and leaves alone what it has. No value is in the result, nor in what is printed.
  - Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  namespace:
    description: Namespace of the Secret; it has to be there.
    type: str
    required: true
  name:
    description: Name of the Secret.
    type: str
    required: true
  labels:
    description: Labels of the Secret.
    type: dict
    default: {}
  values:
    description: What it has to hold as it is given, by key; nothing secret.
    type: dict
    default: {}
  random:
    description: What is made up, by key; how many letters and digits each has.
    type: dict
    required: true
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Have a password for the administrator
  kept_secret:
    kubeconfig: .slipway/kubeconfig
    namespace: monitoring
    name: grafana-admin
    values: {admin-user: admin}
    random: {admin-password: 32}
"""

RETURN = r"""
keys:
  description: Keys whose value is new.
  returned: success
  type: list
  elements: str
sha1:
  description: SHA-1 sums of what was made up, in base64, by key.
  returned: success
  type: dict
"""
