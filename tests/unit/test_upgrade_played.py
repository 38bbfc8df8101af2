"""The turn of a node in make upgrade, played with stand-ins for its modules, and the order of the playbook's plays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
# What a turn calls of roles, each of which may fail.
STEPS = ("kubelet/kubeadm", "control_plane/upgrade", "flannel/node", "containerd/main", "kubelet/upgrade")
# The real turn, on a cluster whose node-2 this upgrade has cordoned.
ACTION = """\
import json
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from slipway.cluster.drain import UPGRADES
from slipway.cluster.turn import Turn
from tests.support.draining import Cluster, node

class Live(Cluster):
    def read(self, _version, kind, _namespace, name):
        return self.get(f"/{{kind}}/{{name}}")

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        given = dict(self._task.args)
        found = {{"changed": True, "runs": []}}
        if given["state"] == "failed":
            cordoned = node("node-2")
            cordoned["metadata"]["annotations"] = {{UPGRADES: ""}}
            cordoned["spec"] = {{"unschedulable": True, "taints": []}}
            cluster = Live(Node=[node("node-1"), cordoned])
            found["changed"] = Turn(cluster, given["node"], 1).open()
            given["open"] = not cluster.get("/Node/node-2")["spec"].get("unschedulable")
            found["runs"] = ["  ctrl: control plane 1.37.2", "  node-2: kubelet 1.36.3"]
        with open({log!r}, "a") as file:
            file.write(json.dumps(given) + "\\n")
        if given["state"] == {fails!r}:
            raise AnsibleActionFail("web cannot move [drain-timeout]")
        if given["state"] == "failed" and {silent!r}:
            raise AnsibleActionFail("the API does not answer")
        return found
