"""A backup is whole or none, opens with its key alone, and fits only the page that it was made with."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
import yaml
from slipway.backup import archive
from slipway.backup.__main__ import main, pack, unpack
from slipway.backup.archive import Manifest
from slipway.cluster.sealing import Key, render
from slipway.errors import SlipwayError
from slipway.node.snapshot import ENCRYPTION, KEYS, SNAPSHOT

from tests.support.errors import tells
from tests.support.sealed import KEY, entry

ROOT = Path(__file__).parents[2]
SETTINGS = {"cluster_name": "sun", "cluster_pod_cidr": "10.244.0.0/16", "cluster_kubernetes_version": "1.37.0"}
KEPT = {"values": {"cluster_name": "sun", "cluster_pod_cidr": "10.244.0.0/16"}}


@pytest.fixture
def key(tmp_path: Path) -> tuple[Path, str]:
    """The file of a key, and its public half."""
    path = tmp_path / "key"
    return path, archive.new_key(path)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """What a controller gives."""
    path = tmp_path / "controller.tar"
    with tarfile.open(path, "w") as file:
        for name in (SNAPSHOT, *KEYS):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            file.addfile(info, io.BytesIO(name.encode()))
    return path


def packed(tmp_path: Path, given: Path, recipient: str, **more: Any) -> Path:
    (tmp_path / "page.yml").write_text("cluster_name: sun\n")
    (tmp_path / "founded.json").write_text(json.dumps(KEPT))
    done = pack(
        {
            "cluster": "sun",
            "kubernetes": "1.37.0",
            "revision": 7,
            "keys": 300,
            "images": ["etcd", "app-model"],
            "folder": str(tmp_path / "backups"),
            "keep": 14,
            "recipients": [recipient],
            "given": str(given),
            "files": {name: str(tmp_path / name) for name in ("page.yml", "founded.json", "ca/ca.key")},
            **more,
        }
    )
    return Path(done["path"])


def ask(path: Path, key: Path, folder: Path, **settings: str) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    given = {"archive": str(path), "identity": str(key), "folder": str(folder), "settings": {**SETTINGS, **settings}}
    return unpack(given)


def test_a_backup_that_is_killed_leaves_nothing_that_the_next_one_does_not_remove(
    tmp_path: Path, key: tuple[Path, str], given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "backups", tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    folder.mkdir()
    left = folder / "sun-20261129T030000Z.tar.part"
    others = [folder / "moon-20261129T030000Z.tar.part", folder / "mine.part"]
    for path in (left, *others):
        path.write_text("half")
    work: list[Path] = []

    def looked(plain: str, part: str, _keys: object) -> None:
        work.append(Path(plain).parent)
        Path(part).write_text("encrypted")

    monkeypatch.setattr("pyrage.encrypt_file", looked)
    packed(tmp_path, given, key[1])
    assert not left.exists()
    assert all(path.exists() for path in others)
    # What is not encrypted lies where the playbook removes it, before it begins and when it ends.
    assert [path.parent for path in work] == [given.parent]
    assert not list(elsewhere.iterdir())


def test_what_goes_in_comes_out_and_only_its_owner_reads_it(tmp_path: Path, key: tuple[Path, str], given: Path) -> None:
    path = packed(tmp_path, given, key[1])
    assert (path.stat().st_mode & 0o777, key[0].stat().st_mode & 0o777) == (0o600, 0o600)
    assert b"BEGIN" not in path.read_bytes()
    assert b"age-encryption.org" in path.read_bytes()[:64]
    told = ask(path, key[0], tmp_path / "out")
    assert (told["cluster"], told["revision"], told["keys"]) == ("sun", 7, 300)
    assert told["images"] == ["app-model", "etcd"]
    for name in (SNAPSHOT, *KEYS):
        assert (tmp_path / "out" / name).read_text() == name
    assert (tmp_path / "out/page.yml").read_text() == "cluster_name: sun\n"
    with tarfile.open(tmp_path / "out/controller.tar") as again:
        assert set(again.getnames()) == {SNAPSHOT, *KEYS}


def test_another_key_does_not_open_it(tmp_path: Path, key: tuple[Path, str], given: Path) -> None:
    path = packed(tmp_path, given, key[1])
    other = tmp_path / "other"
    archive.new_key(other)
    with pytest.raises(SlipwayError) as error:
        ask(path, other, tmp_path / "out")
    tells(error.value, f"wrong-backup-key: {path} cannot be decrypted with {other}")
    for text in ("", "no key\n", "AGE-SECRET-KEY-1WRONG\n"):
        other.write_text(text)
        with pytest.raises(SlipwayError) as error:
            ask(path, other, tmp_path / "out")
        assert error.value.id == "wrong-backup-key"


def test_one_that_is_damaged_cut_off_or_something_else_is_refused(
    tmp_path: Path, key: tuple[Path, str], given: Path
) -> None:
    path = packed(tmp_path, given, key[1])
    whole = path.read_bytes()
    for broken in (whole[:-1], whole[: len(whole) // 2], whole[:200] + b"x" + whole[201:], whole[:300], b"", b"no"):
        path.write_bytes(broken)
        with pytest.raises(SlipwayError) as error:
            ask(path, key[0], tmp_path / "out")
        # In its head, the change hides whose key opens it.
        assert error.value.id in ("backup-unreadable", "wrong-backup-key")
    with pytest.raises(SlipwayError) as error:
        ask(tmp_path / "none", key[0], tmp_path / "out")
    assert error.value.id == "backup-unreadable"


def test_a_file_in_it_that_is_not_what_was_put_there_is_found(
    tmp_path: Path, key: tuple[Path, str], given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = archive.add_file

    def add(file: tarfile.TarFile, name: str, content: bytes) -> None:
        real(file, name, b"other" if name == "pki/ca.key" else content)

    monkeypatch.setattr(archive, "add_file", add)
    path = packed(tmp_path, given, key[1])
    with pytest.raises(SlipwayError) as error:
        ask(path, key[0], tmp_path / "out")
    tells(error.value, f"backup-unreadable: {path} is damaged: pki/ca.key")


@pytest.mark.parametrize(("key_there", "refused"), [(KEY, False), (KEY[::-1], True)])
def test_one_whose_key_of_secrets_does_not_fit_is_refused(
    tmp_path: Path, key: tuple[Path, str], given: Path, key_there: bytes, refused: bool
) -> None:
    """The archive is whole, and yet nobody could read a Secret of it."""
    secret = render([Key("slipway-1", base64.b64encode(key_there).decode())])
    content = {SNAPSHOT: entry("slipway-1", b"a secret"), ENCRYPTION: secret.encode()}
    with tarfile.open(given, "w") as file:
        for name in (SNAPSHOT, *KEYS):
            archive.add_file(file, name, content.get(name, name.encode()))
    path = packed(tmp_path, given, key[1])
    if not refused:
        assert ask(path, key[0], tmp_path / "out")["cluster"] == "sun"
        return
    with pytest.raises(SlipwayError) as error:
        ask(path, key[0], tmp_path / "out")
    tells(error.value, f"sealed-backup: {path} … nobody could read again … slipway-1 (the key does not fit")


def test_it_is_held_against_the_page(tmp_path: Path, key: tuple[Path, str], given: Path) -> None:
    path = packed(tmp_path, given, key[1])
    with pytest.raises(SlipwayError) as error:
        ask(path, key[0], tmp_path / "out", cluster_name="moon")
    tells(error.value, "foreign-backup: of the cluster sun … the page is of moon")
    with pytest.raises(SlipwayError) as error:
        ask(path, key[0], tmp_path / "out", cluster_pod_cidr="10.0.0.0/16", cluster_kubernetes_version="1.38.0")
    tells(error.value, "foreign-backup: cluster_pod_cidr is '10.0.0.0/16' … cluster_kubernetes_version is '1.38.0'")
    assert (tmp_path / "backup-page.yml").read_text() == "cluster_name: sun\n"


def test_one_that_cannot_be_written_leaves_nothing_and_takes_nothing(
    tmp_path: Path, key: tuple[Path, str], given: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    old = folder / archive.file_name("sun", datetime(2026, 1, 1, tzinfo=UTC))
    old.touch()
    given.write_bytes(b"no tar archive")
    with pytest.raises(SlipwayError) as error:
        packed(tmp_path, given, key[1], keep=1)
    tells(error.value, f"backup-not-written: {folder}")
    assert list(folder.iterdir()) == [old]
    (tmp_path / "file").touch()
    with pytest.raises(SlipwayError) as error:
        packed(tmp_path, given, key[1], folder=str(tmp_path / "file"))
    assert error.value.id == "backup-not-written"


def test_the_newest_stay_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    now = datetime(2026, 11, 29, 3, tzinfo=UTC)
    names = [archive.file_name("sun", now + timedelta(days=day)) for day in range(4)]
    others = ["moon-20260101T000000Z.tar.age", "sun-20260101.tar.age", "sun-old-20260101T000000Z.tar.age", "notes"]
    for name in (*names, *others):
        (tmp_path / name).touch()
    assert [path.name for path in archive.prune(tmp_path, "sun", 2)] == names[:2]
    assert {path.name for path in tmp_path.iterdir()} == {*names[2:], *others}
    assert archive.prune(tmp_path, "sun", 9) == []


def test_what_is_not_in_it_is_said_every_time(
    tmp_path: Path, key: tuple[Path, str], given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    real = archive.told

    def tell(*about: Any) -> list[str]:
        told.append(real(*about))
        return told[-1]

    monkeypatch.setattr(archive, "told", tell)
    for _ in range(2):
        packed(tmp_path, given, key[1], keep=1)
    assert [lines[1] for lines in told] == ["Data of volumes is not in it."] * 2
    assert [line.partition(":")[0] for line in told[1][2:]] == ["removed"]
    # And by a restore, at its end.
    plays = yaml.safe_load((ROOT / "playbooks/restore.yml").read_text())
    (report,) = plays[-1]["tasks"]
    assert report["ansible.builtin.set_stats"]["data"]["slipway"][-1] == "Data of volumes was not in the backup."
    assert "when" not in report


# --- a clock that jumped


def clock(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, _zone: Any = None) -> datetime:  # type: ignore[override]
            return now

    monkeypatch.setattr(archive, "datetime", Clock)


def test_a_backup_has_a_name_of_its_own_where_the_clock_was_put_back(
    tmp_path: Path, key: tuple[Path, str], given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, datetime(2026, 11, 30, 3, tzinfo=UTC))
    paths = [packed(tmp_path, given, key[1]) for _ in range(3)]
    assert [path.name for path in paths] == [f"sun-20261130T03000{second}Z.tar.age" for second in range(3)]
    for path in paths:
        assert ask(path, key[0], tmp_path / f"out-{path.name}")["cluster"] == "sun"


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_one_made_now_stays_where_others_are_of_the_future(
    tmp_path: Path, key: tuple[Path, str], given: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    clock(monkeypatch, datetime(2031, 1, 1, tzinfo=UTC))
    future = [packed(tmp_path, given, key[1], keep=9) for _ in range(2)]
    clock(monkeypatch, datetime(2026, 11, 30, tzinfo=UTC))
    made = packed(tmp_path, given, key[1], keep=keep)
    stay = [made, *future[3 - keep :]]
    assert archive.archives(tmp_path / "backups", "sun") == sorted(stay)


def test_a_full_disk_leaves_no_half_and_takes_no_old_one(
    tmp_path: Path, key: tuple[Path, str], given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """age itself meets it: where it writes to, the disk is full."""
    old = packed(tmp_path, given, key[1])
    real = pyrage.encrypt_file

    def full(plain: str, part: str, keys: Any) -> None:
        Path(part).symlink_to("/dev/full")
        real(plain, part, keys)

    monkeypatch.setattr("pyrage.encrypt_file", full)
    with pytest.raises(SlipwayError) as error:
        packed(tmp_path, given, key[1], keep=1)
    tells(error.value, f"backup-not-written: {tmp_path / 'backups'} … No space left on device")
    assert list((tmp_path / "backups").iterdir()) == [old]
    assert not list(given.parent.glob("slipway-backup-*")), "what is not encrypted is gone, too"
    assert Path("/dev/full").is_char_device()


def test_an_archive_of_a_later_version_is_not_guessed_at(tmp_path: Path, key: tuple[Path, str], given: Path) -> None:
    manifest = Manifest("sun", "now", "1.37.0", 1, 1, {}, format=2)
    path = archive.write(tmp_path, given, {}, manifest, [key[1]])
    (tmp_path / "out").mkdir()
    with pytest.raises(SlipwayError) as error:
        archive.read(path, key[0], tmp_path / "out")
    tells(error.value, "backup-unreadable: has the format 2")


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside"])
def test_nothing_is_written_outside_of_its_folder(
    tmp_path: Path, key: tuple[Path, str], given: Path, name: str
) -> None:
    path = archive.write(tmp_path, given, {name: b"x"}, Manifest("sun", "now", "1.37.0", 1, 1, {}), [key[1]])
    (tmp_path / "out").mkdir()
    with pytest.raises(SlipwayError) as error:
        archive.read(path, key[0], tmp_path / "out")
    tells(error.value, "backup-unreadable: is no file of a backup")
    assert not (tmp_path / "outside").exists()


def test_a_key_is_made_once_and_its_public_half_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key"
    assert main(["key", str(path)]) == 0
    assert capsys.readouterr().out.startswith("age1")
    before = path.read_text()
    assert main(["key", str(path)]) == 1
    assert "[backup-key-not-written]" in capsys.readouterr().err
    assert path.read_text() == before
    assert main([]) == 2
