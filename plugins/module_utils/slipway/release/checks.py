"""Checks of a release that concern more than one key."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..page.form import Fault, Form
from ..page.read import Key, flow, names_a_secret
from . import alerts, names, promql, retries
from .access import PLAIN
from .model import Release, Service
from .monitoring_keys import Metrics
from .names import Naming
from .shape import Shape
from .values import amount, milliseconds, prometheus_time
from .workload import autoscaling, has_sidecar, least_pods

FORM = Form(Release, absent="(missing)")
works = FORM.works

# Ports of the mesh's proxy in every pod.
_PROXY_PORTS = (15000, 15001, 15004, 15006, 15008, 15009, 15020, 15021, 15053, 15090)

Rule = Callable[[Shape], Iterator[Fault]]


def examine(release: Release) -> list[Fault]:
    """Hold a release against itself. What is built on versions and calls is looked at once those are right."""
    shape = Shape(release)
    faults = [fault for rule in (*_VERSIONS, *_CALLS) for fault in rule(shape)]
    if not any(not fault.warning for fault in faults):
        faults += [fault for rule in _DETAILS for fault in rule(shape)]
    return faults


def near(name: str, known: Iterable[str]) -> str:
    """Give the known name nearest to ``name``, else the first."""
    all_known = list(known)
    return (difflib.get_close_matches(name, all_known, n=1, cutoff=0.4) or all_known)[0]


def _versions_answer(shape: Shape) -> Iterator[Fault]:
    for service, declared in shape.services.items():
        if not shape.users(service):
            version = next(iter(declared.versions))
            key = ("services", service, "versions", version, "shadow")
            yield Fault(key, f"leaves {service} without a version that answers users", "a version without shadow")


def _weights_fit(shape: Shape) -> Iterator[Fault]:
    weights = shape.release.weights
    total = sum(weights.values())
    if weights and total != 100:
        yield Fault(("weights",), f"sum to {total}, not to 100", works(("weights",), _repaired(weights)))
    used = [version for service in shape.services for version in shape.users(service)]
    for version in weights:
        if version not in used:
            shadow = any(version in shape.shadows(service) for service in shape.services)
            what = "is a shadow, which gets no user traffic" if shadow else "is a version that no service has"
            known = list(dict.fromkeys(used)) or ["v1"]
            yield Fault(("weights", version), what, works(("weights",), _shared(known)))


def _repaired(weights: Mapping[str, int]) -> dict[str, int]:
    """Bring weights to 100 by changing the heaviest, where that can do it."""
    heaviest = max(weights, key=lambda version: weights[version])
    rest = sum(weights.values()) - weights[heaviest]
    return {**weights, heaviest: 100 - rest} if rest <= 100 else _shared(list(weights))


def _shared(versions: list[str]) -> dict[str, int]:
    """Give most to the first version and a tenth to the second, or all to a single one."""
    shares = (100,) if len(versions) == 1 else (90, 10)
    return {version: shares[index] if index < len(shares) else 0 for index, version in enumerate(versions)}


def _versions_have_weights(shape: Shape) -> Iterator[Fault]:
    weights = shape.release.weights
    for service in shape.services:
        users = shape.users(service)
        if len(users) < 2:
            continue
        if not weights:
            what = f"is missing: {service} has {', '.join(users)}, and nobody says who gets which"
            yield Fault(("weights",), what, works(("weights",), _shared(users)))
            return
        for version in users:
            if version not in weights:
                what = f"has no weight, so nobody would ever reach it; versions with weights: {', '.join(weights)}"
                key = ("services", service, "versions", version)
                yield Fault(key, what, works(("weights",), {**weights, version: 0}))
        for version in weights:
            if version not in users and len(weights) > 1:
                what = (
                    f"is a hop without version {version}: with more than one version a service needs every one of "
                    f"weights ({', '.join(weights)}), else requests of {version} have nowhere to go"
                )
                fix = f"{version}: {{image: …}} here, or one version alone, which then serves all"
                yield Fault(("services", service, "versions"), what, fix)


def _labels_differ(shape: Shape) -> Iterator[Fault]:
    known = {version for service in shape.services.values() for version in service.versions}
    for version in shape.release.version_labels:
        if version not in known:
            what = "is a version that no service has"
            yield Fault(("version_labels", version), what, f"{near(version, sorted(known))}: {shape.label(version)}")
    for service, declared in shape.services.items():
        seen: dict[str, str] = {}
        for version in declared.versions:
            label = shape.label(version)
            if label in seen:
                what = f"has the label {label}, which {seen[label]} of this service has too"
                yield Fault(
                    ("services", service, "versions", version), what, f"version_labels: {{{version}: {version}}}"
                )
            seen[label] = version


def _images_are_there(shape: Shape) -> Iterator[Fault]:
    for service, declared in shape.services.items():
        for version, own in declared.versions.items():
            image = own.image or declared.image
            key: Key = ("services", service, "versions", version)
            if image is None:
                yield Fault(key, "has no image, and its service has none either", f"image: example.org/{service}:1.0")
            elif "@" not in image and (":" not in image.rpartition("/")[2] or image.endswith(":latest")):
                at: Key = (*key, "image") if own.image else ("services", service, "image")
                what = f"{image} is not one image for all time, so nodes may run different ones"
                yield Fault(at, what, f"image: {image.removesuffix(':latest')}:1.0", warning=True)


def _calls_lead_somewhere(shape: Shape) -> Iterator[Fault]:
    known = list(shape.services)
    unknown = False
    for service, declared in shape.services.items():
        for index, other in enumerate(declared.calls):
            key = ("services", service, "calls", index)
            if other not in known:
                unknown = True
                others = [name for name in known if name != service] or ["model"]
                yield Fault(key, "is no service of this release", works(key[:3], [near(other, others)]))
            elif other in declared.calls[:index]:
                yield Fault(key, "is named twice", works(key[:3], list(dict.fromkeys(declared.calls))))
    if not unknown and (circle := shape.cycle()):
        key = ("services", circle[-2], "calls", shape.services[circle[-2]].calls.index(circle[-1]))
        without = [name for name in shape.services[circle[-2]].calls if name != circle[-1]]
        what = f"goes round in a circle: {' → '.join(circle)}; a version could follow it for ever"
        yield Fault(key, what, works(key[:3], without))


def _plain_callers_are_known(shape: Shape) -> Iterator[Fault]:
    release = shape.release
    naming_it = {service: own.callers for service, own in shape.services.items() if PLAIN in own.callers}
    for service, callers in naming_it.items():
        key: Key = ("services", service, "callers", callers.index(PLAIN))
        if release.mtls == "strict":
            yield Fault(key, "is whoever comes without mTLS, whose connections mtls: strict closes", "mtls: permissive")
    guarded = [s for s, own in shape.services.items() if any(has_sidecar(own, version) for version in own.versions)]
    if release.mtls == "permissive" and release.access == "calls" and guarded and not set(naming_it) & set(guarded):
        wide = [(s, text) for s in guarded for text in shape.services[s].callers if text.endswith("/*")]
        service, text = wide[0] if wide else (guarded[0], "")
        what = "lets nobody in: whoever comes without mTLS shows no identity, and is answered 403"
        what += f" ({text} is the pods there that have the mesh's proxy)" if text else ""
        fix = f"callers: {flow([*shape.services[service].callers, PLAIN])} at {service}, which lets in everybody who "
        yield Fault(("mtls",), what, f"{fix}comes without it, or mtls: strict")
    for service, declared in shape.services.items():
        bare = [version for version in declared.versions if not has_sidecar(declared, version)]
        for other in declared.calls if bare else ():
            theirs = shape.services[other]
            closed = release.mtls == "strict" or (release.access == "calls" and PLAIN not in theirs.callers)
            if closed and any(has_sidecar(theirs, version) for version in theirs.versions):
                what = f"has no sidecar in {', '.join(bare)}, so its calls come without mTLS and {other} refuses them"
                fix = f"sidecar: true, or mtls: permissive and callers: {flow([*theirs.callers, PLAIN])} at {other}"
                yield Fault(("services", service), what, fix, warning=True)


def _routes_lead_somewhere(shape: Shape) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for path, route in shape.release.routes.items():
        tidy = path.rstrip("/") or "/"
        if tidy in seen:
            yield Fault(("routes", path), f"is the same path as {seen[tidy]}", f"one of the two: {tidy}: {route.to}")
        seen[tidy] = path
        if route.to not in shape.services:
            what = "is no service of this release"
            yield Fault(("routes", path, "to"), what, f"{path}: {near(route.to, shape.services)}")
        elif route.version and route.version not in shape.users(route.to):
            shadow = route.version in shape.shadows(route.to)
            what = f"is {'a shadow of' if shadow else 'no version of'} {route.to}"
            yield Fault(("routes", path, "version"), what, f"version: {near(route.version, shape.users(route.to))}")


def _everything_is_reached(shape: Shape) -> Iterator[Fault]:
    for service, declared in shape.services.items():
        if service not in shape.entries and not shape.callers(service) and not declared.callers:
            what = "is neither routed to nor called, so nobody can reach it"
            fix = f"routes: {{/{service}: {service}}}, or calls: [{service}] at who calls it"
            yield Fault(("services", service), what, fix, warning=True)


def _carriers_forward(shape: Shape) -> Iterator[Fault]:
    for service in sorted(shape.carriers):
        header = shape.release.chain_header
        behind = [other for other in shape.services[service].calls if shape.minds(other)]
        what = (
            f"has one version and calls {', '.join(behind)}, whose version follows: its program has to forward the "
            f"header {header}, else they answer with {shape.default(behind[0])}"
        )
        yield Fault(("services", service), what, f"a version each of {', '.join(shape.versions)} here", warning=True)


def _shadows_have_someone(shape: Shape) -> Iterator[Fault]:
    for service, declared in shape.services.items():
        for version in shape.shadows(service):
            alone = [other for other in declared.calls if version not in shape.services[other].versions]
            if alone:
                what = f"is a shadow that calls {', '.join(alone)}, which has no {version}: those calls are refused"
                fix = f"a version {version} of {alone[0]} with shadow: 0"
                yield Fault(("services", service, "versions", version), what, fix, warning=True)


def _storage_is_known(shape: Shape) -> Iterator[Fault]:
    release = shape.release
    for key, workload in _workloads(shape):
        for index, name in enumerate(workload.secrets):
            if name not in release.secrets:
                yield _no_secret((*key, "secrets", index), name, release)
        for name, value in workload.env.items():
            if value.secret is not None and value.secret not in release.secrets:
                yield _no_secret((*key, "env", name, "secret"), value.secret, release)
            if value.secret in release.secrets:
                yield from _key_is_there((*key, "env", name, "key"), value.secret, value.key, release)
            if value.value is not None and names_a_secret(name):
                fix = f"{name}: {{secret: {_first(release.secrets, 'api-token')}, key: {name}}}"
                yield Fault((*key, "env", name), "looks like a secret, and this page is committed", fix, warning=True)
        for name in workload.config:
            if name in workload.env:
                yield Fault((*key, "config", name), "is in env too", "one of the two")
        for name, folder in workload.mounts.items():
            if name not in release.volumes and name not in release.secrets:
                known = [*release.volumes, *release.secrets]
                what = "is neither an entry of volumes nor of secrets"
                fix = f"{near(name, known)}: {folder}" if known else f"volumes: {{{name}: {{size: 1Gi}}}}"
                yield Fault((*key, "mounts", name), what, fix)


def _workloads(shape: Shape) -> Iterator[tuple[Key, Any]]:
    for service, declared in shape.services.items():
        yield ("services", service), declared
        for version, own in declared.versions.items():
            yield ("services", service, "versions", version), own


def _first(known: Iterable[str], otherwise: str) -> str:
    return next(iter(known), otherwise)


def _no_secret(key: Key, name: str | None, release: Release) -> Fault:
    fix = f"secrets: {{{name}: {{existing: true}}}}"
    if release.secrets:
        fix = f"{near(str(name), release.secrets)}, or {fix}"
    return Fault(key, "is no entry of secrets", fix)


def _key_is_there(key: Key, secret: str | None, wanted: str | None, release: Release) -> Iterator[Fault]:
    declared = release.secrets[str(secret)]
    if not declared.existing and wanted not in declared.keys:
        yield Fault(key, f"is no key of {secret}", f"key: {near(str(wanted), declared.keys)}")


def _folders_are_apart(shape: Shape) -> Iterator[Fault]:
    for service, declared in shape.services.items():
        for version, own in declared.versions.items():
            mounts = {**declared.mounts, **own.mounts}
            config = own.config_mount or declared.config_mount
            if config and not (declared.config or own.config):
                key: Key = ("services", service, *(("versions", version) if own.config_mount else ()), "config_mount")
                yield Fault(key, "has no config to show there", "config: {LOG_LEVEL: debug}")
            folders = [*mounts.items(), *([("config", config)] if config else [])]
            for index, (name, folder) in enumerate(folders):
                for other, taken in folders[:index]:
                    if folder == taken:
                        at: Key = ("services", service, "versions", version)
                        yield Fault(at, f"mounts {name} at {folder}, where {other} is", f"{name}: {folder}/{name}")


def _pods_add_up(shape: Shape) -> Iterator[Fault]:
    for service, declared in shape.services.items():
        for version, own in declared.versions.items():
            key: Key = ("services", service, "versions", version)
            scaling = autoscaling(declared, version)
            stays = own.min_available or declared.min_available
            pods = own.replicas if own.replicas is not None else declared.replicas
            if scaling and pods is not None:
                yield Fault(key, "has replicas and autoscaling, and both would set the number", "one of the two")
            if scaling and scaling.min > scaling.max:
                what = f"scales from {scaling.min} to {scaling.max}, which is fewer"
                yield Fault(key, what, f"autoscaling: {{min: {scaling.max}, max: {scaling.min}}}")
            least = least_pods(declared, version)
            if stays and stays >= least:
                what = f"keeps {stays} of {least} pods, so a node with one of them could never be drained"
                fix = f"min_available: {least - 1}" if least > 1 else f"replicas: {stays + 1}"
                yield Fault(key, what, fix)


def _weights_have_pods(shape: Shape) -> Iterator[Fault]:
    for service, declared in shape.services.items():
        for version in shape.users(service):
            weight = shape.release.weights.get(version, 0)
            if weight and least_pods(declared, version) == 0:
                own = declared.versions[version].replicas is not None
                key: Key = ("services", service, *(("versions", version) if own else ()))
                what = f"leaves {version} without pods, and its {weight}% of the clients would be answered 503"
                yield Fault((*key, "replicas"), what, f"replicas: 1, or {version}: 0 in weights")


def _limits_are_above(shape: Shape) -> Iterator[Fault]:
    for key, workload in _workloads(shape):
        given = workload.resources
        for name in ("cpu", "memory") if given else ():
            asked, most = getattr(given, name), getattr(given, f"{name}_limit")
            if most is not None and name in given.model_fields_set and amount(asked) > amount(most):
                what = f"is more than {name}_limit {most}, and no pod may ask for more than it may use"
                yield Fault((*key, "resources", name), what, f"{name}: {most}")


def _ports_are_free(shape: Shape) -> Iterator[Fault]:
    for service, declared in shape.services.items():
        ports: list[tuple[str, int | None]] = [("port", declared.port)]
        if declared.metrics:
            ports.append(("metrics", declared.metrics.port))
        for name, port in ports:
            if port in _PROXY_PORTS:
                what = "is a port of the mesh's own proxy in every pod"
                yield Fault(("services", service, name), what, "port: 8080")
        beside = declared.metrics.port if declared.metrics else None
        if beside not in (None, declared.port) and beside == declared.service_port:
            what = "is the port of metrics too, and a Service has each port once"
            yield Fault(("services", service, "service_port"), what, f"service_port: {declared.port}")


def _sticky_can_tell(shape: Shape) -> Iterator[Fault]:
    sticky = shape.release.sticky
    yield from _values_fit(shape, ("sticky",), sticky.values, sticky.values.get, "cookie")
    if sticky.set_by == "app" and sticky.by == "cookie" and sticky.cookie is None:
        yield Fault(("sticky", "cookie"), "is missing: what does the app call it?", "cookie: canary-user")
    other = shape.release.override.cookie
    if other and sticky.by == "cookie" and other.name == shape.cookie:
        what = "is the cookie of sticky too, so old clients would stay with versions that are withdrawn"
        yield Fault(("override", "cookie"), what, f"cookie: {shape.release.name}-use")


def _overrides_can_tell(shape: Shape) -> Iterator[Fault]:
    override = shape.release.override
    known = shape.versions or list(dict.fromkeys(v for s in shape.services for v in shape.users(s)))
    for host, version in override.hosts.items():
        if version not in known:
            what = "is no version that answers users"
            yield Fault(("override", "hosts", host), what, f"{host}: {near(version, known)}")
    for name, choice in (("header", override.header), ("cookie", override.cookie)):
        if choice:
            yield from _values_fit(shape, ("override", name), choice.values, choice.values.get, name)


def _values_fit(
    shape: Shape, key: Key, values: Mapping[str, str], value: Callable[[str, str], str], what: str
) -> Iterator[Fault]:
    known = shape.versions or list(dict.fromkeys(v for s in shape.services for v in shape.users(s)))
    for version in values:
        if version not in known:
            fix = f"{near(version, known)}: {flow(values[version])}"
            yield Fault((*key, "values", version), "is no version that answers users", fix)
    seen: dict[str, str] = {}
    for version in shape.versions:
        text = value(version, version)
        if text in seen:
            where: Key = (*key, "values", version) if version in values else (*key, "values")
            yield Fault(where, f"{text!r} is the {what}'s value for {seen[text]} too", f"{version}: {version}")
        seen[text] = version


def _hosts_are_apart(shape: Shape) -> Iterator[Fault]:
    release = shape.release
    seen: dict[str, str] = {}
    every: list[tuple[Key, str]] = [(("hosts", index), host) for index, host in enumerate(release.hosts)]
    every += [(("override", "hosts", host), shape.host(host)) for host in release.override.hosts]
    every += [(("tools", name, "host"), host) for name, host in shape.tool_hosts.items()]
    for key, host in every:
        if "." not in host:
            hosts = [each if "." in each else f"{each}.local" for each in release.hosts]
            yield Fault(key, "is a host without a dot, which no client resolves", works(("hosts",), hosts))
        elif host in seen:
            yield Fault(key, f"is {host}, which stands at {seen[host]} too", f"one of the two, or another-{host}")
        seen[host] = ".".join(map(str, key))


def _hash_is_one(shape: Shape) -> Iterator[Fault]:
    if not shape.release.sticky.hash:
        return
    for service in shape.entries:
        if shape.minds(service) and shape.services[service].load_balancing:
            what = "says how pods share requests, but sticky already hashes them, and a service has one way"
            yield Fault(("services", service, "load_balancing"), what, "no load_balancing here, or sticky: cookie")


def _monitors_agree(shape: Shape) -> Iterator[Fault]:
    naming = Naming(shape)
    first: dict[str, str] = {}
    read = {
        service: _read(declared.metrics, declared) for service, declared in shape.services.items() if declared.metrics
    }
    for service, how in read.items():
        name, key = naming.found("monitor", service)
        other = first.setdefault(name, service)
        if read[other] != how:
            what = f"makes ServiceMonitor {name} for {other} too, whose path, port or interval is another"
            yield Fault(key, what, f"monitor: {name}-{service}")


def _read(metrics: Metrics, service: Service) -> tuple[object, ...]:
    """Say how a service's metrics are read; the port by the name it has in a Service."""
    of_its_own = metrics.port not in (None, service.port)
    return (metrics.path, metrics.interval, metrics.labels, "http-metrics" if of_its_own else service.protocol)


