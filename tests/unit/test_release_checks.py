"""What a release's page may not say, and how that is told: file and line, key, value, and a value that would work."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from slipway.release.spec import load

from tests.support.errors import tells
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
        "keys-contradict",
        "mtls: permissive",
    ),
    (
        [("mtls", "permissive"), ("services.back.callers", ["legacy/*"])],
        "mtls",
        "nobody-let-in: 403 … legacy/*",
        'callers: ["legacy/*", plain] at back',
    ),
    ([("mtls", "permissive")], "mtls", "nobody-let-in", "callers: [plain] at front"),
    # versions and weights
    ([("weights", {"v1": 90, "v2": 20})], "weights", "weights-sum: 110 … 100", "{v1: 80, v2: 20}"),
    ([("weights", {"v1": 60, "v2": 60})], "weights", "weights-sum: 120", "{v1: 40, v2: 60}"),
    ([("weights", {"v1": 100, "v2": 100})], "weights", "weights-sum: 200", "{v1: 0, v2: 100}"),
    ([("weights.v1", "90")], "weights.v1", "wrong-type", "v1: 90"),
    ([("weights.v1", 101)], "weights.v1", "too-large: 100", "v1: 90"),
    ([("weights.v1", -1)], "weights.v1", "too-small: 0", "v1: 90"),
    ([("weights.v1", 89.5)], "weights.v1", "wrong-type", "v1: 90"),
    ([("weights", {"v1": 90, "v2": 5, "v9": 5})], "weights.v9", "unknown-version", "{v1: 90, v2: 10}"),
    ([("weights", GONE)], "weights", "weights-missing: front … v1, v2", "{v1: 90, v2: 10}"),
    ([("weights", {"v1": 100})], "services.front.versions.v2", "version-without-weight", "{v1: 100, v2: 0}"),
    (
        [("services.back.versions", {"v1": IMAGE, "v3": IMAGE}), ("weights", {"v1": 80, "v2": 10, "v3": 10})],
        "services.back.versions",
        "version-missing-in-hop: v2",
        "v2: {image: …} here",
    ),
    (
        [("services.front.versions.v3", {"image": IMAGE})],
        "services.front.versions.v3",
        "version-without-weight",
        "v3: 0",
    ),
    (
        [("services.front.versions", {"v1": {"image": IMAGE, "shadow": 1}})],
        "services.front.versions.v1.shadow",
        "no-version-for-users",
        "a version without shadow",
    ),
    (
        [
            ("services.back.versions.v3", {"image": IMAGE, "shadow": 100}),
            ("weights", {"v1": 80, "v2": 10, "v3": 10}),
        ],
        "weights.v3",
        "shadow-gets-no-users",
        "{v1: 90, v2: 10}",
    ),
    ([("version_labels", {"v2": "v1"})], "services.front.versions.v2", "duplicate-value: v1", "{v2: v2}"),
    ([("version_labels", {"v9": "x"})], "version_labels.v9", "unknown-version", "v2: x"),
    (
        [("services.front.versions.v1", {})],
        "services.front.versions.v1",
        "no-image",
        "image: example.org/front:1.0",
    ),
    ([("services.front.versions.v1", "A:B")], "services.front.versions.v1.image", "not-an-image", "v1: a:b"),
    ([("services.front.versions.v1", 1.0)], "services.front.versions.v1.image", "needs-quotes", "image:"),
    (
        [("services.front.versions", {"V 1": IMAGE})],
        "services.front.versions.V 1",
        "wrong-name",
        "v-1",
    ),
    # calls and routes
    ([("services.front.calls", ["bakc"])], "services.front.calls[0]", "unknown-service", "calls: [back]"),
    ([("services.front.calls", ["back", "back"])], "services.front.calls[1]", "duplicate-value", "calls: [back]"),
    ([("services.front.calls", ["front"])], "services.front.calls[0]", "calls-in-circle: front → front", "calls: []"),
    (
        [("services.back.calls", ["front"])],
        "services.back.calls[0]",
        "calls-in-circle: front → back → front",
        "calls: []",
    ),
    ([("routes", {"/": "fornt"})], "routes./.to", "unknown-service", "/: front"),
    ([("routes", {"/": {"to": "front", "version": "v9"}})], "routes./.version", "unknown-version: front", "version: v"),
    (
        [
            ("services.back.versions.v3", {"image": IMAGE, "shadow": 1}),
            ("routes", {"/": {"to": "back", "version": "v3"}}),
        ],
        "routes./.version",
        "shadow-gets-no-users: back",
        "version: v",
    ),
    ([("routes", {"/a": "front", "/a/": "back"})], "routes./a/", "duplicate-value: /a", "/a: back"),
    ([("routes", {"a": "front"})], "routes.a", "not-a-path: /", "/"),
    ([("routes", {"/a?b": "front"})], "routes./a?b", "not-a-path", "/"),
    # ports and protocols
    ([("services.front.protocol", "tcp")], "services.front.protocol", "not-one-of: http, http2, grpc", "http"),
    ([("services.front.port", 15006)], "services.front.port", "port-taken: mesh", "port: 8080"),
    ([("services.front.port", 0)], "services.front.port", "too-small: 1", "port: 8080"),
    ([("services.front.port", "80")], "services.front.port", "wrong-type", "port: 80"),
    ([("services.back.metrics", {"port": 15020})], "services.back.metrics", "port-taken: mesh", "8080"),
    (
        [("services.back.service_port", 9090), ("services.back.metrics", {"port": 9090})],
        "services.back.service_port",
        "port-taken: metrics",
        "service_port: 8080",
    ),
    ([("gateway.ports", [443])], "gateway.ports[0]", "port-for-tls", "tls: {}"),
    ([("gateway.ports", [80, 80])], "gateway.ports[1]", "duplicate-value", "ports: [80]"),
    ([("gateway.ports", [])], "gateway.ports", "empty-value", "ports: [80, 8080]"),
    (
        [("gateway", {"use": "a/b", "tls": {"redirect": True}})],
        "gateway.tls",
        "keys-contradict",
        "no tls",
    ),
    ([("gateway.use", "b")], "gateway.use", "wrong-form: namespace/name", "istio-system/shared"),
    # cookies, headers, hosts
    ([("sticky", {"cookie": "a b"})], "sticky.cookie", "not-a-cookie", "cookie: a-b"),
    ([("sticky", {"cookie": "a;b"})], "sticky.cookie", "not-a-cookie", "cookie: a-b"),
    ([("sticky.values", {"v1": "a;b"})], "sticky.values.v1", "not-a-cookie", "v1:"),
    ([("sticky.values", {"v1": True})], "sticky.values.v1", "needs-quotes", 'v1: "true"'),
    ([("sticky.values", {"v1": "v2"})], "sticky.values", "duplicate-value: 'v2' … v1", "v2: v2"),
    ([("sticky.values", {"v9": "a"})], "sticky.values.v9", "unknown-version", "v2: a"),
    ([("sticky", {"set_by": "app"})], "sticky.cookie", "needs-key", "cookie: canary-user"),
    ([("sticky", {"by": "hash"})], "sticky", "keys-contradict: by: hash", "sticky: cookie"),
    ([("sticky", {"hash": {"cookie": "s", "ttl": "1h"}})], "sticky", "keys-contradict: ttl", "sticky: cookie"),
    ([("sticky", {"hash": {}})], "sticky.hash", "needs-one-of: header, cookie and address", "{header: x-user-id}"),
    ([("sticky", "ip")], "sticky.by", "not-one-of: cookie, hash, none", "by: cookie"),
    (
        [("sticky", {"cookie": "c"}), ("override.cookie", "c")],
        "override.cookie",
        "duplicate-value",
        "cookie: shop-use",
    ),
    ([("override.header", "x version")], "override.header.name", "not-a-header", "x-version"),
    ([("override.header", "Cookie")], "override.header.name", "not-a-header", "x-version"),
    (
        [("override.header", {"name": "x", "values": {"v1": " a"}})],
        "override.header.values.v1",
        "not-a-header",
        "v1: a",
    ),
    (
        [("override.header", {"name": "x", "values": {"v1": "B", "v2": "B"}})],
        "override.header.values.v2",
        "duplicate-value: v1",
        "v2: v2",
    ),
    (
        [("override.cookie", {"name": "x", "values": {"v9": "a"}})],
        "override.cookie.values.v9",
        "unknown-version",
        "v2: a",
    ),
    ([("override.hosts", {"next": "v9"})], "override.hosts.next", "unknown-version", "next: v2"),
    ([("hosts", ["Shop.local"])], "hosts[0]", "not-a-host-name", "hosts: [shop.local]"),
    ([("hosts", ["shop.local:80"])], "hosts[0]", "not-a-host-name", "hosts: [shop.local]"),
    ([("hosts", [])], "hosts", "empty-value", "hosts: [hello.local]"),
    ([("hosts", ["shop"])], "hosts[0]", "host-without-dot", "hosts: [shop.local]"),
    ([("hosts", ["a.b", "a.b"])], "hosts[1]", "duplicate-host: hosts.0", "another-a.b"),
    ([("tools", {"grafana": "shop.local"})], "tools.grafana.host", "duplicate-host: hosts.0", "another-shop.local"),
    ([("override.hosts", {"shop.local": "v1"})], "override.hosts.shop.local", "duplicate-host: hosts.0", "one of"),
    (
        [("tools.x", {"host": "x", "service": "a:b"})],
        "tools.x.service",
        "wrong-form: service.namespace:port",
        "grafana",
    ),
    # workloads
    ([("services.front.secrets", ["tokn"])], "services.front.secrets[0]", "unknown-secret", "existing: true"),
    (
        [("secrets", {"token": {"existing": True}}), ("services.front.secrets", ["tokn", "token"])],
        "services.front.secrets[0]",
        "unknown-secret",
        "token, or",
    ),
    (
        [("services.front.env", {"A": {"secret": "s", "key": "K"}})],
        "services.front.env.A.secret",
        "unknown-secret",
        "secrets: {s:",
    ),
    (
        [
            ("secrets", {"s": {"keys": {"KEY": {"environment": "X"}}}}),
            ("services.front.env", {"A": {"secret": "s", "key": "KEI"}}),
        ],
        "services.front.env.A.key",
        "unknown-secret",
        "key: KEY",
    ),
    (
        [("services.front.env", {"A": {"secret": "s"}})],
        "services.front.env.A",
        "needs-one-of",
        "debug",
    ),
    ([("services.front.env", {"A": 1.10})], "services.front.env.A.value", "needs-quotes", 'A: "1.1"'),
    ([("services.front.env", {"A B": "x"})], "services.front.env.A B", "wrong-name", "A_B"),
    (
        [("services.front.env", {"A": "x"}), ("services.front.config", {"A": "y"})],
        "services.front.config.A",
        "keys-contradict",
        "one of the two",
    ),
    ([("services.front.mounts", {"x": "/x"})], "services.front.mounts.x", "unknown-mount", "{size: 1Gi}"),
    (
        [("volumes", {"disk": {"size": "1Gi"}}), ("services.front.mounts", {"disc": "/x", "disk": "/y"})],
        "services.front.mounts.disc",
        "unknown-mount",
        "disk: /x",
    ),
    (
        [
            ("volumes", {"a": {"size": "1Gi"}, "b": {"temporary": "1Mi"}}),
            ("services.front.mounts", {"a": "/x"}),
            ("services.front.versions.v2", {"image": IMAGE, "mounts": {"b": "/x"}}),
        ],
        "services.front.versions.v2",
        "duplicate-value: b … /x",
        "b: /x/b",
    ),
    (
        [("services.front.mounts", {"x": "x"})],
        "services.front.mounts.x",
        "not-a-path",
        "x: /x",
    ),
    ([("services.front.config_mount", "/etc/x")], "services.front.config_mount", "needs-key", "config:"),
    ([("volumes", {"a": {}})], "volumes.a", "needs-one-of: size, host_path and temporary", "{size: 1Gi}"),
    ([("volumes", {"a": {"size": "1.5"}})], "volumes.a.size", "not-an-amount", "size: 1Gi"),
    ([("secrets", {"a": {}})], "secrets.a", "needs-one-of: keys", "keys"),
    ([("secrets", {"a": {"keys": {"K": {}}}})], "secrets.a.keys.K", "needs-one-of: environment", "API"),
    (
        [("secrets", {"a": {"keys": {"K": {"environment": "A", "variable": "b"}}}})],
        "secrets.a.keys.K",
        "needs-one-of",
        "API_TOKEN",
    ),
    (
        [("services.front.resources", {"cpu": "1.5x"})],
        "services.front.resources.cpu",
        "not-an-amount",
        "50m",
    ),
    ([("services.front.resources", {"memory": 0})], "services.front.resources.memory", "not-an-amount", "64Mi"),
    (
        [("services.front.resources", {"memory": "64Mi", "memory_limit": "32Mi"})],
        "services.front.resources.memory",
        "request-above-limit: memory_limit 32Mi",
        "memory: 32Mi",
    ),
    (
        [("services.front.versions.v2", {"image": IMAGE, "resources": {"cpu": 1, "cpu_limit": "500m"}})],
        "services.front.versions.v2.resources.cpu",
        "request-above-limit: cpu_limit 500m",
        "cpu: 500m",
    ),
    (
        [("services.front.autoscaling", {"max": 2, "cpu": "12.5%"})],
        "services.front.autoscaling.cpu",
        "not-a-share",
        "80%",
    ),
    (
        [("services.front.autoscaling", {"max": 2, "cpu": "0%"})],
        "services.front.autoscaling.cpu",
        "too-small: 1",
        "80%",
    ),
    (
        [("services.front.autoscaling", {"min": 3, "max": 2})],
        "services.front.versions.v1",
        "autoscaling-backwards: 3 … 2",
        "{min: 2, max: 3}",
    ),
    (
        [("services.front.autoscaling", {"max": 2}), ("services.front.replicas", 2)],
        "services.front.versions.v1",
        "keys-contradict",
        "one of the two",
    ),
    (
        [("services.front.versions.v2", {"image": IMAGE, "replicas": 0})],
        "services.front.versions.v2.replicas",
        "weight-without-pods: v2 … 10%",
        "replicas: 1, or v2: 0 in weights",
    ),
    ([("services.back.replicas", 0)], "services.back.replicas", "weight-without-pods: v1 … 90%", "replicas: 1"),
    (
        [
            ("services.front.autoscaling", {"min": 3, "max": 5}),
            ("services.front.min_available", 2),
            ("services.front.versions.v2", {"image": IMAGE, "replicas": 1}),
        ],
        "services.front.versions.v2",
        "cannot-drain: 2 … 1",
        "replicas: 3",
    ),
    ([("services.front.min_available", 1)], "services.front.versions.v1", "cannot-drain", "replicas: 2"),
    (
        [("services.front.min_available", 3), ("services.front.replicas", 3)],
        "services.front.versions.v1",
        "cannot-drain: 3 … 3",
        "min_available: 2",
    ),
    # policies
    (
        [("services.back.timeout", "2s"), ("services.back.retries", {"attempts": 1, "per_try": "3s"})],
        "services.back.retries.per_try",
        "per-try-too-long",
        "per_try: 1s",
    ),
    (
        [("services.back.timeout", "2")],
        "services.back.timeout",
        "not-a-duration",
        "timeout: 2s",
    ),
    ([("services.back.timeout", 2)], "services.back.timeout", "needs-quotes", "timeout: 2s"),
    (
        [("services.back.protocol", "grpc"), ("services.back.retries", {"attempts": 2, "reasons": ["5xx"]})],
        "services.back.retries.reasons",
        "retry-not-of-protocol: 5xx … back",
        "reasons: [cancelled, unavailable]",
    ),
    (
        [
            ("services.back.protocol", "grpc"),
            ("services.back.retries", {"attempts": 2, "reasons": ["gateway-error", "internal"]}),
        ],
        "services.back.retries.reasons",
        "retry-not-of-protocol: gateway-error",
        "reasons: [internal]",
    ),
    (
        [("services.back.retries", {"attempts": 2, "reasons": ["unavailable"]})],
        "services.back.retries.reasons",
        "retry-not-of-protocol: unavailable … back",
        "reasons: [gateway-error], or protocol: grpc",
    ),
    (
        [("services.back.protocol", "grpc"), ("services.back.retries", {"attempts": 2, "methods": "all"})],
        "services.back.retries.methods",
        "retry-not-of-protocol",
        "reasons: [connect-failure, refused-stream, cancelled, unavailable]",
    ),
    (
        [("services.back.retries", {"attempts": 2, "methods": "POST"})],
        "services.back.retries.methods",
        "not-one-of",
        "methods: idempotent",
    ),
    ([("services.back.retries", 99)], "services.back.retries.attempts", "too-large: 10", "attempts: 2"),
    ([("services.back.load_balancing", "fair")], "services.back.load_balancing.algorithm", "not-one-of", "least"),
    ([("services.back.load_balancing", {})], "services.back.load_balancing", "needs-one-of", "least"),
    (
        [("services.back.load_balancing", {"hash": {"header": "x", "ttl": "1h"}})],
        "services.back.load_balancing.hash",
        "keys-contradict",
        "cookie: session",
    ),
    (
        [("sticky", {"hash": {"header": "x"}}), ("services.front.load_balancing", "random")],
        "services.front.load_balancing",
        "keys-contradict",
        "no load_balancing",
    ),
    ([("services.back.faults", {})], "services.back.faults", "needs-one-of", "faults: {delay:"),
    (
        [("services.back.faults", {"delay": {"time": "1s", "share": "101%"}})],
        "services.back.faults.delay.share",
        "too-large: 100",
        'share: "5%"',
    ),
    (
        [("services.back.faults", {"abort": {"status": 503, "share": "lots"}})],
        "services.back.faults.abort.share",
        "not-a-share: 0% … 100%",
        'share: "1%"',
    ),
    (
        [("services.back.callers", ["all"])],
        "services.back.callers[0]",
        "wrong-form: namespace/serviceaccount",
        "batch/",
    ),
    ([("limits.per_client", "10/fortnight")], "limits.per_client.rate", "not-a-rate", "10/minute"),
    ([("limits.per_client", "0/minute")], "limits.per_client.rate", "not-a-rate", "10/minute"),
    ([("limits.per_client", "ten per minute")], "limits.per_client.rate", "not-a-rate", "10/minute"),
    (
        [("services.front.metrics", {"path": "/other"}), ("names.monitor", "one")],
        "names.monitor",
        "monitor-differs: front",
        "monitor: one-back",
    ),
    # alerts, mail, dashboards
    ([("alerts.X", "errors 5%")], "alerts.X.when", "alert-condition", "errors > 5%"),
    ([("alerts.X", "erors > 5%")], "alerts.X.when", "alert-condition", "errors > 5%"),
    ([("alerts.X", "qwzk > 5%")], "alerts.X.when", "alert-condition: errors, refused", "errors > 5%"),
    ([("alerts.X", "errors > 5")], "alerts.X.when", "alert-condition", "errors > 5%"),
    (
        [("alerts.X", "requests > 5%")],
        "alerts.X.when",
        "alert-condition",
        "requests > 15/minute",
    ),
    ([("alerts.X", "p95 > 5%")], "alerts.X.when", "alert-condition: p95", "p95 > 500ms"),
    ([("alerts.X", {"promql": "sum("})], "alerts.X.promql", "promql-syntax", "sum(rate("),
    ([("alerts.X", {"promql": "rat(a[5m])"})], "alerts.X.promql", "promql-syntax: rate", "sum(rate("),
    (
        [("alerts.X", {"promql": "slipway:requests:rate > 1"})],
        "alerts.X.promql",
        "unknown-series: slipway:requests:rate",
        "errors > 5%",
    ),
    (
        [("services.back.metrics", GONE), ("alerts.X", {"promql": "app_up == 0"})],
        "alerts.X.promql",
        "unknown-series: app_up",
        "errors > 5%",
    ),
    (
        [("services.back.metrics", {"exports": ["app_requests_total"]}), ("alerts.X", {"promql": "app_up == 0"})],
        "alerts.X.promql",
        "unknown-series: app_up … app_requests_total",
        "errors > 5%",
    ),
    ([("alerts.X", {})], "alerts.X", "needs-one-of", "errors > 5%"),
    ([("alerts.X", {"when": "errors > 1%", "service": "bak"})], "alerts.X.service", "unknown-service", "service: back"),
    ([("alerts.X", {"when": "errors > 1%", "version": "v1"})], "alerts.X.version", "needs-key", "service: front"),
    (
        [("alerts.X", {"when": "errors > 1%", "service": "back", "version": "v9"})],
        "alerts.X.version",
        "unknown-version: back",
        "version: v",
    ),
    ([("alerts", {"X Y": "errors > 1%"})], "alerts.X Y", "wrong-name", "X_Y"),
    ([("alertmanager", "own")], "alertmanager", "needs-key", "mail: {to:"),
    ([("mail", {"to": "x", "server": "a:25"})], "mail.to[0]", "wrong-form", "to: team@example.org"),
    ([("mail", {"to": "a@b", "server": "a"})], "mail.server", "wrong-form: host:port", "server: smtp.example.org:587"),
    ([("mail", {"to": "a@b", "server": "a:25", "user": "u"})], "mail.password", "needs-key", "password: {"),
    (
        [("mail", {"to": "a@b", "server": "a:25", "password": {"secret": "s", "key": "k"}, "user": "u"})],
        "mail.password.secret",
        "unknown-secret",
        "secrets: {s:",
    ),
    (
        [
            ("secrets", {"s": {"keys": {"K": {"environment": "X"}}}}),
            ("mail", {"to": "a@b", "server": "a:25", "password": {"secret": "s", "key": "L"}, "user": "u"}),
        ],
        "mail.password.key",
        "unknown-secret",
        "key: K",
    ),
    ([("dashboards", {"x": {"title": "t"}})], "dashboards.x", "needs-one-of", "x: {shows: [traffic]}"),
    (
        [("dashboards", {"x": {"panels": [{"title": "t", "query": "sum("}]}})],
        "dashboards.x.panels[0].query",
        "promql-syntax",
        "query: sum",
    ),
    (
        [("dashboards", {"x": {"panels": [{"title": "t", "query": "slipway:requets:rate1m"}]}})],
        "dashboards.x.panels[0].query",
        "unknown-series: slipway:requests:rate1m",
        "query: sum",
    ),
    # names
    ([("name", "Shop")], "name", "wrong-form", "name: shop"),
    ([("name", LONG + "x")], "name", "too-long: 40", f"name: {LONG}"),
    (
        [("services", {"1a": {"versions": {"v1": IMAGE}}}), ("weights", GONE)],
        "services.1a",
        "wrong-name",
        "app-1a",
    ),
    (
        [("services", {LONG + "b" * 20: {"versions": {"v1-long": IMAGE}}}), ("weights", GONE)],
        f"services.{LONG}{'b' * 20}.versions.v1-long",
        "name-too-long: 63",
        "5 letters shorter",
    ),
    ([("names.deployment", "{service}")], "names.deployment", "duplicate-object: front … names.deployment", "-2"),
    ([("names.gateway", "{shop}")], "names.gateway", "unknown-placeholder", "{release}"),
    ([("names.gateway", "My")], "names.gateway", "wrong-form", "gateway:"),
    ([("names.gateway", "-x-")], "names.gateway", "wrong-name: '-x-'", "gateway: ax"),
    ([("services.back.names", {"service": "1x"})], "services.back.names.service", "wrong-name", "service: a1x"),
    ([("tools.x", {"host": "x", "alias": "back"})], "tools.x.alias", "duplicate-object: services.back", "-2"),
    (
        [("services.front.config", {"A": "1"}), ("services.back.config", {"A": "2"}), ("names.config", "same")],
        "names.config",
        "duplicate-object: names.config",
        "config:",
    ),
    # things that are not there, and what does not belong
    ([("nam", "x")], "nam", "unknown-key: name", "name: hello"),
    ([("services.front.replica", 2)], "services.front.replica", "unknown-key", "replicas: 2"),
    (
        [("services.front.versions.v1", {"imgae": "x"})],
        "services.front.versions.v1.imgae",
        "unknown-key",
        "image:",
    ),
    ([("services.front.qqqq", 2)], "services.front.qqqq", "unknown-key", "one of image, replicas"),
    (
        [("mail", {"to": "a@b", "server": "a:25", "api_token": "x"})],
        "mail.api_token",
        "secret-on-page",
        "vault",
    ),
    (
        [("services.front.env", {"KEY": "-----BEGIN PRIVATE KEY-----"})],
        "services.front.env.KEY",
        "secret-on-page",
        "keys:",
    ),
    (
        [("services.front.env", {"URL": "http://me:pw@x/"})],
        "services.front.env.URL",
        "secret-on-page",
        "keys:",
    ),
    ([("services", ["front"])], "services", "wrong-type", "services: {frontend:"),
    ([("services.front", "x")], "services.front", "wrong-type", "front: {versions"),
    ([("gateway", [80])], "gateway", "wrong-type", "gateway: {ports: [80]}"),
    ([("access", "closed")], "access", "not-one-of: calls, open", "access: calls"),
    ([("tracing", "200%")], "tracing", "too-large: 100", 'tracing: "10%"'),
    ([("tracing", float("nan"))], "tracing", "wrong-type", 'tracing: "10%"'),
]


@pytest.mark.parametrize(("changes", "key", "what", "works"), BAD, ids=[f"{n}-{row[1]}" for n, row in enumerate(BAD)])
def test_what_is_wrong_is_told_with_its_line_and_what_would_work(
    tmp_path: Path, changes: list[tuple[str, Any]], key: str, what: str, works: str
) -> None:
    path = page(tmp_path, changed(*changes))
    found = [problem for problem in problems(path) if problem.key == key]
    assert found, [str(problem) for problem in problems(path)]
    problem = next((problem for problem in found if problem.id == what.partition(": ")[0]), found[0])
    tells(problem, what)
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
    tells(problem, "duplicate-key: line 6")


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
    assert [problem.id for problem in told] == ([] if fine else ["regular-expression"])


def test_of_a_secret_nothing_is_made(tmp_path: Path) -> None:
    values = changed(("secrets", {"s": {"keys": {"K": {"environment": "my secret value"}}}}), ("hosts", ["://a:b@c"]))
    values["services"]["front"]["args"] = ["--db=postgres://me:hunter2@db", 5]
    told = "".join(problem.works for problem in problems(page(tmp_path, values)))
    assert "secret value" not in told
    assert "a:b" not in told
    assert "hunter2" not in told


# Changes of the page, the key, and part of the warning: it can be released all the same.
DOUBTFUL: list[tuple[list[tuple[str, Any]], str, str]] = [
    ([("services.front.versions.v1", "a/b")], "services.front.versions.v1.image", "image-may-change"),
    (
        [("services.front.image", "a/b:latest"), ("services.front.versions.v1", {})],
        "services.front.image",
        "image-may-change",
    ),
    ([("services.lone", {"versions": {"v1": IMAGE}})], "services.lone", "unreachable-service"),
    ([("services.front.env", {"DB_PASSWORD": "x"})], "services.front.env.DB_PASSWORD", "secret-in-env"),
    ([("volumes", {"a": {"size": "1Gi"}})], "volumes.a", "unused-entry"),
    ([("secrets", {"a": {"existing": True}})], "secrets.a", "unused-entry"),
    ([("mail", {"to": "a@b", "server": "a:25"})], "mail", "needs-key"),
    ([("services.front.sidecar", False)], "services.front", "calls-without-mtls: back"),
]


@pytest.mark.parametrize(("changes", "key", "what"), DOUBTFUL)
def test_what_is_doubtful_is_told_and_works(
    tmp_path: Path, changes: list[tuple[str, Any]], key: str, what: str
) -> None:
    spec = load(page(tmp_path, changed(*changes)))
    tells(next(warning for warning in spec.warnings if warning.key == key), what)


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
