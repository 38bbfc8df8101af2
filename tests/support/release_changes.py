"""A sound page of a release, and the changes by which tests make others of it."""

from __future__ import annotations

import copy
from typing import Any

IMAGE = "example.org/app:1.0"
BASE: dict[str, Any] = {
    "name": "shop",
    "hosts": ["shop.local"],
    "weights": {"v1": 90, "v2": 10},
    "services": {
        "front": {"calls": ["back"], "versions": {"v1": IMAGE, "v2": IMAGE}},
        "back": {"versions": {"v1": IMAGE, "v2": IMAGE}, "metrics": "/metrics"},
    },
}
LONG = "a" * 40
# In place of a value: the key is taken out.
GONE = object()

Changes = list[tuple[str, Any]]
# Changes of the page, the key that is named, part of the reason, part of what would work.
Wrong = tuple[Changes, str, str, str]


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """Copy the page with values put at dotted keys; ``GONE`` takes one out."""
    made = copy.deepcopy(BASE)
    for key, value in changes:
        *above, last = key.split(".")
        place: Any = made
        for part in above:
            place = place.setdefault(part, {})
        if value is GONE:
            del place[last]
        else:
            place[last] = value
    return made
