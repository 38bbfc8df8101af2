"""Istio's manifests, its gateway and the names behind it: what role ``istio`` and ``playbooks/hosts.yml`` compute."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from ..errors import SlipwayError
from .schema import Message

Object = Mapping[str, Any]

# Ports that Istio's own programs listen on in a gateway's pod.
RESERVED_PORTS = frozenset({15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090})
# istiod opens no listener below this one for a gateway without root, so those move up by SHIFT.
PRIVILEGED = 1024
SHIFT = 10000
TLS_PORTS = frozenset({443, 8443})

# What others need to be there first. Any other kind comes at the end.
ORDER = (
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "ConfigMap",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "Deployment",
)


def port_fault(port: int, before: Sequence[int] = ()) -> str:
    """Say why the gateway cannot have ``port`` beside those ``before`` it; empty: it can.

    A Gateway names the Service's port (80), and istiod opens the pod's (10080). So no two may meet in the pod, and none
    may take one of Istio's own.
    """
    if port in before:
        return "is there twice"
    target = _target(port)
    if target in RESERVED_PORTS:
        return f"listens on {target} in its pod, where Istio itself does"
    same = next((other for other in before if _target(other) == target), None)
    return "" if same is None else f"listens on {target} in its pod, and so does {same}"


def _target(port: int) -> int:
    return port + SHIFT if port < PRIVILEGED else port


def service_ports(ports: Sequence[int]) -> list[dict[str, Any]]:
    """Give the gateway's Service a port for each of ``ports``, named after its protocol, on a listener of its own.

    Raises SlipwayError that names the port of which ``port_fault`` has something to say.
    """
    made = []
    for index, port in enumerate(ports):
        if fault := port_fault(port, ports[:index]):
            raise SlipwayError("port-taken", f"port {port} of the gateway {fault}; leave it out, or take another.")
        name = f"{'https' if port in TLS_PORTS else 'http'}-{port}"
        made.append({"name": name, "port": port, "protocol": "TCP", "targetPort": _target(port)})
    return made


def merged(base: Any, over: Any) -> Any:
    """Lay ``over`` on ``base``: mappings key by key, lists of named items item by item, anything else replaced."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
    if _named(base) and _named(over):
        values = {item["name"]: item for item in over}
        kept = [merged(item, values.pop(item["name"], item)) for item in base]
        return kept + list(values.values())
    return over


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(i, Mapping) and "name" in i for i in value)


def operator(text: str, values: Object) -> str:
    """Give an IstioOperator as JSON: that of a YAML text, with ``values`` laid on its ``spec``."""
    return json.dumps(merged(yaml.safe_load(text), {"spec": values}), sort_keys=True)


