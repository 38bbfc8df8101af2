"""What contents do not do on this cluster although they look so: said, each by name. Pure, but for ``look``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cluster.access import UnansweredError
from ..cluster.objects import identity
from ..page.form import Fault
from ..release.environment import OWN_REGISTRY
from ..release.judge import Found
from ..release.look import ReleaseClient
from ..release.values import repository
from . import gateway_api, ingresses, routes, subcharts, walk
from .plan import Made
from .subcharts import Subchart

Object = dict[str, Any]
_DASHBOARD = "grafana_dashboard"
_ALERTMANAGER = "quay.io/prometheus/alertmanager"


@dataclass(frozen=True)
class World:
    """The cluster as far as contents depend on it; empty where nobody has asked.

    ``services``: namespace and name of each Service, with its labels. ``ports``: of the gateway's Service, each with
    that of its pods, on which Envoy listens. ``fits``: for a selector (as JSON) whether a pod has these labels.
    ``prometheus``: what selects ServiceMonitors and rules. ``images``: of the mirror; None: nobody knows.
    """

    asked: bool = False
    services: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    ports: Mapping[int, int] = field(default_factory=dict)
    gateway_labels: Mapping[str, str] = field(default_factory=dict)
    gateway_namespace: str = "istio-system"
    fits: Mapping[str, bool] = field(default_factory=dict)
    prometheus: Iterable[Object] = ()
    classes: frozenset[str] = frozenset()
    default_class: bool = False
    images: frozenset[str] | None = None
    domain: str = "cluster.local"
    # Gateways of the Gateway API, by namespace and name.
    api_gateways: frozenset[tuple[str, str]] = frozenset()


def look(cluster: ReleaseClient | None, found: Found, made: Made, settled: Mapping[str, Any]) -> World:
    """Ask the cluster what contents depend on."""
    images = frozenset(settled.get("images") or ()) or None
    if cluster is None:
        return World(images=images, domain=domain(settled))
    template = (((found.gateway_deployment or {}).get("spec") or {}).get("template") or {}).get("metadata") or {}
    fits = {}
    for selector in selectors(made):
        try:
            query = ",".join(f"{key}={value}" for key, value in sorted(json.loads(selector).items()))
            fits[selector] = bool(cluster.items("/api/v1/pods", query, metadata=True))
        except UnansweredError:
            fits[selector] = True
    classes = cluster.listed("networking.k8s.io/v1", "IngressClass") or []
    return World(
        asked=True,
        services={walk.place(item): item["metadata"].get("labels") or {} for item in found.services},
        ports=ports(found.gateway_service),
        gateway_labels=dict(template.get("labels") or {}),
        fits=fits,
        prometheus=cluster.listed("monitoring.coreos.com/v1", "Prometheus") or [],
        classes=frozenset(walk.name(item) for item in classes),
        default_class=any(
            (item["metadata"].get("annotations") or {}).get("ingressclass.kubernetes.io/is-default-class") == "true"
            for item in classes
        ),
        images=images,
        domain=domain(settled),
        api_gateways=_api_gateways(cluster, made),
    )


def _api_gateways(cluster: ReleaseClient, made: Made) -> frozenset[tuple[str, str]]:
    """Ask for Gateways of the Gateway API, if there are routes for any."""
    if not any(walk.of(made.objects, *gateway_api.ROUTES)):
        return frozenset()
    found = cluster.listed(f"{gateway_api.GROUP}/v1", "Gateway", metadata=True) or []
    return frozenset(map(walk.place, found))


def domain(settled: Mapping[str, Any]) -> str:
    """Give the DNS domain of the cluster."""
    return str(settled.get("cluster_domain") or "cluster.local")


def ports(service: Mapping[str, Any] | None) -> dict[int, int]:
    """Give the ports of the gateway's Service, each with that of its pods."""
    listed = ((service or {}).get("spec") or {}).get("ports") or []
    return {
        int(one["port"]): int(one["targetPort"]) if str(one.get("targetPort", "")).isdecimal() else int(one["port"])
        for one in listed
        if one.get("port") != 15021
    }


