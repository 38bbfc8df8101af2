"""The objects of a namespace and how they hang together, as a picture.

``python -m slipway.status.graph NAMESPACE [FILE]`` writes an SVG (``.slipway/graph/<namespace>.svg`` unless told
otherwise). What is drawn is decided here by pure functions; the layout is Graphviz' (the program ``dot``).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SlipwayError
from ..paths import state_folder

Object = dict[str, Any]
Key = tuple[str, str]
"""Kind and name."""

# What is asked for, in the order of the way that a request takes. ReplicaSets are only a step between two others.
VERSIONS = {
    "Gateway": "networking.istio.io/v1",
    "VirtualService": "networking.istio.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "DestinationRule": "networking.istio.io/v1",
    "ServiceEntry": "networking.istio.io/v1",
    "AuthorizationPolicy": "security.istio.io/v1",
    "RequestAuthentication": "security.istio.io/v1",
    "PeerAuthentication": "security.istio.io/v1",
    "Service": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "ReplicaSet": "apps/v1",
    "Pod": "v1",
    "ServiceAccount": "v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "PersistentVolumeClaim": "v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "AlertmanagerConfig": "monitoring.coreos.com/v1alpha1",
}
COLOURS = {
    **dict.fromkeys(("Gateway", "VirtualService", "HTTPRoute", "DestinationRule", "ServiceEntry"), "#cfe2ff"),
    **dict.fromkeys(("AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication"), "#f8d7da"),
    "Service": "#d1e7dd",
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet"), "#fff3cd"),
    "Pod": "#ffffff",
    **dict.fromkeys(("ConfigMap", "Secret", "PersistentVolumeClaim", "ServiceAccount"), "#e2e3e5"),
    **dict.fromkeys(("ServiceMonitor", "PodMonitor", "PrometheusRule", "AlertmanagerConfig"), "#e0cffc"),
}
# In every namespace without anybody's doing, so of no news in a picture.
GIVEN = {("ConfigMap", "kube-root-ca.crt"), ("ConfigMap", "istio-ca-root-cert"), ("ServiceAccount", "default")}


@dataclass(frozen=True)
class Edge:
    """``what`` says how the first uses the second."""

    source: Key
    target: Key
    what: str = ""


@dataclass
class Graph:
    """What is drawn: keys with a second line of text, and the edges between them."""

    nodes: dict[Key, str] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)


def key(thing: Object) -> Key:
    return thing["kind"], thing["metadata"]["name"]


def graph(things: Iterable[Object]) -> Graph:
    """The objects of one namespace and what each of them points to."""
    by_key = {key(thing): thing for thing in things if key(thing) not in GIVEN}
    made = Graph({place: _caption(thing) for place, thing in by_key.items() if thing["kind"] != "ReplicaSet"})
    for thing in by_key.values():
        for edge in _edges(thing, by_key):
            if edge.source in made.nodes and edge.target in made.nodes and edge not in made.edges:
                made.edges.append(edge)
    return made


def _caption(thing: Object) -> str:
    """The one thing that is worth a second line."""
    spec, status = thing.get("spec", {}), thing.get("status", {})
    match thing["kind"]:
        case "Deployment" | "StatefulSet":
            return f"{status.get('readyReplicas', 0)} of {spec.get('replicas', 1)} ready"
        case "Pod":
            version = thing["metadata"].get("labels", {}).get("version", "")
            return " ".join(filter(None, (version, f"on {spec['nodeName']}" if spec.get("nodeName") else "")))
        case "Service":
            given = [str(entry.get("ip", "")) for entry in status.get("loadBalancer", {}).get("ingress", [])]
            ports = ", ".join(str(port["port"]) for port in spec.get("ports", []))
            return f"{', '.join(given)}:{ports}" if given else f":{ports}"
        case "Gateway":
            hosts = {host for server in spec.get("servers", []) for host in server.get("hosts", [])}
            return ", ".join(sorted(hosts))
        case "VirtualService" | "ServiceEntry":
            return ", ".join(spec.get("hosts", []))
        case "HTTPRoute":
            return ", ".join(spec.get("hostnames", []))
        case "PeerAuthentication":
            return str(spec.get("mtls", {}).get("mode", ""))
        case "AuthorizationPolicy":
            return str(spec.get("action", "ALLOW"))
    return ""


def _edges(thing: Object, by_key: Mapping[Key, Object]) -> Iterator[Edge]:
    look = {
        "Pod": _pod,
        "Service": _service,
        "VirtualService": _routed,
        "HTTPRoute": _led,
        "DestinationRule": _destination_rule,
        "AuthorizationPolicy": _policy,
        "PeerAuthentication": _policy,
        "RequestAuthentication": _policy,
        "ServiceMonitor": _monitor,
        "PodMonitor": _monitor,
        "AlertmanagerConfig": _mail,
    }.get(thing["kind"])
    if look:
        yield from look(thing, by_key)


def _service(thing: Object, by_key: Mapping[Key, Object]) -> Iterator[Edge]:
    for workload in _selected(thing["spec"].get("selector") or {}, by_key):
        yield Edge(key(thing), workload)


def _destination_rule(thing: Object, by_key: Mapping[Key, Object]) -> Iterator[Edge]:
    subsets = ", ".join(subset["name"] for subset in thing["spec"].get("subsets", []))
    yield Edge(key(thing), _leads(thing["spec"]["host"], by_key), subsets)


def _leads(host: str, by_key: Mapping[Key, Object]) -> Key:
    """Give what has a host: the ServiceEntry that names it, else a Service."""
    named = (
        place
        for place, other in by_key.items()
        if place[0] == "ServiceEntry" and host in other["spec"].get("hosts", [])
    )
    return next(named, ("Service", short(host)))


def _policy(thing: Object, by_key: Mapping[Key, Object]) -> Iterator[Edge]:
    for workload in _selected(thing.get("spec", {}).get("selector", {}).get("matchLabels", {}), by_key):
        yield Edge(key(thing), workload)


def _monitor(thing: Object, by_key: Mapping[Key, Object]) -> Iterator[Edge]:
    wanted = thing["spec"].get("selector", {}).get("matchLabels", {})
    aim = "Service" if thing["kind"] == "ServiceMonitor" else "Pod"
    for place, other in by_key.items():
        if place[0] == aim and wanted and wanted.items() <= (other["metadata"].get("labels") or {}).items():
            yield Edge(key(thing), place, "scrapes")


def _mail(thing: Object, _: Mapping[Key, Object]) -> Iterator[Edge]:
    for receiver in thing["spec"].get("receivers", []):
        for mail in receiver.get("emailConfigs", []):
            if mail.get("authPassword"):
                yield Edge(key(thing), ("Secret", mail["authPassword"]["name"]))


def owner(pod: Object, by_key: Mapping[Key, Object]) -> Key | None:
    """Who made a pod: a ReplicaSet's Deployment stands for the ReplicaSet."""
    for reference in pod["metadata"].get("ownerReferences", []):
        place = (reference["kind"], reference["name"])
        above = by_key.get(place, {"metadata": {}})["metadata"].get("ownerReferences", [])
        return (above[0]["kind"], above[0]["name"]) if above else place
    return None


