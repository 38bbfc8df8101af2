"""The module that writes files and keeps units current, on real files and with a stand-in for systemctl."""

from __future__ import annotations

import getpass
import os
import stat
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.support.plugins import Ended, load, run_module

UNIT = {"name": "thing.service", "enabled": True, "state": "started"}
ACTIVE = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "UnitFileState": "enabled",
    "NeedDaemonReload": "no",
    "ActiveEnterTimestamp": "Thu 2037-01-01 00:00:00.000000 UTC",
}
STOPPED = {**ACTIVE, "ActiveState": "inactive", "ActiveEnterTimestamp": ""}


class Systemd:
    """What ``systemctl show`` says of every unit, and what was asked for besides."""

    def __init__(self) -> None:
        self.shown = dict(ACTIVE)
        self.refused = ""
        self.asked: list[str] = []
        self.condition = True

    def __call__(self, command: list[str], **_more: Any) -> tuple[int, str, str]:
        program, verb, *rest = command
        if program == "journalctl":
            return 0, "it broke\n", ""
        if verb == "show":
            return 0, "".join(f"{key}={value}\n" for key, value in self.shown.items()), ""
        self.asked.append(" ".join([verb, *rest]))
        if verb == self.refused:
            return 1, "", "Job failed.\n"
        if verb in ("start", "restart") and self.condition:
            self.shown = dict(ACTIVE)
        return 0, "", ""


@pytest.fixture
def systemd() -> Systemd:
    return Systemd()


