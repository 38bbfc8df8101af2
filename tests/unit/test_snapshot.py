"""A snapshot of etcd is received whole, checked, tried out, and put in place."""

from __future__ import annotations

import base64
import hashlib
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from slipway.cluster.sealing import Key, render
from slipway.node import secretbox, snapshot
from slipway.node.snapshot import SnapshotError

from tests.support.authorities import authorities
from tests.support.bolt import database, revision
from tests.support.sealed import KEY, entry, varint

KEY64 = base64.b64encode(KEY).decode()
PAGES = b"k8s:enc:secretbox:v1:slipway-1:x".ljust(1024, b"\0")
WHOLE = PAGES + hashlib.sha256(PAGES).digest()
MANIFEST = "spec:\n  containers:\n  - command:\n    - etcd\n    image: registry.k8s.io/etcd:3.7.0-0\n"


def said(content: bytes) -> list[bytes]:
    """As etcd's gateway says it."""
    parts = [content[place : place + 100] for place in range(0, len(content), 100)]
    return [json.dumps({"result": {"blob": base64.b64encode(part).decode()}}).encode() + b"\n" for part in parts]


def test_it_is_received_and_its_sum_is_right(tmp_path: Path) -> None:
    path = str(tmp_path / "etcd.db")
    snapshot.receive([*said(WHOLE), b"\n"], path)
    assert Path(path).read_bytes() == WHOLE
    assert {name for name, _ in snapshot.sealed_values(path)} == {"slipway-1"}


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (said(WHOLE[:-1]), "cut off"),
        (said(b"x" + WHOLE[1:]), "damaged"),
        ([], "cut off"),
        ([*said(WHOLE)[:2], b'{"error": {"message": "no leader"}}'], "no leader"),
    ],
)
def test_half_of_one_or_another_one_is_none(tmp_path: Path, lines: list[bytes], why: str) -> None:
    with pytest.raises(SnapshotError, match=why):
        snapshot.receive(lines, str(tmp_path / "etcd.db"))


def test_a_key_across_two_reads_is_found(tmp_path: Path) -> None:
    path = tmp_path / "etcd.db"
    path.write_bytes(b"\0" * ((1 << 20) - 10) + b"k8s:enc:secretbox:v1:other:")
    assert {name for name, _ in snapshot.sealed_values(str(path))} == {"other"}
    configuration = "keys:\n            - name: slipway-1\n              secret: x\n            - name: old\n"
    assert set(snapshot.sealing_keys_in_order(configuration)) == {"slipway-1", "old"}


CONFIGURATION = render([Key("slipway-2", base64.b64encode(KEY[::-1]).decode()), Key("slipway-1", KEY64)])
HALF = b"k8s:enc:secretbox:v1:slipway-1:"


def stored(tmp_path: Path, *parts: bytes) -> str:
    """A snapshot with entries, and pages of other things around them."""
    path = tmp_path / "etcd.db"
    path.write_bytes(b"\0" * 100 + b"".join(part + b"\xff\x2a\0" * 9 for part in parts))
    return str(path)


@pytest.mark.parametrize("size", [0, 10, 60, 200, 20000])
def test_one_secret_opens_with_the_key_that_is_saved(tmp_path: Path, size: int) -> None:
    """Of any size: its length has one byte, or several."""
    path = stored(tmp_path, entry("slipway-1", b"k8s\0" + b"x" * size))
    ((name, value),) = snapshot.sealed_values(path)
    assert (name, secretbox.opened(value, KEY)[4:]) == ("slipway-1", b"x" * size)
    assert snapshot.open_one(path, CONFIGURATION) == ["slipway-1"]