def selectors(made: Made) -> list[str]:
    """List the labels that Gateways and EnvoyFilters look for on pods, each as JSON."""
    found = [(item.get("spec") or {}).get("selector") or {} for item in walk.of(made.objects, "Gateway")]
    found += [
        ((item.get("spec") or {}).get("workloadSelector") or {}).get("labels") or {}
        for item in walk.of(made.objects, "EnvoyFilter")
    ]
    return list(dict.fromkeys(json.dumps(each, sort_keys=True) for each in found if each))


def faults(made: Made, world: World, key: str) -> Iterator[Fault]:
    """Refuse what cannot come up: images that are nowhere."""
    for image, who in walk.images(made.objects).items() if world.images is not None else ():
        if image.startswith(OWN_REGISTRY) and _named(image) not in (world.images or ()):
            near = sorted(name for name in world.images or () if repository(name) == repository(image))
            what = (
                f"has {who} with the image {image}, which is not on the mirror of this cluster, and nowhere else either"
            )
            yield Fault("image-not-on-mirror", (key,), what, near[0] if near else "make load-image IMAGE=…")


def _named(image: str) -> str:
    digest = image.partition("@")[2]
    return f"{repository(image)}@{digest}" if digest else image


def switched_off(off: Iterable[Subchart]) -> Iterator[str]:
    """Say which subcharts are off, and why."""
    for each in off:
        how = (
            f"{each.condition[0]}: false" if each.condition else "taken out of the chart, which has no condition for it"
        )
        yield (
            f"subchart {each.name} is switched off ({how}): the cluster has {each.brings}; "
            f"chart: {{keep: [{each.name}]}} installs it all the same"
        )


def warnings(made: Made, world: World) -> Iterator[str]:
    """Say what does nothing, or something else than it seems."""
    objects = made.objects
    yield from _images(objects, world)
    yield from _filters(objects, world)
    yield from _gateways(objects, world)
    yield from _monitors(objects, world)
    yield from _rules(objects, world)
    yield from _ingresses(objects, world)
    yield from _gateway_api(objects, world)
    yield from _dashboards(objects)
    yield from _destinations(objects, world)


def _images(objects: list[Object], world: World) -> Iterator[str]:
    if world.images is None:
        return
    missing = {image: who for image, who in walk.images(objects).items() if not _is_known(image, world.images)}
    for image, who in missing.items():
        if not image.startswith(OWN_REGISTRY):
            yield (
                f"{who}: image {image} is not on the mirror: nodes pull it from its registry, "
                f"if they reach that (`make load-image IMAGE={image}` puts it there)"
            )


def _is_known(image: str, known: frozenset[str]) -> bool:
    """Tell whether the mirror has an image, by the whole of its name: ``nginx:1`` is docker.io/library/nginx:1."""
    first, slash, _ = image.partition("/")
    whole = image
    if not slash:
        whole = f"docker.io/library/{image}"
    elif "." not in first and ":" not in first and first != "localhost":
        whole = f"docker.io/{image}"
    tagged = whole if "@" in whole or ":" in whole.rpartition("/")[2] else f"{whole}:latest"
    return bool({image, whole, tagged, _named(tagged)} & known)


def _filters(objects: list[Object], world: World) -> Iterator[str]:
    """Warn of EnvoyFilters for ports that the gateway does not listen on, and for pods that are not there."""
    for item in walk.of(objects, "EnvoyFilter"):
        spec = item.get("spec") or {}
        labels = (spec.get("workloadSelector") or {}).get("labels") or {}
        yield from _nobody(item, labels, objects, world)
        at_gateway = bool(labels) and labels.items() <= dict(world.gateway_labels).items()
        if at_gateway and walk.space(item) not in (world.gateway_namespace, ""):
            yield (
                f"{identity(item)} is for the gateway's pods, which are in {world.gateway_namespace}: an EnvoyFilter "
                f"counts only for pods of its own namespace; namespace: {world.gateway_namespace} would work"
            )
        ports = set()
        for patch in spec.get("configPatches") or []:
            match = patch.get("match") or {}
            if match.get("context") == "GATEWAY" or at_gateway:
                for part in ("listener", "routeConfiguration"):
                    port = (match.get(part) or {}).get("portNumber")
                    ports |= {int(port)} if port else set()
        there = set(world.ports.values())
        for port in sorted(ports - there) if there else ():
            known = ", ".join(map(str, sorted(there)))
            right = f"; {world.ports[port]} is the one for port {port}" if port in world.ports else ""
            yield (
                f"{identity(item)} is for the gateway's port {port}, where it does not listen: it changes nothing; "
                f"the gateway's pods listen on {known}{right}"
            )


