"""An API server on loopback that keeps objects in a dict, and takes applies as the real one does where it matters."""

from __future__ import annotations

import copy
import http.server
import json
import threading
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

Object = dict[str, Any]

# The kinds that it serves, by version.
KINDS = {
    "v1": "Namespace Service Secret ConfigMap Pod Event Node ServiceAccount PersistentVolumeClaim",
    "apps/v1": "Deployment DaemonSet ReplicaSet StatefulSet",
    "batch/v1": "Job CronJob",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "policy/v1": "PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1": "RoleBinding Role ClusterRole ClusterRoleBinding",
    "storage.k8s.io/v1": "StorageClass",
    "apiextensions.k8s.io/v1": "CustomResourceDefinition",
    "networking.k8s.io/v1": "Ingress IngressClass",
    "networking.istio.io/v1": "Gateway VirtualService DestinationRule ServiceEntry Sidecar",
    "networking.istio.io/v1alpha3": "EnvoyFilter",
    "security.istio.io/v1": "AuthorizationPolicy PeerAuthentication RequestAuthentication",
    "telemetry.istio.io/v1": "Telemetry",
    "monitoring.coreos.com/v1": "Alertmanager PrometheusRule ServiceMonitor PodMonitor Prometheus",
    "monitoring.coreos.com/v1alpha1": "AlertmanagerConfig",
}
ANYWHERE = (
    *("Namespace", "Node", "StorageClass", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"),
    "IngressClass",
)


def plural(kind: str) -> str:
    """Name a kind as paths do."""
    name = kind.lower()
    if name.endswith("y"):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith(("s", "ss")) else f"{name}s"


def place(version: str, kind: str, namespace: str = "", name: str = "") -> str:
    """Give the path of a kind, of one namespace or object where they are named."""
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    inside = f"/namespaces/{namespace}" if namespace and kind not in ANYWHERE else ""
    return f"{root}{inside}/{plural(kind)}" + (f"/{name}" if name else "")


def discovery(path: str) -> Object | None:
    """Answer what clients ask to learn which kinds there are; None: the path is of something else."""
    groups: dict[str, list[str]] = {}
    for version in KINDS:
        if "/" in version:
            groups.setdefault(version.partition("/")[0], []).append(version)
    if path == "/version":
        return {"gitVersion": "v1.37.0"}
    if path == "/apis":
        return {
            "kind": "APIGroupList",
            "groups": [
                {
                    "name": name,
                    "preferredVersion": {"groupVersion": versions[0], "version": versions[0].partition("/")[2]},
                    "versions": [{"groupVersion": one, "version": one.partition("/")[2]} for one in versions],
                }
                for name, versions in groups.items()
            ],
        }
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if version not in KINDS or path not in (f"/api/{version}", f"/apis/{version}"):
        return None
    return {
        "kind": "APIResourceList",
        "resources": [
            {"name": plural(kind), "kind": kind, "namespaced": kind not in ANYWHERE, "verbs": ["get", "list"]}
            for kind in KINDS[version].split()
        ],
    }


def kubeconfig(server: str, **user: str) -> str:
    """Write a kubeconfig with one cluster and one user."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server}}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        "current-context": "lab",
    }
    return json.dumps(content)


class ApiServer:
    """``objects`` by path. ``refusals`` are given for a path, once each; ``gone`` paths are of kinds that are unknown.

    ``asked`` is what came, as (method, path with query, Accept), but for questions about kinds. ``hang_up`` closes so
    many connections unanswered, ``silent`` all of them. With ``again``, a 429 says when to come again.
    ``drop`` does so also where kinds are asked for.
    ``prefix`` is what its paths begin with. ``headers`` are those
    of the last question.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.objects: dict[str, Object] = {}
        self.refusals: dict[str, list[tuple[int, str]]] = {}
        self.gone: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []
        self.hang_up = 0
        self.again = False
        self.raw = ""
        self.silent = False
        self.drop = 0
        self.prefix = ""
        self.headers: Message = Message()
        self._lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._give()

            def do_PATCH(self) -> None:
                self._give()

            def _give(self) -> None:
                assert self.path.startswith(outer.prefix)
                self.path = self.path.removeprefix(outer.prefix)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if outer.silent:
                    self.close_connection = True
                    return
                if outer.drop:
                    outer.drop -= 1
                    self.close_connection = True
                    return
                known = discovery(urlsplit(self.path).path)
                if known is not None and not outer.refusals.get(urlsplit(self.path).path):
                    self._say(200, json.dumps(known).encode())
                    return
                with outer._lock:
                    outer.headers = self.headers
                    outer.asked.append((self.command, self.path, self.headers["Accept"]))
                    if outer.hang_up:
                        outer.hang_up -= 1
                        self.close_connection = True
                        return
                    status, found = outer.answer(self.command, self.path, json.loads(body or b"null"))
                # Of a kind that it does not know the real one says this, in plain text.
                unknown = "404 page not found\n" if urlsplit(self.path).path in outer.gone else ""
                self._say(status, (outer.raw or unknown or json.dumps(found)).encode())

            def _say(self, status: int, data: bytes) -> None:
                self.send_response(status)
                if outer.again and status == 429:
                    self.send_header("Retry-After", "1")
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
        # TLS has its own tests; here it would only hide the messages.
        self.kubeconfig.write_text(kubeconfig(f"http://127.0.0.1:{self._server.server_port}"))
        monkeypatch.setenv("SLIPWAY_CACHE", str(folder / "cache"))
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

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
        """Stop answering, and close the connections that clients keep open."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