"""


def played(root: Path, *, fails: str = "", silent: bool = False, control: tuple[str, ...] = ()) -> tuple[int, str]:
    """Play the turn of node-2, in which one step fails."""
    log = root / "log"
    log.write_text("")
    for step in STEPS:
        role, _, file = step.partition("/")
        folder = root / "roles" / role / "tasks"
        folder.mkdir(parents=True, exist_ok=True)
        end = {"ansible.builtin.fail": {"msg": f"{step} does not work"}, "when": step == fails}
        note = {"ansible.builtin.shell": f"echo '\"{step}\"' >> {log}"}
        (folder / f"{file}.yml").write_text(yaml.safe_dump([note, end]))
    (root / "action").mkdir()
    text = ACTION.format(log=str(log), fails=fails, silent=silent)
    (root / "action/upgrade_node.py").write_text(text)
    (root / "action/cluster_look.py").write_text(text)
    (root / "tasks").mkdir()
    shutil.copy(ROOT / "playbooks/tasks/upgrade-node.yml", root / "tasks")
    play = {
        "hosts": "node-2",
        "gather_facts": False,
        "any_errors_fatal": True,
        "vars": {
            "upgrade_plan": {"first": "", "control": list(control), "nodes": ["node-2"]},
            "upgrade_force": False,
            "upgrade_gateway": "192.0.2.9:80",
            "upgrade_timeout": 5,
            "cluster_kubernetes_version": "1.37.2",
            "slipway_pod_network": {"role": "flannel"},
        },
        "tasks": [{"ansible.builtin.include_tasks": "tasks/upgrade-node.yml"}],
    }
    (root / "play.yml").write_text(yaml.safe_dump([play]))
    shown = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"vars": shown, "hosts": {"node-2": {}}}}
    (root / "inventory.yml").write_text(yaml.safe_dump(inventory))
    (root / "ansible.cfg").write_text("[defaults]\n")
    environment = {
        **{name: os.environ[name] for name in ("PATH",) if name in os.environ},
        "HOME": str(root),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": f"{ROOT / 'plugins/module_utils'}:{ROOT}",
        "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
        "ANSIBLE_ACTION_PLUGINS": str(root / "action"),
        "ANSIBLE_LIBRARY": str(ROOT / "plugins/modules"),
        "ANSIBLE_ROLES_PATH": str(root / "roles"),
    }
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    done = subprocess.run(
        [program, "-i", "inventory.yml", "play.yml"],
        cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def calls(root: Path) -> list[Any]:
    """What was called, in order: a step of a role, or the turn with what it was given."""
    return [json.loads(line) for line in (root / "log").read_text().splitlines()]


def states(root: Path) -> list[str]:
    return [each if isinstance(each, str) else each["state"] for each in calls(root)]


TURN = ["kubelet/kubeadm", "begun", "flannel/node", "containerd/main", "kubelet/upgrade", "ended"]


@pytest.mark.slow
def test_a_turn_is_drained_replaced_and_opened(tmp_path: Path) -> None:
    status, said = played(tmp_path)
    assert status == 0, said
    assert states(tmp_path) == TURN
    begun, ended = (each for each in calls(tmp_path) if not isinstance(each, str))
    # Before and after, the gateway has to answer.
    assert {begun["gateway"], ended["gateway"]} == {"192.0.2.9:80"}
    assert (begun["node"], ended["node"], ended["version"]) == ("node-2", "node-2", "1.37.2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ("kubelet/upgrade", "kubelet/upgrade does not work"),
        ("begun", "web cannot move [drain-timeout]"),
        ("control_plane/upgrade", "control_plane/upgrade does not work"),
    ],
)
def test_a_turn_that_fails_opens_the_node_and_says_the_state_and_the_ways(
    tmp_path: Path, fails: str, said: str
) -> None:
    status, output = played(tmp_path, fails=fails, control=("node-2",))
    assert status == 2, output
    last = calls(tmp_path)[-1]
    assert (last["state"], last["node"], last["open"]) == ("failed", "node-2", True)
    told = output.replace("\\n", "\n")
    assert said in told
    assert "The upgrade stopped at node-2, which takes pods again. The cluster runs:" in told
    assert "  ctrl: control plane 1.37.2\n  node-2: kubelet 1.36.3" in told
    assert "To go on from here: make upgrade. To go back to what was before" in told
    assert "docs/how-to/upgrade.md" in told
    assert "ended" not in states(tmp_path)


@pytest.mark.slow
def test_where_the_api_is_silent_then_the_first_fault_is_still_told(tmp_path: Path) -> None:
    status, output = played(tmp_path, fails="kubelet/upgrade", silent=True)
    assert status == 2, output
    assert "kubelet/upgrade does not work" in output
    assert "the API does not answer" in output
    assert "To go on from here: make upgrade" in output


# --- the order of its plays


@pytest.fixture(scope="module")
def plays() -> dict[str, dict[str, Any]]:
    found = yaml.safe_load((ROOT / "playbooks/upgrade.yml").read_text())
    return {play["name"]: play for play in found}


def test_controllers_have_their_turns_one_by_one_and_workers_in_batches_of_the_page(
    plays: dict[str, dict[str, Any]],
) -> None:
    controllers, workers = plays["Controllers, one after the other"], plays["Workers, in batches"]
    assert controllers["serial"] == 1
    assert workers["serial"] == "{{ hostvars.localhost.upgrade_made.batch | default(1) }}"
    # After a failure no other node begins.
    assert controllers["any_errors_fatal"] is workers["any_errors_fatal"] is True
    plan = next(task for task in plays["Plan"]["tasks"] if "upgrade_plan" in task)
    assert plan["upgrade_plan"]["batch"] == "{{ cluster_upgrade_batch }}"
    names = list(plays)
    assert names.index("Controllers, one after the other") < names.index("Workers, in batches")


def test_the_drains_of_a_batch_follow_each_other() -> None:
    (turn,) = yaml.safe_load((ROOT / "playbooks/tasks/upgrade-node.yml").read_text())
    inner = next(task["block"] for task in turn["block"] if "block" in task)
    drained, ended = (task for task in inner if "upgrade_node" in task)
    assert (drained["upgrade_node"]["state"], ended["upgrade_node"]["state"]) == ("begun", "ended")
    assert drained["throttle"] == 1
    # Both, so that no drain begins while the gateway is silent.
    assert drained["upgrade_node"]["gateway"] == ended["upgrade_node"]["gateway"] == "{{ upgrade_gateway }}"


def test_the_image_of_kubeadms_job_is_on_every_node_before_kubeadm_begins(plays: dict[str, dict[str, Any]]) -> None:
    images = plays["Images"]
    assert images["hosts"] == "upgraded_controllers:upgraded_workers"
    assert "+ ['kube-proxy', 'coredns', 'pause']" in images["vars"]["upgrade_names"]
    names = list(plays)
    assert names.index("Images") < names.index("Controllers, one after the other")
