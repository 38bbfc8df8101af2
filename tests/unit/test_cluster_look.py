"""The task cluster_look, as a playbook runs it: what is waited for, and what is there when time is up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.paths import ROOT

from tests.support.api import ApiServer

NODE = "/api/v1/nodes/node-1"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    started = ApiServer(tmp_path, monkeypatch)
    yield started
    started.stop()


def node(status: str) -> dict[str, Any]:
    return {"metadata": {"name": "node-1"}, "status": {"conditions": [{"type": "Ready", "status": status}]}}


def looked(folder: Path, server: ApiServer, **more: Any) -> dict[str, Any]:
    """Play one task; give its result."""
    arguments = {"kubeconfig": str(server.kubeconfig), "kind": "Node", "wait": True, "wait_timeout": 1, **more}
    tasks: list[dict[str, Any]] = [
        {"cluster_look": arguments, "register": "seen", "failed_when": False, "vars": {"wanted": ["node-1"]}},
        {"ansible.builtin.copy": {"content": "{{ seen | to_json }}", "dest": str(folder / "seen.json")}},
    ]
    playbook = folder / "play.yml"
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    playbook.write_text(yaml.safe_dump([{**play, "vars": {"ansible_python_interpreter": sys.executable}}]))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "PYTHONPATH": str(ROOT / "plugins/module_utils"),
        "ANSIBLE_LOG_PATH": os.devnull,
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(playbook)]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "until",
    [
        {"wait_condition": {"type": "Ready"}},
        {"wait_until": "wanted | difference(resources | ready_nodes) | length == 0"},
    ],
)
def test_it_waits_until_what_is_there_is_as_it_should_be(
    tmp_path: Path, server: ApiServer, until: dict[str, Any]
) -> None:
    server.put(NODE, node("True"))
    seen = looked(tmp_path, server, **until)
    assert "msg" not in seen
    assert [one["metadata"]["name"] for one in seen["resources"]] == ["node-1"]
    server.put(NODE, node("Unknown"))
    asked = len(server.asked)
    seen = looked(tmp_path, server, **until)
    assert seen["msg"] == "Node: not so within 1 s"
    # What was seen last is there for whoever says why.
    assert seen["resources"][0]["status"]["conditions"][0]["status"] == "Unknown"
    assert len(server.asked) - asked >= 2
