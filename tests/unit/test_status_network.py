"""How `make status` asks nodes about the pod network, and what it calls wrong."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slipway.page.model import Settings
from slipway.parts import pod_network
from slipway.status import network
from slipway.status.facts import Facts
from slipway.status.judge import judge

HERE = f"here ansible_connection=local ansible_python_interpreter={sys.executable}\n"


def node(name: str, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "addresses": [],
            "nodeInfo": {"kubeletVersion": "v1", "osImage": "Debian"},
        },
    }


def pod(name: str, on: str, address: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "kube-system", "labels": {}},
        "spec": {"nodeName": on, "containers": [{"image": "a", "ports": [{"containerPort": 9}]}]},
        "status": {"podIP": address, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def facts() -> Facts:
    nodes = [node("here"), node("away"), node("down", "False")]
    # Nobody listens there, so a connection is refused: the pod is reached.
    pods = [pod("a", "away", "127.0.0.1"), pod("b", "here", "127.0.0.1"), pod("c", "down", "127.0.0.1")]
    return Facts(now=time.time(), nodes=nodes, pods=pods)


def test_every_node_that_is_ready_is_asked_and_others_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = tmp_path / "hosts.ini"
    inventory.write_text(f"{HERE}away ansible_host=127.0.0.1 ansible_port=9\n")
    monkeypatch.setattr(network, "inventory", lambda *_: str(inventory))
    asked = facts()
    network.ask_nodes(asked, Settings(), tmp_path)
    assert asked.answers == {"here": {"pod kube-system/a": ""}}
    assert list(asked.unasked) == ["away"]
    assert "Connection refused" in asked.unasked["away"]


def test_a_node_that_the_inventory_does_not_have_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = tmp_path / "hosts.ini"
    inventory.write_text(HERE)
    monkeypatch.setattr(network, "inventory", lambda *_: str(inventory))
    asked = facts()
    network.ask_nodes(asked, Settings(), tmp_path)
    assert (list(asked.answers), asked.unasked) == (["here"], {"away": network.NOT_LISTED})
    report = judge(asked)
    (section,) = [one for one in report.sections if one.name == "network"]
    assert [(row.cells, row.state) for row in section.rows] == [
        ((f"away was not asked: {network.NOT_LISTED}",), "note")
    ]
    assert not [problem for problem in report.problems if "away" in problem]


def test_when_ansible_does_not_come_back_every_node_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = tmp_path / "hosts.ini"
    inventory.write_text(HERE.replace("here", "away") + HERE)
    monkeypatch.setattr(network, "inventory", lambda *_: str(inventory))
    monkeypatch.setattr(network, "SECONDS", 0)
    asked = facts()
    network.ask_nodes(asked, Settings(), tmp_path)
    assert asked.unasked == dict.fromkeys(("away", "here"), "no answer over SSH in 0 s")


def test_a_pod_that_has_ended_meanwhile_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {"here": {"answers": {"pod kube-system/a": "no answer"}}, "away": {"answers": {"pod kube-system/b": ""}}}
    monkeypatch.setattr(network, "inventory", lambda *_: "")
    monkeypatch.setattr(network, "_play", lambda *_: lost)
    asked = facts()
    left = list(asked.pods)
    monkeypatch.setattr(network, "Reader", lambda _: SimpleNamespace(items=lambda _: left))
    network.ask_nodes(asked, Settings(), tmp_path)
    assert [problem for problem in judge(asked).problems if "no pod on away is reached" in problem]
    left.clear()
    network.ask_nodes(asked, Settings(), tmp_path)
    assert not [problem for problem in judge(asked).problems if "is reached" in problem]


def test_a_page_of_its_own_has_an_inventory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "cluster.yml"
    page.write_text("cluster_provider: hosts\ncluster_hosts: [{name: there, role: controller, address: 192.0.2.7}]\n")
    monkeypatch.setenv("SLIPWAY_PAGE", str(page))
    settings = Settings(
        cluster_provider="hosts",
        cluster_hosts=[{"name": "there", "role": "controller", "address": "192.0.2.7"}],  # type: ignore[list-item]
    )
    written = network.inventory(settings, tmp_path / "state", tmp_path)
    assert "there ansible_host=192.0.2.7" in Path(written).read_text()


def test_what_does_not_pass_is_wrong() -> None:
    asked = facts()
    asked.pod_cidr = "127.0.0.0/8"
    asked.questions = {
        "here": pod_network.question(asked.pods, "here", ["here", "away"], "10.96.0.0/12", "cluster.local")
    }
    asked.answers = {"here": {"pod kube-system/a": ""}}
    assert not [problem for problem in judge(asked).problems if "reached" in problem]
    asked.answers = {"here": {"pod kube-system/a": "no answer"}}
    asked.pod_cidr = "10.244.0.0/16"
    problems = judge(asked).problems
    assert [problem for problem in problems if problem.startswith("from here no pod on away is reached")]
    assert [problem for problem in problems if "is not in 10.244.0.0/16" in problem]
