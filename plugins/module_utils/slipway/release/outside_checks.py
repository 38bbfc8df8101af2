"""Checks of what is outside: hosts that are called, what may leave, and tokens that come in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..page.form import Fault
from ..page.read import Key, flow
from . import containers, workload
from .form import works
from .jwt_paths import Tokens
from .outside_keys import HTTP, Outside
from .routing_keys import Gateway
from .shape import Shape
from .workload_checks import workloads

# Pods of this user are what the mesh's rules of a pod take for the proxy itself.
PROXY_USER = 1337
# Annotations by which connections go around the proxy.
_AROUND = ("traffic.sidecar.istio.io/excludeOutbound", "traffic.sidecar.istio.io/includeOutbound")
_MOUNTED = ("sidecar.istio.io/userVolume", "sidecar.istio.io/userVolumeMount")


def hosts_are_outside(shape: Shape) -> Iterator[Fault]:
    """Refuse hosts that are no others' than the cluster's, and wildcards with what needs one host."""
    own = {*shape.hosts, *shape.host_routes}
    for host, given in shape.release.outside.items():
        key: Key = ("outside", host)
        if host.endswith((".svc", ".cluster.local")):
            what = "is a Service of the cluster, which the mesh knows without this"
            yield Fault("host-in-cluster", key, what, "no entry; callers of its page lets this release in")
        elif host in own:
            what = "is a host of this release, and requests for it would not leave"
            yield Fault("host-in-cluster", key, what, f"calls: [{next(iter(shape.services))}] at the service that asks")
        if host.startswith("*."):
            yield from _wildcard(host, given)


def _wildcard(host: str, given: Outside) -> Iterator[Fault]:
    one = f"api.{host[2:]}"
    for name, wrong in (("tls", given.tls == "mesh"), ("addresses", bool(given.addresses))):
        if wrong:
            what = "is for one host, and * stands for many"
            fix = flow({one: given.model_dump(exclude_unset=True)})
            yield Fault("wildcard-outside", ("outside", host, name), what, f"outside: {fix}")


def ports_are_of_one_kind(shape: Shape) -> Iterator[Fault]:
    """Refuse a port that is called with TLS by one name and as HTTP by another: a proxy has one listener for both."""
    http = {declared.service_port or declared.port: f"service {name}" for name, declared in shape.services.items()} | {
        given.called: host
        for host, given in shape.release.outside.items()
        if given.tls != "app" and given.protocol in HTTP
    }
    for host, given in shape.release.outside.items():
        if given.tls == "app" and given.protocol in HTTP and given.number in http:
            what = f"is called with TLS, and {http[given.number]} is called on {given.number} as HTTP"
            fix = f"{host}: {{tls: mesh, port: {given.number}}}, and http://{host} in the program"
            yield Fault("port-of-two-kinds", ("outside", host), what, fix)
    held: dict[tuple[int, str], str] = {}
    for host, given in shape.release.outside.items():
        for index, address in enumerate(given.addresses if given.protocol == "tcp" else ()):
            other = held.setdefault((given.number, address), host)
            if other != host:
                what = f"with port {given.number} is {other} too, and tcp shows no name to tell them by"
                yield Fault("duplicate-value", ("outside", host, "addresses", index), what, "one of the two")


def nothing_leaves_unseen(shape: Shape) -> Iterator[Fault]:
    """Refuse, or warn of, pods whose connections the mesh does not see where it has to refuse some."""
    release = shape.release
    if release.egress != "named":
        return
    for service, declared in shape.services.items():
        for version, own in declared.versions.items():
            at: Key = ("services", service, "versions", version)
            if not workload.has_sidecar(declared, version):
                where = _at(shape, service, version, "sidecar")
                what = "has no proxy, so nothing refuses what it calls outside"
                yield Fault("egress-not-held", where, what, "sidecar: true, or egress: open", warning=True)
                continue
            roots = [_at(shape, service, version, "user")] if workload.runs_as_image(declared, version) else []
            for named in ("init", "beside"):
                for name, each in containers.of_version(declared, version, named).items():
                    if containers.as_image(each):
                        above = at if name in getattr(own, named) else at[:2]
                        roots.append((*above, named, name, "user"))
            for where in roots:
                what = f"may be root, who may become {PROXY_USER}, the user whose connections go around the proxy"
                yield Fault("egress-not-held", where, what, "user: 65532, or trust in this image", warning=True)
            for name in {**declared.annotations, **own.annotations}:
                if name.startswith(_AROUND):
                    where = (*(at if name in own.annotations else at[:2]), "annotations", name)
                    what = "lets connections go around the proxy, so nothing refuses these"
                    yield Fault("egress-not-held", where, what, "no such annotation, or egress: open", warning=True)
    for name in release.jobs:
        what = "has no proxy (it would not end with the job), so nothing refuses what it calls outside"
        yield Fault("egress-not-held", ("jobs", name), what, "egress: open, or a job that calls nothing", warning=True)


def nobody_is_the_proxy(shape: Shape) -> Iterator[Fault]:
    """Refuse containers that run as the proxy's user where the mesh has to refuse some of what they call."""
    for key, given in workloads(shape) if shape.release.egress == "named" else ():
        users: list[tuple[Key, Any]] = [((*key, "user"), given.user)]
        users += [
            ((*key, where, name, "user"), each.user)
            for where in ("init", "beside")
            for name, each in getattr(given, where).items()
        ]
        for place, user in users:
            if user == PROXY_USER:
                what = f"is the user of the mesh's proxy, and what {PROXY_USER} calls goes around it"
                yield Fault("proxy-user", place, what, "user: 65532")