def _gateway_is_one(shape: Shape) -> Iterator[Fault]:
    gateway = shape.release.gateway
    for index, port in enumerate(gateway.ports):
        if port in gateway.ports[:index]:
            ports = list(dict.fromkeys(gateway.ports))
            yield Fault(("gateway", "ports", index), "is named twice", works(("gateway", "ports"), ports))
        elif port == 443:
            rest = [other for other in gateway.ports if other != 443] or [80]
            yield Fault(("gateway", "ports", index), "is the port for https", f"ports: {flow(rest)}, and tls: {{}}")
    if gateway.tls and gateway.tls.redirect and gateway.use:
        what = "belongs to the Gateway that is used, which is not this release's"
        yield Fault(("gateway", "tls"), what, "no tls, or no use")


def _alerts_can_fire(shape: Shape) -> Iterator[Fault]:
    release = shape.release
    scraped = [service.metrics for service in shape.services.values() if service.metrics]
    silent = any(not metrics.exports for metrics in scraped)
    exported = [] if silent else [name for metrics in scraped for name in metrics.exports]
    for name, alert in release.alerts.items():
        key: Key = ("alerts", name)
        if alert.service is not None and alert.service not in shape.services:
            yield Fault((*key, "service"), "is no service", f"service: {near(alert.service, shape.services)}")
            continue
        if alert.version is not None:
            yield from _alert_version(shape, key, alert)
        try:
            if alert.when is not None:
                alerts.condition(alert.when)
            elif reason := alerts.unknown_series(str(alert.promql), exported, bool(scraped)):
                yield Fault((*key, "promql"), reason, "when: errors > 5%")
        except promql.PromqlError as exc:
            yield Fault((*key, "promql"), f"is not PromQL: {exc}", f"promql: {_rate(shape)} > 5")
        except ValueError as exc:
            yield Fault((*key, "when"), str(exc), f"when: {alerts.example(str(alert.when))}")
    for dashboard, declared in release.dashboards.items():
        for index, panel in enumerate(declared.panels):
            try:
                reason = alerts.unknown_series(panel.query, exported, bool(scraped))
            except promql.PromqlError as exc:
                reason = f"is not PromQL: {exc}"
            if reason:
                where = ("dashboards", dashboard, "panels", index, "query")
                yield Fault(where, reason, f"query: {_rate(shape)}")


