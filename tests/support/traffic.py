"""Requests to the gateway from this machine, one or all the time."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class Said:
    """An answer: its status (the kind of error where there was none), and the version of the first hop."""

    status: str
    version: str


def asked(
    address: str,
    host: str,
    path: str,
    *,
    port: int = 80,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Said:
    """Ask once, as a new client does."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request(method, path, headers={"Host": host, "Connection": "close", **(headers or {})})
        answer = connection.getresponse()
        answer.read()
        first = (answer.getheader("x-chain") or "").partition(",")[0]
        return Said(str(answer.status), first.partition("=")[2])
    except (OSError, http.client.HTTPException) as exc:
        return Said(type(exc).__name__, "")
    finally:
        connection.close()


@dataclass
class Traffic:
    """Asks all the time, ``clients`` at once, and counts what came by status."""

    address: str
    host: str
    path: str
    clients: int = 4
    pause: float = 0.05
    seen: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Self:
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(15)

    def _ask(self) -> None:
        while not self._end.is_set():
            said = asked(self.address, self.host, self.path)
            with self._lock:
                self.seen[said.status] += 1
                self.versions[said.version] += 1
            time.sleep(self.pause)
