# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prove_plan
short_description: Plan what to ask a release, so that it is seen to do what its page says
description:
  - Looks at the cluster (the gateway's address and nodes, Services, other releases, monitoring, what the app obeys) and plans requests,
    readings and what is expected of them for each claim of the release. docs/reference/claims.md describes the claims.
  - Sends no request to the release and changes nothing. Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  facts:
    description: What the release promises, as M(release_plan) gives it.
    type: dict
    required: true
  paths:
    description: For a route of the page the path to ask, for an app with others than /sms and /analyze.
    type: dict
    default: {}
  tells:
    description: Whether the app, which is none of the examples', says in its answers which versions took part.
    type: bool
    default: false
  skip:
    description: Kinds of claims that are left out, such as alert, which takes as long as the alert's C(for) and more.
    type: list
    elements: str
    default: []
  token:
    description: Whether there is a token (JWT) for requests that need one.
    type: bool
    default: false
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Plan what to ask
  prove_plan:
    facts: "{{ plan.facts }}"
    kubeconfig: .slipway/kubeconfig
  register: questions
"""

RETURN = r"""
plan:
  description: Experiments, readings and claims.
  returned: success
  type: dict
targets:
  description: Addresses of the gateway and of the services.
  returned: success
  type: dict
limiter:
  description: EnvoyFilter with the release's limits for all clients together; empty where there are none.
  returned: success
  type: dict
clients:
  description: Client pods by name, each with its labels, whether it has a sidecar, and the node that it has to be on, or none.
  returned: success
  type: dict
namespace:
  description: Namespace of the client pods.
  returned: success
  type: str
stale:
  description: Whether that namespace is there already, left by a run that was cut off.
  returned: success
  type: bool
sink:
  description: Namespace and name of the mail server's Service where its mails can be read, else empty.
  returned: success
  type: list
  elements: str
hooks:
  description: Namespace and name of a Service that receivers beside mail may go to and that can be read, else empty.
  returned: success
  type: list
  elements: str
alertmanager:
  description: Name of the release's own Alertmanager, or empty.
  returned: success
  type: str
program:
  description: Text of the program that sends requests in the client pods.
  returned: success
  type: str
"""
