"""What a proof asks, collected claim by claim: experiments and reads. Plain data in, plain data out.

An experiment: ``clients`` clients, each going through ``steps`` one after the other (``to``, ``port``, ``host``,
``path``, ``headers``, ``cookies``, ``times``, ``tls`` at the port for https, ``method`` if not GET), from ``sources``
([first, how many], indices of addresses), as ``by`` (``addresses``, or the name of a client pod), with a cookie jar
where ``session`` is set, and ``pace`` seconds between two requests of a client. A read is something that the runner
looks up in the cluster.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from . import stats
from .circumstances import Circumstances
from .past import HEADER as PAST
from .routes import asked_at, is_free
from .token import HINT

Json = dict[str, Any]

# Seconds for everything but alerts, and how they are shared out between the stages.
SECONDS = 90
# The last one is of limits for all clients together, with nothing beside it.
LAST = "total"
STAGES = {"quiet": 7, "copies": 12, "clients": 42, "limits": 13, "last": 8, LAST: 8}
# Requests that all stages but the alerts' may have: what a busy lab answers in the time of the stages.
MOST_REQUESTS = 3000
REPEATS = 10
# Pairs of host and port that one claim asks.
MOST_PLACES = 8
# The gateway's port for https; its others are http.
HTTPS = 443


class NotExercisedError(Exception):
    """Why a claim is only read from the configuration."""


class SkippedError(Exception):
    """Why a claim is not looked at."""


class Questions:
    """What is asked so far, and what every claim makes its questions of."""

    def __init__(self, facts: Json, circumstances: Circumstances) -> None:
        self.facts, self.circumstances = facts, circumstances
        self.host = concrete(facts["hosts"][0])
        self.served = {concrete(host): places for host, places in facts["served"].items()}
        # Where clients of http are only sent on, nothing else answers there.
        everywhere = [port for port in facts["ports"] if (port == HTTPS) == facts["redirect"]]
        self.everywhere = [{"port": port, "tls": port == HTTPS} for port in everywhere]
        self.port = self.places(self.host)[0]["port"]
        self.experiments: dict[str, Json] = {}
        self.reads: dict[str, Json] = {}
        self.pods: dict[str, Json] = {}
        self.next_source = 0
        self.requests = 0
        self.claim: Json = {}
        # Experiments that make copies, by their route: all shadows that its requests lead to are counted in them.
        self.copying: dict[str, str] = {}
        self.together = max(1, sum(stats.intervals(shares) for shares in self._random()))

    def experiment(self, steps: list[Json], **more: Any) -> str:
        """Have requests sent, and give the name of the experiment that they are."""
        name = f"{self.claim['id']}.{len(self.claim['experiments']) + 1}"
        clients = more.pop("clients", 1)
        sources = more.pop("sources", clients)
        steps = [self._tokened(step) for step in steps]
        if more.get("stage") != LAST:
            steps = [self._past(step) for step in steps]
        made = {"id": name, "claim": self.claim["id"], "stage": "clients", "by": "addresses", "clients": clients}
        made |= {"parallel": 16, "session": False, "pace": 0, **more, "steps": steps}
        if made["by"] == "addresses":
            if self.next_source + sources > self.circumstances.sources:
                raise NotExercisedError(f"it would take more than {self.circumstances.sources} source addresses")
            made["sources"] = [self.next_source, sources]
            self.next_source += sources
        if made["stage"] in STAGES:
            self.requests += clients * sum(step.get("times", 1) for step in steps)
            if self.requests > MOST_REQUESTS:
                raise NotExercisedError(f"it would take more than {MOST_REQUESTS} requests in all")
        self.experiments[name] = made
        self.claim["experiments"].append(name)
        return name

    def _tokened(self, step: Json) -> Json:
        """Have a request bring a token, where the release refuses those without; ``anonymous`` ones bring none."""
        made = {key: value for key, value in step.items() if key != "anonymous"}
        jwt = self.facts.get("jwt")
        if not jwt or step.get("anonymous") or step["to"] != "gateway":
            return made
        if step["host"] not in map(concrete, jwt["hosts"]) or is_free(jwt, step["path"]):
            return made
        if not self.circumstances.token:
            raise NotExercisedError(f"it needs a token: {HINT}")
        return {**made, **{name: {**made.get(name, {}), **more} for name, more in self.bearing("{token}").items()}}

    def bearing(self, token: str) -> Json:
        """Give what makes a request bring a token, as the page has it."""
        jwt = self.facts["jwt"]
        if jwt["cookie"]:
            return {"cookies": {jwt["cookie"]: token}}
        return {"headers": {jwt["header"]: token} if jwt["header"] else {"authorization": f"Bearer {token}"}}

    def _past(self, step: Json) -> Json:
        """Have a request pass by the limits for all clients together, where there is a way."""
        if not self.circumstances.past or step["to"] != "gateway" or step["host"] not in self.facts["hosts"]:
            return step
        return {**step, "headers": {**step.get("headers", {}), PAST: "{past}"}}

    def step(self, path: str, **more: Any) -> Json:
        """Make one step of a client: a request, or the same one several times."""
        more = {key: value for key, value in more.items() if value not in ({}, None)}
        made = {"to": "gateway", "host": self.host, "path": path, "times": 1, **more}
        return {**made, **self.place(made["host"], more.get("port"))}

    def places(self, host: str) -> list[Json]:
        """Say where the gateway answers for a host: ``port``, and ``tls``."""
        return self.served.get(concrete(host)) or self.everywhere

    def place(self, host: str, port: int | None = None) -> Json:
        """Give what makes a request go where its host is answered, or to a port that is named."""
        own: Json = next((one for one in self.places(host) if port in (None, one["port"])), {})
        port, tls = port or own["port"], own.get("tls", port == HTTPS)
        return {"port": port, "tls": True} if tls else {"port": port}

    def asking(self, override: Json) -> Json:
        """Give what makes a request ask for a version, as an override of the page says."""
        if override["by"] == "host":
            at = self.served.get(concrete(override["value"]), [])[:1]
            return {"host": override["value"], **(at[0] if at else {})}
        return {"headers" if override["by"] == "header" else "cookies": {override["name"]: override["value"]}}

    def read(self, what: str, **about: Any) -> str:
        """Have something looked up in the cluster, and give the name of the read."""
        name = ".".join([what, *(str(value) for value in about.values() if isinstance(value, (str, int)))])
        self.reads[name] = {"id": name, "what": what, **about}
        self.claim["reads"].append(name)
        return name

    def limits_on(self, path: str) -> list[Json]:
        """List the limits that count the requests for a path that say nothing more of themselves."""
        path = path.partition("?")[0]
        return [
            limit
            for limit in self.facts["limits"]
            if "value" not in limit.get("when", {})
            and any(
                own in ("", "/") or f"{path}/".startswith(f"{own}/") for own in limit.get("paths") or [limit["path"]]
            )
        ]

    def per_source(self, path: str) -> int:
        """Give how many requests an address may send and stay a fifth below every limit per client."""
        tokens = [limit["bucket"]["max_tokens"] for limit in self.limits_on(path) if limit["per"] == "client"]
        return max(1, min(tokens) - max(1, min(tokens) // 5)) if tokens else 60

    def room(self, path: str, count: int) -> None:
        """Refuse what a limit for all clients together would cut short."""
        if self.circumstances.past:
            return
        for limit in self.limits_on(path):
            if limit["per"] == "total" and limit["bucket"]["max_tokens"] < count + 100:
                rate = limit["rate"]
                raise NotExercisedError(f"{count} requests do not fit below the limit of {rate} for all clients")

    def many(self, count: int, step: Json, **more: Any) -> str:
        """Send ``count`` equal requests, from as many addresses as the limits need."""
        each = min(self.per_source(step["path"]), count)
        self.room(step["path"], count)
        return self.experiment([{**step, "times": each}], clients=math.ceil(count / each), **more)

    def path(self, route: str) -> str:
        """Give a path below a route that the whole chain answers, with a text that no cache knows."""
        return asked_at(route, [each["path"] for each in self.facts["routes"]], self.circumstances.paths)

    def signatures(self, route: Json) -> dict[str, list[list[str | None]]]:
        """Give for each version the hops that its requests meet: [service, version or None where any may]."""
        made = {}
        for version in self.facts["versions"] or route["shares"]:
            found = [c for c in self.facts["chains"] if (c["path"], c["version"]) == (route["path"], version)]
            hops = found[0]["hops"] if found else {route["service"]: route["served_by"].get(version, version)}
            made[version] = [[service, own] for service, own in hops.items()]
        return made

    def forced(self, version: str, path: str = "") -> Json | None:
        """Give what makes a request show a version for sure, at a path or at all; None when nothing does."""
        route: Json = next((each for each in self.facts["routes"] if each["path"] == path and each["own"]), {})
        overrides = self.facts["overrides"]
        if route.get("overrides") is not None:
            overrides = [*(each for each in overrides if each["by"] == "host"), *route["overrides"]]
        for override in overrides:
            if override["version"] == version:
                return self.asking(override)
        sticky, weights = self.facts["sticky"], route.get("shares") or self.facts["weights"]
        cookie = route["cookie"] if route else sticky.get("cookie")
        if sticky["by"] == "cookie" and cookie and weights.get(version):
            return {"cookies": {cookie: sticky["values"][version]}}
        return {} if weights.get(version) == 100 else None

    def have_pods(self, hops: Iterable[Sequence[str | None]]) -> bool:
        """Tell whether all versions that a request meets ([service, version]) have pods; a parked one has none."""
        services = self.facts["services"]
        return all(services[name]["versions"][own]["replicas"] for name, own in hops if own is not None)

    def leads(self, route: str, service: str) -> bool:
        """Tell whether requests for a route reach a service, in whatever version."""
        chains = (chain["hops"] for chain in self.facts["chains"] if chain["path"] == route)
        first = (each["service"] for each in self.facts["routes"] if each["path"] == route)
        return service in {*first, *itertools.chain.from_iterable(chains)}

    def speaks_grpc(self, service: str) -> bool:
        """Tell whether a service answers calls of gRPC, and no other request."""
        return bool(self.facts["services"].get(service, {}).get("grpc"))

    def known(self, route: str) -> bool:
        """Tell whether a path is known for a route that the whole chain answers."""
        return route in self.circumstances.paths or "?" in self.path(route)

    def deployment(self, where: Json) -> str:
        """Name the Deployment of a version: ``service``, ``version``."""
        return str(self.facts["services"][where["service"]]["versions"][where["version"]]["deployment"])

    def tolerated(self) -> list[int]:
        """Give the statuses that the release answers with on purpose."""
        aborts = (claim["policy"].get("abort") for claim in self.facts["claims"] if claim["kind"] == "faults")
        return sorted({int(abort["status"]) for abort in aborts if abort})

    def _random(self) -> Iterator[dict[str, float]]:
        """Give the shares of each random claim."""
        for claim in self.facts["claims"]:
            if claim["kind"] == "share":
                yield claim["route"]["shares"]
            elif claim["kind"] == "shadow" and 0 < claim["shadow"]["percent"] < 100:
                yield split_by(claim["shadow"]["percent"])
            elif claim["kind"] == "faults":
                for fault in (claim["policy"].get("delay"), claim["policy"].get("abort")):
                    if fault and 0 < fault["share"] < 100:
                        yield split_by(fault["share"])


def concrete(host: str) -> str:
    """Give a host that a wildcard is for: one that nobody has otherwise."""
    return "prove.any-host.invalid" if host == "*" else host.replace("*.", "prove-any-host.")


def split_by(percent: float) -> dict[str, float]:
    """Give the shares of what is hit by chance, and of the rest."""
    return {"hit": percent, "rest": 100 - percent}
