"""A folder for everybody: what is mounted, what is made, what is left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from slipway.node.folder import Folder, mount_points, share

MOUNTS = r"""
22 1 0:20 / / rw,relatime - overlay overlay rw
40 22 8:1 /var/lib/docker/volumes/x/_data /mnt/shared rw,relatime - ext4 /dev/vda rw
41 22 0:50 / /mnt/with\040blank rw - tmpfs tmpfs rw
broken
"""


def test_mount_points_are_read_with_their_blanks() -> None:
    assert mount_points(MOUNTS) == {"/", "/mnt/shared", "/mnt/with blank"}


def test_a_folder_is_made_for_everybody_and_then_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mnt/shared"
    assert share(str(path), pretend=True) == Folder(changed=True)
    assert not path.exists()
    assert share(str(path)) == Folder(changed=True)
    assert path.stat().st_mode & 0o7777 == 0o1777
    assert share(str(path)) == share(str(path), pretend=True) == Folder(changed=False)


@pytest.mark.parametrize(("mode", "changed", "after"), [(0o755, True, 0o1777), (0o777, False, 0o777)])
def test_a_folder_that_is_there_is_opened(tmp_path: Path, mode: int, changed: bool, after: int) -> None:
    tmp_path.chmod(mode)
    assert share(str(tmp_path), pretend=True) == Folder(changed=changed)
    assert share(str(tmp_path)) == Folder(changed=changed)
    assert tmp_path.stat().st_mode & 0o7777 == after


def test_a_file_system_without_permissions_is_said_to_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o750)
    monkeypatch.setattr(os, "chmod", lambda *_: None)
    assert share(str(tmp_path)) == Folder(changed=False, closed=True)


def test_a_file_system_that_refuses_is_said_to_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    tmp_path.chmod(0o750)
    monkeypatch.setattr(os, "chmod", refuse)
    assert share(str(tmp_path)) == Folder(changed=False, closed=True)


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(OSError, match=os.strerror(17)):
        share(str(path))