def _rate(shape: Shape) -> str:
    """Write a query that this release has series for: of its own metrics where it has some."""
    scraped = [service.metrics for service in shape.services.values() if service.metrics]
    named = [name for metrics in scraped for name in metrics.exports if name.endswith("_total")]
    if named or any(not metrics.exports for metrics in scraped):
        return f"sum(rate({(named or ['app_requests_total'])[0]}[1m]))"
    return f'sum(slipway:requests:rate1m{{namespace="{shape.namespace}"}})'


def _alert_version(shape: Shape, key: Key, alert: Any) -> Iterator[Fault]:
    if alert.service is None:
        having = [service for service, declared in shape.services.items() if alert.version in declared.versions]
        fix = f"service: {(having or list(shape.services))[0]}"
        yield Fault((*key, "version"), "belongs to a service, and none is named", fix)
    elif alert.version not in shape.services[alert.service].versions:
        fix = f"version: {near(alert.version, shape.services[alert.service].versions)}"
        yield Fault((*key, "version"), f"is no version of {alert.service}", fix)


def _mail_can_go(shape: Shape) -> Iterator[Fault]:
    release = shape.release
    mail = release.mail
    if release.alertmanager and not mail:
        what = "would send nothing: there is no mail"
        yield Fault(("alertmanager",), what, "mail: {to: team@example.org, server: smtp.example.org:587}")
    if mail and not release.alerts:
        what = "has nothing to tell: there are no alerts"
        yield Fault(("mail",), what, "alerts: {Errors: errors > 5%}", warning=True)
    if not mail:
        return
    if mail.password:
        if mail.password.secret not in release.secrets:
            yield _no_secret(("mail", "password", "secret"), mail.password.secret, release)
        else:
            yield from _key_is_there(("mail", "password", "key"), mail.password.secret, mail.password.key, release)
    if (mail.user is None) != (mail.password is None):
        missing = "password" if mail.user else "user"
        yield Fault(("mail", missing), "is missing: a server asks for both or none", works(("mail", missing)))


