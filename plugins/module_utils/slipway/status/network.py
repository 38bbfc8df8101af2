"""Ask every node over SSH whether it reaches cluster DNS and the pods of other nodes, as phase reach does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..cluster.access import UnansweredError
from ..cluster.nodes import node_trouble
from ..cluster.reader import Reader
from ..lab.inventory import active, render_inventory_cfg, ssh_settings
from ..lab.plan import make_plan, page_file
from ..page.model import PAGE, Settings
from ..parts.pod_network import Question, question, still, troubles
from ..paths import ROOT
from .facts import Facts

# Seconds: to answer SSH, to ask again what has not answered, and for as many nodes as are asked at once.
CONNECT_SECONDS = 5
PATIENCE = 4.0
SECONDS = 45
AT_ONCE = 20
NOT_LISTED = "the inventory does not have it"


def ask_nodes(facts: Facts, settings: Settings, state: Path) -> None:
    """Put into ``facts`` what every node that is Ready says, and why one could not be asked."""
    ready = sorted(node["metadata"]["name"] for node in facts.nodes if not node_trouble(node))
    service_cidr, domain = settings.cluster_service_cidr, settings.cluster_dns_domain
    facts.questions = {name: question(facts.pods, name, ready, str(service_cidr), domain) for name in ready}
    if not ready:
        return
    with tempfile.TemporaryDirectory() as folder:
        answers = _play(facts.questions, inventory(settings, state, Path(folder)), Path(folder))
    for name in ready:
        answer = answers.get(name, {})
        if "answers" in answer:
            facts.answers[name] = answer["answers"]
        else:
            facts.unasked[name] = str(answer.get("msg") or NOT_LISTED).strip().partition("\n")[0]
    if troubles(facts.questions, facts.answers):
        # A pod may have ended while it was asked.
        with suppress(UnansweredError):
            there = Reader(state / "kubeconfig").items("/api/v1/pods")
            facts.questions = {name: still(asked, there) for name, asked in facts.questions.items()}


def inventory(settings: Settings, state: Path, folder: Path) -> str:
    """Name the inventory: the checkout's own, with what the user keeps beside it; that of another page is written."""
    page = page_file()
    if page == PAGE and state == ROOT / ".slipway":
        return str(ROOT / "inventory")
    plan = active(make_plan(settings, page=page, state=state))
    path = folder / "inventory.cfg"
    path.write_text(render_inventory_cfg(plan, ssh_settings(plan)), encoding="utf-8")
    return str(path)


def _play(questions: Mapping[str, Question], hosts: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Run the module pod_network on all nodes side by side; what came of it, by node."""
    values, tree = folder / "values.json", folder / "answers"
    values.write_text(json.dumps({"status_questions": questions}), encoding="utf-8")
    arguments = {"question": "{{ status_questions[inventory_hostname] }}", "patience": PATIENCE}
    command = [sys.executable, "-m", "ansible", "adhoc", ",".join(questions), "--inventory", hosts]
    command += ["--module-name", "pod_network", "--args", json.dumps(arguments)]
    command += ["--extra-vars", f"@{values}", "--tree", str(tree), "--timeout", str(CONNECT_SECONDS)]
    command += ["--forks", str(AT_ONCE)]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_SSH_RETRIES": "0",
    }
    seconds = SECONDS + SECONDS * (len(questions) // AT_ONCE)
    late = ""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as running:  # fmt: skip
        try:
            said, _ = running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            # With Ansible's own workers, and their ssh.
            os.killpg(running.pid, signal.SIGKILL)
            said, late = "", f"no answer over SSH in {seconds} s"
    found = {file.name: _read(file) for file in tree.glob("*")}
    if not found and running.returncode not in (0, 1) and not late:
        lines = said.strip().splitlines()
        late = lines[-1] if lines else f"Ansible ended with status {running.returncode}"
    return {name: {"msg": late} for name in questions if late} | found


def _read(file: Path) -> dict[str, Any]:
    """Read one node's answer; nothing where it was cut off."""
    try:
        read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return read
