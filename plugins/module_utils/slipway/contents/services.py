"""Read Services, their pods and versions out of objects. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import walk
from .rules import Understood

Object = dict[str, Any]


@dataclass(frozen=True)
class Version:
    """Pods that answer together: their Deployment, and what tells them."""

    name: str
    deployment: Object

    @property
    def replicas(self) -> int:
        """Say how many pods there are to be."""
        wanted = (self.deployment.get("spec") or {}).get("replicas")
        return 1 if wanted is None else int(wanted)

    @property
    def labels(self) -> dict[str, str]:
        """Give the labels of its pods."""
        return walk.pod_labels(self.deployment)


@dataclass(frozen=True)
class Service:
    """A Service and its versions, by the subsets that routes name, else by their Deployments."""

    item: Object
    versions: dict[str, Version] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Give its name."""
        return walk.name(self.item)

    @property
    def port(self) -> int:
        """Give its first port."""
        return int(next(iter((self.item.get("spec") or {}).get("ports") or [{}])).get("port") or 80)

    @property
    def selector(self) -> dict[str, str]:
        """Give the labels that its pods have."""
        return dict((self.item.get("spec") or {}).get("selector") or {})


class Services:
    """The Services of a namespace among objects."""

    def __init__(self, objects: list[Object], namespace: str, domain: str) -> None:
        self.objects, self.namespace, self.domain = objects, namespace, domain
        self.deployments = [
            item for item in walk.of(objects, "Deployment", "StatefulSet") if walk.space(item) == namespace
        ]
        # Services that are versions of another one: its name, and that of the version.
        self._joined: dict[str, tuple[str, str]] = {}
        self.all = {
            walk.name(item): self._read(item)
            for item in walk.of(objects, "Service")
            # Another name of a Service is none that has pods.
            if walk.space(item) == namespace and walk.inner(item.get("spec")).get("type") != "ExternalName"
        }

    def at(self, host: str) -> Service | None:
        """Find the Service that a host means; of several that share requests, the first."""
        place = walk.service_of(host, self.namespace, self.domain)
        if not place or place[0] != self.namespace:
            return None
        return self.all.get(self._joined.get(place[1], (place[1], ""))[0])

    def named(self, host: str) -> str:
        """Name the version that a Service is of another one; empty: it is of none."""
        place = walk.service_of(host, self.namespace, self.domain)
        return self._joined.get(place[1], ("", ""))[1] if place and place[0] == self.namespace else ""

    def join(self, understood: Understood) -> None:
        """Take Services with one version each that share the requests of a path for versions of the first of them."""
        for way in understood.ways:
            targets = [*way.shares, *(one.target for one in understood.choices if one.path == way.path)]
            found = [self.at(host) for host, subset in dict.fromkeys(targets) if not subset]
            each = {one.name: one for one in found if one is not None and len(one.versions) == 1}
            if len(each) > 1 and len(each) == len(set(targets)):
                self._join(list(each.values()))

    def _join(self, services: list[Service]) -> None:
        first, only = services[0], [next(iter(each.versions.values())) for each in services]
        labels = [version.labels.get("version", "") for version in only]
        names = labels if all(labels) and len(set(labels)) == len(labels) else [each.name for each in services]
        versions = [Version(name, version.deployment) for name, version in zip(names, only, strict=True)]
        self.all[first.name] = Service(first.item, dict(zip(names, versions, strict=True)))
        self._joined |= {each.name: (first.name, name) for each, name in zip(services, names, strict=True)}

    def _read(self, item: Object) -> Service:
        selector = dict((item.get("spec") or {}).get("selector") or {})
        pods = [one for one in self.deployments if selector and selector.items() <= walk.pod_labels(one).items()]
        subsets = dict(self._subsets(walk.name(item)))
        found = {}
        for subset, labels in subsets.items():
            own = next((one for one in pods if labels.items() <= walk.pod_labels(one).items()), None)
            if own is not None:
                found[subset] = Version(subset, own)
        if not subsets:
            for one in pods:
                called = walk.pod_labels(one).get("version") or walk.name(one)
                found[called if called not in found else walk.name(one)] = Version(called, one)
        return Service(item, found)

    def _subsets(self, service: str) -> Iterator[tuple[str, dict[str, str]]]:
        for rule in walk.of(self.objects, "DestinationRule"):
            spec = rule.get("spec") or {}
            if walk.service_of(str(spec.get("host", "")), walk.space(rule), self.domain) == (self.namespace, service):
                for subset in spec.get("subsets") or []:
                    yield str(subset.get("name")), dict(subset.get("labels") or {})

    def calls(self, version: Version) -> list[str]:
        """Name the Services that a version's settings have the address of."""
        texts = json.dumps(
            [[one.get("env"), one.get("args"), one.get("command")] for one in walk.containers(version.deployment)]
        )
        for one in walk.containers(version.deployment):
            for source in one.get("envFrom") or []:
                name = (source.get("configMapRef") or {}).get("name")
                texts += "".join(
                    json.dumps(item.get("data") or {})
                    for item in walk.of(self.objects, "ConfigMap")
                    if walk.name(item) == name
                )
        return [name for name in self.all if re.search(rf"//{re.escape(name)}(?=[.:/\"])", texts)]


def injected(version: Version, *, everywhere: bool) -> bool:
    """Tell whether pods get the mesh's proxy."""
    template = walk.template(version.deployment).get("metadata") or {}
    for told in (template.get("labels") or {}, template.get("annotations") or {}):
        if "sidecar.istio.io/inject" in told:
            return str(told["sidecar.istio.io/inject"]).lower() == "true"
    return everywhere


def of_mesh(item: Mapping[str, Any]) -> bool:
    """Tell whether a VirtualService is for calls between services."""
    gateways = (item.get("spec") or {}).get("gateways") or ["mesh"]
    return "mesh" in gateways


def metrics(objects: list[Object], each: Service, namespace: str) -> Object | None:
    """Say where a ServiceMonitor has a Service's pods read; None: none does."""
    for item in walk.of(objects, "ServiceMonitor"):
        spec = item.get("spec") or {}
        if walk.space(item) != namespace and namespace not in (
            (spec.get("namespaceSelector") or {}).get("matchNames") or []
        ):
            continue
        if walk.selects(spec.get("selector"), each.item["metadata"].get("labels") or {}):
            endpoint = next(iter(spec.get("endpoints") or [{}]))
            named = {one.get("name"): one for one in (each.item.get("spec") or {}).get("ports") or []}
            port = named.get(endpoint.get("port"))
            if port is None:
                continue
            number = port.get("targetPort") if isinstance(port.get("targetPort"), int) else port.get("port")
            return {
                "path": endpoint.get("path") or "/metrics",
                "port": number,
                "interval": endpoint.get("interval") or "30s",
            }
    return None
