"""Why a machine could not be worked on: words of ssh, sudo and Python in, what is wrong and what works out. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SSH_PORT = 22
_SHOWN = 10
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[^\n\t -~\u00a0-\U0010ffff]")
_PAGE = "group_vars/all/cluster.yml"
FULL_DISK = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)


@dataclass(frozen=True)
class Login:
    """How Ansible gets into a machine. ``user`` and ``key`` are empty where ssh decides; ``own``: the user made it."""

    name: str
    address: str = ""
    port: int = SSH_PORT
    user: str = ""
    key: str = ""
    own: bool = False

    @property
    def by_hand(self) -> str:
        """The command that tries the same in a shell."""
        port = ["-p", str(self.port)] if self.port != SSH_PORT else []
        key = ["-i", self.key] if self.key else []
        who = f"{self.user}@{self.address}" if self.user else self.address
        return shlex.join(["ssh", *port, *key, who])

    @property
    def known_as(self) -> str:
        """What known_hosts calls it."""
        return self.address if self.port == SSH_PORT else f"[{self.address}]:{self.port}"


def login(name: str, variables: Mapping[str, Any]) -> Login:
    """Read a host's variables, as the inventory gives them."""
    try:
        port = int(variables.get("ansible_port") or SSH_PORT)
    except (TypeError, ValueError):
        port = SSH_PORT
    return Login(
        name,
        str(variables.get("ansible_host") or name),
        port,
        str(variables.get("ansible_user") or ""),
        str(variables.get("ansible_ssh_private_key_file") or ""),
        variables.get("slipway_provider") == "hosts",
    )


def unreachable(said: str, to: Login) -> str:
    """Say why nobody gets into a machine, from what ssh said, and what works."""
    said = _clean(said)
    if FULL_DISK.search(said):
        return f"{_full(to)}\n{_quoted('it said', said)}"
    if not to.own:
        return f"cannot be reached: {said}\nlook at: vagrant status; ssh to it; the next run finishes the job"
    found = next(_ssh_faults(said, to), "")
    told = [f"cannot be reached at {to.address}, port {to.port}: {found}" if found else f"cannot be reached: {said}"]
    told += [_quoted("ssh said", said)] if found else []
    return "\n".join([*told, f"look at: {to.by_hand}; the next run finishes the job"])


def _ssh_faults(said: str, to: Login) -> Iterator[str]:
    user, port = to.user or "the user of ssh's own choice", f"-p {to.port} " if to.port != SSH_PORT else ""
    scan = f"ssh-keyscan {port}{to.address}"
    if "IDENTIFICATION HAS CHANGED" in said:
        file = re.search(r"Add correct host key in (\S+)", said)
        place = file.group(1) if file else "~/.ssh/known_hosts"
        yield (
            f"its host key is another one than {place} has: "
            "the machine was made anew, or another one has its address.\n"
            f"what works, once that is known: ssh-keygen -f {place} -R {shlex.quote(to.known_as)}; {scan} >> {place}"
        )
    if "Host key verification failed" in said:
        yield (
            "this machine does not know its host key yet.\n"
            f"what works: {scan} >> ~/.ssh/known_hosts, after a look at the key there "
            "(on that machine: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)"
        )
    if re.search(r"UNPROTECTED PRIVATE KEY|bad permissions", said):
        yield f"ssh does not use a key that others may read.\nwhat works: chmod 600 {to.key or 'on that file'}"
    if re.search(r"Load key .*(invalid format|error in libcrypto|incorrect passphrase)", said):
        yield (
            f"ssh cannot read the key {to.key or 'that it is told'}.\n"
            f"what works: key: with an OpenSSH private key, at {to.name} in {_PAGE}; "
            "one with a passphrase goes into ssh-agent"
        )
    if re.search(r"Identity file \S+ not accessible|no such identity", said):
        yield f"the key {to.key} is not there.\nwhat works: the path of a private key as key: at {to.name} in {_PAGE}"
    if re.search(r"Permission denied|Too many authentication failures|No more authentication methods", said):
        with_key = f"the key {to.key}" if to.key else "any key that ssh offers"
        copy = shlex.join(["ssh-copy-id", *(["-i", f"{to.key}.pub"] if to.key else [])])
        yield (
            f"it does not let in {user} with {with_key}.\n"
            f"what works: user: and key: of a login that it has, at {to.name} in {_PAGE}; or give it the key: "
            f"{copy} {port}{to.user + '@' if to.user else ''}{to.address}"
        )
    if "Connection refused" in said:
        yield (
            f"nothing listens on port {to.port} there.\n"
            f"what works: sshd on it (sudo apt-get install openssh-server), or its port: in {_PAGE}"
        )
    if re.search(r"Could not resolve hostname", said):
        yield f"its name does not resolve.\nwhat works: address: with its IPv4 address at {to.name} in {_PAGE}"
    if re.search(r"timed out|No route to host|Network is unreachable|Host is down", said, re.IGNORECASE):
        yield (
            "no answer: it is switched off, has another address, or a firewall is between.\n"
            f"what works: start it, or its right address: at {to.name} in {_PAGE}"
        )
    if re.search(r"kex_exchange_identification|Connection (closed|reset)|banner exchange", said):
        yield (
            f"what answers there ends the connection before anybody could log in.\n"
            f"what works: look at sshd on it (journalctl -u ssh), and whether port {to.port} is sshd's"
        )


