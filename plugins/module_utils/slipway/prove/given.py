"""What users of a release may meet: by the page that is applied (its facts), and by the routes that are live. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..release import backends
from ..release.judge import owner
from ..release.limit_classes import BY
from ..release.routing import cookie_pattern
from .routes import covering

Json = dict[str, Any]
Objects = Mapping[str, Sequence[Json]]
# A service and the version of it that answers.
Hop = tuple[str, str]

HTTPS = 443
# Kinds of objects that say what users get now.
KINDS = (
    "VirtualService", "HTTPRoute", "Gateway", "DestinationRule", "Deployment", "StatefulSet", "Service", "EnvoyFilter",
    "AuthorizationPolicy",
)  # fmt: skip


@dataclass
class Given:
    """What clients get who ask for no version themselves.

    ``ports``: those that listen, and whether they answer or only send to https. ``entries``: for each path the
    versions of its service, with their per cent. ``calls``: pairs of hops, who calls and who may answer. ``kept``: for
    each path, by the value of the sticky cookie, the versions of each service that its client stays with.
    """

    hosts: list[str]
    ports: dict[int, bool] = field(default_factory=dict)
    entries: dict[str, dict[Hop, float]] = field(default_factory=dict)
    calls: set[tuple[Hop, Hop]] = field(default_factory=set)
    kept: dict[str, dict[str, dict[str, set[str]]]] = field(default_factory=dict)
    services: dict[str, dict[str, Json]] = field(default_factory=dict)
    hashed: Json | None = None
    aborts: set[int] = field(default_factory=set)
    limits: list[Json] = field(default_factory=list)

    def covering(self, path: str) -> str:
        """Give the path whose route answers ``path``; empty: none does."""
        return covering(path, sorted(self.entries, key=len, reverse=True))


def promised(facts: Json) -> Given:
    """Say what a page gives."""
    by_hosts = {each["value"] for each in facts["overrides"] if each["by"] == "host"}
    made = Given([host for host in facts["hosts"] if host not in by_hosts] or list(facts["hosts"]))
    made.ports = {int(port): port == HTTPS or not facts["redirect"] for port in facts["ports"]}
    made.services = {
        name: {version: {"deployment": own["deployment"], "label": own["label"]}
               for version, own in declared["versions"].items()}
        for name, declared in facts["services"].items()
    }  # fmt: skip
    made.limits = [
        {"per": each["per"], "bucket": each["bucket"]}
        for each in facts["limits"]
        if "value" not in each.get("when", {})
    ]
    for declared in facts["services"].values():
        abort = (declared["faults"] or {}).get("abort")
        made.aborts |= {int(abort["status"])} if abort else set()
    sticky = facts["sticky"]
    live = [version for version, share in facts["weights"].items() if share]
    for route in facts["routes"]:
        entries = made.entries.setdefault(route["path"], {})
        for version, share in route["shares"].items():
            entry = _served(facts, route["service"], version)
            entries[entry] = entries.get(entry, 0) + share
            made.calls |= set(_promised_calls(facts, entry, version))
        for version in live if sticky["by"] == "cookie" and route["cookie"] == sticky["cookie"] else ():
            entry = _served(facts, route["service"], version)
            entries.setdefault(entry, 0)
            calls = set(_promised_calls(facts, entry, version))
            made.calls |= calls
            made.kept.setdefault(route["path"], {})[sticky["values"][version]] = _together(entry, calls)
    made.hashed = _hash(sticky.get("hash") or {})
    return made


def _users(facts: Json, service: str) -> list[str]:
    return [name for name, own in facts["services"][service]["versions"].items() if own["shadow"] is None]


def _served(facts: Json, service: str, version: str) -> Hop:
    users = _users(facts, service)
    return service, version if version in users else users[0]


def _promised_calls(facts: Json, entry: Hop, version: str) -> Iterator[tuple[Hop, Hop]]:
    """Follow a request of ``version`` from its first hop."""
    due, seen = [entry], {entry}
    while due:
        hop = due.pop()
        for callee in facts["services"][hop[0]]["calls"]:
            users = _users(facts, callee)
            by_weights = len(users) > 1 and not facts["services"][callee]["follows"]
            answering = (
                [(callee, own) for own in users if facts["weights"].get(own)]
                if by_weights
                else [_served(facts, callee, version)]
            )
            for other in answering:
                yield hop, other
                if other not in seen:
                    seen.add(other)
                    due.append(other)


def _together(entry: Hop, calls: Iterable[tuple[Hop, Hop]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {entry[0]: {entry[1]}}
    for _, (service, version) in calls:
        found.setdefault(service, set()).add(version)
    return found


def _hash(given: Mapping[str, Any]) -> Json | None:
    """Write what a hash goes by, the same way for a page and for a policy of Envoy."""
    for key, name in (("header", "header_name"), ("cookie", "name")):
        if found := given.get(key):
            return {key: found[name] if isinstance(found, Mapping) else found}
    return {"address": True} if given.get("address") or given.get("connection_properties") else None


def live(facts: Json, objects: Objects) -> Given | None:
    """Say what a cluster gives now, from objects of ``KINDS``; None where no route leads users to the release."""
    found = _Live(facts, objects).given()
    return found if found.entries else None


class _Live:
    def __init__(self, facts: Json, objects: Objects) -> None:
        self.facts = facts
        whose = f"{facts['namespace']}/{facts['release']}"
        self.objects = {kind: [item for item in objects.get(kind, ()) if owner(item) == whose] for kind in KINDS}
        self.gateways = list(objects.get("Gateway", ()))
        self.names = {
            f"{item['metadata']['name']}.{item['metadata']['namespace']}": _service(item)
            for item in self.objects["Service"]
        }
        self.subsets: dict[str, dict[str, Json]] = {}
        for rule in self.objects["DestinationRule"]:
            for subset in rule["spec"].get("subsets") or []:
                self.subsets.setdefault(self._named(rule["spec"]["host"]), {})[subset["name"]] = subset.get("labels")
        self.pods = self._pods()
        self.rules: dict[str, list[Json]] = {}
        self.entries: list[Json] = []
        # Of the domain of a host nothing depends here.
        by_routes = [{**backends.seen(item, "cluster.local"), "ports": backends.ports(item)}
                     for item in self.objects["HTTPRoute"]]  # fmt: skip
        for route in [*self.objects["VirtualService"], *by_routes]:
            spec = route["spec"]
            at_gateway = [name for name in spec.get("gateways") or ["mesh"] if name != "mesh"]
            if not at_gateway:
                for host in filter(_in_cluster, spec.get("hosts") or []):
                    self.rules.setdefault(self._named(host), []).extend(spec.get("http") or [])
            elif set(spec.get("hosts") or []) & set(facts["hosts"]):
                self.entries.append(route)

    def _named(self, host: str) -> str:
        """Give the service that a host in the cluster is of."""
        name, _, rest = host.partition(".")
        namespace = rest.partition(".")[0] or self.facts["namespace"]
        return self.names.get(f"{name}.{namespace}", name)

    def _pods(self) -> dict[str, dict[str, Json]]:
        """Give for each service its versions: ``deployment``, ``label``, and the ``labels`` of its pods."""
        known = {
            own["deployment"]: version
            for declared in self.facts["services"].values()
            for version, own in declared["versions"].items()
        }
        found: dict[str, dict[str, Json]] = {}
        for item in [*self.objects["Deployment"], *self.objects.get("StatefulSet", ())]:
            name = item["metadata"]["name"]
            labels = ((item["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
            service, label = labels.get("app", name), labels.get("version", "")
            fits = [
                subset
                for subset, wanted in self.subsets.get(service, {}).items()
                if wanted and wanted.items() <= labels.items()
            ]
            version = known.get(name) or next(iter(fits), label)
            own = {"deployment": name, "label": label, "labels": labels}
            own["account"] = ((item["spec"].get("template") or {}).get("spec") or {}).get("serviceAccountName", "")
            own["callers"] = self._callers(labels)
            found.setdefault(service, {})[version] = own
        return found

    def _callers(self, labels: Mapping[str, str]) -> set[str] | None:
        """Give the accounts that pods with these labels let in; None: everybody's."""
        found: set[str] | None = None
        for policy in self.objects["AuthorizationPolicy"]:
            selected = (policy["spec"].get("selector") or {}).get("matchLabels") or {}
            if selected.items() <= labels.items() and policy["spec"].get("action") != "DENY":
                found = found or set()
                for rule in policy["spec"].get("rules") or []:
                    for source in (each.get("source") or {} for each in rule.get("from") or []):
                        found |= {str(name).rpartition("/")[2] for name in source.get("principals") or []}
        return found

    def _lets_in(self, caller: Hop, callee: Hop) -> bool:
        """Tell whether a version may be called by another, as far as the cluster says."""
        known, other = (self.pods.get(service, {}).get(version) for service, version in (caller, callee))
        return not (known and other) or other["callers"] is None or known["account"] in other["callers"]

    def given(self) -> Given:
        hosts = [host for route in self.entries for host in route["spec"].get("hosts") or []]
        made = Given(list(dict.fromkeys(hosts)))
        made.services = {
            service: {name: {key: own[key] for key in ("deployment", "label")} for name, own in versions.items()}
            for service, versions in self.pods.items()
        }
        for route in self.entries:
            made.ports |= self._ports(route)
            for rule in route["spec"].get("http") or []:
                self._entry(rule, made)
        for route in self.objects["VirtualService"]:
            for rule in route["spec"].get("http") or []:
                status = ((rule.get("fault") or {}).get("abort") or {}).get("httpStatus")
                made.aborts |= {int(status)} if status else set()
        for item in self.objects["EnvoyFilter"]:
            for patch in item["spec"].get("configPatches") or []:
                route = ((patch.get("patch") or {}).get("value") or {}).get("route") or {}
                for policy in route.get("hash_policy") or []:
                    made.hashed = made.hashed or _hash(policy)
        made.limits = list(_limits(self.objects["EnvoyFilter"]))
        return made

    def _ports(self, route: Json) -> dict[int, bool]:
        if "ports" in route:
            return dict(route["ports"])
        wanted = {
            tuple(name.split("/")) if "/" in name else (route["metadata"]["namespace"], name)
            for name in route["spec"]["gateways"]
            if name != "mesh"
        }
        found: dict[int, bool] = {}
        for gateway in self.gateways:
            if (gateway["metadata"]["namespace"], gateway["metadata"]["name"]) not in wanted:
                continue
            for server in gateway["spec"].get("servers") or []:
                answers = not (server.get("tls") or {}).get("httpsRedirect")
                found[int(server["port"]["number"])] = answers
        return found

    def _entry(self, rule: Json, made: Given) -> None:
        """Take a rule at the gateway for what it says of new clients, or of those with a sticky cookie."""
        matches = rule.get("match") or [{}]
        paths = dict.fromkeys(_path(match) for match in matches)
        conditions = [_condition(match) for match in matches]
        if not any(conditions):
            for path in paths:
                if path in made.entries and made.entries[path] and sum(made.entries[path].values()):
                    # A rule before it takes everybody.
                    continue
                for hop, share, headers in self._to(rule, {}):
                    made.entries.setdefault(path, {})
                    made.entries[path][hop] = made.entries[path].get(hop, 0) + share
                    made.calls |= set(self._calls(hop, headers))
            return
        sticky = self.facts["sticky"]
        for value in sticky.get("values", {}).values():
            wanted = {"headers": {"cookie": {"regex": cookie_pattern(sticky["cookie"], value)}}}
            if wanted not in conditions:
                continue
            for path in paths:
                for hop, _, headers in self._to(rule, {}):
                    calls = set(self._calls(hop, headers))
                    made.entries.setdefault(path, {}).setdefault(hop, 0)
                    made.calls |= calls
                    kept = made.kept.setdefault(path, {}).setdefault(value, {})
                    for service, versions in _together(hop, calls).items():
                        kept.setdefault(service, set()).update(versions)

    def _to(self, rule: Json, headers: Mapping[str, str]) -> Iterator[tuple[Hop, float, dict[str, str]]]:
        """Give who may answer by a rule, with per cent, and what the request carries on; never a mirror."""
        routes = rule.get("route") or []
        for each in routes:
            share = float(each.get("weight", 100 if len(routes) == 1 else 0))
            if not share:
                continue
            to = each["destination"]
            service = self._named(to["host"])
            added = ((each.get("headers") or {}).get("request") or {}).get("set") or {}
            versions = [to["subset"]] if to.get("subset") else list(self.pods.get(service, {}))
            for version in versions:
                yield (service, version), share / len(versions), {**headers, **added}

    def _calls(self, entry: Hop, headers: Mapping[str, str]) -> Iterator[tuple[Hop, Hop]]:
        """Follow a request from its first hop, by the rules of the mesh."""
        begin = (entry, tuple(sorted(headers.items())))
        due, seen = [begin], {begin}
        while due:
            hop, carried = due.pop()
            for callee in self.pods:
                for other, more in self._answering(hop, dict(carried), callee):
                    yield hop, other
                    state = (other, tuple(sorted(more.items())))
                    if state not in seen:
                        seen.add(state)
                        due.append(state)

    def _answering(self, hop: Hop, headers: Mapping[str, str], callee: str) -> Iterator[tuple[Hop, dict[str, str]]]:
        """Give who may answer when a hop calls a service."""
        service, version = hop
        if callee == service:
            return
        rules = self.rules.get(callee)
        if rules is None:
            # Plain calls: whatever is behind the Service.
            plain = ((callee, own) for own in self.pods[callee])
            yield from ((to, dict(headers)) for to in plain if self._lets_in(hop, to))
            return
        labels = (self.pods.get(service, {}).get(version) or {}).get("labels") or {"app": service, "version": version}
        for rule in rules:
            if any(_fits(match, labels, headers) for match in rule.get("match") or [{}]):
                yield from ((to, more) for to, _, more in self._to(rule, headers) if self._lets_in(hop, to))
                return


