"""Files of a bundle on a machine: fetched once, checked, replaced in one step."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from slipway.node import fetch


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def run(function: Any, items: Any) -> list[Any]:
    return [function(item) for item in items]


@pytest.fixture
def kubelet(tmp_path: Path) -> dict[str, Any]:
    source = tmp_path / "upstream" / "kubelet"
    source.parent.mkdir()
    source.write_bytes(b"kubelet 1")
    return {
        "name": "kubelet",
        "url": source.as_uri(),
        "sha256": digest(b"kubelet 1"),
        "dest": str(tmp_path / "bin" / "kubelet"),
        "mode": "0755",
    }


def tar(path: Path, files: dict[str, bytes]) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return digest(path.read_bytes())


def test_a_file_is_placed_once_with_its_mode(tmp_path: Path, kubelet: dict[str, Any]) -> None:
    record = str(tmp_path / "record.json")
    assert fetch.ensure([kubelet], record, 5, False, run) == ["kubelet"]
    placed = Path(kubelet["dest"])
    assert placed.read_bytes() == b"kubelet 1"
    assert placed.stat().st_mode & 0o777 == 0o755
    assert fetch.ensure([kubelet], record, 5, False, run) == []


def test_programs_can_be_reached_behind_any_umask(tmp_path: Path) -> None:
    source = tmp_path / "a.tgz"
    sha256 = tar(source, {"plugins/deep/tool": b"t"})
    folder, record = tmp_path / "opt/cni", tmp_path / "lib/slipway/record.json"
    item = {"name": "a", "url": source.as_uri(), "sha256": sha256, "dest": str(folder), "mode": "0755", "archive": True}
    before = os.umask(0o077)
    try:
        fetch.ensure([item], str(record), 5, False, run)
    finally:
        os.umask(before)
    tool = folder / "plugins/deep/tool"
    ways = [path for path in (*tool.parents, *record.parents) if path.is_relative_to(tmp_path) and path != tmp_path]
    assert {oct(path.stat().st_mode & 0o777) for path in (tool, *ways)} == {"0o755"}


def test_check_mode_names_what_is_missing_and_places_nothing(tmp_path: Path, kubelet: dict[str, Any]) -> None:
    assert fetch.ensure([kubelet], str(tmp_path / "record.json"), 5, True, run) == ["kubelet"]
    assert not Path(kubelet["dest"]).exists()


@pytest.mark.parametrize("damage", ["gone", "changed", "record"])
def test_what_was_changed_behind_our_back_is_fetched_again(
    tmp_path: Path, kubelet: dict[str, Any], damage: str
) -> None:
    record = tmp_path / "record.json"
    fetch.ensure([kubelet], str(record), 5, False, run)
    if damage == "gone":
        Path(kubelet["dest"]).unlink()
    elif damage == "changed":
        Path(kubelet["dest"]).write_bytes(b"something else")
    else:
        record.write_text("[half a rec")
    assert fetch.ensure([kubelet], str(record), 5, False, run) == ["kubelet"]
    assert Path(kubelet["dest"]).read_bytes() == b"kubelet 1"


def test_a_new_sum_means_a_new_file(tmp_path: Path, kubelet: dict[str, Any]) -> None:
    record = str(tmp_path / "record.json")
    fetch.ensure([kubelet], record, 5, False, run)
    (tmp_path / "upstream" / "kubelet").write_bytes(b"kubelet 2")
    assert fetch.ensure([{**kubelet, "sha256": digest(b"kubelet 2")}], record, 5, False, run) == ["kubelet"]
    assert Path(kubelet["dest"]).read_bytes() == b"kubelet 2"


def test_a_wrong_sum_is_refused_and_leaves_the_old_file(
    tmp_path: Path, kubelet: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = str(tmp_path / "record.json")
    fetch.ensure([kubelet], record, 5, False, run)
    monkeypatch.setattr("time.sleep", lambda _: None)
    wrong = {**kubelet, "sha256": "0" * 64}
    with pytest.raises(fetch.FetchError, match=f"sha256 is {kubelet['sha256']}, the bundle says {'0' * 64}"):
        fetch.ensure([wrong], record, 5, False, run)
    assert Path(kubelet["dest"]).read_bytes() == b"kubelet 1"
    assert [path.name for path in Path(kubelet["dest"]).parent.iterdir()] == ["kubelet"]


def test_one_failure_does_not_lose_what_the_others_did(
    tmp_path: Path, kubelet: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    record = str(tmp_path / "record.json")
    lost = {**kubelet, "name": "kubeadm", "url": kubelet["url"] + "-gone", "dest": kubelet["dest"] + "adm"}
    with pytest.raises(fetch.FetchError, match=r"kubeadm: .*could not be had"):
        fetch.ensure([lost, kubelet], record, 5, False, run)
    assert fetch.ensure([kubelet], record, 5, False, run) == []


def test_an_archive_is_unpacked_by_pattern_and_new_name(tmp_path: Path) -> None:
    source = tmp_path / "a.tgz"
    sha256 = tar(source, {"./v1/tool": b"t", "v1/README": b"r", "v1/../evil": b"e", "other": b"o"})
    item = {
        "name": "a", "url": source.as_uri(), "sha256": sha256, "dest": str(tmp_path / "bin"), "mode": "0755",
        "archive": True, "strip": 1, "only": ["tool"], "rename": {"tool": "newtool"},
    }  # fmt: skip
    assert fetch.ensure([item], str(tmp_path / "record.json"), 5, False, run) == ["a"]
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == ["newtool"]
    assert fetch.ensure([{**item, "only": ["tool", "README"]}], str(tmp_path / "record.json"), 5, True, run) == ["a"]


def test_members_never_leave_the_folder(tmp_path: Path) -> None:
    tar(tmp_path / "a.tgz", {"../evil": b"e", "/etc/passwd": b"p", "good": b"g"})
    with tarfile.open(tmp_path / "a.tgz") as archive:
        assert [name for _, name in fetch.members(archive, 0, [])] == ["etc/passwd", "good"]


@pytest.mark.parametrize("broken", ["nothing", "no tar"])
def test_an_archive_without_what_is_asked_for_is_refused(tmp_path: Path, broken: str) -> None:
    source = tmp_path / "a.tgz"
    sha256 = tar(source, {"x": b"x"})
    if broken == "no tar":
        source.write_bytes(b"no tar")
        sha256 = digest(b"no tar")
    item = {
        "name": "a", "url": source.as_uri(), "sha256": sha256, "dest": str(tmp_path / "bin"), "mode": "0755",
        "archive": True, "only": ["tool"],
    }  # fmt: skip
    with pytest.raises(fetch.FetchError, match="a: "):
        fetch.ensure([item], str(tmp_path / "record.json"), 5, False, run)


def test_what_a_killed_run_left_behind_is_swept_away(tmp_path: Path, kubelet: dict[str, Any]) -> None:
    folder = Path(kubelet["dest"]).parent
    folder.mkdir()
    (folder / ".slipway-kubelet-4194305").write_bytes(b"half")
    (folder / ".slipway-other-1").write_bytes(b"of a process that lives")
    (folder / "user-file").write_bytes(b"u")
    fetch.ensure([kubelet], str(tmp_path / "record.json"), 5, False, run)
    assert sorted(path.name for path in folder.iterdir()) == [".slipway-other-1", "kubelet", "user-file"]
