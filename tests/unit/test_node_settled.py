"""Calls of node_service that are left out, as the look at the machine found them in effect."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from slipway.node import settled
from slipway.node.fetch import load_record

from tests.support.plugins import load, run_action, run_module
from tests.unit.test_module_node_service import ACTIVE, STOPPED, UNIT, Systemd

CALL = "a-call"
OTHER = {"name": "other.service", "state": "started"}


@pytest.fixture
def systemd() -> Systemd:
    return Systemd()


@pytest.fixture
def record(tmp_path: Path) -> str:
    return settled.record_beside(str(tmp_path / "artifacts.json"))


@pytest.fixture
def module(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> Any:
    loaded = load("modules", "node_service")
    monkeypatch.setattr(loaded.AnsibleModule, "run_command", lambda _self, command, **more: systemd(command, **more))
    return loaded


def still(record: str, *shown: dict[str, str]) -> list[str]:
    """Ask which calls are in effect, where units are as ``shown``, in the order of their names."""
    text = "\n".join("".join(f"{key}={value}\n" for key, value in one.items()) for one in shown or (ACTIVE,))
    return settled.still(record, lambda _: text)


def written(module: Any, tmp_path: Path, *, call: str = CALL, check: bool = False, **more: Any) -> Path:
    """Call the module for a file and, as it stands in ``more``, for units."""
    path = tmp_path / "etc/thing.conf"
    files = [{"path": str(path), "content": "one\n", "owner": "root" if os.geteuid() == 0 else str(os.geteuid())}]
    given = {"files": files, "files_record": "", "record": str(tmp_path / "artifacts.json"), "call": call, **more}
    assert not run_module(module, given, check=check).failed
    return path


def test_a_call_holds_until_somebody_touches_its_file(module: Any, record: str, tmp_path: Path) -> None:
    path = written(module, tmp_path)
    assert still(record) == [CALL]
    path.write_text("two\n")
    os.utime(path, ns=(0, load_record(record)[str(path)]["marks"][str(path)][2]))
    assert still(record) == []
    written(module, tmp_path)
    assert still(record) == [CALL]
    path.chmod(0o600)
    assert still(record) == []


def test_a_file_that_went_or_came_ends_it(module: Any, record: str, tmp_path: Path) -> None:
    path = written(module, tmp_path)
    path.unlink()
    assert still(record) == []
    absent = [{"path": str(path), "state": "absent"}]
    given = {"files": absent, "files_record": "", "record": str(tmp_path / "artifacts.json")}
    run_module(module, {**given, "call": "gone"})
    assert still(record) == ["gone"]
    path.write_text("somebody's\n")
    assert still(record) == []


def test_another_call_about_the_same_things_takes_its_place(module: Any, record: str, tmp_path: Path) -> None:
    written(module, tmp_path)
    written(module, tmp_path, call="another")
    assert still(record) == ["another"]


def test_nothing_is_noted_in_check_mode_or_without_a_name(module: Any, record: str, tmp_path: Path) -> None:
    written(module, tmp_path, check=True)
    written(module, tmp_path, call="")
    assert still(record) == []


@pytest.mark.parametrize(
    "shown",
    [
        STOPPED,
        {**ACTIVE, "UnitFileState": "disabled"},
        {**ACTIVE, "NeedDaemonReload": "yes"},
        {**ACTIVE, "LoadState": "not-found"},
        {**ACTIVE, "ActiveEnterTimestamp": "Thu 1970-01-01 00:00:01.000000 UTC"},
    ],
    ids=["stopped", "disabled", "changed on disk", "gone", "started before its file"],
)
def test_a_unit_that_needs_something_ends_it(module: Any, record: str, tmp_path: Path, shown: dict[str, str]) -> None:
    written(module, tmp_path, units=[UNIT])
    assert still(record) == [CALL]
    assert still(record, shown) == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_unit_that_does_not_answer_ends_it(
    module: Any, record: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    asked = []

    def ask(url: str, _timeout: float) -> None:
        asked.append(url)
        if fails:
            raise OSError("no answer")

    monkeypatch.setattr(module, "ask", lambda *_arguments: None)
    written(module, tmp_path, units=[{**UNIT, "answers": ["http://127.0.0.1/v2/"]}])
    monkeypatch.setattr(settled, "ask", ask)
    assert still(record) == ([] if fails else [CALL])
    assert asked == ["http://127.0.0.1/v2/"]


def test_a_folder_that_gets_a_file_ends_it(tmp_path: Path, record: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.utime(folder, ns=(0, 0))
    settled.note(CALL, [str(folder)], record=record)
    assert still(record) == [CALL]
    (folder / "file").touch()
    assert still(record) == []


def test_a_file_that_another_one_is_written_from_ends_it(module: Any, record: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("one\n")
    path = tmp_path / "copy"
    owner = {"owner": "root" if os.geteuid() == 0 else str(os.geteuid())}
    given = {"files_record": "", "record": str(tmp_path / "artifacts.json"), "call": CALL}
    run_module(module, {**given, "files": [{"path": str(path), "source": str(source), **owner}]})
    assert still(record) == [CALL]
    source.write_text("two\n")
    assert still(record) == []


def test_a_file_of_somebody_elses_is_told_of_by_every_run(module: Any, record: str, tmp_path: Path) -> None:
    path = tmp_path / "own"
    path.write_text("mine\n")
    files = [{"path": str(path), "content": "one\n", "only_over": "^ours"}]
    given = {"files": files, "files_record": "", "record": str(tmp_path / "artifacts.json"), "call": CALL}
    ended = run_module(module, given)
    assert not ended.result["changed"]
    assert still(record) == []


def test_units_of_several_calls_are_asked_for_at_once(module: Any, record: str, tmp_path: Path) -> None:
    written(module, tmp_path, units=[UNIT])
    run_module(module, {"units": [OTHER], "record": str(tmp_path / "artifacts.json"), "call": "other"})
    assert sorted(still(record, ACTIVE, ACTIVE)) == [CALL, "other"]
    assert still(record, STOPPED, ACTIVE) == [CALL]
    # An answer about fewer units than were asked for says nothing.
    assert still(record, ACTIVE) == []


def test_a_program_that_was_replaced_ends_it(module: Any, record: str, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("1")
    written(module, tmp_path, units=[{**UNIT, "watch": [str(program)]}])
    assert still(record) == [CALL]
    os.replace(written(module, tmp_path / "new", call=""), program)
    assert still(record) == []


class Played:
    """The plugin, and what it calls the module with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plugin = load("action", "node_service")
        self.called: list[dict[str, Any]] = []
        self.changes = False
        monkeypatch.setattr(self.plugin.ActionModule, "_execute_module", self._module)

    def _module(self, *, module_name: str, module_args: dict[str, Any], **_more: Any) -> dict[str, Any]:
        assert module_name == "node_service"
        self.called.append(module_args)
        return {"changed": self.changes}

    def __call__(self, known: list[str] | None = None, **more: Any) -> dict[str, Any]:
        arguments = {"files": [{"path": "/etc/a", "content": "a"}], "looked": True, **more.pop("arguments", {})}
        return run_action(self.plugin, arguments, {"slipway_node": {"settled": known or [], "os": "debian"}}, **more)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    return Played(monkeypatch)


