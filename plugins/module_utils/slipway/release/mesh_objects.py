"""Objects of the mesh: subsets, policies, Gateway, routes, limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import backends, http_routes, limits, workload
from .maker import Maker
from .model import Service
from .render import Object
from .routing import fqdn
from .routing_keys import HashKey
from .values import milliseconds, seconds_text, whole

_ALGORITHMS = {"round-robin": "ROUND_ROBIN", "least-requests": "LEAST_REQUEST", "random": "RANDOM"}


def destination_rules(maker: Maker) -> Iterator[Object]:
    """Make the subsets of each service: routes always name one; HTTPRoutes have none."""
    for service, declared in maker.shape.services.items():
        if maker.shape.by_http_routes and not maker.rules.mesh(service):
            continue
        yield from maker.make(
            "destination-rule",
            maker.naming.of("destination_rule", service),
            host=fqdn(maker.naming, service, maker.environment.cluster_domain),
            subsets={version: maker.shape.label(version) for version in declared.versions},
            balancer=_balancer(maker, service, declared),
            breaker=_breaker(declared),
        )


def _balancer(maker: Maker, service: str, declared: Service) -> dict[str, Any]:
    if declared.load_balancing is None:
        return {}
    if declared.load_balancing.hash:
        # Istio puts this on the route once for each destination, and Envoy picks the version by all of it together:
        # clients would move with the number of versions. The hash of sticky is on the route once.
        picked = maker.shape.release.sticky.hash and service in maker.shape.entries and maker.shape.minds(service)
        return {} if picked else {"consistentHash": _hash_key(declared.load_balancing.hash)}
    return {"simple": _ALGORITHMS[str(declared.load_balancing.algorithm)]}


def _breaker(declared: Service) -> dict[str, Any]:
    given = declared.circuit_breaking
    if given is None:
        return {}
    return {
        **given.model_dump(),
        "interval": seconds_text(given.interval),
        "out_for": seconds_text(given.out_for),
        "most_out": round(given.most_out),
    }


def policies(maker: Maker) -> Iterator[Object]:
    """Make what says who may call whom, encrypted or not, and what is traced."""
    release = maker.shape.release
    of_release = {"slipway.io/release": release.name}
    mode = release.mtls.upper()
    yield from maker.make("peer-authentication", maker.naming.of("mtls"), selector=of_release, mode=mode)
    if release.tracing is not None:
        share = whole(release.tracing)
        yield from maker.make("telemetry", maker.naming.of("tracing"), selector=of_release, share=share)
    for service, declared, version in maker.versions() if release.access == "calls" else ():
        yield from maker.make(
            "authorization-policy",
            maker.naming.of("policy", service, version),
            selector=workload.pods(maker.shape, service, version),
            principals=maker.access.principals(service, version),
            namespaces=maker.access.namespaces(service),
            plain=maker.access.plain(service),
            scrape=_scrape(maker, declared),
        )


def _scrape(maker: Maker, declared: Service) -> dict[str, Any] | None:
    if declared.metrics is None:
        return None
    principal = maker.environment.principal(*maker.environment.scraper.split("/", 1))
    port = declared.metrics.port or declared.port
    return {"principal": principal, "path": declared.metrics.path, "port": port}


def routes(maker: Maker) -> Iterator[Object]:
    """Make what leads requests: Gateway, routes, limits."""
    yield from _http_routes(maker) if maker.shape.by_http_routes else _entries(maker)
    for service in maker.shape.services:
        rules = maker.rules.mesh(service)
        if rules:
            hosts = [fqdn(maker.naming, service, maker.environment.cluster_domain)]
            name = maker.naming.of("virtual_service", service)
            yield from maker.make(
                "virtual-service", name, hosts=hosts, gateways=["mesh"], rules=rules, tcp=maker.rules.tcp(service)
            )


def _http_routes(maker: Maker) -> Iterator[Object]:
    """Make the routes of users as HTTPRoutes; where http only leads to https, one for all hosts does that."""
    gateway = maker.shape.release.gateway
    plain = [_listener(maker, port) for port in gateway.ports]
    secure = [_listener(maker, backends.HTTPS)] if gateway.tls else []
    led = secure if gateway.tls and gateway.tls.redirect else [*plain, *secure]
    every: list[str] = []
    for host, hosts, rules in http_routes.sets(maker.rules):
        name = maker.naming.entry(host) if host else maker.naming.of("entry")
        written = http_routes.written(rules, maker.namespace)
        yield from _http_route(maker, name, hosts, led, written)
        every += hosts
    if led == secure:
        yield from _http_route(maker, maker.naming.entry("https"), every, plain, [http_routes.to_https()])


def _http_route(maker: Maker, name: str, hosts: list[str], listeners: list[str], rules: list[Any]) -> list[Object]:
    # Without hosts a route is for all of them; * is no name there.
    named = [] if "*" in hosts else hosts
    values = {"gateway": backends.GATEWAY, "listeners": listeners, "hosts": named, "rules": rules}
    return maker.make("http-route", name, **values)


def _listener(maker: Maker, port: int) -> str:
    return (maker.environment.listeners or {}).get(port) or backends.listener(port)


def _entries(maker: Maker) -> Iterator[Object]:
    release = maker.shape.release
    gateway = release.gateway.use
    if gateway is None:
        gateway = maker.naming.of("gateway")
        shape = maker.shape
        hosts = list(dict.fromkeys([*shape.hosts, *shape.host_routes, *shape.tool_hosts.values()]))
        settings = {
            "selector": release.gateway.selector,
            "ports": release.gateway.ports,
            "tls": release.gateway.tls,
        }
        yield from maker.make("gateway", gateway, hosts=hosts, **settings)
    yield from _limits_and_hash(maker)
    entry = {"hosts": maker.shape.hosts, "gateways": [gateway], "rules": maker.rules.entry(), "tcp": []}
    yield from maker.make("virtual-service", maker.naming.of("entry"), **entry)
    for host in maker.shape.host_routes:
        entry = {"hosts": [host], "gateways": [gateway], "rules": maker.rules.entry(host), "tcp": []}
        yield from maker.make("virtual-service", maker.naming.entry(host), **entry)
    for tool in release.tools:
        yield from _tool_route(maker, tool, gateway)


def _limits_and_hash(maker: Maker) -> Iterator[Object]:
    gateway = maker.shape.release.gateway
    beside = {"namespace": maker.environment.gateway_namespace, "selector": gateway.selector}
    ports = [*gateway.ports, *([443] if gateway.tls else [])]
    if limits.declared(maker.naming):
        # istiod joins hosts with the same routes under one's name; a patch that finds nothing does nothing.
        virtual_hosts = [f"{host}:{port}" for port in ports for host in [*maker.shape.hosts, *maker.shape.host_routes]]
        configuration = limits.configuration(maker.naming)
        values = {**beside, "virtual_hosts": virtual_hosts, "configuration": configuration}
        yield from maker.make("rate-limit", maker.naming.of("rate_limit"), **values)
    hashed = maker.rules.hashed()
    if hashed:
        policy = _hash_policy(maker.shape.release.sticky.hash)
        yield from maker.make("hash", maker.naming.of("hash"), routes=hashed, policy=policy, **beside)


def _tool_route(maker: Maker, tool: str, gateway: str) -> Iterator[Object]:
    host, port = maker.tool(tool)
    alias = maker.shape.release.tools[tool].alias
    if alias:
        host = f"{alias}.{maker.namespace}.svc.{maker.environment.cluster_domain}"
    to = {"host": host, "port": port, "subset": "", "request_set": {}}
    rules = [{"name": f"{maker.namespace}/{maker.shape.release.name}:{tool}", "match": [], "route": [to]}]
    hosts = [maker.shape.tool_hosts[tool]]
    values = {"hosts": hosts, "gateways": [gateway], "rules": rules, "tcp": []}
    yield from maker.make("virtual-service", maker.naming.tool(tool)[0], **values)


def _hash_policy(given: HashKey | None) -> dict[str, Any]:
    """Say to Envoy what of a request picks its version."""
    if given is None or given.address:
        return {"connection_properties": {"source_ip": True}}
    return {"header": {"header_name": given.header}} if given.header else {"cookie": {"name": given.cookie}}


def _hash_key(given: HashKey) -> dict[str, Any]:
    if given.header:
        return {"httpHeaderName": given.header}
    if given.cookie:
        ttl = {"ttl": f"{milliseconds(given.ttl) // 1000}s", "path": "/"} if given.ttl else {}
        return {"httpCookie": {"name": given.cookie, **ttl}}
    return {"useSourceIp": True}
