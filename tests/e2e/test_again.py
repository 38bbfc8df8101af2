"""What stands is left alone: by a second make up, in check mode, and from a plain inventory."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.checkout import Checkout
from tests.support.documents import commands
from tests.support.typed import typed


def test_the_quick_start_works_as_it_stands_and_changes_nothing_the_second_time(checkout: Checkout) -> None:
    clone, *rest = commands(checkout.path / "README.md", "Quick start")
    assert clone.startswith("git clone ")
    # In one shell, as somebody types them: what one exports holds for the next.
    run = checkout.run("bash", "-e", "-u", "-c", "\n".join(rest)).expect()
    assert run.total("changed") == 0
    assert run.total("failed") == 0
    ready = [line.split()[0] for line in run.output.splitlines() if line.split()[1:2] == ["Ready"]]
    assert ready[-3:] == ["ctrl", "node-1", "node-2"]
    print(f"the quick start, a second time: {run.seconds:.0f} s")


def test_check_mode_reports_no_change_and_no_failure(checkout: Checkout) -> None:
    run = typed(checkout, "how-to/day-2", ".venv/bin/ansible-playbook playbooks/site.yml --check").expect()
    assert run.total("changed") == 0
    assert run.total("failed") == 0


def test_the_generated_inventory_works_as_well(checkout: Checkout) -> None:
    run = typed(
        checkout, "how-to/day-2", ".venv/bin/ansible-playbook -i inventory.cfg -u vagrant playbooks/site.yml"
    ).expect()
    assert run.total("changed") == 0
    assert run.total("failed") == 0


def test_one_phase_is_played_alone(checkout: Checkout) -> None:
    run = typed(checkout, "how-to/day-2", ".venv/bin/ansible-playbook playbooks/phases/nodes.yml -vv").expect()
    assert run.total("changed") == 0
    assert run.total("failed") == 0
    assert run.recap.keys() >= {"ctrl", "node-1", "node-2"}


@pytest.mark.parametrize("machine", ["ctrl", "node-1"])
def test_the_address_of_one_machine_names_the_cluster(checkout: Checkout, machine: str) -> None:
    """All that many users type after a change to their page."""
    inventory = (checkout.path / "inventory.cfg").read_text()
    found = re.search(rf"^{machine} .*ansible_host=(\S+)", inventory, re.MULTILINE)
    assert found
    run = typed(
        checkout,
        "how-to/day-2",
        ".venv/bin/ansible-playbook -i 192.168.56.100, -u vagrant finalization.yml",
        instead={"192.168.56.100": found.group(1)},
    ).expect()
    assert run.total("changed") == 0
    assert run.total("failed") == 0


def test_vagrant_up_changes_nothing_either(checkout: Checkout) -> None:
    run = checkout.run("vagrant", "up").expect()
    assert run.total("changed") == 0
    assert run.total("failed") == 0


def test_an_agent_with_more_keys_than_a_server_tries_is_no_obstacle(checkout: Checkout, tmp_path: Path) -> None:
    """Servers end a connection after six keys; ssh offers those of the agent first."""
    for number in range(8):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / f"key-{number}")]
        subprocess.run(command, check=True)
    socket = str(tmp_path / "agent")
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as agent:
        try:
            add = ["ssh-add", "-q", *(str(tmp_path / f"key-{number}") for number in range(8))]
            until = time.monotonic() + 10
            while subprocess.run(add, env={**os.environ, "SSH_AUTH_SOCK": socket}, check=False).returncode:
                assert time.monotonic() < until, "the agent does not answer"
            # Not over a connection that is open already.
            fresh = {"SSH_AUTH_SOCK": socket, "ANSIBLE_SSH_CONTROL_PATH_DIR": str(tmp_path / "connections")}
            checkout.watch((".venv/bin/ansible", "nodes", "-m", "ping"), environment=fresh).expect()
        finally:
            agent.terminate()


def test_without_any_network_every_artifact_is_in_the_cache(checkout: Checkout) -> None:
    """As on a machine that cache and bundle were copied to."""
    alone = ("unshare", "--map-root-user", "--net")
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may not make a network namespace (unshare --map-root-user --net)")
    run = checkout.run(*alone, ".venv/bin/ansible-playbook", "playbooks/artifacts.yml").expect()
    assert run.total("changed") == 0


def test_the_inventory_names_its_groups(checkout: Checkout) -> None:
    graph = checkout.run(".venv/bin/ansible-inventory", "--graph").expect().output
    for group in ("@controllers:", "@workers:", "@mirror:", "@nodes:"):
        assert group in graph
