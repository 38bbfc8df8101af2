"""Questions to this computer: what programs print, what files say, and commands that need root's rights."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..node import state

# systemd-resolved keeps the real name servers in a file of its own and puts a loopback address into resolv.conf.
RESOLVERS = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")


def lines(*command: str) -> list[str]:
    """Run a program and give the lines that it prints; none where it is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    except OSError:
        return []


def text(path: str) -> str:
    """Read a file; empty where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def free_space(folder: Path) -> int | None:
    """Bytes free for this user where ``folder`` is, or will be made."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def name_servers() -> list[str]:
    """List the name servers of this computer that containers and pods can use."""
    return state.name_servers(*map(text, RESOLVERS))


def as_root(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a command with root's rights; return what it complains of, empty when it went well."""
    # Inside Ansible there is no terminal that sudo could ask for a password on.
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    try:
        ended = subprocess.run([*sudo, *command], capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError as exc:
        return f"{exc.filename} is not installed"
    return "" if ended.returncode == 0 else ended.stderr.strip() or f"exit code {ended.returncode}"
