"""kubeadm takes a machine to another release; what one that was killed has left behind is put in order first."""

from __future__ import annotations

import functools
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from slipway.node import upgrade

from tests.support.plugins import Ended, load, run_module

NEW = "1.37.2"
APPLY = ["kubeadm", "upgrade", "apply", "v1.37.2", "--yes", "--config", "file"]


@pytest.mark.parametrize(
    ("action", "ignore", "line"),
    [
        ("apply", [], APPLY),
        ("apply", ["Swap", "Mem", "Swap"], [*APPLY, "--ignore-preflight-errors=Mem,Swap"]),
        ("control", [], ["kubeadm", "upgrade", "node", "--config", "file"]),
        ("node", [], ["kubeadm", "upgrade", "node", "--config", "file", "--skip-phases=control-plane,addon"]),
    ],
)
def test_what_kubeadm_is_asked_for(action: str, ignore: list[str], line: list[str]) -> None:
    assert upgrade.command(action, NEW, "file", ignore) == line


@pytest.mark.parametrize(("action", "key"), [("apply", "apply"), ("control", "node"), ("node", "node")])
def test_its_configuration_has_the_timeout(action: str, key: str) -> None:
    import yaml

    read = yaml.safe_load(upgrade.configuration(action, 400, ["Swap"]))
    assert read["kind"] == "UpgradeConfiguration"
    patches = {} if action == "node" else {"patches": {"directory": "/etc/kubernetes/patches"}}
    assert read[key] == {"imagePullSerial": False, "ignorePreflightErrors": ["Swap"], **patches}
    assert read["timeouts"]["upgradeManifests"] == "400s"
    assert "ignorePreflightErrors" not in yaml.safe_load(upgrade.configuration(action, 1, []))[key]


def write(root: Path, name: str, text: str = "", age: float = 0) -> Path:
    path = root / "etc/kubernetes" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if age:
        os.utime(path.parent, (age, age))
    return path


def test_a_manifest_that_is_away_is_put_back_from_the_newest_copy(tmp_path: Path) -> None:
    for part in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        write(tmp_path, f"manifests/{part}.yaml", "there")
    write(tmp_path, "tmp/kubeadm-backup-manifests-2026-01-02-00-00-00/etcd.yaml", "newest", 200)
    write(tmp_path, "tmp/kubeadm-backup-manifests-2026-01-01-00-00-00/etcd.yaml", "older", 100)
    write(tmp_path, "tmp/kubeadm-backup-manifests-2026-01-01-00-00-00/kube-scheduler.yaml", "older", 100)
    assert list(upgrade.lost(str(tmp_path))) == ["etcd"]
    assert upgrade.put_back(str(tmp_path)) == ["etcd"]
    folder = tmp_path / "etc/kubernetes/manifests"
    assert (folder / "etcd.yaml").read_text() == "newest"
    assert (folder / "kube-scheduler.yaml").read_text() == "there"
    assert len(list(folder.iterdir())) == 4
    assert upgrade.put_back(str(tmp_path)) == []
    upgrade.forget(str(tmp_path))
    assert list((tmp_path / "etc/kubernetes/tmp").iterdir()) == []