@pytest.fixture
def plugin(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> Any:
    loaded = load("modules", "node_service")
    monkeypatch.setattr(loaded.AnsibleModule, "run_command", lambda _self, command, **more: systemd(command, **more))
    return loaded


def write(plugin: Any, *files: dict[str, Any], check: bool = False, diff: bool = False, **more: Any) -> Ended:
    files = tuple({"owner": getpass.getuser(), **file} for file in files)
    return run_module(plugin, {"files": list(files), "files_record": "", **more}, check=check, diff=diff)


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_written_once_with_its_folders(plugin: Any, tmp_path: Path) -> None:
    path = tmp_path / "new/deep/file.conf"
    spec = {"path": str(path), "content": "a = 1\n", "mode": "0640"}
    assert write(plugin, spec).result["written"] == [str(path)]
    assert (path.read_text(), mode(path), mode(path.parent)) == ("a = 1\n", 0o640, 0o755)
    second = write(plugin, spec)
    assert (second.result["changed"], second.result["written"]) == (False, [])
    assert [entry.name for entry in path.parent.iterdir()] == ["file.conf"]


@pytest.mark.usefixtures("strict_umask")
@pytest.mark.parametrize(("file", "folder"), [("0644", 0o755), ("0600", 0o700)])
def test_new_folders_are_as_open_as_their_file_behind_any_umask(
    plugin: Any, tmp_path: Path, file: str, folder: int
) -> None:
    path = tmp_path / "usr/lib/agent.py"
    write(plugin, {"path": str(path), "content": "x", "mode": file})
    assert (mode(path.parent.parent), mode(path.parent), oct(mode(path))) == (folder, folder, f"0o{file[1:]}")


def test_the_folder_of_a_private_file_is_private(plugin: Any, tmp_path: Path) -> None:
    path = tmp_path / "keys/secret.key"
    write(plugin, {"path": str(path), "secret": "hidden", "mode": "0600"})
    assert (path.read_text(), mode(path), mode(path.parent)) == ("hidden", 0o600, 0o700)


def test_a_mode_that_somebody_changed_is_set_again(plugin: Any, tmp_path: Path) -> None:
    path = tmp_path / "file.conf"
    spec = {"path": str(path), "content": "a\n", "mode": "0600"}
    write(plugin, spec)
    path.chmod(0o644)
    assert write(plugin, spec).result["changed"]
    assert mode(path) == 0o600


def test_check_mode_says_what_it_would_write_and_writes_nothing(plugin: Any, tmp_path: Path) -> None:
    path, gone = tmp_path / "file.conf", tmp_path / "gone.conf"
    gone.write_text("old\n")
    specs = ({"path": str(path), "content": "a\n"}, {"path": str(gone), "state": "absent"})
    ended = write(plugin, *specs, check=True, diff=True)
    assert ended.result["written"] == [str(path), str(gone)]
    assert [(one["before"], one["after"]) for one in ended.result["diff"]] == [("", "a\n"), ("old\n", "")]
    assert (path.exists(), gone.read_text()) == (False, "old\n")


def test_a_difference_shows_no_secret(plugin: Any, tmp_path: Path) -> None:
    ended = write(plugin, {"path": str(tmp_path / "key"), "secret": "hidden"}, diff=True)
    assert ended.result["diff"][0]["after"] == "(secret)\n"


def test_a_file_that_is_to_go_goes_once(plugin: Any, tmp_path: Path) -> None:
    path = tmp_path / "file.conf"
    path.write_text("old\n")
    assert write(plugin, {"path": str(path), "state": "absent"}).result["written"] == [str(path)]
    assert not path.exists()
    assert not write(plugin, {"path": str(path), "state": "absent"}).result["changed"]


@pytest.mark.parametrize(
    ("before", "spec", "after"),
    [
        ("theirs\n", {"content": "ours\n", "keep": True}, "theirs\n"),
        ("", {"content": "ours\n", "keep": True}, "ours\n"),
        ("# by slipway\nold\n", {"content": "ours\n", "only_over": "by slipway"}, "ours\n"),
        ("theirs\n", {"content": "ours\n", "only_over": "by slipway"}, "theirs\n"),
    ],
    ids=["kept", "nothing to keep", "ours before", "somebody's own"],
)
def test_what_is_there_decides_where_the_file_says_so(
    before: str, spec: dict[str, Any], after: str, plugin: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.conf"
    path.write_text(before)
    write(plugin, {"path": str(path), **spec})
    assert path.read_text() == after
    assert ("somebody's own" in capsys.readouterr().err) == ("only_over" in spec and after == "theirs\n")


def test_a_block_leaves_the_lines_of_others(plugin: Any, tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n127.0.1.1 node\n")
    spec = {"path": str(path), "block": True, "content": "192.0.2.1 node\n", "substitute": {"127.0.1.1": "192.0.2.1"}}
    write(plugin, spec)
    lines = path.read_text().splitlines()
    assert lines[0] == "127.0.0.1 localhost"
    assert "192.0.2.1 node" in lines
    assert not write(plugin, spec).result["changed"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("theirs", [None, "", "theirs", "theirs\n"], ids=["absent", "empty", "cut short", "whole"])
def test_an_empty_block_leaves_a_file_without_one_alone(
    plugin: Any, tmp_path: Path, theirs: str | None, check: bool
) -> None:
    path = tmp_path / "home/.ssh/authorized_keys"
    if theirs is not None:
        path.parent.mkdir(parents=True)
        path.write_text(theirs)
        path.chmod(0o640)
    ended = write(plugin, {"path": str(path), "block": True, "content": "", "mode": "0600"}, check=check, diff=True)
    assert (ended.result["changed"], ended.result["written"], ended.result["diff"]) == (False, [], [])
    if theirs is None:
        assert list(tmp_path.iterdir()) == []
    else:
        assert (path.read_text(), mode(path)) == (theirs, 0o640)


def test_an_empty_block_takes_out_the_one_that_is_there(plugin: Any, tmp_path: Path) -> None:
    path = tmp_path / "authorized_keys"
    path.write_text("theirs\n")
    block = {"path": str(path), "block": True, "mode": "0600"}
    write(plugin, {**block, "content": "ours"})
    assert "ours" in path.read_text()
    assert write(plugin, {**block, "content": ""}, check=True).result["written"] == [str(path)]
    assert "ours" in path.read_text()
    assert write(plugin, {**block, "content": ""}).result["written"] == [str(path)]
    assert path.read_text() == "theirs\n"
    assert not write(plugin, {**block, "content": ""}).result["changed"]


def test_a_file_may_come_from_another_one_of_the_machine(plugin: Any, tmp_path: Path) -> None:
    source, path = tmp_path / "source", tmp_path / "target"
    source.write_text("as it is\n")
    write(plugin, {"path": str(path), "source": str(source)})
    assert path.read_text() == "as it is\n"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"path": "relative/file"}, "leads nowhere"),
        ({"path": "~nobody-of-this-name/file"}, "no such user"),
        ({"path": "{0}/target", "source": "{0}/missing"}, "is not there"),
    ],
)
def test_what_cannot_be_written_is_named(plugin: Any, tmp_path: Path, spec: dict[str, str], said: str) -> None:
    ended = write(plugin, {key: value.format(tmp_path) for key, value in spec.items()})
    assert ended.failed
    assert said in ended.msg