def _nobody(item: Object, labels: Mapping[str, str], objects: list[Object], world: World) -> Iterator[str]:
    if not labels or not world.asked:
        return
    own = any(labels.items() <= walk.pod_labels(other).items() for other in objects)
    if not own and not world.fits.get(json.dumps(labels, sort_keys=True), True):
        wanted = ", ".join(f"{key}: {value}" for key, value in labels.items())
        works = ", ".join(f"{key}: {value}" for key, value in world.gateway_labels.items() if key == "istio")
        yield (
            f"{identity(item)} is for pods with {wanted}, and no pod of this cluster has that: it does nothing"
            + (f"; the gateway's pods have {works}" if works else "")
        )


def _gateways(objects: list[Object], world: World) -> Iterator[str]:
    for item in walk.of(objects, "Gateway"):
        if not item["apiVersion"].startswith("networking.istio.io/"):
            continue
        spec = item.get("spec") or {}
        yield from _nobody(item, spec.get("selector") or {}, objects, world)
        for server in spec.get("servers") or []:
            port = int((server.get("port") or {}).get("number") or 0)
            at_ours = (spec.get("selector") or {}).items() <= dict(world.gateway_labels).items()
            if at_ours and world.ports and port not in {*world.ports, *world.ports.values()}:
                known = ", ".join(map(str, world.ports))
                yield f"{identity(item)} is for port {port}, which the gateway does not have: it has {known}"


def _monitors(objects: list[Object], world: World) -> Iterator[str]:
    """Warn of ServiceMonitors that select no Service, ask for a port that none has, or that nobody reads."""
    services = list(walk.of(objects, "Service"))
    for item in walk.of(objects, "ServiceMonitor"):
        spec = item.get("spec") or {}
        spaces = _spaces(item, spec.get("namespaceSelector") or {})
        own = [
            one
            for one in services
            if (spaces is None or walk.space(one) in spaces)
            and walk.selects(spec.get("selector"), one["metadata"].get("labels") or {})
        ]
        others = [
            place
            for place, labels in world.services.items()
            if (spaces is None or place[0] in spaces) and walk.selects(spec.get("selector"), labels)
        ]
        if not own and not others and world.asked:
            wanted = json.dumps((spec.get("selector") or {}).get("matchLabels") or {})
            yield f"{identity(item)} selects no Service ({wanted}): nothing is read by it{_nearest(spec, services)}"
        for endpoint in spec.get("endpoints") or []:
            port = endpoint.get("port")
            names = {one.get("name") for service in own for one in (service.get("spec") or {}).get("ports") or []}
            if own and port and port not in names:
                known = ", ".join(sorted(str(each) for each in names if each)) or "none with a name"
                yield f"{identity(item)} reads the port {port}, which its Services do not have: they have {known}"
        yield from _unread(item, "serviceMonitorSelector", world)


def _nearest(spec: Mapping[str, Any], services: list[Object]) -> str:
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    for service in services:
        labels = service["metadata"].get("labels") or {}
        selected = (service.get("spec") or {}).get("selector") or {}
        if wanted.items() <= selected.items() and not wanted.items() <= labels.items():
            return f"; Service {walk.name(service)} selects pods with these labels, and has none of them itself"
    return ""


def _spaces(item: Object, selector: Mapping[str, Any]) -> set[str] | None:
    """Give the namespaces that a monitor looks into; None: all."""
    if selector.get("any"):
        return None
    return set(selector.get("matchNames") or [walk.space(item)])


def _unread(item: Object, key: str, world: World) -> Iterator[str]:
    found = list(world.prometheus)
    if found and not any(
        walk.selects((one.get("spec") or {}).get(key), item["metadata"].get("labels") or {}) for one in found
    ):
        wanted = json.dumps((found[0].get("spec") or {}).get(key))
        yield f"{identity(item)} is read by no Prometheus of this cluster: its {key} is {wanted}"


