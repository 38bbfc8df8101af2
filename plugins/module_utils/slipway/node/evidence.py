"""What a machine itself knows of a step that failed: the journal of its units, their drop-ins, disks that are full.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

Run = Callable[[list[str]], tuple[int, str, str]]

LINES = 15
# Where images, volumes, logs and what a run brings go.
PLACES = ("/", "/tmp", "/var", "/var/lib", "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd", "/usr/local")  # noqa: S108, it is looked at
# A file system with less than this part of its room, or of its inodes, free is said to be full.
_LEAST = 0.05


def of_units(run: Run, units: Iterable[str]) -> str:
    """Give the last lines of each unit's journal, after the files that add to it; empty: they say nothing."""
    told = []
    for unit in units:
        _, journal, _ = run(["journalctl", "--no-pager", f"--lines={LINES}", "--output=cat", f"--unit={unit}"])
        _, added, _ = run(["systemctl", "show", "--property=DropInPaths", "--value", unit])
        lines = [line for line in journal.strip().splitlines() if line != "-- No entries --"]
        drop_ins = [path for path in added.split() if path.startswith("/")]
        told += [f"{unit} is changed by {', '.join(drop_ins)}"] if drop_ins else []
        told += [f"last lines of the journal of {unit}:", *(f"    | {line}" for line in lines)] if lines else []
    return "\n".join(told)


def of_disks(places: Iterable[str] = PLACES, least: float = _LEAST) -> str:
    """Say which file systems are full, by bytes or inodes, each once, with what to look at; empty: none is."""
    told, seen = [], set()
    for place in places:
        try:
            device, state = os.stat(place).st_dev, os.statvfs(place)
        except OSError:
            continue
        if device in seen or not state.f_blocks:
            continue
        seen.add(device)
        size, free = state.f_blocks * state.f_frsize, state.f_bavail * state.f_frsize
        if free < size * least:
            told.append(f"the disk of {place} is full: {free / 10**9:.1f} GB of {size / 10**9:.1f} GB are free")
        elif state.f_files and state.f_favail < state.f_files * least:
            told.append(
                f"the disk of {place} has no room for files: {state.f_favail} of {state.f_files} inodes are free"
            )
    look = "look at: df --human-readable; df --inodes; du --one-file-system --human-readable --max-depth=2 /var"
    return "\n".join([*told, look] if told else [])
