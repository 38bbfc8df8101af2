"""How far what Alertmanager tells others got: by its own counts, and by what a sink in the cluster has. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]
# Tries, and those that failed.
Tries = tuple[float, float]
EMAIL = "email"
_COUNTED = re.compile(
    r'^alertmanager_notification_requests_(failed_)?total\{[^}]*integration="(\w+)"[^}]*\} (\S+)', re.M
)


def counted(texts: Iterable[str]) -> dict[str, Tries]:
    """Count tries to tell somebody, by sort of receiver, from the metrics of Alertmanagers."""
    found: dict[str, Tries] = {}
    for text in texts:
        for bad, integration, value in _COUNTED.findall(text):
            asked, failed = found.get(integration, (0.0, 0.0))
            number = float(value)
            found[integration] = (asked, failed + number) if bad else (asked + number, failed)
    return found


def since(now: Mapping[str, Tries], before: Mapping[str, Tries], integration: str) -> Tries:
    """Give what has been counted since then."""
    asked, failed = now.get(integration, (0.0, 0.0))
    earlier, failed_earlier = before.get(integration, (0.0, 0.0))
    return asked - earlier, failed - failed_earlier


def state(receiver: Mapping[str, str], alert: str, tries: Tries, hooks: Iterable[Mapping[str, Any]]) -> Json:
    """Say how far an alert got to a receiver: ``state`` (read, handed over, none), and ``error``."""
    if any(hook.get("kind") == receiver["kind"] and alert in str(hook.get("text", "")) for hook in hooks):
        return {"state": "read"}
    asked, failed = tries
    if asked > failed:
        return {"state": "handed over"}
    error = f"{failed:.0f} of {asked:.0f} tries failed; Alertmanager's log says why" if failed else ""
    return {"state": "none", "error": error}
