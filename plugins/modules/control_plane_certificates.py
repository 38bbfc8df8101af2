# SPDX-License-Identifier: Apache-2.0
"""Ansible module: renew the certificates of a controller. Runs there, with its Python alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_certificates
short_description: Renew the certificates of a controller
description:
  - Renews, with C(kubeadm certs renew), the certificates of a controller that end soon. Then the parts of its control plane that still serve
    with old ones start again, one after the other, and each has to be well before the next one stops.
  - With several controllers, etcd starts again only while its other members are healthy. This works with certificates that have ended, too.
  - What a renewal that was cut off has left half-written is put back first, and renewed anew.
  - A certificate that the CA of this controller has not signed, because the CA was replaced since, is renewed, too.
  - Parts that started before their CAs, or the key of service accounts, were written start again as well.
  - Certificates of kubelets are not touched, because kubelets renew them by themselves, and neither are CAs.
  - Runs as root.
options:
  address:
    description: Address of the API server of this controller.
    type: str
    required: true
  days:
    description: Certificates that end within so many days are renewed.
    type: int
    default: 180
  timeout:
    description: Seconds for each part to be well again.
    type: int
    default: 120
attributes:
  check_mode: {support: full}
"""

RETURN = r"""
renewed:
  description: Certificates that were renewed (in check mode, that would be).
  returned: always
  type: list
  elements: str
restarted:
  description: Parts that started again (in check mode, those that would without a renewal).
  returned: always
  type: list
  elements: str
days:
  description: Days until the first certificate ends.
  returned: always
  type: int
"""

EXAMPLES = r"""
- name: Renew what ends within half a year
  control_plane_certificates:
    address: "{{ node_address }}"
"""

import functools

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node import lock, renewal


def work(module: AnsibleModule, run: renewal.Command) -> None:
    """Renew what is to be renewed, and start again what reads it."""
    given = module.params
    try:
        done = renewal.work(run, given["address"], given["days"], given["timeout"], check=module.check_mode)
    except renewal.RenewalError as exc:
        module.fail_json(**told(exc.id, str(exc)))
    module.exit_json(
        changed=bool(done.renewed or done.restarted), renewed=done.renewed, restarted=done.restarted, days=done.days
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "days": {"type": "int", "default": 180},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        work(module, module.run_command)
    try:
        with lock.taken(module.params["timeout"]) as held:
            # kubeadm that outlives this module holds the lock, too.
            work(module, functools.partial(module.run_command, pass_fds=[held]))
    except lock.BusyError as exc:
        module.fail_json(**told("machine-busy", str(exc)))


if __name__ == "__main__":
    main()
