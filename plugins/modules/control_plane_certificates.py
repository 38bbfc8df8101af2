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

from collections.abc import Callable

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node import lock
from ansible.module_utils.slipway.node.authority import embed
from ansible.module_utils.slipway.node.certificates import (
    DAY,
    READS,
    Certificate,
    due,
    foreign,
    forget,
    keep,
    processes,
    put_back,
    read,
    settle,
    stale,
)
from ansible.module_utils.slipway.node.etcd_user import account, follow
from ansible.module_utils.slipway.node.well import GRACE, api_is_well, etcd_is_well, wait_until
from ansible.module_utils.slipway.node.well import restart as ended

# Programs of ours that read them when they start.
READERS = ("slipway-serving.service", "slipway-control-plane-metrics.service")
PAUSE = 0.5


def look(module: AnsibleModule) -> list[Certificate]:
    code, out, error = module.run_command(["kubeadm", "certs", "check-expiration", "-o", "json"])
    try:
        found: list[Certificate] = read(out)
    except (ValueError, KeyError):
        found = []
    if code or not found:
        what = f"kubeadm does not say when the certificates of this controller end: {error.strip() or out.strip()}"
        module.fail_json(**told("kubeadm-failed", what))
    return found


def restart(module: AnsibleModule, part: str, process: int, well: Callable[[], str]) -> None:
    """End a part's process, which the kubelet starts again, and wait until it is well."""
    timeout = module.params["timeout"]
    why = ended(part, process, well, timeout, running=processes, grace=GRACE, pause=PAUSE)
    if why:
        what = f"{part} is not well {timeout} s after its certificates were renewed: {why}; look at: crictl ps --all"
        what += f", and /var/log/pods/kube-system_{part}-*"
        module.fail_json(**told("control-plane-not-well", what))


def renew(module: AnsibleModule, names: list[str], held: int) -> None:
    """Renew certificates: all of them, or the next run begins with those that were there before."""
    if not names:
        return
    keep(names)
    for name in names:
        code, out, error = module.run_command(["kubeadm", "certs", "renew", name], pass_fds=[held])
        if code:
            put_back()
            what = f"kubeadm cannot renew {name}: {error.strip() or out.strip()}"
            module.fail_json(**told("kubeadm-failed", what))
    # It writes the CA that signs alone into kubeconfigs, also where there is another one beside it.
    embed()
    settle(names)
    forget()


def work(module: AnsibleModule, held: int) -> None:
    """Renew what is to be renewed, and start again what reads it. ``held``: the lock of this machine."""
    address = module.params["address"]
    cut_off = bool(READS.keys() - processes().keys())
    if not module.check_mode:
        cut_off = bool(put_back()) or cut_off
    before = look(module)
    ended = min(one.seconds for one in before) <= 0
    renewed = list(dict.fromkeys([*due(before, module.params["days"]), *foreign(before)]))
    # With certificates that have ended it is not well before they are renewed.
    why = wait_until(etcd_is_well, module.params["timeout"]) if (renewed or stale()) and not ended else ""
    if why:
        what = f"etcd is not well, so nothing on this controller is restarted: {why}. Bring its members back first"
        module.fail_json(**told("no-quorum", what))
    if not module.check_mode:
        renew(module, renewed, held)
        # The service that copies etcd's keys may not have come to it yet.
        if ids := account():
            follow(ids)
    restarted = list(stale())
    if not module.check_mode:
        # Where all of them have ended, the others of etcd cannot be well before they are renewed too.
        wells = {"kube-apiserver": lambda: api_is_well(address), **({} if ended else {"etcd": etcd_is_well})}
        for part in restarted:
            if process := stale().get(part):
                restart(module, part, process, wells.get(part, str))
        if restarted:
            module.run_command(["systemctl", "try-restart", *READERS])
        # A part that a run before has ended may not be back yet.
        why = wait_until(lambda: api_is_well(address), module.params["timeout"]) if cut_off and not ended else ""
        if why:
            what = (
                f"the API server here is not well after {module.params['timeout']} s: {why}; look at: crictl ps --all"
            )
            module.fail_json(**told("control-plane-not-well", what))
    left = look(module) if renewed and not module.check_mode else before
    module.exit_json(
        changed=bool(renewed or restarted),
        renewed=renewed,
        restarted=restarted,
        days=int(min(one.seconds for one in left) // DAY),
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
        work(module, -1)
    try:
        with lock.taken(module.params["timeout"]) as held:
            work(module, held)
    except lock.BusyError as exc:
        module.fail_json(**told("machine-busy", str(exc)))


if __name__ == "__main__":
    main()
