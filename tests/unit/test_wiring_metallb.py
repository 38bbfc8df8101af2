"""Who may answer for an address of MetalLB."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.wiring import ADDRESSES, wired

OWN = [ADDRESSES[name] for name in ("ctrl", "ctrl-2", "node-1")]


def node(*addresses: tuple[str, str]) -> dict[str, Any]:
    return {"status": {"addresses": [{"type": kind, "address": address} for kind, address in addresses]}}


@pytest.mark.parametrize(
    ("seen", "more"),
    [
        # A playbook that runs alone has not looked.
        (None, []),
        ([node(("InternalIP", OWN[0]), ("Hostname", "ctrl"))], []),
        ([node(("InternalIP", "192.0.2.150"), ("Hostname", "node-9")), {"status": {}}], ["192.0.2.150"]),
    ],
)
def test_all_nodes_of_the_cluster_may_and_not_only_those_of_the_page(seen: Any, more: list[str]) -> None:
    facts = {"localhost": {"reach_nodes": {"resources": seen}}} if seen else {}
    assert wired("metallb_members", facts) == OWN + more
