"""Changes of a release, each as two small pages and what users may meet while the first becomes the second.

Pages are of the example application. Its pods are told their service and version, so that `x-chain` names both.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .load import Allowed, Hop

Json = dict[str, Any]
IMAGES = "slipway.local/apps/{role}:1.0.0"
# Readiness is looked at every second: a run waits for it.
PROBES = {"ready": {"path": "/readyz", "period": "1s"}, "live": "/healthz"}


@dataclass(frozen=True)
class Row:
    """A transition: its name, both pages, the versions of the first service that users may meet meanwhile."""

    name: str
    before: Json
    after: Json
    users: str
    """Versions by blank."""
    leaves: str = ""
    """Those of them that go, so that their users move."""
    header: str = ""
    """Users are told apart by it."""

    @property
    def calls(self) -> Allowed:
        """What both pages allow, taken together."""
        return allowed(self.before) | allowed(self.after)


def service(role: str, versions: str, *calls: str, port: int = 8080, **more: Any) -> Json:
    """A service of the example application; ``calls`` is whom it asks, with the port where it is not 8080."""
    made: Json = {
        "image": IMAGES.format(role=role),
        "probes": copy.deepcopy(PROBES),
        "versions": {v: {} for v in versions.split()},
    }
    if calls:
        (called,) = calls
        name, _, number = called.partition(":")
        made |= {"calls": [name], "env": {"APP_NEXT": f"http://{name}:{number or 8080}"}}
    if port != 8080:
        made |= {"port": port, "env": {**made.get("env", {}), "APP_PORT": str(port)}}
    return made | more


def page(weights: Json | None = None, /, services: Json | None = None, **more: Any) -> Json:
    """A page without its name and its hosts; each version is told what it is."""
    made: Json = {"dashboards": {}, **({"weights": weights} if weights else {}), **more}
    made["services"] = copy.deepcopy(services or {})
    for name, declared in made["services"].items():
        for version, own in declared["versions"].items():
            own["env"] = {"APP_VERSION": f"{name}-{version}", **own.get("env", {})}
    return made


def named(row: Json, name: str) -> Json:
    """A page with a name, and the host that goes with it."""
    return {"name": name, "hosts": [host(name)], **row}


def host(name: str) -> str:
    """Host of a release of this name."""
    return f"{name}.local"


def cookie(name: str) -> str:
    """The cookie that keeps users of a release of this name with their version."""
    return f"{name}-version"


def users(declared: Json) -> list[str]:
    """Versions of a service that are no shadows."""
    return [name for name, own in declared["versions"].items() if "shadow" not in own]


def entry(made: Json) -> str:
    """The service that the hosts lead to."""
    return str(next(iter(made["services"])))


def allowed(made: Json) -> Allowed:
    """What a page allows, read off its weights, versions and calls."""
    first = users(made["services"][entry(made)])
    weights = made.get("weights", {})
    met = [version for version in first if weights.get(version, 0)] if len(first) > 1 else first
    return Allowed(frozenset(met), frozenset(_calls(made, weights)))


def _calls(made: Json, weights: Json) -> Iterator[tuple[Hop, Hop]]:
    for caller, declared in made["services"].items():
        for called in declared.get("calls", []):
            theirs = users(made["services"][called])
            for version in users(declared):
                reached = theirs
                if len(theirs) > 1:
                    # The caller's own version; a caller with one version forwards the version in the request.
                    split = len(users(declared)) > 1
                    reached = [version] if split else [other for other in theirs if weights.get(other, 0)]
                yield from (((caller, version), (called, other)) for other in reached)


def going(before: Json, after: Json) -> frozenset[str]:
    """Versions that users have by the one page and nobody has by the other."""
    return allowed(before).users - allowed(after).users


def web(versions: str = "v1", calls: str = "api", **more: Any) -> Json:
    """The service that hosts lead to."""
    return service("frontend", versions, calls, **more)


def api(versions: str = "v1", **more: Any) -> Json:
    """The one that it asks."""
    return service("model", versions, **more)


def pair(versions: str = "v1", weights: Json | None = None, **more: Any) -> Json:
    """A page of both, each in these versions."""
    return page(weights, {"web": web(versions), "api": api(versions)}, **more)


def shadowed(name: str, share: str) -> Json:
    """One version, which has a shadow at the service ``name``."""
    made = pair()
    services = made["services"]
    shadow = {"env": {"APP_VERSION": f"{name}-v9"}, "shadow": share}
    services[name]["versions"]["v9"] = shadow
    if name == "web":
        # The shadow calls a shadow, and only the shadow calls it.
        services["api"]["versions"]["v9"] = {"env": {"APP_VERSION": "api-v9"}, "shadow": "0%"}
    return made


def with_volume(name: str) -> Json:
    """One version whose model is kept on a claim."""
    made = pair(volumes={name: {"size": "64Mi"}})
    made["services"]["api"] |= {"mounts": {name: "/data"}, "env": {"APP_MODEL": "/data"}}
    return made


NINETY = {"v1": 90, "v2": 10}
ONE, TWO = pair(), pair("v1 v2", NINETY)
# The canary of the first service asks the only version of the other.
HALF = page(NINETY, {"web": web("v1 v2"), "api": api()})
HASH = {"hash": {"header": "x-user-id"}}
OPEN: Json = {"access": "open"}
CHANGED = {"request": {"set": {"x-from": "gateway"}}, "response": {"set": {"x-frame-options": "DENY"}}}
HEADERS: Json = {
    "version_header": "x-served-by-version",
    "routes": {"/": {"to": "web", "headers": CHANGED, "cors": "https://app.example.org"}},
}
NAMED: Json = {"egress": "named", "outside": {"api.example.org": {"tls": "mesh", "timeout": "2s"}}}
PERMISSIVE: Json = {"mtls": "permissive", **OPEN}
# What these rows ask for is that nothing is lost, and nothing more.
PLAIN: tuple[Row, ...] = (
    Row("weight-0", ONE, pair("v1 v2", {"v1": 100, "v2": 0}), users="v1"),
    Row("weight-0-away", pair("v1 v2", {"v1": 100, "v2": 0}), ONE, users="v1"),
    Row("first-canary", ONE, TWO, users="v1 v2"),
    Row("first-canary-of-entry", ONE, HALF, users="v1 v2"),
    Row("last-canary-away", TWO, ONE, users="v1 v2", leaves="v2"),
    Row("canary-wins", TWO, pair("v2"), users="v1 v2", leaves="v1"),
    Row("first-shadow", ONE, shadowed("api", "100%"), users="v1"),
    Row("last-shadow-away", shadowed("api", "100%"), ONE, users="v1"),
    Row("first-shadow-of-entry", ONE, shadowed("web", "100%"), users="v1"),
    Row("last-shadow-of-entry-away", shadowed("web", "100%"), ONE, users="v1"),
    Row("rename-version", TWO, pair("v1 v3", {"v1": 90, "v3": 10}), users="v1 v2 v3", leaves="v2"),
    Row("third-version", TWO, pair("v1 v2 v3", {"v1": 60, "v2": 10, "v3": 30}), users="v1 v2 v3"),
    Row(
        "promote-labels",
        pair("v1 v2", NINETY, version_labels={"v1": "stable", "v2": "canary"}),
        pair("v2 v3", {"v2": 90, "v3": 10}, version_labels={"v2": "stable", "v3": "canary"}),
        users="v1 v2 v3",
        leaves="v1",
    ),
    Row("callee-gets-v2", HALF, TWO, users="v1 v2"),
    Row("callee-loses-v2", TWO, HALF, users="v1 v2"),
    Row(
        "changed-calls",
        page({}, {"web": web(calls="old-api"), "old-api": api()}),
        page({}, {"web": web(calls="new-api"), "new-api": api()}),
        users="v1",
    ),
    Row(
        "changed-calls-of-a-canary",
        page(NINETY, {"web": web("v1 v2", calls="old-api"), "old-api": api("v1 v2")}),
        page(NINETY, {"web": web("v1 v2", calls="new-api"), "new-api": api("v1 v2")}),
        users="v1 v2",
    ),
    Row(
        "new-callee",
        ONE,
        page({}, {"web": web(calls="mid"), "mid": service("service", "v1", "api"), "api": api()}),
        users="v1",
    ),
    Row(
        "port-behind-service-port",
        page({}, {"web": web(service_port=80), "api": api()}),
        page({}, {"web": web(service_port=80, port=9090), "api": api()}),
        users="v1",
    ),
    Row(
        "port-of-entry",
        ONE,
        page({}, {"web": web(port=9090), "api": api()}),
        users="v1",
    ),
    Row(
        "port-of-callee-behind-service-port",
        page({}, {"web": web(calls="api:80"), "api": api(service_port=80)}),
        page({}, {"web": web(calls="api:80"), "api": api(service_port=80, port=9090)}),
        users="v1",
    ),
    Row(
        "port-of-callee",
        ONE,
        page({}, {"web": web(calls="api:9090"), "api": api(port=9090)}),
        users="v1",
    ),
    Row(
        "limits",
        pair(limits={"total": "500/second"}),
        pair(limits={"total": "400/second", "per_client": "300/second"}),
        users="v1",
    ),
    Row("limits-on", ONE, pair(limits={"per_client": "300/second"}), users="v1"),
    Row("limits-off", pair(limits={"per_client": "300/second"}), ONE, users="v1"),
    Row("headers", TWO, pair("v1 v2", NINETY, **HEADERS), users="v1 v2"),
    Row("headers-away", pair("v1 v2", NINETY, **HEADERS), TWO, users="v1 v2"),
    Row("weights", TWO, pair("v1 v2", {"v1": 40, "v2": 60}), users="v1 v2"),
    Row("roll-back", TWO, pair("v1 v2", {"v1": 100, "v2": 0}), users="v1 v2", leaves="v2"),
    Row("egress-named", ONE, pair(**NAMED), users="v1"),
    Row("egress-open", pair(**NAMED), ONE, users="v1"),
    Row("access-closes", pair("v1 v2", NINETY, **OPEN), TWO, users="v1 v2"),
    Row("access-opens", TWO, pair("v1 v2", NINETY, **OPEN), users="v1 v2"),
    Row("mtls-strict", pair(**PERMISSIVE), ONE, users="v1"),
    Row("mtls-permissive", ONE, pair(**PERMISSIVE), users="v1"),
    *(
        Row(f"names-{key.replace('_', '-')}", TWO, pair("v1 v2", NINETY, names={key: pattern}), users="v1 v2")
        for key, pattern in (
            ("deployment", "{release}-{service}-{version}"),
            ("entry", "{release}-door"),
            ("virtual_service", "{service}-inside"),
            ("destination_rule", "{service}-parts"),
            ("gateway", "{release}-gate"),
            ("policy", "{service}-{version}-callers"),
            ("service_account", "{service}-{version}-account"),
        )
    ),
)


def hashed(versions: str, *shares: int) -> Json:
    """Versions by a hash of who the user is, with these weights in the page's order."""
    return pair(versions, dict(zip(versions.split(), shares, strict=True)), sticky=HASH)


