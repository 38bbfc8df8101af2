"""What the objects of a release are like: names, labels, rights, storage, and a form that the server leaves alone."""

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

from tests.support.release import RELEASES, at, names, one, page, shipped

IMAGE = "example.org/app:1.0"
SHIPPED = sorted(path.stem for path in RELEASES.glob("*.yml"))

each_release = pytest.mark.parametrize("name", SHIPPED)

# Everything that a page can say, at once.
FULL: dict[str, Any] = {
    "name": "full",
    "hosts": ["full.local"],
    "weights": {"v1": 50, "v2": 50},
    "override": {"hosts": {"next": "v2"}},
    "sticky": {"hash": {"header": "x-user"}},
    "gateway": {"ports": [80, 8080], "tls": {}},
    "limits": {"per_client": "10/minute", "total": "100/second"},
    "tracing": "10%",
    "image_pull_secrets": ["registry"],
    "services": {
        "web": {
            "image": IMAGE,
            "replicas": 2,
            "command": ["/app"],
            "args": ["--x"],
            "env": {"A": "1", "B": {"secret": "token", "key": "K"}, "C": {"field": "metadata.name"}},
            "config": {"MODE": "x"},
            "config_mount": "/etc/web",
            "secrets": "token",
            "mounts": {"disk": "/disk", "node": "/node", "room": "/room", "token": "/token"},
            "probes": {"ready": "/r", "live": {"path": "/l", "period": "10s", "port": 81}, "start": "/s"},
            "resources": {"cpu": 0.1, "memory": "1024Mi", "cpu_limit": 1, "memory_limit": "2Gi"},
            "min_available": 1,
            "protocol": "http2",
            "service_port": 80,
            "calls": ["api"],
            "callers": ["batch/report", "tools/*"],
            "circuit_breaking": {},
            "metrics": {"port": 9090, "labels": {"release": "prom"}},
            "service_per_version": True,
            "versions": {"v1": None, "v2": {"sidecar": False, "writable": True, "user": 1000, "drain": "0.5s"}},
        },
        "api": {
            "image": IMAGE,
            "autoscaling": {"min": 2, "max": 4, "cpu": "70%"},
            "metrics": "/m",
            "load_balancing": "least-requests",
            "versions": {"v1": None, "v2": None, "v3": {"shadow": "10%"}},
        },
    },
    "volumes": {
        "disk": {"size": "1Gi", "storage_class": "fast"}, "node": {"host_path": "/mnt/x"}, "room": {"temporary": "8Mi"},
    },
    "secrets": {"token": {"keys": {"K": {"environment": "TOKEN"}}}, "registry": {"existing": True}},
    "alerts": {"Errors": "errors > 5%"},
    "mail": {"to": ["a@b.c", "d@e.f"], "server": "mail.b.c:25", "tls": False},
    "alertmanager": "own",
    "tools": {
        "grafana": {"host": "grafana", "service": "graf.x:3000"}, "prometheus": {"host": "prom", "alias": "myprom"},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return plan(load(page(tmp_path_factory.mktemp("full"), FULL)))


def every(full: Plan) -> Iterator[Any]:
    yield from full.objects
    for name in SHIPPED:
        yield from shipped(name).objects


def pod(made: Plan, name: str) -> dict[str, Any]:
    found: dict[str, Any] = one(made, "Deployment", name)["spec"]["template"]
    return found


def container(made: Plan, name: str) -> dict[str, Any]:
    (found,) = pod(made, name)["spec"]["containers"]
    return dict(found)


def test_every_template_is_used_and_every_kind_can_be_taken_away(full: Plan) -> None:
    kinds = {(item["apiVersion"], item["kind"]) for item in every(full)} | {("v1", "Secret")}
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


def test_the_apps_own_container_is_restricted(full: Plan) -> None:
    for item in every(full):
        if item["kind"] != "Deployment":
            continue
        spec = item["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for each in spec["containers"]:
            assert each["securityContext"]["allowPrivilegeEscalation"] is False
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_container_writes_only_where_it_may(full: Plan) -> None:
    assert container(full, "web-v1")["securityContext"]["readOnlyRootFilesystem"] is True
    assert "slipway-tmp" in at(container(full, "web-v1"), "volumeMounts/*/name")
    assert container(full, "web-v2")["securityContext"]["readOnlyRootFilesystem"] is False
    assert "slipway-tmp" not in at(container(full, "web-v2"), "volumeMounts/*/name")
    assert pod(full, "web-v2")["spec"]["securityContext"]["runAsUser"] == 1000


def test_storage_of_every_sort(full: Plan) -> None:
    assert pod(full, "web-v1")["spec"]["volumes"] == [
        {"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}},
        {"name": "node", "hostPath": {"path": "/mnt/x", "type": "Directory"}},
        {"name": "room", "emptyDir": {"sizeLimit": "8Mi"}},
        {"name": "token", "secret": {"secretName": "token"}},
        {"name": "slipway-config", "configMap": {"name": "web-v1"}},
        {"name": "slipway-tmp", "emptyDir": {}},
    ]
    claim = one(full, "PersistentVolumeClaim", "disk")["spec"]
    assert claim == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "1Gi"}},
    }


def test_the_environment_of_a_container(full: Plan) -> None:
    found = container(full, "web-v1")
    assert found["envFrom"] == [{"configMapRef": {"name": "web-v1"}}, {"secretRef": {"name": "token"}}]
    assert found["env"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "token", "key": "K"}}},
        {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    assert (found["command"], found["args"]) == (["/app"], ["--x"])
    assert found["resources"] == {
        "requests": {"cpu": "100m", "memory": "1Gi"},
        "limits": {"cpu": "1", "memory": "2Gi"},
    }


def test_a_container_asks_by_itself_for_no_more_than_its_limit(tmp_path: Path) -> None:
    web = {"resources": {"memory_limit": "32Mi", "cpu_limit": "20m"}, "versions": {"v1": IMAGE}}
    found = container(plan(load(page(tmp_path, {"name": "a", "hosts": "a.b", "services": {"web": web}}))), "web-v1")
    assert found["resources"]["requests"] == found["resources"]["limits"] == {"cpu": "20m", "memory": "32Mi"}


def test_probes_are_asked_as_written_and_the_port_where_nothing_is(full: Plan) -> None:
    found = container(full, "web-v1")
    assert found["readinessProbe"]["httpGet"] == {"path": "/r", "port": 8080, "scheme": "HTTP"}
    assert found["livenessProbe"]["httpGet"] == {"path": "/l", "port": 81, "scheme": "HTTP"}
    assert (found["livenessProbe"]["periodSeconds"], found["startupProbe"]["httpGet"]["path"]) == (10, "/s")
    assert container(full, "api-v1")["readinessProbe"]["tcpSocket"] == {"port": 8080}


def test_a_pod_that_is_alive_is_not_ready_before_its_port_is_open(tmp_path: Path) -> None:
    web = {"probes": {"live": "/l"}, "versions": {"v1": IMAGE}}
    found = container(plan(load(page(tmp_path, {"name": "a", "hosts": "a.b", "services": {"web": web}}))), "web-v1")
    assert found["readinessProbe"]["tcpSocket"] == {"port": 8080}
    assert found["livenessProbe"]["httpGet"]["path"] == "/l"


def test_pods_leave_in_time(full: Plan) -> None:
    assert container(full, "web-v1")["lifecycle"] == {"preStop": {"sleep": {"seconds": 3}}}
    assert container(full, "web-v2")["lifecycle"] == {"preStop": {"sleep": {"seconds": 1}}}
    assert pod(full, "web-v1")["spec"]["terminationGracePeriodSeconds"] == 33


def test_the_proxy_is_chosen_pod_by_pod(full: Plan) -> None:
    inject = "sidecar.istio.io/inject"
    assert pod(full, "web-v1")["metadata"]["labels"][inject] == "true"
    assert pod(full, "web-v2")["metadata"]["labels"][inject] == "false"
    assert pod(full, "api-v3")["metadata"]["labels"]["traffic"] == "shadow"


def test_many_pods_spread_and_the_autoscaler_sets_their_number(full: Plan) -> None:
    assert "replicas" not in one(full, "Deployment", "api-v1")["spec"]
    assert "topologySpreadConstraints" in pod(full, "api-v1")["spec"]
    assert "topologySpreadConstraints" not in pod(shipped("hello"), "model-v1")["spec"]
    scaler = one(full, "HorizontalPodAutoscaler", "api-v1")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 4)
    assert at(scaler, "metrics/*/containerResource/target") == [{"type": "Utilization", "averageUtilization": 70}]
    assert at(scaler, "metrics/*/containerResource/container") == ["api"]
    assert one(full, "PodDisruptionBudget", "web-v1")["spec"]["minAvailable"] == 1