def test_a_call_that_was_found_in_effect_is_left_out(played: Played) -> None:
    played()
    (call,) = (each["call"] for each in played.called)
    assert call
    result = played([call])
    assert len(played.called) == 1
    assert result["changed"] is False
    assert result["actions"] == []
    assert played([call], diff=True)["diff"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"looked": False},
        {"files": [{"path": "/etc/a", "secret": "a"}]},
        {"units": [{"name": "a.service", "state": "restarted"}]},
    ],
    ids=["not looked", "a secret", "restarted"],
)
def test_what_has_to_be_done_each_time_is_not_noted(played: Played, arguments: dict[str, Any]) -> None:
    played(arguments=arguments)
    assert [each["call"] for each in played.called] == [""]
    assert "looked" not in played.called[0]


def test_a_file_that_goes_may_be_a_secret(played: Played) -> None:
    gone = {"path": "/etc/a", "state": "absent"}
    played(arguments={"files": [{**gone, "secret": "a"}]})
    played(arguments={"files": [{**gone, "secret": "b"}]})
    first, second = (each["call"] for each in played.called)
    assert first == second != ""


def test_what_was_seen_is_of_the_machine_itself(played: Played) -> None:
    played(delegate_to="localhost")
    run_action(played.plugin, {"files": [], "looked": True})
    assert [each["call"] for each in played.called] == ["", ""]


def test_on_this_computer_the_plugin_looks_itself(played: Played, tmp_path: Path) -> None:
    here = {"record": str(tmp_path / "tools.json")}
    run_action(played.plugin, {"files": [], "looked": True, **here}, local=True)
    (call,) = (each["call"] for each in played.called)
    settled.note(call, [], record=str(tmp_path / "settled.json"))
    assert run_action(played.plugin, {"files": [], "looked": True, **here}, local=True)["changed"] is False
    run_action(played.plugin, {"files": [], "looked": True}, local=True)
    assert len(played.called) == 2


def test_another_text_or_another_plugin_makes_another_call(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    played()
    played(arguments={"files": [{"path": "/etc/a", "content": "b"}]})
    # How it is fetched says nothing of what is wanted.
    played(arguments={"environment": {"http_proxy": "http://proxy.invalid"}})
    monkeypatch.setattr("slipway.plugin._texts", lambda _module: "another")
    played()
    first, text, proxy, plugin = (each["call"] for each in played.called)
    assert first == proxy
    assert len({first, text, plugin}) == 3


@pytest.mark.parametrize("name", ["etcd_user", "api_server", "shared_folder"])
def test_other_modules_are_left_out_likewise(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, called = load("action", name), []

    def module(_self: Any, *, module_name: str, module_args: dict[str, Any], **_more: Any) -> dict[str, Any]:
        assert module_name == name
        called.append(module_args["call"])
        return {"changed": False}

    monkeypatch.setattr(plugin.ActionModule, "_execute_module", module)
    for looked in (True, False):
        run_action(plugin, {"path": "/a", "looked": looked}, {"slipway_node": {"settled": []}})
    first, without = called
    assert (bool(first), without) == (True, "")
    result = run_action(plugin, {"path": "/a", "looked": True}, {"slipway_node": {"settled": [first]}})
    assert not result["changed"]
    assert result.items() >= plugin.ActionModule.NOTHING.items()
    assert len(called) == 2


def test_after_a_change_nothing_that_was_seen_counts(played: Played) -> None:
    played.changes = True
    result = played(["something"])
    assert result["ansible_facts"] == {"slipway_node": {"settled": [], "os": "debian"}}
    assert "ansible_facts" not in played()
    played.changes = False
    assert "ansible_facts" not in played(["something"])
