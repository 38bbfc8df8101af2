"""What contents promise, read from their objects, in the shape of ``release/facts.py``. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..cluster.objects import identity
from . import gateway_api, gateways, limiters, rules, services, walk
from .callers import Callers
from .keys import Contents
from .plan import Made
from .promises import LISTED, of_monitoring, of_versions
from .rules import Choice, Target, Understood, Way
from .services import Service, Services
from .told import World

Json = dict[str, Any]


def facts(release: Contents, made: Made, world: World) -> Json:
    """Collect everything that contents promise."""
    return _Facts(release, made, world).facts()


class _Facts:
    def __init__(self, release: Contents, made: Made, world: World) -> None:
        self.release, self.made, self.world = release, made, world
        self.namespace = made.planned.namespace
        # What the mesh makes of Ingresses and HTTPRoutes, too.
        ports = world.ports or (80,)
        self.beside = [*made.beside, *gateway_api.as_routes(made.objects, ports, world.domain)]
        self.objects = [*made.objects, *self.beside]
        self.known = Services(self.objects, self.namespace, world.domain)
        self.left: list[tuple[str, str]] = []
        self.understood: dict[str, Understood] = {}
        self.tools: dict[str, str] = {}
        self.tool_services: dict[str, str] = {}
        self.hosts: list[str] = []
        self.routes: list[Json] = []
        self.service: Service | None = None
        self.choices: list[Choice] = []
        self.ways: list[Way] = []
        # Objects of kinds that are listed else, of which something is asked.
        self.exercised: set[str] = set()
        self.gateways = gateways.at_the_gateway(self.objects, world)
        # Where the gateway answers for each host, and the Gateways of what the release is about.
        self.served: dict[str, list[Json]] = {}
        self.own_gateways: list[Json] = []
        self.redirects: list[Json] = []

    def facts(self) -> Json:
        self.read_routes()
        hosts = self.release.hosts or self.hosts or [f"{self.release.name}.local"]
        at = self.serve(hosts)
        ports = [one["port"] for one in at] or [80]
        limits = self.limits(ports)
        versions = self.versions()
        sticky, overrides = self.sticky(), list(self.overrides())
        for route in self.routes:
            route["cookie"] = sticky.get("cookie") if route["split"] and sticky["by"] == "cookie" else None
        by_host = [one["value"] for one in overrides if one["by"] == "host" and one["value"] not in hosts]
        self.serve(by_host)
        found: Json = {
            "release": self.release.name,
            "namespace": self.namespace,
            "hosts": [*hosts, *by_host],
            "ports": ports,
            "tls": False,
            "redirect": any(one["tls"] for one in at),
            "served": self.served,
            "tools": self.tools,
            "tool_services": self.tool_services,
            "weights": self.weights(versions),
            "versions": versions if len(versions) > 1 else [],
            "services": {name: self.declared(each) for name, each in self.reached().items()},
            "routes": self.routes,
            "version_header": None,
            "sticky": sticky,
            "overrides": overrides,
            "chains": list(self.chains(versions)),
            "shadows": list(self.shadows()),
            "limits": limits,
            "mtls": self.mtls(),
            "plain": [],
            "access": [],
            "alerts": [],
            "mail": None,
            "alertmanager": None,
            "dashboards": [],
            "cases": [],
            "redirects": self.redirects,
            "entries": [],
            "outside": [],
            "egress": "open",
            "jwt": None,
        }
        callers = Callers(self.objects, self.namespace, self.world.domain, found["services"])
        found["access"] = callers.rows({name: self.known.all[name] for name in found["services"]})
        self.exercised |= callers.asked
        claims = list(self.claims(found))
        found["claims"] = [{"id": f"{claim['kind']}-{index + 1}", **claim} for index, claim in enumerate(claims)]
        return found

    # Gateways and routes.

    def bound(self, item: Json) -> bool:
        """Tell whether a VirtualService is at the cluster's gateway, by a Gateway of these contents."""
        return bool(self.gateways_of(item))

    def gateways_of(self, item: Json) -> list[Json]:
        """Give the Gateways of these contents that a VirtualService is at."""
        names = (item.get("spec") or {}).get("gateways") or []
        places = [name if "/" in name else f"{walk.space(item)}/{name}" for name in names]
        return [self.gateways[place] for place in places if place in self.gateways]

    def read_routes(self) -> None:
        entries = [item for item in walk.of(self.objects, "VirtualService") if self.bound(item)]
        read = {_said(item): rules.understand(item) for item in entries}
        for understood in read.values():
            self.known.join(understood)
        own = [item for item in entries if any(self._own(way) for way in read[_said(item)].ways)]
        # The one that shares requests among versions is what the release is about.
        own.sort(key=lambda item: -max(len(way.shares) for way in read[_said(item)].ways))
        main = own[:1]
        for item in entries:
            hosts = self.hosts_of(item)
            understood = read[_said(item)]
            self.left += [(_said(item), text) for text in (*understood.left, *understood.unreached)]
            if item in main:
                self.hosts = hosts
                self.own_gateways = self.gateways_of(item)
                self.take(item, understood)
            elif any(host in self.hosts_of(each) for host in hosts for each in main):
                self.left.append((_said(item), "another VirtualService has its host, too"))
            else:
                for host in hosts[:1]:
                    self.tool(item, host, understood)
        for item in walk.of(self.objects, "VirtualService"):
            if not self.bound(item) and not services.of_mesh(item):
                self.left.append((identity(item), "its gateway is none of this cluster's, or none of these contents"))

    def tool(self, item: Json, host: str, understood: Understood) -> None:
        """Take what has a host beside the one that the release is about."""
        at = self.gateways_of(item)
        if gateways.asks_for_certificates(at, host):
            self.left.append((_said(item), f"{host} is only for clients with a certificate, or not the gateway's own"))
            return
        if places := gateways.places(at, host, self.world):
            self.served[host] = places
        self.tools[walk.name(item)] = host
        way = understood.ways[0] if understood.ways else None
        to = next(iter(way.shares))[0] if way else ""
        place = walk.service_of(to, walk.space(item), self.world.domain)
        self.tool_services[walk.name(item)] = f"{place[1]}.{place[0]}" if place else to

    def serve(self, hosts: list[str]) -> list[Json]:
        """Note where the gateway answers for hosts of the release itself; give the places of the first."""
        found = {host: gateways.places(self.own_gateways, host, self.world) for host in hosts}
        self.served |= {host: places for host, places in found.items() if places}
        return next(iter(found.values()), [])

    def hosts_of(self, item: Json) -> list[str]:
        """Give hosts that can be asked for; for ``*`` those of the page, of its Gateways, or any."""
        found = [str(host) for host in (item.get("spec") or {}).get("hosts") or []]
        made: list[str] = []
        for host in found:
            if host == "*":
                of_gateways = [
                    str(each).rpartition("/")[2]
                    for gateway in self.gateways.values()
                    for server in (gateway.get("spec") or {}).get("servers") or []
                    for each in server.get("hosts") or []
                ]
                made += self.release.hosts or [each for each in of_gateways if "*" not in each]
                made += [] if made else [f"{self.release.name}.local"]
            else:
                made.append(f"{self.release.name}{host[1:]}" if host.startswith("*.") else host)
        return list(dict.fromkeys(made))

    def _own(self, way: Way) -> bool:
        return any(self.known.at(host) for host, _ in way.shares)

    def take(self, item: Json, understood: Understood) -> None:
        """Make routes of a VirtualService's ways."""
        self.redirects = [dict(zip(("path", "code", "to"), one, strict=True)) for one in understood.redirects]
        sent = {one["path"] for one in self.redirects}
        for way in sorted(understood.ways, key=lambda way: (-len(way.path), way.path)):
            if way.path in sent:
                self.left.append((_said(item), f"what is below {way.path} is not asked: that path itself redirects"))
                continue
            first = self.known.at(next(iter(way.shares))[0])
            if first is None:
                self.left.append((_said(item), f"{way.path} leads out of this release"))
                continue
            shares = {self.version(target): share for target, share in way.shares.items()}
            if None in shares or not self.is_one(way):
                self.left.append((_said(item), f"{way.path} is shared between services, not between versions"))
                shares = {next(iter(first.versions), ""): 100}
            names = list(first.versions)
            self.routes.append(
                {
                    "path": way.path,
                    "service": first.name,
                    "split": len(names) > 1,
                    "shares": {str(name): share for name, share in shares.items() if share},
                    "served_by": {name: name for name in names},
                    "headers": {},
                    "cors": None,
                    # One way of all to share and to keep a version.
                    "own": False,
                    "cookie": None,
                    "overrides": None,
                }
            )
            self.ways.append(way)
            if self.service is None or len(names) > len(self.service.versions):
                self.service = first
        self.choices = understood.choices

    def is_one(self, way: Way) -> bool:
        """Tell whether all destinations of a way are one Service."""
        found = [self.known.at(host) for host, _ in way.shares]
        return len({each.name if each else None for each in found}) == 1

    def version(self, target: Target) -> str | None:
        """Name the version that a destination means; None: it is not known."""
        found = self.known.at(target[0])
        if found is None:
            return None
        if target[1]:
            return target[1] if target[1] in found.versions else None
        if named := self.known.named(target[0]):
            return named
        return next(iter(found.versions), "") if len(found.versions) == 1 else None

    def versions(self) -> list[str]:
        return list(self.service.versions) if self.service else []

    def weights(self, versions: list[str]) -> dict[str, float]:
        """Give the shares of the first route that shares, of all versions."""
        if len(versions) < 2:
            return {}
        route = next((each for each in self.routes if len(each["shares"]) > 1), None)
        route = route or next((each for each in self.routes if each["split"]), None)
        return {name: (route or {"shares": {}})["shares"].get(name, 0) for name in versions}

    # What asks for a version.

    def sticky(self) -> Json:
        """Read cookies that answers set and rules go by."""
        way = next((each for each in self.ways if each.cookies), None)
        wanted = {one.target: one for one in self.choices if one.by == "cookie"}
        if way is None or len({one.name for one in wanted.values()}) != 1 or not set(way.cookies) <= set(wanted):
            return {"by": "none"}
        name = next(iter(wanted.values())).name
        values, ages = {}, set()
        for target, text in way.cookies.items():
            first, *rest = (part.strip() for part in text.split(";"))
            known = {key.lower(): value for key, _, value in (part.partition("=") for part in rest)}
            if first != f"{name}={wanted[target].value}" or known.get("path") != "/":
                self.left.append(("Set-Cookie", f"{text} is not {name}={wanted[target].value} with Path=/"))
                return {"by": "none"}
            ages.add(known.get("max-age", ""))
            values[str(self.version(target))] = wanted[target].value
        age = next(iter(ages)) if len(ages) == 1 else ""
        return {
            "by": "cookie",
            "cookie": name,
            "set_by": "mesh" if age.isdecimal() else "app",
            "values": values,
            "max_age": int(age) if age.isdecimal() else 0,
            "withdrawn": [],
        }

    def overrides(self) -> Iterator[Json]:
        cookies = [one.place for one in self.choices if one.by == "cookie"]
        sticky = self.sticky()["by"] == "cookie"
        for one in self.choices:
            version = self.version(one.target)
            at = self.known.at(one.target[0])
            if sticky and one.by == "cookie":
                continue
            if version is None or self.service is None or at is None or at.name != self.service.name:
                self.left.append((f"{one.by} {one.name}", f"{one.value} leads to {one.target[0]}, not to a version"))
            elif len(self.service.versions) < 2:
                continue
            elif not rules.covers(one.path, self.asked()):
                self.left.append((f"{one.by} {one.name}", f"its rule is for {one.path} alone"))
            elif sticky and one.by != "cookie" and cookies and one.place > min(cookies):
                self.left.append((f"{one.by} {one.name}", "rules of the cookie come before it"))
            else:
                yield {"by": one.by, "name": one.name, "value": one.value, "version": version}

    def asked(self) -> str:
        """Give the path at which a proof asks for a version."""
        split = [route for route in self.routes if route["split"]]
        return str(([each for each in split if len(each["shares"]) > 1] or split or [{"path": "/"}])[0]["path"])

    # Services.

    def reached(self) -> dict[str, Service]:
        """Give the Services that the entry's requests reach, as far as settings of pods tell."""
        found: dict[str, Service] = {}
        due = [each for each in self.known.all.values() if each.name in {route["service"] for route in self.routes}]
        while due:
            each = due.pop(0)
            if each.name not in found and each.versions:
                found[each.name] = each
                due += [
                    self.known.all[name] for version in each.versions.values() for name in self.known.calls(version)
                ]
        return found

    def declared(self, each: Service) -> Json:
        calls = list(dict.fromkeys(name for own in each.versions.values() for name in self.known.calls(own)))
        mirrored = {target: percent for way in self.ways for target, percent in way.mirrors}
        return {
            "host": f"{each.name}.{self.namespace}.svc.{self.world.domain}",
            "port": each.port,
            "calls": [name for name in calls if self.known.all[name].versions and name != each.name],
            "follows": name_of_follower(self, each),
            "forwards": None,
            "versions": {
                name: {
                    "deployment": walk.name(own.deployment),
                    "label": own.labels.get("version", name),
                    "account": (walk.template(own.deployment).get("spec") or {}).get("serviceAccountName") or "default",
                    "shadow": self.mirrored(each, name, mirrored),
                    "sidecar": services.injected(own, everywhere=self.release.sidecars),
                    "replicas": own.replicas,
                }
                for name, own in each.versions.items()
            },
            "metrics": services.metrics(self.objects, each, self.namespace),
            **dict.fromkeys(("retries", "timeout", "circuit_breaking", "load_balancing")),
            "faults": next((way.faults for way in self.ways if way.faults and self.leads(way, each)), None),
        }

    def mirrored(self, each: Service, version: str, mirrored: Mapping[Target, float]) -> float | None:
        shares = {name for route in self.routes for name, share in route["shares"].items() if share}
        for target, percent in mirrored.items():
            at = self.known.at(target[0])
            if at is not None and at.name == each.name and self.version(target) == version and version not in shares:
                return int(percent) if percent == int(percent) else percent
        return None

    def leads(self, way: Way, each: Service) -> bool:
        return any(at is not None and at.name == each.name for at in (self.known.at(host) for host, _ in way.shares))

    def shadows(self) -> Iterator[Json]:
        for name, each in self.reached().items():
            own = self.declared(each)
            for version, told in own["versions"].items():
                if told["shadow"] is not None:
                    users = [other for other, its in own["versions"].items() if its["shadow"] is None]
                    calls = dict.fromkeys(own["calls"], False)
                    yield {"service": name, "version": version, "percent": told["shadow"], "of": users, "calls": calls}

    def chains(self, versions: list[str]) -> Iterator[Json]:
        """Follow each version to the services behind it, where each has one version, or follows its caller's."""
        for route in self.routes:
            for version in versions if len(versions) > 1 and route["split"] else ():
                hops: dict[str, str | None] = {route["service"]: version}
                due = [(route["service"], version)]
                good = True
                while due:
                    service, own = due.pop(0)
                    for callee in self.known.calls(self.known.all[service].versions[own]):
                        other = self.known.all[callee]
                        if callee in hops or not other.versions:
                            continue
                        follows = self.followed(service, own, other)
                        good = good and follows is not None
                        hops[callee] = follows
                        due += [(callee, follows)] if follows else []
                if len(hops) > 1 and good:
                    yield {"path": route["path"], "version": version, "hops": hops}

    def followed(self, caller: str, version: str, callee: Service) -> str | None:
        """Name the version that a caller's pods meet; None: it may be any."""
        if len(callee.versions) == 1:
            return next(iter(callee.versions))
        labels = self.known.all[caller].versions[version].labels
        for item in walk.of(self.objects, "VirtualService"):
            spec = item.get("spec") or {}
            hosts = [self.known.at(str(host)) for host in spec.get("hosts") or []]
            if not services.of_mesh(item) or not any(each and each.name == callee.name for each in hosts):
                continue
            for rule in spec.get("http") or []:
                matches = rule.get("match") or [{}]
                shares = rules.shares_of(rule)
                if any(set(match) <= {"sourceLabels", "gateways"} and self.fits(match, labels) for match in matches):
                    return self.version(next(iter(shares))) if len(shares) == 1 else None
        return None

    def fits(self, match: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
        wanted = match.get("sourceLabels") or {}
        return bool("mesh" in (match.get("gateways") or ["mesh"]) and wanted.items() <= dict(labels).items())

    def mtls(self) -> str:
        for item in walk.of(self.objects, "PeerAuthentication"):
            spec = item.get("spec") or {}
            if walk.space(item) == self.namespace and not spec.get("selector"):
                return str((spec.get("mtls") or {}).get("mode", "")).lower()
        return ""

    def limits(self, ports: list[int]) -> list[Json]:
        found = []
        pods = [own.labels for own in (self.service.versions.values() if self.service else ())]
        for item in walk.of(self.objects, "EnvoyFilter"):
            for limit in limiters.limits(item, dict(self.world.gateway_labels), pods, self.world.ports):
                self.exercised.add(identity(item))
                found.append(
                    {**limit, "path": "", "hosts": self.hosts, "ports": ports, "gateway_replicas": 1}
                    | {"effective": limit["bucket"]["max_tokens"]}
                )
        return found

    # Claims.

    def claims(self, found: Json) -> Iterator[Json]:
        # Requests are counted at the pods of Deployments.
        countable = all(
            own.deployment["kind"] == "Deployment" for own in (self.service.versions.values() if self.service else ())
        )
        yield from (claim for claim in of_versions(found) if claim["kind"] != "counted" or countable)
        for shadow in found["shadows"]:
            title = f"{shadow['service']} {shadow['version']} gets {shadow['percent']} % as copies, and answers nobody"
            yield {"kind": "shadow", "title": title, "shadow": shadow}
        for limit in found["limits"]:
            about = f"{limit['rate']} per client" if limit["per"] == "client" else f"{limit['rate']} in all"
            yield {"kind": "limit", "title": f"all paths: {about}, then 429", "limit": limit}
        if found["mtls"] == "strict":
            yield {"kind": "mtls", "title": "mutual TLS is strict", "mode": "strict", "plain": []}
        if found["access"]:
            title = "only those may call whom an AuthorizationPolicy names"
            yield {"kind": "access", "title": title, "access": found["access"]}
        for name, service in found["services"].items():
            if service["faults"]:
                policy = {"service": name, "policy": service["faults"]}
                yield {"kind": "faults", "title": f"{name} has faults", **policy}
            if service["metrics"]:
                title = f"Prometheus reads {name}'s metrics"
                yield {"kind": "metrics", "title": title, "service": name, "metrics": service["metrics"]}
        yield from of_monitoring(self.objects)
        for tool, host in found["tools"].items():
            yield {"kind": "tool", "title": f"{tool} answers at {host}", "tool": tool, "host": host}
        yield from self.listed()

    def listed(self) -> Iterator[Json]:
        """Name what is not understood, or not shown by requests."""
        for item in walk.of(self.objects, "DestinationRule"):
            spec = item.get("spec") or {}
            policies = [spec, *(spec.get("subsets") or [])]
            if any(set(one.get("trafficPolicy") or {}) - {"tls"} for one in policies):
                self.left.append((identity(item), "nothing asks about its trafficPolicy"))
        for name, why in dict.fromkeys(self.left):
            yield {"kind": "listed", "title": f"{name} is applied as it is", "why": why}
        served = {one for item in self.beside for one in (_said(item), *item["spec"].get("hosts", []))}
        for item in self.made.objects:
            if identity(item) in served or (item["kind"] == "Ingress" and served & _hosts(item)):
                continue
            if item["kind"] in LISTED and identity(item) not in self.exercised:
                yield {"kind": "listed", "title": f"{identity(item)} is applied as it is", "why": LISTED[item["kind"]]}


def _said(item: Json) -> str:
    """Name an object, or the one that it stands for."""
    return str(item.get("of") or identity(item))


def _hosts(item: Json) -> set[str]:
    return {str(rule.get("host") or "*") for rule in (item.get("spec") or {}).get("rules") or [{}]}


def name_of_follower(found: _Facts, each: Service) -> bool:
    """Tell whether calls to a service go by the version of their caller."""
    if len(each.versions) < 2:
        return False
    return any(
        found.followed(other.name, version, each) is not None
        for other in found.known.all.values()
        for version, own in other.versions.items()
        if each.name in found.known.calls(own)
    )
