"""The module that runs kubeadm: once, to its end, and on from where an earlier run was cut off."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.plugins import Ended, load, run_module

REFUSED = (
    'error execution phase kubelet-start: a Node with name "node-1" and status "Ready" already exists in the cluster'
)
REFUSAL = 'Node with name "node-1" and status "Ready" already exists in the cluster'
TOKEN = "abcdef.0123456789abcdef"
DROP_IN = "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"
NEW = {"joined": False, "interrupted": False, "ca": ""}


class Machine:
    """A machine whose kubeadm answers what ``answers`` says, one after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state: dict[str, Any] = dict(NEW)
        self.answers: list[tuple[int, str, str]] = [(0, "done", "")]
        self.lines: list[list[str]] = []
        self.configs: list[tuple[str, int]] = []
        self.kubelet = "NRestarts=0\nSubState=running\n"
        self.ended = threading.Event()
        self.looks = 0

    def run(self, command: list[str], **more: Any) -> tuple[int, str, str]:
        """Be kubeadm: the lock is held meanwhile, and the configuration is there for root alone."""
        if command[0] == "journalctl":
            return 0, f"the end of {command[-1]}, with {TOKEN}\n", ""
        if command[0] == "systemctl":
            # The first look finds a kubelet that has not ended yet.
            self.looks += "NRestarts" in command[2]
            kubelet = self.kubelet if self.looks > 1 else "NRestarts=0\nSubState=dead\n"
            return 0, kubelet if "NRestarts" in command[2] else f"{DROP_IN}\n", ""
        assert more["pass_fds"]
        more["before_communicate_callback"](SimpleNamespace(terminate=self.ended.set))
        config = Path(command[command.index("--config") + 1])
        self.configs.append((config.read_text(), stat.S_IMODE(config.stat().st_mode)))
        self.lines.append(command)
        if "SubState=running" not in self.kubelet:
            assert self.ended.wait(10)
        return self.answers.pop(0)

    @property
    def record(self) -> Any:
        return json.loads((self.root / "record.json").read_text())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def plugin(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    loaded = load("modules", "kubeadm_node")
    monkeypatch.setattr(
        loaded.AnsibleModule, "run_command", lambda _self, command, **more: machine.run(command, **more)
    )
    monkeypatch.setattr(loaded, "kubernetes_state", lambda _root: machine.state)
    monkeypatch.setattr(loaded, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(loaded, "LOG", str(tmp_path / "log"))
    monkeypatch.setattr(loaded, "RECORD", str(tmp_path / "record.json").lstrip("/"))
    monkeypatch.setattr(loaded, "LEASE", str(tmp_path / "subnet.env").lstrip("/"))
    monkeypatch.setattr(loaded, "KUBELET_CONF", str(tmp_path / "kubelet.conf").lstrip("/"))
    monkeypatch.setattr(loaded, "ADMIN", str(tmp_path / "admin.conf").lstrip("/"))
    monkeypatch.setattr(loaded, "ca_sum", lambda _text: "sum")
    monkeypatch.setattr(loaded, "PAUSE", 0)
    monkeypatch.setattr(loaded, "LOOK", 0.01)
    monkeypatch.setattr(loaded, "of_disks", lambda: "the disk of /var is full")
    return loaded


def join(plugin: Any, *, check: bool = False, **more: Any) -> Ended:
    return run_module(plugin, {"action": "join", "node": "node-1", "config": f"token: {TOKEN}\n", **more}, check=check)


def test_a_machine_joins_and_its_record_says_so(plugin: Any, machine: Machine) -> None:
    ended = join(plugin, ignore_preflight_errors=["Swap"])
    assert (ended.failed, ended.result["changed"], ended.result["resumed"]) == (False, True, False)
    assert ended.result["ansible_facts"] == {"slipway_joined": True, "slipway_ca": "sum"}
    assert machine.lines[0][:4] == ["timeout", "300", "kubeadm", "join"]
    assert machine.lines[0][-1] == "--ignore-preflight-errors=Swap"
    assert machine.record == {"state": "done", "action": "join", "ca": "sum", "node": "node-1"}


def test_who_founds_gives_what_the_others_need(plugin: Any, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "admin.conf").write_text("kind: Config\n")
    machine.answers = [(0, f"kubeadm join api:6443 --token {TOKEN} --discovery-token-ca-cert-hash sha256:0\n", "")]
    result = join(plugin, action="init").result
    assert result["admin"] == "kind: Config\n"
    assert TOKEN in result["invitation"]


@pytest.mark.parametrize("wanted", [False, True])
def test_etcd_gets_its_user_before_kubeadm_declares_it(
    plugin: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    asked = []
    monkeypatch.setattr(plugin, "prepare", lambda _run: asked.append(len(machine.lines)))
    result = join(plugin, etcd_user=wanted).result
    assert result["changed"]
    assert "admin" not in result
    assert asked == [0] * wanted


def test_without_etcds_user_nothing_begins(plugin: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_run: Any) -> None:
        raise plugin.EtcdUserError("there is none")

    monkeypatch.setattr(plugin, "prepare", refuse)
    ended = join(plugin, etcd_user=True)
    assert (ended.failed, ended.result["error_id"], ended.result["began"]) == (True, "etcd-user", False)
    assert not (machine.root / "record.json").exists()
    assert machine.lines == []


@pytest.mark.parametrize("began", [False, True])
def test_the_share_of_the_pod_network_of_a_cluster_before_is_forgotten(
    plugin: Any, machine: Machine, tmp_path: Path, began: bool
) -> None:
    share = tmp_path / "subnet.env"
    share.touch()
    if began:
        # Flannel of this very cluster may have written it.
        machine.state = {**NEW, "interrupted": True}
        (tmp_path / "kubelet.conf").touch()
    assert join(plugin).result["changed"]
    assert share.exists() is began


def test_the_configuration_is_roots_alone_and_goes_in_any_case(plugin: Any, machine: Machine, tmp_path: Path) -> None:
    machine.answers = [(1, "", "error: no")]
    join(plugin)
    assert machine.configs == [(f"token: {TOKEN}\n", 0o600)]
    assert list((tmp_path / "run").iterdir()) == [tmp_path / "run/work.lock"]


def test_a_machine_that_is_in_is_left_alone(plugin: Any, machine: Machine) -> None:
    machine.state = {"joined": True, "interrupted": False, "ca": "other"}
    ended = join(plugin)
    assert (ended.result["changed"], ended.result["ansible_facts"]["slipway_ca"]) == (False, "other")
    assert machine.lines == []


def test_check_mode_says_that_it_would_join_and_touches_nothing(plugin: Any, machine: Machine, tmp_path: Path) -> None:
    machine.state = {**NEW, "interrupted": True}
    ended = join(plugin, check=True)
    assert (ended.result["changed"], ended.result["resumed"]) == (True, True)
    assert (machine.lines, list(tmp_path.iterdir())) == ([], [])


def test_a_run_that_was_cut_off_is_gone_on_with(plugin: Any, machine: Machine, tmp_path: Path) -> None:
    machine.state = {**NEW, "interrupted": True}
    (tmp_path / "kubelet.conf").touch()
    assert join(plugin).result["resumed"]
    assert "--skip-phases=preflight,kubelet-start" in machine.lines[0]
    assert "Port-10250" in machine.lines[0][-1]


def test_a_join_is_tried_again_while_the_machine_before_it_counts_as_ready(plugin: Any, machine: Machine) -> None:
    machine.answers = [(1, "", REFUSED), (1, "", REFUSED), (0, "", "")]
    ended = join(plugin)
    assert (ended.failed, len(machine.lines)) == (False, 3)
    # What the first try left is no reason to refuse the second one.
    assert ["Port-10250" in line[-1] for line in machine.lines] == [False, True, True]
    assert not ended.result["resumed"]


def test_a_machine_before_it_that_stays_is_named_in_the_end(plugin: Any, machine: Machine) -> None:
    machine.answers = [(1, "", REFUSED)]
    ended = join(plugin, predecessor_timeout=-1)
    assert ended.failed
    assert REFUSAL in ended.msg


def test_a_failure_names_kubeadms_errors_without_a_secret(plugin: Any, machine: Machine, tmp_path: Path) -> None:
    machine.answers = [(1, f"using {TOKEN}\n", f"[ERROR Port-10250]: in use\nerror: token {TOKEN} is wrong")]
    ended = join(plugin)
    assert ended.failed
    assert "kubeadm join failed: [ERROR Port-10250]: in use" in ended.msg
    assert machine.record == {"state": "started", "action": "join"}
    log = tmp_path / "log/kubeadm-join.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert TOKEN not in ended.msg + log.read_text() + json.dumps(ended.result)


FOREIGN_PORT = "error execution phase preflight: [preflight] Some fatal errors occurred:\n\t[ERROR Port-10250]: in use"


def test_what_kubeadms_checks_refuse_is_refused_by_the_next_run_too(
    plugin: Any, machine: Machine, tmp_path: Path
) -> None:
    machine.answers = [(1, "", FOREIGN_PORT)]
    ended = join(plugin)
    assert "[ERROR Port-10250]: in use" in ended.msg
    assert ended.result["began"] is False
    assert not (tmp_path / "record.json").exists()


def test_a_run_that_goes_on_stays_one_that_goes_on_whatever_the_checks_say(plugin: Any, machine: Machine) -> None:
    machine.state = {**NEW, "interrupted": True}
    machine.answers = [(1, "", FOREIGN_PORT)]
    ended = join(plugin)
    assert (ended.failed, ended.result["began"]) == (True, True)
    assert machine.record == {"state": "started", "action": "join"}


def test_a_kubeadm_that_hangs_is_stopped_and_says_so(plugin: Any, machine: Machine) -> None:
    machine.answers = [(124, "waiting for the kubelet", "")]
    assert "stopped after 7 s" in join(plugin, timeout=7).msg


def test_a_failure_quotes_the_kubelets_journal_and_what_changes_it(plugin: Any, machine: Machine) -> None:
    machine.answers = [(124, "waiting for the kubelet", "")]
    ended = join(plugin)
    assert f"kubelet.service is changed by {DROP_IN}" in ended.msg
    assert "    | the end of --unit=kubelet.service, with ********" in ended.msg
    assert "    | the end of --unit=containerd.service" in ended.msg
    assert "the disk of /var is full" in ended.msg


def test_a_kubelet_that_ends_again_and_again_ends_the_wait(plugin: Any, machine: Machine) -> None:
    machine.kubelet = "NRestarts=20\nSubState=auto-restart\n"
    machine.answers = [(143, "waiting for the kubelet", "")]
    ended = join(plugin)
    assert (
        "kubeadm join failed: the kubelet ends again and again [kubeadm-failed]\nwaiting for the kubelet" in ended.msg
    )
    assert machine.record == {"state": "started", "action": "join"}


def test_only_one_kubeadm_is_at_work_on_a_machine(plugin: Any, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    held = os.open(tmp_path / "run/work.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        ended = join(plugin, timeout=0)
    finally:
        os.close(held)
    assert ended.failed
    assert "still at work after 0 s" in ended.msg
    assert ended.result["error_id"] == "machine-busy"
    assert machine.lines == []
