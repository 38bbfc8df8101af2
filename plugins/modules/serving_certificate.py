#!/usr/bin/python
"""A certificate for a server inside the cluster, made when the one it has is none or near its end."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_certificate
short_description: A certificate for a server inside the cluster
description:
  - Judges the certificate that a server has; when that is missing, for another name or near its end, makes another one with a
    key of its own. It is signed by itself, so whoever is to trust it is given the certificate.
  - Changes nothing; what it makes is in its result, so the task needs C(no_log).
  - Runs on the computer that runs Ansible, with the package cryptography.
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

import base64
import datetime as dt

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.selfsigned import fault, make


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "certificate": {"type": "str", "default": ""},
            "days": {"type": "int", "required": True},
            "renew_days": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    name, present = module.params["name"], module.params["certificate"]
    days, renew = (dt.timedelta(days=module.params[key]) for key in ("days", "renew_days"))
    if renew >= days:
        module.fail_json(msg=f"a certificate for {days.days} days is always within {renew.days} days of its end")
    now = dt.datetime.now(dt.UTC)
    try:
        reason = fault(base64.b64decode(present), name, now, renew)
    except ValueError:
        reason = "it is not in base64"
    if not reason:
        module.exit_json(changed=False, certificate=present, key="", reason="")
    certificate, key = (base64.b64encode(pem).decode("ascii") for pem in make(name, now, days))
    module.exit_json(changed=True, certificate=certificate, key=key, reason=reason)


if __name__ == "__main__":
    main()
