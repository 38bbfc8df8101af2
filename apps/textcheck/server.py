"""HTTP/1.1 on threads: limits on what comes in, a log line and metrics for what goes out, and an end without losses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import io
import json
import os
import re
import socket
import socketserver
import sys
import threading
import time
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs

from .app import Answer, App
from .faults import HEADER
from .metrics import CONTENT_TYPE
from .model import make, packed
from .settings import FEATURES, TASKS

IDLE_SECONDS = 3660  # longer than Envoy keeps an idle connection, so that it never sends into one that closes
REQUEST_SECONDS = 10
MOST_CONNECTIONS = 256
SPARE_CONNECTIONS = 16  # above those, for what the cluster asks
SPARE_SECONDS = 1  # until one of them has to have asked something
MOST_BODY = 16 * 1024
MOST_TEXT = 2000
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
INNER = ("/healthz", "/readyz", "/metrics", "/version")
PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


def content_policy(page: str) -> str:
    """Nothing but the page's own style and script, and requests to where it came from."""
    policy = "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'"
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        policy += f"; {tag}-src 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    return policy


PAGE_HEADERS = {"content-security-policy": content_policy(PAGE), "referrer-policy": "no-referrer"}


class RequestError(Exception):
    """A request that is not answered: status, and why."""


class Reply(NamedTuple):
    status: int
    body: bytes
    kind: str = "application/json"
    chain: str = ""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, app: App) -> None:
        self.app = app
        self.draining = self.closing = False
        self.lock = threading.Lock()
        self.idle: dict[socket.socket, None] = {}  # the longest idle one first
        self.connections = 0
        super().__init__((app.settings.host, app.settings.port), Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own asks the DNS for a name that nobody needs

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.connections >= MOST_CONNECTIONS + SPARE_CONNECTIONS:
            with suppress(OSError):  # gone already
                request.send(BUSY)
            self.shutdown_request(request)
            return
        with self.lock:
            self.connections += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        super().process_request_thread(request, client_address)
        with self.lock:
            self.connections -= 1

    def make_room(self) -> bool:
        """Close the connection that has been idle for longest, so that another one may stay; False: all are busy."""
        with self.lock:
            if self.connections <= MOST_CONNECTIONS:
                return True
            connection = next(iter(self.idle), None)
            if connection is None:
                return False
            del self.idle[connection]
            with suppress(OSError):  # gone already
                connection.shutdown(socket.SHUT_RD)  # wakes its thread, which still reads what has arrived
            return True

    def handle_error(self, *_: object) -> None:
        if not isinstance(sys.exception(), OSError):  # else the client went away, as it may
            self.log(level="error", error=traceback.format_exc())

    def log(self, **entry: object) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() // 1_000_000 % 1000:03d}Z"
        print(json.dumps({"time": at, **self.app.hop, **entry}), flush=True)

    def drain(self, seconds: float) -> bool:
        """Answer what still comes for ``linger`` seconds, then finish what has begun; True when all of it was."""
        self.draining = True
        time.sleep(self.app.settings.linger)
        self.shutdown()
        self.server_close()
        with self.lock:
            self.closing = True
            for connection in self.idle:
                with suppress(OSError):  # gone already
                    connection.shutdown(socket.SHUT_RD)  # wakes its thread, which still reads what has arrived
        end = time.monotonic() + seconds
        while self.connections and time.monotonic() < end:
            time.sleep(0.01)
        return not self.connections


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # what cannot be read is refused with a status line, too
    wbufsize = -1
    disable_nagle_algorithm = True
    request_id = ""
    spare = False

    def setup(self) -> None:
        super().setup()
        self.spare = self.server.connections > MOST_CONNECTIONS

    def handle_one_request(self) -> None:
        """Wait for this connection's next request, which may take long; once begun it has to come quickly."""
        self.close_connection, self.request_id = True, ""
        with self.server.lock:
            if self.server.closing:
                return
            if not self.spare:
                self.server.idle[self.connection] = None
        try:
            self.connection.settimeout(SPARE_SECONDS if self.spare else IDLE_SECONDS)
            begun = cast(io.BufferedReader, self.rfile).peek(1)
        except TimeoutError:
            begun = b""
            if self.spare:
                self.wfile.write(BUSY)
        finally:
            with self.server.lock:
                self.server.idle.pop(self.connection, None)
        if begun:
            self.connection.settimeout(REQUEST_SECONDS)
            super().handle_one_request()

    def do_GET(self) -> None:
        metrics = self.server.app.metrics
        started = time.perf_counter()
        path, _mark, query = self.path.partition("?")
        path = path.rstrip("/") or "/"
        self.request_id = self.headers.get("x-request-id", "")
        if not re.fullmatch("[!-~]{1,128}", self.request_id):
            self.request_id = os.urandom(16).hex()
        user = path not in INNER
        metrics.running.add(value=user)
        try:
            self.admit(user)
            body = self.body()
            reply = self.outer(path, query, body) if user else self.inner(path)
        except RequestError as exc:
            reply = self.as_json(self.server.app.failed(*exc.args))
        finally:
            metrics.running.add(value=-user)
        if user:
            seconds = time.perf_counter() - started
            route = path if path == "/" or path[1:] in TASKS else "other"
            outcome = "ok" if reply.status < 400 else "refused" if reply.status < 500 else "failed"
            metrics.requests.add(route, outcome)
            metrics.seconds.observe(route, outcome, value=seconds)
            if self.server.app.settings.log:
                entry = {"method": self.command, "path": path, "status": reply.status, "chain": reply.chain}
                self.server.log(**entry, milliseconds=round(seconds * 1000, 2), request_id=self.request_id)
        self.send(reply, user)

    do_HEAD = do_POST = do_GET  # noqa: N815  the base class looks for these names

    def admit(self, user: bool) -> None:
        """Let what the cluster asks in on a spare connection, and users where an idle one makes room for theirs."""
        if self.spare and user and self.server.make_room():
            self.spare = False
        if self.spare:
            self.close_connection = True
            if user:
                raise RequestError(503, f"all {MOST_CONNECTIONS} connections are busy")

    def inner(self, path: str) -> Reply:
        """What the cluster asks."""
        app = self.server.app
        ready = app.loaded and not self.server.draining
        if path == "/metrics":
            app.metrics.ready.set(value=ready)
            return Reply(200, app.metrics.text().encode(), CONTENT_TYPE)
        if path == "/version":
            return self.as_json(Answer(200, app.about()))
        return self.as_json(Answer(200 if ready or path == "/healthz" else 503, {**app.hop, "ready": ready}))

    def outer(self, path: str, query: str, body: bytes) -> Reply:
        """What users and other hops ask; raises RequestError."""
        app = self.server.app
        forwarded = self.forwarded()
        try:
            delay, status = app.faults.hit(forwarded.get(HEADER, ""), self.request_id)
        except ValueError as exc:
            raise RequestError(400, str(exc)) from exc
        time.sleep(delay)
        if status:
            raise RequestError(status, f"asked for by {HEADER}")
        if path == "/" and app.settings.role == "frontend":
            about = html.escape(json.dumps({**app.hop, "task": app.settings.task}))
            chain = f"{app.settings.role}={app.settings.version}"
            return Reply(200, PAGE.replace("{{ about }}", about).encode(), "text/html; charset=utf-8", chain)
        if app.settings.role == "store":
            return self.stored(path)
        if path[1:] not in TASKS:
            raise RequestError(404, f"{path} is not here; there are " + ", ".join(f"/{task}" for task in TASKS))
        return self.as_json(app.answer(path[1:], self.text(query, body), forwarded))

    def stored(self, path: str) -> Reply:
        """A model for whoever has the token; raises RequestError."""
        scheme, _space, given = self.headers.get("authorization", "").partition(" ")
        wanted = self.server.app.settings.token
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), wanted.encode()):
            raise RequestError(401, "a token is needed, and it has to be the store's")
        features = path.removeprefix("/models/")
        if features not in FEATURES:
            raise RequestError(404, f"{path} is not here; there are " + ", ".join(f"/models/{one}" for one in FEATURES))
        return Reply(200, packed(make(features)), "application/octet-stream")

    def as_json(self, answer: Answer) -> Reply:
        chain = ",".join(f"{hop['role']}={hop['version']}" for hop in answer.body.get("chain", []))
        return Reply(answer.status, json.dumps(answer.body).encode() + b"\n", chain=chain)

    def body(self) -> bytes:
        """All that was sent along, so that the next request on this connection begins where it should."""
        lengths = self.headers.get_all("content-length") or ["0"]
        length = int(lengths[0]) if len(lengths) == 1 and re.fullmatch("[0-9]{1,9}", lengths[0]) else -1
        if "transfer-encoding" in self.headers or not 0 <= length <= MOST_BODY:
            self.close_connection = True
            raise RequestError(413, f"a body needs a content-length of up to {MOST_BODY} bytes")
        return self.rfile.read(length)

    def text(self, query: str, body: bytes) -> str:
        """The text of ``?text=``, of a form or of a JSON object, where it may also be called sms."""
        try:
            if self.command == "POST" and "form" not in self.headers.get("content-type", ""):
                fields = dict(json.loads(body))
            else:
                fields = dict(parse_qs(body.decode() if self.command == "POST" else query, max_num_fields=9))
                fields = {name: values[0] for name, values in fields.items()}
        except (ValueError, TypeError, RecursionError):
            fields = {}
        text = fields.get("text", fields.get("sms"))
        if not isinstance(text, str) or not text.strip() or len(text) > MOST_TEXT:
            example = '{"text": "see you at noon"}'
            raise RequestError(
                400, f"send a text of 1 to {MOST_TEXT} characters, e.g. POST {example} as JSON, or ?text=..."
            )
        return text

    def forwarded(self) -> dict[str, str]:
        """Headers for the next hop, the test header only where it counts."""
        settings = self.server.app.settings
        headers = {"x-request-id": self.request_id}
        for name in (*settings.forward, HEADER) if settings.test_header else settings.forward:
            values = self.headers.get_all(name)
            if values:
                headers[name] = " ".join(("; " if name == "cookie" else ", ").join(values).split())
        return headers

    def send(self, reply: Reply, user: bool = False) -> None:
        cookie = self.server.app.settings.cookie
        self.close_connection = self.close_connection or self.server.draining
        self.send_response(reply.status)
        headers = {"content-type": reply.kind, "content-length": str(len(reply.body)), "cache-control": "no-store"}
        headers |= {"x-content-type-options": "nosniff", "x-request-id": self.request_id, "x-chain": reply.chain}
        headers |= PAGE_HEADERS if reply.kind.startswith("text/html") else {}
        if user and cookie and reply.status < 400 and "=".join(cookie) not in self.cookies():
            headers["set-cookie"] = "{}={}; Path=/; HttpOnly; SameSite=Lax".format(*cookie)
        if self.close_connection:
            headers["connection"] = "close"
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def cookies(self) -> list[str]:
        return [cookie.strip() for cookie in self.headers.get("cookie", "").split(";")]

    def version_string(self) -> str:
        return "textcheck"

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses: lines that are too long, methods that are unknown, no HTTP at all."""
        self.close_connection = True
        self.server.app.metrics.requests.add("other", "refused")
        self.send(self.as_json(self.server.app.failed(code, message or explain or "")))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class calls it so
        """The base class's own lines are not JSON."""
