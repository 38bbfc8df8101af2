"""Backups in a store: what is not there is brought, nothing goes before that, and what fails is named."""

from __future__ import annotations

import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from slipway.backup import archive, store
from slipway.backup.__main__ import unpack
from slipway.backup.store import Store
from slipway.errors import SlipwayError
from slipway.node.snapshot import KEYS, SNAPSHOT

from tests.support.errors import tells
from tests.unit.test_backup import SETTINGS, packed

ADDRESS = "https://s3.example.org:9000/saves/sun"
# A store that is a folder, and writes down how it was called. ``broken`` names the calls that fail, and how.
PROGRAM = """\
#!{python}
import json, os, shutil, sys
from pathlib import Path
base = Path({base!r})
words = sys.argv[1:]
with open(base / "calls", "a") as file:
    file.write(json.dumps(words) + "\\n")
call = next(word for word in words if word in ("ls", "put", "get", "del", "multipart"))
broken = json.loads((base / "broken").read_text()) if (base / "broken").exists() else {{}}
if call in broken:
    sys.stderr.write(broken[call])
    sys.exit(70)
rest = [word for word in words[words.index(call) + 1:] if not word.startswith("--")]
inside = base / "saves/sun"
inside.mkdir(parents=True, exist_ok=True)
if call == "ls":
    print("                       DIR  s3://saves/sun/old/")
    for path in sorted(inside.iterdir()):
        print("2026-11-30 03:00  %10d  s3://saves/sun/%s" % (path.stat().st_size, path.name))
elif call == "put":
    text = Path(rest[0]).read_bytes()
    half = (base / "half").exists()
    (inside / rest[1].rpartition("/")[2]).write_bytes(text[: len(text) // 2] if half else text)
elif call == "get":
    shutil.copy(inside / rest[0].rpartition("/")[2], rest[1])
elif call == "del":
    (inside / rest[0].rpartition("/")[2]).unlink()
else:
    print((base / "begun").read_text() if (base / "begun").exists() else "s3://saves/")
"""


class Bucket:
    """The store, and the folder of backups here."""

    def __init__(self, root: Path) -> None:
        self.root, self.inside, self.folder = root, root / "saves/sun", root / "backups"
        self.inside.mkdir(parents=True)
        self.folder.mkdir()
        program = root / "bin/s3cmd"
        program.parent.mkdir()
        program.write_text(PROGRAM.format(python=sys.executable, base=str(root)))
        program.chmod(0o755)
        self.store = Store.of(ADDRESS)

    def save(self, day: int, text: str = "archive") -> Path:
        path = self.folder / f"sun-202611{day:02}T030000Z.tar.age"
        path.write_text(f"{text} {day}")
        return path

    def bring(self, keep: int = 14, made: str = "") -> list[str]:
        return self.store.bring(self.folder, "sun", keep, made)

    def there(self) -> list[str]:
        return sorted(path.name.removeprefix("sun-202611")[:2] for path in self.inside.iterdir())

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.root / "calls").read_text().splitlines()]

    def breaks(self, **calls: str) -> None:
        (self.root / "broken").write_text(json.dumps(calls))


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    made = Bucket(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "who")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    return made


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        (ADDRESS, ("s3.example.org:9000", True, "saves", "sun/")),
        ("http://127.0.0.1:9/saves", ("127.0.0.1:9", False, "saves", "")),
        ("https://s3.example.org/b/a/c/", ("s3.example.org", True, "b", "a/c/")),
    ],
)
def test_an_address_has_all_that_reaches_a_store(address: str, parts: tuple[Any, ...]) -> None:
    found = Store.of(address)
    assert (found.host, found.secure, found.bucket, found.prefix) == parts


def test_what_is_not_there_is_brought_and_a_second_time_nothing(bucket: Bucket) -> None:
    bucket.save(28)
    assert bucket.bring() == ["in s3://saves/sun/ on s3.example.org:9000: sun-20261128T030000Z.tar.age"]
    # One that a store which went away has not got, or not whole, comes later.
    bucket.save(29)
    bucket.save(30)
    (bucket.inside / "sun-20261128T030000Z.tar.age").write_text("half")
    assert [line[-18:-16] for line in bucket.bring()] == ["28", "29", "30"]
    assert (bucket.inside / "sun-20261128T030000Z.tar.age").read_text() == "archive 28"
    assert bucket.bring() == []


def test_the_newest_are_kept_and_nothing_of_others_goes(bucket: Bucket) -> None:
    for name in ("moon-20261101T030000Z.tar.age", "notes"):
        (bucket.inside / name).write_text("x")
    for day in (27, 28, 29, 30):
        bucket.save(day)
        bucket.bring(2)
    assert sorted(path.name for path in bucket.inside.iterdir()) == [
        "moon-20261101T030000Z.tar.age",
        "notes",
        "sun-20261129T030000Z.tar.age",
        "sun-20261130T030000Z.tar.age",
    ]


