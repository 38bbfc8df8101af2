"""Items are complete or absent."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slipway.artifacts import cache
from slipway.artifacts.cache import Cache
from slipway.artifacts.job import duration
from slipway.errors import SlipwayError

from tests.support.errors import refused


def write(target: Path) -> dict[str, Any]:
    (target / "data").write_text("data")
    return {"sha256": "x"}


def test_an_item_is_made_once(tmp_path: Path) -> None:
    store = Cache(tmp_path)
    made = store.make("thing", "k", write)

    def never(_target: Path) -> Mapping[str, Any]:
        raise AssertionError

    assert store.make("thing", "k", never) == made == store.get("thing", "k")
    assert made.path == tmp_path / "items" / "thing" / "k"
    assert made.facts == {"sha256": "x"}


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(target: Path) -> Mapping[str, Any]:
        write(target)
        raise KeyboardInterrupt

    store = Cache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.make("thing", "k", fail)
    assert store.get("thing", "k") is None
    assert [path.name for path in (tmp_path / "items" / "thing").iterdir()] == ["k.lock"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / "items" / "thing" / ".k.new" / "deep"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    left.chmod(0o555)
    entry = Cache(tmp_path).make("thing", "k", write)
    assert sorted(path.name for path in entry.path.iterdir()) == ["data", "item.json"]
    assert not left.parent.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_explained(tmp_path: Path, code: int) -> None:
    def fill(_target: Path) -> Mapping[str, Any]:
        raise OSError(code, os.strerror(code))

    with refused("disk-full: thing: … about 2.0 GB"):
        Cache(tmp_path).make("thing", "k", fill, needs=2 * 10**9)


def test_what_cannot_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=5 * 10**6))
    with refused("disk-full: 5.0 MB … about 1.0 GB"):
        Cache(tmp_path).make("thing", "k", write, needs=10**9)
    assert Cache(tmp_path).get("thing", "k") is None


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    def fail(_target: Path) -> Mapping[str, Any]:
        raise PermissionError(errno.EACCES, "no")

    with pytest.raises(PermissionError):
        Cache(tmp_path).make("thing", "k", fail)


def test_a_web_server_may_read_what_a_careful_user_made(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        entry = Cache(tmp_path).make("thing", "k", write)
    finally:
        os.umask(before)
    assert entry.path.stat().st_mode & 0o777 == 0o755
    assert (entry.path / "data").stat().st_mode & 0o777 == 0o644


def test_a_damaged_item_is_named(tmp_path: Path) -> None:
    entry = Cache(tmp_path).make("thing", "k", write)
    (entry.path / "item.json").write_text("{")
    with pytest.raises(SlipwayError, match=rf"Remove {entry.path}"):
        Cache(tmp_path).get("thing", "k")


def test_a_second_name_costs_no_space(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("text")
    cache.link_or_copy(source, tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_ino == source.stat().st_ino


def test_another_file_system_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_paths: object) -> None:
        raise OSError(errno.EXDEV, "other device")

    monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "source"
    source.write_text("text")
    cache.link_or_copy(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "text"


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({"SLIPWAY_CACHE": "/data/slipway", "XDG_CACHE_HOME": "/x"}, "/data/slipway"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/slipway"),
        ({"HOME": "/users/me"}, "/users/me/.cache/slipway"),
        ({"HOME": "/users/me", "SLIPWAY_CACHE": "~/large"}, "/users/me/large"),
        ({"HOME": "/users/me", "XDG_CACHE_HOME": "~/caches"}, "/users/me/caches/slipway"),
    ],
)
def test_the_cache_is_the_users_own(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], root: str) -> None:
    for name in ("SLIPWAY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert cache.default_root() == Path(root)


def test_a_folder_is_as_large_as_its_regular_files(tmp_path: Path) -> None:
    (tmp_path / "item").mkdir()
    (tmp_path / "item/data").write_bytes(b"x" * 1000)
    (tmp_path / "folder").symlink_to(tmp_path / "item")
    (tmp_path / "file").symlink_to(tmp_path / "item/data")
    (tmp_path / "nowhere").symlink_to("x" * 200)
    assert cache.folder_size(tmp_path) == 1000
    assert cache.folder_size(tmp_path / "none") == 0


@pytest.mark.parametrize(
    ("size", "text"), [(1_600_000, "1.6 MB"), (92_000_000, "92 MB"), (4_100_000_000, "4.1 GB"), (200, "0.0 MB")]
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert cache.megabytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (3.14, "3.1 s"), (9.96, "10 s"), (84, "84 s"), (558, "9 min 18 s")]
)
def test_times_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