def test_a_unit_that_is_as_wanted_is_left_alone(plugin: Any, systemd: Systemd) -> None:
    assert not run_module(plugin, {"units": [UNIT]}).result["changed"]
    assert systemd.asked == []


def test_a_unit_is_restarted_for_a_file_that_it_reads(plugin: Any, systemd: Systemd, tmp_path: Path) -> None:
    path = tmp_path / "file.conf"
    ended = write(plugin, {"path": str(path), "content": "a\n"}, units=[UNIT])
    assert (ended.result["actions"], systemd.asked) == (["restart thing.service"], ["restart thing.service"])
    other = write(plugin, {"path": str(path), "content": "b\n"}, units=[{**UNIT, "reads": ["/etc/other"]}])
    assert (other.result["written"], other.result["actions"]) == ([str(path)], [])


def test_a_unit_is_restarted_for_a_file_that_changed_after_its_start(
    plugin: Any, systemd: Systemd, tmp_path: Path
) -> None:
    """A run that was killed between the two wrote the file, and this one has nothing to write."""
    systemd.shown["ActiveEnterTimestamp"] = "Thu 2001-01-01 00:00:00.000000 UTC"
    watched = tmp_path / "watched"
    watched.touch()
    assert run_module(plugin, {"units": [{**UNIT, "watch": [str(watched)]}]}).result["actions"] == [
        "restart thing.service"
    ]
    systemd.shown["ActiveEnterTimestamp"] = "Thu 2001-01-01 00:00:00.000000 UTC"
    os.utime(watched, (2**32, 2**32))
    assert run_module(plugin, {"units": [{**UNIT, "watch": [str(watched)]}]}).result["actions"] == []


def test_a_unit_that_stands_still_is_started(plugin: Any, systemd: Systemd) -> None:
    systemd.shown = {**STOPPED, "UnitFileState": "disabled"}
    assert run_module(plugin, {"units": [UNIT]}).result["actions"] == ["enable thing.service", "start thing.service"]


def test_a_unit_whose_condition_does_not_hold_yet_is_no_change(plugin: Any, systemd: Systemd) -> None:
    systemd.shown, systemd.condition = dict(STOPPED), False
    ended = run_module(plugin, {"units": [UNIT]})
    assert (ended.result["changed"], systemd.asked) == (False, ["start thing.service"])


def test_systemd_reads_unit_files_anew_before_anything_is_started(plugin: Any, systemd: Systemd) -> None:
    systemd.shown = {**STOPPED, "NeedDaemonReload": "yes"}
    assert run_module(plugin, {"units": [UNIT]}).result["actions"] == ["daemon-reload", "start thing.service"]


