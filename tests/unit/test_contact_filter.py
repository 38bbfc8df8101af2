"""What the hosts of a page say of each other, put together before anything is made."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.node.ports import PORTS

from tests.support.plugins import load

GROUPS = {"controllers": ["ctrl"], "workers": ["node-1", "node-2"], "mirror": ["store"]}
NAMES = ["ctrl", "node-1", "node-2"]
NETWORKS = ["192.0.2.0/24", "10.244.0.0/16"]


@pytest.fixture(scope="module")
def contact() -> Any:
    return load("filter", "contact")


def host(number: int, *, joined: bool | None = False, interrupted: bool = False, **registered: Any) -> dict[str, Any]:
    """A host; ``joined`` None: nobody could look at it."""
    node = {} if joined is None else {"slipway_node": {"kubernetes": {"joined": joined, "interrupted": interrupted}}}
    return {"node_address": f"192.0.2.{number}", **node, **registered}


def test_a_node_asks_new_ones_for_what_they_listen_on_and_old_ones_for_the_api(contact: Any) -> None:
    listening = {"open": ["10250/tcp", "8472/udp"], "taken": {}}
    known = {
        "ctrl": host(10, joined=True),
        "node-1": host(11, joined=True),
        "node-2": host(12, contact_listening=listening),
    }
    assert contact.new(NAMES, known) == ["node-2"]
    assert contact.peers(NAMES, known, GROUPS) == {
        "ctrl": {"address": "192.0.2.10", "ports": ["6443/tcp"]},
        "node-1": {"address": "192.0.2.11", "ports": []},
        "node-2": {"address": "192.0.2.12", "ports": ["10250/tcp", "8472/udp"]},
    }
    assert contact.ports("ctrl", GROUPS) == list(PORTS["controller"])
    assert contact.ports("node-1", GROUPS) == list(PORTS["worker"])


def test_all_that_keeps_hosts_apart_is_put_together(contact: Any) -> None:
    taken = {"open": [], "taken": {"6443/tcp": 'users:(("k3s-server",pid=312))', "8472/udp": ""}}
    silent = {"unreached": {"node-1": {"8472/udp": "no answer", "10250/tcp": "connection refused"}}}
    known = {
        "ctrl": host(10, contact_listening=taken, contact_asked=silent),
        "node-1": host(11),
        "node-2": host(12, contact_asked=silent),
        "store": host(13, joined=None),
    }
    said = "\n".join(contact.faults([*NAMES, "store"], known, NETWORKS))
    assert "store is not fit yet" in said
    assert 'ctrl: another program has port 6443/tcp (users:(("k3s-server",pid=312)))' in said
    assert "ctrl: another program has port 8472/udp: stop it" in said
    assert "node-1 does not answer on 8472/udp (no answer) for ctrl, node-2; 10250/tcp (connection refused)" in said
    assert "sudo ufw allow from 192.0.2.0/24; sudo ufw allow from 10.244.0.0/16" in said


@pytest.mark.parametrize(
    ("joined", "whole", "stops"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_one_that_is_away_holds_up_only_what_is_not_founded_yet(
    contact: Any, joined: bool, whole: bool, stops: bool
) -> None:
    known = {"ctrl": host(10, joined=joined), "node-1": host(11, joined=None), "node-2": host(12, joined=joined)}
    found = contact.faults(NAMES, known, NETWORKS, whole)
    assert bool(found) is stops
    assert ("node-1 is not fit yet: what stands in the way is named above, for each." in found) is stops


def test_on_a_cluster_that_stands_each_new_host_has_its_own_faults(contact: Any) -> None:
    silent = {"unreached": {"node-2": {"10250/tcp": "no answer"}, "ctrl": {"6443/tcp": "connection refused"}}}
    known = {
        "ctrl": host(10, joined=True, contact_asked={"unreached": {"node-2": {"8472/udp": "no answer"}}}),
        "node-1": host(11, contact_asked=silent),
        "node-2": host(12, contact_listening={"open": [], "taken": {"8472/udp": ""}}),
    }
    assert contact.stands(NAMES, known)
    own = "\n".join(contact.faults(NAMES, known, NETWORKS, False, "node-2"))
    assert "another program has port 8472/udp" in own
    assert "node-2 does not answer on 8472/udp (no answer) for ctrl; 10250/tcp (no answer) for node-1" in own
    # A controller whose API server is down may be seen to by this very run.
    assert "6443/tcp (connection refused)" not in "\n".join(contact.faults(NAMES, known, NETWORKS, False, "node-1"))
    assert contact.faults(NAMES, {**known, "node-1": host(11), "node-2": host(12)}, NETWORKS, False, "node-1") == []


def test_a_host_that_is_lost_after_the_look_is_not_fit(contact: Any) -> None:
    known = {"ctrl": host(10), "node-1": host(11, contact_listening={"unreachable": True}), "node-2": host(12)}
    (said,) = contact.faults(NAMES, known, NETWORKS)
    assert said.startswith("node-1 is not fit yet")


def test_what_a_run_that_was_cut_off_has_started_is_no_stranger(contact: Any) -> None:
    taken = {"open": ["8472/udp"], "taken": {"10250/tcp": "users:((kubelet))"}}
    known = {"ctrl": host(10, interrupted=True, contact_listening=taken)}
    assert contact.faults(["ctrl"], known, NETWORKS) == []


def test_hosts_that_are_well_have_nothing_said_of_them(contact: Any) -> None:
    skipped = {"skipped": True}
    known = {name: host(number, contact_listening=skipped, contact_asked=skipped) for number, name in enumerate(NAMES)}
    assert contact.faults(NAMES, known, NETWORKS) == []