def test_without_a_copy_there_is_nothing_to_put_back(tmp_path: Path) -> None:
    assert upgrade.put_back(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('ARGS="--a=1 --pod-infra-container-image=registry.k8s.io/pause:3.10 --b=2"\n', 'ARGS="--a=1 --b=2"\n'),
        ('ARGS="--pod-infra-container-image=registry.k8s.io/pause:3.10"\n', 'ARGS=""\n'),
        ('ARGS="--a=1"\n', 'ARGS="--a=1"\n'),
    ],
)
def test_flags_that_the_next_kubelet_does_not_know_go(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "var/lib/kubelet/kubeadm-flags.env"
    path.parent.mkdir(parents=True)
    path.write_text(before)
    assert upgrade.clean_flags(str(tmp_path)) is (before != after)
    assert path.read_text() == after
    assert len(list(path.parent.iterdir())) == 1


# --- the module


class Machine:
    """A controller whose kubeadm does what it is told, or what ``answer`` says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answer = (0, "done", "")
        self.lines: list[list[str]] = []
        self.configs: list[int] = []
        self.api = ["", ""]
        self.parts = dict.fromkeys(("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"), NEW)

    def run(self, command: list[str], **more: Any) -> tuple[int, str, str]:
        self.lines.append(command)
        if command[0] != "timeout":
            return 0, "", ""
        # What outlives the module holds the lock.
        assert more["pass_fds"]
        self.configs.append(stat.S_IMODE((self.root / "run/kubeadm-upgrade.yml").stat().st_mode))
        return self.answer

    @property
    def kubeadm(self) -> list[str]:
        return [" ".join(line[2:5]) for line in self.lines if line[0] == "timeout"]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def plugin(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    loaded = load("modules", "kubeadm_upgrade")
    monkeypatch.setattr(loaded.AnsibleModule, "run_command", lambda _self, line, **more: machine.run(line, **more))
    for name in ("lost", "put_back", "forget", "clean_flags"):
        monkeypatch.setattr(loaded.upgrade, name, functools.partial(getattr(upgrade, name), root=str(tmp_path)))
    monkeypatch.setattr(loaded.lock, "FOLDER", str(tmp_path / "lock"))
    monkeypatch.setattr(loaded, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(loaded, "LOG", str(tmp_path / "log"))
    monkeypatch.setattr(loaded, "PAUSE", 0.001)
    monkeypatch.setattr(loaded, "kubernetes_state", lambda _root: {"parts": machine.parts})
    monkeypatch.setattr(loaded, "api_trouble", lambda _address: machine.api.pop(0) if machine.api else "")
    return loaded


def do(plugin: Any, action: str, *, check: bool = False, **more: Any) -> Ended:
    given = {"version": NEW, "address": "192.0.2.100"} if action in ("apply", "control") else {}
    return run_module(plugin, {"action": action, **given, **more}, check=check)


def kept(root: Path) -> Path:
    """A manifest that was taken away."""
    return write(root, "tmp/kubeadm-backup-manifests-2026-01-01-00-00-00/etcd.yaml", "etcd")


def test_the_control_plane_is_upgraded_and_what_read_old_certificates_starts_again(
    plugin: Any, machine: Machine, tmp_path: Path
) -> None:
    kept(tmp_path)
    (tmp_path / "etc/kubernetes/manifests").mkdir()
    ended = do(plugin, "apply")
    assert (ended.failed, ended.result["changed"], ended.result["put_back"]) == (False, True, ["etcd"])
    assert machine.kubeadm == ["kubeadm upgrade apply"]
    assert machine.configs == [0o600]
    assert not (tmp_path / "run/kubeadm-upgrade.yml").exists()
    assert machine.lines[-1][:2] == ["systemctl", "try-restart"]
    assert list((tmp_path / "etc/kubernetes/tmp").iterdir()) == []


def test_what_is_away_is_put_back_alone_and_told_in_check_mode(plugin: Any, machine: Machine, tmp_path: Path) -> None:
    kept(tmp_path)
    manifest = tmp_path / "etc/kubernetes/manifests/etcd.yaml"
    manifest.parent.mkdir()
    ended = do(plugin, "repair", check=True)
    assert (ended.result["changed"], ended.result["put_back"], manifest.exists()) == (True, ["etcd"], False)
    assert do(plugin, "repair").result["changed"]
    assert manifest.read_text() == "etcd"
    assert not do(plugin, "repair").result["changed"]
    assert machine.lines == []
    assert do(plugin, "apply", check=True).result["changed"]
    assert machine.lines == []


def test_the_kubelets_configuration_comes_without_a_look_at_the_api(plugin: Any, machine: Machine) -> None:
    machine.api = ["silent"] * 9
    assert do(plugin, "node", timeout=7).result["changed"]
    assert machine.kubeadm == ["kubeadm upgrade node"]
    assert machine.lines[0][1] == "7"


def test_what_kubeadm_says_is_told_and_copies_stay(plugin: Any, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "etc/kubernetes/manifests").mkdir(parents=True)
    kept(tmp_path)
    machine.answer = (1, "", "error execution phase control-plane: no")
    ended = do(plugin, "control")
    assert ended.failed
    assert ended.result["error_id"] == "kubeadm-failed"
    assert "error execution phase control-plane: no" in ended.msg
    assert (tmp_path / "etc/kubernetes/tmp").is_dir()
    assert list((tmp_path / "etc/kubernetes/tmp").iterdir()) != []


def test_a_part_that_is_still_of_the_old_release_is_told(plugin: Any, machine: Machine) -> None:
    machine.parts["kube-scheduler"] = "1.36.3"
    assert "kube-scheduler is not of 1.37.2" in do(plugin, "apply").msg


def test_an_api_server_that_does_not_come_back_is_told(plugin: Any, machine: Machine) -> None:
    machine.api = ["refused"] * 100000
    ended = do(plugin, "apply", timeout=0)
    assert ended.result["error_id"] == "control-plane-not-well"
    assert machine.kubeadm == []


# --- images


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    loaded = load("modules", "node_images")
    monkeypatch.setattr(loaded.lock, "FOLDER", str(tmp_path / "lock"))
    return loaded


def test_images_that_are_not_there_are_pulled_once(images: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    there = ["one:1"]
    pulled: list[str] = []

    def run(_self: Any, line: list[str], **_more: Any) -> tuple[int, str, str]:
        if "list" in line:
            return 0, "\n".join(there), ""
        if line[-1] == "bad:1":
            return 1, "", "not found"
        pulled.append(line[-1])
        there.append(line[-1])
        return 0, "", ""

    monkeypatch.setattr(images.AnsibleModule, "run_command", run)
    wanted = {"images": ["one:1", "two:2"]}
    assert run_module(images, wanted, check=True).result["pulled"] == ["two:2"]
    assert pulled == []
    assert run_module(images, wanted).result["changed"]
    assert pulled == ["two:2"]
    assert not run_module(images, wanted).result["changed"]
    ended = run_module(images, {"images": ["bad:1"]})
    assert ended.result["error_id"] == "images-not-pulled"
    assert "bad:1 cannot be pulled: not found" in ended.msg


def test_a_containerd_that_is_silent_is_told(images: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images.AnsibleModule, "run_command", lambda *_a, **_m: (1, "", "no socket"))
    ended = run_module(images, {"images": ["one:1"]})
    assert "no socket" in ended.msg
    assert "images-not-pulled" in ended.msg
