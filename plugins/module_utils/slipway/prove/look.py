"""Find out what a proof has to know of a cluster: addresses, neighbours, what is missing, what the app obeys.

Everything is read; objects are those of the API as plain maps.
"""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..cluster.holdups import condition
from ..errors import SlipwayError
from ..mesh.manifests import address_of
from ..release.judge import MANAGED, answers_for, owner
from ..release.judge import hosts as hosts_of
from . import past
from .planner import KINDS
from .questions import HTTPS

Json = dict[str, Any]

GATEWAY_NAMESPACE, GATEWAY = "istio-system", "istio-ingressgateway"
FILTERS = f"/apis/networking.istio.io/v1alpha3/namespaces/{GATEWAY_NAMESPACE}/envoyfilters"
MONITORING = "monitoring"
# The gateway's pods, as Gateways name them.
INGRESS = {"istio": "ingressgateway"}
# Whose the client pods are: no release's.
MANAGER = "slipway-prove"
# A Service with it is a mail server of our own whose port ``http`` gives the mails that it got: see
# docs/how-to/alerts-by-mail.md.
SINK = "slipway.io/mail-sink"
# Other releases that are asked whether a limit bites at them, too.
MOST_NEIGHBOURS = 5
_ROLE = re.compile(r"/apps/(frontend|service|model)(?::|@|$)")


class Asked(Protocol):
    """An API server that is asked by path; ``slipway.cluster.reader.Reader`` is one. Raises UnansweredError."""

    def get(self, path: str) -> Any:
        """Give the JSON of an answer."""

    def text(self, path: str) -> str:
        """Give the text of an answer."""

    def items(self, path: str) -> list[Json]:
        """Give the objects of a list, none where the API has no such kind."""

    def listed(self, version: str, kind: str, namespace: str = "") -> list[Json]:
        """Give the objects of a kind, of one ``namespace`` or of all."""

    def read(self, version: str, kind: str, namespace: str, name: str) -> Json | None:
        """Give one object; None: it is not there, or its kind is not."""


@dataclass(frozen=True)
class Look:
    """What was found. ``environment``: for ``prove.plan``. ``targets``: for ``prove.job``. ``node``: has a gateway pod.

    ``namespace``: of the client pods; ``stale``: an earlier run has left it. ``sink``: namespace and name of the mail
    server's Service that can be read, or None. ``limiter``: the EnvoyFilter with limits for all clients together.
    ``hooks``: a Service that can be read and that receivers beside mail may go to, or None.
    """

    environment: Json
    targets: dict[str, str]
    node: str
    namespace: str
    stale: bool
    sink: list[str] | None
    limiter: Json | None = None
    hooks: list[str] | None = None


def look(
    api: Asked,
    facts: Json,
    *,
    paths: Mapping[str, str] | None = None,
    tells: bool = False,
    skip: Iterable[str] = (),
    token: bool = False,
    away: Callable[[str], str] | None = None,
) -> Look:
    """Look at the cluster on which ``facts`` are promised. ``away``: says why this machine may not ask an address.

    ``tells``: the app says in its answers which version they are from, though it is none of the examples'. ``skip``:
    kinds of claims that are left out. ``token``: there is one for requests that need it.
    Raises SlipwayError where a proof cannot even begin, UnansweredError where the API does not answer.
    """
    if unknown := sorted(set(skip) - set(KINDS)):
        raise SlipwayError(
            "unknown-claim", f"prove_skip: {unknown[0]} is no kind of claim; there are {', '.join(KINDS)}"
        )
    services = {_named(item): item for item in api.items("/api/v1/services")}
    of_pods = ["deployments"]
    of_pods += ["statefulsets"] if any(each.get("stateful") for each in facts["services"].values()) else []
    deployments = {
        item["metadata"]["name"]: item
        for kind in of_pods
        for item in api.items(f"/apis/apps/v1/namespaces/{facts['namespace']}/{kind}")
    }
    gateways = api.items("/apis/networking.istio.io/v1/gateways")
    routes = api.items("/apis/networking.istio.io/v1/virtualservices")
    namespaces = {item["metadata"]["name"]: item["metadata"] for item in api.items("/api/v1/namespaces")}
    pods = api.items(f"/api/v1/namespaces/{GATEWAY_NAMESPACE}/pods?labelSelector=istio%3Dingressgateway")
    address = gateway_address(services.get((GATEWAY_NAMESPACE, GATEWAY)))
    limiter = total_limits(facts, api.items(FILTERS) if facts["limits"] else [])
    sink = mail_sink(facts["mail"], services)
    spoken = obeys(facts, deployments)
    environment = {
        **spoken,
        "tells": tells or all(route["service"] in spoken["roles"] for route in facts["routes"]),
        "neighbours": neighbours(facts, gateways, routes),
        "elsewhere": elsewhere(facts, gateways),
        "past": limiter is not None,
        "token": token,
        "missing_tools": missing_tools(facts["tool_services"], services),
        "monitoring": (MONITORING, "prometheus") in services,
        "mail_sink": sink is not None,
        "away": away(address) if away else None,
        "paths": dict(paths or {}),
        "skip": list(skip),
    }
    own = client_namespace(facts["release"], facts["namespace"])
    if own in namespaces and (namespaces[own].get("labels") or {}).get(MANAGED) != MANAGER:
        raise SlipwayError(
            "namespace-taken", f"namespace {own} is somebody else's; proofs need that name for their clients"
        )
    return Look(
        environment=environment,
        targets={"gateway": address, **service_addresses(facts, services)},
        node=gateway_node(pods),
        namespace=own,
        stale=own in namespaces,
        sink=sink,
        hooks=sink or hook_sink(facts, services),
        limiter=limiter,
    )


