"""The test header: it makes one hop slow or failing, so that timeouts, retries and circuit breaking can be seen."""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from typing import NamedTuple

HEADER = "x-slipway-test"
MOST_SECONDS = 10.0
REMEMBERED = 1000
WORD = re.compile(
    r"delay=(?P<ms>\d{1,5})ms|delay=(?P<s>\d{1,2}(\.\d{1,3})?)s|status=(?P<status>[45]\d\d)"
    r"|p=(?P<p>0(\.\d{1,6})?|1(\.0{1,6})?)|first=(?P<first>[1-9]\d{0,2})|(at=)?(?P<at>[\w.-]+)"
)


class Fault(NamedTuple):
    """One directive."""

    seconds: float = 0.0
    status: int = 0
    share: float = 1.0
    first: int = 0
    """Only the first so many times that a hop sees one x-request-id: a retry, which keeps the id, gets past it."""
    at: frozenset[str] = frozenset()
    """Roles, versions or pods, all of which have to be the hop's own."""


def parse(header: str) -> list[Fault]:
    """Read ``delay=200ms;at=service, status=503;p=0.5;at=model;at=v2``; raises ValueError with an example."""
    return [_directive(part) for part in header.split(",") if part.strip()]


def _directive(text: str) -> Fault:
    words = [WORD.fullmatch(word.strip()) for word in text.split(";")]
    got = {key: value for word in words if word for key, value in word.groupdict().items() if value and key != "at"}
    seconds = int(got.get("ms", 0)) / 1000 + float(got.get("s", 0))
    if None in words or seconds > MOST_SECONDS or not (seconds or "status" in got):
        raise ValueError(
            f"{text.strip()!r} is no directive: delay (up to 10s) or status (400 to 599), then p (0 to 1), first (1 to "
            f"999) and at, e.g. {HEADER}: delay=200ms;at=service, status=503;p=0.5;at=model;at=v2"
        )
    at = frozenset(word["at"] for word in words if word and word["at"])
    return Fault(seconds, int(got.get("status", 0)), float(got.get("p", 1)), int(got.get("first", 0)), at)


class Faults:
    """What befalls requests at one hop, which goes by ``names``."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.lock = threading.Lock()
        self.seen: OrderedDict[tuple[Fault, str], int] = OrderedDict()

    def hit(self, header: str, request_id: str) -> tuple[float, int]:
        """Seconds to wait and status to fail with, 0 for neither; raises ValueError."""
        faults = [fault for fault in parse(header) if fault.at <= self.names and self._due(fault, request_id)]
        seconds = min(sum(fault.seconds for fault in faults), MOST_SECONDS)
        return seconds, next((fault.status for fault in faults if fault.status), 0)

    def _due(self, fault: Fault, request_id: str) -> bool:
        if fault.first:
            with self.lock:
                count = self.seen[fault, request_id] = self.seen.pop((fault, request_id), 0) + 1
                if len(self.seen) > REMEMBERED:
                    self.seen.popitem(last=False)
            if count > fault.first:
                return False
        return secrets.randbelow(1_000_000) < fault.share * 1_000_000
