"""A service in the mesh that says what it sees, behind the gateway, and requests to it from outside.

Its pods are made like those of ``probe``: the pause image with the node's own Python in it.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .kube import Kube, eventually

NAMESPACE = "slipway-test-mesh"
OUTSIDE = "slipway-test-plain"
PORT = 8080
# Seconds that a request may take.
PATIENCE = 5

SERVER = r"""
import http.server, json, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        data = json.dumps({"pod": os.environ["POD"], "node": os.environ["NODE"], "headers": headers}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
# Prints what came, or the kind of error; for `kubectl exec` and for machines.
FETCH = r"""
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers=dict(item.split("=", 1) for item in sys.argv[2:]))
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    print(opener.open(request, timeout=5).read().decode())
except Exception as exc:
    print(type(exc).__name__)
"""


def workload(name: str, namespace: str, image: str, replicas: int = 1) -> list[dict[str, Any]]:
    """Deployment and Service ``name`` in ``namespace``; its pods keep to different nodes where they can."""
    mounts = {"usr": ("/usr", "/usr"), "lib": ("/usr/lib", "/lib"), "lib64": ("/usr/lib64", "/lib64")}
    labels = {"app": name, "version": "v1"}
    container = {
        "name": "app",
        "image": image,
        "command": ["/usr/bin/python3", "-c", SERVER],
        "env": [
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "volumeMounts": [{"name": key, "mountPath": to, "readOnly": True} for key, (_, to) in mounts.items()],
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": name}},
    }
    pod = {
        "terminationGracePeriodSeconds": 1,
        "topologySpreadConstraints": [spread],
        "containers": [container],
        "volumes": [{"name": key, "hostPath": {"path": path}} for key, (path, _) in mounts.items()],
    }
    metadata = {"name": name, "namespace": namespace}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]


def routes(host: str) -> list[dict[str, Any]]:
    """Gateway on the ports 80, 443 and 8080 and VirtualService that lead ``host`` to the echo."""
    metadata = {"name": "echo", "namespace": NAMESPACE, "labels": {"app.kubernetes.io/managed-by": "slipway"}}
    servers: list[dict[str, Any]] = [
        {"port": {"number": number, "name": f"http-{number}", "protocol": "HTTP"}, "hosts": [host]}
        for number in (80, 8080)
    ]
    tls = {"mode": "SIMPLE", "credentialName": "slipway-gateway-tls"}
    servers.append({"port": {"number": 443, "name": "https-443", "protocol": "HTTPS"}, "hosts": [host], "tls": tls})
    return [
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Gateway",
            "metadata": metadata,
            "spec": {"selector": {"istio": "ingressgateway"}, "servers": servers},
        },
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": metadata,
            "spec": {
                "hosts": [host],
                "gateways": ["echo"],
                "http": [{"route": [{"destination": {"host": "echo", "port": {"number": PORT}}}]}],
            },
        },
    ]


def own_address(target: str) -> str:
    """The address under which this machine reaches ``target``; an error unless that is on a network it is in itself."""
    found = json.loads(subprocess.run(["ip", "-json", "route", "get", target], check=True, capture_output=True).stdout)
    assert "gateway" not in found[0], f"{target} is behind {found[0].get('gateway')}: no request is sent there"
    return str(found[0]["prefsrc"])


def gateway_address(kube: Kube) -> str:
    """The address of the mesh's gateway; an error unless this machine is on its network itself."""
    service = kube("get", "service", "istio-ingressgateway", "--namespace=istio-system")
    address = str(service["status"]["loadBalancer"]["ingress"][0]["ip"])
    own_address(address)
    return address


