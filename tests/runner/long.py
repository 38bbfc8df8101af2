"""What ``make test-long`` runs on top of ``make test``: the faults, each from no machines, and the bench."""

from __future__ import annotations

from .phases import Phase

LONG: tuple[Phase, ...] = ()
