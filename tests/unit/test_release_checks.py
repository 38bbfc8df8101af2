"""What a release's page may not say, and how that is told: file and line, key, value, and a value that would work."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from slipway.release.spec import load

from tests.support.release import page, problems

IMAGE = "example.org/app:1.0"
BASE: dict[str, Any] = {
    "name": "shop",
    "hosts": ["shop.local"],
    "weights": {"v1": 90, "v2": 10},
    "services": {
        "front": {"calls": ["back"], "versions": {"v1": IMAGE, "v2": IMAGE}},
        "back": {"versions": {"v1": IMAGE, "v2": IMAGE}, "metrics": "/metrics"},
    },
}
LONG = "a" * 40
GONE = object()


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """Copy the page with values put at dotted keys; ``GONE`` takes one out."""
    made = copy.deepcopy(BASE)
    for key, value in changes:
        *above, last = key.split(".")
        place: Any = made
        for part in above:
            place = place.setdefault(part, {})
        if value is GONE:
            del place[last]
        else:
            place[last] = value
    return made


# Changes of the page, the key that is named, part of the reason, part of what would work.
BAD: list[tuple[list[tuple[str, Any]], str, str, str]] = [
    # callers without the mesh's proxy
    (
        [("services.back.callers", ["batch/one", "plain"])],
        "services.back.callers[1]",
        "is whoever comes without mTLS, whose connections mtls: strict closes",
        "mtls: permissive",
    ),
    (
        [("mtls", "permissive"), ("services.back.callers", ["legacy/*"])],
        "mtls",
        "is answered 403 (legacy/* is the pods there that have the mesh's proxy)",
        'callers: ["legacy/*", plain] at back',
    ),
    ([("mtls", "permissive")], "mtls", "lets nobody in", "callers: [plain] at front"),
    # versions and weights
    ([("weights", {"v1": 90, "v2": 20})], "weights", "sum to 110, not to 100", "{v1: 80, v2: 20}"),
    ([("weights", {"v1": 60, "v2": 60})], "weights", "sum to 120", "{v1: 40, v2: 60}"),
    ([("weights", {"v1": 100, "v2": 100})], "weights", "sum to 200", "{v1: 0, v2: 100}"),
    ([("weights.v1", "90")], "weights.v1", "must be a whole number, without quotes", "v1: 90"),
    ([("weights.v1", 101)], "weights.v1", "must be at most 100", "v1: 90"),
    ([("weights.v1", -1)], "weights.v1", "must be at least 0", "v1: 90"),
    ([("weights.v1", 89.5)], "weights.v1", "must be a whole number", "v1: 90"),
    ([("weights", {"v1": 90, "v2": 5, "v9": 5})], "weights.v9", "no service has", "{v1: 90, v2: 10}"),
    ([("weights", GONE)], "weights", "is missing: front has v1, v2", "{v1: 90, v2: 10}"),
    ([("weights", {"v1": 100})], "services.front.versions.v2", "has no weight", "{v1: 100, v2: 0}"),
    (
        [("services.back.versions", {"v1": IMAGE, "v3": IMAGE}), ("weights", {"v1": 80, "v2": 10, "v3": 10})],
        "services.back.versions",
        "is a hop without version v2",
        "v2: {image: …} here",
    ),
    ([("services.front.versions.v3", {"image": IMAGE})], "services.front.versions.v3", "has no weight", "v3: 0"),
    (
        [("services.front.versions", {"v1": {"image": IMAGE, "shadow": 1}})],
        "services.front.versions.v1.shadow",
        "without a version that answers users",
        "a version without shadow",
    ),
    (
        [
            ("services.back.versions.v3", {"image": IMAGE, "shadow": 100}),
            ("weights", {"v1": 80, "v2": 10, "v3": 10}),
        ],
        "weights.v3",
        "is a shadow, which gets no user traffic",
        "{v1: 90, v2: 10}",
    ),
    ([("version_labels", {"v2": "v1"})], "services.front.versions.v2", "has the label v1", "{v2: v2}"),
    ([("version_labels", {"v9": "x"})], "version_labels.v9", "no service has", "v2: x"),
    (
        [("services.front.versions.v1", {})],
        "services.front.versions.v1",
        "has no image",
        "image: example.org/front:1.0",
    ),
    ([("services.front.versions.v1", "A:B")], "services.front.versions.v1.image", "must be an image", "v1: a:b"),
    ([("services.front.versions.v1", 1.0)], "services.front.versions.v1.image", "must be a text, in quotes", "image:"),
    (
        [("services.front.versions", {"V 1": IMAGE})],
        "services.front.versions.V 1",
        "the name must be lower-case",
        "v-1",
    ),
    # calls and routes
    ([("services.front.calls", ["bakc"])], "services.front.calls[0]", "is no service", "calls: [back]"),
    ([("services.front.calls", ["back", "back"])], "services.front.calls[1]", "is named twice", "calls: [back]"),
    ([("services.front.calls", ["front"])], "services.front.calls[0]", "front → front", "calls: []"),
    ([("services.back.calls", ["front"])], "services.back.calls[0]", "front → back → front", "calls: []"),
    ([("routes", {"/": "fornt"})], "routes./.to", "is no service", "/: front"),
    ([("routes", {"/": {"to": "front", "version": "v9"}})], "routes./.version", "is no version of front", "version: v"),
    (
        [
            ("services.back.versions.v3", {"image": IMAGE, "shadow": 1}),
            ("routes", {"/": {"to": "back", "version": "v3"}}),
        ],
        "routes./.version",
        "is a shadow of back",
        "version: v",
    ),
    ([("routes", {"/a": "front", "/a/": "back"})], "routes./a/", "is the same path as /a", "/a: back"),
    ([("routes", {"a": "front"})], "routes.a", "the name must be a path that starts with /", "/"),
    ([("routes", {"/a?b": "front"})], "routes./a?b", "must be a path", "/"),
    # ports and protocols
    ([("services.front.protocol", "tcp")], "services.front.protocol", "must be one of http, http2, grpc", "http"),
    ([("services.front.port", 15006)], "services.front.port", "a port of the mesh's own proxy", "port: 8080"),
    ([("services.front.port", 0)], "services.front.port", "must be at least 1 port number", "port: 8080"),
    ([("services.front.port", "80")], "services.front.port", "must be a whole number, without quotes", "port: 80"),
    ([("services.back.metrics", {"port": 15020})], "services.back.metrics", "a port of the mesh's own", "8080"),
    (
        [("services.back.service_port", 9090), ("services.back.metrics", {"port": 9090})],
        "services.back.service_port",
        "is the port of metrics too",
        "service_port: 8080",
    ),
    ([("gateway.ports", [443])], "gateway.ports[0]", "is the port for https", "tls: {}"),
    ([("gateway.ports", [80, 80])], "gateway.ports[1]", "is named twice", "ports: [80]"),
    ([("gateway.ports", [])], "gateway.ports", "must not be empty", "ports: [80, 8080]"),
    (
        [("gateway", {"use": "a/b", "tls": {"redirect": True}})],
        "gateway.tls",
        "belongs to the Gateway that is used",
        "no tls",
    ),
    ([("gateway.use", "b")], "gateway.use", "must be namespace/name", "istio-system/shared"),
    # cookies, headers, hosts
    ([("sticky", {"cookie": "a b"})], "sticky.cookie", "must be the name of a cookie", "cookie: a-b"),
    ([("sticky", {"cookie": "a;b"})], "sticky.cookie", "must be the name of a cookie", "cookie: a-b"),
    ([("sticky.values", {"v1": "a;b"})], "sticky.values.v1", "must be the value of a cookie", "v1:"),
    ([("sticky.values", {"v1": True})], "sticky.values.v1", "must be a text, in quotes", 'v1: "true"'),
    ([("sticky.values", {"v1": "v2"})], "sticky.values", "'v2' is the cookie's value for v1 too", "v2: v2"),
    ([("sticky.values", {"v9": "a"})], "sticky.values.v9", "is no version that answers", "v2: a"),
    ([("sticky", {"set_by": "app"})], "sticky.cookie", "what does the app call it", "cookie: canary-user"),
    ([("sticky", {"by": "hash"})], "sticky", "must have a hash", "sticky: cookie"),
    ([("sticky", {"hash": {"cookie": "s", "ttl": "1h"}})], "sticky", "must not have a ttl", "sticky: cookie"),
    ([("sticky", {"hash": {}})], "sticky.hash", "must have one of header, cookie and address", "{header: x-user-id}"),
    ([("sticky", "ip")], "sticky.by", "must be one of cookie, hash, none", "by: cookie"),
    (
        [("sticky", {"cookie": "c"}), ("override.cookie", "c")],
        "override.cookie",
        "is the cookie of sticky too",
        "cookie: shop-use",
    ),
    ([("override.header", "x version")], "override.header.name", "must be the name of a request header", "x-version"),
    ([("override.header", "Cookie")], "override.header.name", "must be the name of a request header", "x-version"),
    (
        [("override.header", {"name": "x", "values": {"v1": " a"}})],
        "override.header.values.v1",
        "must be a value that a header can have",
        "v1: a",
    ),
    (
        [("override.header", {"name": "x", "values": {"v1": "B", "v2": "B"}})],
        "override.header.values.v2",
        "'B' is the header's value for v1 too",
        "v2: v2",
    ),
    (
        [("override.cookie", {"name": "x", "values": {"v9": "a"}})],
        "override.cookie.values.v9",
        "is no version",
        "v2: a",
    ),
    ([("override.hosts", {"next": "v9"})], "override.hosts.next", "is no version that answers users", "next: v2"),
    ([("hosts", ["Shop.local"])], "hosts[0]", "must be a host name in lower case", "hosts: [shop.local]"),
    ([("hosts", ["shop.local:80"])], "hosts[0]", "without port or path", "hosts: [shop.local]"),
    ([("hosts", [])], "hosts", "must not be empty", "hosts: [hello.local]"),
    ([("hosts", ["shop"])], "hosts[0]", "is a host without a dot", "hosts: [shop.local]"),
    ([("hosts", ["a.b", "a.b"])], "hosts[1]", "stands at hosts.0 too", "another-a.b"),
    ([("tools", {"grafana": "shop.local"})], "tools.grafana.host", "stands at hosts.0 too", "another-shop.local"),
    ([("override.hosts", {"shop.local": "v1"})], "override.hosts.shop.local", "stands at hosts.0 too", "one of"),
    ([("tools.x", {"host": "x", "service": "a:b"})], "tools.x.service", "must be service.namespace:port", "grafana"),
    # workloads
    ([("services.front.secrets", ["tokn"])], "services.front.secrets[0]", "is no entry of secrets", "existing: true"),
    (
        [("secrets", {"token": {"existing": True}}), ("services.front.secrets", ["tokn", "token"])],
        "services.front.secrets[0]",
        "is no entry of secrets",
        "token, or",
    ),
    (
        [("services.front.env", {"A": {"secret": "s", "key": "K"}})],
        "services.front.env.A.secret",
        "is no entry of secrets",
        "secrets: {s:",
    ),
    (
        [
            ("secrets", {"s": {"keys": {"KEY": {"environment": "X"}}}}),
            ("services.front.env", {"A": {"secret": "s", "key": "KEI"}}),
        ],
        "services.front.env.A.key",
        "is no key of s",
        "key: KEY",
    ),
    (
        [("services.front.env", {"A": {"secret": "s"}})],
        "services.front.env.A",
        "must have a value, or a secret",
        "debug",
    ),
    ([("services.front.env", {"A": 1.10})], "services.front.env.A.value", "must be a text, in quotes", 'A: "1.1"'),
    ([("services.front.env", {"A B": "x"})], "services.front.env.A B", "the name must be letters", "A_B"),
    (
        [("services.front.env", {"A": "x"}), ("services.front.config", {"A": "y"})],
        "services.front.config.A",
        "is in env too",
        "one of the two",
    ),
    ([("services.front.mounts", {"x": "/x"})], "services.front.mounts.x", "neither an entry of volumes", "{size: 1Gi}"),
    (
        [("volumes", {"disk": {"size": "1Gi"}}), ("services.front.mounts", {"disc": "/x", "disk": "/y"})],
        "services.front.mounts.disc",
        "neither an entry",
        "disk: /x",
    ),
    (
        [
            ("volumes", {"a": {"size": "1Gi"}, "b": {"temporary": "1Mi"}}),
            ("services.front.mounts", {"a": "/x"}),
            ("services.front.versions.v2", {"image": IMAGE, "mounts": {"b": "/x"}}),
        ],
        "services.front.versions.v2",
        "mounts b at /x, where a is",
        "b: /x/b",
    ),
    (
        [("services.front.mounts", {"x": "x"})],
        "services.front.mounts.x",
        "must be the absolute path",
        "x: /x",
    ),
    ([("services.front.config_mount", "/etc/x")], "services.front.config_mount", "has no config to show", "config:"),
    ([("volumes", {"a": {}})], "volumes.a", "must have one of size, host_path and temporary", "{size: 1Gi}"),
    ([("volumes", {"a": {"size": "1.5"}})], "volumes.a.size", "must be whole bytes", "size: 1Gi"),
    ([("secrets", {"a": {}})], "secrets.a", "must have either keys or existing", "keys"),
    ([("secrets", {"a": {"keys": {"K": {}}}})], "secrets.a.keys.K", "must have environment, variable or random", "API"),
    (
        [("secrets", {"a": {"keys": {"K": {"environment": "A", "variable": "b"}}}})],
        "secrets.a.keys.K",
        "must have one of environment and variable",
        "API_TOKEN",
    ),
    (
        [("services.front.resources", {"cpu": "1.5x"})],
        "services.front.resources.cpu",
        "must be a number of CPUs",
        "50m",
    ),
    ([("services.front.resources", {"memory": 0})], "services.front.resources.memory", "must be whole bytes", "64Mi"),
    (
        [("services.front.resources", {"memory": "64Mi", "memory_limit": "32Mi"})],
        "services.front.resources.memory",
        "is more than memory_limit 32Mi",
        "memory: 32Mi",
    ),
    (
        [("services.front.versions.v2", {"image": IMAGE, "resources": {"cpu": 1, "cpu_limit": "500m"}})],
        "services.front.versions.v2.resources.cpu",
        "is more than cpu_limit 500m",
        "cpu: 500m",
    ),
    (
        [("services.front.autoscaling", {"max": 2, "cpu": "12.5%"})],
        "services.front.autoscaling.cpu",
        "whole share",
        "80%",
    ),
    ([("services.front.autoscaling", {"max": 2, "cpu": "0%"})], "services.front.autoscaling.cpu", "at least 1", "80%"),
    (
        [("services.front.autoscaling", {"min": 3, "max": 2})],
        "services.front.versions.v1",
        "scales from 3 to 2",
        "{min: 2, max: 3}",
    ),
    (
        [("services.front.autoscaling", {"max": 2}), ("services.front.replicas", 2)],
        "services.front.versions.v1",
        "has replicas and autoscaling",
        "one of the two",
    ),
    (
        [("services.front.versions.v2", {"image": IMAGE, "replicas": 0})],
        "services.front.versions.v2.replicas",
        "leaves v2 without pods, and its 10% of the clients",
        "replicas: 1, or v2: 0 in weights",
    ),
    ([("services.back.replicas", 0)], "services.back.replicas", "leaves v1 without pods, and its 90%", "replicas: 1"),
    (
        [
            ("services.front.autoscaling", {"min": 3, "max": 5}),
            ("services.front.min_available", 2),
            ("services.front.versions.v2", {"image": IMAGE, "replicas": 1}),
        ],
        "services.front.versions.v2",
        "keeps 2 of 1 pods",
        "replicas: 3",
    ),
    ([("services.front.min_available", 1)], "services.front.versions.v1", "could never be drained", "replicas: 2"),
    (
        [("services.front.min_available", 3), ("services.front.replicas", 3)],
        "services.front.versions.v1",
        "keeps 3 of 3 pods",
        "min_available: 2",
    ),
    # policies
    (
        [("services.back.timeout", "2s"), ("services.back.retries", {"attempts": 1, "per_try": "3s"})],
        "services.back.retries.per_try",
        "no second try would come",
        "per_try: 1s",
    ),
    (
        [("services.back.timeout", "2")],
        "services.back.timeout",
        "must be a length of time with its unit",
        "timeout: 2s",
    ),
    ([("services.back.timeout", 2)], "services.back.timeout", "must be a text, in quotes", "timeout: 2s"),
    (
        [("services.back.protocol", "grpc"), ("services.back.retries", {"attempts": 2, "reasons": ["5xx"]})],
        "services.back.retries.reasons",
        "5xx tells of HTTP, and back has protocol: grpc",
        "reasons: [cancelled, unavailable]",
    ),
    (
        [
            ("services.back.protocol", "grpc"),
            ("services.back.retries", {"attempts": 2, "reasons": ["gateway-error", "internal"]}),
        ],
        "services.back.retries.reasons",
        "gateway-error tells of HTTP",
        "reasons: [internal]",
    ),
    (
        [("services.back.retries", {"attempts": 2, "reasons": ["unavailable"]})],
        "services.back.retries.reasons",
        "unavailable tells of gRPC, and back has protocol: http",
        "reasons: [gateway-error], or protocol: grpc",
    ),
    (
        [("services.back.protocol", "grpc"), ("services.back.retries", {"attempts": 2, "methods": "all"})],
        "services.back.retries.methods",
        "each call of gRPC is a POST",
        "reasons: [connect-failure, refused-stream, cancelled, unavailable]",
    ),
    (
        [("services.back.retries", {"attempts": 2, "methods": "POST"})],
        "services.back.retries.methods",
        "must be one of",
        "methods: idempotent",
    ),
    ([("services.back.retries", 99)], "services.back.retries.attempts", "must be at most 10 times", "attempts: 2"),
    ([("services.back.load_balancing", "fair")], "services.back.load_balancing.algorithm", "must be one of", "least"),
    ([("services.back.load_balancing", {})], "services.back.load_balancing", "must have either an algorithm", "least"),
    (
        [("services.back.load_balancing", {"hash": {"header": "x", "ttl": "1h"}})],
        "services.back.load_balancing.hash",
        "has a ttl, which only a cookie can have",
        "cookie: session",
    ),
    (
        [("sticky", {"hash": {"header": "x"}}), ("services.front.load_balancing", "random")],
        "services.front.load_balancing",
        "sticky already hashes them",
        "no load_balancing",
    ),
    ([("services.back.faults", {})], "services.back.faults", "must have a delay, an abort, or both", "faults: {delay:"),
    (
        [("services.back.faults", {"delay": {"time": "1s", "share": "101%"}})],
        "services.back.faults.delay.share",
        "must be at most 100",
        'share: "5%"',
    ),
    (
        [("services.back.faults", {"abort": {"status": 503, "share": "lots"}})],
        "services.back.faults.abort.share",
        "must be a share of 0% to 100%",
        'share: "1%"',
    ),
    ([("services.back.callers", ["all"])], "services.back.callers[0]", "must be namespace/serviceaccount", "batch/"),
    ([("limits.per_client", "10/fortnight")], "limits.per_client.rate", "must be a number per second", "10/minute"),
    ([("limits.per_client", "0/minute")], "limits.per_client.rate", "must be a number per second", "10/minute"),
    ([("limits.per_client", "ten per minute")], "limits.per_client.rate", "must be a number per second", "10/minute"),
    (
        [("services.front.metrics", {"path": "/other"}), ("names.monitor", "one")],
        "names.monitor",
        "makes ServiceMonitor one for front too",
        "monitor: one-back",
    ),
    # alerts, mail, dashboards
    ([("alerts.X", "errors 5%")], "alerts.X.when", "must be a measure", "errors > 5%"),
    ([("alerts.X", "erors > 5%")], "alerts.X.when", "the nearest one is errors", "errors > 5%"),
    ([("alerts.X", "qwzk > 5%")], "alerts.X.when", "there are errors, refused", "errors > 5%"),
    ([("alerts.X", "errors > 5")], "alerts.X.when", "must compare errors with a share", "errors > 5%"),
    (
        [("alerts.X", "requests > 5%")],
        "alerts.X.when",
        "must compare requests with a number per",
        "requests > 15/minute",
    ),
    ([("alerts.X", "p95 > 5%")], "alerts.X.when", "must compare p95 with a length of time", "p95 > 500ms"),
    ([("alerts.X", {"promql": "sum("})], "alerts.X.promql", "is not PromQL: expected a series", "sum(rate("),
    ([("alerts.X", {"promql": "rat(a[5m])"})], "alerts.X.promql", "the nearest one is rate", "sum(rate("),
    (
        [("alerts.X", {"promql": "slipway:requests:rate > 1"})],
        "alerts.X.promql",
        "is not recorded; the nearest one is slipway:requests:rate",
        "errors > 5%",
    ),
    (
        [("services.back.metrics", GONE), ("alerts.X", {"promql": "app_up == 0"})],
        "alerts.X.promql",
        "nobody exports app_up: no service of this release has metrics",
        "errors > 5%",
    ),
    (
        [("services.back.metrics", {"exports": ["app_requests_total"]}), ("alerts.X", {"promql": "app_up == 0"})],
        "alerts.X.promql",
        "nobody exports app_up; there are app_requests_total",
        "errors > 5%",
    ),
    ([("alerts.X", {})], "alerts.X", "must have either when or promql", "errors > 5%"),
    ([("alerts.X", {"when": "errors > 1%", "service": "bak"})], "alerts.X.service", "is no service", "service: back"),
    ([("alerts.X", {"when": "errors > 1%", "version": "v1"})], "alerts.X.version", "none is named", "service: front"),
    (
        [("alerts.X", {"when": "errors > 1%", "service": "back", "version": "v9"})],
        "alerts.X.version",
        "is no version of back",
        "version: v",
    ),
    ([("alerts", {"X Y": "errors > 1%"})], "alerts.X Y", "the name must be letters", "X_Y"),
    ([("alertmanager", "own")], "alertmanager", "would send nothing", "mail: {to:"),
    ([("mail", {"to": "x", "server": "a:25"})], "mail.to[0]", "must be a mail address", "to: team@example.org"),
    ([("mail", {"to": "a@b", "server": "a"})], "mail.server", "must be host:port", "server: smtp.example.org:587"),
    ([("mail", {"to": "a@b", "server": "a:25", "user": "u"})], "mail.password", "asks for both or none", "password: {"),
    (
        [("mail", {"to": "a@b", "server": "a:25", "password": {"secret": "s", "key": "k"}, "user": "u"})],
        "mail.password.secret",
        "is no entry of secrets",
        "secrets: {s:",
    ),
    (
        [
            ("secrets", {"s": {"keys": {"K": {"environment": "X"}}}}),
            ("mail", {"to": "a@b", "server": "a:25", "password": {"secret": "s", "key": "L"}, "user": "u"}),
        ],
        "mail.password.key",
        "is no key of s",
        "key: K",
    ),
    ([("dashboards", {"x": {"title": "t"}})], "dashboards.x", "must have something to show", "x: {shows: [traffic]}"),
    (
        [("dashboards", {"x": {"panels": [{"title": "t", "query": "sum("}]}})],
        "dashboards.x.panels[0].query",
        "is not PromQL",
        "query: sum",
    ),
    (
        [("dashboards", {"x": {"panels": [{"title": "t", "query": "slipway:requets:rate1m"}]}})],
        "dashboards.x.panels[0].query",
        "is not recorded; the nearest one is slipway:requests:rate1m",
        "query: sum",
    ),
    # names
    ([("name", "Shop")], "name", "must start with a letter", "name: shop"),
    ([("name", LONG + "x")], "name", "at most 40", f"name: {LONG}"),
    (
        [("services", {"1a": {"versions": {"v1": IMAGE}}}), ("weights", GONE)],
        "services.1a",
        "must start with",
        "app-1a",
    ),
    (
        [("services", {LONG + "b" * 20: {"versions": {"v1-long": IMAGE}}}), ("weights", GONE)],
        f"services.{LONG}{'b' * 20}.versions.v1-long",
        "Kubernetes takes at most 63 letters",
        "5 letters shorter",
    ),
    ([("names.deployment", "{service}")], "names.deployment", "makes Deployment front, which names.deployment", "-2"),
    ([("names.gateway", "{shop}")], "names.gateway", "has a placeholder that gateway does not have", "{release}"),
    ([("names.gateway", "My")], "names.gateway", "must be lower-case letters", "gateway:"),
    ([("names.gateway", "-x-")], "names.gateway", "makes Gateway '-x-', which is no name for one", "gateway: ax"),
    ([("services.back.names", {"service": "1x"})], "services.back.names.service", "which is no name", "service: a1x"),
    ([("tools.x", {"host": "x", "alias": "back"})], "tools.x.alias", "which services.back makes too", "-2"),
    (
        [("services.front.config", {"A": "1"}), ("services.back.config", {"A": "2"}), ("names.config", "same")],
        "names.config",
        "makes ConfigMap same, which names.config makes too",
        "config:",
    ),
    # things that are not there, and what does not belong
    ([("nam", "x")], "nam", "is no setting; the nearest one is name", "name: hello"),
    ([("services.front.replica", 2)], "services.front.replica", "the nearest one is replicas", "replicas: 2"),
    (
        [("services.front.versions.v1", {"imgae": "x"})],
        "services.front.versions.v1.imgae",
        "nearest one is image",
        "image:",
    ),
    ([("services.front.qqqq", 2)], "services.front.qqqq", "is no setting", "one of image, replicas"),
    (
        [("mail", {"to": "a@b", "server": "a:25", "api_token": "x"})],
        "mail.api_token",
        "a secret does not",
        "vault",
    ),
    (
        [("services.front.env", {"KEY": "-----BEGIN PRIVATE KEY-----"})],
        "services.front.env.KEY",
        "a secret does",
        "keys:",
    ),
    (
        [("services.front.env", {"URL": "http://me:pw@x/"})],
        "services.front.env.URL",
        "a secret does not belong",
        "keys:",
    ),
    ([("services", ["front"])], "services", "must be a map of names and values", "services: {frontend:"),
    ([("services.front", "x")], "services.front", "must be a map with image", "front: {versions"),
    ([("gateway", [80])], "gateway", "must be a map with ports", "gateway: {ports: [80]}"),
    ([("access", "closed")], "access", "must be one of calls, open", "access: calls"),
    ([("tracing", "200%")], "tracing", "must be at most 100", 'tracing: "10%"'),
    ([("tracing", float("nan"))], "tracing", "number", 'tracing: "10%"'),
]


@pytest.mark.parametrize(("changes", "key", "what", "works"), BAD, ids=[f"{n}-{row[1]}" for n, row in enumerate(BAD)])
def test_what_is_wrong_is_told_with_its_line_and_what_would_work(
    tmp_path: Path, changes: list[tuple[str, Any]], key: str, what: str, works: str
) -> None:
    path = page(tmp_path, changed(*changes))
    found = [problem for problem in problems(path) if problem.key == key]
    assert found, [str(problem) for problem in problems(path)]
    problem = next(problem for problem in found if what in problem.what)
    assert problem.where.endswith(f"page.yml:{problem.line}")
    assert problem.line > 0
    assert problem.value
    assert works in problem.works


def test_the_page_that_is_changed_is_good(tmp_path: Path) -> None:
    assert problems(page(tmp_path, BASE)) == []


def test_two_versions_with_one_name_are_two_lines_with_one_key(tmp_path: Path) -> None:
    text = "name: a\nhosts: a.local\nservices:\n  web:\n    versions:\n      v1: a/b:1\n      v1: a/b:2\n"
    (problem,) = problems(page(tmp_path, text))
    assert (problem.key, problem.line, problem.value) == ("services.web.versions.v1", 7, "a/b:2")
    assert "written twice; the first one is on line 6" in problem.what


def test_a_secret_of_the_page_is_not_shown(tmp_path: Path) -> None:
    values = changed(("services.front.env", {"API_TOKEN": "hunter2", "URL": "http://me:hunter2@x/"}))
    assert "hunter2" not in "".join(map(str, problems(page(tmp_path, values))))


# A wrong value, and what would work in its place: made of the value that is there, so that it fits this page.
OWN: list[tuple[list[tuple[str, Any]], str, str]] = [
    ([("hosts", ["*.probe.local"])], "hosts[0]", "hosts: [probe.local]"),
    ([("hosts", "*.probe.local")], "hosts[0]", "hosts: probe.local"),
    ([("hosts", ["a.local", "https://B.local:8443/x"])], "hosts[1]", "hosts: [a.local, b.local]"),
    ([("services.front.env", {"RATE": 0.5})], "services.front.env.RATE.value", 'RATE: "0.5"'),
    ([("services.front.env", {"ON": True})], "services.front.env.ON.value", 'ON: "true"'),
    ([("services.front.env", {"RATE": {"value": 0.5}})], "services.front.env.RATE.value", 'value: "0.5"'),
    ([("services.front.config", {"A": 1.5})], "services.front.config.A", 'A: "1.5"'),
    ([("services.front.versions", {"v1.0": IMAGE, "v2": IMAGE})], "services.front.versions.v1.0", "v1-0"),
    ([("weights", {"1.0": 90, "v2": 10})], "weights.1.0", "1-0"),
    ([("override.hosts", {"canary": "v2.1"})], "override.hosts.canary", "canary: v2-1"),
    ([("services.front.protocol", "gprc")], "services.front.protocol", "protocol: grpc"),
    ([("services.front.calls", "back"), ("services.front.port", 0)], "services.front.port", "port: 8080"),
    ([("services.front.probes", {"ready": "readyz"})], "services.front.probes.ready.path", "ready: /readyz"),
    ([("services.front.replica", 3)], "services.front.replica", "replicas: 3"),
    ([("routes", {"/api/.*": "front"})], "routes./api/.*", "/api"),
    ([("routes", {"/api/*": "front"})], "routes./api/*", "/api"),
    ([("override.header", {"name": "x", "values": {"v2": "^canary.*$"}})], "override.header.values.v2", "v2: canary"),
    ([("override.header", {"name": "x", "values": {"v2": "(beta|canary)"}})], "override.header.values.v2", "v2: beta"),
    ([("override.header", {"name": "x", "values": {"v2": ".*"}})], "override.header.values.v2", "v2: B"),
    ([("override.cookie", {"name": "x", "values": {"v2": "can[a-z]+"}})], "override.cookie.values.v2", "v2: cana"),
    ([("namespase", "Shop")], "namespase", "namespace: hello"),
    (
        [("services.back.metrics", GONE), ("alerts.X", {"promql": "app_up > 1"})],
        "alerts.X.promql",
        "when: errors > 5%",
    ),
    (
        [("services.back.metrics", GONE), ("dashboards.d", {"panels": [{"title": "A", "query": "sum("}]})],
        "dashboards.d.panels[0].query",
        'query: sum(slipway:requests:rate1m{namespace="shop"})',
    ),
    (
        [("services.back.metrics", {"exports": ["orders_total"]}), ("alerts.X", {"promql": "sum("})],
        "alerts.X.promql",
        "promql: sum(rate(orders_total[1m])) > 5",
    ),
    ([("alerts.X", {"when": "errors > 5%", "version": "v2"})], "alerts.X.version", "service: front"),
    ([("services.front.sidecar", "false")], "services.front.sidecar", "sidecar: false"),
    ([("services.front.replicas", "3")], "services.front.replicas", "replicas: 3"),
    ([("hosts", ["shop", "a.b"])], "hosts[0]", "hosts: [shop.local, a.b]"),
    ([("secrets", {"my_token": {"existing": True}})], "secrets.my_token", "my-token"),
    ([("image_pull_secrets", ["My_Registry"])], "image_pull_secrets[0]", "image_pull_secrets: [my-registry]"),
]


@pytest.mark.parametrize(("changes", "key", "works"), OWN)
def test_what_would_work_is_made_of_what_is_there(
    tmp_path: Path, changes: list[tuple[str, Any]], key: str, works: str
) -> None:
    found = {problem.key: problem.works for problem in problems(page(tmp_path, changed(*changes)))}
    assert found[key] == works


@pytest.mark.parametrize(
    ("changes", "key", "value", "works"),
    [
        (
            [("services.front.env", {"API_TOKEN": {"secret": "api-tokn", "key": "TOKEN"}})],
            "services.front.env.API_TOKEN.secret",
            "api-tokn",
            "secrets: {api-tokn:",
        ),
        (
            [("services.front.env", {"API_TOKEN": {"secret": "api_token", "key": "TOKEN"}})],
            "services.front.env.API_TOKEN.secret",
            "api_token",
            "secret: api-token",
        ),
        (
            [("mail", {"to": "a@b", "server": "a:25", "user": "u", "password": {"secret": "smpt", "key": "k"}})],
            "mail.password.secret",
            "smpt",
            "secrets: {smpt:",
        ),
        # What cannot be a name may be what it holds, and a variable is no name whatever it is called.
        (
            [("services.front.env", {"A": {"secret": "hunter2 hunter2", "key": "K"}})],
            "services.front.env.A.secret",
            "(not shown)",
            "secret: api-token",
        ),
        ([("services.front.env", {"secret": 7.5})], "services.front.env.secret.value", "(not shown)", ""),
    ],
)
def test_the_name_of_a_secret_is_none(
    tmp_path: Path, changes: list[tuple[str, Any]], key: str, value: str, works: str
) -> None:
    found = {problem.key: problem for problem in problems(page(tmp_path, changed(*changes)))}
    assert (found[key].value, works in found[key].works) == (value, True), found[key]


@pytest.mark.parametrize(
    ("value", "fine"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64)", True),
        ("a.b.c", True),
        ("$5", True),
        ("a+b=c?", True),
        ("[v2]", True),
        ("*", True),
        (".*", False),
        ("beta.+", False),
        ("^beta", False),
        ("beta$", False),
        (r"v\d", False),
        (r"1\.2", False),
        ("[a-z]", False),
        ("[ab]+", False),
        ("(a|b)", False),
        ("(?i)beta", False),
    ],
)
def test_an_expression_where_text_is_compared_is_refused(tmp_path: Path, value: str, fine: bool) -> None:
    values = changed(("override.header", {"name": "x", "values": {"v2": value}}))
    told = problems(page(tmp_path, values))
    assert [problem.what[:32] for problem in told] == ([] if fine else ["looks like a regular expression,"])


def test_of_a_secret_nothing_is_made(tmp_path: Path) -> None:
    values = changed(("secrets", {"s": {"keys": {"K": {"environment": "my secret value"}}}}), ("hosts", ["://a:b@c"]))
    values["services"]["front"]["args"] = ["--db=postgres://me:hunter2@db", 5]
    told = "".join(problem.works for problem in problems(page(tmp_path, values)))
    assert "secret value" not in told
    assert "a:b" not in told
    assert "hunter2" not in told


# Changes of the page, the key, and part of the warning: it can be released all the same.
DOUBTFUL: list[tuple[list[tuple[str, Any]], str, str]] = [
    ([("services.front.versions.v1", "a/b")], "services.front.versions.v1.image", "is not one image for all time"),
    (
        [("services.front.image", "a/b:latest"), ("services.front.versions.v1", {})],
        "services.front.image",
        "for all time",
    ),
    ([("services.lone", {"versions": {"v1": IMAGE}})], "services.lone", "is neither routed to nor called"),
    ([("services.front.env", {"DB_PASSWORD": "x"})], "services.front.env.DB_PASSWORD", "looks like a secret"),
    ([("volumes", {"a": {"size": "1Gi"}})], "volumes.a", "is used by nobody"),
    ([("secrets", {"a": {"existing": True}})], "secrets.a", "is used by nobody"),
    ([("mail", {"to": "a@b", "server": "a:25"})], "mail", "has nothing to tell"),
    ([("services.front.sidecar", False)], "services.front", "its calls come without mTLS and back refuses them"),
]


@pytest.mark.parametrize(("changes", "key", "what"), DOUBTFUL)
def test_what_is_doubtful_is_told_and_works(
    tmp_path: Path, changes: list[tuple[str, Any]], key: str, what: str
) -> None:
    spec = load(page(tmp_path, changed(*changes)))
    found = {warning.key: warning.what for warning in spec.warnings}
    assert what in found[key]


# The other side of a rule: what looks alike and is fine.
FINE: list[list[tuple[str, Any]]] = [
    [("weights", {"v1": 100, "v2": 0})],
    [("services.back.versions", {"only": IMAGE})],
    [("weights", {"v1": 100, "v2": 0}), ("services.front.versions.v2", {"image": IMAGE, "replicas": 0})],
    [
        ("services.front.autoscaling", {"min": 3, "max": 5}),
        ("services.front.min_available", 2),
        ("services.front.versions.v2", {"image": IMAGE, "replicas": 3}),
    ],
    [("services.front.versions.v1", "registry:5000/a/b_c:1.0-x@sha256:" + "0" * 64)],
    [("services.front.config", {"A": "1"}), ("services.back.config", {"A": "1"}), ("names.config", "same")],
    [("services.front.metrics", "/metrics"), ("names.monitor", "one")],
    [("services.front.replicas", 3), ("services.front.min_available", 2)],
    [
        ("services.front.replicas", 3),
        ("services.front.versions.v2", {"image": IMAGE, "replicas": 1}),
    ],
    [("services.back.service_port", 9090), ("services.back.port", 9090), ("services.back.metrics", {"port": 9090})],
    [("services.back.service_port", 80), ("services.back.metrics", {"port": 9090})],
    [("services.front.resources", {"cpu": "0.5", "cpu_limit": "500m", "memory": "1Gi", "memory_limit": "2G"})],
    [("services.front.autoscaling", {"max": 2, "cpu": 1})],
    [("services.back.timeout", "2s"), ("services.back.retries", {"attempts": 0, "per_try": "3s"})],
    [("services.back.protocol", "grpc"), ("services.back.retries", {"attempts": 2, "reasons": ["reset", "internal"]})],
    [("services.back.callers", ["batch/*", "batch/one"])],
    [("services.back.metrics", {"exports": ["app_seconds"]}), ("alerts.X", {"promql": "app_seconds_bucket > 0 or up"})],
    [("alerts.X", {"promql": '{__name__=~"app_.*"} > 0'})],
    [("access", "open"), ("mtls", "permissive")],
    [("services.back.callers", ["legacy/*", "plain"]), ("mtls", "permissive")],
    [("services.front.sidecar", False), ("services.back.sidecar", False), ("mtls", "permissive")],
    [("dashboards", {})],
    [("image_pull_secrets", ["registry"])],
]


@pytest.mark.parametrize("changes", FINE)
def test_what_looks_alike_and_is_right_is_taken(tmp_path: Path, changes: list[tuple[str, Any]]) -> None:
    assert problems(page(tmp_path, changed(*changes))) == []
