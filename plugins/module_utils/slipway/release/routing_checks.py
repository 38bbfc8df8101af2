"""Checks of hosts, paths, ports of the gateway, and of what decides which version a client gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..page.form import Fault
from ..page.read import Key, flow, names_a_secret
from .form import near, works
from .route_checks import places
from .routing_keys import Override, PathOverride
from .shape import Shape

# Request headers by which a program shows who it is.
_OF_A_SECRET = ("authorization", "proxy-authorization", "x-api-key")


def routes_lead_somewhere(shape: Shape) -> Iterator[Fault]:
    """Refuse paths that stand twice, and paths to what does not exist."""
    seen: dict[tuple[Key, str], str] = {}
    for key, path, route in places(shape):
        tidy = (key[:-1], path.rstrip("/") or "/")
        if tidy in seen:
            yield Fault(
                "duplicate-value", key, f"is the same path as {seen[tidy]}", f"one of the two: {tidy[1]}: {route.to}"
            )
        seen[tidy] = path
        if route.to not in shape.services:
            what = "is no service of this release"
            yield Fault("unknown-service", (*key, "to"), what, f"{path}: {near(route.to, shape.services)}")
        elif route.version and route.version not in shape.users(route.to):
            shadow = route.version in shape.shadows(route.to)
            error_id = "shadow-gets-no-users" if shadow else "unknown-version"
            what = f"is {'a shadow of' if shadow else 'no version of'} {route.to}"
            yield Fault(error_id, (*key, "version"), what, f"version: {near(route.version, shape.users(route.to))}")


def sticky_can_tell(shape: Shape) -> Iterator[Fault]:
    """Refuse cookies that cannot tell the versions apart."""
    sticky = shape.release.sticky
    yield from _values_fit(shape, ("sticky",), sticky.values, sticky.values.get, "cookie")
    if sticky.set_by == "app" and sticky.by == "cookie" and sticky.cookie is None:
        yield Fault(
            "needs-key",
            ("sticky", "cookie"),
            "is missing: what does the app call it?",
            "cookie: canary-user",
        )
    other = shape.release.override.cookie
    if other and sticky.by == "cookie" and other.name == shape.cookie:
        what = "is the cookie of sticky too, so old clients would stay with versions that are withdrawn"
        yield Fault("duplicate-value", ("override", "cookie"), what, f"cookie: {shape.release.name}-use")


def overrides_can_tell(shape: Shape) -> Iterator[Fault]:
    """Refuse overrides of unknown versions, and those that cannot tell versions apart."""
    override = shape.release.override
    known = shape.versions or list(dict.fromkeys(v for s in shape.services for v in shape.users(s)))
    for host, version in override.hosts.items():
        if version not in known:
            what = "is no version that answers users"
            yield Fault("unknown-version", ("override", "hosts", host), what, f"{host}: {near(version, known)}")
    asked: list[tuple[Key, Override | PathOverride]] = [(("override",), override)]
    asked += [((*key, "override"), route.override) for key, _, route in places(shape) if route.override]
    for key, given in asked:
        if given.header:
            values = {version: match.sample for version, match in given.header.values.items()}
            yield from _values_fit(shape, (*key, "header"), values, values.get, "header")
            patterns = [v for v, match in given.header.values.items() if match.text is None]
            if patterns and given.header.name == shape.release.chain_header:
                what = "is a pattern, and this header carries the version from service to service"
                fix = f"header: x-{shape.release.name}-ask, or values as texts"
                yield Fault("keys-contradict", (*key, "header", "values", patterns[0]), what, fix)
        if given.cookie:
            values = dict(given.cookie.values)
            yield from _values_fit(shape, (*key, "cookie"), values, values.get, "cookie")


def _values_fit(
    shape: Shape, key: Key, values: Mapping[str, str], value: Callable[[str, str], str], what: str
) -> Iterator[Fault]:
    known = shape.versions or list(dict.fromkeys(v for s in shape.services for v in shape.users(s)))
    for version in values:
        if version not in known:
            fix = f"{near(version, known)}: {flow(values[version])}"
            yield Fault("unknown-version", (*key, "values", version), "is no version that answers users", fix)
    seen: dict[str, str] = {}
    for version in shape.versions:
        text = value(version, version)
        if text in seen:
            where: Key = (*key, "values", version) if version in values else (*key, "values")
            # Without a value of its own a version has its name, which another one took then.
            other = version if version in values else seen[text]
            taken = {value(each, each) for each in shape.versions if each != other}
            free = next(each for each in (other, *(f"{other}-{n}" for n in range(2, 99))) if each not in taken)
            said = f"{text!r} is the {what}'s value for {seen[text]} too"
            yield Fault("duplicate-value", where, said, f"{other}: {free}")
        seen[text] = version


def hosts_are_apart(shape: Shape) -> Iterator[Fault]:
    """Refuse hosts that stand twice, and those that no client resolves."""
    release = shape.release
    seen: dict[str, str] = {}
    every: list[tuple[Key, str]] = [(("hosts", index), host) for index, host in enumerate(release.hosts)]
    every += [(("entries", host), host) for host in release.entries]
    every += [(("override", "hosts", host), shape.host(host)) for host in release.override.hosts]
    every += [(("tools", name, "host"), host) for name, host in shape.tool_hosts.items()]
    for key, host in every:
        if host == "*":
            pass
        elif "." not in host:
            hosts = [each if "." in each else f"{each}.local" for each in release.hosts]
            yield Fault(
                "host-without-dot", key, "is a host without a dot, which no client resolves", works(("hosts",), hosts)
            )
        elif host in seen:
            yield Fault(
                "duplicate-host",
                key,
                f"is {host}, which stands at {seen[host]} too",
                f"one of the two, or another-{host}",
            )
        seen[host] = ".".join(map(str, key))


def headers_are_free(shape: Shape) -> Iterator[Fault]:
    """Refuse headers that say what the version says, and warn of secrets in them."""
    release = shape.release
    for at, _, route in places(shape):
        for side, change in (("request", route.headers.request), ("response", route.headers.response)):
            of_version = release.version_header if side == "response" else release.chain_header
            named: list[tuple[Key, str]] = [
                ((how, name), name) for how in ("set", "add") for name in getattr(change, how)
            ]
            named += [(("remove", index), name) for index, name in enumerate(change.remove)]
            for place, name in named:
                key: Key = (*at, "headers", side, *place)
                if name == of_version and (side == "response" or shape.minds(route.to)):
                    other = "version_header" if side == "response" else "chain_header"
                    what = f"is {other}, which says the version of each request"
                    yield Fault(
                        "keys-contradict", key, what, f"{other}: x-{release.name}-version, or another header here"
                    )
                elif side == "request" and place[0] != "remove" and (names_a_secret(name) or name in _OF_A_SECRET):
                    what = "looks like a secret, and this page is committed"
                    fix = f"env: {{API_TOKEN: {{secret: api-token, key: TOKEN}}}} at {route.to}, whose program reads it"
                    yield Fault("secret-in-header", key, what, fix, warning=True)


def hash_is_one(shape: Shape) -> Iterator[Fault]:
    """Refuse load balancing where sticky already hashes the requests."""
    if not shape.release.sticky.hash:
        return
    for service in shape.entries:
        if shape.minds(service) and shape.services[service].load_balancing:
            what = "says how pods share requests, but sticky already hashes them, and a service has one way"
            yield Fault(
                "keys-contradict",
                ("services", service, "load_balancing"),
                what,
                "no load_balancing here, or sticky: cookie",
            )


def gateway_is_one(shape: Shape) -> Iterator[Fault]:
    """Refuse ports of the gateway that contradict each other, and TLS of a Gateway that is not ours."""
    gateway = shape.release.gateway
    for index, port in enumerate(gateway.ports):
        if port in gateway.ports[:index]:
            ports = list(dict.fromkeys(gateway.ports))
            yield Fault(
                "duplicate-value", ("gateway", "ports", index), "is named twice", works(("gateway", "ports"), ports)
            )
        elif port == 443:
            rest = [other for other in gateway.ports if other != 443] or [80]
            yield Fault(
                "port-for-tls",
                ("gateway", "ports", index),
                "is the port for https",
                f"ports: {flow(rest)}, and tls: {{}}",
            )
    if gateway.tls and gateway.tls.redirect and gateway.use:
        what = "belongs to the Gateway that is used, which is not this release's"
        yield Fault("keys-contradict", ("gateway", "tls"), what, "no tls, or no use")
