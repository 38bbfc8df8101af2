# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rendered_secrets
short_description: Give the Secrets that a release's chart or manifests have
description:
  - Renders the contents of the page again, and gives those of its Secrets that are named. A plan holds no value of a Secret, so they are
    rendered where they are applied. The task needs C(no_log).
  - Changes nothing. Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  page:
    description: Page of the release.
    type: str
    required: true
  name:
    description: Name of the release in the place of the page's.
    type: str
    default: ""
  namespace:
    description: Namespace in the place of the page's.
    type: str
    default: ""
  programs:
    description: Paths of C(helm) and C(kubectl).
    type: dict
    default: {}
  only:
    description: Names of the Secrets.
    type: list
    elements: str
    required: true
author: The Slipway authors
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: Render the Secrets that differ
  rendered_secrets:
    page: releases/shop.yml
    kubeconfig: .slipway/kubeconfig
    programs: {helm: .slipway/bin/helm, kubectl: .slipway/bin/kubectl}
    only: "{{ plan.rendered_secrets_due }}"
  register: rendered
  no_log: true
"""

RETURN = r"""
objects:
  description: The Secrets, as they are applied.
  returned: success
  type: list
  elements: dict
"""
