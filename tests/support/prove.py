"""A cluster that is a table of answers, and a release on loopback that answers for real, for tests of proofs."""

from __future__ import annotations

import http.server
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from slipway.cluster.access import UnansweredError
from slipway.prove import agent

from .api import place

Json = dict[str, Any]
# All of it is this machine: an agent binds to any address of it without a network namespace.
SOURCES = "127.9.0.0/16"


class FakeCluster:
    """An API server that gives what stands in ``answers`` by path; a value that can be called is asked each time."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []

    def get(self, path: str) -> Any:
        self.asked.append(path)
        if path not in self.answers:
            raise UnansweredError("api-refuses", f"there is no {path}", 404)
        found = self.answers[path]
        return found() if callable(found) else found

    def text(self, path: str) -> str:
        return str(self.get(path))

    def listed(self, version: str, kind: str, namespace: str = "") -> list[Json]:
        return self.items(place(version, kind, namespace))

    def read(self, version: str, kind: str, namespace: str, name: str) -> Json | None:
        try:
            found: Json = self.get(place(version, kind, namespace, name))
        except UnansweredError:
            return None
        return found

    def items(self, path: str) -> list[Json]:
        try:
            return list(self.get(path))
        except UnansweredError:
            return []


def ready_pod(name: str, replica_set: str = "", node: str = "node-1", namespace: str = "shop") -> Json:
    """A pod that can serve."""
    owners = [{"kind": "ReplicaSet", "name": replica_set}] if replica_set else []
    return {
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": owners},
        "spec": {"nodeName": node},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def service(namespace: str, name: str, **spec: Any) -> Json:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": spec}


def gateway_service(address: str = "192.0.2.92") -> Json:
    """The gateway's Service with its address."""
    return {
        **service("istio-system", "istio-ingressgateway", clusterIP="10.96.0.9"),
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
    }


class Shop:
    """A release as its facts promise it; attributes are what can be broken."""

    def __init__(self, facts: Json, seed: int = 7) -> None:
        self.facts, self.random = facts, random.Random(seed)
        self.shares = dict(facts["routes"][0]["shares"])
        self.tokens: dict[str, tuple[float, float]] = {}
        self.bucket = next((limit["bucket"] for limit in facts["limits"]), None)
        self.cookie_path = "/"
        self.follows = True
        self.lock = threading.Lock()

    def limited(self, address: str) -> bool:
        """Whether a client has no token left."""
        if self.bucket is None:
            return False
        every = float(self.bucket["fill_interval"].rstrip("s")) / self.bucket["tokens_per_fill"]
        now = time.monotonic()
        with self.lock:
            had, since = self.tokens.get(address, (float(self.bucket["max_tokens"]), now))
            gained = int((now - since) / every)
            left = min(had + gained, float(self.bucket["max_tokens"]))
            self.tokens[address] = (max(left - 1, 0), since + gained * every)
        return left < 1

    def answer(self, address: str, cookies: Mapping[str, str]) -> tuple[int, Json, list[str]]:
        """Status, body and Set-Cookie for a request."""
        if self.limited(address):
            return 429, {}, []
        sticky = self.facts["sticky"]
        known = {value: version for version, value in sticky["values"].items() if self.shares.get(version)}
        version = known.get(cookies.get(sticky["cookie"], ""))
        fresh = version is None
        if version is None:
            (version,) = self.random.choices(list(self.shares), list(self.shares.values()))
        hops = []
        for index, (name, declared) in enumerate(self.facts["services"].items()):
            own = version if index == 0 or self.follows else "v1"
            hops.append({"role": name, "version": own, "pod": declared["versions"][own]["deployment"] + "-5d4f-abcde"})
        line = f"{sticky['cookie']}={sticky['values'][version]}; Path={self.cookie_path}; Max-Age={sticky['max_age']}"
        return 200, {"chain": hops}, [line] if fresh else []


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients may go away."""


@contextmanager
def served(shop: Shop) -> Iterator[Callable[[str, Json], Json]]:
    """The release on loopback; gives what carries out the job of a sender there, with the real agent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Cookie", "")
            cookies = dict(part.strip().partition("=")[::2] for part in given.split(";") if part)
            self.reply(*shop.answer(self.client_address[0], cookies))

        def reply(self, status: int, body: Json, lines: list[str]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for line in lines:
                self.send_header("Set-Cookie", line)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    class Refusing(Handler):
        def do_GET(self) -> None:
            self.reply(403, {}, [])

    class Closing(http.server.BaseHTTPRequestHandler):
        def handle(self) -> None:
            self.connection.close()

    servers = {
        name: _Server(("127.0.0.1", 0), kind)
        for name, kind in (("addresses", Handler), ("stranger", Refusing), ("plain", Closing))
    }

    def send(by: str, given: Json) -> Json:
        port = servers.get(by, servers["addresses" if by == "here" else "stranger"]).server_port
        experiments = [
            {**each, "steps": [{**step, "port": port} for step in each["steps"]]} for each in given["experiments"]
        ]
        made = {**given, "experiments": experiments, "targets": dict.fromkeys(given["targets"], "127.0.0.1")}
        if "network" in given:
            made["network"] = SOURCES
        agent.checked({**made, "check_route": False})
        return agent.Agent(made).carry_out()

    threads = [threading.Thread(target=each.serve_forever, args=(0.02,), daemon=True) for each in servers.values()]
    for thread in threads:
        thread.start()
    try:
        yield send
    finally:
        for server in servers.values():
            server.shutdown()
            server.server_close()
