# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: admin_kubeconfig
short_description: Write the administrator's kubeconfig on the computer that runs Ansible
description:
  - Reads C(/etc/kubernetes/admin.conf) of a controller, and writes it with a context for each controller, for the user who runs Ansible
    alone. Beside it, it writes what the cluster was founded with.
  - With O(looked) it asks nobody where nothing of this has changed since it wrote both files.
options:
  path:
    description: The kubeconfig.
    type: path
    required: true
  server:
    description: Address and port that the present context asks.
    type: str
    required: true
  servers:
    description: Address and port of each controller, by its name. Empty behind one endpoint.
    type: dict
    default: {}
  kept:
    description: What the cluster was founded with.
    type: str
    required: true
  kept_path:
    description: File for O(kept).
    type: path
    required: true
  content:
    description: Text of the controller's file, as P(kubeadm_node#module) gives it. Without it, it is read there.
    type: str
    default: ""
  source:
    description: Sum of the controller's file, as P(node_state#module) gives it. Empty if it is not known.
    type: str
    default: ""
  looked:
    description: Whether nothing has worked on the controller since O(source) was read.
    type: bool
    default: false
author: The Slipway authors
attributes:
  check_mode: {support: full}
  diff_mode: {support: partial, details: of O(kept) alone}
"""

EXAMPLES = r"""
- name: Write the kubeconfig on this machine
  admin_kubeconfig:
    path: .slipway/kubeconfig
    server: 192.0.2.100:6443
    kept: "{{ founded | to_nice_json }}"
    kept_path: .slipway/founded.json
  delegate_to: ctrl
  run_once: true
  no_log: true
"""

RETURN = r"""
written:
  description: Files that were written (in check mode, that would be).
  returned: success
  type: list
  elements: str
"""
