# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prove_run
short_description: Ask a release what its page promises, and judge the answers
description:
  - Sends the requests of a plan from client pods that are there already, looks up what the plan wants to know of the cluster, and writes
    RV(report), C(report.json), the plan and what was seen into a folder of the release's.
  - Fails when a claim does not hold, and says which, what was expected, what was seen and where to look.
  - Changes nothing in the cluster, but for a way past O(limiter) that is gone when it ends. Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  plan:
    description: The plan, as M(prove_plan) gives it.
    type: dict
    required: true
  targets:
    description: Addresses of the gateway and of the services.
    type: dict
    required: true
  namespace:
    description: Namespace of the client pods.
    type: str
    required: true
  kubectl:
    description: The program kubectl.
    type: path
    required: true
  folder:
    description: Folder of reports; each release has one of its own in it.
    type: path
    required: true
  change:
    description: What clients met while the release changed, as M(prove_change) gives it; a claim of its own in the report.
    type: dict
    default: {}
  sink:
    description: Namespace and name of the Service of a mail server whose mails can be read.
    type: list
    elements: str
    default: []
  hooks:
    description: Namespace and name of a Service that others than mail may go to, and that can be read.
    type: list
    elements: str
    default: []
  alertmanager:
    description: Name of an Alertmanager of the release's own, in its namespace.
    type: str
    default: ""
  quiet:
    description: Seconds that the release's alerts may take to be loaded and silent before the first request.
    type: int
    default: 180
  note:
    description: File that is taken away when every claim holds, empty for none.
    type: str
    default: ""
  authority:
    description: Certificate (PEM) of the cluster's authority, which is trusted beside those that this machine trusts.
    type: path
    default: ""
  limiter:
    description: EnvoyFilter with limits for all clients together, which the proof's clients pass by until it ends; empty for none.
    type: dict
    default: {}
  token:
    description: Token (JWT) that requests bring which need one; empty for none.
    type: str
    default: ""
  jwt_key:
    description: File with the private key (PEM) of the first issuer of the page, which such a token is signed with where O(token) is empty.
    type: path
    default: ""
author: The Slipway authors
attributes:
  check_mode: {support: none}
"""

EXAMPLES = r"""
- name: Ask what the page promises
  prove_run:
    plan: "{{ questions.plan }}"
    targets: "{{ questions.targets }}"
    namespace: "{{ questions.namespace }}"
    kubeconfig: .slipway/kubeconfig
    kubectl: .slipway/bin/kubectl
    folder: .slipway/report
"""

RETURN = r"""
lines:
  description: What it comes to, a line for each claim.
  returned: success
  type: list
  elements: str
report:
  description: The page with pictures.
  returned: success
  type: str
counts:
  description: Number of claims by state (passed, failed, configured, skipped).
  returned: success
  type: dict
"""
