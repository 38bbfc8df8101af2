"""Modules that change static pods of a controller: they finish what was cut off, and put back what does not come up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.plugins import Ended, load, run_module

from .test_etcd_user import MANIFEST as ETCD

ADDRESS = "192.0.2.1"
API = """\
spec:
  containers:
  - command:
    - kube-apiserver
{arguments}    image: registry.k8s.io/kube-apiserver:v1.37.0
"""


def api(**arguments: str) -> str:
    lines = "".join(f"    - --{name.replace('_', '-')}={value}\n" for name, value in arguments.items())
    return API.format(arguments=lines)


def without(done: Ended) -> dict[str, Any]:
    """What a module says, without what Ansible adds to it."""
    assert not done.failed, done.msg
    return {name: value for name, value in done.result.items() if name != "invocation"}


class Declared:
    """A controller whose kubelet runs what is declared, if that is ``good``."""

    def __init__(self, plugin: Any, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.plugin, self.root = plugin, root
        self.manifest, self.before = root / "manifests/pod.yaml", root / "before.yaml"
        self.manifest.parent.mkdir()
        self.good: Callable[[str], bool] = lambda _text: True
        self.ran: list[str] = []
        self.ill = ""
        self.noted: list[tuple[str, list[str]]] = []
        monkeypatch.setattr(plugin, "note", lambda call, paths: self.noted.append((call, paths)))
        monkeypatch.setattr(plugin, "MANIFEST", str(self.manifest))
        monkeypatch.setattr(plugin, "BEFORE", str(self.before))
        monkeypatch.setattr(plugin.lock, "FOLDER", str(root / "run"))
        monkeypatch.setattr(plugin, "wait_until", lambda well, _seconds: well())
        monkeypatch.setattr(plugin, "api_is_well", lambda _address: self.ill)
        monkeypatch.setattr(plugin.AnsibleModule, "run_command", lambda _self, command, **_: self.run(command))

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.ran.append(" ".join(command))
        return 0, "", ""

    @property
    def runs(self) -> str:
        """The manifest that is running; empty where what is declared does not come up."""
        text = self.manifest.read_text()
        return text if self.good(text) else ""


class Server(Declared):
    """One of an API server."""

    def __init__(self, plugin: Any, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        super().__init__(plugin, monkeypatch, root)
        self.folder = root / "audit"
        self.folder.mkdir()
        self.wanted = {"profiling": "false", "audit-log-path": "/log"}
        self.fails = ""
        monkeypatch.setattr(plugin, "CONFIG", str(root / "config.yml"))
        monkeypatch.setattr(plugin, "arguments_here", lambda: plugin.declared(self.runs))

    def run(self, command: list[str]) -> tuple[int, str, str]:
        super().run(command)
        if self.fails and self.fails in self.ran[-1]:
            return 1, "", "no"
        if "control-plane" in command:
            self.manifest.write_text(api(**{name.replace("-", "_"): value for name, value in self.wanted.items()}))
        return 0, "", ""

    def play(self, *, check: bool = False, version: str = "1.37.0") -> Ended:
        given = {
            "config": "kind: InitConfiguration",
            "arguments": [{"name": name, "value": value} for name, value in self.wanted.items()],
            "version": version,
            "address": ADDRESS,
            "files_folder": str(self.folder),
            "call": "a-call",
        }
        return run_module(self.plugin, given, check=check)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    return Server(load("modules", "api_server"), monkeypatch, tmp_path)


def test_an_api_server_with_the_arguments_of_the_page_is_left(server: Server) -> None:
    # Those that an operator has added are not ours to remove.
    server.manifest.write_text(api(profiling="false", audit_log_path="/log", goaway_chance="0.01"))
    done = server.play()
    assert not done.result["changed"]
    assert server.ran == []
    assert server.noted == [("a-call", [str(server.manifest), str(server.before), str(server.folder)])]


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ({"profiling": "false"}, ["audit-log-path"]),
        ({"profiling": "true", "audit_log_path": "/log"}, ["profiling"]),
        ({"profiling": "false", "audit_log_path": "/log", "audit_policy_file": "/old"}, ["audit-policy-file"]),
    ],
)
def test_arguments_that_differ_are_stored_in_the_cluster_and_then_declared(
    server: Server, there: dict[str, str], told: list[str]
) -> None:
    server.manifest.write_text(api(**there))
    assert without(server.play(check=True)) == {"changed": True, "arguments": told}
    assert server.ran == []
    assert without(server.play()) == {"changed": True, "arguments": told}
    phases = [line.removeprefix("kubeadm init phase ").partition(" --config")[0] for line in server.ran]
    assert phases == ["upload-config kubeadm", "control-plane apiserver"]
    assert not server.before.exists()
    assert not (server.root / "config.yml").exists()
    assert not server.play().result["changed"]


def test_an_api_server_that_does_not_come_up_is_declared_as_it_was(server: Server) -> None:
    before = api(profiling="false")
    server.manifest.write_text(before)
    server.good = lambda text: text == before
    done = server.play()
    assert done.failed
    assert "[api-server]" in done.result["msg"]
    assert "declared as it was before, and is well" in done.result["msg"]
    assert server.manifest.read_text() == before
    assert not server.before.exists()


def test_a_change_that_was_cut_off_is_finished_or_put_back(server: Server) -> None:
    before, after = api(profiling="false"), api(profiling="false", audit_log_path="/log")
    server.manifest.write_text(after)
    server.before.write_text(before)
    assert server.play().result["changed"]
    assert not server.before.exists()
    server.before.write_text(before)
    server.good = lambda text: text == before
    assert server.play().failed
    assert server.manifest.read_text() == before


def test_what_cannot_be_stored_is_not_declared(server: Server) -> None:
    server.manifest.write_text(api(profiling="true"))
    server.fails = "upload-config"
    done = server.play()
    assert done.failed
    assert "[kubeadm-failed]" in done.result["msg"]
    assert server.manifest.read_text() == api(profiling="true")


def test_another_release_and_a_machine_without_one_are_left(server: Server) -> None:
    assert not server.play().result["changed"]
    server.manifest.write_text(api(profiling="true"))
    assert not server.play(version="1.38.0").result["changed"]
    assert server.ran == []
    assert server.noted == []


def test_policies_that_no_argument_names_are_removed(server: Server) -> None:
    used, old = server.folder / "used.yml", server.folder / "old.yml"
    used.touch()
    old.touch()
    server.wanted["audit-policy-file"] = str(used)
    server.manifest.write_text(api(profiling="false", audit_log_path="/log", audit_policy_file=str(used)))
    assert server.play(check=True).result["changed"]
    assert old.exists()
    assert server.play().result["changed"]
    assert used.exists()
    assert not old.exists()
    assert not server.play().result["changed"]


class Member(Declared):
    """One of etcd, which belongs to root at first."""

    def __init__(self, plugin: Any, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        super().__init__(plugin, monkeypatch, root)
        self.ids: tuple[int, int] | None = None
        self.owned: list[tuple[int, int]] = []
        self.etcd = ""
        self.whole = True
        # The library as the module has it.
        self.ready = ready = sys.modules[plugin.wish.__module__]
        for name in ("PATCHES", "DATA"):
            monkeypatch.setattr(ready, name, str(root / name.lower()))
        monkeypatch.setattr(ready, "PATCH", str(root / "patches/etcd.yaml"))
        for module in (plugin, ready):
            monkeypatch.setattr(module, "account", lambda: self.ids)
            monkeypatch.setattr(module, "own", self.own)
            monkeypatch.setattr(module, "follow", lambda _ids, **_: self.whole)
        monkeypatch.setattr(plugin, "etcd_is_well", lambda: self.etcd)
        monkeypatch.setattr(plugin, "processes", lambda: {"etcd": 1} if self.runs else {})
        monkeypatch.setattr(plugin, "user_of", lambda process: plugin.runs_as(self.runs) if process else None)

    def run(self, command: list[str]) -> tuple[int, str, str]:
        super().run(command)
        if command[0] == "useradd":
            self.ids = (998, 997)
        return 0, "", ""

    def own(self, ids: tuple[int, int]) -> bool:
        self.owned.append(ids)
        return False

    def play(self, *, check: bool = False) -> Ended:
        return run_module(self.plugin, {"address": ADDRESS, "call": "a-call"}, check=check)


@pytest.fixture
def member(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Member:
    return Member(load("modules", "etcd_user"), monkeypatch, tmp_path)


def test_a_machine_that_is_in_no_cluster_yet_is_made_ready(member: Member) -> None:
    assert without(member.play(check=True)) == {"changed": True, "moved": False}
    assert member.ran == []
    assert without(member.play()) == {"changed": True, "moved": False}
    assert (member.root / "patches/etcd.yaml").read_text() == member.ready.patch(998, 997)
    assert (member.root / "data").stat().st_mode & 0o777 == 0o700
    assert without(member.play()) == {"changed": False, "moved": False}
    assert member.noted == []


def test_etcd_is_moved_to_its_user_once(member: Member) -> None:
    member.manifest.write_text(ETCD)
    assert without(member.play(check=True)) == {"changed": True, "moved": True}
    assert without(member.play()) == {"changed": True, "moved": True}
    assert member.manifest.read_text() == member.plugin.moved(ETCD, 998, 997)
    # Before it stops, and what it wrote meanwhile.
    assert member.owned == [(998, 997)] * 2
    assert not member.before.exists()
    assert without(member.play()) == {"changed": False, "moved": False}
    assert [call for call, _ in member.noted] == ["a-call"] * 2


def test_a_user_that_cannot_be_made_is_told(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "run", lambda _command: (9, "", "useradd: cannot lock /etc/passwd"))
    done = member.play()
    assert done.failed
    assert done.result["error_id"] == "etcd-user"
    assert "the user etcd cannot be made: useradd: cannot lock /etc/passwd" in done.result["msg"]


def test_it_is_not_moved_while_a_member_is_not_healthy(member: Member) -> None:
    member.manifest.write_text(ETCD)
    member.etcd = "not healthy: ctrl-2"
    assert without(member.play())["moved"] is False
    assert member.manifest.read_text() == ETCD
    # kubeadm finds its patches all the same.
    assert (member.root / "patches/etcd.yaml").exists()
    assert member.play().result["changed"] is False
    assert member.noted == []


def test_etcd_that_does_not_come_up_as_its_user_goes_on_as_root(member: Member) -> None:
    member.manifest.write_text(ETCD)
    member.good = lambda text: text == ETCD
    done = member.play()
    assert done.failed
    assert "[etcd-user]" in done.result["msg"]
    assert "declared as it was before, and is well" in done.result["msg"]
    assert member.manifest.read_text() == ETCD
    assert not member.before.exists()


@pytest.mark.parametrize("good", [True, False])
def test_a_move_that_was_cut_off_is_finished_or_put_back(member: Member, good: bool) -> None:
    member.ids = (998, 997)
    member.manifest.write_text(member.plugin.moved(ETCD, 998, 997))
    member.before.write_text(ETCD)
    member.good = lambda text: good or text == ETCD
    done = member.play()
    assert done.failed is not good
    assert member.plugin.runs_as(member.manifest.read_text()) == (998 if good else 0)
    assert not member.before.exists()


def test_keys_that_are_not_whole_leave_it_as_it_is(member: Member) -> None:
    member.manifest.write_text(ETCD)
    member.whole = False
    assert "[etcd-user]" in member.play().result["msg"]
    assert member.manifest.read_text() == ETCD


def test_a_manifest_that_somebody_has_changed_is_left_and_said(member: Member) -> None:
    changed = ETCD.replace("path: /etc/kubernetes/pki/etcd", "path: /etc/pki")
    member.manifest.write_text(changed)
    assert "goes on as root" in member.play().result["msg"]
    assert member.manifest.read_text() == changed
