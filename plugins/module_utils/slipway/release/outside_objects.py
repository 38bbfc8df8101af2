"""Objects of what is outside: hosts that are called, what may leave, and tokens that come in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import authorities, retries, workload
from .jwt_paths import Tokens
from .maker import Maker
from .outside_keys import Issuer, Jwt, Outside
from .render import Object
from .values import seconds_text

_PROTOCOLS = {"http": "HTTP", "http2": "HTTP2", "grpc": "GRPC", "tcp": "TCP"}
CLAIM = "request.auth.claims[iss]"


def outside(maker: Maker) -> Iterator[Object]:
    """Make all of it, in the order in which a release that is new gets it."""
    for host, given in maker.shape.release.outside.items():
        yield from _host(maker, host, given)
    yield from _egress(maker)
    yield from _tokens(maker)


def _host(maker: Maker, host: str, given: Outside) -> Iterator[Object]:
    name = maker.naming.outside(host)
    # With a wildcard the name that the program gives decides alone; there is nothing that DNS could be asked for.
    direct = "*" in host or given.protocol == "tcp"
    protocol = "TLS" if given.tls == "app" and given.protocol != "tcp" else _PROTOCOLS[given.protocol]
    port: dict[str, Any] = {
        "number": given.called,
        "name": f"{protocol.lower()}-{given.called}",
        "protocol": protocol,
        **({"targetPort": given.number} if given.number != given.called else {}),
    }
    yield from maker.make(
        "service-entry",
        name,
        host=host,
        port=port,
        resolution="NONE" if direct else "STATIC" if given.addresses else "DNS",
        addresses=given.addresses if given.protocol == "tcp" else [],
        endpoints=[] if direct else [{"address": address} for address in given.addresses],
    )
    if given.tls == "mesh":
        ca = authorities.path(host) if given.ca else ""
        yield from maker.make("outside-rule", name, host=host, port=given.called, ca=ca)
    if given.timeout or given.retries:
        yield from maker.make(
            "virtual-service",
            name,
            hosts=[host],
            gateways=["mesh"],
            export_to=["."],
            rules=list(retries.by_method([_rule(maker, host, given)])),
            tcp=[],
        )


def _rule(maker: Maker, host: str, given: Outside) -> dict[str, Any]:
    return {
        "name": f"{maker.namespace}/{maker.shape.release.name}:{host}:outside",
        "match": [{"port": given.called}],
        "route": [{"host": host, "port": given.called, "subset": "", "request_set": {}}],
        **({"timeout": seconds_text(given.timeout)} if given.timeout else {}),
        **retries.common(given),
    }


def _egress(maker: Maker) -> Iterator[Object]:
    release = maker.shape.release
    if release.egress == "named":
        inside = f"*/*.svc.{maker.environment.cluster_domain}"
        yield from maker.make(
            "egress",
            maker.naming.of("egress"),
            selector={"slipway.io/release": release.name},
            hosts=[inside, *(f"./{host}" for host in release.outside)],
        )


def _tokens(maker: Maker) -> Iterator[Object]:
    jwt, environment = maker.shape.release.jwt, maker.environment
    if jwt is None:
        return
    tokens = Tokens(maker.shape)
    gateway = environment.principal(environment.gateway_namespace, environment.gateway_account)
    for service in tokens.services:
        name, selector = maker.naming.of("jwt", service), workload.pods(maker.shape, service)
        rules = [_issuer(jwt, issuer, given) for issuer, given in jwt.issuers.items()]
        yield from maker.make("request-authentication", name, selector=selector, rules=rules)
        free = [found for path in tokens.opened(service) for found in (path, f"{path.rstrip('/')}/*")]
        issuers = list(jwt.issuers)
        yield from maker.make(
            "token-policy", name, selector=selector, gateway=gateway, claim=CLAIM, issuers=issuers, free=free
        )


def _issuer(jwt: Jwt, issuer: str, given: Issuer) -> dict[str, Any]:
    """Say of an issuer what a RequestAuthentication has."""
    made: dict[str, Any] = {"issuer": issuer, "forwardOriginalToken": jwt.forward}
    made |= {"audiences": given.audiences} if given.audiences else {}
    made |= {"jwks": given.jwks} if given.jwks else {"jwksUri": given.jwks_uri}
    if jwt.header:
        made["fromHeaders"] = [{"name": jwt.header}]
    elif jwt.cookie:
        made["fromCookies"] = [jwt.cookie]
    return made
