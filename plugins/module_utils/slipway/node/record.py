"""What Slipway has written on a machine, remembered there for a reset. Runs on the nodes (stdlib only)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from .fetch import load_record, save_record

# Keys of a file that a reset has to know: whether only a block of it is ours, and what it has to match to be ours.
KEPT = ("block", "only_over")


def remember(path: str, specs: Iterable[Mapping[str, Any]]) -> None:
    """Note files of node_service that are there, and forget those that went. ``path`` names the record."""
    before = load_record(path)
    after = dict(before)
    for spec in specs:
        name = os.path.expanduser(spec["path"])
        if os.path.lexists(name):
            after[name] = {key: spec[key] for key in KEPT if spec.get(key)}
        else:
            after.pop(name, None)
    if after != before:
        save_record(path, after)
