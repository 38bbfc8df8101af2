"""What Slipway has written on a machine, remembered there for a reset. Runs on the nodes (stdlib only)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from .durable import replace

# Keys of a file that a reset has to know: whether only a block of it is ours, and what it has to match to be ours.
KEPT = ("block", "only_over")

Files = dict[str, dict[str, Any]]


def load(path: str) -> Files:
    """Read the record; empty without one, or where it is cut off."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(path: str, specs: Iterable[Mapping[str, Any]]) -> None:
    """Note files of node_service that are there, and forget those that went. ``path`` names the record."""
    before = load(path)
    after = dict(before)
    for spec in specs:
        name = os.path.expanduser(spec["path"])
        if os.path.lexists(name):
            after[name] = {key: spec[key] for key in KEPT if spec.get(key)}
        else:
            after.pop(name, None)
    if after == before:
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(after, file, indent=1, sort_keys=True)
    replace(temporary, path)
