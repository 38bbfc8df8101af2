"""A machine or the mirror is gone half-way: the run says which, and the next one goes on from there."""

from __future__ import annotations

import subprocess

from tests.support.checkout import PLAY, Checkout
from tests.support.kube import ready
from tests.support.survivor import Survivor


def leave(checkout: Checkout, machine: str) -> None:
    """Refuse SSH logins to a container node; connections that an earlier run has kept open end as well.

    Debian 13 has them in processes of another name.
    """
    container = f"{checkout.name}-{machine}"
    subprocess.run(["docker", "exec", container, "systemctl", "stop", "ssh.service"], check=True)
    subprocess.run(["docker", "exec", container, "pkill", "--signal=KILL", "^sshd"], check=False)


def come_back(checkout: Checkout, machine: str) -> None:
    """Let people in again."""
    subprocess.run(["docker", "exec", f"{checkout.name}-{machine}", "systemctl", "start", "ssh.service"], check=True)


def nodes(checkout: Checkout) -> dict[str, bool]:
    """Each node of the cluster, and whether it is Ready."""
    return {node["metadata"]["name"]: ready(node) for node in checkout.kube.nodes()}


def test_a_mirror_that_stops_half_way_is_named(survivor: Survivor) -> None:
    clone = survivor.checkout

    def on_line(line: str, _process: subprocess.Popen[str]) -> None:
        found = PLAY.match(line)
        if found and found.group(1) == "Nodes":
            subprocess.run(["docker", "kill", f"{clone.name}-mirror-1"], check=True, capture_output=True)

    run = clone.watch(("make", "--no-print-directory", "up"), on_line=on_line, timeout=900)
    assert run.status != 0
    end = "\n".join(run.output.splitlines()[-40:])
    assert "mirror" in end.lower()


def test_the_others_finish_and_the_run_names_the_one(survivor: Survivor) -> None:
    """The mirror starts with the machines, without any action."""
    clone = survivor.checkout
    clone.playbook("playbooks/machines.yml").expect()
    leave(clone, "node-2")
    run = clone.playbook("playbooks/site.yml")
    assert run.status != 0
    end = "\n".join(run.output.splitlines()[-30:])
    assert "node-2" in end
    assert "node-1" not in end.partition("FAILED")[2]
    assert nodes(clone) == {"ctrl": True, "node-1": True}


def test_the_next_run_ends_what_both_have_begun(survivor: Survivor) -> None:
    clone = survivor.checkout
    come_back(clone, "node-2")
    assert clone.make("up").expect().total("failed") == 0
    assert nodes(clone) == {"ctrl": True, "node-1": True, "node-2": True}