def broken(outcome: Mapping[str, Any], to: Login) -> str:
    """Say why a step could not even begin on a machine: sudo, Python, a full disk; empty: it is none of these.

    ``outcome`` is a failed task's result. Of a program that came to nothing Ansible itself says that its result cannot
    be read; what the machine said is quoted.
    """
    message = _clean(str(outcome.get("msg") or ""))
    if "module_stdout" not in outcome:
        own = _clean(f"{message}\n{outcome.get('stderr') or ''}")
        elsewhere = to.name == "localhost" or "_ansible_delegated_vars" in outcome
        # Ansible waited for sudo: what it quotes is what the shell or sudo said.
        ask = _faults if "become success" in message else _faults_in_own_words
        found = next(ask(own, to), "")
        return "" if not found or (elsewhere and FULL_DISK.search(own)) else f"{own}\n{found}"
    said = _clean(str(outcome.get("module_stderr") or "")) or _clean(str(outcome["module_stdout"] or ""))
    found = next(_faults(f"{message}\n{said}", to), "")
    if found:
        return f"{found}\n{_quoted('it said', said or message)}"
    code = f" (exit status {outcome['rc']})" if "rc" in outcome else ""
    told = _quoted("its last lines", said) if said else "it said nothing"
    return f"the step ended without a result{code}: {message}\n{told}"


def _faults(said: str, to: Login) -> Iterator[str]:
    """What the shell, sudo and Python say where they should have run a step."""
    user, file = to.user or "the user who logs in", (to.user or "slipway").replace(".", "-")
    if "must have a tty" in said:
        yield (
            "sudo on it wants a terminal (requiretty), and there is none.\n"
            f"what works, on it: echo 'Defaults:{to.user or 'ALL'} !requiretty' | sudo tee /etc/sudoers.d/{file}-tty"
        )
    if re.search(r"not in the sudoers file|may not run sudo|is not allowed to (execute|run)", said):
        own = f"as root on it: adduser {to.user or 'USER'} sudo"
        yield f"{user} may not use sudo on it.\nwhat works{f', {own}' if to.own else _other_box(to)}"
    if re.search(r"sudo: (command )?not found|sudo: No such file", said):
        own = f"as root on it: apt-get install sudo; or user: root at it in {_PAGE}"
        yield f"it has no sudo.\nwhat works{f', {own}' if to.own else _other_box(to)}"
    if re.search(r"module interpreter \S+ was not found|python[\d.]*: (not found|No such file|command not)", said):
        where = "on it" if to.own else f"on it (vagrant ssh {to.name})"
        yield f"it has no python3, which every step needs.\nwhat works, {where}: sudo apt-get install python3"
    if "Read-only file system" in said:
        yield (
            "a file system of it can only be read, as after a fault of its disk.\n"
            "look at, on it: sudo dmesg --level=err; findmnt"
        )
    yield from _faults_in_own_words(said, to)


def _other_box(to: Login) -> str:
    """Say what works where the box of a machine lacks what Vagrant itself needs."""
    return f": vagrant destroy {to.name}, and another box, such as cluster_box: built in {_PAGE}"


def _faults_in_own_words(said: str, to: Login) -> Iterator[str]:
    """What Ansible and modules say themselves of the same."""
    user, rule = to.user or "the user who logs in", f"{to.user or 'USER'} ALL=(ALL) NOPASSWD: ALL"
    if re.search(r"Missing sudo password|sudo: a password is required|no askpass program", said):
        own = (
            f", on it: echo '{rule}' | sudo tee /etc/sudoers.d/{(to.user or 'slipway').replace('.', '-')}; "
            "or here: .venv/bin/ansible-playbook --ask-become-pass playbooks/site.yml"
        )
        yield f"sudo on it asks {user} for a password.\nwhat works{own if to.own else _other_box(to)}"
    if "Incorrect sudo password" in said:
        yield (
            f"sudo on it does not take the password that was given for {user}.\n"
            "what works: the right one behind --ask-become-pass"
        )
    if "requires a minimum of Python version" in said:
        yield (
            "its Python is too old: the roles know Debian 12, Debian 13 and Ubuntu 24.04.\n"
            "what works: one of these systems on it"
        )
    if FULL_DISK.search(said):
        yield _full(to)


def _full(to: Login) -> str:
    return (
        f"a disk of {to.name} is full.\n"
        "look at, on it: df --human-readable / /tmp /var /var/lib/containerd; "
        "sudo du --one-file-system --human-readable --max-depth=2 /var"
    )


def _quoted(what: str, said: str) -> str:
    lines = [line.rstrip() for line in said.splitlines() if line.strip()][-_SHOWN:]
    return "\n".join([f"{what}:", *(f"    | {line}" for line in lines)])


def _clean(text: str) -> str:
    return _CONTROL.sub("", text).strip()
