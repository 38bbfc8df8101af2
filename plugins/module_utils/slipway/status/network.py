"""Ask every node over SSH whether it reaches cluster DNS and the pods of other nodes, as playbooks/reach.yml does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..inventory import active, render_inventory_cfg, ssh_settings
from ..machines import make_plan, page_file
from ..pod_network import Question, question
from ..settings import PAGE, ROOT, Settings
from .facts import Facts
from .judge import node_trouble

# Seconds: for a machine to answer SSH, for what does not answer to be asked again, and for all of it.
CONNECT_SECONDS = 5
PATIENCE = 4.0
SECONDS = 45
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
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_SSH_RETRIES": "0",
    }
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return {name: {"msg": f"no answer over SSH in {SECONDS} s"} for name in questions}
    found = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in tree.glob("*")}
    if not found and done.returncode not in (0, 1):
        said = (done.stderr or done.stdout).strip().splitlines()
        why = said[-1] if said else f"Ansible ended with status {done.returncode}"
        return {name: {"msg": why} for name in questions}
    return found