@pytest.mark.parametrize(("keep", "stay"), [(1, ["28"]), (2, ["28", "30"])])
def test_the_one_made_now_stays_where_a_clock_has_called_others_newer(
    bucket: Bucket, keep: int, stay: list[str]
) -> None:
    for day in (28, 29, 30):
        bucket.save(day)
    bucket.bring(keep, "sun-20261128T030000Z.tar.age")
    assert bucket.there() == stay


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"ls": "WARNING: Retrying\nERROR: [Errno 111] Connection refused\n"}, "[Errno 111] Connection refused"),
        ({"put": "ERROR: S3 error: 404 (NoSuchBucket)\nERROR: S3 error: 404 (NoSuchBucket)\n"}, "404 (NoSuchBucket)"),
        ({"put": "something\nelse\n"}, "else"),
        ({"put": ""}, "s3cmd put ends with 70"),
    ],
)
def test_a_store_that_fails_is_named_and_nothing_goes(bucket: Bucket, broken: dict[str, str], said: str) -> None:
    (bucket.inside / "sun-20261101T030000Z.tar.age").write_text("old")
    bucket.save(30)
    bucket.breaks(**broken)
    with pytest.raises(SlipwayError) as error:
        bucket.bring(1)
    tells(error.value, f"backup-store: s3://saves/sun/ … s3.example.org:9000 … {said}")
    assert bucket.there() == ["01"]


def test_one_that_takes_only_half_is_found(bucket: Bucket) -> None:
    (bucket.inside / "sun-20261101T030000Z.tar.age").write_text("old")
    bucket.save(30)
    (bucket.root / "half").touch()
    with pytest.raises(SlipwayError, match=r"has not got all of sun-20261130T030000Z\.tar\.age"):
        bucket.bring(1)
    assert bucket.there() == ["01", "30"]
    (bucket.root / "half").unlink()
    bucket.bring(1)
    assert bucket.there() == ["30"]


def test_an_upload_in_parts_goes_on_only_where_one_was_begun(bucket: Bucket) -> None:
    bucket.save(29)
    # A store may say so with an error where there is none.
    bucket.breaks(multipart="ERROR: S3 error: 404 (NoSuchUpload)\n")
    bucket.bring()
    assert not [call for call in bucket.calls() if "--continue-put" in call]
    bucket.breaks()
    bucket.save(30)
    (bucket.root / "begun").write_text("s3://saves/\nx\ts3://saves/sun/sun-20261130T030000Z.tar.age\t2\n")
    bucket.bring()
    (put,) = (call for call in bucket.calls() if "--continue-put" in call)
    assert put[-1].endswith("sun-20261130T030000Z.tar.age")


def test_no_key_is_ever_an_argument_and_the_page_has_none(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.save(30)
    bucket.bring()
    assert not [call for call in bucket.calls() if "hunter2" in " ".join(call) or "who" in call]
    assert all(call[:2] == ["--config", os.devnull] for call in bucket.calls())
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SlipwayError) as error:
        bucket.bring()
    tells(error.value, "backup-store-keys: AWS_ACCESS_KEY_ID … .s3cfg")
    own = bucket.root / ".s3cfg"
    own.write_text("[default]\n")
    bucket.bring()
    assert bucket.calls()[-1][:2] == ["--config", str(own)]


def test_without_s3cmd_it_says_what_installs_it(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(bucket.root))
    with pytest.raises(SlipwayError, match="make setup installs it"):
        bucket.bring()


def test_one_that_never_ends_is_ended(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    (bucket.root / "bin/s3cmd").write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(store, "PATIENCE", 0.2)
    with pytest.raises(SlipwayError, match=r"s3cmd ls has not ended after 0\.2 s"):
        bucket.bring()


def test_a_backup_stays_here_if_the_store_is_away_and_is_brought_by_the_next(bucket: Bucket, tmp_path: Path) -> None:
    key = tmp_path / "key"
    public = archive.new_key(key)
    given = controller(tmp_path)
    bucket.breaks(ls="ERROR: [Errno 111] Connection refused\n")
    with pytest.raises(SlipwayError) as error:
        packed(tmp_path, given, public, store=ADDRESS)
    (first,) = archive.archives(tmp_path / "backups", "sun")
    tells(error.value, f"backup-store: {first} is made … stays on this computer … Connection refused")
    bucket.breaks()
    packed(tmp_path, given, public, store=ADDRESS)
    assert [path.name for path in archive.archives(tmp_path / "backups", "sun")] == sorted(os.listdir(bucket.inside))


def test_a_backup_is_restored_from_the_store_by_its_name(bucket: Bucket, tmp_path: Path) -> None:
    key = tmp_path / "key"
    path = packed(tmp_path, controller(tmp_path), archive.new_key(key), store=ADDRESS)
    path.unlink()
    out = tmp_path / "out"
    out.mkdir()
    asked = {"archive": path.name, "identity": str(key), "folder": str(out), "settings": SETTINGS, "store": ADDRESS}
    assert unpack(asked)["revision"] == 7
    # A path is one of this computer, and without a store a name is, too.
    for wrong in ({"archive": str(path)}, {"store": ""}):
        with pytest.raises(SlipwayError) as error:
            unpack({**asked, **wrong})
        assert error.value.id == "backup-unreadable"
    assert bucket.calls()[-1][-2].endswith(path.name)


def controller(tmp_path: Path) -> Path:
    """What a controller gives."""
    path = tmp_path / "controller.tar"
    with tarfile.open(path, "w") as file:
        for name in (SNAPSHOT, *KEYS):
            archive.add_file(file, name, name.encode())
    return path


def test_without_a_store_none_is_asked(bucket: Bucket, tmp_path: Path) -> None:
    packed(tmp_path, controller(tmp_path), archive.new_key(tmp_path / "key"))
    assert not (bucket.root / "calls").exists()
