"""What a plan promises, for those who prove it and for the report: shares, cookies, chains, limits, hosts, claims.

Everything here is plain data. A claim has ``id``, ``kind``, ``title``, and what its kind expects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from . import alerts, limits, outside_facts, receivers, retries, route_facts, workload
from .access import Access
from .environment import Environment
from .routing import Rules, fqdn
from .routing_keys import Override, PathOverride
from .values import milliseconds, whole

Facts = dict[str, Any]


def facts(rules: Rules, access: Access, environment: Environment, dashboards: Iterable[Facts] = ()) -> Facts:
    """Collect everything that a release promises."""
    shape = rules.naming.shape
    release = shape.release
    ports = [*release.gateway.ports, *([443] if release.gateway.tls else [])]
    made: Facts = {
        "release": release.name,
        "namespace": shape.namespace,
        "hosts": shape.hosts,
        "ports": ports,
        "tls": bool(release.gateway.tls),
        "redirect": bool(release.gateway.tls and release.gateway.tls.redirect),
        # All hosts are answered at all ports.
        "served": {},
        "tools": shape.tool_hosts,
        "tool_services": {
            name: environment.tool(name, tool.service).partition(":")[0] for name, tool in release.tools.items()
        },
        "weights": dict(release.weights),
        "versions": shape.versions,
        "services": {service: _service(rules, service) for service in shape.services},
        "routes": list(_routes(rules)),
        "version_header": release.version_header,
        "sticky": _sticky(rules),
        "overrides": list(_overrides(rules)),
        "chains": list(_chains(rules)),
        "shadows": list(_shadows(rules)),
        "limits": _limits(rules, environment, ports),
        "mtls": release.mtls,
        "plain": [service for service in shape.services if access.plain(service)],
        "access": access.table(),
        "alerts": _alerts(rules, environment),
        "mail": {"to": release.mail.to, "server": release.mail.server} if release.mail else None,
        "alertmanager": release.alertmanager.name if release.alertmanager else None,
        "dashboards": list(dashboards),
        **route_facts.facts(shape),
        **outside_facts.facts(shape),
    }
    made["claims"] = [{"id": f"{claim['kind']}-{index + 1}", **claim} for index, claim in enumerate(_claims(made))]
    return made


def _service(rules: Rules, service: str) -> Facts:
    naming, shape = rules.naming, rules.naming.shape
    declared = shape.services[service]
    made: Facts = {
        "host": fqdn(naming, service, rules.domain),
        "port": declared.service_port or declared.port,
        "calls": list(declared.calls),
        "follows": shape.follows(service),
        "forwards": shape.release.chain_header if service in shape.carriers else None,
        **({"stateful": True} if declared.stateful else {}),
        # Where HTTPRoutes lead.
        **({"routed": _routed(rules, service)} if shape.has_backends(service) else {}),
        **({"grpc": True} if declared.protocol == "grpc" else {}),
        "versions": {
            version: {
                "deployment": naming.of("deployment", service, version),
                "label": shape.label(version),
                "account": naming.of("service_account", service, version),
                "shadow": None if own.shadow is None else whole(own.shadow),
                "sidecar": workload.has_sidecar(declared, version),
                "replicas": workload.least_pods(declared, version),
            }
            for version, own in declared.versions.items()
        },
        "metrics": None,
    }
    if declared.metrics:
        metrics = declared.metrics
        port = metrics.port or declared.port
        made["metrics"] = {"path": metrics.path, "port": port, "interval": metrics.interval}
    made["retries"] = retries.facts(declared)
    for name in ("timeout", "circuit_breaking", "load_balancing", "faults"):
        value = getattr(declared, name)
        made[name] = value if value is None or isinstance(value, str) else value.model_dump(mode="json")
    if made["faults"] and not any(made["faults"].values()):
        # Of neither kind there is nothing to promise.
        made["faults"] = None
    return made


def _routed(rules: Rules, service: str) -> list[str]:
    naming = rules.naming
    named = [naming.backend(service, version) for version in naming.shape.services[service].versions]
    return [f"{name}.{naming.shape.namespace}.svc.{rules.domain}" for name in named]


def _routes(rules: Rules) -> Iterator[Facts]:
    """Say for each path which versions new clients get, in per cent."""
    shape = rules.naming.shape
    for path, route in shape.routes.items():
        if route.version or not shape.minds(route.to):
            shares = {route.version or shape.default(route.to): 100}
        else:
            weights = shape.weights_of(route)
            shares = {version: weights[version] for version in rules.live(shape.versions, route)}
        kept = shape.release.sticky.by == "cookie" and route.sticky is None and shape.minds(route.to)
        yield {
            # Of its own weights or ways to ask; and the cookie by which clients keep their version there.
            "own": bool(route.weights or route.sticky or route.override),
            "cookie": shape.cookie_of(path, route) if kept and shape.versions else None,
            "overrides": list(_asked(rules, route.override)) if route.override else None,
            "path": path,
            "service": route.to,
            "split": shape.minds(route.to),
            "shares": shares,
            "served_by": {version: shape.serving(route.to, version) for version in shape.versions},
            "headers": route.headers.model_dump(mode="json", exclude_defaults=True),
            "cors": route.cors.model_dump(mode="json") if route.cors else None,
            **({"websocket": True} if route.websocket else {}),
        }


def _sticky(rules: Rules) -> Facts:
    shape = rules.naming.shape
    sticky = shape.release.sticky
    made: Facts = {"by": sticky.by if shape.versions else "none"}
    if made["by"] == "cookie":
        values = {version: shape.cookie_value(version) for version in shape.versions}
        made |= {
            "cookie": shape.cookie,
            "set_by": sticky.set_by,
            "values": values,
            "max_age": milliseconds(sticky.max_age) // 1000,
            # Versions whose cookies no longer hold: they fall through to the weights, and are replaced.
            "withdrawn": [version for version in shape.versions if version not in rules.live(shape.versions)],
        }
    elif made["by"] == "hash" and sticky.hash:
        made["hash"] = sticky.hash.model_dump(mode="json", exclude_defaults=True)
    return made


def _overrides(rules: Rules) -> Iterator[Facts]:
    shape = rules.naming.shape
    override = shape.release.override
    for host, version in shape.override_hosts.items():
        yield {"by": "host", "name": host, "value": host, "version": version}
    yield from _asked(rules, override)


def _asked(rules: Rules, given: Override | PathOverride) -> Iterator[Facts]:
    """Say how a request asks for each version, by header and by cookie."""
    for version in rules.naming.shape.versions:
        if given.header:
            value = given.header.match(version).sample
            yield {"by": "header", "name": given.header.name, "value": value, "version": version}
    for version in rules.naming.shape.versions:
        if given.cookie:
            value = given.cookie.values.get(version, version)
            yield {"by": "cookie", "name": given.cookie.name, "value": value, "version": version}


def _chains(rules: Rules) -> Iterator[Facts]:
    """Follow each version from each path through all services that are called."""
    shape = rules.naming.shape
    for path, route in shape.routes.items():
        for version in shape.versions:
            hops: dict[str, str | None] = {}
            _follow(rules, route.to, version, hops)
            if len(hops) > 1:
                yield {"path": path, "version": version, "hops": hops}


def _follow(rules: Rules, service: str, version: str, hops: dict[str, str | None]) -> None:
    """Note which version answers at each hop; None where any may."""
    shape = rules.naming.shape
    hops[service] = shape.serving(service, version)
    for callee in shape.services[service].calls:
        if shape.is_split(callee) and not shape.follows(callee):
            hops[callee] = None
        elif callee not in hops:
            _follow(rules, callee, version, hops)


def _shadows(rules: Rules) -> Iterator[Facts]:
    shape = rules.naming.shape
    for service, declared in shape.services.items():
        for version, percent in shape.shadows(service).items():
            own = {callee: version in shape.services[callee].versions for callee in declared.calls}
            yield {
                "service": service,
                "version": version,
                "percent": whole(percent),
                "of": shape.users(service),
                "calls": own,
            }


def _limits(rules: Rules, environment: Environment, ports: list[int]) -> list[Facts]:
    """List the limits with what they come to: each gateway pod counts for itself, and so does each port."""
    hosts = rules.naming.shape.hosts
    return [
        {
            **limit,
            "hosts": hosts,
            "ports": ports,
            "effective": limit["bucket"]["max_tokens"] * environment.gateway_replicas,
            "gateway_replicas": environment.gateway_replicas,
        }
        for limit in limits.declared(rules.naming)
    ]


def _alerts(rules: Rules, environment: Environment) -> list[Facts]:
    release = rules.naming.shape.release
    scope = alerts.Scope(rules.naming, environment.gateway_app)
    return [
        {
            "name": name,
            "when": alert.when,
            "expr": alerts.expression(alert, scope),
            "for": milliseconds(alert.lasting) // 1000,
            "service": alert.service,
            "version": alert.version,
            "severity": alert.severity,
            "mailed": receivers.mailed(release, alert.severity),
            "receivers": receivers.told(release, alert.severity),
        }
        for name, alert in release.alerts.items()
    ]


def _claims(made: Facts) -> Iterator[Facts]:
    for route in made["routes"]:
        if len(route["shares"]) > 1:
            shares = ", ".join(f"{share} % {version}" for version, share in route["shares"].items())
            yield {"kind": "share", "title": f"{route['path']} is shared {shares}", "route": route}
        elif route["split"]:
            version = next(iter(route["shares"]))
            yield {
                "kind": "default",
                "title": f"{route['path']} shows {version} when nothing else is said",
                "route": route,
            }
    yield from _claims_of_clients(made)
    yield from _claims_of_services(made)
    for limit in made["limits"]:
        about = f"{limit['rate']} per client" if limit["per"] == "client" else f"{limit['rate']} in all"
        title = f"{_counted(limit)}: {about}, then 429"
        yield {"kind": "limit", "title": title, "limit": limit}
    yield from route_facts.claims(made)
    yield from _claims_of_headers(made)
    if made["tls"]:
        title = "port 443 answers over TLS as browsers want it" + (
            ", and whoever comes without is sent there" if made["redirect"] else ""
        )
        yield {"kind": "tls", "title": title}
    yield {"kind": "mtls", "title": f"mutual TLS is {made['mtls']}", "mode": made["mtls"], "plain": made["plain"]}
    if made["access"]:
        yield {"kind": "access", "title": "only those may call whose calls name it", "access": made["access"]}
    yield from outside_facts.claims(made)
    for alert in made["alerts"]:
        yield {
            "kind": "alert",
            "title": f"{alert['name']} fires, and only then",
            "alert": alert,
            "mail": made["mail"] if alert["mailed"] else None,
        }
    for dashboard in made["dashboards"]:
        title = f"the panels of dashboard {dashboard['title']} show something"
        yield {"kind": "dashboard", "title": title, "dashboard": dashboard}
    for tool, host in made["tools"].items():
        yield {"kind": "tool", "title": f"{tool} answers at {host}", "tool": tool, "host": host}


def _counted(limit: Facts) -> str:
    """Say which requests a limit counts."""
    where = ", ".join(limit.get("paths") or [limit["path"]]) or "all paths"
    when = limit.get("when", {})
    if "without" in when:
        return f"{where} without {when['sort']} {when['without']}"
    if "value" in when:
        sort = "header" if "header" in when else "cookie"
        return f"{where} with {sort} {when[sort]}: {when['value'] or 'another value'}"
    return where


def _claims_of_headers(made: Facts) -> Iterator[Facts]:
    if made["version_header"]:
        title = f"answers say their version in {made['version_header']}"
        yield {"kind": "version-header", "title": title, "header": made["version_header"]}
    for route in made["routes"]:
        about = {"route": route["path"], "service": route["service"]}
        if route["headers"]:
            title = f"{route['path']} has the headers that its page says"
            yield {"kind": "headers", "title": title, **about, "headers": route["headers"]}
        if route["cors"]:
            title = f"{route['path']} is open to browsers on {', '.join(route['cors']['origins'])}"
            yield {"kind": "cors", "title": title, **about, "cors": route["cors"]}


def _claims_of_clients(made: Facts) -> Iterator[Facts]:
    sticky = made["sticky"]
    if sticky["by"] != "none":
        yield {"kind": "sticky", "title": f"clients stay with their version, by {sticky['by']}", "sticky": sticky}
    if sticky.get("withdrawn"):
        gone = ", ".join(sticky["withdrawn"])
        yield {"kind": "withdrawn", "title": f"clients of {gone} move to the others", "sticky": sticky}
    for override in made["overrides"]:
        title = f"{override['by']} {override['name']}: {override['value']} shows {override['version']}"
        yield {"kind": "override", "title": title, "override": override}


def _claims_of_services(made: Facts) -> Iterator[Facts]:
    if made["chains"]:
        yield {"kind": "chain", "title": "a request meets one version all along its way", "chains": made["chains"]}
    for shadow in made["shadows"]:
        title = f"{shadow['service']} {shadow['version']} gets {shadow['percent']} % as copies, and answers nobody"
        yield {"kind": "shadow", "title": title, "shadow": shadow}
    for name, service in made["services"].items():
        for policy in ("timeout", "retries", "circuit_breaking", "faults"):
            if service[policy]:
                title = f"{name} has {policy.replace('_', ' ')}"
                about = {"kind": policy.replace("_", "-"), "service": name, "policy": service[policy]}
                yield {**about, "title": title}
                if policy == "retries" and service[policy]["attempts"] and service[policy]["methods"]:
                    yield {**about, "title": f"{name} gets a POST once", "method": "POST"}
        if service["metrics"]:
            title = f"Prometheus reads {name}'s metrics"
            yield {"kind": "metrics", "title": title, "service": name, "metrics": service["metrics"]}
