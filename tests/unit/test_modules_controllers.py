"""Modules that run on controllers and hosts: what they do, refuse, and say in check mode."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import os
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slipway.cluster.sealing import Key, render
from slipway.node.etcd import Member

from tests.support.plugins import load, run_module
from tests.support.sealed import KEY, entry

DAY = 86400


def certificates(*seconds: int) -> str:
    names = ("admin.conf", "apiserver", "etcd-server")
    found = [{"name": name, "residualTime": left} for name, left in zip(names, seconds, strict=True)]
    return json.dumps({"certificates": found})


class Controller:
    """Stands in for kubeadm, systemctl and processes of a controller."""

    def __init__(self, plugin: Any, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.root = root
        library = plugin.renewal
        for name in ("keep", "put_back", "settle", "forget"):
            monkeypatch.setattr(library, name, functools.partial(getattr(library, name), root=str(root)))
        monkeypatch.setattr(plugin.lock, "FOLDER", str(root / "run"))
        self.left = [400 * DAY] * 3
        self.stale: dict[str, int] = {}
        self.running = {"etcd": 1, "kube-apiserver": 2}
        self.ran: list[str] = []
        self.fails = ""
        self.ill: dict[str, str] = {"etcd": "", "api": ""}
        # Certificates that kubeadm writes, and how many it has written when it is killed.
        self.files = {name: self.write(name, "old") for name in ("pki/apiserver.crt", "pki/apiserver.key")}
        self.killed = False
        # Whether parts end only when they are killed.
        self.stubborn = False
        monkeypatch.setattr(plugin.AnsibleModule, "run_command", lambda _self, command, **_: self.run(command))
        monkeypatch.setattr(library, "stale", lambda: dict(self.stale))
        monkeypatch.setattr(library, "processes", lambda: dict(self.running))
        monkeypatch.setattr(library, "etcd_is_well", lambda: self.ill["etcd"])
        monkeypatch.setattr(library, "api_is_well", lambda _address: self.ill["api"])
        monkeypatch.setattr("os.kill", self.kill)
        # The user of etcd, whose keys are followed.
        monkeypatch.setattr(library, "account", lambda: (998, 997))
        monkeypatch.setattr(library, "follow", lambda _ids: self.ran.append("follow"))
        monkeypatch.setattr(library, "PAUSE", 0.001)

    def run(self, command: list[str]) -> tuple[int, str, str]:
        line = " ".join(command)
        self.ran.append(line)
        if self.fails and self.fails in line:
            return 1, "", "no"
        if "check-expiration" in line:
            return 0, certificates(*self.left), ""
        if "renew" in line and self.killed:
            self.write("pki/apiserver.key", "new")
            self.write("pki/apiserver.crt", "")
            raise KeyboardInterrupt
        if "renew" in line:
            self.left = [400 * DAY] * 3
            self.stale = {"etcd": 1, "kube-apiserver": 2}
        return 0, "", ""

    def write(self, name: str, text: str) -> Path:
        path = self.root / "etc/kubernetes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def kill(self, process: int, sent: int) -> None:
        if sent == signal.SIGTERM and self.stubborn:
            return
        if sent == signal.SIGKILL and process not in self.running.values():
            raise ProcessLookupError
        (part,) = (name for name, number in self.running.items() if number == process)
        self.ran.append(f"kill {part}")
        self.running[part] += 100
        del self.stale[part]


@pytest.fixture
def renewal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Any, Controller]:
    plugin = load("modules", "control_plane_certificates")
    return plugin, Controller(plugin, monkeypatch, tmp_path)


GIVEN = {"address": "192.0.2.1", "timeout": 1}


def test_certificates_that_last_are_left(renewal: tuple[Any, Controller]) -> None:
    plugin, controller = renewal
    ended = run_module(plugin, GIVEN).result
    assert (ended["changed"], ended["renewed"], ended["days"]) == (False, [], 400)
    assert controller.ran == ["kubeadm certs check-expiration -o json", "follow"]


def test_those_that_end_soon_are_renewed_and_what_reads_them_starts_again(renewal: tuple[Any, Controller]) -> None:
    plugin, controller = renewal
    controller.left = [400 * DAY, 3 * DAY, 100 * DAY]
    ended = run_module(plugin, GIVEN, check=True).result
    assert (ended["changed"], ended["renewed"], ended["restarted"], ended["days"]) == (
        True,
        ["apiserver", "etcd-server"],
        [],
        3,
    )
    assert not [line for line in controller.ran if "renew" in line or "kill" in line]
    ended = run_module(plugin, GIVEN).result
    assert (ended["restarted"], ended["days"]) == (["etcd", "kube-apiserver"], 400)
    assert [line for line in controller.ran if line.startswith("kill")] == ["kill etcd", "kill kube-apiserver"]
    assert controller.ran[-2].startswith("systemctl try-restart slipway-serving.service")
    # etcd reads copies of its keys.
    assert max(number for number, line in enumerate(controller.ran) if "renew" in line) < controller.ran.index("follow")
    assert not run_module(plugin, GIVEN).result["changed"]


def test_a_run_that_was_cut_off_starts_again_what_is_left(renewal: tuple[Any, Controller]) -> None:
    plugin, controller = renewal
    controller.stale = {"kube-apiserver": 2}
    ended = run_module(plugin, GIVEN).result
    assert (ended["renewed"], ended["restarted"]) == ([], ["kube-apiserver"])


def test_a_renewal_that_is_killed_while_kubeadm_writes_begins_with_what_was_there(
    renewal: tuple[Any, Controller],
) -> None:
    plugin, controller = renewal
    controller.left, controller.killed = [DAY] * 3, True
    with pytest.raises(KeyboardInterrupt):
        run_module(plugin, GIVEN)
    assert {path.read_text() for path in controller.files.values()} == {"new", ""}
    controller.killed, controller.fails = False, "renew"
    # What is half-written would keep kubeadm from saying when certificates end.
    assert "[kubeadm-failed]" in run_module(plugin, GIVEN).msg
    assert {path.read_text() for path in controller.files.values()} == {"old"}
    controller.fails = ""
    assert run_module(plugin, GIVEN).result["renewed"] == ["admin.conf", "apiserver", "etcd-server"]
    assert not list((controller.root / "var/lib/slipway").iterdir())


def test_what_a_run_before_was_killed_over_is_waited_for(
    renewal: tuple[Any, Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, controller = renewal
    controller.left = [DAY] * 3
    starting = iter(["connection refused", "connection refused"])
    monkeypatch.setattr(plugin.renewal, "etcd_is_well", lambda: next(starting, ""))
    assert run_module(plugin, GIVEN).result["changed"]
    # The last part was ended, and is not back.
    del controller.running["kube-apiserver"]
    controller.ill["api"] = "connection refused"
    assert "[control-plane-not-well]" in run_module(plugin, GIVEN).msg
    controller.ill["api"] = ""
    assert not run_module(plugin, GIVEN).result["changed"]


def test_two_renewals_do_not_work_at_once(renewal: tuple[Any, Controller]) -> None:
    plugin, _ = renewal
    held = plugin.lock.take(0)
    assert "[machine-busy]" in run_module(plugin, GIVEN).msg
    os.close(held)
    assert not run_module(plugin, GIVEN).failed


def test_nothing_stops_while_etcd_is_not_well_unless_its_certificates_have_ended(
    renewal: tuple[Any, Controller],
) -> None:
    plugin, controller = renewal
    controller.left, controller.ill["etcd"] = [DAY] * 3, "not healthy: ctrl-2"
    ended = run_module(plugin, GIVEN)
    assert "[no-quorum]" in ended.msg
    assert not [line for line in controller.ran if "renew" in line]
    controller.left = [-DAY] * 3
    assert run_module(plugin, GIVEN).result["restarted"] == ["etcd", "kube-apiserver"]


def test_a_part_that_does_not_come_back_is_named(renewal: tuple[Any, Controller]) -> None:
    plugin, controller = renewal
    controller.left, controller.ill["api"] = [DAY] * 3, "connection refused"
    ended = run_module(plugin, GIVEN)
    assert "kube-apiserver is not well" in ended.msg
    assert "connection refused" in ended.msg
    assert "[control-plane-not-well]" in ended.msg


def test_a_part_that_does_not_end_by_itself_is_ended(
    renewal: tuple[Any, Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, controller = renewal
    controller.left, controller.stubborn = [DAY] * 3, True
    assert "[control-plane-not-well]" in run_module(plugin, GIVEN).msg
    monkeypatch.setattr(plugin.renewal, "GRACE", 0.05)
    assert run_module(plugin, GIVEN).result["restarted"] == ["etcd", "kube-apiserver"]


@pytest.mark.parametrize("fails", ["check-expiration", "renew"])
def test_a_kubeadm_that_fails_is_quoted(renewal: tuple[Any, Controller], fails: str) -> None:
    plugin, controller = renewal
    controller.left, controller.fails = [DAY] * 3, fails
    ended = run_module(plugin, GIVEN)
    assert "[kubeadm-failed]" in ended.msg
    assert "no" in ended.msg


# --- members of etcd


CONTROLLERS = {"ctrl": "192.0.2.1", "ctrl-2": "192.0.2.2", "ctrl-3": "192.0.2.3"}


class Members:
    """Stands in for the etcd of the controller that the module runs on."""

    def __init__(self, plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there = [
            Member(name, name, f"https://{address}:2380", f"https://{address}:2379", healthy=True)
            for name, address in CONTROLLERS.items()
        ]
        self.removed: list[str] = []
        self.silent = ""
        monkeypatch.setattr(plugin, "Etcd", lambda: self)
        self.error = plugin.EtcdError

    def members(self) -> list[Member]:
        if self.silent:
            raise self.error(self.silent)
        return list(self.there)

    def remove(self, member: Member) -> None:
        self.removed.append(member.id)
        self.there.remove(member)

    def is_down(self, *names: str) -> None:
        self.there = [dataclasses.replace(one, healthy=one.name not in names) for one in self.there]


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Members]:
    plugin = load("modules", "etcd_member")
    return plugin, Members(plugin, monkeypatch)


def test_the_member_of_a_controller_is_taken_out_once(members: tuple[Any, Members]) -> None:
    plugin, etcd = members
    ended = run_module(plugin, {"name": "ctrl-3"}).result
    assert (ended["changed"], ended["removed"], etcd.removed) == (True, ["ctrl-3"], ["ctrl-3"])
    assert [one["name"] for one in ended["members"]] == ["ctrl", "ctrl-2"]
    again = run_module(plugin, {"name": "ctrl-3"}).result
    assert (again["changed"], again["removed"], etcd.removed) == (False, [], ["ctrl-3"])


@pytest.mark.parametrize("looks", [{"check": True}, {"only_look": True}], ids=str)
def test_whoever_only_looks_removes_nothing(members: tuple[Any, Members], looks: dict[str, bool]) -> None:
    plugin, etcd = members
    given = {"name": "ctrl-3", "only_look": looks.get("only_look", False)}
    ended = run_module(plugin, given, check=looks.get("check", False)).result
    # Check mode says what would change; a look changes nothing in a real run, either.
    assert (ended["changed"], ended["removed"], etcd.removed) == ("check" in looks, ["ctrl-3"], [])


@pytest.mark.parametrize("down", [("ctrl-2",), ("ctrl-2", "ctrl-3")], ids="+".join)
@pytest.mark.parametrize("more", [{}, {"only_look": True}], ids=["does it", "looks"])
def test_a_member_that_a_quorum_needs_stays(
    members: tuple[Any, Members], down: tuple[str, ...], more: dict[str, bool]
) -> None:
    plugin, etcd = members
    etcd.is_down(*down)
    for check in (False, True):
        ended = run_module(plugin, {"name": "ctrl-3", **more}, check=check)
        assert "ctrl-3 cannot leave etcd: etcd " in ended.msg
        assert "quorum" in ended.msg
        assert "ctrl-2" in ended.msg
        assert "[no-quorum]" in ended.msg
    assert etcd.removed == []


def test_members_of_no_machine_are_taken_out_and_silent_controllers_of_the_page_stay(
    members: tuple[Any, Members],
) -> None:
    plugin, etcd = members
    etcd.is_down("ctrl-3")
    etcd.there.append(Member("stray", "", "https://192.0.2.9:2380", "", learner=True))
    given = {"controllers": CONTROLLERS}
    told = ["the member without a name at https://192.0.2.9:2380"]
    assert run_module(plugin, given, check=True).result["removed"] == told
    assert etcd.removed == []
    ended = run_module(plugin, given).result
    assert (ended["removed"], etcd.removed) == (told, ["stray"])
    assert not run_module(plugin, given).result["changed"]
    # The page no longer has it.
    gone = {name: address for name, address in CONTROLLERS.items() if name != "ctrl-3"}
    assert run_module(plugin, {"controllers": gone}).result["removed"] == ["ctrl-3"]


def test_an_etcd_that_does_not_answer_is_named(members: tuple[Any, Members]) -> None:
    plugin, etcd = members
    etcd.silent = "connection refused"
    ended = run_module(plugin, {"name": "ctrl-3"})
    assert "connection refused" in ended.msg
    assert "[etcd-silent]" in ended.msg


# --- a host that is reset


@pytest.mark.parametrize(("check", "look"), [(False, False), (True, False), (False, True)])
def test_a_host_is_reset_or_only_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, check: bool, look: bool
) -> None:
    plugin = load("modules", "node_reset")
    monkeypatch.setattr(plugin.lock, "FOLDER", str(tmp_path))
    seen: list[bool] = []

    def reset(self: Any) -> None:
        seen.append(self.dry_run)
        self.done.append("/etc/kubernetes")

    monkeypatch.setattr(plugin.Reset, "volumes", lambda _self: {"pvc-1": 5})
    monkeypatch.setattr(plugin.Reset, "all", reset)
    ended = run_module(plugin, {"only_look": look}, check=check).result
    assert ended["volumes"] == {"pvc-1": 5}
    assert (ended["changed"], seen) == ((False, []) if look else (True, [check]))


def test_what_cannot_be_removed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plugin = load("modules", "node_reset")
    monkeypatch.setattr(plugin.lock, "FOLDER", str(tmp_path))
    monkeypatch.setattr(plugin.Reset, "volumes", lambda _self: {})
    monkeypatch.setattr(plugin.Reset, "all", lambda self: self.left.append("mount /x: busy"))
    ended = run_module(plugin, {})
    assert ended.failed
    assert "mount /x: busy" in ended.msg
    assert "[reset-incomplete]" in ended.msg


def test_a_kubeadm_that_is_still_at_work_is_not_reset_under_its_feet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugin = load("modules", "node_reset")
    monkeypatch.setattr(plugin.lock, "FOLDER", str(tmp_path))
    monkeypatch.setattr(plugin, "BUSY", 0.0)
    monkeypatch.setattr(plugin.Reset, "volumes", lambda _self: {})
    monkeypatch.setattr(plugin.Reset, "all", lambda self: self.done.append("/etc/kubernetes"))
    held = plugin.lock.take(0)
    assert "[machine-busy]" in run_module(plugin, {}).msg
    # Looking is no work.
    assert not run_module(plugin, {"only_look": True}).failed
    os.close(held)
    assert run_module(plugin, {}).result["done"] == ["/etc/kubernetes"]


# --- a backup


@pytest.fixture
def backup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Any, Path]:
    """The module with its folders below a folder of its own."""
    plugin = load("modules", "etcd_backup")
    kubernetes = tmp_path / "etc/kubernetes"
    (kubernetes / "manifests").mkdir(parents=True)
    (kubernetes / "manifests/etcd.yaml").write_text("    image: etcd:1\n")
    monkeypatch.setattr(plugin.snapshot, "KUBERNETES", str(kubernetes))
    plugin.snapshot.place(dict.fromkeys(plugin.snapshot.KEYS, b"key"))
    key = Key("slipway-1", base64.b64encode(KEY).decode())
    (kubernetes / plugin.snapshot.ENCRYPTION).write_text(render([key]))
    monkeypatch.setattr(plugin, "WORK", str(tmp_path / "work"))
    monkeypatch.setattr(plugin.lock, "FOLDER", str(tmp_path / "run"))
    monkeypatch.setattr(plugin, "BUSY", 0.0)
    monkeypatch.setattr(plugin.AnsibleModule, "run_command", lambda *_arguments, **_more: (0, "", ""))
    monkeypatch.setattr(plugin, "RECORD", f"{str(tmp_path)[1:]}/kubeadm.json")
    monkeypatch.setattr(plugin, "kubernetes_state", lambda _root: {"joined": False})
    monkeypatch.setattr(plugin.snapshot, "try_out", lambda *_: {"revision": 7, "totalKey": 9})
    monkeypatch.setattr(plugin.shutil, "chown", lambda *_: None)
    monkeypatch.setattr(plugin, "Etcd", type("Etcd", (), {"snapshot": taken(entry("slipway-1", b"a secret"))}))
    return plugin, tmp_path


def taken(content: bytes) -> Callable[[Any, str], None]:
    def snapshot(_self: Any, path: str) -> None:
        Path(path).write_bytes(content)

    return snapshot


def test_a_cluster_is_saved_and_what_is_left_is_the_archive(backup: tuple[Any, Path]) -> None:
    plugin, folder = backup
    archive = folder / "there/controller.tar"
    given = {"state": "saved", "archive": str(archive)}
    assert run_module(plugin, given, check=True).result["changed"]
    assert not archive.exists()
    ended = run_module(plugin, given).result
    assert (ended["revision"], ended["keys"], ended["image"]) == (7, 9, "etcd:1")
    assert archive.parent.stat().st_mode & 0o777 == 0o700
    assert not (folder / "work").exists()
    assert run_module(plugin, {**given, "state": "absent"}).result["changed"]
    assert not archive.parent.exists()
    assert not run_module(plugin, {**given, "state": "absent"}).result["changed"]


def test_secrets_whose_key_is_not_there_are_no_backup(
    backup: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, folder = backup
    for sealed, why in (
        (b"k8s:enc:secretbox:v1:lost:", "encrypted with keys that are not in encryption/config.yml: lost"),
        (entry("slipway-1", b"a secret", KEY[::-1]), "no Secret of the snapshot opens with its key"),
    ):
        monkeypatch.setattr(plugin, "Etcd", type("Etcd", (), {"snapshot": taken(sealed)}))
        ended = run_module(plugin, {"state": "saved", "archive": str(folder / "there/controller.tar")})
        assert "[backup-failed]" in ended.msg
        assert why in ended.msg
        assert not (folder / "there").exists()
        assert not (folder / "work").exists()


def test_two_backups_do_not_work_in_one_folder(backup: tuple[Any, Path]) -> None:
    plugin, folder = backup
    given = {"state": "saved", "archive": str(folder / "there/controller.tar")}
    held = plugin.lock.take(0)
    (folder / "work").mkdir()
    assert "[machine-busy]" in run_module(plugin, given).msg
    assert (folder / "work").is_dir()
    os.close(held)
    assert run_module(plugin, given).result["keys"] == 9
    assert not (folder / "work").exists()


RESTORED = {"state": "restored", "image": "etcd:1", "name": "ctrl", "address": "192.0.2.1"}


def test_it_is_put_back_and_the_founding_is_left_to_be_finished(
    backup: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, folder = backup
    archive = folder / "there/controller.tar"
    given = {**RESTORED, "archive": str(archive)}
    run_module(plugin, {"state": "saved", "archive": str(archive)})
    restored: list[tuple[Any, ...]] = []
    monkeypatch.setattr(plugin.snapshot, "check", lambda _path: None)
    monkeypatch.setattr(plugin.snapshot, "restore", lambda *words: restored.append(words[1:]))
    monkeypatch.setattr(plugin.AnsibleModule, "run_command", lambda *_arguments, **_more: (0, "", ""))
    assert run_module(plugin, given).result["changed"]
    assert restored == [("etcd:1", str(folder / "work"), "ctrl", "192.0.2.1")]
    assert json.loads((folder / "kubeadm.json").read_text()) == {"state": "started", "action": "init"}
    assert not archive.parent.exists()


def test_an_image_that_cannot_be_pulled_or_a_machine_in_a_cluster_is_named(
    backup: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, folder = backup
    archive = folder / "there/controller.tar"
    run_module(plugin, {"state": "saved", "archive": str(archive)})
    monkeypatch.setattr(plugin.snapshot, "check", lambda _path: None)
    monkeypatch.setattr(plugin.AnsibleModule, "run_command", lambda *_arguments, **_more: (1, "", "not found"))
    ended = run_module(plugin, {**RESTORED, "archive": str(archive)})
    assert "etcd:1 cannot be pulled: not found" in ended.msg
    assert "[restore-failed]" in ended.msg
    with tarfile.open(folder / "other.tar", "w"):
        pass
    assert "[restore-failed]" in run_module(plugin, {**RESTORED, "archive": str(folder / "other.tar")}).msg
    monkeypatch.setattr(plugin, "kubernetes_state", lambda _root: {"joined": True})
    assert "[cluster-lives]" in run_module(plugin, {**RESTORED, "archive": str(archive)}).msg
