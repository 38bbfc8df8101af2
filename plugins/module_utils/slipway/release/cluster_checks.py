"""Checks of a release against its cluster: what the cluster does not have, or has given to another release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..page.form import Fault
from ..page.read import Key
from . import backends, certificate, limits, pod_checks, pod_security, storage
from .environment import OWN_REGISTRY
from .form import near, works
from .maker import Maker
from .values import repository
from .workload_checks import workloads

GATEWAY_API = "cluster_gateway_api: true"


def faults(maker: Maker, places: Mapping[str, Key]) -> Iterator[Fault]:
    """Hold a plan against what is known of the cluster. ``places``: the key that each object's name comes from."""
    environment, release = maker.environment, maker.shape.release
    for key, host in maker.hosts():
        owner = environment.hosts_taken.get(host)
        # What holds it may be taken over, and holds it for this release then.
        ours = release.adopt and set(environment.host_holders.get(host, [""])) <= set(places)
        if owner and owner != maker.group and not ours:
            fix = "another host, or -e release_hosts=another.local"
            yield Fault("host-taken", key, f"is {host}, which release {owner} answers on", fix)
    yield from _gateway_ports(maker)
    yield from _listeners(maker)
    yield from certificate.faults(maker.shape, environment, maker.hosts())
    for name, secret in release.secrets.items():
        if secret.existing and environment.secrets is not None and name not in environment.secrets:
            known = f"{near(name, sorted(environment.secrets))}, or " if environment.secrets else ""
            fix = f"{known}{name}: {{keys: {{TOKEN: {{environment: API_TOKEN}}}}}}"
            yield Fault(
                "secret-not-in-cluster", ("secrets", name), f"does not exist in namespace {maker.namespace}", fix
            )
    yield from storage.faults(maker)
    yield from _images(maker)
    yield from _accounts(maker)
    yield from pod_security.faults(maker)
    yield from _taken(maker, places)


def _gateway_ports(maker: Maker) -> Iterator[Fault]:
    there, gateway = maker.environment.gateway_ports, maker.shape.release.gateway
    if not there:
        return
    known = ", ".join(map(str, there))
    plain = next((port for port in there if port != 443), None)
    for index, port in enumerate(gateway.ports):
        if port not in there:
            fix = works(("gateway", "ports"), [plain]) if plain else _opened(there, port)
            yield Fault(
                "gateway-port-closed", ("gateway", "ports", index), f"is no port of the gateway, which has {known}", fix
            )
    if gateway.tls and not gateway.use and 443 not in there:
        what = f"needs port 443 of the gateway, which has {known}"
        yield Fault("gateway-port-closed", ("gateway", "tls"), what, f"no tls, or {_opened(there, 443)}")


def _listeners(maker: Maker) -> Iterator[Fault]:
    """Find that the Gateway of the Gateway API is not there, or lacks a port."""
    there, gateway = maker.environment.listeners, maker.shape.release.gateway
    if not maker.shape.by_http_routes or there is None:
        return
    works = f"{GATEWAY_API} in group_vars/all/cluster.yml, then `make up`; or output: istio"
    if not there:
        what = f"needs the Gateway {'/'.join(backends.GATEWAY)} of the Gateway API, which this cluster does not have"
        yield Fault("no-gateway-api", ("output",), what, works)
        return
    for port in [*gateway.ports, *([backends.HTTPS] if gateway.tls else [])]:
        if port not in there:
            what = (
                f"needs port {port} at the Gateway {'/'.join(backends.GATEWAY)}, which has {', '.join(map(str, there))}"
            )
            yield Fault("no-gateway-api", ("output",), what, works)


def _images(maker: Maker) -> Iterator[Fault]:
    """Find images that no registry has: those that nobody publishes, and that the mirror has not."""
    known = maker.environment.images
    if known is None:
        return
    mirrored = sorted(name for name in known if name.startswith(OWN_REGISTRY) and "@" not in name)
    named_images: list[tuple[Key, str]] = [((*key, "image"), each.image) for key, each in pod_checks.every(maker.shape)]
    for service, declared, version in maker.versions():
        own = declared.versions[version].image
        at: Key = ("services", service, "versions", version, "image") if own else ("services", service, "image")
        named_images.append((at, own or declared.image or ""))
    for key, image in named_images:
        digest = image.partition("@")[2]
        named = f"{repository(image)}@{digest}" if digest else image
        if image.startswith(OWN_REGISTRY) and named not in known:
            fix = f"image: {near(image, mirrored)}" if mirrored else "cluster_releases: [this page], then `make up`"
            yield Fault(
                "image-not-on-mirror", key, "is not on the mirror of this cluster, and nowhere else either", fix
            )


