"""Whether the gateway's certificate is for the hosts of a release, as browsers judge it. Pure: names in, names out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..page.form import Fault
from ..page.read import Key
from .environment import Environment
from .shape import Shape

# The Secret of the gateway's own certificate.
GATEWAY_TLS = "slipway-gateway-tls"
# Annotations of such a Secret: the names that it is for, by comma, and the authority that it is of.
CERTIFIED, AUTHORITY = "slipway.io/certified", "slipway.io/authority"
# What cert-manager says of those that it makes.
_OTHERS = ("cert-manager.io/alt-names", "cert-manager.io/ip-sans")
Hosts = Iterable[tuple[Key, str]]


def names(annotations: Mapping[str, str]) -> tuple[str, ...] | None:
    """Give the names that a certificate is for, from its Secret's annotations; None: they do not say."""
    said = [annotations[key] for key in (CERTIFIED, *_OTHERS) if key in annotations]
    return tuple(name for text in said for name in text.split(",") if name) if said else None


def covers(name: str, host: str) -> bool:
    """Tell whether a browser takes a certificate for ``name`` for ``host``.

    ``*`` stands for one label, and no client takes one with fewer than two labels behind it. A host that is a wildcard
    itself needs the very same name.
    """
    name, host = name.lower().rstrip("."), host.lower().rstrip(".")
    star, _, rest = name.partition(".")
    if name == host and "*" in host:
        return True
    if star != "*":
        return name == host
    first, _, domain = host.partition(".")
    return first not in ("", "*") and domain == rest and "." in rest


def uncovered(shape: Shape, environment: Environment, hosts: Hosts) -> list[tuple[Key, str]]:
    """List the hosts, each with its key, that the certificate is not for; none where it is not known."""
    gateway = shape.release.gateway
    names = environment.certificates.get(gateway.tls.secret) if gateway.tls and not gateway.use else None
    if names is None:
        return []
    # No certificate is for every name; which ones are asked for by * is not known here.
    return [(key, host) for key, host in hosts if host != "*" and not any(covers(name, host) for name in names)]


def due(shape: Shape, environment: Environment, hosts: Hosts) -> list[str]:
    """List the hosts that the certificate gets when the release is applied: those it lacks, where it can be renewed."""
    tls = shape.release.gateway.tls
    if not tls or tls.secret not in environment.renewable:
        return []
    return list(dict.fromkeys(host for _, host in uncovered(shape, environment, hosts)))


def faults(shape: Shape, environment: Environment, hosts: Hosts) -> Iterator[Fault]:
    """Refuse hosts that browsers would not open: the certificate is not for them, and nobody here can renew it."""
    tls = shape.release.gateway.tls
    if not tls or tls.secret in environment.renewable:
        return
    names = environment.certificates.get(tls.secret, ())
    for key, host in uncovered(shape, environment, hosts):
        what = f"is {host}, which the certificate in Secret {environment.gateway_namespace}/{tls.secret} is not for"
        what += f" (it is for {', '.join(names) or 'no name'}): browsers refuse it"
        own = f"a certificate for it in {environment.gateway_namespace}, and gateway: {{tls: {{secret: its-name}}}}"
        fitting = _fitting(host, shape, names)
        yield Fault("certificate-not-for-host", key, what, f"{fitting}, or {own}" if fitting else own)


def _fitting(host: str, shape: Shape, names: Iterable[str]) -> str:
    """Give a host like this one that the certificate is for; empty: there is none."""
    inner = host.removesuffix(f".{shape.release.hosts[0]}") if host != shape.release.hosts[0] else ""
    label = "-".join([*inner.split("."), shape.release.hosts[0].partition(".")[0]]).lstrip("-*").replace("*", "any")
    own = {*shape.hosts, *shape.host_routes, *shape.tool_hosts.values()}
    made = (f"{label}{name[1:]}" if name.startswith("*.") else name for name in names if not _is_address(name))
    return next((name for name in made if name not in own and any(covers(held, name) for held in names)), "")


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()
