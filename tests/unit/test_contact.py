"""Why nobody gets into a machine, or gets nothing done on it, in words and with what works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from slipway.lab.contact import Login, broken, login, unreachable
from slipway.paths import ROOT

OWN = Login("node-1", "192.0.2.11", 2222, "debian", "/home/me/.ssh/lab", own=True)
VIA = "Failed to connect to the host via ssh: "
CHANGED = """@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
Someone could be eavesdropping on you right now (man-in-the-middle attack)!
Add correct host key in /home/me/.ssh/known_hosts to get rid of this message.
Offending ED25519 key in /home/me/.ssh/known_hosts:7
Host key verification failed."""
REQUIRETTY = {
    "msg": "Module result deserialization failed.: No start of json char found",
    "module_stderr": "sudo: sorry, you must have a tty to run sudo\n",
    "module_stdout": "",
    "rc": 1,
}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Host key verification failed.", "ssh-keyscan -p 2222 192.0.2.11 >> ~/.ssh/known_hosts"),
        (CHANGED, "ssh-keygen -f /home/me/.ssh/known_hosts -R '[192.0.2.11]:2222'; ssh-keyscan -p 2222 192.0.2.11 >>"),
        ("debian@192.0.2.11: Permission denied (publickey).", "does not let in debian with the key /home/me/.ssh/lab"),
        (
            "Received disconnect: Too many authentication failures",
            "ssh-copy-id -i /home/me/.ssh/lab.pub -p 2222 debian@",
        ),
        ("@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\nPermission denied", "chmod 600 /home/me/.ssh/lab"),
        ('Load key "/home/me/.ssh/lab": invalid format\nPermission denied', "cannot read the key /home/me/.ssh/lab"),
        ("connect to host 192.0.2.11 port 2222: Connection refused", "nothing listens on port 2222"),
        ("connect to host 192.0.2.11 port 2222: No route to host", "switched off, has another address, or a firewall"),
        ("Connection timed out during banner exchange", "no answer"),
        ("ssh: Could not resolve hostname node-1: Name or service not known", "its name does not resolve"),
        ("kex_exchange_identification: Connection closed by remote host", "journalctl -u ssh"),
    ],
)
def test_what_keeps_ssh_out_of_a_host_is_told_with_what_works(said: str, told: str) -> None:
    text = unreachable(VIA + said, OWN)
    assert told in text
    assert "ssh -p 2222 -i /home/me/.ssh/lab debian@192.0.2.11" in text
    assert "    | " + (VIA + said).splitlines()[-1] in text
    assert "vagrant" not in text


def test_a_machine_of_vagrant_is_looked_for_there() -> None:
    text = unreachable(VIA + "No route to host", Login("node-1", "192.0.2.11"))
    assert text.startswith("cannot be reached: ")
    assert "vagrant status" in text


def test_words_that_nobody_knows_are_told_as_they_are() -> None:
    text = unreachable("something new", OWN)
    assert text.splitlines()[0] == "cannot be reached: something new"
    assert "look at: ssh -p 2222" in text


@pytest.mark.parametrize("own", [True, False])
def test_a_full_disk_is_named_as_itself_and_not_as_a_machine_that_is_away(own: bool) -> None:
    text = unreachable("mkdir: cannot create directory '/root/.ansible': No space left on device", Login("a", own=own))
    assert text.startswith("a disk of a is full")
    assert "df --human-readable" in text
    assert "cannot be reached" not in text


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (REQUIRETTY, "Defaults:debian !requiretty"),
        ({"msg": "Task failed: Missing sudo password"}, "debian ALL=(ALL) NOPASSWD: ALL"),
        ({"msg": "x", "module_stderr": "sudo: a password is required", "module_stdout": ""}, "--ask-become-pass"),
        ({"msg": "Task failed: Incorrect sudo password"}, "does not take the password"),
        (
            {"msg": "x", "module_stderr": "debian is not in the sudoers file.", "module_stdout": ""},
            "adduser debian sudo",
        ),
        ({"msg": "x", "module_stderr": "/bin/sh: 1: sudo: not found", "module_stdout": "", "rc": 127}, "install sudo"),
        ({"msg": "The module interpreter '/usr/bin/python3' was not found.", "module_stdout": ""}, "install python3"),
        (
            {"msg": "x", "module_stderr": "/bin/sh: 1: /usr/bin/python3: not found", "module_stdout": ""},
            "install python3",
        ),
        ({"msg": "ansible-core requires a minimum of Python version 3.8. Current version: 3.6.8"}, "Python is too old"),
        ({"msg": "OSError: [Errno 28] No space left on device"}, "a disk of node-1 is full"),
        ({"msg": "x", "module_stderr": "cannot touch: Read-only file system", "module_stdout": ""}, "findmnt"),
    ],
)
def test_what_keeps_a_step_from_beginning_is_told_with_what_works(outcome: dict[str, object], told: str) -> None:
    assert told in broken(outcome, OWN)


VIRTUAL = Login("node-1", "192.168.57.101", 22, "vagrant")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/bin/sh: 1: sudo: not found", "it has no sudo"),
        ("vagrant is not in the sudoers file.", "vagrant may not use sudo on it"),
        ("sudo: a password is required", "asks vagrant for a password"),
    ],
)
def test_a_box_without_what_vagrant_needs_is_exchanged(said: str, told: str) -> None:
    text = broken({"msg": "x", "module_stderr": said, "module_stdout": ""}, VIRTUAL)
    assert told in text
    assert "vagrant destroy node-1" in text
    assert "cluster_box: built" in text
    # What is for machines that the user made himself.
    assert not {"user: root", "adduser", "--ask-become-pass", "/etc/sudoers.d"} & {*text.split()}


def test_python_is_installed_on_a_machine_of_vagrant_through_vagrant() -> None:
    text = broken({"msg": "The module interpreter '/usr/bin/python3' was not found.", "module_stdout": ""}, VIRTUAL)
    assert "vagrant ssh node-1" in text
    assert "sudo apt-get install python3" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "lacks", "told"),
    [
        ("libvirt", {"ansible_python_interpreter": "/nowhere/python3"}, "it has no python3"),
        ("virtualbox", {"ansible_become_exe": "/nowhere/sudo"}, "it has no sudo"),
    ],
)
def test_a_box_without_python_or_sudo_is_told_before_anything_is_got_for_it(
    tmp_path: Path, provider: str, lacks: dict[str, str], told: str
) -> None:
    sudo = str(tmp_path / "sudo")
    variables = {"ansible_connection": "local", "slipway_provider": provider, "ansible_become_exe": sudo}
    variables |= {"ansible_python_interpreter": sys.executable, **lacks}
    variables |= {"cluster_node_cidr": "192.0.2.0/24", "cluster_pod_cidr": "10.244.0.0/16"}
    # A sudo that does not ask, where those who run the tests may have none: -H -S -n -u root sh -c …
    Path(sudo).write_text('#!/bin/sh\nwhile [ "$1" != /bin/sh ]; do shift; done\nexec "$@"\n')
    Path(sudo).chmod(0o755)
    hosts = {"ctrl": {"node_address": "192.0.2.100", "host_address": "192.0.2.100", "host_machines": []}}
    groups: dict[str, Any] = {"nodes": {"children": {"controllers": {"hosts": hosts}}}, "mirror": {}}
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(json.dumps({"all": {"vars": variables, "children": groups}}))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_"))}
    done = subprocess.run(
        [*command, "playbooks/phases/contact.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        # Whoever runs the tests may be root already.
        env={**clean, "ANSIBLE_BECOME_ALLOW_SAME_USER": "true"},
    )
    assert done.returncode != 0, done.stdout
    assert told in done.stdout
    assert "phase Contact, step: host : look | Look at the machine" in done.stdout


def test_what_the_machine_said_is_quoted() -> None:
    assert "    | sudo: sorry, you must have a tty to run sudo" in broken(REQUIRETTY, OWN)
    odd = {**REQUIRETTY, "module_stderr": "", "module_stdout": "Killed\x1b[0m\n", "rc": 137}
    text = broken(odd, OWN)
    assert "(exit status 137)" in text
    assert text.endswith("    | Killed")


def test_what_sudo_said_while_ansible_waited_for_it_is_told_too() -> None:
    waited = "Task failed: Premature end of stream waiting for become success.\n>>> Standard Error\n"
    assert "it has no sudo" in broken({"msg": f"{waited}/bin/sh: 1: sudo: not found"}, OWN)
    assert "adduser debian sudo" in broken({"msg": f"{waited}debian is not in the sudoers file."}, OWN)
    assert broken({"msg": "backup: /bin/sh: 1: sudo: not found"}, OWN) == ""


def test_a_step_that_fails_in_its_own_words_keeps_them() -> None:
    full = {"msg": "/opt/cni/bin cannot be written: No space left on device"}
    assert broken(full, OWN).startswith(f"{full['msg']}\na disk of node-1 is full")
    # Of this machine, and of another one that did the step, the words say enough.
    assert broken(full, Login("localhost")) == ""
    assert broken({**full, "_ansible_delegated_vars": {}}, OWN) == ""
    assert broken({"msg": "no such package"}, OWN) == ""
    assert broken({"msg": "non-zero return code", "stderr": "refused"}, OWN) == ""


def test_a_login_is_what_the_inventory_says() -> None:
    known = {
        "ansible_host": "192.0.2.11",
        "ansible_port": "2222",
        "ansible_user": "debian",
        "slipway_provider": "hosts",
    }
    assert login("node-1", known) == Login("node-1", "192.0.2.11", 2222, "debian", "", own=True)
    assert login("node-1", {"ansible_port": "{{ odd }}"}) == Login("node-1", "node-1")
