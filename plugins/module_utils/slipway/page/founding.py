"""What the cluster was founded with, kept on this computer: known also while the cluster cannot answer.

The file is written when kubeadm begins to found the cluster, and by every run that writes the kubeconfig;
``make down`` removes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FILE = "founded.json"


@dataclass(frozen=True)
class Founding:
    """Values by the names of their settings, and the addresses of the controllers that are in, by name."""

    values: Mapping[str, str] = field(default_factory=dict)
    controllers: Mapping[str, str] = field(default_factory=dict)


def kept(state: Path) -> Founding:
    """Read what was kept in ``state``; nothing where there is none, or the file is not ours."""
    try:
        found = json.loads((state / FILE).read_text(encoding="utf-8"))
        values, controllers = dict(found["values"]), dict(found["controllers"])
    except (OSError, ValueError, KeyError, TypeError):
        return Founding()
    return Founding(values, controllers)