def _pod(pod: Object, by_key: Mapping[Key, Object]) -> Iterator[Edge]:
    """Who made a pod, and what it mounts and reads: all pods of a workload do the same, so that is drawn from there."""
    made_by = owner(pod, by_key)
    if made_by:
        yield Edge(made_by, key(pod))
    for target, what in _used(pod["spec"]):
        yield Edge(made_by or key(pod), target, what)


def _used(spec: Object) -> Iterator[tuple[Key, str]]:
    yield ("ServiceAccount", spec.get("serviceAccountName", "default")), ""
    for volume in spec.get("volumes", []):
        for kind, part, name in (
            ("ConfigMap", "configMap", "name"),
            ("Secret", "secret", "secretName"),
            ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName"),
        ):
            if part in volume:
                yield (kind, volume[part][name]), "mounts"
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        sources = [*container.get("envFrom", []), *(entry.get("valueFrom", {}) for entry in container.get("env", []))]
        for source in sources:
            for part, reference in source.items():
                if part in ("configMapRef", "configMapKeyRef"):
                    yield ("ConfigMap", reference["name"]), "reads"
                elif part in ("secretRef", "secretKeyRef"):
                    yield ("Secret", reference["name"]), "reads"


def _selected(selector: Mapping[str, str], by_key: Mapping[Key, Object]) -> list[Key]:
    """Who made the pods that a selector takes; pods of nobody stand for themselves."""
    found: dict[Key, None] = {}
    for place, thing in by_key.items():
        if place[0] == "Pod" and selector and selector.items() <= (thing["metadata"].get("labels") or {}).items():
            found[owner(thing, by_key) or place] = None
    return list(found)


