"""The cluster seen from outside: Services with an address of their own, asked from here and from other machines."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from testinfra.host import Host

from .kube import Kube, eventually
from .lab import run
from .probe import NAMESPACE, PORT


def route(address: str) -> dict[str, Any]:
    """How this machine would send to ``address``: ``dev``, ``prefsrc``, and ``gateway`` when there is one between."""
    (found,) = json.loads(run("ip", "-json", "route", "get", address))
    return dict(found)


def ask(address: str, port: int = PORT, *, seconds: float = 5) -> dict[str, Any]:
    """The answer of a probe pod at ``address``, asked from this machine without any proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}:{port}/", timeout=seconds) as answer:
        seen: dict[str, Any] = json.load(answer)
    return seen


def ask_from(host: Host, address: str, port: int = PORT) -> dict[str, Any]:
    """The same, asked from another machine."""
    fetch = f"import urllib.request as r; print(r.urlopen('http://{address}:{port}/', timeout=5).read().decode())"
    seen: dict[str, Any] = json.loads(host.check_output("env no_proxy='*' python3 -c %s", fetch))
    return seen


def card(address: str) -> str:
    """The network card that answered for ``address`` when this machine last asked it."""
    (neighbour,) = json.loads(run("ip", "-json", "neigh", "show", "to", address))
    return str(neighbour["lladdr"])


def answers(question: Callable[[], dict[str, Any]], *, seconds: float = 60) -> dict[str, Any]:
    """Ask until there is an answer: a new address is announced a moment after the Service has it."""

    def attempt() -> dict[str, Any]:
        try:
            return question()
        except OSError as exc:
            raise AssertionError(str(exc)) from exc

    return eventually(attempt, seconds=seconds, what="the address answers")


class Balanced:
    """Services of type LoadBalancer for probe pods, taken away at the end."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.made: list[str] = []

    def make(self, name: str, node: str, *, policy: str = "Cluster", wanted: str = "") -> None:
        """A Service for the probe pod on ``node``; ``wanted`` is the address it asks for."""
        metadata: dict[str, Any] = {"name": name, "namespace": NAMESPACE}
        if wanted:
            metadata["annotations"] = {"metallb.io/loadBalancerIPs": wanted}
        spec = {
            "type": "LoadBalancer",
            "externalTrafficPolicy": policy,
            "selector": {"probe": node},
            "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
        }
        self.made.append(name)
        self.kube.apply([{"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}])

    def address(self, name: str) -> str:
        """The address that the Service has got."""

        def given() -> str:
            service = self.kube("get", "service", name, f"--namespace={NAMESPACE}")
            return str(service["status"]["loadBalancer"]["ingress"][0]["ip"])

        return eventually(given, seconds=30, what=f"{name} has an address")

    def announcer(self, name: str) -> str:
        """The node that answers for the Service's address."""

        def found() -> str:
            states = self.kube("get", "servicel2statuses", "--namespace=metallb-system")["items"]
            (node,) = [state["status"]["node"] for state in states if state["status"]["serviceName"] == name]
            return str(node)

        def attempt() -> str:
            try:
                return found()
            except ValueError as exc:
                raise AssertionError(str(exc)) from exc

        return eventually(attempt, seconds=30, what=f"a node announces {name}")

    def stop(self) -> None:
        """Take the Services away."""
        if self.made:
            self.kube.text("delete", "service", f"--namespace={NAMESPACE}", "--ignore-not-found", *self.made)
            self.made.clear()


def until_it_answers(question: Callable[[], Any], *, seconds: float) -> float:
    """Seconds until ``question`` is answered, asked five times a second."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            question()
        except OSError:
            time.sleep(0.2)
        else:
            return time.monotonic() - began
    raise AssertionError(f"no answer within {seconds:.0f} s")