def _in_cluster(host: str) -> bool:
    """Tell whether a host is a Service's, and not one outside whose name begins alike."""
    _, *rest = host.split(".")
    return len(rest) < 2 or rest[1] == "svc"


def _service(item: Json) -> str:
    labels = item["metadata"].get("labels") or {}
    return str(labels.get("slipway.io/service") or labels.get("app") or item["metadata"]["name"])


def _condition(match: Json) -> Json:
    """Give what a match asks for beside the path; a pattern of the path is no path."""
    uri = match.get("uri") or {}
    return {key: value for key, value in match.items() if key != "name" and not (key == "uri" and "regex" not in uri)}


def _path(match: Json) -> str:
    uri = match.get("uri") or {"prefix": "/"}
    return str(uri.get("exact") or uri.get("prefix") or "/").rstrip("/") or "/"


def _fits(match: Json, labels: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    wanted = match.get("sourceLabels") or {}
    if not wanted.items() <= labels.items():
        return False
    named = match.get("headers") or {}
    return all("exact" in how and headers.get(name) == how["exact"] for name, how in named.items())


def _limits(filters: Iterable[Json]) -> Iterator[Json]:
    """Give the limits that the gateway keeps for a release: ``per`` and ``bucket``."""
    for item in filters:
        for patch in item["spec"].get("configPatches") or []:
            by_name = ((patch.get("patch") or {}).get("value") or {}).get("typed_per_filter_config") or {}
            for config in by_name.values():
                for each in (config.get("value") or {}).get("descriptors") or []:
                    keys = [str(entry.get("key")) for entry in each.get("entries") or []]
                    if any(key.startswith(BY) for key in keys):
                        # Only for requests that say so.
                        continue
                    per = "client" if "remote_address" in keys else "total"
                    yield {"per": per, "bucket": each["token_bucket"]}