def _routed(thing: Object, by_key: Mapping[Key, Object]) -> Iterator[Edge]:
    namespace = thing["metadata"].get("namespace", "")
    for name in thing["spec"].get("gateways", []):
        place = ("Gateway", name.removeprefix(f"{namespace}/"))
        if place in by_key:
            yield Edge(place, key(thing))
    seen: dict[Key, list[str]] = {}
    for rule in [*thing["spec"].get("http", []), *thing["spec"].get("tcp", [])]:
        for route in rule.get("route", []):
            words = [route["destination"].get("subset", ""), f"{route['weight']} %" if "weight" in route else ""]
            aim = _leads(route["destination"]["host"], by_key)
            seen.setdefault(aim, []).append(" ".join(filter(None, words)))
    for aim, said in seen.items():
        yield Edge(key(thing), aim, ", ".join(dict.fromkeys(filter(None, said))))


def _led(thing: Object, _: Mapping[Key, Object]) -> Iterator[Edge]:
    seen: dict[str, list[str]] = {}
    for rule in thing["spec"].get("rules", []):
        backends = rule.get("backendRefs", [])
        for to in backends:
            # Of one backend the weight says nothing.
            seen.setdefault(to["name"], []).append(f"{to.get('weight', 1)} %" if len(backends) > 1 else "")
    for name, said in seen.items():
        yield Edge(key(thing), ("Service", name), ", ".join(dict.fromkeys(filter(None, said))))


def short(host: str) -> str:
    """The name of a Service in its own namespace."""
    return host.partition(".")[0]


def quoted(text: str) -> str:
    """A text as DOT has it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def dot(drawn: Graph, title: str) -> str:
    """The graph in Graphviz' language, the same for the same objects."""
    lines = [
        "digraph {",
        f'  label={quoted(title)} labelloc=t rankdir=LR fontname="sans-serif" nodesep=0.15 ranksep=0.6',
        '  node [shape=box style="rounded,filled" fontname="sans-serif" fontsize=10 margin="0.12,0.06"]',
        '  edge [fontname="sans-serif" fontsize=8 color="#6c757d" arrowsize=0.6]',
    ]
    for place, caption in sorted(drawn.nodes.items()):
        text = "\n".join(filter(None, (place[0], place[1], caption)))
        lines.append(
            f"  {quoted('/'.join(place))} [label={quoted(text)} fillcolor={quoted(COLOURS.get(place[0], '#ffffff'))}]"
        )
    for edge in sorted(drawn.edges, key=lambda item: (item.source, item.target, item.what)):
        label = f" [label={quoted(edge.what)}]" if edge.what else ""
        lines.append(f"  {quoted('/'.join(edge.source))} -> {quoted('/'.join(edge.target))}{label}")
    return "\n".join([*lines, "}", ""])


def svg(text: str) -> bytes:
    """What Graphviz makes of it. Raises SlipwayError."""
    if not shutil.which("dot"):
        raise SlipwayError(
            "program-missing", "Graphviz is missing on this machine; `sudo apt-get install graphviz` installs it"
        )
    done = subprocess.run(["dot", "-Tsvg"], input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        raise SlipwayError(
            "program-failed", f"Graphviz could not draw it: {done.stderr.decode(errors='replace').strip()}"
        )
    return done.stdout


def objects(api: Any, namespace: str) -> list[Object]:
    """The namespace's objects of the kinds that are drawn. Raises SlipwayError when there is no such namespace."""
    from ..cluster.access import UnansweredError

    try:
        api.get(f"/api/v1/namespaces/{namespace}")
        return [thing for kind, version in VERSIONS.items() for thing in api.listed(version, kind, namespace)]
    except UnansweredError as exc:
        raise SlipwayError(exc.id, f"{exc.text}; `kubectl get namespaces` lists what there is") from exc


def main(arguments: Sequence[str] | None = None) -> int:
    from ..cluster.reader import Reader

    parser = argparse.ArgumentParser(prog="make graph", description="Draw the objects of a namespace.")
    parser.add_argument("namespace")
    parser.add_argument("file", nargs="?", type=Path, help="SVG to write (.slipway/graph/<namespace>.svg)")
    options = parser.parse_args(arguments)
    state = state_folder()
    target: Path = options.file or state / "graph" / f"{options.namespace}.svg"
    try:
        drawn = graph(objects(Reader(state / "kubeconfig"), options.namespace))
        picture = svg(dot(drawn, f"namespace {options.namespace}"))
    except SlipwayError as exc:
        print(f"graph: {exc.message}", file=sys.stderr)
        return 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(picture)
    print(f"{target}: {len(drawn.nodes)} objects, {len(drawn.edges)} relations")
    return 0


if __name__ == "__main__":
    sys.exit(main())