def _accounts(maker: Maker) -> Iterator[Fault]:
    """Find ServiceAccounts that nobody has made: no pod could be."""
    there = maker.environment.accounts
    if there is None:
        return
    shape, made = maker.shape, set()
    named: list[tuple[Key, str | None]] = [
        ((*key, "service_account"), w.service_account) for key, w in workloads(shape)
    ]
    named += [(("jobs", name, "service_account"), job.service_account) for name, job in shape.release.jobs.items()]
    for service, _, version in maker.versions():
        if not maker.naming.existing_account(service, version):
            made.add(maker.naming.of("service_account", service, version))
    known = sorted({*there, *made, "default"})
    for key, name in named:
        if name is not None and name not in known:
            fix = f"service_account: {near(name, known)}, or kubectl create serviceaccount -n {maker.namespace} {name}"
            yield Fault("account-not-in-cluster", key, f"does not exist in namespace {maker.namespace}", fix)


def _taken(maker: Maker, places: Mapping[str, Key]) -> Iterator[Fault]:
    if maker.shape.release.adopt:
        return
    for name, key in places.items():
        owner = maker.environment.objects_taken.get(name)
        if owner and owner != maker.group:
            fix = "-e release_namespace=another, or another name in names; adopt: true takes it over"
            yield Fault("object-taken", key, f"would make {name}, which is {owner}'s", fix)


def warnings(maker: Maker) -> Iterator[str]:
    """Say what is worth knowing about this cluster."""
    environment, release = maker.environment, maker.shape.release
    for limit in limits.declared(maker.naming):
        bucket, pods = limit["bucket"], environment.gateway_replicas
        if pods > 1:
            yield (
                f"limit {limit['rate']}: each of {pods} gateway pods counts for itself, so up to "
                f"{bucket['max_tokens'] * pods} come through at once"
            )
    if added := certificate.due(maker.shape, environment, maker.hosts()):
        yield f"the gateway's certificate is not for {', '.join(added)} yet: it gets what it lacks"
    for wildcard, others in _others(maker).items():
        yield f"{wildcard} is not for {', '.join(others)}: a full name, or a longer wildcard, of another release wins"
    yield from _outside(maker)
    yield from _plain(maker)
    yield from pod_security.warnings(maker)
    yield from storage.warnings(maker)
    there = environment.secrets
    for name in release.image_pull_secrets if there is not None else ():
        if name not in (there or ()) and name not in release.secrets:
            yield f"image_pull_secrets: namespace {maker.namespace} has no Secret {name}, so pulls go without it"
    for tool in release.tools:
        if tool in environment.missing_tools:
            yield f"{tool} is not part of this cluster: {maker.shape.tool_hosts[tool]} will answer 503"
    if not environment.monitoring and (release.alerts or any(s.metrics for s in maker.shape.services.values())):
        yield "there is no monitoring in this cluster: alerts, dashboards and metrics are left out"


def _outside(maker: Maker) -> Iterator[str]:
    environment, release = maker.environment, maker.shape.release
    # A cluster with a mirror may reach nothing outside.
    fetched = release.jwt.issuers if release.jwt and environment.images is not None else {}
    for issuer, given in fetched.items():
        if given.jwks_uri and ".svc" not in given.jwks_uri:
            what = "until it has them, every token is refused"
            yield f"istiod fetches the keys of {issuer} from {given.jwks_uri}: {what}"
    for host in release.outside:
        if host in environment.outside_named:
            who = f"release {environment.outside_named[host]} in this namespace"
            yield f"{host} is outside for {who} too: where they differ, the older one counts"


def _plain(maker: Maker) -> Iterator[str]:
    """Say what the mesh cannot do at ports without HTTP."""
    for service, declared in maker.shape.services.items():
        for name, port in declared.ports.items():
            if port.protocol == "tcp":
                split = f"; all go to {maker.shape.default(service)}" if maker.shape.is_split(service) else ""
                yield (
                    f"services.{service}.ports.{name} is plain TCP: the mesh encrypts its connections and lets in whom "
                    f"access names, but does not split, retry, time out or limit them{split}"
                )


def _others(maker: Maker) -> dict[str, list[str]]:
    """Give for each wildcard of the release the hosts of others that it would be for."""
    taken = {host: owner for host, owner in maker.environment.hosts_taken.items() if owner != maker.group}
    found = {}
    for wildcard in (host for _, host in maker.hosts() if "*" in host):
        others = [host for host in sorted(taken) if host != wildcard and host.endswith(wildcard[1:])]
        if others:
            found[wildcard] = others
    return found


def _opened(there: Iterable[int], port: int) -> str:
    """Say how a cluster's gateway gets another port."""
    return f"cluster_gateway: {{ports: {sorted([*there, port])}}} in group_vars/all/cluster.yml, then `make up`"