def test_another_config_restarts_pods_and_another_weight_does_not(tmp_path: Path) -> None:
    before = plan(load(page(tmp_path, FULL)))
    changed = json.loads(json.dumps(FULL))
    changed["services"]["web"]["config"]["MODE"] = "y"
    after = plan(load(page(tmp_path, changed)))
    digest = "slipway.io/config"
    assert (
        pod(before, "web-v1")["metadata"]["annotations"][digest]
        != pod(after, "web-v1")["metadata"]["annotations"][digest]
    )
    assert pod(before, "api-v1") == pod(after, "api-v1")


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
                assert re.match(r"(http|http2|grpc)(-|$)", port["name"])
                assert port["appProtocol"] in ("http", "http2", "grpc")
    ports = one(full, "Service", "web")["spec"]["ports"]
    assert [(port["name"], port["port"], port["targetPort"]) for port in ports] == [
        ("http2", 80, "http2"),
        ("http-metrics", 9090, "http-metrics"),
    ]
    listed = pod(full, "web-v1")["spec"]["containers"][0]["ports"]
    assert {port["name"]: port["containerPort"] for port in listed} == {"http2": 8080, "http-metrics": 9090}
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


def test_only_those_may_call_whose_calls_name_it(full: Plan) -> None:
    gateway = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
    web = one(full, "AuthorizationPolicy", "web-v1")["spec"]
    assert web["selector"] == {"matchLabels": {"app": "web", "version": "v1", "slipway.io/release": "full"}}
    assert at(web, "rules/0/from/0/source/principals/*") == [gateway, "cluster.local/ns/batch/sa/report"]
    assert at(web, "rules/0/from/1/source/namespaces/*") == ["tools"]
    scrape = web["rules"][1]
    assert at(scrape, "from/*/source/principals/*") == ["cluster.local/ns/monitoring/sa/prometheus"]
    assert scrape["to"] == [{"operation": {"methods": ["GET"], "paths": ["/metrics"], "ports": ["9090"]}}]
    assert at(one(full, "AuthorizationPolicy", "api-v2"), "spec/rules/0/from/*/source/principals/*") == [
        "cluster.local/ns/full/sa/web-v2"
    ]
    assert at(one(full, "AuthorizationPolicy", "api-v3"), "spec/rules/0/from/*/source/principals/*") == [
        "cluster.local/ns/full/sa/web-v1",
        "cluster.local/ns/full/sa/web-v2",
    ]


