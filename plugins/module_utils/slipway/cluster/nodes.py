"""What nodes say of themselves. Pure: objects in, words out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .holdups import condition


def node_trouble(node: Mapping[str, Any]) -> str:
    """Why a node is not as it should be; empty when it is."""
    ready = condition(node, "Ready")
    if ready.get("status") != "True":
        return str(ready.get("message") or "it never reported").rstrip(".")
    pressed = [
        str(entry["type"])
        for entry in node["status"]["conditions"]
        if entry["type"] != "Ready" and entry["status"] == "True"
    ]
    return ", ".join(pressed)
