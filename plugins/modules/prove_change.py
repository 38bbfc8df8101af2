# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prove_change
short_description: Let clients use a release while it changes, and judge what they met
description:
  - V(planned) looks at what users have of a release now, holds it against what the page gives them, and says what a bounded stream of ordinary
    clients is to ask. V(begun) begins it and waits for its first answers; V(ended) ends it, judges it and writes C(report.json) and the page
    RV(change) with a picture over time.
  - A stream goes on while other tasks run. It ends by itself with the run of Ansible, and after at most 15 minutes.
  - Changes nothing in the cluster. Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  state:
    description: What is wanted of the stream.
    type: str
    choices: [planned, begun, ended]
    required: true
  folder:
    description: Folder of reports; each release has one of its own in it.
    type: path
    required: true
  facts:
    description: What the release promises, as M(release_plan) gives it. For V(planned).
    type: dict
  kubectl:
    description: The program kubectl. For V(begun).
    type: path
  paths:
    description: For a route of the page the path to ask, for an app with others than /sms and /analyze.
    type: dict
    default: {}
  tells:
    description: Whether the app, which is none of the examples', says in its answers which versions took part.
    type: bool
    default: false
  plan:
    description: The plan, as V(planned) gives it. For V(begun) and V(ended).
    type: dict
  target:
    description: Address of the gateway. For V(begun).
    type: str
  namespace:
    description: Namespace of the client pod, where there is one. For V(begun).
    type: str
  alone:
    description: Whether no proof follows that could tell of it; then V(ended) fails when the claim does not hold.
    type: bool
    default: false
author: The Slipway authors
attributes:
  check_mode: {support: none}
"""

EXAMPLES = r"""
- name: Plan who asks while it changes
  prove_change:
    state: planned
    facts: "{{ plan.facts }}"
    kubeconfig: .slipway/kubeconfig
    folder: .slipway/report
  register: stream
"""

RETURN = r"""
plan:
  description: What is asked, and who may answer. Its C(state) is C(asked) where there is something to ask.
  returned: planned
  type: dict
target:
  description: Address of the gateway.
  returned: planned
  type: str
clients:
  description: The client pod that it needs, as in M(prove_plan); empty where this computer asks itself.
  returned: planned
  type: dict
namespace:
  description: Namespace for it.
  returned: planned
  type: str
stale:
  description: Whether that namespace is there already, left by a run that was cut off.
  returned: planned
  type: bool
program:
  description: What its agent runs.
  returned: planned
  type: str
stream:
  description: What sends the stream there.
  returned: planned
  type: str
slipway_steps:
  description: File that gets the beginning of each later step, from the callback; empty ends that.
  returned: begun or ended
  type: str
change:
  description: The claim (C(verdict)) and what its C(picture) shows, for M(prove_run).
  returned: ended
  type: dict
lines:
  description: What it comes to, where no proof follows.
  returned: ended
  type: list
  elements: str
"""
