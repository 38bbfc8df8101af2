"""Rules about what is installed: the parts, their gateway, and the releases that a run ends with."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address as Address

from ..mesh.manifests import port_fault
from .addresses import address_inside, balancer_addresses, overlap
from .form import Fault
from .model import Settings, address_range, works
from .rules import NETWORK_USERS, Surroundings, local_rule, rule

_PARTS_OF_OTHERS = (
    ("grafana", "monitoring", "its dashboards ask Prometheus (monitoring)"),
    ("kiali", "istio", "it shows the mesh (istio)"),
    ("kiali", "monitoring", "its graph asks Prometheus (monitoring)"),
    ("tracing", "istio", "traces come from the mesh's proxies (istio)"),
)


@rule("cluster_parts")
def parts_have_what_they_need(settings: Settings) -> Iterator[Fault]:
    if settings.cluster_parts.istio and not settings.cluster_parts.metallb:
        yield Fault(
            "part-needs-part",
            ("cluster_parts", "istio"),
            "the gateway gets its address from MetalLB, which is off",
            "metallb: true",
        )
    for part, needed, why in _PARTS_OF_OTHERS:
        if getattr(settings.cluster_parts, part) and not getattr(settings.cluster_parts, needed):
            yield Fault("part-needs-part", ("cluster_parts", part), f"{why}, which is off", f"{needed}: true")


@rule(*NETWORK_USERS, "cluster_gateway", "cluster_parts")
def gateway_can_answer(settings: Settings) -> Iterator[Fault]:
    gateway = settings.cluster_gateway
    for index, port in enumerate(gateway.ports):
        if port in gateway.ports[:index]:
            ports = list(dict.fromkeys(gateway.ports))
            yield Fault(
                "duplicate-value",
                ("cluster_gateway", "ports"),
                f"has {port} twice",
                works(("cluster_gateway", "ports"), ports),
            )
        elif fault := port_fault(port, gateway.ports[:index]):
            rest = [other for other in gateway.ports if other != port] or [80]
            yield Fault(
                "port-taken",
                ("cluster_gateway", "ports", index),
                fault,
                works(("cluster_gateway", "ports"), rest),
            )
    if not gateway.address or not settings.cluster_parts.istio:
        return
    address = Address(gateway.address)
    ranges = [address_range(text) for text in balancer_addresses(settings)]
    if not any(overlap(each, (address, address)) for each in ranges):
        said = ", ".join(balancer_addresses(settings))
        yield Fault(
            "gateway-not-in-metallb",
            ("cluster_gateway", "address"),
            f"is none of cluster_metallb_addresses {said}",
            works(("cluster_gateway", "address"), address_inside(settings)),
        )


@rule("cluster_backup")
def backups_can_be_read(settings: Settings) -> Iterator[Fault]:
    if settings.cluster_backup.schedule and not settings.cluster_backup.recipients:
        yield Fault(
            "no-recipients",
            ("cluster_backup", "recipients"),
            "is empty, so nobody could read what controllers are to save by cluster_backup.schedule",
            "make a key, and name its public half: .venv/bin/python -m slipway.backup key ~/slipway-backup.key; or "
            'schedule: ""',
        )


@rule("cluster_gateway_api", "cluster_parts")
def gateway_api_has_a_gateway(settings: Settings) -> Iterator[Fault]:
    if settings.cluster_gateway_api and not settings.cluster_parts.istio:
        what = "its routes lead through the mesh's gateway (istio), which is off"
        yield Fault("part-needs-part", ("cluster_gateway_api",), what, "istio: true")


@rule("cluster_gateway", "cluster_ingress_classes", "cluster_ingress_default", "cluster_parts")
def ingresses_are_served(settings: Settings) -> Iterator[Fault]:
    classes, default = settings.cluster_ingress_classes, settings.cluster_ingress_default
    once = list(dict.fromkeys(classes))
    if once != classes:
        twice = next(name for index, name in enumerate(classes) if name in classes[:index])
        key = ("cluster_ingress_classes",)
        yield Fault("duplicate-value", key, f"has {twice} twice", works(key, once))
    if default and default not in classes:
        key = ("cluster_ingress_default",)
        listed = ", ".join(classes) or "empty"
        what = f"is none of cluster_ingress_classes ({listed})"
        yield Fault("ingress-class-unknown", key, what, works(key, classes[0] if classes else ""))
    if settings.cluster_parts.istio and classes and 80 not in settings.cluster_gateway.ports:
        what = "has no port 80, where Istio serves Ingresses: there is no IngressClass, and none is served"
        ports = works(("cluster_gateway", "ports"), [80, *settings.cluster_gateway.ports])
        yield Fault("ingress-without-port", ("cluster_gateway", "ports"), what, ports, warning=True)


@local_rule("cluster_releases", "cluster_parts", "cluster_gateway_api")
def releases_can_be_made(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    pages = settings.cluster_releases
    if not pages:
        return
    # Every Vagrant command reads the cluster's page, and most list no release.
    from ..release import listed as releases

    on = settings.cluster_parts.model_dump()
    api = settings.cluster_gateway_api
    yield from releases.faults(pages, around.root, parts_on=on, with_mirror=around.with_mirror, gateway_api=api)
