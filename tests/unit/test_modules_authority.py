"""Modules of a rotation of the CAs, with a stand-in for kubeadm, systemctl and the API; and its playbook."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.node import authority, certificates, kubelet_trust
from slipway.node.trust import blocks

from tests.support.authorities import CLIENT, SERVER, pair, signed
from tests.support.plugins import load, run_module
from tests.unit.test_authority import BEFORE, NEW, OLD, WAITING, after, parts
from tests.unit.test_trust import kubeconfig

ROOT = Path(__file__).parents[2]
ADDRESS = {"address": "192.0.2.1", "timeout": 0}


class Controller:
    """A controller whose kubeadm makes the CAs of the set ``new``."""

    def __init__(self, plugin: Any, patch: pytest.MonkeyPatch, root: Path) -> None:
        self.plugin, self.root, self.text = plugin, root, str(root)
        self.folder = root / "etc/kubernetes"
        self.ran: list[str] = []
        self.fails = self.killed = ""
        self.why = ""
        self.record = root / "var/lib/slipway/kubeadm.json"
        (root / "run").mkdir()
        for name in ("read_all", "place", "remember"):
            patch.setattr(plugin.authority, name, functools.partial(getattr(plugin.authority, name), root=self.text))
        patch.setattr(plugin, "PLACE", str(self.folder / "pki/next"))
        patch.setattr(plugin, "PART", str(self.folder / "pki/next.part"))
        patch.setattr(plugin, "CONFIG", str(root / "run/authority.yml"))
        patch.setattr(plugin.lock, "FOLDER", str(root / "run"))
        patch.setattr(plugin.trial, "PLACE", str(root / "run/trial"))
        patch.setattr(plugin.trial, "lay", lambda *_: (root / "run/trial").mkdir())
        patch.setattr(plugin.trial, "stored", lambda _api: "kind: ClusterConfiguration\n")
        patch.setattr(plugin.trial, "seen", lambda *_: self.why)
        patch.setattr(plugin, "Api", lambda *_, **__: None)
        patch.setattr(plugin.AnsibleModule, "run_command", lambda _self, command, **_: self.run(command))

    def put(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def here(self) -> dict[str, str]:
        return authority.read_all(self.text)

    def run(self, command: list[str]) -> tuple[int, str, str]:
        line = " ".join(command)
        self.ran.append(line)
        assert (self.root / "run/authority.yml").stat().st_mode & 0o777 == 0o600
        if self.killed and self.killed in line:
            raise KeyboardInterrupt
        if self.fails and self.fails in line:
            return 1, "", "no entropy"
        config = (self.root / "run/authority.yml").read_text()
        folder = Path(config.rpartition("certificatesDir: ")[2].strip())
        names = {"ca": "ca", "front-proxy-ca": "front-proxy-ca", "etcd-ca": "etcd/ca"}
        if command[3] == "certs" and command[4] in names:
            for kind in ("crt", "key"):
                path = folder / f"{names[command[4]]}.{kind}"
                path.parent.mkdir(exist_ok=True)
                path.write_text(NEW[f"pki/{names[command[4]]}.{kind}"])
        if command[4] == "sa":
            for kind in ("pub", "key"):
                (folder / f"sa.{kind}").write_text(NEW[f"pki/sa.{kind}"])
        return 0, "", ""

    def play(self, state: str, **more: Any) -> Any:
        return run_module(self.plugin, {"state": state, **ADDRESS, **more})


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Controller:
    made = Controller(load("modules", "authority"), monkeypatch, tmp_path)
    made.put(BEFORE)
    return made


def test_new_ones_are_made_whole_or_not_at_all_and_once(controller: Controller) -> None:
    looked = controller.play("looked").result
    assert (looked["begun"], looked["waits"]) == (0, False)
    assert looked["public"]["pki/ca.crt"] == OLD["pki/ca.crt"]
    controller.killed = "etcd-ca"
    with pytest.raises(KeyboardInterrupt):
        controller.play("made")
    assert not controller.play("looked").result["waits"]
    controller.killed, controller.fails = "", "certs sa"
    assert "[kubeadm-failed]" in controller.play("made").msg
    assert not controller.play("looked").result["waits"]
    controller.fails = ""
    assert controller.play("made").result["changed"]
    assert not controller.play("made").result["changed"]
    assert controller.play("given").result["new"] == NEW
    assert controller.play("looked").result["waits"]
    assert not (controller.root / "run/authority.yml").exists()


def test_nothing_secret_is_told(controller: Controller) -> None:
    controller.play("made")
    told = [controller.play("looked").result, controller.play("accept", new=NEW).result]
    assert "PRIVATE KEY" not in json.dumps(told)


def test_the_steps_and_the_end(controller: Controller) -> None:
    here = dict(BEFORE)
    for number, step in enumerate(("accept", "issue", "drop"), 1):
        here = after(step, here)
        done = controller.play(step, new=NEW)
        assert done.result["changed"]
        assert controller.here() == here
        assert controller.play("looked").result["begun"] == number
        assert not controller.play(step, new=NEW).result["changed"]
    assert controller.play("finished").result["changed"]
    assert not (controller.folder / "pki/next").exists()
    assert not controller.play("finished").result["changed"]
    assert parts(controller.here())["pki/ca.crt"] == ["new"]


def test_it_remembers_its_cluster_by_the_ca_that_signs(controller: Controller) -> None:
    old, new = (authority.sums({"pki/ca.crt": one["pki/ca.crt"]})["pki/ca.crt"][0] for one in (OLD, NEW))
    controller.record.parent.mkdir(parents=True)
    controller.record.write_text(json.dumps({"state": "done", "ca": old}))
    found = []
    for step in ("accept", "issue", "drop"):
        controller.play(step, new=NEW)
        found.append(json.loads(controller.record.read_text())["ca"])
    assert found == [old, new, new]


@pytest.mark.parametrize(("state", "more"), [("made", {}), ("accept", {"new": NEW}), ("accept", {"new": {}})])
def test_files_that_are_not_kubeadms_are_left(controller: Controller, state: str, more: dict[str, Any]) -> None:
    if more.get("new") != {}:
        (controller.folder / "pki/ca.key").unlink()
    before = controller.here()
    assert "[authority-files]" in controller.play(state, **more).msg
    assert controller.here() == before
    assert controller.ran == []


def test_a_step_that_is_not_seen_to_work_is_told_and_leaves_no_credentials(controller: Controller) -> None:
    controller.put({**after("accept", BEFORE)})
    assert not controller.play("seen", step="accept").failed
    assert [line.split()[3:5] for line in controller.ran] == [
        ["certs", "front-proxy-client"],
        ["certs", "etcd-healthcheck-client"],
        ["kubeconfig", "admin"],
    ]
    controller.why = "etcd does not answer"
    ended = controller.play("seen", step="accept")
    assert "[authority-unseen]" in ended.msg
    assert "etcd does not answer" in ended.msg
    assert not (controller.root / "run/trial").exists()
    controller.ran.clear()
    assert controller.play("seen", step="issue").failed
    assert controller.ran == []


def test_without_new_ones_there_is_nothing_to_see(controller: Controller) -> None:
    assert "[authority-files]" in controller.play("seen", step="accept").msg
    assert controller.ran == []


def test_check_mode_looks_and_nothing_else(controller: Controller) -> None:
    before = controller.here()
    assert run_module(controller.plugin, {"state": "looked"}, check=True).result["begun"] == 0
    assert run_module(controller.plugin, {"state": "accept", "new": NEW}, check=True).result["changed"]
    assert controller.here() == before


def test_only_one_works_at_a_time(controller: Controller) -> None:
    held = controller.plugin.lock.take(0)
    assert "[machine-busy]" in controller.play("accept", new=NEW).msg
    os.close(held)
    assert controller.here() == BEFORE


# --- what another CA has signed is renewed


def test_certificates_of_another_ca_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "etc/kubernetes"
    authority.place({**BEFORE, **{k: NEW[k] + OLD[k] for k in ("pki/ca.crt", "pki/etcd/ca.crt")}}, str(tmp_path))
    shown = {
        "apiserver": ("pki/apiserver", "new", "kubernetes", SERVER),
        "apiserver-kubelet-client": ("pki/apiserver-kubelet-client", "old", "kubernetes", CLIENT),
        "etcd-peer": ("pki/etcd/peer", "old", "etcd-ca", SERVER),
        "etcd-server": ("pki/etcd/server", "new", "etcd-ca", SERVER),
        "front-proxy-client": ("pki/front-proxy-client", "old", "front-proxy-ca", CLIENT),
    }
    for path, which, ca, usage in shown.values():
        own = signed(path, pair(which, ca), usage)
        (folder / f"{path}.crt").write_text(own.crt)
        (folder / f"{path}.key").write_text(own.key)
    for name, which in (("admin.conf", "new"), ("scheduler.conf", "old")):
        own = signed(name, pair(which, "kubernetes"), CLIENT)
        (folder / name).write_text(kubeconfig(NEW["pki/ca.crt"], own))
    authority_of = {"etcd-peer": "etcd-ca", "etcd-server": "etcd-ca", "front-proxy-client": "front-proxy-ca"}
    # One that kubeadm names and that is not there is nobody's.
    names = [*shown, "admin.conf", "scheduler.conf", "super-admin.conf"]
    found = [certificates.Certificate(name, 1.0, authority_of.get(name, "ca")) for name in names]
    # The front proxy has one CA, which has signed its certificate.
    assert certificates.foreign(found, str(tmp_path)) == ["apiserver-kubelet-client", "etcd-peer", "scheduler.conf"]


def test_parts_start_again_when_cas_or_the_key_of_service_accounts_were_written() -> None:
    for part, names in {
        "etcd": ["pki/etcd/ca.crt"],
        "kube-apiserver": ["pki/ca.crt", "pki/etcd/ca.crt", "pki/front-proxy-ca.crt", "pki/sa.pub", "pki/sa.key"],
        "kube-controller-manager": ["pki/ca.crt", "pki/ca.key", "pki/sa.key"],
    }.items():
        assert set(names) <= set(certificates.READS[part])


# --- kubelets


class Kubelet:
    """A kubelet that gets what it asks for when it starts, unless it is told not to."""

    def __init__(self, plugin: Any, patch: pytest.MonkeyPatch, root: Path) -> None:
        self.plugin, self.starts, self.stale = plugin, 0, False
        self.trouble = self.unregistered = ""
        self.behind: Iterator[list[str]] = iter([])
        self.taken: list[str] = []
        self.asks = False
        patch.setattr(plugin.lock, "FOLDER", str(root / "run"))
        patch.setattr(plugin, "is_stale", lambda _module: self.stale)
        patch.setattr(plugin, "registered", lambda *_: self.unregistered)
        patch.setattr(plugin, "remember", lambda: None)
        patch.setattr(plugin.kubelet_trust, "believe", lambda _text: self.stale)
        patch.setattr(plugin.kubelet_trust, "renew", lambda _text: list(self.taken))
        patch.setattr(plugin.kubelet_trust, "asked", lambda: self.asks)
        patch.setattr(plugin.kubelet_trust, "trouble", lambda *_: self.trouble)
        patch.setattr(plugin.kubelet_trust, "settle", self.settle)
        patch.setattr(plugin.kubelet_trust, "behind", lambda *_: next(self.behind, []))
        patch.setattr(plugin.AnsibleModule, "run_command", lambda _self, command, **_: self.run(command))

    def run(self, command: list[str]) -> tuple[int, str, str]:
        assert command == ["systemctl", "restart", "kubelet.service"]
        self.starts += 1
        self.stale = self.asks = False
        self.taken = []
        return 0, "", ""

    def settle(self) -> None:
        self.asks = False

    def play(self, state: str = "followed", **more: Any) -> Any:
        return run_module(self.plugin, {"state": state, "authorities": NEW["pki/ca.crt"], **ADDRESS, **more})


@pytest.fixture
def kubelet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kubelet:
    return Kubelet(load("modules", "kubelet_trust"), monkeypatch, tmp_path)


def test_a_kubelet_starts_again_only_for_something(kubelet: Kubelet) -> None:
    assert not kubelet.play().result["changed"]
    kubelet.stale = True
    assert kubelet.play().result["restarted"]
    kubelet.taken = ["kubelet-client-current.pem"]
    assert not kubelet.play().result["restarted"]
    assert kubelet.play(issue=True).result["certificates"] == ["kubelet-client-current.pem"]
    # A run before was cut off while it asked.
    kubelet.asks = True
    assert kubelet.play(issue=True).result["restarted"]
    assert kubelet.starts == 3


def test_a_kubelet_that_gets_none_is_told_and_goes_on_asking(kubelet: Kubelet) -> None:
    kubelet.asks, kubelet.trouble = True, "the kubelet has no certificate of the new CA yet"
    ended = kubelet.play(issue=True)
    assert "[authority-unseen]" in ended.msg
    assert "kubectl get csr" in ended.msg
    kubelet.trouble, kubelet.unregistered = "", "the node is not Ready"
    assert "the node is not Ready" in kubelet.play().msg


def test_files_of_pods_are_waited_for_and_tokens_for_longer(kubelet: Kubelet) -> None:
    kubelet.behind = iter([["shop/web"], ["shop/web"], []])
    assert not kubelet.play("seen", timeout=5).failed
    kubelet.behind = iter([["shop/web"]] * 100)
    ended = kubelet.play("seen", timeout=0)
    assert "[authority-unseen]" in ended.msg
    assert "shop/web" in ended.msg
    # One that comes back begins the time anew.
    kubelet.behind = iter([[], ["shop/web"], []])
    public = blocks(NEW["pki/sa.pub"])[0]
    assert not kubelet.play("seen", key=public, settled=1, timeout=5).failed
    kubelet.behind = iter([[]] + [["shop/web"], []] * 20)
    assert "[authority-unseen]" in kubelet.play("seen", key=public, settled=1, timeout=0).msg


# --- the playbook


def plays(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((ROOT / "playbooks" / path).read_text())
    return found


def test_each_step_is_done_on_all_nodes_before_the_next_and_the_new_ones_go_last() -> None:
    imported = [
        (play["import_playbook"], (play.get("vars") or {}).get("rotate_step"))
        for play in plays("rotate-ca.yml")
        if "import_playbook" in play
    ]
    assert imported == [
        ("backup.yml", None),
        ("rotate-step.yml", "accept"),
        ("rotate-step.yml", "issue"),
        ("rotate-step.yml", "drop"),
    ]
    states = [
        task["authority"]["state"]
        for play in plays("rotate-ca.yml")
        for task in play.get("tasks", [])
        if "authority" in task
    ]
    assert states == ["looked", "made", "given", "finished"]
    step = plays("rotate-step.yml")
    assert all(play["any_errors_fatal"] is True for play in step if "tasks" in play)
    assert step[0]["serial"] == 1
    done = [
        next(iter(set(task) - {"name", "when", "register", "delegate_to", "run_once"}))
        for play in step
        for task in play.get("tasks", [])
    ]
    assert done == [
        "authority",
        "control_plane_certificates",
        "authority",
        "ansible.builtin.include_role",
        "authority",
        "kubelet_trust",
        "cluster_trust",
        "kubelet_trust",
        "cluster_trust",
    ]


def test_what_is_secret_is_hidden_in_the_playbook() -> None:
    (given,) = (
        task
        for play in plays("rotate-ca.yml")
        for task in play.get("tasks", [])
        if task.get("register") == "rotate_given"
    )
    assert given["no_log"] is True
    source = (ROOT / "plugins/modules/authority.py").read_text()
    assert '"new": {"type": "dict", "no_log": True}' in source


def test_waiting_files_are_below_the_folder_that_tells_of_a_rotation() -> None:
    assert {name.rpartition("/next/")[0] for name in WAITING} == {"pki"}
    assert f"{authority.FOLDER}/pki/ca.crt" == kubelet_trust.CA
    assert set(OLD) == set(authority.FILES)