@dataclass
class Answer:
    """An answer of HTTP: ``body`` is what the echo saw, empty when the gateway answered itself."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


class Echo:
    """The service ``echo`` in the mesh, a pod outside of it, and the way in through the gateway."""

    def __init__(self, kube: Kube, address: str, host: str, *, replicas: int = 1, seconds: float = 180) -> None:
        """Start what is missing and wait until the gateway leads to it."""
        self.kube, self.address, self.host = kube, address, host
        self.client = own_address(address)
        pause = kube.bundle["images"]["pause"]
        image = f"{pause['name']}:{pause['tag']}"
        injected = {"name": NAMESPACE, "labels": {"istio-injection": "enabled"}}
        kube.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": m} for m in (injected, {"name": OUTSIDE})])
        things = [*workload("echo", NAMESPACE, image, replicas), *workload("caller", NAMESPACE, image)]
        things += [*workload("plain", OUTSIDE, image), *routes(host)]
        # A namespace is of use a moment after it is there: its service account has to be made.
        eventually(lambda: kube.apply(things), seconds=60, what="the echo is accepted")
        for name, namespace in (("echo", NAMESPACE), ("caller", NAMESPACE), ("plain", OUTSIDE)):
            kube.text(
                "rollout", "status", f"deployment/{name}", f"--namespace={namespace}", f"--timeout={seconds:.0f}s",
                timeout=int(seconds) + 10,
            )  # fmt: skip
        eventually(lambda: self.ask().status == 200, seconds=60, what="the gateway leads to the echo")

    def ask(
        self,
        port: int = 80,
        *,
        host: str = "",
        headers: dict[str, str] | None = None,
        authority: Path | None = None,
        patience: float = PATIENCE,
    ) -> Answer:
        """One request to the gateway; over TLS that ``authority`` has to vouch for, when it is given."""
        name = host or self.host
        try:
            plain = socket.create_connection((self.address, port), timeout=patience)
        except OSError as exc:
            raise AssertionError(f"{self.address}:{port}: {exc}") from exc
        with plain:
            wire = plain
            if authority:
                wire = ssl.create_default_context(cafile=str(authority)).wrap_socket(plain, server_hostname=name)
            connection = http.client.HTTPConnection(name, port)
            connection.sock = wire
            try:
                connection.request("GET", "/", headers={"Host": name, **(headers or {})})
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as exc:
                raise AssertionError(f"{self.address}:{port}: {type(exc).__name__} {exc}") from exc
            finally:
                # The one over TLS has taken the other's place.
                wire.close()
        body = json.loads(text) if answer.status == 200 else {}
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, body)

    def inside(self, caller: str, namespace: str, url: str) -> str:
        """What the pod of ``caller`` gets from ``url``, or the name of the error."""
        command = ("/usr/bin/python3", "-c", FETCH, url)
        where = (f"--namespace={namespace}", f"deployment/{caller}", "--container=app")
        return self.kube.text("exec", *where, "--", *command).strip()

    def pods(self, name: str, namespace: str) -> list[dict[str, Any]]:
        """Pods of a workload, by name."""
        found = self.kube("get", "pods", f"--namespace={namespace}", f"--selector=app={name}")["items"]
        return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))

    def statistics(self, pod: dict[str, Any]) -> dict[str, float]:
        """What the proxy of ``pod`` exposes to Prometheus: the series with its labels, and its value."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        text = self.kube.text(
            "get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}:15090/proxy/stats/prometheus"
        )
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {series: float(value) for series, _, value in lines}

    def stop(self) -> None:
        """Take all of it away."""
        for name in (NAMESPACE, OUTSIDE):
            self.kube.text("delete", "namespace", name, "--ignore-not-found", "--wait=false")


@dataclass
class Watch:
    """Asks the gateway all the time, in a thread, and remembers when it got an answer and when it did not."""

    echo: Echo
    pause: float = 0.2
    patience: float = 2
    seen: list[tuple[float, bool]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(self.patience + 1)

    def _ask(self) -> None:
        while not self._end.wait(self.pause):
            began = time.monotonic()
            try:
                good = self.echo.ask(patience=self.patience).status == 200
            except AssertionError:
                good = False
            self.seen.append((began, good))

    def steady(self, since: float, *, answers: int = 15) -> float | None:
        """Seconds from ``since`` until requests began to be answered for good; None while they are not yet."""
        asked = [item for item in list(self.seen) if item[0] >= since]
        failed = [at for at, good in asked if not good]
        last = max(failed, default=since)
        after = [at for at, good in asked if good and at > last]
        return None if len(after) < answers else (after[0] - since if failed else 0.0)
