"""Backups go to a real S3 server, with Debian's s3cmd: kept, restored, cut off in the middle, and brought again.

It needs no cluster. The server is a Go module that is built here, and listens on loopback alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway.backup import archive
from slipway.backup.__main__ import unpack
from slipway.backup.store import Store
from slipway.errors import SlipwayError

from tests.support.kube import eventually
from tests.support.store import Server
from tests.unit.test_backup import SETTINGS, packed
from tests.unit.test_backup_store import controller

# Of which s3cmd makes many parts.
LARGE = 400_000_000


@pytest.fixture
def server(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    assert shutil.which("s3cmd"), "Debian's s3cmd is needed; a page with cluster_backup.store has make setup install it"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "who")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    made = Server(program, tmp_path)
    made.start()
    yield made
    made.stop()


def saved(folder: Path, day: int, size: int = 1000) -> Path:
    """A file that is called like a backup."""
    folder.mkdir(exist_ok=True)
    path = folder / f"sun-202611{day:02}T030000Z.tar.age"
    with path.open("wb") as file:
        for start in range(0, size, 1 << 24):
            file.write(os.urandom(min(1 << 24, size - start)))
    return path


def test_a_backup_goes_there_and_comes_back(server: Server, tmp_path: Path) -> None:
    key = tmp_path / "key"
    path = packed(tmp_path, controller(tmp_path), archive.new_key(key), store=server.address)
    store = Store.of(server.address)
    assert store.names("sun") == {path.name: path.stat().st_size}
    path.unlink()
    server.stop()
    server.start()
    out = tmp_path / "out"
    out.mkdir()
    asked = {"archive": path.name, "identity": str(key), "folder": str(out), "settings": SETTINGS}
    assert unpack({**asked, "store": server.address})["keys"] == 300


def test_the_newest_are_kept_there(server: Server, tmp_path: Path) -> None:
    store, folder = Store.of(server.address), tmp_path / "saves"
    for day in (27, 28, 29, 30):
        saved(folder, day)
        store.bring(folder, "sun", 2)
    assert [name[10:12] for name in store.names("sun")] == ["29", "30"]
    assert store.bring(folder, "sun", 4) != []
    assert store.names("moon") == {}


def test_a_store_that_goes_away_in_the_middle_is_named_and_gets_the_rest_later(server: Server, tmp_path: Path) -> None:
    store, folder = Store.of(server.address), tmp_path / "saves"
    saved(folder, 28)
    store.bring(folder, "sun", 14)
    large = saved(folder, 29, LARGE)
    cutting = threading.Timer(1.0, server.stop)
    cutting.start()
    began = time.monotonic()
    with pytest.raises(SlipwayError) as error:
        store.bring(folder, "sun", 1)
    cutting.join()
    print(f"a store that went away is named after {time.monotonic() - began:.0f} s: {error.value.text}")
    assert error.value.id == "backup-store"
    assert f"127.0.0.1:{server.port}" in error.value.text
    server.start()
    # What was there before has not gone, although one is to be kept.
    assert [name[10:12] for name in store.names("sun")] == ["28"]
    store.bring(folder, "sun", 1)
    assert store.names("sun") == {large.name: LARGE}


def test_an_upload_that_was_killed_goes_on_behind_what_is_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = Store.of(server.address), tmp_path / "saves"
    large = saved(folder, 29, LARGE)
    target = f"{store.place}{large.name}"
    reach = ("--config", os.devnull, "--no-ssl", "--host", store.host, "--host-bucket", store.host)

    def begun() -> bool:
        listed = ["s3cmd", *reach, "multipart", f"s3://{store.bucket}/"]
        return target in subprocess.run(listed, capture_output=True, text=True, check=False).stdout

    with subprocess.Popen(["s3cmd", *reach, "put", "--no-progress", str(large), target]) as put:
        eventually(begun, seconds=120, what="the upload has begun")
        # The first part is there.
        time.sleep(0.5)
        put.kill()
    said: list[str] = []
    real = subprocess.run

    def run(command: list[str], **given: object) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = real(command, **given)  # type: ignore[call-overload]
        said.append(f"{done.stdout}{done.stderr}")
        return done

    monkeypatch.setattr(subprocess, "run", run)
    store.bring(folder, "sun", 14)
    assert any("part 1, skipping" in text for text in said)
    assert store.names("sun") == {large.name: LARGE}
    back = tmp_path / "back"
    store.get(large.name, back)
    assert real(["cmp", str(back), str(large)], check=False).returncode == 0


def test_a_bucket_that_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    saved(tmp_path / "saves", 30)
    store = Store.of(server.address.replace("/saves/", "/none/"))
    with pytest.raises(SlipwayError, match=r"backup-store|none"):
        store.bring(tmp_path / "saves", "sun", 1)