def test_one_secret_of_each_key_is_opened(tmp_path: Path) -> None:
    path = stored(tmp_path, entry("slipway-1", b"a"), entry("slipway-2", b"b", KEY[::-1]), entry("slipway-1", b"c"))
    assert snapshot.open_one(path, CONFIGURATION) == ["slipway-1", "slipway-2"]
    assert snapshot.open_one(stored(tmp_path, b"nothing"), CONFIGURATION) == []
    (tmp_path / "etcd.db").write_bytes(b"")
    assert list(snapshot.sealed_values(str(tmp_path / "etcd.db"))) == []


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([entry("slipway-1", b"a", KEY[::-1])], r"slipway-1 \(the key does not fit"),
        # That the other one fits does not help.
        ([entry("slipway-2", b"b", KEY[::-1]), entry("slipway-1", b"a", KEY[::-1])], r"its key .*: slipway-1 \("),
        ([entry("slipway-3", b"a")], "keys that are not in .*: slipway-3"),
        ([HALF], r"slipway-1 \(it is cut off\)"),
    ],
)
def test_a_key_that_does_not_fit_is_refused(tmp_path: Path, parts: list[bytes], why: str) -> None:
    with pytest.raises(SnapshotError, match=why):
        snapshot.open_one(stored(tmp_path, *parts), CONFIGURATION)


def test_of_a_database_that_cannot_be_read_halves_do_not_count(tmp_path: Path) -> None:
    """Halves of values in free pages, beside a whole one."""
    old = entry("slipway-1", b"old" * 50)
    path = stored(tmp_path, HALF, old[:-90] + b"\0" * 90, entry("slipway-1", b"a" * 900))
    assert snapshot.open_one(path, CONFIGURATION) == ["slipway-1"]


def test_a_key_that_was_replaced_is_not_missed(tmp_path: Path) -> None:
    """Revisions of before, and free pages, still have what it has sealed: make backup works after a rotation."""
    new, other = b"/registry/secrets/default/kept", b"/registry/secrets/default/gone"
    path = tmp_path / "etcd.db"
    path.write_bytes(
        database(
            [
                (revision(5), entry("slipway-1", b"a", path=new)),
                (revision(6), entry("slipway-1", b"a", path=other)),
                (revision(7), entry("slipway-2", b"a", KEY[::-1], path=new)),
                (revision(8) + b"t", b"\x0a" + varint(len(other)) + other),
            ]
        )
        + entry("slipway-1", b"free")
    )
    assert b"slipway-1" in path.read_bytes()
    alone = render([Key("slipway-2", base64.b64encode(KEY[::-1]).decode())])
    assert snapshot.open_one(str(path), alone) == ["slipway-2"]
    with pytest.raises(SnapshotError, match=r"not in .*: slipway-2"):
        snapshot.open_one(str(path), render([Key("slipway-1", KEY64)]))


class Utility:
    """Stands in for etcdutl: makes the data folder that it is asked for."""

    def __init__(self, folder: Path, keys: int = 5, code: int = 0) -> None:
        self.folder, self.keys, self.code = folder, keys, code
        self.ran: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> tuple[int, str, str]:
        self.ran.append([*command])
        if "restore" in command:
            place = command[command.index("--data-dir") + 1].replace("/backup", str(self.folder))
            Path(place, "member").mkdir(parents=True)
        return self.code, json.dumps({"revision": 9, "totalKey": self.keys}), "broken"


def test_the_trial_is_beside_the_cluster_and_leaves_nothing(tmp_path: Path) -> None:
    utility = Utility(tmp_path)
    assert snapshot.try_out(utility, "etcd:1", str(tmp_path))["revision"] == 9
    assert list(tmp_path.iterdir()) == []
    assert all(command[:4] == ["ctr", "--namespace", "k8s.io", "run"] for command in utility.ran)
    for wrong, why in (
        (Utility(tmp_path, code=1), "etcdutl snapshot restore ends with 1: broken"),
        (Utility(tmp_path, 0), "no keys"),
    ):
        with pytest.raises(SnapshotError, match=why):
            snapshot.try_out(wrong, "etcd:1", str(tmp_path))
        assert list(tmp_path.iterdir()) == []


