"""Processes of the application on loopback, as the images start them, and a stand-in for a next hop."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

APPS = Path(__file__).resolve().parents[2] / "apps"
ANSWER_SECONDS = 20
FREE = "win a free prize now, call 0900123456"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def chain(self) -> list[tuple[str, str]]:
        """Role and version of each hop, the first one first."""
        return [(hop["role"], hop["version"]) for hop in self.json["chain"]]


def read(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())


@dataclass
class Hop:
    """One process of the application."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)

    def get(self, path: str, **headers: str) -> Answer:
        """Underscores in the names of headers stand for hyphens."""
        return self.ask("GET", path, None, **headers)

    def check(self, text: str, task: str = "sms", **headers: str) -> Answer:
        return self.ask("POST", f"/{task}", json.dumps({"text": text}).encode(), **headers)

    def ask(self, method: str, path: str, body: bytes | None, **headers: str) -> Answer:
        connection = self.connection()
        try:
            connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            return read(connection)
        finally:
            connection.close()

    def number(self, name: str, **labels: str) -> float:
        """Sum of the samples of this name that carry these labels."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        total = 0.0
        for line in self.get("/metrics").body.decode().splitlines():
            sample, _space, value = line.rpartition(" ")
            metric, _brace, shown = sample.partition("{")
            if metric == name and wanted <= set(shown.rstrip("}").split(",")):
                total += float(value)
        return total

    def terminate(self) -> None:
        """Ask it to end as Kubernetes does."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        return self.process.wait(ANSWER_SECONDS)

    def stop(self) -> int:
        """End it; returns its status."""
        self.terminate()
        return self.ended()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def wait_until_ready(self) -> None:
        """Wait for the line that says so, and take the port from it."""
        eventually(lambda: self.process.poll() is not None or any("event" in one for one in self.lines), "it starts")
        ready = [one["port"] for one in self.lines if one.get("event") == "ready"]
        assert ready, self.log.read_text()
        self.port = ready[0]

    def resident(self) -> int:
        """Memory in bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")


@contextmanager
def started(role: str, **settings: str) -> Iterator[Hop]:
    """A process that is gone afterwards, whatever happens.

    ``settings`` are variables without their ``APP_``, in lower case, and ``token``.
    """
    env = {"APP_ROLE": role, "APP_HOST": "127.0.0.1", "APP_PORT": "0", "APP_LINGER": "0", "PYTHONPATH": str(APPS)}
    env |= {"GITHUB_TOKEN": settings.pop("token")} if "token" in settings else {}
    env |= {f"APP_{name.upper()}": value for name, value in settings.items()}
    with tempfile.NamedTemporaryFile("w") as log:
        command = [sys.executable, "-S", "-m", "textcheck"]
        process = subprocess.Popen(command, env=env, cwd="/", stdout=log, stderr=subprocess.STDOUT)
        try:
            yield Hop(process, Path(log.name))
        finally:
            process.kill()
            process.wait()


@contextmanager
def hop(role: str, **settings: str) -> Iterator[Hop]:
    """A process that is ready."""
    with started(role, **settings) as process:
        process.wait_until_ready()
        yield process


class Chain(NamedTuple):
    frontend: Hop
    service: Hop
    model: Hop


@contextmanager
def in_a_row() -> Iterator[Chain]:
    """Three versions, so that no test mistakes one hop for another."""
    on = {"test_header": "1"}
    with (
        hop("model", version="v3", **on) as model,
        hop("service", version="v2", next=model.address, timeout="2", **on) as service,
        hop("frontend", next=service.address, cookie_name="canary-user", cookie_value="true", **on) as frontend,
    ):
        yield Chain(frontend, service, model)


def eventually(check: Callable[[], bool], what: str, seconds: float = ANSWER_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


@dataclass
class Stand:
    """Answers as it is told and keeps the headers that came."""

    port: int = 0
    status: int = 200
    body: bytes = b'{"result": "ham", "chain": [{"role": "model", "version": "v7", "pod": "stand"}]}'
    seen: list[dict[str, str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def stand() -> Iterator[Stand]:
    told = Stand()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.seen.append({key.lower(): value for key, value in self.headers.items()} | {"path": self.path})
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(told.status)
            self.send_header("content-length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class calls it so
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield told
        server.shutdown()
