"""Files that are written in Ansible's own process, on the computer that runs it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from tests.support.plugins import load, run_action


def play(*files: dict[str, Any], **more: Any) -> dict[str, Any]:
    result: dict[str, Any] = run_action(load("action", "local_files"), {"files": list(files)}, **more)
    return result


def test_a_file_is_written_once_with_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "folder/file"
    file = {"path": str(path), "content": "one\n", "mode": "0640"}
    assert play(file, check=True)["changed"]
    assert not path.exists()
    result = play(file, diff=True)
    assert (result["changed"], result["written"]) == (True, [str(path)])
    assert (result["diff"][0]["before"], result["diff"][0]["after"]) == ("", "one\n")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("one\n", 0o640)
    assert os.listdir(path.parent) == ["file"]
    assert not play(file)["changed"]


@pytest.mark.parametrize("what", ["text", "permissions"])
def test_what_somebody_has_changed_is_put_right(tmp_path: Path, what: str) -> None:
    path = tmp_path / "file"
    file = {"path": str(path), "content": "one\n"}
    play(file)
    path.write_text("two\n") if what == "text" else path.chmod(0o600)
    assert play(file)["changed"]
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("one\n", 0o644)


def test_a_secret_is_shown_to_nobody(tmp_path: Path) -> None:
    path = tmp_path / "key"
    result = play({"path": str(path), "secret": "hidden", "mode": "0600"}, diff=True)
    assert path.read_text() == "hidden"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert result["diff"] == []
    assert "hidden" not in str(result)


def test_a_place_where_none_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AnsibleActionFail, match=r"cannot be (read|written)") as failed:
        play({"path": str(tmp_path / "file/below"), "content": ""})
    assert failed.value.result["error_id"] == "file-not-written"
