"""From the claims of a release to requests, readings and what is expected of them. Plain data in, plain data out.

An experiment: ``clients`` clients, each going through ``steps`` one after the other (``to``, ``port``, ``host``,
``path``, ``headers``, ``cookies``, ``times``, ``tls`` at the port for https, ``method`` if not GET), from ``sources``
([first, how many], indices of addresses), as ``by`` (``addresses``, or the name of a client pod), with a cookie jar
where ``session`` is set, and ``pace`` seconds between two requests of a client. A read is something that the runner
looks up in the cluster.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from . import envoy, stats
from .past import HEADER as PAST

Json = dict[str, Any]

# Seconds for everything but alerts, and how they are shared out between the stages.
SECONDS = 90
# The last one is of limits for all clients together, with nothing beside it.
LAST = "total"
STAGES = {"quiet": 7, "copies": 12, "clients": 42, "limits": 13, "last": 8, LAST: 8}
# Requests that all stages but the alerts' may have: what a busy lab answers in the time of the stages.
MOST_REQUESTS = 3000
# A limit with a larger bucket, or one that fills faster than one client can ask, is not exercised.
MOST_TOKENS = 300
# Requests over a limit that two more clients may make of it.
FEW = 60
MOST_PER_SECOND = 5
REPEATS = 10
# Pairs of host and port that one claim asks.
MOST_PLACES = 8
# The gateway's port for https; its others are http.
HTTPS = 443
TASKS = ("/sms", "/analyze")
TEST_HEADER = "x-slipway-test"
# What a hop that is made to fail answers with: one of these, which any of the reasons for another try means.
FAILED = (503, 502, 504)
# Every kind of claim that a proof knows.
KINDS = (
    *("address", "share", "default", "sticky", "withdrawn", "override", "chain", "shadow", "limit", "tls", "mtls"),
    *("access", "alert", "tool", "metrics", "timeout", "retries", "circuit-breaking", "faults"),
)
# Claims about which version answered.
OF_VERSIONS = ("share", "default", "sticky", "withdrawn", "override", "chain", "shadow")
# Load for an alert about errors, of which the faults of the page make enough; a share shows once other requests end.
ABORTED_PER_SECOND = 2.0
# How long an alert may take beyond its own ``for``, in seconds.
PATIENCE = 90


@dataclass(frozen=True)
class Surroundings:
    """What the plan has to know beside the release.

    ``tells``: answers say which versions took part, as those of the example app do in x-chain and in their JSON.
    ``test_header``: the app obeys x-slipway-test. ``roles``: what the app calls itself in a service. ``paths``: for a
    route the path to ask, for an app with others than /sms and /analyze. ``neighbours``: hosts of other releases on
    this gateway: ``host``, ``port``. ``elsewhere``: hosts that have TLS connections of their own there. ``mail_sink``:
    mail goes to a server of our own, where it can be read. ``away``: why the user's machine may not ask the gateway,
    empty when it may; None when that is no claim. ``past``: there is a way past the limits for all. ``skip``: kinds of
    claims that nobody wants to have looked at.
    """

    tells: bool = True
    test_header: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    neighbours: tuple[Mapping[str, Any], ...] = ()
    elsewhere: tuple[str, ...] = ()
    missing_tools: frozenset[str] = frozenset()
    monitoring: bool = True
    mail_sink: bool = False
    away: str | None = None
    past: bool = False
    sources: int = 2040
    skip: frozenset[str] = frozenset()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Surroundings:
        """Make one of plain values; an unknown name is a ``TypeError``."""
        known = {item.name for item in fields(cls)}
        if unknown := set(values) - known:
            raise TypeError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
        made = dict(values)
        made["neighbours"] = tuple(values.get("neighbours", ()))
        made["elsewhere"] = tuple(values.get("elsewhere", ()))
        made["missing_tools"] = frozenset(values.get("missing_tools", ()))
        made["skip"] = frozenset(values.get("skip", ()))
        return cls(**made)


def plan(facts: Json, environment: Mapping[str, Any] | None = None) -> Json:
    """Say what to send and to look up for each claim of ``facts`` (see ``release/facts.py``)."""
    return _Planner(facts, Surroundings.of(environment or {})).made()


class NotExercisedError(Exception):
    """Why a claim is only read from the configuration."""


class SkippedError(Exception):
    """Why a claim is not looked at."""


class _Planner:
    def __init__(self, facts: Json, environment: Surroundings) -> None:
        self.facts, self.environment = facts, environment
        self.host = facts["hosts"][0]
        # Where clients of http are only sent on, nothing else answers there.
        self.ports = [port for port in facts["ports"] if (port == HTTPS) == facts["redirect"]]
        self.port = self.ports[0]
        self.experiments: dict[str, Json] = {}
        self.reads: dict[str, Json] = {}
        self.pods: dict[str, Json] = {}
        self.next_source = 0
        self.requests = 0
        self.claim: Json = {}
        # Experiments that make copies, by their route: all shadows that its requests lead to are counted in them.
        self.copying: dict[str, str] = {}
        self.together = max(1, sum(stats.intervals(shares) for shares in self._random()))

    def made(self) -> Json:
        claims = [self._claim(claim) for claim in [*self._outside(), *self.facts["claims"]]]
        names = ("release", "namespace", "hosts", "services", "sticky", "versions", "weights", "routes")
        return {
            **{name: self.facts[name] for name in names},
            "signatures": {route["path"]: self._signatures(route) for route in self.facts["routes"]},
            "seconds": SECONDS,
            "stages": [{"name": name, "seconds": seconds} for name, seconds in STAGES.items()],
            "tolerated": self._tolerated(),
            "beside": sorted({item["stage"] for item in self.experiments.values()} - set(STAGES)),
            "sources": self.next_source,
            "requests": self.requests,
            "random_intervals": self.together,
            "pods": self.pods,
            "experiments": list(self.experiments.values()),
            "reads": list(self.reads.values()),
            "claims": claims,
        }

    def _outside(self) -> Iterator[Json]:
        """Add what is no promise of the page, but of the cluster that the release is on."""
        if self.environment.away is not None:
            yield {"id": "address-0", "kind": "address", "title": "the gateway answers the user's machine"}

    def _tolerated(self) -> list[int]:
        """Give the statuses that the release answers with on purpose."""
        aborts = (claim["policy"].get("abort") for claim in self.facts["claims"] if claim["kind"] == "faults")
        return sorted({int(abort["status"]) for abort in aborts if abort})

    def _random(self) -> Iterator[dict[str, float]]:
        """Give the shares of each random claim."""
        for claim in self.facts["claims"]:
            if claim["kind"] == "share":
                yield claim["route"]["shares"]
            elif claim["kind"] == "shadow" and 0 < claim["shadow"]["percent"] < 100:
                yield _share(claim["shadow"]["percent"])
            elif claim["kind"] == "faults":
                for fault in (claim["policy"].get("delay"), claim["policy"].get("abort")):
                    if fault and 0 < fault["share"] < 100:
                        yield _share(fault["share"])

    def _claim(self, claim: Json) -> Json:
        self.claim = {"id": claim["id"], "kind": claim["kind"], "title": claim["title"], "state": "asked"}
        self.claim |= {"reason": "", "expect": {}, "experiments": [], "reads": []}
        before = self.requests
        try:
            self.claim["expect"] = self._expected(claim)
        except (NotExercisedError, SkippedError) as exc:
            for name in self.claim["experiments"]:
                # One of another claim's, which this one only reads, stays.
                if self.experiments[name]["claim"] == self.claim["id"]:
                    del self.experiments[name]
            self.requests = before
            self.claim |= {"experiments": [], "reason": str(exc)}
            self.claim["state"] = "configured" if isinstance(exc, NotExercisedError) else "skipped"
            if self.claim["state"] == "skipped":
                for name in self.claim["reads"]:
                    self.reads.pop(name, None)
                self.claim["reads"] = []
        return self.claim

    def _expected(self, claim: Json) -> Json:
        """Ask what a claim needs, and say what is expected of the answers."""
        if claim["kind"] in self.environment.skip:
            raise SkippedError("left out, as prove_skip says")
        if claim["kind"] in OF_VERSIONS and not self.environment.tells:
            raise NotExercisedError("the app's answers do not say which version they are from")
        expect: Json = getattr(self, f"_{claim['kind'].replace('-', '_')}")(claim)
        return expect

    # What experiments and reads are made of.

    def _experiment(self, steps: list[Json], **more: Any) -> str:
        name = f"{self.claim['id']}.{len(self.claim['experiments']) + 1}"
        clients = more.pop("clients", 1)
        sources = more.pop("sources", clients)
        if more.get("stage") != LAST:
            steps = [self._past(step) for step in steps]
        made = {"id": name, "claim": self.claim["id"], "stage": "clients", "by": "addresses", "clients": clients}
        made |= {"parallel": 16, "session": False, "pace": 0, **more, "steps": steps}
        if made["by"] == "addresses":
            if self.next_source + sources > self.environment.sources:
                raise NotExercisedError(f"it would take more than {self.environment.sources} source addresses")
            made["sources"] = [self.next_source, sources]
            self.next_source += sources
        if made["stage"] in STAGES:
            self.requests += clients * sum(step.get("times", 1) for step in steps)
            if self.requests > MOST_REQUESTS:
                raise NotExercisedError(f"it would take more than {MOST_REQUESTS} requests in all")
        self.experiments[name] = made
        self.claim["experiments"].append(name)
        return name

    def _past(self, step: Json) -> Json:
        """Have a request pass by the limits for all clients together, where there is a way."""
        if not self.environment.past or step["to"] != "gateway" or step["host"] not in self.facts["hosts"]:
            return step
        return {**step, "headers": {**step.get("headers", {}), PAST: "{past}"}}

    def _step(self, path: str, **more: Any) -> Json:
        more = {key: value for key, value in more.items() if value not in ({}, None)}
        made = {"to": "gateway", "port": self.port, "host": self.host, "path": path, "times": 1, **more}
        return {**made, "tls": True} if made["port"] == HTTPS else made

    def _read(self, what: str, **about: Any) -> str:
        name = ".".join([what, *(str(value) for value in about.values() if isinstance(value, (str, int)))])
        self.reads[name] = {"id": name, "what": what, **about}
        self.claim["reads"].append(name)
        return name

    def _limits_on(self, path: str) -> list[Json]:
        path = path.partition("?")[0]
        return [
            limit
            for limit in self.facts["limits"]
            if limit["path"] in ("", "/") or path == limit["path"] or path.startswith(limit["path"] + "/")
        ]

    def _per_source(self, path: str) -> int:
        """Give how many requests an address may send and stay a fifth below every limit per client."""
        tokens = [limit["bucket"]["max_tokens"] for limit in self._limits_on(path) if limit["per"] == "client"]
        return max(1, min(tokens) - max(1, min(tokens) // 5)) if tokens else 60

    def _room(self, path: str, count: int) -> None:
        """Refuse what a limit for all clients together would cut short."""
        if self.environment.past:
            return
        for limit in self._limits_on(path):
            if limit["per"] == "total" and limit["bucket"]["max_tokens"] < count + 100:
                rate = limit["rate"]
                raise NotExercisedError(f"{count} requests do not fit below the limit of {rate} for all clients")

    def _many(self, count: int, step: Json, **more: Any) -> str:
        """Send ``count`` equal requests, from as many addresses as the limits need."""
        each = min(self._per_source(step["path"]), count)
        self._room(step["path"], count)
        return self._experiment([{**step, "times": each}], clients=math.ceil(count / each), **more)

    def _path(self, route: str) -> str:
        """Give a path below a route that the whole chain answers, with a text that no cache knows."""
        return asked_at(route, [each["path"] for each in self.facts["routes"]], self.environment.paths)

    def _signatures(self, route: Json) -> dict[str, list[list[str | None]]]:
        """Give for each version the hops that its requests meet: [service, version or None where any may]."""
        made = {}
        for version in self.facts["versions"] or route["shares"]:
            found = [c for c in self.facts["chains"] if (c["path"], c["version"]) == (route["path"], version)]
            hops = found[0]["hops"] if found else {route["service"]: route["served_by"].get(version, version)}
            made[version] = [[service, own] for service, own in hops.items()]
        return made

    def _forced(self, version: str) -> Json | None:
        """Give what makes a request show a version for sure; None when nothing does."""
        for override in self.facts["overrides"]:
            if override["version"] == version:
                return _override_step(override)
        sticky = self.facts["sticky"]
        if sticky["by"] == "cookie" and self.facts["weights"].get(version):
            return {"cookies": {sticky["cookie"]: sticky["values"][version]}}
        return {} if self.facts["weights"].get(version) == 100 else None

    def _run(self, hops: Iterable[Sequence[str | None]]) -> bool:
        """Tell whether all versions that a request meets ([service, version]) have pods; a parked one has none."""
        services = self.facts["services"]
        return all(services[name]["versions"][own]["replicas"] for name, own in hops if own is not None)

    def _split_route(self) -> Json:
        routes: list[Json] = [route for route in self.facts["routes"] if route["split"]]
        shared = [route for route in routes if len(route["shares"]) > 1]
        if not routes:
            raise SkippedError("no path has more than one version")
        return (shared or routes)[0]

    # One method for each kind of claim: it asks, and says what is expected.

    def _address(self, _: Json) -> Json:
        if self.environment.away:
            raise NotExercisedError(self.environment.away)
        self._experiment([self._step("/")], by="here", stage="quiet")
        return {"host": self.host, "port": self.port}

    def _share(self, claim: Json) -> Json:
        route = claim["route"]
        path = self._path(route["path"])
        rule = stats.design(route["shares"], self.together)
        step, clients = self._step(path), rule.n
        sticky = self.facts["sticky"].get("hash") or {}
        sources = math.ceil(clients / self._per_source(path))
        if sticky.get("header"):
            step["headers"] = {sticky["header"]: "prove-{nonce}-{client}"}
        elif sticky.get("cookie"):
            step["cookies"] = {sticky["cookie"]: "prove-{nonce}-{client}"}
        elif sticky.get("address"):
            sources = clients
        self._room(path, clients)
        self._experiment([step], clients=clients, sources=sources)
        bounds = {name: [i.low, i.high] for name, i in rule.accepted.items()}
        return {"route": route["path"], "shares": route["shares"], "n": rule.n, "accepted": bounds,
                "false_alarm": rule.false_alarm, "miss": rule.miss, "withdrawn": self._gone()}  # fmt: skip

    def _gone(self) -> list[str]:
        return list(self.facts["sticky"].get("withdrawn", []))

    def _default(self, claim: Json) -> Json:
        route = claim["route"]
        version = next(iter(route["shares"]))
        self._many(44, self._step(self._path(route["path"])))
        return {"route": route["path"], "version": version}

    def _sticky(self, claim: Json) -> Json:
        sticky, route = claim["sticky"], self._split_route()
        path = self._path(route["path"])
        live = [version for version, share in route["shares"].items() if share]
        expect = {"route": route["path"], "by": sticky["by"], "fixed": {}, "sessions": "", "cookie": None}
        each = min(self._per_source(path), 8)
        if sticky["by"] == "cookie":
            expect["cookie"] = {name: sticky[name] for name in ("cookie", "set_by", "values", "max_age")}
            for version in live:
                cookie = {sticky["cookie"]: sticky["values"][version]}
                name = self._many(stats.needed(route["shares"][version]), self._step(path, cookies=cookie))
                expect["fixed"][name] = version
            # Each version has to be seen by new clients: a wrong cookie of one that few get would not be noticed else.
            new = stats.until_seen(min(route["shares"][version] for version in live))
            expect["new"] = self._many(new, self._step(path))
            clients, steps = 24, [self._step(path, times=each)]
        else:
            key = sticky["hash"]
            clients, step = 40, self._step(path, times=each)
            if key.get("header"):
                step["headers"] = {key["header"]: "prove-{nonce}-{client}"}
            elif key.get("cookie"):
                step["cookies"] = {key["cookie"]: "prove-{nonce}-{client}"}
            steps = [step]
        self._room(path, clients * each)
        expect["sessions"] = self._experiment(steps, clients=clients, session=True)
        return expect

    def _withdrawn(self, claim: Json) -> Json:
        sticky, route = claim["sticky"], self._split_route()
        path = self._path(route["path"])
        for version in sticky["withdrawn"]:
            self._many(REPEATS, self._step(path, cookies={sticky["cookie"]: sticky["values"][version]}))
        cookie = {name: sticky[name] for name in ("cookie", "set_by", "values", "max_age")}
        return {"route": route["path"], "gone": sticky["withdrawn"], "cookie": cookie}

    def _override(self, claim: Json) -> Json:
        override, route = claim["override"], self._split_route()
        path, version, sticky = self._path(route["path"]), override["version"], self.facts["sticky"]
        if not self._run(self._signatures(route)[version]):
            raise NotExercisedError(f"{version} has no pods (replicas: 0)")
        step = {**self._step(path), **_override_step(override)}
        others = [other for other in route["shares"] if other != version]
        count = stats.needed(route["shares"].get(version, 0))
        if sticky["by"] == "cookie" and others and override["by"] != "cookie":
            # Who is bound to another version sees it all the same.
            step["cookies"] = {sticky["cookie"]: sticky["values"][others[0]]}
            count = REPEATS
        self._many(count, step)
        return {"route": route["path"], "version": version}

    def _chain(self, claim: Json) -> Json:
        expect: Json = {"chains": {}}
        for chain in claim["chains"]:
            path = self._path(chain["path"])
            if "?" not in path and chain["path"] not in self.environment.paths:
                raise NotExercisedError(f"the app's own paths {' and '.join(TASKS)} do not lead to {chain['path']}")
            forced = self._forced(chain["version"])
            if forced is None or not self._run(chain["hops"].items()):
                continue
            name = self._many(20, {**self._step(path), **forced})
            expect["chains"][name] = {"route": chain["path"], "version": chain["version"]}
        if not expect["chains"]:
            raise NotExercisedError("nothing makes a request show a certain version")
        return expect

    def _shadow(self, claim: Json) -> Json:
        shadow = claim["shadow"]
        if not self._runs(shadow):
            raise NotExercisedError(f"{shadow['version']} has no pods (replicas: 0)")
        sent = self._copied()
        routes = [route for route in sent if self._leads(route, shadow["service"])]
        if not routes:
            raise NotExercisedError(f"no path is known that leads to {shadow['service']}")
        expect: Json = {"routes": {self._copies(route, sent[route]): route for route in routes}}
        metrics = self.facts["services"][shadow["service"]]["metrics"]
        self._read("copies", service=shadow["service"], version=shadow["version"], stage="copies",
                   deployment=self._deployment(shadow))  # fmt: skip
        low, high, ways = self._copies_of(shadow, sent)
        expect |= {"n": sum(sent[route] for route in routes), "accepted": [low, high], "ways": ways}
        return {**shadow, **expect, "scraped": bool(metrics)}

    def _runs(self, where: Json) -> bool:
        return self._run([(where["service"], where["version"])])

    def _leads(self, route: str, service: str) -> bool:
        """Tell whether requests for a route reach a service, in whatever version."""
        chains = (chain["hops"] for chain in self.facts["chains"] if chain["path"] == route)
        first = (each["service"] for each in self.facts["routes"] if each["path"] == route)
        return service in {*first, *itertools.chain.from_iterable(chains)}

    def _copied(self) -> dict[str, int]:
        """Say how many requests for which route all shadows together need."""
        sent: dict[str, int] = {}
        for shadow in filter(self._runs, self.facts["shadows"]):
            percent = shadow["percent"]
            count = stats.design(_share(percent), self.together).n if 0 < percent < 100 else 40
            leading = (r["path"] for r in self.facts["routes"] if self._leads(r["path"], shadow["service"]))
            route = next(filter(self._known, leading), None)
            if route is not None:
                sent[route] = max(sent.get(route, 0), count)
        return sent

    def _known(self, route: str) -> bool:
        """Tell whether a path is known for a route that the whole chain answers."""
        return route in self.environment.paths or "?" in self._path(route)

    def _copies(self, route: str, count: int) -> str:
        """Send the requests of which copies are counted, once for all shadows that they lead to."""
        name = self.copying.get(route, "")
        if name in self.experiments:
            self.claim["experiments"].append(name)
            return name
        path = self._path(route)
        self._room(path, count)
        sources = math.ceil(count / self._per_source(path))
        self.copying[route] = self._experiment([self._step(path)], clients=count, sources=sources, stage="copies")
        return self.copying[route]

    def _copies_of(self, shadow: Json, sent: Mapping[str, int]) -> tuple[int, int, int]:
        """Give the least and the most requests that a shadow gets: copies of users', and calls of other shadows.

        The third: of how many kinds they are. Each call of a shadow goes to the same version, whatever its share.
        """
        percent, count = shadow["percent"], sum(sent[r] for r in sent if self._leads(r, shadow["service"]))
        low = high = count if percent == 100 else 0
        if 0 < percent < 100:
            bounds = stats.accepted(count, percent / 100, stats.FALSE_ALARM / self.together)
            low, high = bounds.low, bounds.high
        ways = int(percent > 0)
        for caller in filter(self._runs, self.facts["shadows"]):
            if caller["version"] == shadow["version"] and caller["calls"].get(shadow["service"]):
                least, most, more = self._copies_of(caller, sent)
                low, high, ways = low + least, high + most, ways + more
        return low, high, ways

    def _deployment(self, where: Json) -> str:
        return str(self.facts["services"][where["service"]]["versions"][where["version"]]["deployment"])

    def _limit(self, claim: Json) -> Json:
        limit = claim["limit"]
        bucket, path = limit["bucket"], limit["path"]
        if path in ("", "/"):
            # Where no narrower limit bites first.
            path = next((r["path"] for r in self.facts["routes"] if len(self._limits_on(r["path"])) == 1), "/")
        path, tokens = self._path(path), bucket["max_tokens"]
        gain = bucket["tokens_per_fill"] / float(bucket["fill_interval"].rstrip("s"))
        if tokens > MOST_TOKENS or gain > MOST_PER_SECOND:
            raise NotExercisedError(f"{limit['rate']} is more than a bounded number of requests can reach")
        for other in self._limits_on(path):
            # In one for all each client asks once, and what asks for one per client goes past those for all.
            spared = limit["per"] == "total" or self.environment.past
            if other["bucket"]["max_tokens"] < tokens and not (spared and other["per"] != limit["per"]):
                raise NotExercisedError(f"the limit of {other['rate']} bites first")
        expect = {"tokens": tokens, "most": limit["effective"], "fill": bucket["tokens_per_fill"], "per": limit["per"]}
        expect |= {"interval": float(bucket["fill_interval"].rstrip("s")), "main": [], "spared": [], "forged": []}
        expect["cookie"] = self.facts["sticky"].get("cookie") if self.facts["sticky"].get("set_by") == "mesh" else None
        stage = LAST if limit["per"] == "total" else "limits"
        asked, over = self._step(path), limit["effective"] + 3 + math.ceil(STAGES[stage] * gain)
        if limit["per"] == "total":
            main = self._experiment([{**asked, "times": 1}], clients=over, parallel=4, stage=LAST)
            return {**expect, "main": [main]}
        spared = [self._step("/", host=host, times=over) for host in self.facts["tools"].values()]
        spared += [self._step("/", host=n["host"], port=n["port"], times=3) for n in self.environment.neighbours]
        steps = [{**asked, "times": over}, *spared]
        expect["main"].append(self._experiment(steps, clients=2, stage="limits"))
        if over <= FEW:
            # Small buckets are cheap: with the one whose header is forged, five addresses.
            expect["main"].append(self._experiment([{**asked, "times": over}], clients=2, stage="limits"))
        changing = [{**asked, "headers": {"X-Forwarded-For": _documented(i)}} for i in range(over)]
        expect["forged"].append(self._experiment(changing, stage="limits"))
        places = [(host, port) for port in self.ports for host in limit["hosts"]][1:MOST_PLACES]
        for host, port in places:
            step = {**asked, "host": host, "port": port, "times": over}
            expect["main"].append(self._experiment([step], stage="limits"))
        return expect

    def _tls(self, _: Json) -> Json:
        path = self._path(self.facts["routes"][0]["path"])
        hosts = self.facts["hosts"][:MOST_PLACES]
        ports = [port for port in self.facts["ports"] if port != HTTPS] if self.facts["redirect"] else []
        clear = [(host, port) for port in ports for host in hosts][:MOST_PLACES]
        self._room(path, len(hosts) + len(clear))
        trusted = {"port": HTTPS, "verify": True}
        secure = {self._experiment([self._step(path, host=host, **trusted)]): host for host in hosts}
        tools = list(self.facts["tools"].values())[:MOST_PLACES]
        named = {self._experiment([self._step("/", host=host, **trusted)]): host for host in tools}
        sent_on = {self._experiment([self._step(path, host=host, port=port)]): [host, port] for host, port in clear}
        # Browsers use one connection for all hosts of its certificate: what is for another one must be told so.
        pairs = [pair for host in self.environment.elsewhere for pair in ((self.host, host), (host, self.host))]
        misdirected = {
            self._experiment([self._step("/", host=host, port=HTTPS, server=server)]): [server, host]
            for server, host in pairs
        }
        return {"secure": secure, "named": named, "sent_on": sent_on, "misdirected": misdirected}

    def _mtls(self, claim: Json) -> Json:
        if claim["mode"] not in ("strict", "permissive"):
            raise NotExercisedError("the release does not ask for it")
        expect: Json = {"mode": claim["mode"], "plain": claim["plain"], "services": {}}
        for name in self.facts["services"]:
            if self._guarded(name):
                self.pods["plain"] = {"sidecar": False, "labels": {}}
                step = self._inside(name)
                expect["services"][self._experiment([{**step, "times": 3}], by="plain")] = name
        if not expect["services"]:
            raise NotExercisedError("no service has the mesh's proxy in all of its pods")
        return expect

    def _guarded(self, service: str) -> bool:
        """Tell whether every pod of a service has the mesh's proxy, so that it does not matter which one answers."""
        running = [own for own in self.facts["services"][service]["versions"].values() if own["replicas"]]
        return bool(running) and all(own["sidecar"] for own in running)

    def _inside(self, service: str) -> Json:
        there = self.facts["services"][service]
        return {"to": there["host"], "port": there["port"], "host": there["host"], "path": "/healthz", "times": 1}

    def _access(self, claim: Json) -> Json:
        expect: Json = {"refused": {}, "allowed": {}}
        for row in claim["access"]:
            if not (self._guarded(row["service"]) and self._run([(row["service"], row["version"])])):
                continue
            caller = next(iter(row["callers"]), None)
            name, labels = "stranger", {}
            if caller:
                # Routes go by the caller's labels, access by its account: this one has the labels alone.
                label = self.facts["services"][caller["service"]]["versions"][caller["version"]]["label"]
                name = f"stranger-{caller['service']}-{caller['version']}"
                labels = {"app": caller["service"], "version": label}
            self.pods[name] = {"sidecar": True, "labels": labels}
            step = self._inside(row["service"])
            expect["refused"][self._experiment([{**step, "times": 6}], by=name)] = row["service"]
            deployment = self._deployment(row)
            callers = [self.facts["services"][c["service"]]["versions"][c["version"]] for c in row["callers"]]
            expect["allowed"][self._read("rules", deployment=deployment)] = [each["account"] for each in callers]
        if not expect["refused"]:
            raise NotExercisedError("no service has the mesh's proxy in all of its pods")
        return expect

    def _alert(self, claim: Json) -> Json:
        alert = claim["alert"]
        if not self.environment.monitoring:
            raise SkippedError("there is no monitoring in this cluster")
        self._read("alert", name=alert["name"], stage="alerts")
        seconds = alert["for"] + PATIENCE + (STAGES["clients"] if self._aborting(alert) else 0)
        expect = {**alert, "within": seconds, "mail": None}
        if claim["mail"]:
            expect["mail"] = {**claim["mail"], "seen": "read" if self.environment.mail_sink else "handed over"}
        rate = self._load(alert)
        if rate > 10:
            raise NotExercisedError(f"{alert['when']} is more load than a proof should make")
        route, forced = self._way_to(self._aborting(alert) or alert["service"], alert["version"])
        # Each of these clients stays below every limit per client.
        limits = (
            each for each in self._limits_on(route["path"]) if not (self.environment.past and each["per"] != "client")
        )
        buckets = [limit["bucket"] for limit in limits]
        gains = [float(bucket["fill_interval"].rstrip("s")) / bucket["tokens_per_fill"] for bucket in buckets]
        pace = max([1.0, *(gain * 1.5 for gain in gains)])
        step = {**self._step(self._path(route["path"]), times=math.ceil(seconds / pace)), **forced}
        clients = max(1, math.ceil(rate * pace))
        if clients > 60:
            raise NotExercisedError(f"{alert['when']} would take {clients} clients at once to stay below the limits")
        self._experiment([step], clients=clients, pace=pace, parallel=64, stage="alerts")
        return expect

    def _load(self, alert: Json) -> float:
        """Give the requests in a second that make an alert fire."""
        match = re.fullmatch(r"\s*requests\s*>\s*([\d.]+)\s*/\s*(s|m|h)\w*\s*", alert["when"] or "")
        if match:
            return float(match[1]) / {"s": 1, "m": 60, "h": 3600}[match[2]] * 1.5
        if self._aborting(alert):
            return ABORTED_PER_SECOND
        raise NotExercisedError("only a load of requests is made on purpose; its rule is loaded and silent")

    def _aborting(self, alert: Json) -> str | None:
        """Name the service at whose paths the faults of the page make twice the errors that an alert is about."""
        match = re.fullmatch(r"\s*(?:errors|5xx)\s*>\s*([\d.]+)\s*%\s*", alert["when"] or "")
        for service in (route["service"] for route in self.facts["routes"]) if match else ():
            abort = (self.facts["services"][service]["faults"] or {}).get("abort") or {"status": 0}
            enough = abort["status"] >= 500 and match and abort["share"] >= 2 * float(match[1])
            if enough and alert["service"] in (None, service):
                return str(service)
        return None

    def _way_to(self, service: str | None, version: str | None) -> tuple[Json, Json]:
        """Give a route to a service, and what makes each request there meet that version of it."""
        ways = {chain["path"] for chain in self.facts["chains"] if service in chain["hops"]}
        leading = [route for route in self.facts["routes"] if service == route["service"] or route["path"] in ways]
        leading.sort(key=lambda route: route["service"] != service)
        if service is None or version is None:
            return (leading or self.facts["routes"])[0], {}
        own = self.facts["services"][service]["versions"][version]
        if not own["replicas"]:
            raise NotExercisedError(f"{service} {version} has no pods (replicas: 0)")
        if own["shadow"] == 100 and leading:
            return leading[0], {}
        for route in leading:
            signatures = self._signatures(route)
            meeting = {name for name, hops in signatures.items() if [service, version] in hops}
            if meeting == set(signatures) or {name for name, share in route["shares"].items() if share} <= meeting:
                return route, {}
            forced = next(filter(None, map(self._forced, sorted(meeting))), None)
            if forced:
                return route, forced
        raise NotExercisedError(f"nothing makes every request meet {service} {version}")

    def _tool(self, claim: Json) -> Json:
        if claim["tool"] in self.environment.missing_tools:
            raise SkippedError(f"{claim['tool']} is not part of this cluster")
        self._experiment([self._step("/", host=claim["host"], times=2)])
        return {"host": claim["host"]}

    def _metrics(self, claim: Json) -> Json:
        if not self.environment.monitoring:
            raise SkippedError("there is no monitoring in this cluster")
        self._read("targets", service=claim["service"])
        return {"service": claim["service"], **claim["metrics"]}

    def _held(self, service: str) -> None:
        """Have a policy read from the proxies that call its service; where none of ours does, nothing shows it."""
        gateway, deployments = callers(self.facts, service)
        if not (gateway or deployments):
            raise NotExercisedError(f"no proxy of this release calls {service}, so it was not read anywhere either")
        self._read("policy", service=service, kind=self.claim["kind"])

    def _reached(self, service: str) -> tuple[str, str, str]:
        """Give route, path and role for a hop that obeys the test header."""
        self._held(service)
        role = self.environment.roles.get(service, "")
        if not self.environment.test_header or not role:
            raise NotExercisedError(f"{service} does not obey {TEST_HEADER}")
        found = [route["path"] for route in self.facts["routes"] if self._leads(route["path"], service)]
        known = [route for route in found if self._known(route)]
        if not known:
            raise NotExercisedError(f"no path is known that leads to {service}")
        for route in known:
            alike = self._alike(route, service, role)
            if not alike:
                return route, self._path(route), role
        raise NotExercisedError(f"{alike[0]} on the way is a {role} too: {TEST_HEADER} would hit both")

    def _alike(self, route: str, service: str, role: str) -> list[str]:
        """Name the other services that a request for a route meets and that go by the same role."""
        return [
            other
            for other in self.facts["services"]
            if other != service and self.environment.roles.get(other) == role and self._leads(route, other)
        ]

    def _before(self, service: str) -> Iterator[tuple[str, Json]]:
        """Give the services that a request for this one meets first, with what is said of each."""
        hops: Json = next((chain["hops"] for chain in self.facts["chains"] if service in chain["hops"]), {})
        for hop in itertools.takewhile(lambda name: name != service, hops):
            yield hop, self.facts["services"][hop]

    def _timeout(self, claim: Json) -> Json:
        _, path, role = self._reached(claim["service"])
        seconds = _seconds(claim["policy"])
        if seconds > 6:
            raise NotExercisedError(f"{claim['policy']} is longer than the test header can delay")
        for hop, policy in self._before(claim["service"]):
            limits = (policy["timeout"], (policy["retries"] or {}).get("per_try"))
            if _tries_again(policy["retries"]) or any(_seconds(limit) < seconds + 1 for limit in limits if limit):
                raise NotExercisedError(f"{hop}, on the way there, tries again or gives up first")
        header = {TEST_HEADER: f"delay={int(seconds * 1000) + 2000}ms;at={role}"}
        self._room(path, 3)
        # Side by side: one after the other they take longer than the stage.
        self._experiment([self._step(path, headers=header)], clients=3, stage="last")
        return {"service": claim["service"], "seconds": seconds, "delay": seconds + 2}

    def _retries(self, claim: Json) -> Json:
        service, policy, method = claim["service"], claim["policy"], claim.get("method", "GET")
        _, path, role = self._reached(service)
        if not _tries_again(policy):
            raise NotExercisedError("it asks again only after faults that a request cannot bring about")
        entries = (route["path"] for route in self.facts["routes"] if route["service"] == service)
        own = [route for route in entries if not self._alike(route, service, role)]
        if policy["methods"] and not own:
            called = "by a method that the program of its caller picks"
            raise NotExercisedError(f"{service} is called {called}; {', '.join(policy['methods'])} are asked again")
        path = next((known for known in map(self._path, own) if "?" in known), path)
        for hop, before in [] if own else self._before(service):
            if _tries_again(before["retries"]):
                raise NotExercisedError(f"{hop}, on the way there, would try again in its place")
        pods = max(version["replicas"] for version in self.facts["services"][service]["versions"].values())
        if method == "GET" and pods > policy["attempts"]:
            raise NotExercisedError(f"each of {pods} pods fails once, and it asks again {policy['attempts']} times")
        # Not what the release answers with on purpose.
        failed = next((status for status in FAILED if status not in self._tolerated()), FAILED[0])
        header = {TEST_HEADER: f"status={failed};first=1;at={role}"}
        # One that no GET is answered with, should it be sent twice: the app finds no text in what has no body.
        self._many(5, self._step(path, headers=header, method=method if method != "GET" else None), stage="last")
        return {"service": service, "attempts": policy["attempts"], "method": method, "failed": failed}

    def _circuit_breaking(self, claim: Json) -> Json:
        self._held(claim["service"])
        raise NotExercisedError("taking a pod out would take it from users as well")

    def _faults(self, claim: Json) -> Json:
        self._held(claim["service"])
        routes = [route["path"] for route in self.facts["routes"] if route["service"] == claim["service"]]
        if not routes:
            raise NotExercisedError(f"faults of {claim['service']} are seen by its callers alone")
        expect: Json = {"service": claim["service"], "delay": None, "abort": None}
        rules = []
        for name in ("delay", "abort"):
            fault = claim["policy"].get(name)
            if fault:
                rule = stats.design(_share(fault["share"]), self.together) if 0 < fault["share"] < 100 else None
                rules.append(rule.n if rule else REPEATS)
                expect[name] = dict(fault)
        for name in ("delay", "abort"):
            if expect[name] and 0 < expect[name]["share"] < 100:
                # Both are counted in the same requests.
                rule = stats.design(_share(expect[name]["share"]), self.together, max(rules))
                expect[name]["accepted"] = [rule.accepted["hit"].low, rule.accepted["hit"].high]
                rules.append(rule.n)
            elif expect[name]:
                expect[name]["accepted"] = [max(rules), max(rules)] if expect[name]["share"] else [0, 0]
            if expect[name] and name == "delay":
                expect[name]["seconds"] = _seconds(expect[name]["time"])
        self._experiment([self._step(self._path(routes[0]))], clients=max(rules), sources=max(rules))
        return {**expect, "n": max(rules)}


