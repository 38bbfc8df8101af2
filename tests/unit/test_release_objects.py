"""A release becomes objects with names, labels and secrets of their own, in a form that the server leaves alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.cluster.objects import identity
from slipway.release.objects import KINDS
from slipway.release.planner import Plan, plan
from slipway.release.render import TEMPLATES, render, to_json
from slipway.release.spec import load

from tests.support.full_release import FULL, IMAGE, SHIPPED, every, full_plan, pod
from tests.support.release import RELEASES, at, names, one, page, shipped
from tests.support.release_changes import changed

each_release = pytest.mark.parametrize("name", SHIPPED)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return full_plan(tmp_path_factory.mktemp("full"))


def test_every_template_is_used_and_every_kind_can_be_taken_away(full: Plan, tmp_path: Path) -> None:
    by_routes = plan(load(page(tmp_path, changed(("output", "gateway-api"), ("sticky", "none")))))
    kinds = {(item["apiVersion"], item["kind"]) for item in [*every(full), *by_routes.objects]} | {("v1", "Secret")}
    assert kinds == set(KINDS)


def test_every_object_carries_what_pruning_goes_by(full: Plan) -> None:
    for item in full.objects:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "slipway", identity(item)
        assert full.selector.items() <= labels.items()
    assert full.selector == {"slipway.io/release": "full", "slipway.io/namespace": "full"}


def test_no_two_objects_have_one_name(full: Plan) -> None:
    for made in (full, *map(shipped, SHIPPED)):
        found = [identity(item) for step in made.steps if step.name != "retired" for item in step.objects]
        assert len(found) == len(set(found))


def test_nothing_is_empty_that_the_server_would_drop(full: Plan) -> None:
    def empties(node: Any, path: str) -> Iterator[str]:
        if node in ({}, [], None) and not path.endswith(("/emptyDir", "/remote_address", "annotations/list", "/links")):
            yield path
        for key, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            yield from empties(inner, f"{path}/{key}")

    assert [path for item in every(full) for path in empties(item, identity(item))] == []


def test_labels_annotations_and_data_are_texts(full: Plan) -> None:
    for item in every(full):
        maps = [*at(item, "metadata/labels"), *at(item, "data"), *at(item, "spec/template/metadata/annotations")]
        assert all(isinstance(value, str) for some in maps for value in some.values()), identity(item)


def test_a_plan_is_the_same_every_time_and_is_json(full: Plan) -> None:
    again = plan(load(RELEASES / "sms-checker.yml"))
    assert json.dumps(again.as_dict()) == json.dumps(shipped("sms-checker").as_dict())
    assert json.loads(json.dumps(full.as_dict()))["keep"] == full.keep


@pytest.mark.parametrize("weights", [{"v1": 50, "v2": 50}, {"v1": 0, "v2": 100}, {"v1": 100, "v2": 0}])
@pytest.mark.parametrize("name", ["hello", "sms-checker", "app-frontend"])
def test_other_weights_change_routes_and_nothing_else(name: str, weights: dict[str, int]) -> None:
    before = {identity(item): item for item in shipped(name).objects}
    after = {identity(item): item for item in shipped(name, weights=weights).objects}
    assert before.keys() == after.keys()
    changed = {kind for kind in before if before[kind] != after[kind]}
    entry = {key for key in changed if key.startswith("VirtualService/")}
    # Calls of nobody known go to the heaviest version, so inner rules may change too.
    assert changed == entry
    assert entry


def test_ports_are_named_so_that_the_mesh_knows_them(full: Plan) -> None:
    for item in every(full):
        if item["kind"] == "Service":
            for port in item["spec"]["ports"]:
                assert re.match(r"(http|http2|grpc|tcp)(-|$)", port["name"])
                assert port["appProtocol"] == port["name"].partition("-")[0] or port["appProtocol"] in (
                    "http",
                    "http2",
                    "grpc",
                )
    ports = one(full, "Service", "web")["spec"]["ports"]
    assert [(port["name"], port["port"], port["targetPort"]) for port in ports] == [
        ("http2", 80, "http2"),
        ("http-admin", 9000, "http-admin"),
        ("tcp-raw", 9001, "tcp-raw"),
        ("http-metrics", 9090, "http-metrics"),
    ]
    listed = pod(full, "web-v1")["spec"]["containers"][0]["ports"]
    numbers = {"http2": 8080, "http-admin": 9000, "tcp-raw": 9001, "http-metrics": 9090}
    assert {port["name"]: port["containerPort"] for port in listed} == numbers
    assert at(one(full, "VirtualService", "full-entry"), "spec/http/*/route/*/destination/port/number")[0] == 80


def test_a_service_for_each_version_is_not_scraped_twice(full: Plan) -> None:
    assert one(full, "Service", "web-v2")["spec"]["selector"] == {
        "app": "web",
        "version": "v2",
        "slipway.io/release": "full",
    }
    monitor = one(full, "ServiceMonitor", "web")
    selector = monitor["spec"]["selector"]
    (expression,) = selector["matchExpressions"]
    chosen = [
        item["metadata"]["name"]
        for item in full.objects
        if item["kind"] == "Service"
        and selector["matchLabels"].items() <= item["metadata"]["labels"].items()
        and item["metadata"]["labels"].get(expression["key"]) in expression["values"]
    ]
    assert chosen == ["web"]
    assert monitor["spec"]["endpoints"] == [{"port": "http-metrics", "path": "/metrics", "interval": "15s"}]
    assert monitor["metadata"]["labels"]["release"] == "prom"


def test_a_circuit_breaker_and_a_balancer(full: Plan) -> None:
    web = one(full, "DestinationRule", "web")["spec"]["trafficPolicy"]
    assert web["connectionPool"] == {
        "tcp": {"maxConnections": 100},
        "http": {"http1MaxPendingRequests": 100, "http2MaxRequests": 200},
    }
    assert web["outlierDetection"] == {
        "consecutive5xxErrors": 5,
        "interval": "10s",
        "baseEjectionTime": "30s",
        "maxEjectionPercent": 50,
    }
    assert one(full, "DestinationRule", "api")["spec"]["trafficPolicy"] == {"loadBalancer": {"simple": "LEAST_REQUEST"}}


def test_the_gateway_has_its_ports_and_hosts(full: Plan) -> None:
    servers = one(full, "Gateway", "full")["spec"]["servers"]
    assert at(servers, "*/port") == [
        {"number": 80, "name": "http-80", "protocol": "HTTP"},
        {"number": 8080, "name": "http-8080", "protocol": "HTTP"},
        {"number": 443, "name": "https-443", "protocol": "HTTPS"},
    ]
    hosts = ["full.local", "next.full.local", "grafana.full.local", "prom.full.local"]
    assert all(server["hosts"] == hosts for server in servers)


def test_another_gateway_can_be_used(tmp_path: Path) -> None:
    made = plan(load(page(tmp_path, {**FULL, "gateway": {"use": "istio-system/shared"}})))
    assert names(made, "Gateway") == set()
    assert one(made, "VirtualService", "full-entry")["spec"]["gateways"] == ["istio-system/shared"]
    assert one(made, "VirtualService", "full-grafana")["spec"]["gateways"] == ["istio-system/shared"]


def test_tools_answer_where_they_are_or_under_an_alias(full: Plan) -> None:
    direct = at(one(full, "VirtualService", "full-grafana"), "spec/http/*/route/*/destination")
    assert direct == [{"host": "graf.x.svc.cluster.local", "port": {"number": 3000}}]
    aliased = at(one(full, "VirtualService", "full-prometheus"), "spec/http/*/route/*/destination")
    assert aliased == [{"host": "myprom.full.svc.cluster.local", "port": {"number": 9090}}]
    alias = one(full, "Service", "myprom")["spec"]
    assert (alias["type"], alias["externalName"]) == ("ExternalName", "prometheus.monitoring.svc.cluster.local")


def test_mail_goes_by_the_releases_own_alertmanager(full: Plan) -> None:
    config = one(full, "AlertmanagerConfig", "full")
    own = one(full, "Alertmanager", "own")["spec"]
    assert own["alertmanagerConfigSelector"]["matchLabels"].items() <= config["metadata"]["labels"].items()
    matchers = {entry["name"]: entry["value"] for entry in config["spec"]["route"]["matchers"]}
    labels = at(one(full, "PrometheusRule", "full"), "spec/groups/*/rules/*/labels")[0]
    assert matchers.items() <= labels.items()
    receiver = config["spec"]["receivers"][0]["emailConfigs"]
    assert [(entry["to"], entry["from"], entry["requireTLS"]) for entry in receiver] == [
        ("a@b.c", "a@b.c", False),
        ("d@e.f", "a@b.c", False),
    ]
    assert "authPassword" not in receiver[0]
    assert one(full, "Service", "own")["metadata"]["labels"]["slipway.io/alertmanager"] == "own"


def test_the_releases_own_alertmanager_runs_and_alone_gets_the_releases_alerts(full: Plan) -> None:
    own = one(full, "Alertmanager", "own")
    # Prometheus finds its pods by this, and hands it only alerts with its name.
    assert own["spec"]["podMetadata"]["labels"]["slipway.io/alertmanager"] == "own"
    labels = at(one(full, "PrometheusRule", "full"), "spec/groups/*/rules/*/labels")
    assert {rule["alertmanager"] for rule in labels} == {"own"}
    # The operator may run it in the release's namespace, and gets the right before it sees the Alertmanager.
    rights = one(full, "RoleBinding", "own")
    assert rights["metadata"]["namespace"] == "full"
    assert rights["roleRef"]["name"] == "monitoring:alertmanager"
    assert rights["subjects"] == [{"kind": "ServiceAccount", "namespace": "monitoring", "name": "prometheus-operator"}]
    order = [item["kind"] for item in full.objects]
    assert order.index("RoleBinding") < order.index("Alertmanager")


def test_a_release_without_an_alertmanager_leaves_its_alerts_to_the_clusters() -> None:
    made = shipped("app-frontend")
    assert names(made, "RoleBinding") == names(made, "Alertmanager") == set()
    (rule,) = at(one(made, "PrometheusRule", "app-frontend"), "spec/groups/*/rules/*/labels")
    assert "alertmanager" not in rule
    assert "slipway.io/alertmanager" not in one(made, "AlertmanagerConfig", "app-frontend")["metadata"]["labels"]


def test_the_namespace_says_what_pods_may_do(full: Plan) -> None:
    labels = one(full, "Namespace", "full")["metadata"]["labels"]
    prefix = "pod-security.kubernetes.io/"
    assert {key.removeprefix(prefix): value for key, value in labels.items() if key.startswith(prefix)} == {
        "enforce": "privileged",
        "warn": "restricted",
        "audit": "restricted",
    }
    assert names(shipped("sms-checker"), "Namespace") == set()


def test_secrets_are_named_and_never_held(full: Plan) -> None:
    assert full.secrets == [
        {"name": "token", "existing": False, "type": "Opaque", "keys": {"K": {"environment": "TOKEN"}}},
        {"name": "registry", "existing": True, "type": "Opaque", "keys": {}},
    ]
    assert "Secret/full/token" in full.keep
    assert "Secret/full/registry" not in full.keep
    assert not any(item["kind"] == "Secret" for item in full.objects)
    assert pod(full, "web-v1")["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_a_secret_is_made_of_values_that_only_the_role_has() -> None:
    carried = {"slipway.io/revision": "1"}
    values = {"labels": {"a": "b"}, "annotations": carried, "data": {"K": "c2VjcmV0"}, "type": "kubernetes.io/tls"}
    (made,) = render("secret", name="s", namespace="n", **values)
    assert made["data"] == {"K": "c2VjcmV0"}
    assert made["metadata"]["annotations"] == carried
    assert made["type"] == "kubernetes.io/tls"


@pytest.mark.parametrize(
    "text", ["plain", "yes", "1.0", "a: b # c", 'say "hi"', "{{ x }}", "\u2028\x7f\x85é💥", "line\nbreak", "\\"]
)
def test_a_value_comes_through_a_template_as_it_is(text: str) -> None:
    (made,) = render("config-map", name="a", namespace="b", labels={"a": "b"}, data={"key": text})
    assert made["data"] == {"key": text}


def test_what_yaml_cannot_hold_is_escaped() -> None:
    assert to_json("\ud800\x7fé") == r'"\ud800\u007fé"'


def test_templates_look_like_manifests() -> None:
    for path in TEMPLATES.glob("*.j2"):
        text = path.read_text(encoding="utf-8")
        assert path.name in ("dashboard.yml.j2", "pod-template.yml.j2") or re.search(
            r"^apiVersion: \S+$", text, re.M
        ), path.name
        assert "| default" not in text


@each_release
def test_dashboards_are_what_grafana_reads(name: str) -> None:
    made = shipped(name)
    found = [
        (key, json.loads(text))
        for item in made.objects
        if item["kind"] == "ConfigMap" and item["metadata"]["labels"].get("grafana_dashboard") == "1"
        for key, text in item["data"].items()
    ]
    assert found
    assert len({board["uid"] for _, board in found}) == len(found)
    for key, board in found:
        assert key.endswith(".json")
        assert board["panels"]
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        assert {variable["name"] for variable in board["templating"]["list"]} == {"datasource", "version"}
        assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])


def test_dashboards_with_long_names_are_two(tmp_path: Path) -> None:
    name = "customer-notification-" + "x" * 18
    values = {"name": name, "hosts": "a.b", "services": {"web": {"versions": {"v1": IMAGE}}}}
    made = plan(load(page(tmp_path, values)))
    data = one(made, "ConfigMap", f"{name}-dashboards")["data"]
    found = {json.loads(text)["uid"] for text in data.values()}
    assert len(found) == len(data) == 2
    assert {len(uid) for uid in found} == {40}
    short = plan(load(page(tmp_path, {**values, "name": "a"})))
    assert json.loads(one(short, "ConfigMap", "a-dashboards")["data"]["versions.json"])["uid"] == "a-a-versions"


def test_a_release_can_be_written_as_yaml(full: Plan) -> None:
    assert list(yaml.safe_load_all(yaml.safe_dump_all(full.objects))) == full.objects