def total_limits(facts: Json, filters: Iterable[Json]) -> Json | None:
    """Give the EnvoyFilter with the release's limits for all clients together; None: there are none."""
    whose = f"{facts['namespace']}/{facts['release']}"
    if not any(limit["per"] == "total" for limit in facts["limits"]):
        return None
    return next((item for item in filters if owner(item) == whose and past.has_total(item)), None)


def client_namespace(release: str, namespace: str) -> str:
    """Name the namespace of a release's client pods: the same in every run, which finds what another left."""
    whose = release if namespace in ("default", release) else f"{release}-{namespace}"
    return f"slipway-prove-{whose}"[:63].rstrip("-")


def _named(item: Mapping[str, Any]) -> tuple[str, str]:
    return str(item["metadata"]["namespace"]), str(item["metadata"]["name"])


def gateway_address(service: Mapping[str, Any] | None) -> str:
    """Give the address of the gateway's Service. Raises SlipwayError where it has none."""
    address = address_of(service or {})
    if not address:
        raise SlipwayError(
            "gateway-not-ready",
            "the gateway has no address, so nothing can be asked of any release\n"
            f"look at: kubectl --namespace {GATEWAY_NAMESPACE} get service {GATEWAY}; `make status`",
        )
    return address


def gateway_node(pods: Iterable[Mapping[str, Any]]) -> str:
    """Name a node with a gateway pod that can serve. Raises SlipwayError where there is none."""
    nodes = sorted(
        str(pod["spec"]["nodeName"])
        for pod in pods
        if not pod["metadata"].get("deletionTimestamp") and pod["spec"].get("nodeName") and is_ready(pod)
    )
    if not nodes:
        raise SlipwayError(
            "gateway-not-ready",
            "no pod of the gateway is Ready, so nothing can be asked of any release\n"
            f"look at: kubectl --namespace {GATEWAY_NAMESPACE} get pods",
        )
    return nodes[0]


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod can serve."""
    return bool(condition(pod, "Ready").get("status") == "True")


def service_addresses(facts: Json, services: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, str]:
    """Give the cluster address of each service by its full host. Raises SlipwayError where the release is not there."""
    found = {}
    for service in facts["services"].values():
        name, namespace = service["host"].split(".")[:2]
        address = ((services.get((namespace, name)) or {}).get("spec") or {}).get("clusterIP") or ""
        try:
            found[service["host"]] = str(ipaddress.ip_address(address))
        except ValueError:
            raise SlipwayError(
                "release-not-there",
                f"release {facts['release']} is not on this cluster: namespace {namespace} has no Service {name}\n"
                "  works: make release RELEASE=releases/<name>.yml",
            ) from None
    return found


def neighbours(facts: Json, gateways: Iterable[Json], routes: Iterable[Json]) -> list[Json]:
    """List hosts of other releases that the gateway answers on plain HTTP: ``host``, ``port``."""
    whose = f"{facts['namespace']}/{facts['release']}"
    own = {*facts["hosts"], *facts["tools"].values()}
    ports: dict[str, int] = {}
    for gateway in gateways:
        for server in (gateway.get("spec") or {}).get("servers") or []:
            if str(server["port"].get("protocol", "")).upper() == "HTTP":
                for host in server.get("hosts") or []:
                    ports.setdefault(host.rpartition("/")[2], int(server["port"]["number"]))
    found = {
        host: ports[host]
        for route in routes
        if owner(route) not in ("", whose)
        for host in hosts_of({**route, "kind": "VirtualService"})
        if host in ports and host not in own and "*" not in host
    }
    return [{"host": host, "port": port} for host, port in sorted(found.items())][:MOST_NEIGHBOURS]


def elsewhere(facts: Json, gateways: Iterable[Json]) -> list[str]:
    """List hosts that the gateway answers for over TLS on connections of their own: those of other Gateways."""
    own = {*facts["hosts"], *facts["tools"].values()}
    found: set[str] = set()
    for gateway in gateways:
        spec = gateway.get("spec") or {}
        if spec.get("selector", INGRESS) != INGRESS:
            continue
        for server in spec.get("servers") or []:
            hosts = {host.rpartition("/")[2] for host in server.get("hosts") or []}
            if int(server["port"]["number"]) == HTTPS and str(server["port"].get("protocol", "")).upper() == "HTTPS":
                # On one that leads to this release too, nothing is misdirected.
                found |= set() if any(answers_for(pattern, host) for pattern in hosts for host in own) else hosts
    return sorted(host for host in found if "*" not in host)[:MOST_NEIGHBOURS]


def missing_tools(tools: Mapping[str, str], services: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str]:
    """List the tools whose Service (``tools``: its name and namespace) is not in this cluster, wherever routes lead."""
    return sorted(tool for tool, service in tools.items() if not _is_there(service, services))


def _is_there(host: str, services: Mapping[tuple[str, str], Mapping[str, Any]], deep: int = 0) -> bool:
    """Tell whether a host is that of a Service; another name for one counts when that one is there."""
    name, _, rest = host.partition(".")
    service = services.get((rest.split(".")[0], name))
    if service is None:
        return False
    other = (service.get("spec") or {}).get("externalName")
    return _is_there(str(other), services, deep + 1) if other and deep < 3 else True


def obeys(facts: Json, deployments: Mapping[str, Json]) -> Json:
    """Say whether the app obeys the test header, at every hop, and what it calls itself in each service."""
    roles: dict[str, str] = {}
    speaks = []
    for name, service in facts["services"].items():
        for version in service["versions"].values():
            deployment = deployments.get(version["deployment"])
            roles[name] = role_of(deployment)
            # The header of a request goes on only from a hop that obeys it itself.
            speaks.append(_settings(_container(deployment)).get("APP_TEST_HEADER") == "1")
    return {"test_header": bool(speaks) and all(speaks), "roles": {name: role for name, role in roles.items() if role}}


def role_of(deployment: Mapping[str, Any] | None) -> str:
    """Give what the example app calls itself in a Deployment; empty: it is another app."""
    container = _container(deployment)
    image = _ROLE.search(str(container.get("image", "")))
    return str(_settings(container).get("APP_ROLE") or (image[1] if image else ""))


def _settings(container: Mapping[str, Any]) -> Json:
    return {each["name"]: each.get("value") for each in container.get("env") or []}


def _container(deployment: Mapping[str, Any] | None) -> Json:
    containers = ((((deployment or {}).get("spec") or {}).get("template") or {}).get("spec") or {}).get("containers")
    return dict((containers or [{}])[0])


def mail_sink(mail: Json | None, services: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str] | None:
    """Name the mail server's Service where it is one of our own that can be read."""
    host = str((mail or {}).get("server", "")).partition(":")[0].split(".")
    if len(host) < 3 or host[2] != "svc":
        return None
    service = services.get((host[1], host[0])) or {"metadata": {}}
    labels = service["metadata"].get("labels") or {}
    return [host[1], host[0]] if labels.get(SINK) == "true" else None