def test_a_caller_may_be_of_the_releases_own_namespace_whatever_that_is() -> None:
    for namespace in ("default", "trial"):
        policy = one(shipped("sentiment", namespace=namespace), "AuthorizationPolicy", "sentiment-artifacts-v1")
        assert at(policy, "spec/rules/0/from/*/source/principals/*") == [
            f"cluster.local/ns/{namespace}/sa/sentiment-model-v1"
        ]


def test_whom_nobody_calls_lets_nobody_in(tmp_path: Path) -> None:
    services = {"web": {"versions": {"v1": IMAGE}}, "lone": {"versions": {"v1": IMAGE}}}
    made = plan(load(page(tmp_path, {"name": "a", "hosts": "a.b", "services": services})))
    spec = one(made, "AuthorizationPolicy", "lone-v1")["spec"]
    labels = {"app": "lone", "version": "v1", "slipway.io/release": "a"}
    assert spec == {"selector": {"matchLabels": labels}, "action": "ALLOW"}


def test_plain_callers_get_in_where_the_page_says_so_and_nowhere_else(tmp_path: Path) -> None:
    services = {
        "web": {"calls": ["api"], "versions": {"v1": IMAGE}},
        "api": {"callers": ["legacy/*", "plain"], "versions": {"v1": IMAGE}},
    }
    values = {"name": "a", "hosts": "a.b", "mtls": "permissive", "services": services}
    made = plan(load(page(tmp_path, values)))
    (rule,) = one(made, "AuthorizationPolicy", "api-v1")["spec"]["rules"]
    caller = "cluster.local/ns/a/sa/web-v1"
    sources = [{"principals": [caller]}, {"namespaces": ["legacy"]}, {"notPrincipals": ["*"]}]
    assert [each["source"] for each in rule["from"]] == sources
    assert "notPrincipals" not in str(one(made, "AuthorizationPolicy", "web-v1"))
    assert made.facts["plain"] == ["api"]


