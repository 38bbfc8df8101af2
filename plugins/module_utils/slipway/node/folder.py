"""Folders that pods of any user may write to, on a machine. Runs on the nodes (stdlib only)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

# As /tmp: everybody may write, nobody removes what is another's.
MODE = 0o1777
PERMISSIONS = 0o777


def mount_points(mountinfo: str) -> set[str]:
    """Read where something is mounted from the text of /proc/self/mountinfo (proc(5))."""
    fields = (line.split() for line in mountinfo.splitlines())
    # Spaces, tabs, newlines and backslashes stand there as three octal digits.
    return {re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field[4]) for field in fields if len(field) > 4}


@dataclass(frozen=True)
class Folder:
    """What became of a folder; ``closed``: not everybody may write to it, and nothing could be done about that."""

    changed: bool
    closed: bool = False


def share(path: str, *, pretend: bool = False) -> Folder:
    """Have a folder at ``path`` that everybody may write to; with ``pretend`` only say what would be done.

    ``OSError`` when there can be none.
    """
    new = not os.path.isdir(path)
    if new and not pretend:
        os.makedirs(path)
    if new and pretend:
        return Folder(changed=True)
    before = os.stat(path).st_mode
    if before & PERMISSIONS == MODE & PERMISSIONS:
        return Folder(changed=new)
    if pretend:
        return Folder(changed=True)
    try:
        os.chmod(path, MODE)
    except PermissionError:
        return Folder(changed=new, closed=True)
    after = os.stat(path).st_mode
    # Some file systems keep no permissions, and say nothing.
    return Folder(changed=new or after != before, closed=after & PERMISSIONS != MODE & PERMISSIONS)


def closed_volumes(path: str) -> list[str]:
    """Name the volumes below ``path`` that no pod can have used: without a file, and only root may write to them.

    The provisioner makes a volume's folder for everybody. Where that is gone (another machine has the node's name now),
    the kubelet makes it for root alone, as whom this runs.
    """
    found = []
    for name in sorted(os.listdir(path)) if os.path.isdir(path) else []:
        volume = os.path.join(path, name)
        if os.path.isdir(volume) and not os.path.islink(volume):
            states = [os.lstat(folder) for folder, _, _ in os.walk(volume)]
            files = any(names for _, _, names in os.walk(volume))
            if not files and all(state.st_uid == os.geteuid() and not state.st_mode & 0o022 for state in states):
                found.append(volume)
    return found


def open_volume(volume: str) -> None:
    """Let everybody write to a volume, and to the folders that the kubelet has made in it."""
    for folder, _, _ in os.walk(volume):
        os.chmod(folder, PERMISSIONS)
