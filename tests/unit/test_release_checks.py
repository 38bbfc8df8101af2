"""What a release's page may not say, and how that is told: file and line, key, value, and a value that would work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.release.spec import load

from tests.support.errors import tells
from tests.support.pasted import pasted
from tests.support.release import page, problems
from tests.support.release_changes import BASE, GONE, IMAGE, Wrong, changed
from tests.support.wrong_routing import ROUTING
from tests.support.wrong_services import SERVICES

BAD: list[Wrong] = [*ROUTING, *SERVICES]


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
    for each in problems(path):
        pasted(tmp_path, changed(*changes), each)


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
    ([("hosts", ["~.probe.local"])], "hosts[0]", "hosts: [probe-local]"),
    ([("hosts", "~.probe.local")], "hosts[0]", "hosts: probe-local"),
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
    ([("services.front.writable", True)], "services.front.writable", "writes-as-nobody: root … 65532"),
    (
        [("services.front.versions.v2", {"image": IMAGE, "writable": True})],
        "services.front.versions.v2.writable",
        "writes-as-nobody: v2",
    ),
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