def hook_sink(facts: Json, services: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str] | None:
    """Name a sink in the cluster that receivers beside mail may go to: where they go is in Secrets."""
    if not any(alert["receivers"] for alert in facts["alerts"]):
        return None
    labelled = [place for place, item in services.items() if (item["metadata"].get("labels") or {}).get(SINK) == "true"]
    return list(labelled[0]) if labelled else None


def way(address: str, execute: Callable[..., Any] = subprocess.run) -> str:
    """Say why this machine may not ask ``address``; empty when the address is on a network that it is in itself."""
    try:
        done = execute(
            ["ip", "-json", "route", "get", str(ipaddress.ip_address(address))],
            check=False, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
        found = json.loads(done.stdout)[0]
    except (OSError, ValueError, LookupError, subprocess.SubprocessError):
        return f"this machine does not say how it reaches {address}"
    if "gateway" in found:
        return f"{address} is behind {found['gateway']} for this machine: no request is sent there"
    return ""


def pods_of(pods: Iterable[Json], deployment: str) -> Iterator[Json]:
    """Give the pods of a Deployment, or of a StatefulSet, that can serve."""
    for pod in pods:
        owners = pod["metadata"].get("ownerReferences") or []
        sets = [str(each["name"]) for each in owners if each.get("kind") == "ReplicaSet"]
        ours = any(name.rpartition("-")[0] == deployment for name in sets)
        ours = ours or any((each.get("kind"), each["name"]) == ("StatefulSet", deployment) for each in owners)
        if ours and is_ready(pod) and not pod["metadata"].get("deletionTimestamp"):
            yield pod