def asked_at(route: str, routes: Iterable[str], paths: Mapping[str, str]) -> str:
    """Give the path to ask for one of ``routes``: what ``paths`` names, else a task of the example app below it."""
    if route in paths:
        return paths[route]
    known = list(routes)
    task = next((task for task in TASKS if covering(task, known) == route), None)
    return f"{task}?text=prove+{{nonce}}+{{n}}" if task else route


def covering(path: str, routes: Iterable[str]) -> str:
    """Give the first of ``routes`` that answers a path, empty where none does; a page has the longest first."""
    return next((own for own in routes if own == "/" or f"{path}/".startswith(f"{own}/")), "")


def callers(held: Json, service: str) -> tuple[bool, list[str]]:
    """Say whose proxies call a service: the gateway's, and those of which Deployments. ``held``: facts or a plan."""
    versions = [
        own for caller in held["services"].values() if service in caller["calls"] for own in caller["versions"].values()
    ]
    routed = any(route["service"] == service for route in held["routes"])
    return routed, [own["deployment"] for own in versions if own["sidecar"] and own["replicas"]]


def _documented(index: int) -> str:
    """Give an address of the networks for documentation: nobody's."""
    return f"{('203.0.113', '198.51.100', '192.0.2')[index // 250 % 3]}.{index % 250 + 1}"


def _share(percent: float) -> dict[str, float]:
    return {"hit": percent, "rest": 100 - percent}


def _tries_again(retries: Json | None) -> bool:
    """Tell whether what is answered with an error is asked again."""
    return bool(retries and retries["attempts"] and {"5xx", "gateway-error"} & set(retries["reasons"]))


def _seconds(text: str) -> float:
    found = envoy.seconds(text)
    return math.inf if found is None else found


def _override_step(override: Json) -> Json:
    if override["by"] == "host":
        return {"host": override["value"]}
    return {"headers" if override["by"] == "header" else "cookies": {override["name"]: override["value"]}}
