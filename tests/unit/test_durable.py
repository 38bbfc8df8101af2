"""Files that are written as a whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from slipway.node import durable


def test_a_file_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    """Also where it was there for everybody before, and whatever the umask is."""
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o644)
    durable.write("new", str(path))
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = os.umask(0o077)
    try:
        durable.write("for all", str(path), 0o644)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["key"]


def test_what_a_killed_run_left_is_not_written_into(tmp_path: Path) -> None:
    """Somebody may have opened that file while it was there for everybody, or it may lead elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("keep")
    (tmp_path / ".key.slipway").symlink_to(elsewhere)
    durable.write("new", str(tmp_path / "key"))
    assert elsewhere.read_text() == "keep"
    assert (tmp_path / "key").read_text() == "new"


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text("old")

    def full(path: str) -> None:
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(durable, "flush", full)
    with pytest.raises(OSError, match="No space"):
        durable.write("new", str(path))
    assert path.read_text() == "old"
