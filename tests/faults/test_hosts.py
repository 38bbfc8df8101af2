"""Provider hosts: machines that exist, one of them the mirror, which gets the bundle as a copy."""

from __future__ import annotations

from tests.support.checkout import Checkout
from tests.support.hosts import listed
from tests.support.kube import ready


def test_machines_that_exist_become_a_cluster(bare: Checkout) -> None:
    bare.playbook("playbooks/machines.yml").expect()
    roles = {"ctrl": "controller", "node-1": "worker", "node-2": "mirror"}
    with listed(bare, roles) as hosts:
        assert hosts.site().expect().total("failed") == 0
        assert {node["metadata"]["name"]: ready(node) for node in bare.kube.nodes()} == {"ctrl": True, "node-1": True}
        again = hosts.site().expect()
        assert again.total("changed") == 0
        assert set(again.recap) == {"localhost", *roles}