def test_it_becomes_the_data_of_one_member_far_beyond_its_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder = tmp_path / "etcd", tmp_path / "backup"
    folder.mkdir()
    data.mkdir()
    monkeypatch.setattr(snapshot, "DATA", str(data))
    utility = Utility(folder)
    snapshot.restore(utility, "etcd:1", str(folder), "ctrl", "192.0.2.1")
    assert (data / "member").is_dir()
    assert data.stat().st_mode & 0o777 == 0o700
    (command,) = utility.ran
    for pair in (
        ("--name", "ctrl"),
        ("--initial-cluster", "ctrl=https://192.0.2.1:2380"),
        ("--bump-revision", "1000000000"),
    ):
        assert command[command.index(pair[0]) + 1] == pair[1]
    assert "--mark-compacted" in command
    with pytest.raises(SnapshotError, match="has data of another cluster"):
        snapshot.restore(utility, "etcd:1", str(folder), "ctrl", "192.0.2.1")


def test_a_disk_of_its_own_gets_the_data_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, folder = tmp_path / "etcd", tmp_path / "backup"
    (data / "lost+found").mkdir(parents=True)
    folder.mkdir()
    monkeypatch.setattr(snapshot, "DATA", str(data))

    def mounted(path: str) -> None:
        raise OSError(f"{path}: Device or resource busy")

    monkeypatch.setattr("os.rmdir", mounted)
    snapshot.restore(Utility(folder), "etcd:1", str(folder), "ctrl", "192.0.2.1")
    assert sorted(path.name for path in data.iterdir()) == ["lost+found", "member"]


def test_what_a_killed_run_has_left_of_etcdutl_goes() -> None:
    ran: list[str] = []

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        ran.append(" ".join(command[3:]))
        return 0, "slipway-etcdutl-7\nmine\n", ""

    snapshot.sweep(run)
    assert ran == [
        "containers list --quiet",
        "tasks delete --force slipway-etcdutl-7",
        "containers delete slipway-etcdutl-7",
    ]


@pytest.mark.parametrize(
    ("order", "signs"), [(("old", "new"), "old"), (("new", "old"), "new"), (("old", "new"), "new")]
)
def test_of_two_cas_of_a_rotation_the_one_that_signs_comes_back(
    tmp_path: Path, order: tuple[str, str], signs: str
) -> None:
    """Also where a run was cut off between the key and its certificate."""
    sets = {name: authorities(name) for name in ("old", "new")}
    files = {name: name.encode() for name in snapshot.KEYS}
    for name in snapshot.KEYS:
        if name.endswith(("ca.crt", "sa.pub")):
            files[name] = "".join(sets[each][name] for each in order).encode()
        elif name.endswith("ca.key"):
            files[name] = sets[signs][name].encode()
    snapshot.place(files, root=str(tmp_path))
    folder = tmp_path / "etc/kubernetes"
    for name in ("pki/ca.crt", "pki/front-proxy-ca.crt", "pki/etcd/ca.crt"):
        assert (folder / name).read_text() == sets[signs][name]
        assert (folder / name).stat().st_mode & 0o777 == 0o644
    # API servers know both keys of service accounts.
    assert (folder / "pki/sa.pub").read_bytes() == files["pki/sa.pub"]
    assert not list(folder.rglob("*.new"))


def test_keys_go_in_and_come_out_with_their_modes(tmp_path: Path) -> None:
    folder, target = tmp_path / "work", tmp_path / "out.tar"
    folder.mkdir()
    (folder / snapshot.SNAPSHOT).write_bytes(WHOLE)
    with pytest.raises(SnapshotError, match="is not there"):
        snapshot.pack(str(folder), str(target), root=str(tmp_path))
    files: dict[str, Any] = {name: name.encode() for name in snapshot.KEYS}
    snapshot.place(files, root=str(tmp_path))
    modes = {name: (tmp_path / "etc/kubernetes" / name).stat().st_mode & 0o777 for name in snapshot.KEYS}
    assert modes["pki/ca.crt"] == modes["pki/sa.pub"] == 0o644
    assert {mode for name, mode in modes.items() if not name.endswith((".crt", ".pub"))} == {0o600}
    snapshot.pack(str(folder), str(target), root=str(tmp_path))
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as archive:
        assert set(archive.getnames()) == {snapshot.SNAPSHOT, *snapshot.KEYS}


def test_the_image_that_runs_is_taken() -> None:
    assert snapshot.image_of(MANIFEST) == "registry.k8s.io/etcd:3.7.0-0"
    with pytest.raises(SnapshotError):
        snapshot.image_of("")
