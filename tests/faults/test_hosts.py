"""Provider hosts: machines that exist, one of them the mirror, which gets the bundle as a copy."""

from __future__ import annotations

import json
from typing import Any

from tests.support.checkout import Checkout
from tests.support.kube import ready
from tests.support.lab import rewrite_page


def facts(checkout: Checkout, name: str) -> dict[str, Any]:
    """What the inventory says of one machine."""
    run = checkout.run(".venv/bin/ansible-inventory", "-i", "inventory", "--host", name).expect()
    found: dict[str, Any] = json.loads(run.output[run.output.index("{") :])
    return found


def test_machines_that_exist_become_a_cluster(bare: Checkout) -> None:
    bare.playbook("playbooks/machines.yml").expect()
    page = bare.page.read_text()
    roles = {"ctrl": "controller", "node-1": "worker", "node-2": "mirror"}
    hosts = []
    for name, role in roles.items():
        known = facts(bare, name)
        hosts.append(
            {
                "name": name,
                "role": role,
                "address": known["node_address"],
                "user": known["ansible_user"],
                "key": known["ansible_ssh_private_key_file"],
            }
        )
    common = facts(bare, "ctrl")["ansible_ssh_common_args"]
    try:
        bare.page.write_text(rewrite_page(page, {"cluster_provider": "hosts", "cluster_hosts": hosts}))
        # The host keys of containers are as young as they are; a user's hosts are in known_hosts.
        arguments = ("playbooks/site.yml", f"--ssh-common-args={common}")
        assert bare.playbook(*arguments).expect().total("failed") == 0
        assert {node["metadata"]["name"]: ready(node) for node in bare.kube.nodes()} == {"ctrl": True, "node-1": True}
        again = bare.playbook(*arguments).expect()
        assert again.total("changed") == 0
        assert set(again.recap) == {"localhost", *roles}
    finally:
        bare.page.write_text(page)
