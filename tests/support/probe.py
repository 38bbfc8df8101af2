"""Pods that say what they see: one on every node, each with a Service.

No image with tools in it is needed: a pod is the pause image's empty root with the node's own Python mounted into it,
in a network of its own, with the name server that the kubelet gave it.
"""

from __future__ import annotations

import functools
import itertools
import urllib.parse
from dataclasses import dataclass
from typing import Any

from .kube import Kube, eventually, ready

NAMESPACE = "slipway-probe"
PORT = 8080

SETTINGS = "settings"

# Runs inside the pod: GET / says who asks, /fetch?url= asks somebody else, /resolve?name= asks the pod's name server,
# /setting?name= reads one of the ConfigMap SETTINGS.
SERVER = r"""
import http.server, json, os, socket, urllib.parse, urllib.request

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        where = urllib.parse.urlsplit(self.path)
        given = dict(urllib.parse.parse_qsl(where.query))
        status = 200
        try:
            if where.path == "/fetch":
                with urllib.request.urlopen(given["url"], timeout=5) as answer:
                    body = json.load(answer)
            elif where.path == "/resolve":
                found = socket.getaddrinfo(given["name"], None, socket.AF_INET, socket.SOCK_STREAM)
                body = {"addresses": sorted({entry[4][0] for entry in found})}
            elif where.path == "/setting":
                with open("/settings/" + os.path.basename(given["name"])) as text:
                    body = {"text": text.read()}
            else:
                body = {"client": self.client_address[0], "node": os.environ["NODE"], "pod": os.environ["POD"]}
        except Exception as exc:
            status, body = 502, {"error": f"{type(exc).__name__}: {exc}"}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


@dataclass(frozen=True)
class Probe:
    """One pod: its node, its own address and that of its Service."""

    node: str
    address: str
    service: str


def objects(nodes: list[str], image: str) -> list[dict[str, Any]]:
    """Namespace, pods and Services for ``nodes``."""
    mounts = {"usr": ("/usr", "/usr"), "lib": ("/usr/lib", "/lib"), "lib64": ("/usr/lib64", "/lib64")}
    things: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}]
    for node in nodes:
        metadata = {"name": f"probe-{node}", "namespace": NAMESPACE, "labels": {"probe": node}}
        container = {
            "name": "probe",
            "image": image,
            "command": ["/usr/bin/python3", "-c", SERVER],
            "env": [{"name": "NODE", "value": node}, {"name": "POD", "value": f"probe-{node}"}],
            "ports": [{"name": "http", "containerPort": PORT}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
            "volumeMounts": [
                *({"name": name, "mountPath": inside, "readOnly": True} for name, (_, inside) in mounts.items()),
                {"name": SETTINGS, "mountPath": "/settings", "readOnly": True},
            ],
        }
        pod = {
            # The node is named, not chosen, so that a controller gets its pod as well.
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [
                *({"name": name, "hostPath": {"path": outside}} for name, (outside, _) in mounts.items()),
                {"name": SETTINGS, "configMap": {"name": SETTINGS, "optional": True}},
            ],
        }
        service = {"selector": {"probe": node}, "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]}
        things.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
        things.append({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service})
    return things


class Probes:
    """The pods of one cluster, and questions to them."""

    def __init__(self, kube: Kube, *, seconds: float = 120) -> None:
        """Start the pods that are missing and wait until each of them answers."""
        self.kube = kube
        names = [str(node["metadata"]["name"]) for node in kube.nodes()]
        pause = kube.bundle["images"]["pause"]
        wanted = objects(names, f"{pause['name']}:{pause['tag']}")
        # A namespace is of use a moment after it is there: its service account has to be made.
        eventually(lambda: kube.apply(wanted), seconds=seconds, what="the probe pods are accepted")
        self.all = eventually(lambda: self._answering(names), seconds=seconds, what="a probe pod answers on every node")

    def _answering(self, names: list[str]) -> list[Probe]:
        pods = {pod["spec"]["nodeName"]: pod for pod in self.kube("get", "pods", "--namespace", NAMESPACE)["items"]}
        services = {
            service["metadata"]["labels"]["probe"]: service["spec"]["clusterIP"]
            for service in self.kube("get", "services", "--namespace", NAMESPACE)["items"]
        }
        waiting = [name for name in names if name not in pods or not ready(pods[name])]
        assert not waiting, f"no probe on {', '.join(waiting)} yet"
        return [Probe(name, pods[name]["status"]["podIP"], services[name]) for name in names]

    def ask(self, probe: Probe, path: str, **query: str) -> dict[str, Any]:
        """The answer of one pod, asked through the API server."""
        where = f"{path}?{urllib.parse.urlencode(query)}" if query else path
        answer: dict[str, Any] = self.kube.raw(
            f"/api/v1/namespaces/{NAMESPACE}/pods/probe-{probe.node}:{PORT}/proxy{where}"
        )
        return answer

    def resolve(self, probe: Probe, name: str) -> list[str]:
        """Addresses that the pod's own name server gives for ``name``."""
        return list(self.ask(probe, "/resolve", name=name)["addresses"])

    def fetch(self, probe: Probe, url: str) -> dict[str, Any]:
        """What the pod gets from ``url``."""
        return self.ask(probe, "/fetch", url=url)

    def set(self, name: str, text: str) -> None:
        """Put one setting into the ConfigMap that all of them have as a folder."""
        metadata = {"name": SETTINGS, "namespace": NAMESPACE}
        self.kube.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {name: text}}])

    def setting(self, probe: Probe, name: str) -> str:
        """What the pod reads in that folder."""
        return str(self.ask(probe, "/setting", name=name)["text"])

    def fetch_by_service(self, source: Probe, target: Probe) -> dict[str, Any]:
        """What ``source`` gets from the Service of ``target``, asked until there is an answer: kube-proxy learns of a
        Service a moment after it is made."""
        return eventually(
            lambda: self.fetch(source, f"http://{target.service}:{PORT}/"),
            seconds=60,
            what=f"the Service of {target.node} answers on {source.node}",
        )

    def resolve_everywhere(self, name: str, *, seconds: float = 120) -> None:
        """Wait until the name server of every pod has an answer for ``name``."""
        for probe in self.all:
            ask = functools.partial(self.resolve, probe, name)
            eventually(ask, seconds=seconds, what=f"DNS answers on {probe.node}")

    def see_each_other(self) -> None:
        """Assert that each pod is reached by every other one, and sees its own address."""
        for source, target in itertools.permutations(self.all, 2):
            assert self.fetch(source, f"http://{target.address}:{PORT}/")["client"] == source.address

    def stop(self) -> None:
        """Take the pods away."""
        self.kube.text("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