def objects(text: str) -> list[dict[str, Any]]:
    """Read what ``istioctl manifest generate`` prints, in an order that can be applied and that is the same every time.

    istiod itself sets the failure policy of its validating webhook once it answers, so that is not ours to set.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = [item for item in yaml.load_all(text, Loader=loader) if item]
    for item in found:
        if item["kind"] == "ValidatingWebhookConfiguration":
            for webhook in item.get("webhooks", []):
                webhook.pop("failurePolicy", None)
    return sorted(found, key=_place)


def _place(item: Object) -> tuple[int, str, str]:
    kind = item["kind"]
    metadata = item["metadata"]
    place = ORDER.index(kind) if kind in ORDER else len(ORDER)
    return place, str(metadata.get("namespace", "")), str(metadata["name"])


# --- settings of the user

_FREE: dict[str, Any] = {}
# The outer layers of an IstioOperator, which istioctl holds as Go types of its own (operator/pkg/apis/types.go).
_OBJECTS = dict.fromkeys(
    (
        "affinity",
        "env",
        "hpaSpec",
        "imagePullPolicy",
        "nodeSelector",
        "overlays",
        "podAnnotations",
        "podDisruptionBudget",
        "priorityClassName",
        "readinessProbe",
        "replicaCount",
        "resources",
        "securityContext",
        "service",
        "serviceAnnotations",
        "strategy",
        "tolerations",
        "volumeMounts",
        "volumes",
    ),
    _FREE,
)
_COMPONENT = {"enabled": _FREE, "namespace": _FREE, "hub": _FREE, "tag": _FREE, "k8s": _OBJECTS}
_GATEWAY = {**_COMPONENT, "name": _FREE, "label": _FREE}
_SPEC: dict[str, Any] = {
    **dict.fromkeys(("profile", "hub", "tag", "revision", "compatibilityVersion", "unvalidatedValues"), _FREE),
    "components": {
        "base": {"enabled": _FREE, "k8s": _OBJECTS},
        **dict.fromkeys(("pilot", "cni", "ztunnel", "istiodRemote", "gateway"), _COMPONENT),
        **dict.fromkeys(("ingressGateways", "egressGateways"), _GATEWAY),
    },
    "meshConfig": "MeshConfig",
    "values": "Values",
}


def unknown_settings(settings: Object, schema: Mapping[str, Message]) -> list[str]:
    """Say which keys of ``settings``, an IstioOperator's ``spec``, Istio does not know, and which ones may be meant.

    ``schema`` is :func:`slipway.mesh.schema.read`. istioctl passes unknown keys of meshConfig on in silence.
    """
    faults = _outer(settings, _SPEC, "", schema)
    values = settings.get("values")
    # The charts' values hold a second way to the same, described as "anything".
    if isinstance(values, Mapping):
        faults += _inner(values.get("meshConfig"), "MeshConfig", "values.meshConfig", schema)
    return faults


def _outer(value: Any, known: Any, path: str, schema: Mapping[str, Message]) -> list[str]:
    if isinstance(known, str):
        return _inner(value, known, path, schema)
    if isinstance(value, list):
        return [fault for i, item in enumerate(value) for fault in _outer(item, known, f"{path}[{i}]", schema)]
    if not known or not isinstance(value, Mapping):
        return []
    faults = []
    for key, item in value.items():
        here = f"{path}.{key}" if path else str(key)
        faults += _outer(item, known[key], here, schema) if key in known else [_fault(here, key, known)]
    return faults


def _inner(value: Any, name: str, path: str, schema: Mapping[str, Message]) -> list[str]:
    """As :func:`_outer`, for a value that is the protobuf message ``name``."""
    if isinstance(value, list):
        return [fault for i, item in enumerate(value) for fault in _inner(item, name, f"{path}[{i}]", schema)]
    message = schema.get(name)
    if message is None or not isinstance(value, Mapping):
        return []
    if message.entry is not None:
        return [fault for key, item in value.items() for fault in _inner(item, message.entry, f"{path}.{key}", schema)]
    faults = []
    for key, item in value.items():
        here = f"{path}.{key}"
        if key in message.fields:
            faults += _inner(item, message.fields[key], here, schema)
        else:
            faults.append(_fault(here, key, message.shown))
    return faults


def _fault(path: str, key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
    what = f"did you mean {near[0]}?" if near else f"known there: {', '.join(names)}."
    return f"istio_values: Istio does not know {path}; {what}"


def refusal(said: str) -> str:
    """Shorten what istioctl printed when it refused the settings to the reason."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reasons = [line.removeprefix("Error:").strip() for line in lines if line.startswith("Error:")]
    return (reasons or lines or ["no reason given"])[-1]


# --- its address


def address_of(service: Object) -> str:
    """Give the address that a Service of type LoadBalancer got; empty while it has none."""
    given = service.get("status", {}).get("loadBalancer", {}).get("ingress", [])
    return next((str(each["ip"]) for each in given if each.get("ip")), "")


def no_address(events: Iterable[Object], asked: str) -> str:
    """Say why the gateway has no address: the newest warning about its Service, or that nobody hands them out."""
    warnings = [event for event in events if event.get("type") == "Warning"]
    wanted = f"the address {asked}" if asked else "any address"
    if not warnings:
        return f"the gateway did not get {wanted}, and nobody says why: do the pods in metallb-system run?"
    newest = max(warnings, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return f"the gateway did not get {wanted}: {newest.get('message', newest.get('reason', ''))}"


# --- names for people


def host_names(
    gateways: Iterable[Object],
    routes: Iterable[Object],
    ingresses: Iterable[Object] = (),
    http_routes: Iterable[Object] = (),
) -> list[str]:
    """List the full names that Gateways, VirtualServices bound to them, Ingresses and HTTPRoutes answer to, sorted.

    Left out: wildcards, which /etc/hosts cannot say, and names of the cluster's own Services.
    """
    names = [str(host) for item in gateways for server in item["spec"].get("servers", []) for host in server["hosts"]]
    for item in routes:
        if set(item["spec"].get("gateways", [])) - {"mesh"}:
            names += [str(host) for host in item["spec"].get("hosts", [])]
    names += [str(rule.get("host") or "*") for item in ingresses for rule in item["spec"].get("rules") or []]
    names += [str(host) for item in http_routes for host in item["spec"].get("hostnames") or []]
    plain = {name.rpartition("/")[2] for name in names}
    return sorted(name for name in plain if "*" not in name and "." in name and ".svc" not in name)