# Users are told apart by a header; only the share that changes moves.
HASHED: tuple[Row, ...] = (
    Row("hash-rank", hashed("v1 v2", 55, 45), hashed("v1 v2", 45, 55), "v1 v2", header="x-user-id"),
    Row("hash-three", hashed("v1 v2 v3", 50, 30, 20), hashed("v1 v2 v3", 40, 40, 20), "v1 v2 v3", header="x-user-id"),
)


def scaled(**how: Any) -> Json:
    """A page whose first service has as many pods as ``how`` says."""
    return page({}, {"web": web(**how), "api": api()})


THREE = scaled(replicas=3)
AUTOMATIC = scaled(autoscaling={"min": 3, "max": 4})
SCALED: tuple[Row, ...] = (
    Row("replicas-to-autoscaling", THREE, AUTOMATIC, users="v1"),
    Row("autoscaling-to-replicas", AUTOMATIC, THREE, users="v1"),
)
RENAMED_VOLUME = Row("renamed-volume", with_volume("data"), with_volume("store"), users="v1")
# Of the tests themselves: its certificate is for the hosts of these rows.
CERTIFICATE = "slipway-test-transitions"
TLS = pair(gateway={"tls": {"secret": CERTIFICATE}})
TLS_ON = Row("tls-on", ONE, TLS, users="v1")
TLS_OFF = Row("tls-off", TLS, ONE, users="v1")