def authorities_can_be_mounted(shape: Shape) -> Iterator[Fault]:
    """Refuse annotations of pods that mount something into the proxy where the page's authorities are to be."""
    host = next((host for host, given in shape.release.outside.items() if given.ca), "")
    for service, declared in shape.services.items() if host else ():
        held: list[tuple[Key, dict[str, str]]] = [(("services", service, "annotations"), declared.annotations)]
        held += [
            (("services", service, "versions", name, "annotations"), own.annotations)
            for name, own in declared.versions.items()
        ]
        for key, given in held:
            for name in given:
                if name in _MOUNTED:
                    what = f"mounts into the proxy, as ca of {host} has to"
                    yield Fault("keys-contradict", (*key, name), what, "one of the two")


def tokens_are_checked(shape: Shape) -> Iterator[Fault]:
    """Refuse pages whose tokens nobody would check."""
    jwt = shape.release.jwt
    if jwt is None:
        return
    tokens = Tokens(shape)
    gateway = shape.release.gateway
    if gateway.selector != Gateway().selector:
        what = "is another gateway than the cluster's, and only requests of that one need a token"
        yield Fault(
            "jwt-other-gateway", ("gateway", "selector"), what, works(("gateway", "selector"), Gateway().selector)
        )
    if not tokens.services:
        what = "leaves no path that needs a token"
        yield Fault("keys-contradict", ("jwt", "free"), what, "fewer paths, or no jwt")
    for service in tokens.services:
        declared = shape.services[service]
        for version in declared.versions:
            if not workload.has_sidecar(declared, version):
                where = _at(shape, service, version, "sidecar")
                what = "has no proxy, which is what checks tokens"
                yield Fault("jwt-without-sidecar", where, what, "sidecar: true, or its paths in jwt.free")


def tokens_are_for_some(shape: Shape) -> Iterator[Fault]:
    """Refuse free paths that open more than they name, and warn of issuers whose every token is taken."""
    jwt = shape.release.jwt
    if jwt is None:
        return
    tokens = Tokens(shape)
    for service in tokens.services:
        for free, other, way in tokens.leaks(service):
            index = tokens.free.index(free)
            what = f"is what {service} sees of {other} too, so {other} would be free as well"
            fix = f"free: [{free}, {other}], or a rewrite at {way.path} that keeps them apart"
            yield Fault("free-path-leaks", ("jwt", "free", index), what, fix)
    for index, path in enumerate(tokens.free):
        if path in tokens.free[:index]:
            yield Fault("duplicate-value", ("jwt", "free", index), "is named twice", "one of the two")
    for issuer, given in jwt.issuers.items():
        if not given.audiences:
            what = "has no audiences, so tokens that it made for any other application are taken too"
            fix = works(("jwt", "issuers", issuer, "audiences"), [shape.release.name])
            yield Fault("jwt-any-audience", ("jwt", "issuers", issuer), what, fix, warning=True)


def tokens_arrive(shape: Shape) -> Iterator[Fault]:
    """Refuse paths at which the gateway takes away, or changes, what has the token."""
    jwt = shape.release.jwt
    if jwt is None:
        return
    name = "cookie" if jwt.cookie else jwt.header or "authorization"
    for above, path, route in shape.all_routes():
        change = route.headers.request
        for how in ("set", "add", "remove"):
            if name in getattr(change, how) and not Tokens(shape).is_free(path):
                key: Key = (*above, path, "headers", "request", how)
                key = key if how == "remove" else (*key, name)
                yield Fault("keys-contradict", key, f"is about {name}, which has the token", f"no {name} here")


def _at(shape: Shape, service: str, version: str, name: str) -> Key:
    """Give the key where a version's setting is written, or its service's; else the service."""
    declared = shape.services[service]
    if getattr(declared.versions[version], name) is not None:
        return ("services", service, "versions", version, name)
    return ("services", service, name) if getattr(declared, name) is not None else ("services", service)
