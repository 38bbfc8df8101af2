# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_certificate
short_description: A certificate for the gateway, from an authority of the cluster's own
description:
  - Keeps C(ca.crt), C(ca.key), C(gateway.crt) and C(gateway.key) in a folder, and makes anew what is missing, does not fit the others
    or the names, or is near its end. Keys that are there go on being used.
  - Runs on the computer that runs Ansible.
options:
  folder:
    description: Folder of the authority; for its owner alone.
    type: path
    required: true
  hosts:
    description: Names and addresses that the certificate is for. Those that it has beside them stay.
    type: list
    elements: str
    required: true
  authority:
    description: Name that the authority bears.
    type: str
    required: true
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Have a certificate for the gateway
  gateway_certificate:
    folder: .slipway/ca
    hosts: ["*.slipway.local", 192.168.56.92]
    authority: Authority of the cluster slipway
"""

RETURN = r"""
made:
  description: What was made, or would be in check mode, of C(ca) and C(gateway).
  returned: success
  type: list
  elements: str
"""
