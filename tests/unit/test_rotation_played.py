"""The playbook of make rotate-ca, played with stand-ins for its modules: what is called, in which order, with what."""

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
NODES = {"ctrl": "192.0.2.1", "ctrl-2": "192.0.2.2", "node-1": "192.0.2.3"}
# Writes down how it was called, and answers as a controller that has begun so many steps.
MODULE = """\
import json, os
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({names}, supports_check_mode=True)
given = {{name: value for name, value in module.params.items() if value is not None}}
with open({log!r}, "a") as file:
    file.write(json.dumps([os.path.basename(__file__).split("_", 1)[-1], given]) + "\\n")
begun = int(os.environ["BEGUN"])
answer = {{"changed": False}}
if given.get("state") == "looked":
    answer |= {{"begun": begun, "waits": begun > 0, "public": {{"pki/ca.crt": "CA", "pki/sa.pub": "PUB"}}}}
if given.get("state") == "given":
    answer["new"] = {{"a": "b"}}
if list(given) == ["address"]:
    answer["ansible_facts"] = {{"slipway_node": {{"kubernetes": {{}}}}}}
module.exit_json(**answer)
"""
NAMES = ("state", "step", "new", "address", "timeout", "days", "authorities", "issue", "key", "settled")
ACTION = """\
import json
from ansible.plugins.action import ActionBase
from slipway.cluster import rotation

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        given = dict(self._task.args)
        if {name!r} == "cluster_look":
            ready = {{"conditions": [{{"type": "Ready", "status": "True"}}]}}
            nodes = [{{"metadata": {{"name": node}}, "status": ready}} for node in {ready!r}]
            return {{"changed": False, "resources": nodes}}
        with open({log!r}, "a") as file:
            file.write(json.dumps([{name!r}, given], default=str) + "\\n")
        if given["state"] == "planned":
            made = rotation.steps({{name: dict(one) for name, one in given["looked"].items()}})
            return {{"changed": False, **made, "lines": ["the plan"]}}
        return {{"changed": False}}
"""


