"""The Ingresses of contents: which ones the mesh's gateway serves, and what becomes of them. Pure.

istiod serves an Ingress of a class that has its name as the controller. What it would read otherwise than a chart means
it (annotations of nginx, paths of type ImplementationSpecific, a TLS Secret beside the Ingress) becomes a Gateway and a
VirtualService in the place of the Ingress; anything else stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cluster.objects import identity
from ..page.form import Fault
from ..release.render import render
from . import ingress_rules, nginx, walk
from .ingress_rules import ALL, Entry, Served
from .nginx import PREFIX

Object = dict[str, Any]
CONTROLLER = "istio.io/ingress-controller"
_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
_ANNOTATION = "kubernetes.io/ingress.class"
# The one value of the annotation that istiod itself takes.
_OF_ISTIOD = "istio"
# The gateway's own certificate, in the place of one that is not where the gateway reads.
_OWN = "slipway-gateway-tls"


@dataclass(frozen=True)
class Entrance:
    """What the gateway serves, as the cluster says it. Without classes, no Ingress is touched.

    ``secrets``: names of Secrets in the gateway's namespace. ``ports``: of its Service, each with that of its pods.
    """

    classes: frozenset[str] = frozenset()
    default: str = ""
    ports: Mapping[int, int] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    namespace: str = "istio-system"
    selector: Mapping[str, str] = field(default_factory=lambda: {"istio": "ingressgateway"})
    domain: str = "cluster.local"


def entrance(classes: Iterable[Mapping[str, Any]], **more: Any) -> Entrance:
    """Read IngressClasses."""
    own = [item for item in classes if (item.get("spec") or {}).get("controller") == CONTROLLER]
    default = (walk.name(item) for item in own if (item["metadata"].get("annotations") or {}).get(_DEFAULT) == "true")
    return Entrance(frozenset(map(walk.name, own)), next(default, ""), **more)


@dataclass
class Entered:
    """Objects of contents with what became of their Ingresses.

    ``beside``: what istiod makes of those that stayed, in the form of a VirtualService and its Gateway.
    """

    objects: list[Object]
    beside: list[Object] = field(default_factory=list)
    made: list[tuple[Object, Object]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    faults: list[tuple[Object, str, str, str]] = field(default_factory=list)


def enter(objects: list[Object], at: Entrance, release: str, namespace: str, labels: Mapping[str, str]) -> Entered:
    """Say what becomes of the Ingresses among ``objects``."""
    served = [one for item in walk.of(objects, "Ingress") if (one := _served(item, at, objects))]
    if not served:
        return Entered(objects)
    return _Enterer(objects, at, release, namespace, dict(labels)).entered(served)


def class_of(item: Mapping[str, Any], default: str = "") -> str:
    """Name the class of an Ingress; empty: it has none."""
    annotated = (item["metadata"].get("annotations") or {}).get(_ANNOTATION)
    return str(walk.inner(item.get("spec")).get("ingressClassName") or annotated or default)


def _served(item: Object, at: Entrance, objects: list[Object]) -> Served | None:
    named = class_of(item, at.default)
    # A chart with a class of its own brings the controller, too.
    if named not in at.classes or named in {walk.name(one) for one in walk.of(objects, "IngressClass")}:
        return None
    return Served(item, nginx.Meaning(), "nginx" in named or bool(nginx.said(item)))


class _Enterer:
    def __init__(
        self, objects: list[Object], at: Entrance, release: str, namespace: str, labels: dict[str, str]
    ) -> None:
        self.objects, self.at, self.release, self.namespace, self.labels = objects, at, release, namespace, labels
        self.result = Entered(objects)
        self.doubts: list[str] = []
        # Services that have a DestinationRule, and those that got one here.
        self.kept: set[tuple[str, str]] = set()
        self.ruled = {
            walk.service_of(str((item.get("spec") or {}).get("host", "")), walk.space(item), at.domain)
            for item in walk.of(objects, "DestinationRule")
        }

    def entered(self, served: list[Served]) -> Entered:
        read = [Served(one.item, self.meaning(one), one.of_nginx) for one in served]
        reasons = {identity(one.item): why for one in read if (why := self.why(one))}
        gone = self.together(read, reasons)
        self.result.made = list(self.objects_of(gone))
        faults, told = list(self.result.faults), [*(self.became(one, reasons) for one in gone), *self.result.told]
        # What istiod makes of the others is for claims alone: nothing can be wrong with it.
        stay = [one for one in read if one not in gone]
        beside = [{**item, "of": identity(source)} for item, source in self.objects_of(stay)]
        names = {identity(one.item) for one in gone}
        objects = [item for item in self.objects if identity(item) not in names]
        objects += [item for item, _ in self.result.made]
        return Entered(objects, beside, self.result.made, [*told, *self.doubts], faults)

    def together(self, read: list[Served], reasons: Mapping[str, str]) -> list[Served]:
        """Give the Ingresses that cannot stay, and those that have a host with one of them."""
        gone = [one for one in read if identity(one.item) in reasons]
        while True:
            hosts = {host for one in gone for host in one.hosts}
            more = [one for one in read if one not in gone and hosts & set(one.hosts)]
            if not more:
                return [one for one in read if one in gone]
            gone += more

    def became(self, one: Served, reasons: Mapping[str, str]) -> str:
        name = identity(one.item)
        why = reasons.get(name, "another Ingress with its host does not stay")
        made = [identity(item) for item, source in self.result.made if source is one.item]
        there = (
            f"what stands in its place is {', '.join(made)}" if made else "it is part of what stands in place of others"
        )
        return f"{name} is not applied: {there}, because {why}"

    def meaning(self, one: Served) -> nginx.Meaning:
        meaning, told, wrong = nginx.read(one.item)
        self.result.told += [f"{identity(one.item)}: {text}" for text in told]
        self.result.faults += [(one.item, each.id, each.what, each.works) for each in wrong]
        return meaning

    def why(self, one: Served) -> str:
        """Say why an Ingress cannot stay as it is; empty: it can."""
        annotations = one.item["metadata"].get("annotations") or {}
        https = [walk.inner(rule.get("http")) for rule in walk.each(one.spec.get("rules"))]
        paths = [path for http in https for path in walk.each(http.get("paths"))]
        if any(key.startswith(PREFIX) for key in annotations):
            return "istiod does not read annotations of nginx"
        if annotations.get(_ANNOTATION, _OF_ISTIOD) != _OF_ISTIOD:
            return f"istiod does not read the class {annotations[_ANNOTATION]} in an annotation"
        if any((path.get("pathType") or "ImplementationSpecific") == "ImplementationSpecific" for path in paths):
            return "a path of type ImplementationSpecific would be that path alone to istiod"
        if one.spec.get("defaultBackend"):
            return "istiod takes no defaultBackend"
        secrets = [str(tls.get("secretName") or "") for tls in walk.each(one.spec.get("tls"))]
        if any(name not in self.at.secrets for name in secrets):
            return f"its TLS Secret is not in {self.at.namespace}, where the gateway reads"
        return "nginx would redirect its hosts to HTTPS" if secrets and one.of_nginx else ""

    # Objects.

    def objects_of(self, read: list[Served]) -> Iterator[tuple[Object, Object]]:
        """Make the mesh's objects, each with the Ingress that it comes from."""
        reader = ingress_rules.Reader(self.named_ports(), self.at.domain)
        entries = reader.entries(read)
        self.result.told += [f"{identity(item)}: {text}" for item, text in reader.left]
        for entry in entries:
            self.check(entry)
            self.twice(entry)
        gateways: dict[tuple[str, bool], list[Entry]] = {}
        for entry in entries:
            gateways.setdefault(self.tls(entry), []).append(entry)
        for (secret, redirect), own in gateways.items():
            first = own[0].of[0].item
            values = self.values(_called(own[0]), walk.space(first))
            tls = {"secret": secret, "redirect": redirect} if secret else {}
            hosts = [entry.host for entry in own]
            for item in render("gateway", **values, selector=dict(self.at.selector), ports=[80], hosts=hosts, tls=tls):
                yield item, first
        for entry in entries:
            yield from self.of_host(entry, gateways)

    def of_host(
        self, entry: Entry, gateways: Mapping[tuple[str, bool], list[Entry]]
    ) -> Iterator[tuple[Object, Object]]:
        first = entry.of[0].item
        key = next(key for key, own in gateways.items() if entry in own)
        leading = gateways[key][0]
        gateway = f"{walk.space(leading.of[0].item)}/{_called(leading)}"
        space, slug = walk.space(first), _slug(entry.host)
        rules = ingress_rules.rules(entry, f"{space}/{self.release}")
        values = {"hosts": [entry.host], "gateways": [gateway], "rules": rules, "tcp": []}
        for item in render("virtual-service", **self.values(_called(entry), space), **values):
            yield item, first
        beside = self.values(f"{self.namespace}-{self.release}-{slug}", self.at.namespace)
        limit = ingress_rules.limited(entry, f"{self.namespace}-{self.release}-{slug}")
        if limit:
            ports = [80, *([443] if key[0] else [])]
            hosts = [f"{entry.host}:{port}" for port in ports]
            made = render(
                "rate-limit", **beside, selector=dict(self.at.selector), virtual_hosts=hosts, configuration=limit
            )
            yield made[0], first
        guards = ingress_rules.guards(entry)
        if guards:
            # Without ports, it would be for everything that the gateway passes on as plain TCP, too.
            listening = [str(self.at.ports[port]) for port in (80, 443) if port in self.at.ports]
            to = {"hosts": [entry.host, f"{entry.host}:*"], **({"ports": listening} if listening else {})}
            rules = [rule for guard in guards for rule in _refusals(guard, to)]
            for item in render("ingress-access", **beside, selector=dict(self.at.selector), rules=rules):
                yield item, guards[0].served.item
        yield from self.cookies(entry)

    def cookies(self, entry: Entry) -> Iterator[tuple[Object, Object]]:
        """Make what keeps clients with a pod."""
        for way in (*entry.ways, *entry.canaries.values()):
            cookie = way.served.meaning.cookie
            place = walk.service_of(way.to.host, walk.space(way.served.item), self.at.domain)
            if not cookie or place is None:
                continue
            if place in self.ruled and place not in self.kept:
                text = f"{identity(way.served.item)}: {PREFIX}affinity does nothing: a DestinationRule is there for it"
                self.result.told += [] if text in self.result.told else [text]
                continue
            if place in self.kept:
                continue
            self.kept.add(place)
            values = self.values(f"{place[1]}-ingress", place[0])
            balancer = {"consistentHash": {"httpCookie": dict(cookie)}}
            for item in render(
                "destination-rule", **values, host=way.to.host, balancer=balancer, breaker={}, subsets={}
            ):
                yield item, way.served.item

    def values(self, name: str, namespace: str) -> dict[str, Any]:
        return {"name": name, "namespace": namespace, "labels": self.labels}

    def named_ports(self) -> dict[tuple[str, str, str], int]:
        return {
            (walk.space(item), walk.name(item), str(port["name"])): int(port["port"])
            for item in walk.of(self.objects, "Service")
            for port in (item.get("spec") or {}).get("ports") or []
            if port.get("name")
        }

    def tls(self, entry: Entry) -> tuple[str, bool]:
        """Give the Secret of a host's certificate, and whether port 80 leads to 443; empty: it has no TLS."""
        for one in entry.of:
            for tls in walk.each(one.spec.get("tls")):
                hosts = tls.get("hosts") or [ALL]
                if ALL in hosts or entry.host in hosts or f"*.{entry.host.partition('.')[2]}" in hosts:
                    return self.certificate(one, str(tls.get("secretName") or "")), self.redirects(one)
        for one in entry.of:
            if one.meaning.https:
                self.tell(one, f"{PREFIX}ssl-redirect does nothing for {entry.host}, which has no tls")
        return "", False

    def certificate(self, one: Served, secret: str) -> str:
        if self.at.ports and 443 not in self.at.ports:
            self.tell(one, "its tls does nothing: the gateway has no port 443")
            return ""
        if secret in self.at.secrets:
            return secret
        if secret:
            there = self.at.namespace
            text = f"its TLS Secret {secret} is not in {there}, where the gateway reads: the gateway's own certificate"
            self.tell(one, f"{text} answers, until a Secret {secret} is there and the release is applied again")
        return _OWN

    def redirects(self, one: Served) -> bool:
        if self.at.ports and 443 not in self.at.ports:
            return False
        # nginx does so by itself where there is TLS.
        return one.of_nginx if one.meaning.https is None else one.meaning.https

    def tell(self, one: Served, text: str) -> None:
        said = f"{identity(one.item)}: {text}"
        self.result.told += [] if said in self.result.told else [said]

    def twice(self, entry: Entry) -> None:
        """Say of a host that routes of the contents have, too."""
        for item in walk.of(self.objects, "VirtualService"):
            spec = item.get("spec") or {}
            if entry.host in (spec.get("hosts") or []) and set(spec.get("gateways") or ["mesh"]) != {"mesh"}:
                first = identity(entry.of[0].item)
                self.doubts.append(
                    f"{first} and {identity(item)} are both for {entry.host}: which one counts is not certain"
                )

    def check(self, entry: Entry) -> None:
        """Refuse what cannot become a route, or would leave open what was closed."""
        for way in (*entry.ways, *entry.canaries.values()):
            item = way.served.item
            if way.to.port == 0:
                service = way.to.host.partition(".")[0]
                what = f"it leads to a named port of Service {service}, which these contents do not have"
                self.result.faults.append((item, "ingress-port-unknown", what, "port: {number: 80}"))
            if why := ingress_rules.unmatchable(way):
                what = f"its path {way.path} {why}"
                self.result.faults.append((item, "annotation-unreadable", what, "path: /shop(/|$)(.*)"))
        for guard in ingress_rules.guards(entry):
            patterns = any(way.how == ingress_rules.PATTERN for way in entry.ways)
            if patterns or entry.host == ALL:
                how = "which has paths that are expressions" if patterns else "which is every host of the gateway"
                what = f"it lets only some addresses in at {entry.host}, {how}"
                works = "paths of type Prefix" if patterns else "host: shop.local"
                self.result.faults.append((guard.served.item, "annotation-refused", what, works))


def _refusals(guard: ingress_rules.Guard, to: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Write the rules by which addresses are refused."""
    more = {"paths": guard.paths, "notPaths": guard.others}
    operation = {**to, **{key: value for key, value in more.items() if value}}
    meaning = guard.served.meaning
    if meaning.allowed:
        yield {"from": [{"source": {"notRemoteIpBlocks": list(meaning.allowed)}}], "to": [{"operation": operation}]}
    if meaning.denied:
        yield {"from": [{"source": {"remoteIpBlocks": list(meaning.denied)}}], "to": [{"operation": operation}]}


def faults(entered: Entered, sources: Mapping[str, str], key: str) -> Iterator[Fault]:
    """Give the faults, each with the file of its Ingress."""
    for item, error, what, works in entered.faults:
        source = sources.get(identity(item), "")
        where = f" ({source})" if source else ""
        yield Fault(error, (key,), f"has {identity(item)}{where}: {what}", works)


def _called(entry: Entry) -> str:
    """Name the objects of a host."""
    return f"{walk.name(entry.of[0].item)}-{_slug(entry.host)}"


def _slug(host: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", host.lower().replace("*", "any")).strip("-")
