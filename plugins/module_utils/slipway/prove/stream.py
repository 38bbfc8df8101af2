"""A bounded stream of ordinary clients, for as long as somebody keeps its standard input open; it judges nothing.

Standard library and ``agent.py`` beside it, so that it runs in a client pod as well. The first line of stdin is the
job; stdout is one JSON line for each answer, as docs/reference/claims.md says. It ends with its input, its time or its
requests, whichever comes first.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

try:
    from . import agent
except ImportError:
    # As a program it has no package, and Python is told not to look beside it.
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import agent  # type: ignore[import-not-found,no-redef]

Json = dict[str, Any]

# The same bounds whatever a job says.
MOST_RATE = 20.0
MOST_SECONDS = 900.0
MOST_REQUESTS = 18000
MOST_PARALLEL = 32
MOST_SESSIONS = 100


class _Asker(agent.Agent):
    def ask(self, step: Json, number: int, source: int | None, jar: agent.Jar) -> Json:
        """Send one request of a client, and give what came back."""
        return self._ask(step, number, source, jar)


class Visitor:
    """A client that comes back: its cookies, when it was here last, and whether it still waits for an answer."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.jar = agent.Jar()
        self.last = float("-inf")
        self.waits = False


class Stream:
    """Carries out one job. ``say`` takes a line, ``ended`` is set when there is enough."""

    def __init__(self, job: Json, say: Callable[[Any], None], ended: threading.Event) -> None:
        self.job, self.ended, self._say = job, ended, say
        self.rate = max(0.1, min(float(job["rate"]), MOST_RATE))
        self.most = min(int(job["requests"]), MOST_REQUESTS)
        self.pace = float(job.get("pace", 0))
        self.asker = _Asker(
            {
                "targets": {"gateway": job["target"]},
                "seconds": min(float(job["seconds"]), MOST_SECONDS),
                **{key: job[key] for key in ("nonce", "patience", "network", "offset") if key in job},
            }
        )
        self.visitors = [Visitor(number) for number in range(min(int(job["sessions"]), MOST_SESSIONS))]
        self.sources = int(job.get("sources", 0))
        self.once: dict[int, float] = {}
        self.sent = self.late = self.turn = self.newest = 0
        self.words: dict[str, int] = {}
        self.lock = threading.Lock()

    def say(self, line: Any) -> None:
        """Say a line whole, whoever else has something to say."""
        with self.lock:
            self._say(line)

    def carry_out(self) -> None:
        """Send requests at an even rate until it is enough."""
        self.say({"begun": True, "at": round(time.monotonic() - self.asker.start, 3)})
        reason = "asked to"
        waiting = threading.Semaphore(MOST_PARALLEL)
        with ThreadPoolExecutor(MOST_PARALLEL) as pool:
            tick = 0
            while not self.ended.wait(max(0.0, self.asker.start + tick / self.rate - time.monotonic())):
                tick += 1
                now = time.monotonic()
                if now >= self.asker.end or self.sent >= self.most:
                    reason = "time" if now >= self.asker.end else "requests"
                    break
                if not waiting.acquire(blocking=False):
                    self.late += 1
                    continue
                client = self._next(now)
                if client is None:
                    waiting.release()
                    self.late += 1
                    continue
                self.sent += 1
                pool.submit(self._visit, client, self.sent, waiting)
        self.say({"ended": reason, "sent": self.sent, "late": self.late})

    def _next(self, now: float) -> Visitor | None:
        """Give who asks next: in turns one who comes back and a new one; None where all that may have just asked."""
        self.turn += 1
        free = [each for each in self.visitors if not each.waits and now - each.last >= self.pace]
        if free and self.turn % 2:
            return self._marked(min(free, key=lambda each: each.last), now)
        new = self._new(now)
        if new is not None:
            return new
        return self._marked(min(free, key=lambda each: each.last), now) if free else None

    def _marked(self, visitor: Visitor, now: float) -> Visitor:
        visitor.last, visitor.waits = now, True
        return visitor

    def _new(self, now: float) -> Visitor | None:
        """Give a client that was never here, from the address that has been silent the longest."""
        number = len(self.visitors) + self.newest
        if self.sources:
            own = self.sources - len(self.visitors)
            address = self.newest % own if own > 0 else 0
            if own <= 0 or now - self.once.get(address, float("-inf")) < self.pace:
                return None
            self.once[address] = now
        self.newest += 1
        return Visitor(number)

    def _source(self, visitor: Visitor) -> int | None:
        if not self.sources:
            return None
        first = len(self.visitors)
        return visitor.number if visitor.number < first else first + (visitor.number - first) % (self.sources - first)

    def _visit(self, visitor: Visitor, number: int, waiting: threading.Semaphore) -> None:
        place = number % len(self.job["paths"])
        step = {"to": "gateway", "port": self.job["port"], "host": self.job["host"], "path": self.job["paths"][place]}
        # What a hash goes by: each client has its own, and keeps it.
        step |= {
            kind: dict.fromkeys(self.job.get(kind, []), f"{self.job.get('nonce', '')}-{visitor.number}")
            for kind in ("headers", "cookies")
        }
        step["tls"] = bool(self.job.get("tls"))
        try:
            answer = self.asker.ask(step, visitor.number, self._source(visitor), visitor.jar)
            self._tell(visitor, place, answer)
        finally:
            visitor.waits = False
            waiting.release()

    def _tell(self, visitor: Visitor, place: int, answer: Json) -> None:
        """Say an answer: when, ms, client, path, status, who answered, sticky cookie sent and got, error."""
        sticky = self.job.get("sticky", "")
        got = ""
        for line in answer.get("cookies", []):
            name, _, value = line.partition(";")[0].strip().partition("=")
            got = value if name == sticky else got
        line = [answer["at"], answer["ms"], visitor.number, place, answer["status"], self._word(answer)]
        line += [answer["sent"].get(sticky, ""), got]
        self.say([*line, answer["error"]] if answer.get("error") else line)

    def _word(self, answer: Json) -> int:
        """Give the number of what an answer says of the pods that it is from; what is new is said once."""
        told = {"chain": answer.get("chain", ""), "pods": answer.get("pods", [])}
        if not any(told.values()):
            return 0
        key = json.dumps(told)
        with self.lock:
            if key not in self.words:
                self.words[key] = len(self.words) + 1
                self._say({"word": self.words[key], **told})
            return self.words[key]


def main(given: Any, say: Callable[[Any], None]) -> int:
    """Carry out the job in the first line of ``given`` until it ends; exit code."""
    ended = threading.Event()

    def listen() -> None:
        with contextlib.suppress(OSError, ValueError):
            given.read()
        ended.set()

    try:
        job = json.loads(given.readline())
        if job.get("check_route"):
            agent.checked({"experiments": [], "targets": {"gateway": job["target"]}, "check_route": True})
        threading.Thread(target=listen, daemon=True).start()
        if job.get("network"):
            with agent.namespace(job["network"], str(job.get("link", ""))):
                Stream(job, say, ended).carry_out()
        else:
            Stream(job, say, ended).carry_out()
    except agent.RefusedError as exc:
        say({"refused": str(exc)})
        return 3
    except (ValueError, KeyError, TypeError) as exc:
        say({"refused": f"the job cannot be read: {type(exc).__name__} {exc}"})
        return 3
    return 0


def printed(line: Any) -> None:
    """Print a line at once; whoever no longer listens needs none."""
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.stdin, printed))
