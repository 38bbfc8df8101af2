"""An API server on loopback that keeps objects in a dict, and takes applies as the real one does where it matters."""

from __future__ import annotations

import copy
import http.client
import http.server
import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

Object = dict[str, Any]


class ApiServer:
    """``objects`` by path. ``refusals`` are given for a path, once each; ``gone`` paths are of kinds that are unknown.

    ``asked`` is what came, as (method, path with query, Accept). ``hang_up`` closes so many connections unanswered.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.objects: dict[str, Object] = {}
        self.refusals: dict[str, list[tuple[int, str]]] = {}
        self.gone: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []
        self.hang_up = 0
        self.raw = ""
        self._lock = threading.Lock()
        self._connections: list[http.client.HTTPConnection] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._give()

            def do_PATCH(self) -> None:
                self._give()

            def _give(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with outer._lock:
                    outer.asked.append((self.command, self.path, self.headers["Accept"]))
                    if outer.hang_up:
                        outer.hang_up -= 1
                        self.close_connection = True
                        return
                    status, found = outer.answer(self.command, self.path, json.loads(body or b"null"))
                # Of a kind that it does not know the real one says this, in plain text.
                unknown = "404 page not found\n" if urlsplit(self.path).path in outer.gone else ""
                data = (outer.raw or unknown or json.dumps(found)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(f"clusters:\n- cluster:\n    server: https://127.0.0.1:{self._server.server_port}\n")

        def connect(host: str, port: int, *, timeout: float, context: object) -> http.client.HTTPConnection:
            assert context
            made = http.client.HTTPConnection(host, port, timeout=timeout)
            self._connections.append(made)
            return made

        # What TLS does has tests of its own; here it would only hide what is said.
        monkeypatch.setattr(http.client, "HTTPSConnection", connect)

    def put(self, path: str, item: Object) -> None:
        """Have an object, as if it had been there before."""
        self.objects[path] = {"kind": "?", "apiVersion": "v1", **item}

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Object]:
        """Answer one request."""
        where = urlsplit(path)
        if self.refusals.get(where.path):
            status, message = self.refusals[where.path].pop(0)
            return status, {"message": message}
        if where.path in self.gone:
            return 404, {"message": "the server could not find the requested resource"}
        if method == "PATCH":
            return self._apply(where.path, body, dry="All" in parse_qs(where.query).get("dryRun", []))
        if where.path in self.objects:
            return 200, self.objects[where.path]
        items = [item for at, item in self.objects.items() if at.startswith(f"{where.path}/")]
        name = where.path.rpartition("/")[2]
        return (200, {"items": items}) if items or name.endswith("s") else (404, {"message": "not found"})

    def _apply(self, path: str, body: Object, *, dry: bool) -> tuple[int, Object]:
        before = self.objects.get(path)
        made = copy.deepcopy({**(before or {}), **body})
        made["metadata"] = {**body["metadata"], "uid": "1", "resourceVersion": str(len(self.asked))}
        if not dry:
            self.objects[path] = made
        return 200 if before else 201, made

    def stop(self) -> None:
        """Answer nobody any more, and close what its clients keep open."""
        for connection in self._connections:
            connection.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
