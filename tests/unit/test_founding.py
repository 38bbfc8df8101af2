"""What a cluster was founded with is known here also while the cluster cannot answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from ansible.template import trust_as_template
from slipway.lab import surroundings
from slipway.page import founding
from slipway.page.model import Settings

from tests.support.plugins import load
from tests.unit.test_control_plane_founder import IN, OUT, tasks_and_templar

ROOT = Path(__file__).parents[2]
VALUES = {
    "cluster_name": "slipway",
    "cluster_api_endpoint": "api.slipway.internal:6443",
    "cluster_pod_cidr": "10.244.0.0/16",
    "cluster_service_cidr": "10.96.0.0/12",
    "cluster_dns_domain": "cluster.local",
}
KEPT = {"values": VALUES, "controllers": {"ctrl": "192.168.56.100"}}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("VAGRANT_DOTFILE_PATH", "SLIPWAY_CACHE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "founded.json").write_text(json.dumps(KEPT))
    monkeypatch.setattr(surroundings, "running_kubernetes", lambda _: "")
    return tmp_path


def made(state: Path, *names: str) -> None:
    for name in names:
        (state / f"vagrant/machines/{name}/docker").mkdir(parents=True)
        (state / f"vagrant/machines/{name}/docker/id").write_text("abc")


@pytest.mark.parametrize(
    ("machines", "provider", "known"),
    [
        (["ctrl", "node-1"], "docker", True),
        # Its controller is gone, and with it the cluster: vagrant destroy.
        (["node-1"], "docker", False),
        ([], "docker", False),
        ([], "hosts", True),
    ],
)
def test_what_is_kept_holds_as_long_as_a_controller_is_there(
    state: Path, machines: list[str], provider: Any, known: bool
) -> None:
    made(state, *machines)
    host = {"name": "ctrl", "address": "192.168.56.100", "role": "controller"}
    settings = Settings.model_validate({"cluster_provider": provider, "cluster_hosts": [host]})
    seen = surroundings.look_around(settings, state=state)
    assert (seen.founded, seen.controllers) == ((VALUES, KEPT["controllers"]) if known else ({}, {}))


def test_a_cluster_that_answers_knows_better(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(state, "ctrl")
    monkeypatch.setattr(surroundings, "running_kubernetes", lambda _: "1.37.0")
    monkeypatch.setattr(surroundings, "founded", lambda _: {**VALUES, "cluster_name": "other"})
    monkeypatch.setattr(surroundings, "controllers", lambda _: {"ctrl": "192.168.56.7"})
    seen = surroundings.look_around(Settings(), state=state)
    assert (seen.founded["cluster_name"], seen.controllers) == ("other", {"ctrl": "192.168.56.7"})


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"values": 1, "controllers": []}', '{"values": {"a": 1}}'])
def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "founded.json").write_text(text)
    assert founding.kept(tmp_path) == founding.Founding()


class Module:
    """The module on the controller, as the action plugin calls it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, file: Path, result: dict[str, Any]) -> None:
        self.loaded = load("action", "kubeadm_node")
        self.file = file
        self.kept_meanwhile = False

        def execute(_self: Any, **_more: Any) -> dict[str, Any]:
            self.kept_meanwhile = file.exists()
            return dict(result)

        monkeypatch.setattr(self.loaded.ActionModule, "_execute_module", execute)

    def call(self, *, check: bool = False) -> None:
        task = mock.Mock(
            args={"action": "init", "keep": {"path": str(self.file), "content": "{}"}}, check_mode=check, async_val=0
        )
        action = self.loaded.ActionModule(
            task=task, connection=mock.Mock(), play_context=mock.Mock(), loader=mock.Mock(), templar=mock.Mock(),
            shared_loader_obj=mock.Mock(),
        )  # fmt: skip
        action.run(task_vars={})


@pytest.mark.parametrize(
    ("result", "stays"),
    [
        ({"changed": True}, True),
        # kubeadm began, and what it wrote holds these values.
        ({"failed": True, "msg": "stopped after 300 s"}, True),
        # It was refused before it did anything: whatever is put right is taken.
        ({"failed": True, "msg": "a port is in use", "began": False}, False),
    ],
)
def test_it_is_kept_from_the_moment_that_kubeadm_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: dict[str, Any], stays: bool
) -> None:
    module = Module(monkeypatch, tmp_path / "state/founded.json", result)
    module.call()
    assert module.kept_meanwhile
    assert module.file.exists() is stays


def test_check_mode_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Module(monkeypatch, tmp_path / "founded.json", {"changed": True})
    module.call(check=True)
    assert not module.kept_meanwhile


def test_the_role_keeps_it_when_it_founds_and_with_the_kubeconfig() -> None:
    tasks = {task["name"]: task for task in yaml.safe_load((ROOT / "roles/control_plane/tasks/main.yml").read_text())}
    keep = tasks["Found the cluster"]["kubeadm_node"]["keep"]
    given = yaml.safe_load((ROOT / "roles/control_plane/tasks/kubeconfig.yml").read_text())
    file = given[-1]["admin_kubeconfig"]
    assert (file["kept_path"], file["kept"]) == (keep["path"], keep["content"])
    removed = yaml.safe_load((ROOT / "playbooks/tasks/remove-machines.yml").read_text())[-1]["loop"]
    assert "{{ machines_plan.state }}/founded.json" in removed


@pytest.mark.parametrize(
    ("controllers", "names"),
    [
        ({"a": OUT, "b": OUT}, {"a"}),
        ({"a": OUT, "b": IN}, {"b"}),
        ({"a": IN, "b": IN}, {"a", "b"}),
    ],
)
def test_only_controllers_that_are_in_are_held_to_their_address(
    controllers: dict[str, dict[str, Any]], names: set[str]
) -> None:
    _, templar = tasks_and_templar(controllers, list(controllers))
    addresses = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}
    templar.available_variables = {
        **templar.available_variables,
        "control_plane_nodes": addresses,
        "control_plane_kept_values": VALUES,
    }
    kept = templar.template(trust_as_template("{{ __control_plane_kept }}"))
    kept = json.loads(kept) if isinstance(kept, str) else kept
    assert kept == {"values": VALUES, "controllers": {name: addresses[name] for name in names}}
