"""Which version a hash picks: bands of a hundred slots, moved as little as the weights ask for.

Envoy picks by ``hash % 100``, slot by slot in the order of a route's destinations, so a client moves exactly when its
slot does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

SLOTS = 100
Band = tuple[str, int]


def bands(weights: Mapping[str, int], present: Iterable[Band] = ()) -> list[Band]:
    """Give the bands for ``weights`` (per cent, together 100), in the order in which they follow each other.

    ``present``: the bands that clients have now. Only as many slots change hands as versions lose. Which ones: those
    that bring the bands nearest to the order of ``weights``.
    """
    plain = [version for version, weight in weights.items() for _ in range(weight)]
    slots = [version for version, weight in present for _ in range(weight)]
    if len(slots) != SLOTS or len(plain) != SLOTS:
        return _joined(plain)
    held = {version: slots.count(version) for version in {*slots, *weights}}
    missing = {version: weight - held.get(version, 0) for version, weight in weights.items()}
    free: set[int] = set()
    for version, count in held.items():
        own = [slot for slot in range(SLOTS) if slots[slot] == version]
        # First what another version should have that needs more, then the end.
        own.sort(key=lambda slot: (missing.get(plain[slot], 0) <= 0, plain[slot] == slots[slot], -slot))
        free.update(own[: max(0, count - weights.get(version, 0))])
    for exact in (True, False):
        for slot in sorted(free):
            wanted = plain[slot] if exact else next(version for version, count in missing.items() if count > 0)
            if missing.get(wanted, 0) > 0:
                slots[slot] = wanted
                missing[wanted] -= 1
                free.discard(slot)
    return _joined(slots)


def _joined(slots: Iterable[str]) -> list[Band]:
    return [(version, len(list(same))) for version, same in itertools.groupby(slots)]