def test_a_unit_file_that_was_just_written_is_read_before_its_unit_is_started(
    plugin: Any, systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit that systemd has not seen yet needs no reload in its own eyes."""
    monkeypatch.setattr(plugin, "UNIT_FOLDERS", (f"{tmp_path}/",))
    systemd.shown = dict(STOPPED)
    ended = write(plugin, {"path": str(tmp_path / "thing.service"), "content": "[Unit]\n"}, units=[UNIT])
    assert ended.result["actions"] == ["daemon-reload", "start thing.service"]


def test_check_mode_asks_systemctl_for_nothing(plugin: Any, systemd: Systemd) -> None:
    systemd.shown = {**STOPPED, "LoadState": "not-found"}
    ended = run_module(plugin, {"units": [UNIT]}, check=True)
    assert (ended.result["actions"], systemd.asked) == (["start thing.service"], [])


def test_a_unit_that_does_not_exist_is_named(plugin: Any, systemd: Systemd) -> None:
    systemd.shown["LoadState"] = "not-found"
    ended = run_module(plugin, {"units": [UNIT]})
    assert ended.failed
    assert "there is no unit thing.service" in ended.msg


def test_a_unit_that_is_not_there_does_not_run(plugin: Any, systemd: Systemd) -> None:
    systemd.shown = {**STOPPED, "LoadState": "not-found"}
    ended = run_module(plugin, {"units": [{"name": "thing.service", "state": "stopped"}]})
    assert (ended.failed, ended.result["changed"], ended.result["actions"]) == (False, False, [])


def test_a_unit_that_does_not_start_shows_its_journal(plugin: Any, systemd: Systemd) -> None:
    systemd.shown, systemd.refused = dict(STOPPED), "start"
    ended = run_module(plugin, {"units": [UNIT]})
    assert ended.failed
    assert "systemctl start thing.service failed: Job failed. [unit-failed]\n" in ended.msg
    assert "last lines of the journal of thing.service:\n    | it broke" in ended.msg


ITEM = {"name": "kubelet", "url": "http://mirror/kubelet", "sha256": "0" * 64, "dest": "/opt/kubelet"}


def test_what_is_missing_is_fetched_and_named(plugin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []

    def ensure(items: Any, record: str, timeout: int, pretend: bool, run: Any) -> list[str]:
        given.append((record, timeout, pretend, os.environ.get("SLIPWAY_TEST_PROXY")))
        return list(run(lambda item: item["name"], items))

    monkeypatch.setattr(plugin, "ensure", ensure)
    monkeypatch.setenv("SLIPWAY_TEST_PROXY", "")
    record = str(tmp_path / "record.json")
    arguments = {"artifacts": [ITEM], "record": record, "environment": {"SLIPWAY_TEST_PROXY": "http://proxy:3128"}}
    ended = run_module(plugin, arguments, check=True)
    assert (ended.result["changed"], ended.result["installed"]) == (True, ["kubelet"])
    assert given == [(record, 60, True, "http://proxy:3128")]


def test_an_item_that_cannot_be_had_is_named_and_nothing_is_written(
    plugin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def ensure(*_arguments: Any) -> list[str]:
        raise plugin.FetchError("http://mirror/kubelet: has another sum")

    monkeypatch.setattr(plugin, "ensure", ensure)
    ended = write(plugin, {"path": str(tmp_path / "file"), "content": "x"}, artifacts=[ITEM])
    assert ended.failed
    assert ended.msg.startswith(
        "http://mirror/kubelet: has another sum [download-failed]\nlook at: systemctl status nginx"
    )
    assert not (tmp_path / "file").exists()


def test_a_text_taken_from_the_machine_is_shown_in_no_difference(plugin: Any, tmp_path: Path) -> None:
    source = tmp_path / "admin.conf"
    source.write_text("client-key-data: 4711\n")
    spec = {"path": str(tmp_path / "config"), "source": str(source)}
    ended = write(plugin, spec, diff=True)
    assert (tmp_path / "config").read_text() == source.read_text()
    assert ended.result["diff"]
    assert "4711" not in str(ended.result)


class Answers(BaseHTTPRequestHandler):
    """Answers 503 until it was asked twice."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200 if type(self).asked > 2 else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    handler = type("Once", (Answers,), {})
    server = HTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v2/"
    server.shutdown()
    server.server_close()


def test_a_unit_is_up_when_it_answers(plugin: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "PAUSE", 0.01)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    unit = {**UNIT, "answers": [url]}
    assert not run_module(plugin, {"units": [unit]}, check=True).failed
    assert not run_module(plugin, {"units": [unit]}).failed


def test_a_unit_that_does_not_answer_in_time_is_named_with_the_reason(
    plugin: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "PATIENCE", 0)
    ended = run_module(plugin, {"units": [{**UNIT, "answers": [url]}]})
    assert ended.failed
    assert f"thing.service is up, and {url} does not answer after 0 s: HTTP Error 503" in ended.msg
    assert "    | it broke" in ended.msg
    assert "journalctl -u thing.service" in ended.msg
