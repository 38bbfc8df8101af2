"""Playbooks about nodes, with stand-ins for what they ask: in check mode each names its plan and does nothing.

And one that asks before it does something.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.terminal import answered

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LAB = """\
cluster_provider: docker
cluster_controllers: {count: 3, cpus: 2, memory: 2048}
cluster_workers: {count: 3, cpus: 2, memory: 2048}
"""
HOSTS = """\
cluster_provider: hosts
cluster_hosts:
  - {name: ctrl, address: 192.168.56.9, role: controller, user: debian}
  - {name: node-1, address: 192.168.56.10, role: worker, user: debian}
  - {name: node-2, address: 192.168.56.11, role: worker, user: debian}
"""
KEPT = (
    "The page still has it, so the next make up makes it anew. If it is not to come back, take it off the page "
    "(cluster_hosts, or count of cluster_workers)."
)
# Answers in the place of the cluster and of machines, and writes down what was to be done for good.
ACTION = """\
import json
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        name, given, check = {name!r}, dict(self._task.args), self._task.check_mode
        host = task_vars["inventory_hostname"]
        if name == "cluster_look":
            label = {{"node-role.kubernetes.io/control-plane": ""}}
            found = [{{"name": node, "labels": label if "ctrl" in node else {{}}}} for node in {nodes!r}]
            return {{"changed": False, "resources": [{{"metadata": node}} for node in found]}}
        if name == "node_state":
            if host in {silent!r}:
                raise AnsibleConnectionFailure("no answer")
            facts = {{"slipway_node": {{"kubernetes": {{"joined": host in {nodes!r}}}}}}}
            return {{"changed": False, "ansible_facts": facts}}
        if not check:
            with open({log!r}, "a") as file:
                file.write(json.dumps([name, given], default=str) + "\\n")
        if name == "node_drain":
            plan = [given["node"] + ": to be cordoned", "  shop/web moves"]
            drains = given.get("state", "drained") == "drained"
            return {{"changed": True, "plan": plan if check and drains else [], "left": []}}
        return {{"changed": not given.get("only_look"), "done": ["/etc/kubernetes"], "removed": [], "members": []}}
"""


class Play:
    """A lab of its own in which no machine is made."""

    def __init__(self, folder: Path, page: str, nodes: list[str], *, made: str = "", silent: str = "") -> None:
        self.folder, self.log = folder, folder / "log"
        (folder / "inventory/group_vars/all").mkdir(parents=True)
        (folder / "inventory/group_vars/all/wiring.yml").symlink_to(ROOT / "group_vars/all/wiring.yml")
        (folder / "inventory/cluster.slipway.yml").write_text("plugin: slipway\npage: ../page.yml\nstate: ../state\n")
        (folder / "page.yml").write_text(page)
        (folder / "state").mkdir()
        for name in ("kubeconfig", "bundle.json"):
            (folder / "state" / name).write_text("{}")
        for name in made.split():
            (folder / f"state/vagrant/machines/{name}/docker").mkdir(parents=True)
            (folder / f"state/vagrant/machines/{name}/docker/id").write_text(name)
        (folder / "action").mkdir()
        for name in ("cluster_look", "node_drain", "node_state", "node_reset", "etcd_member"):
            text = ACTION.format(name=name, nodes=nodes, silent=silent.split(), log=str(self.log))
            (folder / f"action/{name}.py").write_text(text)
        # Docker knows of no machine; whoever is to make or remove one is written down.
        for name in ("docker", "vagrant"):
            program = folder / f"bin/{name}"
            program.parent.mkdir(exist_ok=True)
            program.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n')
            program.chmod(0o755)
        self.log.touch()

    @property
    def environment(self) -> dict[str, str]:
        """That of a user, with the stand-ins."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "SLIPWAY_", "VAGRANT_"))
        }
        own = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "plugins/module_utils"),
            "SLIPWAY_CACHE": str(self.folder / "cache"),
            "ANSIBLE_ACTION_PLUGINS": f"{self.folder}/action:{ROOT}/plugins/action",
            "ANSIBLE_TRANSPORT": "local",
            "ANSIBLE_LOG_PATH": os.devnull,
            "NO_COLOR": "1",
        }
        return {**clean, **own}

    def command(self, *arguments: str) -> list[str]:
        ansible = str(Path(sys.executable).with_name("ansible-playbook"))
        return [ansible, "-i", str(self.folder / "inventory"), "-e", "ansible_become=false", *arguments]

    def run(self, *arguments: str) -> str:
        """Play in check mode and give what is told at the end."""
        command = self.command("--check", *arguments)
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        asked = ("docker info", "docker ps", "docker inspect", "docker network inspect")
        assert [line for line in self.log.read_text().splitlines() if not line.startswith(asked)] == []
        return done.stdout.rpartition("\nall  ")[2].partition("\n")[2]


