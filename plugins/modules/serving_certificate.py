# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_certificate
short_description: A certificate for a server inside the cluster
description:
  - Judges the certificate that a server has; when that is missing, for another name or near its end, makes another one with a
    key of its own. It is signed by itself, so whoever is to trust it is given the certificate.
  - Changes nothing; what it makes is in its result, so the task needs C(no_log).
  - Runs on the computer that runs Ansible and touches no host.
options:
  name:
    description: DNS name by which the server is called.
    type: str
    required: true
  certificate:
    description: The present certificate, PEM in base64 as a Secret holds it; empty for none.
    type: str
    default: ""
  days:
    description: Days for which a new one is made.
    type: int
    required: true
  renew_days:
    description: Days before its end from which on one counts as over.
    type: int
    required: true
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Have a certificate that is good for long
  serving_certificate:
    name: metrics-server.kube-system.svc
    days: 3650
    renew_days: 365
  register: certificate
  no_log: true
"""

RETURN = r"""
certificate:
  description: The present certificate or the new one, PEM in base64.
  returned: success
  type: str
key:
  description: Key of a new one, PEM in base64; empty when the present one goes on.
  returned: success
  type: str
reason:
  description: Why a new one was made; empty when the present one goes on.
  returned: success
  type: str
"""
