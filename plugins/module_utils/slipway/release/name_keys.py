"""The keys that name the objects of a release, where they have to be others."""

from __future__ import annotations

from typing import Any

from ..page.form import Map, setting

_PATTERN_RULE = "must be lower-case letters, digits, hyphens and placeholders such as {service}"


def _name(about: str, example: str) -> Any:
    """Declare the name of an object, or a pattern for names."""
    return setting(None, about, example=example, pattern=r"^[a-z0-9{}-]+$", rule=_PATTERN_RULE)


class Names(Map):
    """Names of the objects of one version; placeholders: {release} {namespace} {service} {version} {label}."""

    deployment: str | None = _name("Deployment, or StatefulSet.", "{service}-{version}")
    service_account: str | None = _name("ServiceAccount.", "{service}-{version}")
    config: str | None = _name("ConfigMap of the key config.", "{service}-{version}")
    version_service: str | None = _name("Service of one version (service_per_version).", "{service}-{version}")
    policy: str | None = _name("AuthorizationPolicy.", "{service}-{version}")


class ServiceNames(Names):
    """Names of the objects of one service; placeholders: {release} {namespace} {service}."""

    service: str | None = _name("Service.", "{service}")
    pods: str | None = _name("Headless Service of a stateful service.", "{service}-pods")
    virtual_service: str | None = _name("VirtualService for calls inside the mesh.", "{service}-vs")
    destination_rule: str | None = _name("DestinationRule.", "{service}-dr")
    monitor: str | None = _name("ServiceMonitor. Services with the same name here share it.", "{service}")
    jwt: str | None = _name("RequestAuthentication and AuthorizationPolicy of the key jwt.", "{service}-jwt")


class ReleaseNames(ServiceNames):
    """Names of the objects of the whole release, and patterns for those of its services and versions.

    {unique} is {release}, followed by the namespace where that is neither ``default`` nor called like the release.
    """

    gateway: str | None = _name("Gateway.", "{release}")
    entry: str | None = _name("VirtualService, or HTTPRoute, of the hosts.", "{release}-entry")
    tool: str | None = _name("VirtualService of a tool. It takes {tool}.", "{tool}-vs")
    rate_limit: str | None = _name(
        "EnvoyFilter of the rate limits, in the namespace of the gateway.", "{unique}-rate-limit"
    )
    hash: str | None = _name("EnvoyFilter of sticky: hash, in the namespace of the gateway.", "{unique}-hash")
    rules: str | None = _name("PrometheusRule.", "{release}")
    mail: str | None = _name("AlertmanagerConfig.", "{release}")
    dashboards: str | None = _name(
        "ConfigMap of the dashboards. With {dashboard} there is one for each.", "{release}-dashboards"
    )
    mtls: str | None = _name("PeerAuthentication.", "{release}")
    tracing: str | None = _name("Telemetry.", "{release}")
    outside: str | None = _name(
        "ServiceEntry of a host outside, with its DestinationRule and VirtualService. It takes {host}.",
        "{release}-{host}",
    )
    authorities: str | None = _name("ConfigMap of the authorities of hosts outside.", "{release}-authorities")
    egress: str | None = _name("Sidecar of egress: named.", "{release}")