def _times_fit(shape: Shape) -> Iterator[Fault]:
    for service, declared in shape.services.items():
        again, most = declared.retries, declared.timeout
        if not (most and again and again.per_try and again.attempts):
            continue
        if milliseconds(again.per_try) >= milliseconds(most):
            what = f"is not shorter than timeout {most}, which all tries share: no second try would come"
            shorter = prometheus_time(f"{max(1, milliseconds(most) // (again.attempts + 1))}ms")
            yield Fault(("services", service, "retries", "per_try"), what, f"per_try: {shorter}")


def _reasons_fit(shape: Shape) -> Iterator[Fault]:
    for service, declared in shape.services.items():
        if declared.retries is None:
            continue
        key = ("services", service, "retries")
        grpc = declared.protocol == "grpc"
        given = declared.retries.reasons or []
        wrong = [reason for reason in given if reason in (retries.HTTP if grpc else retries.GRPC)]
        if wrong:
            belongs = "HTTP" if grpc else "gRPC"
            what = f"{wrong[0]} tells of {belongs}, and {service} has protocol: {declared.protocol}"
            kept = [reason for reason in given if reason not in wrong]
            usual = retries.usual(declared.protocol)
            fix = works((*key, "reasons"), kept or [reason for reason in usual if reason not in retries.UNSENT])
            yield Fault((*key, "reasons"), what, fix if grpc else f"{fix}, or protocol: grpc")
        if grpc and "methods" in declared.retries.model_fields_set:
            what = "says nothing here: each call of gRPC is a POST, so reasons alone decide"
            yield Fault((*key, "methods"), what, works((*key, "reasons"), list(retries.reasons(declared))))


