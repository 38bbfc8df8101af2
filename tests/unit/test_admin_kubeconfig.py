"""The administrator's kubeconfig on the computer that runs Ansible: written when it differs, asked for when it may."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from tests.support.plugins import load, run_action

ADMIN = """\
apiVersion: v1
clusters:
- cluster:
    server: https://api.lab:6443
  name: lab
"""
SOURCE = hashlib.sha256(ADMIN.encode()).hexdigest()


class Played:
    """The plugin, and how often it asks a controller."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plugin, self.admin, self.asked = load("action", "admin_kubeconfig"), ADMIN, 0
        self.path, self.kept = folder / "state/kubeconfig", folder / "state/founded.json"
        monkeypatch.setattr(self.plugin.ActionModule, "_execute_module", lambda _self, **more: self._module(**more))

    def _module(self, *, module_name: str, **_more: Any) -> dict[str, Any]:
        assert module_name == "ansible.legacy.slurp"
        self.asked += 1
        return {"content": base64.b64encode(self.admin.encode()).decode()}

    def __call__(self, *, check: bool = False, diff: bool = False, **more: Any) -> dict[str, Any]:
        given = {"path": str(self.path), "server": "192.0.2.1:6443", "kept": "{}\n", "kept_path": str(self.kept)}
        result: dict[str, Any] = run_action(self.plugin, {**given, **more}, check=check, diff=diff)
        return result


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    return Played(tmp_path, monkeypatch)


def test_both_files_are_written_and_the_secret_one_is_for_nobody_else(played: Played) -> None:
    assert played(check=True)["changed"]
    assert not played.path.exists()
    result = played(diff=True)
    assert result["written"] == [str(played.path), str(played.kept)]
    assert (result["diff"]["before"], result["diff"]["after"]) == ("", "{}\n")
    assert "server: https://192.0.2.1:6443" in played.path.read_text()
    modes = [stat.S_IMODE(file.stat().st_mode) for file in (played.path, played.kept)]
    assert modes == [0o600, 0o644]
    assert sorted(os.listdir(played.path.parent)) == ["founded.json", "kubeconfig", "settled.json"]
    assert not played()["changed"]


def test_what_the_founder_gave_is_written_and_nobody_asked(played: Played) -> None:
    assert played(content=ADMIN.replace("lab", "new"))["changed"]
    assert played.asked == 0
    assert "name: new" in played.path.read_text()
    # The run after finds it as it is on the controller.
    played.admin = ADMIN.replace("lab", "new")
    source = hashlib.sha256(played.admin.encode()).hexdigest()
    assert not played(source=source, looked=True)["changed"]


@pytest.mark.parametrize("what", ["text", "permissions"])
def test_what_somebody_has_changed_is_put_right(played: Played, what: str) -> None:
    played(source=SOURCE, looked=True)
    played.path.write_text("mine\n") if what == "text" else played.path.chmod(0o644)
    assert played(source=SOURCE, looked=True)["written"] == [str(played.path)]
    assert "server: https://192.0.2.1:6443" in played.path.read_text()
    assert stat.S_IMODE(played.path.stat().st_mode) == 0o600


def test_nobody_is_asked_where_nothing_has_changed(played: Played) -> None:
    played(source=SOURCE, looked=True)
    assert not played(source=SOURCE, looked=True)["changed"]
    assert played.asked == 1
    # Not looked, another kubeconfig on the controller, another server of the page, not known.
    others: list[dict[str, Any]] = [
        {"looked": False},
        {"source": "another"},
        {"server": "192.0.2.2:6443"},
        {"source": ""},
    ]
    for more in others:
        before = played.asked
        played(**{"source": SOURCE, "looked": True, **more})
        assert played.asked == before + 1


@pytest.mark.parametrize("before", ["", "another"])
def test_what_was_written_is_remembered_by_what_it_was_made_of(played: Played, before: str) -> None:
    """A cluster that this run has founded, or keys that were renewed after the look."""
    played(source=before, looked=True)
    assert not played(source=SOURCE, looked=True)["changed"]
    assert played.asked == 1
    played(source=before or "another", looked=True)
    assert played.asked == 2


def test_a_place_where_none_can_be_is_named(played: Played) -> None:
    played.path.parent.touch()
    with pytest.raises(AnsibleActionFail, match="cannot be read") as failed:
        played()
    assert failed.value.result["error_id"] == "file-not-written"
