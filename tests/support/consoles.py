"""Objects of the roles grafana, kiali, headlamp and tracing, as Ansible's own templating makes them."""

from __future__ import annotations

import base64
import functools
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from slipway.cluster.objects import identity
from slipway.parts import consoles

from .kube import Kube
from .mesh import gateway_address

ROLES = Path(__file__).parents[2] / "roles"
IMAGES = {
    "grafana_image": "docker.io/grafana/grafana:12.4.4",
    "grafana_sidecar_image": "quay.io/kiwigrid/k8s-sidecar:1.30.10",
    "kiali_image": "quay.io/kiali/kiali:v2.27.0",
    "headlamp_image": "ghcr.io/headlamp-k8s/headlamp:v0.45.0",
    "tracing_image": "docker.io/openzipkin/zipkin:3.6.1",
}
TEMPLATES = {
    "grafana": ("settings", "grafana"),
    "kiali": ("settings", "kiali"),
    "headlamp": ("headlamp",),
    "tracing": ("zipkin",),
}
# SHA-1 of nothing.
SUM = "2jmj7l5rSw0yVb/vlWAYkK/YBwk="


@functools.cache
def _plugins() -> None:
    init_plugin_loader()


def rendered(role: str, **settings: Any) -> list[dict[str, Any]]:
    """The objects of a role with its defaults and ``settings``; its host is <role>.lab.local unless these say more."""
    _plugins()
    loader = DataLoader()
    variables: dict[str, Any] = {"ansible_search_path": [str(ROLES / role)], f"{role}_host": f"{role}.lab.local"}
    for name in ("defaults", "vars"):
        read = loader.load_from_file(str(ROLES / role / name / "main.yml"), trusted_as_template=True)
        variables = {**read, **variables}
    variables |= {"__tracing_secret": {"sha1": {"password": SUM}}, **IMAGES, **settings}
    templar = Templar(loader=loader, variables=variables)
    found = []
    for name in TEMPLATES[role]:
        text = templar.template(trust_as_template((ROLES / role / f"templates/{name}.yml.j2").read_text()))
        found += [item for item in yaml.load_all(str(text), Loader=yaml.CSafeLoader) if item]
    return found


def only(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    """The one object of that kind, or of that kind and name."""
    (found,) = (one for one in objects if one["kind"] == kind and name in ("", one["metadata"]["name"]))
    return found


# --- live


def left_out(kube: Kube, role: str) -> str:
    """Why the lab has no such console; empty when it runs."""
    return consoles.left_out({role: True}, kube.bundle).get(role, "")


def needed(kube: Kube, role: str, program: str) -> None:
    """Skip a test of the running console where the lab has none, and say why."""
    if why := left_out(kube, role):
        pytest.skip(f"{program} does not run here: {why}")


def refused(kube: Kube, objects: list[dict[str, Any]]) -> str:
    """What the API server, with all its webhooks, says against the objects; empty when it would take them all."""
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    arguments = ("apply", "--server-side", "--field-manager=slipway-test", "--force-conflicts", "--dry-run=server")
    try:
        kube.text(*arguments, "--filename=-", given=given)
    except AssertionError as exc:
        return str(exc)
    return ""


@contextmanager
def applied(kube: Kube, objects: list[dict[str, Any]]) -> Iterator[None]:
    """Apply these objects; those that did not exist before are removed at the end."""
    there = {identity(one) for one in objects if _there(kube, one)}
    new = [one for one in objects if identity(one) not in there]
    try:
        if new:
            kube.apply(new)
        yield
    finally:
        for one in reversed(new):
            place = one["metadata"].get("namespace")
            kube.text(
                "delete", one["kind"], one["metadata"]["name"], "--ignore-not-found", "--wait=true",
                *([f"--namespace={place}"] if place else []),
                timeout=120,
            )  # fmt: skip


def _there(kube: Kube, one: dict[str, Any]) -> bool:
    place = one["metadata"].get("namespace")
    where = [f"--namespace={place}"] if place else []
    return bool(kube.text("get", one["kind"], one["metadata"]["name"], "--ignore-not-found", "--output=name", *where))


def may(kube: Kube, account: str, verb: str, resource: str) -> bool:
    """Whether an account, namespace:name, may do that in every namespace."""
    asked = ("auth", "can-i", verb, resource, f"--as=system:serviceaccount:{account}", "--all-namespaces")
    try:
        return kube.text(*asked).strip() == "yes"
    except AssertionError as exc:
        # It prints no and fails.
        if str(exc).endswith(": no") or ": no " in str(exc):
            return False
        raise


@dataclass
class Answer:
    """An answer of the gateway."""

    status: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class Gateway:
    """The way that people take to a console: its name, TLS of the cluster's authority, the gateway's address."""

    def __init__(self, kube: Kube, cluster: str) -> None:
        self.address = gateway_address(kube)
        self.cluster = cluster
        self.authority = kube.state / "ca/ca.crt"

    def host(self, role: str) -> str:
        return f"{role}.{self.cluster}.local"

    def ask(self, host: str, path: str = "/", *, user: tuple[str, str] | None = None, port: int = 443) -> Answer:
        """One GET; ``user`` is a name with its password."""
        headers = {"Host": host}
        if user:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(user).encode()).decode()
        with socket.create_connection((self.address, port), timeout=10) as plain:
            wire: socket.socket = plain
            if port == 443:
                context = ssl.create_default_context(cafile=str(self.authority))
                wire = context.wrap_socket(plain, server_hostname=host)
            connection = http.client.HTTPConnection(host, port)
            connection.sock = wire
            try:
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                text = answer.read().decode(errors="replace")
            except (OSError, http.client.HTTPException) as exc:
                raise AssertionError(f"{host}:{port}{path}: {type(exc).__name__} {exc}") from exc
            finally:
                wire.close()
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, text)


def secret(kube: Kube, namespace: str, name: str, key: str) -> str:
    """A value of a Secret."""
    held = kube("get", "secret", name, f"--namespace={namespace}")["data"]
    return base64.b64decode(held[key]).decode()
