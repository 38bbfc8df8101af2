"""All files of a container node, read from outside, and in what two of them differ."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field
from typing import Any

# Runs on the node. What the kernel, Docker or the other machines mount there is no file of the node.
LOOK = r"""
import hashlib, json, os, stat, sys
SKIP = ("/proc", "/sys", "/dev", "/run", "/tmp", "/usr/lib/modules", "/mnt/shared", "/srv/slipway/bundles")
found = {}
for folder, names, files in os.walk("/"):
    names[:] = [name for name in names if os.path.join(folder, name) not in SKIP]
    for name in names + files:
        path = os.path.join(folder, name)
        try:
            info = os.lstat(path)
            what = {"mode": stat.filemode(info.st_mode), "owner": f"{info.st_uid}:{info.st_gid}"}
            if stat.S_ISLNK(info.st_mode):
                what["to"] = os.readlink(path)
            elif stat.S_ISREG(info.st_mode) and not path.startswith("/var/lib/containerd/"):
                with open(path, "rb") as file:
                    what["sum"] = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            continue
        found[path] = what
json.dump(found, sys.stdout)
"""
CTR = ("ctr", "--namespace=k8s.io")


@dataclass
class Node:
    """What is on a node's disk: its files, and what containerd has of images, by its own names."""

    files: dict[str, dict[str, str]]
    placed: dict[str, Any]
    written: dict[str, Any]
    images: dict[str, str] = field(default_factory=dict)
    pinned: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)
    snapshots: dict[str, str] = field(default_factory=dict)


def inside(container: str, *command: str, stdin: str = "") -> str:
    """Run a program in a container as root."""
    line = ["docker", "exec", "--interactive", container, *command]
    done = subprocess.run(line, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def look(container: str, *, runs_pods: bool) -> Node:
    """Read a node."""
    files = json.loads(inside(container, "python3", "-", stdin=LOOK))
    placed, written = (
        json.loads(inside(container, "cat", f"/var/lib/slipway/{name}.json")) for name in ("artifacts", "files")
    )
    # The times and places of what was placed; the files themselves are compared by their sums.
    placed = {key: {**entry, "files": sorted(entry["files"])} for key, entry in placed.items()}
    node = Node(files, placed, written)
    if runs_pods:
        rows = [line.split() for line in inside(container, *CTR, "images", "ls").splitlines()[1:]]
        node.images = {row[0]: row[2] for row in rows}
        node.pinned = {row[0] for row in rows if "io.cri-containerd.pinned=pinned" in row[-1]}
        node.blobs = {line.split()[0] for line in inside(container, *CTR, "content", "ls").splitlines()[1:]}
        rows = [line.split() for line in inside(container, *CTR, "snapshots", "ls").splitlines()[1:]]
        # Those of running containers have names of their own.
        node.snapshots = {row[0]: row[1] for row in rows if row[-1] == "Committed"}
    return node


def differences(one: Node, other: Node, known: dict[str, str]) -> list[str]:
    """Name each path in which two nodes differ, how, unless ``known`` (regular expression of paths: why) has it."""
    patterns = [re.compile(pattern) for pattern in known]
    found = []
    for path in sorted({*one.files, *other.files}):
        here, there = one.files.get(path), other.files.get(path)
        if here != there and not any(pattern.fullmatch(path) for pattern in patterns):
            found.append(f"{path}: {here} / {there}")
    return found
