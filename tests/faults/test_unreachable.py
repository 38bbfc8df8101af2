"""A machine or the mirror is gone half-way: the run says which, and the next one finishes the job."""

from __future__ import annotations

import subprocess

from tests.support.checkout import PLAY, Checkout
from tests.support.kube import ready


def ssh(checkout: Checkout, machine: str, verb: str) -> None:
    """Start or stop the SSH server of a container node."""
    container = f"{checkout.name}-{machine}"
    subprocess.run(["docker", "exec", container, "systemctl", verb, "ssh.service"], check=True)


def test_the_others_finish_and_the_run_names_the_one(bare: Checkout) -> None:
    bare.playbook("playbooks/machines.yml").expect()
    ssh(bare, "node-2", "stop")
    run = bare.playbook("playbooks/site.yml")
    assert run.status != 0
    end = "\n".join(run.output.splitlines()[-30:])
    assert "node-2" in end
    assert "node-1" not in end.partition("FAILED")[2]
    assert {node["metadata"]["name"]: ready(node) for node in bare.kube.nodes()} == {"ctrl": True, "node-1": True}
    ssh(bare, "node-2", "start")
    assert bare.playbook("playbooks/site.yml").expect().total("failed") == 0
    assert len([node for node in bare.kube.nodes() if ready(node)]) == 3


def test_a_mirror_that_stops_half_way_is_named(bare: Checkout) -> None:
    def on_line(line: str, _process: subprocess.Popen[str]) -> None:
        found = PLAY.match(line)
        if found and found.group(1) == "Nodes":
            subprocess.run(["docker", "kill", f"{bare.name}-mirror-1"], check=True, capture_output=True)

    run = bare.watch(("make", "--no-print-directory", "up"), on_line=on_line, timeout=900)
    assert run.status != 0
    end = "\n".join(run.output.splitlines()[-40:])
    assert "mirror" in end.lower()
    assert bare.make("up").expect().total("failed") == 0
    assert len([node for node in bare.kube.nodes() if ready(node)]) == 3
