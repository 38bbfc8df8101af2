"""A node with another address: when the other nodes are told, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from slipway.node.pod_network import USED

PLAYBOOKS = Path(__file__).parents[2] / "playbooks/phases"
ANNOUNCE = {"flannel.alpha.coreos.com/public-ip": "192.0.2.102"}


def holds(condition: Any, **variables: Any) -> bool:
    conditions = condition if isinstance(condition, list) else [condition]
    templar = Templar(
        loader=DataLoader(), variables={"ansible_check_mode": False, "slipway_pod_network": USED, **variables}
    )
    return all(templar.evaluate_conditional(trust_as_template(one)) for one in conditions)


def nodes_task() -> dict[str, Any]:
    (play,) = yaml.safe_load((PLAYBOOKS / "nodes.yml").read_text())
    (task,) = (task for task in play["tasks"] if "announce" in str(task.get("ansible.builtin.include_tasks", "")))
    return dict(task)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"registered": False, "moved": False}, True),
        ({"registered": True, "moved": True}, True),
        ({"registered": True, "moved": False}, False),
        # Not in yet, or no telling.
        ({"registered": None, "moved": None}, False),
    ],
)
def test_the_other_nodes_are_told_where_a_node_is_gone_or_has_moved(state: dict[str, Any], told: bool) -> None:
    task = nodes_task()
    assert holds(task["when"], slipway_node={"kubernetes": state}) is told
    assert not holds(task["when"], slipway_node={"kubernetes": state}, ansible_check_mode=True)


def test_flannel_starts_anew_once_the_cluster_has_the_address_and_the_run_waits_for_its_word() -> None:
    known, restart, told = yaml.safe_load((PLAYBOOKS / "tasks/announce.yml").read_text())
    assert "pkill" in restart["ansible.builtin.command"]["argv"]
    # Before that Flannel, and what else listens on the address, would be given the old one.
    node = {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.7"}]}}
    moved = {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.102"}]}}
    for answer, there in ((node, False), (moved, True)):
        assert holds(known["until"], nodes_known={"json": answer}, node_address="192.0.2.102") is there
    assert not holds(known["until"], nodes_known={"msg": "refused"}, node_address="192.0.2.102")
    for told_of, there in (({}, False), (ANNOUNCE, True)):
        outcome: dict[str, Any] = {"json": {"metadata": {"annotations": told_of}}}
        assert holds(told["until"], nodes_told=outcome, node_address="192.0.2.102") is there
    state = {"kubernetes": {"registered": True, "moved": True}}
    assert holds(told["when"], slipway_node=state, nodes_restarted={"rc": 0})
    assert not holds(told["when"], slipway_node=state, nodes_restarted={"rc": 1})