def _rules(objects: list[Object], world: World) -> Iterator[str]:
    for item in walk.of(objects, "PrometheusRule"):
        yield from _unread(item, "ruleSelector", world)
    for item in walk.of(objects, "Alertmanager"):
        yield (
            f"{identity(item)}: the cluster's operator sees to an Alertmanager in {walk.space(item)} only with rights "
            "there, which this release gives it"
        )
        own = next((name for name in sorted(world.images or ()) if repository(name) == _ALERTMANAGER), "")
        if own and not (item.get("spec") or {}).get("image"):
            yield (
                f"{identity(item)} has no image, so the operator takes one of its own choice, which the mirror may not "
                f"have: image: {own} and version: {own.rpartition(':')[2]} would work"
            )
    for item in walk.of(objects, "Prometheus"):
        yield (
            f"{identity(item)} is another Prometheus beside the cluster's, and no operator sees to it in "
            f"{walk.space(item)}: ServiceMonitors and rules are read by the cluster's own"
        )


def _ingresses(objects: list[Object], world: World) -> Iterator[str]:
    own = {walk.name(item) for item in walk.of(objects, "IngressClass")}
    for item in walk.of(objects, "Ingress"):
        named = ingresses.class_of(item)
        there = world.classes | own
        if world.asked and ((named and named not in there) or (not named and not world.default_class)):
            known = f"it has {', '.join(sorted(there))}" if there else "it has none"
            what = f"of class {named}" if named else "without a class"
            yield (
                f"{identity(item)} is {what}, and this cluster has no controller for that ({known}): nobody answers "
                f"for it; {_would(str(named or ''))} on the cluster's page would have the mesh's gateway serve it"
            )


def _gateway_api(objects: list[Object], world: World) -> Iterator[str]:
    """Warn of a second gateway, and of routes for none."""
    own = set(map(walk.place, gateway_api.gateways(objects)))
    works = "parentRefs: [{name: slipway, namespace: istio-system}] is the mesh's gateway"
    for item in gateway_api.gateways(objects):
        if walk.inner(item.get("spec")).get("gatewayClassName") == gateway_api.CLASS and (
            gateway_api.has_an_address_of_its_own(item)
        ):
            yield f"{identity(item)} makes a gateway of its own, with another address; for a route, {works}"
    for item in walk.of(objects, *gateway_api.ROUTES):
        for place in gateway_api.parents(item):
            if world.asked and place not in own and place not in world.api_gateways:
                yield f"{identity(item)} is for the Gateway {place[0]}/{place[1]}, which is nowhere; {works}"


def _would(named: str) -> str:
    if not named:
        return "cluster_ingress_default: istio"
    return f"cluster_ingress_classes: [{', '.join(dict.fromkeys(('istio', named)))}]"


def _dashboards(objects: list[Object]) -> Iterator[str]:
    for item in walk.of(objects, "ConfigMap"):
        if _DASHBOARD not in (item["metadata"].get("labels") or {}):
            continue
        data = {**(item.get("data") or {}), **(item.get("binaryData") or {})}
        if not data:
            yield f"{identity(item)} is a dashboard without any content: it is made, and shows nothing"
        for key, text in (item.get("data") or {}).items():
            if not key.endswith(".json"):
                yield f"{identity(item)}: {key} is not shown, because a dashboard's key ends in .json"
                continue
            try:
                json.loads(text)
            except ValueError as exc:
                yield f"{identity(item)}: {key} is not JSON, so Grafana shows nothing of it: {exc}"


def _destinations(objects: list[Object], world: World) -> Iterator[str]:
    """Say which Services routes expect that are nowhere, and what of the cluster has that."""
    if not world.asked:
        return
    for (space, service), leads in routes.missing(objects, world.services, world.domain).items():
        here = subcharts.instead(service)
        host, _, home = here.partition(":")[0].partition(".")
        there = "" if (home, host) in world.services else ", which is not there either"
        users = dict.fromkeys(lead.by for lead in leads)
        yield (
            f"{', '.join(users)} leads to Service {space}/{service}, which is nowhere: requests for it "
            "are answered 503" + (f"; here that is {here}{there}" if here else "")
        )