def test_an_open_release_has_no_rules_of_access(tmp_path: Path) -> None:
    made = plan(load(page(tmp_path, {**FULL, "access": "open", "mtls": "permissive"})))
    assert names(made, "AuthorizationPolicy") == set()
    assert made.facts["access"] == []
    assert one(made, "PeerAuthentication", "full")["spec"]["mtls"] == {"mode": "PERMISSIVE"}


def test_policies_reach_the_pods_of_this_release_and_no_others(full: Plan) -> None:
    own = {"slipway.io/release": "full"}
    for kind in ("PeerAuthentication", "Telemetry"):
        assert one(full, kind, "full")["spec"]["selector"] == {"matchLabels": own}
    assert one(full, "PeerAuthentication", "full")["spec"]["mtls"] == {"mode": "STRICT"}
    assert one(full, "Telemetry", "full")["spec"]["tracing"] == [{"randomSamplingPercentage": 10}]
    assert own.items() <= pod(full, "web-v1")["metadata"]["labels"].items()


def selected(made: Plan) -> dict[str, dict[str, str]]:
    """What each object says of the pods that it is about, but for Deployments, whose pods have an owner."""
    found = {
        identity(item): at(item, "spec/selector/matchLabels") or at(item, "spec/selector")
        for item in made.objects
        if item["kind"] in ("Service", "AuthorizationPolicy", "PeerAuthentication", "PodDisruptionBudget")
    }
    spread = "spec/template/spec/topologySpreadConstraints/*/labelSelector/matchLabels"
    found |= {f"spread/{identity(item)}": at(item, spread) for item in made.objects}
    return {name: labels for name, several in found.items() for labels in several}


def test_a_service_of_the_same_name_in_another_release_of_the_namespace_is_another(tmp_path: Path) -> None:
    ours = plan(load(page(tmp_path, {**FULL, "namespace": "shared", "alertmanager": None, "tools": {}})))
    others = plan(load(page(tmp_path, {**FULL, "namespace": "shared", "name": "other"})))
    theirs = [pod(others, name)["metadata"]["labels"] for name in names(others, "Deployment")]
    chosen = selected(ours)
    assert {name.partition("/")[0] for name in chosen} == {
        *("Service", "AuthorizationPolicy", "PeerAuthentication", "PodDisruptionBudget", "spread")
    }
    for name, labels in chosen.items():
        assert not any(labels.items() <= pods.items() for pods in theirs), name
        assert any(
            labels.items() <= pod(ours, each)["metadata"]["labels"].items() for each in names(ours, "Deployment")
        )


def test_the_selector_of_a_deployment_has_nothing_that_a_page_may_change(full: Plan) -> None:
    found = one(full, "Deployment", "web-v1")["spec"]["selector"]
    assert found == {"matchLabels": {"app": "web", "slipway.io/version": "v1", "slipway.io/workload": "web-v1"}}


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
        {"name": "token", "existing": False, "keys": {"K": {"environment": "TOKEN"}}},
        {"name": "registry", "existing": True, "keys": {}},
    ]
    assert "Secret/full/token" in full.keep
    assert "Secret/full/registry" not in full.keep
    assert not any(item["kind"] == "Secret" for item in full.objects)
    assert pod(full, "web-v1")["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_a_secret_is_made_of_values_that_only_the_role_has() -> None:
    carried = {"slipway.io/revision": "1"}
    values = {"labels": {"a": "b"}, "annotations": carried, "data": {"K": "c2VjcmV0"}}
    (made,) = render("secret", name="s", namespace="n", **values)
    assert made["data"] == {"K": "c2VjcmV0"}
    assert made["metadata"]["annotations"] == carried
    assert made["type"] == "Opaque"


@pytest.mark.parametrize("image", ["a/b", "a/b:latest"])
def test_an_image_that_moves_is_pulled_every_time(tmp_path: Path, image: str) -> None:
    values = {"name": "a", "hosts": "a.b", "services": {"web": {"versions": {"v1": image}}}}
    assert container(plan(load(page(tmp_path, values))), "web-v1")["imagePullPolicy"] == "Always"
    assert container(shipped("hello"), "model-v1")["imagePullPolicy"] == "IfNotPresent"


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
        assert path.name == "dashboard.yml.j2" or re.search(r"^apiVersion: \S+$", text, re.M), path.name
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