def crashing(made: Json, name: str, version: str) -> Json:
    """The page with one version that ends as soon as it has begun."""
    broken = copy.deepcopy(made)
    broken["services"][name]["versions"][version]["env"]["APP_FEATURES"] = "none-of-these"
    return broken


@dataclass(frozen=True)
class Crash:
    """A row whose page B is tried with a version that crashes before it is tried for good."""

    row: Row
    service: str
    version: str = "v2"
    broken: Json = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "broken", crashing(self.row.after, self.service, self.version))


_ROWS = {row.name: row for row in PLAIN}
CRASHES: tuple[Crash, ...] = (
    Crash(replace(_ROWS["first-canary"], name="crash-of-first-canary"), "web"),
    Crash(replace(_ROWS["callee-gets-v2"], name="crash-of-callees-v2"), "api"),
    Crash(replace(_ROWS["changed-calls"], name="crash-of-new-calls"), "new-api", "v1"),
)
# What is killed at each step: a canary is renamed, a callee is exchanged, ports, names and limits change.
KILLED = Row(
    "killed",
    page(
        NINETY,
        {"web": web("v1 v2", calls="old-api"), "old-api": api("v1 v2")},
        limits={"total": "500/second"},
    ),
    page(
        {"v1": 70, "v3": 30},
        {"web": web("v1 v3", calls="new-api:9090", port=9090), "new-api": api("v1 v3", port=9090)},
        names={"policy": "{service}-{version}-callers"},
    ),
    users="v1 v2 v3",
    leaves="v2",
)
EVERY: tuple[Row, ...] = (
    *PLAIN,
    *HASHED,
    *SCALED,
    RENAMED_VOLUME,
    TLS_ON,
    TLS_OFF,
    *(crash.row for crash in CRASHES),
    KILLED,
)
