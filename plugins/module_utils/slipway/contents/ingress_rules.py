"""From Ingresses to rules of VirtualServices, as the template ``virtual-service.yml.j2`` takes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..release.limit_classes import on_paths
from ..release.routing import cookie_pattern, literal
from ..release.values import bucket
from . import nginx, walk
from .nginx import Canary, Meaning
from .rules import covers

Object = dict[str, Any]
EXACT, BELOW, PATTERN = "exact", "prefix", "regex"
ALL = "*"
# Used by requests that no limit is about.
_ROOMY = {"max_tokens": 1_000_000, "tokens_per_fill": 1_000_000, "fill_interval": "1s"}
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
# So many addresses have a bucket of their own at a time.
_CLIENTS = 10_000


@dataclass(frozen=True)
class Served:
    """An Ingress that the gateway serves: its object, what its annotations mean, whose class it is of."""

    item: Object
    meaning: Meaning
    of_nginx: bool

    @property
    def hosts(self) -> list[str]:
        """Give the hosts that it is for."""
        rules = walk.each(self.spec.get("rules")) or [{}]
        return [*(str(rule.get("host") or ALL) for rule in rules), *self.meaning.aliases]

    @property
    def spec(self) -> Object:
        """Give its spec."""
        return walk.inner(self.item.get("spec"))


@dataclass(frozen=True)
class Backend:
    """Where requests go: host and port of a Service; port 0: nobody knows it."""

    host: str
    port: int

    def route(self, weight: int | None = None) -> dict[str, Any]:
        """Give it as a destination of a rule."""
        made = {"host": self.host, "port": self.port, "subset": "", "request_set": {}}
        return made if weight is None else {**made, "weight": weight}


@dataclass(frozen=True)
class Way:
    """A path of a host, how it is meant, and where it leads."""

    path: str
    how: str
    to: Backend
    served: Served


@dataclass
class Entry:
    """Everything that Ingresses say of one host. ``of``: the Ingresses, in their order; ``canaries``: by path."""

    host: str
    ways: list[Way] = field(default_factory=list)
    canaries: dict[str, Way] = field(default_factory=dict)
    of: list[Served] = field(default_factory=list)

    def leads(self, path: str, how: str) -> bool:
        """Tell whether there is a way for a path already: the first one counts."""
        return any((way.path, way.how) == (path, how) for way in self.ways)


class Reader:
    """Reads Ingresses; ``ports`` gives the numbers of named ports: by namespace, Service and name."""

    def __init__(self, ports: Mapping[tuple[str, str, str], int], domain: str) -> None:
        self.ports, self.domain = ports, domain
        # What does not fit, each with the Ingress it is about.
        self.left: list[tuple[Object, str]] = []

    def entries(self, served: Iterable[Served]) -> list[Entry]:
        """Collect what Ingresses say by host."""
        found: dict[str, Entry] = {}
        for one in served:
            rules = walk.each(one.spec.get("rules"))
            default = self.backend(one.item, one.spec.get("defaultBackend"))
            for rule in rules or ([{}] if default else []):
                for host in [str(rule.get("host") or ALL), *one.meaning.aliases]:
                    entry = found.setdefault(host, Entry(host))
                    entry.of += [] if one in entry.of else [one]
                    for path in walk.each(walk.inner(rule.get("http")).get("paths")):
                        self.way(entry, one, path)
                    if default and not entry.leads("/", BELOW):
                        entry.ways.append(Way("/", BELOW, default, one))
            if default and rules:
                self.left.append((one.item, "its defaultBackend answers at its own hosts alone"))
        for entry in found.values():
            self.alone(entry)
        return [entry for entry in found.values() if entry.ways]

    def way(self, entry: Entry, served: Served, path: Mapping[str, Any]) -> None:
        """Add a path to what a host has."""
        to = self.backend(served.item, path.get("backend"))
        if to is None:
            self.left.append((served.item, f"{path.get('path') or '/'} leads to no Service, and nowhere here"))
            return
        text, how = shaped(path, served)
        made = Way(text, how, to, served)
        if served.meaning.canary:
            entry.canaries.setdefault(text, made)
        elif entry.leads(text, how):
            self.left.append((served.item, f"another Ingress has {entry.host}{text}, too, and came first"))
        else:
            entry.ways.append(made)

    def backend(self, item: Object, given: Any) -> Backend | None:
        service = walk.inner(walk.inner(given).get("service"))
        if not service:
            return None
        space, name = walk.space(item), str(service.get("name", ""))
        port = walk.inner(service.get("port"))
        number = walk.number(port.get("number")) or self.ports.get((space, name, str(port.get("name", ""))), 0)
        return Backend(f"{name}.{space}.svc.{self.domain}", number)

    def alone(self, entry: Entry) -> None:
        """Name canaries that nothing leads to."""
        paths = {way.path for way in entry.ways}
        for path, canary in entry.canaries.items():
            if path not in paths:
                self.left.append((canary.served.item, f"is a canary for {entry.host}{path}, which no Ingress has"))


def shaped(path: Mapping[str, Any], served: Served) -> tuple[str, str]:
    """Give a path and how it is meant."""
    text, sort = str(path.get("path") or "/"), path.get("pathType")
    if sort == "Exact":
        return text, EXACT
    meaning = served.meaning
    if (meaning.regex or "$" in meaning.rewrite) and any(sign in text for sign in "()[]*+?|\\^$"):
        return text.removeprefix("^"), PATTERN
    for ending in ("/*", ".*"):
        text = text.removesuffix(ending)
    return text.rstrip("/") or "/", BELOW


def rules(entry: Entry, release: str) -> list[dict[str, Any]]:
    """Write the rules of a host: longer paths first, and a path alone before what is below it."""
    ways = sorted(entry.ways, key=lambda way: (-len(way.path), way.how != EXACT))
    made: list[dict[str, Any]] = []
    for one in entry.of:
        if one.meaning.root and not entry.leads("/", EXACT):
            redirect = {"uri": one.meaning.root, "redirectCode": 302}
            made.append({"match": [{"uri": {"exact": "/"}}], "redirect": redirect})
    for way in ways:
        made += _rules(way, entry.canaries.get(way.path))
    return [{"name": f"{release}:{entry.host}:{index + 1}", **rule} for index, rule in enumerate(made)]


def _rules(way: Way, canary: Way | None) -> Iterator[dict[str, Any]]:
    meaning = way.served.meaning
    matches = _matches(way)
    if meaning.redirect:
        yield {"match": matches, "redirect": dict(meaning.redirect)}
        return
    more = dict(_more(way))
    asked = canary.served.meaning.canary if canary else None
    if canary and asked:
        for to, wanted in _choices(way, canary, asked):
            chosen = [{**match, "headers": wanted} for match in matches]
            yield {"match": chosen, "route": [to.route()], **more}
        if asked.weight:
            main = [way.to.route(asked.total - asked.weight)] if asked.weight < asked.total else []
            yield {"match": matches, "route": [*main, canary.to.route(asked.weight)], **more}
            return
    yield {"match": matches, "route": [way.to.route()], **more}


def _choices(way: Way, canary: Way, asked: Canary) -> Iterator[tuple[Backend, dict[str, Any]]]:
    """Give what decides by itself whether a request meets the canary, the first that does."""
    if asked.header and asked.value:
        yield canary.to, {asked.header: {"exact": asked.value}}
    elif asked.header and asked.pattern:
        yield canary.to, {asked.header: {"regex": f".*(?:{asked.pattern}).*"}}
    elif asked.header:
        yield canary.to, {asked.header: {"exact": "always"}}
        yield way.to, {asked.header: {"exact": "never"}}
    if asked.cookie:
        yield canary.to, {"cookie": {"regex": cookie_pattern(asked.cookie, "always")}}
        yield way.to, {"cookie": {"regex": cookie_pattern(asked.cookie, "never")}}


def _matches(way: Way) -> list[dict[str, Any]]:
    if way.how == EXACT:
        return [{"uri": {"exact": way.path}}]
    if way.how == PATTERN:
        return [{"uri": {"regex": nginx.pattern(way.path)}}]
    if way.path == "/":
        return [{"uri": {"prefix": "/"}}]
    # A prefix of the mesh is one of letters, that of an Ingress one of parts between slashes.
    return [{"uri": {"exact": way.path}}, {"uri": {"prefix": f"{way.path}/"}}]


def _more(way: Way) -> Iterator[tuple[str, Any]]:
    meaning = way.served.meaning
    if meaning.rewrite:
        yield "rewrite", _rewrite(way, meaning.rewrite)
    if meaning.headers:
        yield "headers", {"request": {"set": dict(meaning.headers)}}
    if meaning.cors:
        yield "cors", dict(meaning.cors)
    if meaning.timeout:
        yield "timeout", meaning.timeout


def _rewrite(way: Way, target: str) -> dict[str, str]:
    """Replace the whole path, as nginx does: by a target, with the groups of the path in it."""
    if way.how == PATTERN:
        whole = nginx.pattern(way.path).removeprefix("(?i)").removesuffix("$")
        escaped = target.replace("\\", "\\\\")
        for number in "123456789":
            escaped = escaped.replace(f"${number}", f"\\{number}")
        return {"match": f"(?i)^{whole}$", "rewrite": escaped}
    return {"match": "^/.*$", "rewrite": target}


def unmatchable(way: Way) -> str:
    """Say why a way cannot be matched, or rewritten; empty: it can."""
    if way.how == PATTERN:
        return nginx.unmatchable(way.path)
    if "$" in way.served.meaning.rewrite:
        return f"has no groups, and {nginx.PREFIX}rewrite-target {way.served.meaning.rewrite} wants some"
    return ""


def limited(entry: Entry, prefix: str) -> dict[str, Any]:
    """Write the LocalRateLimit of a host's virtual host; empty: it has no limits."""
    limits = [(one, rate, most) for one in entry.of for rate, most in one.meaning.limits]
    actions, descriptors = [], []
    for one, rate, most in limits:
        own = [way for way in entry.ways if way.served is one]
        paths = _paths(own)
        wanted: list[dict[str, Any]] = [{"remote_address": {}}]
        entries: list[dict[str, str]] = [{"key": "remote_address"}]
        if paths or len(limits) > 1:
            key = f"{walk.name(one.item)}:{rate}"
            # Several limits of one host, each with buckets of its own.
            wanted.append({"generic_key": {"descriptor_value": key}})
            entries.append({"key": "generic_key", "value": key})
        if paths:
            wanted.append(paths)
            held = paths["header_value_match"]
            entries.append({"key": held["descriptor_key"], "value": held["descriptor_value"]})
        actions.append({"actions": wanted})
        descriptors.append({"entries": entries, "token_bucket": bucket(rate, most)})
    if not limits:
        return {}
    return {
        "stat_prefix": prefix,
        "token_bucket": _ROOMY,
        "filter_enabled": _ALWAYS,
        "filter_enforced": _ALWAYS,
        "always_consume_default_token_bucket": False,
        "max_dynamic_descriptors": _CLIENTS,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "rate_limits": actions,
        "descriptors": descriptors,
    }


