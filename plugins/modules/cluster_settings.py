# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_settings
short_description: Check the settings of the cluster
description:
  - Checks every variable that starts with C(cluster_) against the model of the page, against each other, and against this computer
    (memory, disk, key files), and fails with all that is wrong in one message.
  - Runs on the computer that runs Ansible and touches no host. Changes nothing.
options:
  page:
    description: Page that says on which line a value stands. Without it, C(slipway_page) of the inventory.
    type: path
  state:
    description: Folder of what runs leave on this computer. Without it, C(slipway_state) of the inventory.
    type: path
  upgrading:
    description: Whether this run is to take the cluster to another release of Kubernetes; else another one than it runs is refused.
    type: bool
    default: false
author: Slipway
"""

EXAMPLES = r"""
- name: Settings can work
  cluster_settings:
"""

RETURN = r"""
settings:
  description: Every setting, those that are set nowhere with their defaults.
  returned: success
  type: dict
  sample: {cluster_name: slipway, cluster_workers: {count: 2, cpus: 2, memory: 6144}}
"""
