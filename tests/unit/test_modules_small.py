"""Modules that are little more than a door to the library: what they report, and what they say when it fails."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail

from tests.support.errors import refused
from tests.support.plugins import load, run_action, run_module


@pytest.mark.parametrize("machines", [1, 3])
def test_a_shared_folder_that_is_not_mounted_warns_where_there_are_others(
    machines: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "shared"
    plugin, arguments = load("modules", "shared_folder"), {"path": str(path), "machines": machines}
    assert run_module(plugin, arguments, check=True).result["changed"]
    assert not path.exists()
    # Ansible says the same thing only once in a process.
    assert ("a folder of this machine alone" in capsys.readouterr().err) == (machines > 1)
    ended = run_module(plugin, arguments)
    assert (ended.result["changed"], ended.result["mounted"]) == (True, False)
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IWOTH
    assert not run_module(plugin, arguments).result["changed"]


@pytest.mark.parametrize(("machines", "closed", "noted"), [(1, False, True), (3, False, False), (1, True, False)])
def test_only_a_folder_that_nothing_is_amiss_with_is_noted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machines: int, closed: bool, noted: bool
) -> None:
    """What is to be warned of is to be told of by every run."""
    plugin, calls = load("modules", "shared_folder"), []
    monkeypatch.setattr(plugin, "note", lambda call, paths: calls.append((call, paths)))
    monkeypatch.setattr(plugin, "share", lambda *_, **__: type("Folder", (), {"changed": False, "closed": closed}))
    volumes = tmp_path / "volumes"
    (volumes / "one").mkdir(parents=True)
    given = {"path": "/mnt/shared", "machines": machines, "volumes": str(volumes), "call": "a-call"}
    run_module(plugin, given)
    run_module(plugin, given, check=True)
    assert calls == ([("a-call", ["/mnt/shared", str(volumes), str(volumes / "one")])] if noted else [])


def test_a_mounted_folder_is_the_same_everywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = load("modules", "shared_folder")
    monkeypatch.setattr(plugin, "mount_points", lambda _text: {str(tmp_path)})
    assert run_module(plugin, {"path": f"{tmp_path}/", "machines": 3}).result["mounted"]
    assert "this machine alone" not in capsys.readouterr().err


def test_a_shared_folder_that_is_closed_or_in_the_way_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = load("modules", "shared_folder")
    (tmp_path / "file").touch()
    ended = run_module(plugin, {"path": str(tmp_path / "file/below"), "machines": 1})
    assert ended.failed
    assert "cannot be a folder for all: Not a directory" in ended.msg
    closed = type("Folder", (), {"changed": False, "closed": True})
    monkeypatch.setattr(plugin, "share", lambda *_arguments, **_more: closed)
    run_module(plugin, {"path": str(tmp_path), "machines": 1})
    assert f"not every user may write to {tmp_path}" in capsys.readouterr().err


def test_volumes_that_were_lost_are_opened_and_those_in_use_stay(tmp_path: Path) -> None:
    """The kubelet makes the folder of a volume for root alone, where the provisioner would make it for everybody."""
    volumes = tmp_path / "storage"
    lost, used, closed, own = (volumes / name for name in ("lost", "used", "closed", "own"))
    for folder in (lost / "sub", used, closed, own):
        folder.mkdir(parents=True)
    (used / "file").touch()
    own.chmod(0o777)
    (volumes / "link").symlink_to(used)
    plugin = load("modules", "shared_folder")
    arguments = {"path": str(tmp_path / "shared"), "machines": 1, "volumes": str(volumes)}
    (tmp_path / "shared").mkdir(mode=0o1777)
    (tmp_path / "shared").chmod(0o1777)
    expected = [str(closed), str(lost)]
    assert run_module(plugin, arguments, check=True).result["opened"] == expected
    assert stat.S_IMODE(lost.stat().st_mode) == 0o755
    ended = run_module(plugin, arguments).result
    assert (ended["changed"], ended["opened"]) == (True, expected)
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (lost, lost / "sub", closed)} == {0o777}
    assert stat.S_IMODE(used.stat().st_mode) == 0o755
    assert not run_module(plugin, arguments).result["changed"]
    assert run_module(plugin, {**arguments, "volumes": str(tmp_path / "none")}).result["opened"] == []


def promtool(folder: Path, text: str) -> str:
    program = folder / "promtool"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exit 0", ""),
        ('echo "rule 1: could not parse expression" >&2; exit 1', "could not read these rules"),
    ],
)
def test_rules_that_prometheus_cannot_read_are_named(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = {"a.yml": {"groups": [{"name": "g", "rules": [{"record": "x", "expr": "1"}]}]}}
    plugin, given = load("action", "prometheus_rules"), {"promtool": promtool(tmp_path, text), "rules": rules}
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    # What was refused once is refused again.
    for _ in range(2):
        if said:
            with refused(f"wrong-rules: {said}", AnsibleActionFail):
                run_action(plugin, given)
        else:
            assert run_action(plugin, given)["changed"] is False


def test_rules_that_were_read_once_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    program = promtool(tmp_path, f"echo x >> {tmp_path / 'ran'}")
    for number in (1, 1, 2):
        rules = {"a.yml": {"groups": [{"name": "g", "rules": [{"record": "x", "expr": str(number)}]}]}}
        run_action(load("action", "prometheus_rules"), {"promtool": program, "rules": rules})
    assert (tmp_path / "ran").read_text().split() == ["x", "x"]


def test_a_promtool_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    with pytest.raises(AnsibleActionFail, match=str(tmp_path / "none")):
        run_action(load("action", "prometheus_rules"), {"promtool": str(tmp_path / "none"), "rules": {"a": {}}})
