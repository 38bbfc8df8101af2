"""Calls of node_service that the next one on the same machine carries out."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest
from slipway.node.fetch import load_record

from tests.support.plugins import load, run_action, run_module
from tests.unit.test_module_node_service import UNIT, Systemd

A = {"path": "/etc/a", "content": "a"}
B = {"path": "/etc/b", "content": "b"}


class Machine:
    """A machine with its facts, and what the module is called with on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plugin = load("action", "node_service")
        self.facts: dict[str, Any] = {"slipway_node": {"settled": ["seen"]}}
        self.called: list[dict[str, Any]] = []
        monkeypatch.setattr(self.plugin.ActionModule, "_execute_module", self._module)

    def _module(self, *, module_args: dict[str, Any], **_more: Any) -> dict[str, Any]:
        self.called.append(module_args)
        return {"changed": True, "written": ["/etc/a"]}

    def __call__(self, *files: dict[str, Any], later: bool = False, **more: Any) -> dict[str, Any]:
        options = {"files": list(files), "looked": True, "later": later, **more.pop("arguments", {})}
        result = run_action(self.plugin, options, self.facts, **more)
        self.facts |= result.get("ansible_facts", {})
        return result


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_the_next_call_does_those_that_were_put_off(machine: Machine) -> None:
    first = machine(A, later=True, arguments={"environment": {"http_proxy": "http://user:word@proxy.invalid"}})
    assert (first["changed"], first["written"], machine.called) == (False, [], [])
    # Neither the texts of files are printed, nor is a proxy's password kept.
    assert first["_ansible_no_log"]
    assert "word" not in str(machine.facts)
    machine(A, B, later=True)
    assert machine(B, arguments={"environment": {"no_proxy": "*"}})["written"] == ["/etc/a"]
    (call,) = machine.called
    assert [one["files"] for one in call["earlier"]] == [[A], [A, B]]
    assert call["files"] == [B]
    assert [one["environment"] for one in [*call["earlier"], call]] == [{"no_proxy": "*"}] * 3
    assert "later" not in call
    assert not {"later", "looked"} & set(call["earlier"][0])
    # Each is noted by a name of its own, as if it had been alone.
    assert len({one["call"] for one in [*call["earlier"], call]}) == 3
    machine(B)
    assert "earlier" not in machine.called[1]


def test_a_call_is_noted_by_the_same_name_whenever_it_is_done(machine: Machine) -> None:
    machine(A, later=True)
    machine(A)
    (call,) = machine.called
    assert call["call"] == call["earlier"][0]["call"] != ""


def test_what_was_seen_counts_no_more_when_something_is_still_to_be_done(machine: Machine) -> None:
    machine(A, later=True)
    assert machine.facts["slipway_node"]["settled"] == []


@pytest.mark.parametrize("waiting", [False, True])
def test_a_call_in_effect_does_no_more_than_what_waits(machine: Machine, waiting: bool) -> None:
    machine(B)
    known = machine.called.pop()["call"]
    if waiting:
        machine(A, later=True)
    machine.facts["slipway_node"] = {"settled": [known]}
    assert machine(B)["changed"] is waiting
    assert [(one["earlier"][0]["files"], one.get("files")) for one in machine.called] == [([A], None)] * waiting
    machine.facts["slipway_node"] = {"settled": [known]}
    assert machine(B, later=True)["changed"] is False
    assert len(machine.called) == waiting


@pytest.mark.parametrize(
    ("file", "more"),
    [({"path": "/etc/a", "secret": "a"}, {}), (A, {"check": True}), (A, {"delegate_to": "other"})],
    ids=["a secret", "check mode", "another machine"],
)
def test_what_cannot_wait_is_done_at_once(machine: Machine, file: dict[str, Any], more: dict[str, Any]) -> None:
    machine(file, later=True, **more)
    assert [one["files"] for one in machine.called] == [[file]]


def test_another_machine_does_not_do_what_waits_on_this_one(machine: Machine) -> None:
    machine(A, later=True)
    machine(B, delegate_to="other")
    assert "earlier" not in machine.called[0]
    machine(B)
    assert [one["files"] for one in machine.called[1]["earlier"]] == [[A]]


def test_a_call_that_is_done_after_others_does_what_it_does_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, systemd = load("modules", "node_service"), Systemd()
    monkeypatch.setattr(module.AnsibleModule, "run_command", lambda _self, command, **more: systemd(command, **more))
    common = {"files_record": "", "record": str(tmp_path / "artifacts.json")}

    def call(name: str, **more: Any) -> dict[str, Any]:
        file = {"path": str(tmp_path / name), "content": name, "owner": getpass.getuser()}
        return {**common, "files": [file], "call": name, **more}

    earlier = [call("a", units=[{**UNIT, "name": "a.service", "reads": []}]), call("b")]
    ended = run_module(module, {**call("c", units=[{**UNIT, "name": "c.service"}]), "earlier": earlier}, diff=True)
    assert ended.result["written"] == [str(tmp_path / name) for name in "abc"]
    # A unit is started again for the files of its own call alone.
    assert ended.result["actions"] == ["restart c.service"]
    assert [one["after_header"] for one in ended.result["diff"]] == [str(tmp_path / name) for name in "abc"]
    assert {one["call"] for one in load_record(str(tmp_path / "settled.json")).values()} == {"a", "b", "c"}


def test_what_fails_is_told_with_its_step(tmp_path: Path) -> None:
    module = load("modules", "node_service")
    wrong = {"files": [{"path": "nowhere/a", "content": ""}], "files_record": "", "task": "host : Name the machines"}
    after = {"files": [{"path": str(tmp_path / "b"), "content": ""}], "files_record": "", "earlier": [wrong]}
    ended = run_module(module, after)
    assert ended.failed
    assert ended.result["error_id"] == "wrong-path"
    assert ended.msg.endswith("It is of the step: host : Name the machines")
    assert not (tmp_path / "b").exists()