class Play:
    """A checkout with stand-ins, on machines that are this one."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, root / "log"
        self.recipients = ["age1x"]
        self.ready = list(NODES)
        for folder in ("library", "action", "roles/control_plane/tasks", "roles/tools/tasks", "playbooks/phases"):
            (root / folder).mkdir(parents=True)
        names = {name: {"type": "raw", "no_log": False} for name in NAMES}
        for name in ("authority", "kubelet_trust", "control_plane_certificates", "node_state", "node_service"):
            text = MODULE.format(names=names, log=str(self.log))
            (root / f"library/{name}.py").write_text(text)
        for path in ("control_plane/tasks/kubeconfig.yml", "tools/tasks/main.yml"):
            (root / "roles" / path).write_text("[]\n")
        for name in ("rotate-ca.yml", "rotate-step.yml", "phases/tools.yml"):
            shutil.copy(ROOT / "playbooks" / name, root / "playbooks" / name)
        shutil.copytree(ROOT / "playbooks/vars", root / "playbooks/vars")
        backup = [{"hosts": "localhost", "gather_facts": False, "tasks": [{"cluster_trust": {"state": "BACKUP"}}]}]
        (root / "playbooks/backup.yml").write_text(yaml.safe_dump(backup))
        (root / "ansible.cfg").write_text("[defaults]\n")

    def run(self, *arguments: str, begun: int = 0) -> tuple[int, str]:
        shown = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
        settings = {"slipway_patience": 1, "slipway_state": str(self.root), "slipway_environment": {}}
        page = {"cluster_backup": {"recipients": self.recipients}, "slipway_kubernetes_api": {"kubeconfig": "x"}}
        hosts = {name: {"node_address": address} for name, address in NODES.items()}
        groups = {
            "controllers": {"hosts": {name: hosts[name] for name in ("ctrl", "ctrl-2")}},
            "workers": {"hosts": {"node-1": hosts["node-1"]}},
        }
        inventory = {"all": {"vars": {**shown, **settings, **page}, "children": groups}}
        (self.root / "inventory.yml").write_text(yaml.safe_dump(inventory))
        for name in ("cluster_look", "cluster_trust"):
            text = ACTION.format(name=name, log=str(self.log), ready=self.ready)
            (self.root / f"action/{name}.py").write_text(text)
        self.log.write_text("")
        environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ},
            "HOME": str(self.root),
            "BEGUN": str(begun),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT / "plugins/module_utils"),
            "ANSIBLE_CONFIG": str(self.root / "ansible.cfg"),
            "ANSIBLE_LIBRARY": str(self.root / "library"),
            "ANSIBLE_ACTION_PLUGINS": str(self.root / "action"),
            "ANSIBLE_ROLES_PATH": str(self.root / "roles"),
            "ANSIBLE_FILTER_PLUGINS": str(ROOT / "plugins/filter"),
            "ANSIBLE_LOOKUP_PLUGINS": str(ROOT / "plugins/lookup"),
            "ANSIBLE_SHOW_CUSTOM_STATS": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
        }
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        line = [program, "-i", "inventory.yml", "playbooks/rotate-ca.yml", *arguments]
        done = subprocess.run(
            line, cwd=self.root, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        return done.returncode, done.stdout + done.stderr

    def calls(self) -> list[str]:
        """What was called, in order, but for those at once on several machines."""
        found = []
        for line in self.log.read_text().splitlines():
            _, given = json.loads(line)
            words = [str(given.get(name, "")) for name in ("state", "step")]
            more = "certificates" if "days" in given else "issue" if given.get("issue") else ""
            key = "tokens" if given.get("key") else ""
            found.append(" ".join(filter(None, [*words, more, key])))
        return [each for each in found if each]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def step(name: str) -> list[str]:
    """What a step is: two controllers one after the other, then the kubelets of all three machines."""
    issue, tokens = " issue" if name != "accept" else "", " tokens" if name == "issue" else ""
    turn = [name, "certificates", f"seen {name}"]
    done = [*turn, *turn, "looked", *[f"followed{issue}"] * 3, f"brought {name}", *[f"seen{tokens}"] * 3]
    return [*done, "restarted"] if name == "accept" else done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("begun", "steps", "saved"),
    [
        (0, ("accept", "issue", "drop"), True),
        (2, ("issue", "drop"), False),
        (3, ("drop",), False),
    ],
)
def test_a_rotation_goes_through_the_steps_that_are_left(
    play: Play, begun: int, steps: tuple[str, ...], saved: bool
) -> None:
    status, said = play.run(begun=begun)
    assert status == 0, said
    wanted = ["looked", "looked", "planned", *(["BACKUP"] if saved else []), "made", "given"]
    wanted += [call for name in steps for call in step(name)]
    assert play.calls() == [*wanted, "finished", "finished"]
    # The new ones get to each controller, and are said nowhere.
    given = [json.loads(line)[1].get("new") for line in play.log.read_text().splitlines()]
    assert [each for each in given if each] == [{"a": "b"}] * 2 * len(steps)
    assert '"a": "b"' not in said


@pytest.mark.slow
def test_check_mode_plans_and_refusals_come_first(play: Play) -> None:
    status, said = play.run("--check")
    assert status == 0, said
    assert play.calls() == ["looked", "looked", "planned"]
    assert "Nothing was changed. To do it: make rotate-ca" in said
    play.recipients = []
    status, said = play.run()
    assert (status, "[no-recipients]" in said) == (2, True)
    assert play.calls() == ["looked", "looked", "planned"]
    play.ready = ["ctrl", "ctrl-2"]
    status, said = play.run("-e", '{"rotate_backup": false}')
    assert (status, "[nodes-silent]" in said) == (2, True)
    assert play.calls() == []


def test_the_stand_ins_take_what_the_modules_take() -> None:
    given: set[str] = set()
    for name in ("authority", "kubelet_trust", "control_plane_certificates"):
        source = (ROOT / f"plugins/modules/{name}.py").read_text()
        documented: dict[str, Any] = yaml.safe_load(source.partition('DOCUMENTATION = r"""')[2].partition('"""')[0])
        given |= set(documented["options"])
    assert given == set(NAMES)