STANDS = ["ctrl", "ctrl-2", "ctrl-3", "node-1", "node-2"]


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("drain", ["node-2: to be cordoned", "  shop/web moves"]),
        ("uncordon", ["node-2: to be opened, so that pods may come."]),
        (
            "remove-node",
            [
                "node-2: to be cordoned",
                "  shop/web moves",
                "node-2: its machine and disk to be destroyed",
                "node-2: to be removed from the cluster",
                KEPT,
            ],
        ),
    ],
)
def test_a_verb_names_its_plan(tmp_path: Path, verb: str, said: list[str]) -> None:
    play = Play(tmp_path, LAB, STANDS, made="node-2")
    told = play.run(f"playbooks/{verb}.yml", "-e", "drain_node=node-2").splitlines()
    assert [line for line in told if line] == said


def test_of_a_controller_the_member_of_etcd_is_named(tmp_path: Path) -> None:
    play = Play(tmp_path, LAB, STANDS, made="ctrl-2")
    assert "ctrl-2: its member of etcd to be taken out" in play.run(
        "playbooks/remove-node.yml", "-e", "drain_node=ctrl-2"
    )


def test_a_host_is_to_be_reset_and_no_machine_is_destroyed(tmp_path: Path) -> None:
    said = Play(tmp_path, HOSTS, ["ctrl", "node-1", "node-2"]).run(
        "playbooks/remove-node.yml", "-e", "drain_node=node-2"
    )
    assert "node-2: the cluster to be removed from the machine itself" in said
    assert "destroyed" not in said
    assert "did not answer" not in said


def test_what_would_be_added_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    play = Play(tmp_path, LAB, STANDS, made="ctrl", silent="node-3")
    assert play.run("playbooks/machines.yml", "playbooks/add-nodes-plan.yml").splitlines() == [
        "",
        "mirror-1: a machine to be made (mirror, 1 CPUs, 1024 MiB)",
        "ctrl: its machine to be started",
        *(f"{name}: a machine to be made (controller, 2 CPUs, 2048 MiB)" for name in ("ctrl-2", "ctrl-3")),
        *(f"node-{number}: a machine to be made (worker, 2 CPUs, 2048 MiB)" for number in (1, 2, 3)),
        "",
        "node-3: to join as a worker",
        "2 other workers stay as they are",
    ]
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "state/vagrant/machines/node-3").exists()


def test_of_hosts_that_do_not_answer_none_would_join(tmp_path: Path) -> None:
    said = Play(tmp_path, HOSTS, ["ctrl"], silent="node-2").run(
        "playbooks/machines.yml", "playbooks/add-nodes-plan.yml"
    )
    assert said.splitlines() == ["", "node-1: to join as a worker", "node-2 does not answer, and would not join"]


@pytest.mark.parametrize(("answer", "goes"), [("slipway", True), ("slipwa", False), ("yes", False), ("", False)])
def test_a_reset_goes_on_if_the_name_of_the_cluster_is_typed(tmp_path: Path, answer: str, goes: bool) -> None:
    play = Play(tmp_path, HOSTS, ["ctrl", "node-1", "node-2"])
    done = answered(
        play.command("playbooks/reset.yml"),
        "Type slipway to go on",
        answer,
        folder=ROOT,
        environment=play.environment,
        timeout=900,
    )
    assert "These hosts stay, and leave it: ctrl, node-1, node-2" in done.output
    assert (done.status, "[not-confirmed]" in done.output) == ((0, False) if goes else (2, True))
    looked, reset = '["node_reset", {"only_look": true}]', '["node_reset", {}]'
    assert (tmp_path / "log").read_text().splitlines() == [looked] * 3 + [reset] * 3 * goes
    assert (tmp_path / "state/kubeconfig").exists() is not goes