def _paths(ways: list[Way]) -> dict[str, Any]:
    """Write what requests for these ways have; empty: it is all requests of a host."""
    if any((way.path, way.how) == ("/", BELOW) for way in ways):
        return {}
    made = on_paths("path", "these", ["/"])
    patterns = [_pattern(way) for way in ways]
    made["header_value_match"]["headers"][0]["string_match"]["safe_regex"]["regex"] = "|".join(patterns)
    return made


def _pattern(way: Way) -> str:
    if way.how == PATTERN:
        return rf"(?i:{way.path.removesuffix('$')}.*)"
    return rf"{literal(way.path)}(\?.*)?" if way.how == EXACT else rf"{literal(way.path)}([/?].*)?"


@dataclass(frozen=True)
class Guard:
    """An Ingress that lets only some addresses in: its paths (none: the whole host), and those of others below them."""

    served: Served
    paths: list[str]
    others: list[str]


def guards(entry: Entry) -> list[Guard]:
    """Give what has to be kept from some addresses."""
    made = []
    for one in entry.of:
        if one.meaning.allowed or one.meaning.denied:
            own = [way for way in entry.ways if way.served is one]
            whole = any((way.path, way.how) == ("/", BELOW) for way in own)
            others = [
                way
                for way in entry.ways
                if way.served is not one and any(covers(mine.path, way.path) and mine.how == BELOW for mine in own)
            ]
            paths = [] if whole else [text for way in own for text in (*_globs(way), *_slashes(way.path))]
            made.append(Guard(one, list(dict.fromkeys(paths)), [text for way in others for text in _globs(way)]))
    return made


def _globs(way: Way) -> list[str]:
    if way.how == EXACT or way.path == "/":
        return [way.path]
    return [way.path, f"{way.path}/*"]


def _slashes(path: str) -> Iterator[str]:
    """Give what is another path to the gateway, and this one to nginx and to many an application.

    These merge slashes, and take %2F for one: for /a/b it is what begins with //, /%2F, /a//, /a/%2F, /a%2F or /a/b%2F.
    """
    parts = path.strip("/").split("/")
    for place in range(len(parts) + 1):
        above = "".join(f"/{part}" for part in parts[:place])
        # What is below the path itself with a slash is there already.
        yield from (f"{above}/{slash}*" for slash in ("/", "%2F", "%2f") if place < len(parts))
        yield from (f"{above}{slash}*" for slash in ("%2F", "%2f") if above)