def _secrets_are_used(shape: Shape) -> Iterator[Fault]:
    release = shape.release
    used = {name for _, workload in _workloads(shape) for name in (*workload.secrets, *workload.mounts)}
    used |= {str(value.secret) for _, workload in _workloads(shape) for value in workload.env.values()}
    if release.mail and release.mail.password:
        used.add(release.mail.password.secret)
    used |= set(release.image_pull_secrets)
    for section, known in (("secrets", release.secrets), ("volumes", release.volumes)):
        for name in known:
            if name not in used:
                yield Fault((section, name), "is used by nobody", f"mounts: {{{name}: /{name}}}", warning=True)


def _names_are_good(shape: Shape) -> Iterator[Fault]:
    yield from names.faults(Naming(shape))


_VERSIONS: tuple[Rule, ...] = (
    _versions_answer,
    _weights_fit,
    _versions_have_weights,
    _labels_differ,
    _images_are_there,
)
_CALLS: tuple[Rule, ...] = (_calls_lead_somewhere, _routes_lead_somewhere)
_DETAILS: tuple[Rule, ...] = (
    _everything_is_reached,
    _carriers_forward,
    _shadows_have_someone,
    _plain_callers_are_known,
    _storage_is_known,
    _folders_are_apart,
    _pods_add_up,
    _weights_have_pods,
    _limits_are_above,
    _ports_are_free,
    _sticky_can_tell,
    _overrides_can_tell,
    _hosts_are_apart,
    _hash_is_one,
    _monitors_agree,
    _gateway_is_one,
    _alerts_can_fire,
    _mail_can_go,
    _times_fit,
    _reasons_fit,
    _secrets_are_used,
    _names_are_good,
)
