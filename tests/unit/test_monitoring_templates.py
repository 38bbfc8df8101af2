"""What role monitoring applies: rights, selectors, and what its relabelling makes of targets and series."""

from __future__ import annotations

import base64
import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles/monitoring"
GIVEN = {
    "monitoring_operator_image": "quay.io/prometheus-operator/prometheus-operator:v0.85.0",
    "monitoring_reloader_image": "quay.io/prometheus-operator/prometheus-config-reloader:v0.85.0",
    "monitoring_prometheus_image": "quay.io/prometheus/prometheus:v3.15.0",
    "monitoring_alertmanager_image": "quay.io/prometheus/alertmanager:v0.31.0",
    "monitoring_node_exporter_image": "quay.io/prometheus/node-exporter:v1.12.1",
    "monitoring_kube_state_metrics_image": "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.19.1",
    "monitoring_mesh_image": "docker.io/istio/proxyv2:1.31.0",
}
MAIL = {"to": "ops@example.org", "from": "cluster@example.org", "smarthost": "smtp.example.org:587"}
TEMPLATES = (
    "operator",
    "node-exporter",
    "kube-state-metrics",
    "prometheus",
    "alertmanager",
    "targets",
    "rules",
    "dashboards",
)

# What a release lends the operator for its own namespace.
LENT = "monitoring:alertmanager"
ROLES = {"monitoring:operator", "monitoring:prometheus", "monitoring:kube-state-metrics"}

Labels = dict[str, str]


@pytest.fixture(scope="module", autouse=True)
def _plugins() -> None:
    init_plugin_loader()


def templar(**settings: Any) -> Templar:
    loader = DataLoader()
    variables: dict[str, Any] = {"ansible_search_path": [str(ROLE)]}
    for name in ("defaults/main.yml", "vars/main.yml"):
        variables |= loader.load_from_file(str(ROLE / name), trusted_as_template=True)
    return Templar(loader=loader, variables={**variables, **GIVEN, **settings})


@functools.cache
def text_of(template: str, settings: str) -> str:
    given = templar(**json.loads(settings))
    return str(given.template(trust_as_template((ROLE / f"templates/{template}.yml.j2").read_text())))


def rendered(template: str, **settings: Any) -> list[dict[str, Any]]:
    """The documents that ``template`` makes of the role's defaults and ``settings``."""
    documents = yaml.load_all(text_of(template, json.dumps(settings)), Loader=yaml.CSafeLoader)
    return [document for document in documents if document]


def everything(**settings: Any) -> list[dict[str, Any]]:
    return [document for template in TEMPLATES for document in rendered(template, **settings)]


def one(kind: str, name: str, **settings: Any) -> dict[str, Any]:
    (found,) = (o for o in everything(**settings) if o["kind"] == kind and o["metadata"]["name"] == name)
    return found


def relabelled(labels: Labels, rules: list[dict[str, Any]]) -> Labels | None:
    """What Prometheus makes of a set of labels; None for one that is dropped."""
    now = dict(labels)
    for rule in rules:
        action, separator = rule.get("action", "replace"), rule.get("separator", ";")
        value = separator.join(now.get(name, "") for name in rule.get("sourceLabels", []))
        pattern = re.compile(rule.get("regex", "(.*)"), re.DOTALL)
        found = pattern.fullmatch(value)
        replacement = re.sub(r"\$(\d+)", r"\\g<\1>", rule.get("replacement", "$1"))
        if (action == "keep" and not found) or (action == "drop" and found):
            return None
        if action == "replace" and found:
            target = found.expand(re.sub(r"\$(\d+)", r"\\g<\1>", rule["targetLabel"]))
            now[target] = found.expand(replacement)
        elif action == "labelmap":
            now |= {hit.expand(replacement): now[name] for name in list(now) if (hit := pattern.fullmatch(name))}
        elif action == "labeldrop":
            now = {name: text for name, text in now.items() if not pattern.fullmatch(name)}
        now = {name: text for name, text in now.items() if text}
    return now


@pytest.mark.parametrize("mesh", [False, True])
@pytest.mark.parametrize("persistent", [False, True])
def test_every_object_is_whole(mesh: bool, persistent: bool) -> None:
    settings = {"monitoring_mesh": mesh, "monitoring_metallb": mesh, "monitoring_persistent": persistent}
    made = everything(**settings)
    names = [(thing["kind"], thing["metadata"].get("namespace", ""), thing["metadata"]["name"]) for thing in made]
    assert len(set(names)) == len(names)
    assert len(names) > 20
    assert ("storage" in one("Prometheus", "main", **settings)["spec"]) == persistent


def test_every_name_is_one_that_the_api_server_takes() -> None:
    subdomain = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
    for thing in everything():
        # Of accounts' rights alone names may have a colon, and theirs do.
        if not thing["apiVersion"].startswith("rbac.authorization.k8s.io/"):
            assert subdomain.fullmatch(thing["metadata"]["name"]), thing["metadata"]["name"]


def test_nobody_may_do_everything() -> None:
    for thing in everything(monitoring_mesh=True):
        for rule in thing.get("rules", []):
            assert "*" not in str(rule), thing["metadata"]["name"]
        if thing["kind"].endswith("RoleBinding"):
            assert thing["roleRef"]["name"] in {*ROLES, "prometheus-operator"}


def test_the_operator_writes_only_where_it_runs_something() -> None:
    writing = {"create", "update", "patch", "delete"}
    # How an Alertmanager is, and nothing that it consists of.
    harmless = (["events"], ["alertmanagers/finalizers", "alertmanagers/status"])
    for thing in everything():
        if thing["kind"] == "ClusterRole":
            for rule in thing["rules"]:
                if thing["metadata"]["name"] != LENT and rule.get("resources") not in harmless:
                    assert not writing & set(rule["verbs"])
    roles = [t for t in everything(monitoring_instance_namespaces=["monitoring", "shop"]) if t["kind"] == "Role"]
    assert [role["metadata"]["namespace"] for role in roles] == ["monitoring", "shop"]


def test_the_operator_runs_an_alertmanager_wherever_a_binding_lets_it() -> None:
    arguments = one("Deployment", "prometheus-operator")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert not [argument for argument in arguments if "alertmanager-instance-namespaces" in argument]
    everywhere = one("ClusterRole", "monitoring:operator")["rules"]
    assert {"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get", "list", "watch"]} in everywhere
    # Lent by RoleBindings alone: bound here, it would be a right everywhere.
    bound = [thing["roleRef"]["name"] for thing in everything() if thing["kind"].endswith("RoleBinding")]
    assert LENT not in bound
    (rule,) = (rule for rule in one("ClusterRole", LENT)["rules"] if "secrets" in rule["resources"])
    assert set(rule["verbs"]) == {"get", "create", "update", "delete"}


def test_prometheus_reads_no_secret() -> None:
    rules = one("ClusterRole", "monitoring:prometheus")["rules"]
    assert "secrets" not in str(rules)
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}


def test_objects_of_every_namespace_are_taken_whatever_their_labels() -> None:
    spec = one("Prometheus", "main")["spec"]
    for kind in ("serviceMonitor", "podMonitor", "probe", "scrapeConfig", "rule"):
        assert spec[f"{kind}Selector"] == {}
        assert spec[f"{kind}NamespaceSelector"] == {}
    spec = one("Alertmanager", "main")["spec"]
    # But those that a release's own Alertmanager mails.
    assert spec["alertmanagerConfigSelector"] == {
        "matchExpressions": [{"key": "slipway.io/alertmanager", "operator": "DoesNotExist"}]
    }
    assert spec["alertmanagerConfigNamespaceSelector"] == {}
    assert spec["alertmanagerConfigMatcherStrategy"] == {"type": "None"}


@pytest.mark.parametrize(("mesh", "names"), [(False, ["cluster"]), (True, ["cluster", "mesh"])])
def test_dashboards_are_where_grafana_finds_them(mesh: bool, names: list[str]) -> None:
    maps = [thing for thing in rendered("dashboards", monitoring_mesh=mesh) if thing["kind"] == "ConfigMap"]
    assert [thing["metadata"]["name"] for thing in maps] == [f"dashboard-{name}" for name in names]
    for name, thing in zip(names, maps, strict=True):
        assert thing["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(thing["data"][f"{name}.json"])["uid"] == f"slipway-{name}"


def test_a_dashboard_that_would_not_be_shown_is_refused_wherever_it_comes_from() -> None:
    policy = one("ValidatingAdmissionPolicy", "monitoring-dashboards")["spec"]
    assert policy["matchConstraints"]["objectSelector"] == {"matchLabels": {"grafana_dashboard": "1"}}
    assert [validation["expression"].split("(key, ", 1)[1] for validation in policy["validations"]] == [
        "key.endsWith('.json'))",
        "object.data[key].trim().startsWith('{') && object.data[key].trim().endsWith('}'))",
    ]
    (filled,) = policy["variables"]
    assert filled["expression"].startswith("has(object.data) ? object.data.filter(")
    assert all(validation["expression"].startswith("variables.filled.all(") for validation in policy["validations"])
    binding = one("ValidatingAdmissionPolicyBinding", "monitoring-dashboards")["spec"]
    assert binding == {"policyName": "monitoring-dashboards", "validationActions": ["Deny"]}


def test_no_container_may_become_root_but_the_node_keeps_its_own() -> None:
    for name, kind in (("prometheus-operator", "Deployment"), ("node-exporter", "DaemonSet")):
        spec = one(kind, name)["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        (container,) = spec["containers"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"]
    mounts = one("DaemonSet", "node-exporter")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert all(mount["readOnly"] for mount in mounts)


# --- the way to a target

POD = {"__scheme__": "http", "__address__": "10.244.1.5:8080", "__metrics_path__": "/metrics"}
MESHED = {**POD, "__meta_kubernetes_pod_label_security_istio_io_tlsMode": "istio"}
EXCLUDED = "__meta_kubernetes_pod_annotation_traffic_sidecar_istio_io_excludeInboundPorts"


def mesh_class() -> list[dict[str, Any]]:
    classes = one("Prometheus", "main", monitoring_mesh=True)["spec"]["scrapeClasses"]
    (found,) = (scrape["relabelings"] for scrape in classes if scrape.get("default"))
    assert isinstance(found, list)
    return found


def target(labels: Labels) -> Labels:
    made = relabelled(labels, mesh_class())
    assert made is not None
    return made


def test_a_port_behind_a_sidecar_is_asked_through_the_mesh_under_its_own_name() -> None:
    made = target(MESHED)
    assert made["__address__"] == "127.0.0.1:15099"
    assert made["__metrics_path__"] == "/10.244.1.5:8080/metrics"
    assert made["instance"] == "10.244.1.5:8080"


@pytest.mark.parametrize(
    "labels",
    [
        POD,
        {**MESHED, "__address__": "10.244.1.5:15090"},
        {**MESHED, "__address__": "10.244.1.5:15020"},
        {**MESHED, "__scheme__": "https"},
        {**MESHED, EXCLUDED: "8080"},
        {**MESHED, EXCLUDED: "9090,8080"},
        {**MESHED, EXCLUDED: "1,2,3,8080,9"},
    ],
)
def test_what_no_sidecar_guards_is_asked_directly(labels: Labels) -> None:
    made = target(labels)
    assert made["__address__"] == labels["__address__"]
    assert made["__metrics_path__"] == "/metrics"
    assert "instance" not in made


def test_another_port_that_is_left_alone_changes_nothing() -> None:
    assert target({**MESHED, EXCLUDED: "80,18080"})["__address__"] == "127.0.0.1:15099"


def test_without_a_mesh_there_is_no_default_class_and_no_proxy() -> None:
    spec = one("Prometheus", "main")["spec"]
    assert [scrape["name"] for scrape in spec["scrapeClasses"]] == ["kubernetes"]
    assert [each["name"] for each in spec["containers"]] == ["config-reloader"]
    assert "volumes" not in spec


# --- one set of labels for two sorts of proxies

POD_LABELS = {"namespace": "istio-system", "pod": "istio-ingressgateway-1", "source": "istio-ingressgateway"}
HOST = "outbound|80|v2|frontend.shop.svc.cluster.local"
ISTIO = {
    "reporter": "source",
    "destination_service_name": "frontend",
    "destination_service_namespace": "shop",
    "destination_version": "v2",
    "response_code": "200",
}
CALL = {"namespace": "shop", "service": "frontend", "version": "v2", "source": "istio-ingressgateway"}


def series(name: str, labels: Labels) -> Labels | None:
    (endpoint,) = one("PodMonitor", "mesh", monitoring_mesh=True)["spec"]["podMetricsEndpoints"]
    return relabelled({"__name__": name, **POD_LABELS, **labels}, endpoint["metricRelabelings"])


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("istio_requests_total", ISTIO),
        ("envoy_cluster_upstream_rq", {"cluster_name": HOST, "response_code": "200"}),
        ("envoy_slipway_requests", {"cluster_name": HOST, "response_code": "200"}),
        ("envoy_slipway_requests", {"cluster_name": HOST, "response_code": "200", "grpc_response_status": "0"}),
        ("istio_requests_total", {**ISTIO, "grpc_response_status": "0"}),
    ],
)
def test_both_sorts_of_proxies_say_what_was_called_in_the_same_labels(name: str, labels: Labels) -> None:
    made = series(name, labels)
    assert made is not None
    assert {key: made[key] for key in CALL} == CALL
    assert made["code"] == "200"
    assert made["source_namespace"] == "istio-system"
    assert not [key for key in made if key.startswith("__tmp")]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((status, "500") for status in ("2", "13", "15")),
        ("4", "504"),
        ("12", "501"),
        ("14", "503"),
        ("1", "499"),
        *((status, "400") for status in ("3", "9", "11")),
        ("5", "404"),
        ("7", "403"),
        ("8", "429"),
        ("16", "401"),
        *((status, "409") for status in ("6", "10")),
        # None, and one that does not exist.
        ("0", "200"),
        ("17", "200"),
        ("", "200"),
    ],
)
@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("istio_requests_total", ISTIO),
        ("envoy_slipway_requests", {"cluster_name": HOST, "response_code": "200"}),
        ("envoy_slipway_unrouted", {"route": "shop/hello:frontend:/:weights", "response_code": "200"}),
    ],
)
def test_a_call_of_grpc_has_the_code_that_http_has_for_its_status(
    name: str, labels: Labels, status: str, code: str
) -> None:
    made = series(name, {**labels, "grpc_response_status": status})
    assert made is not None
    assert made["code"] == code
    assert made.get("grpc_response_status", "") == status, "or it would be one with answers of HTTP"
    made = series(name, {**labels, "response_code": "502", "grpc_response_status": status})
    assert made is not None
    assert made["code"] == "502"


@pytest.mark.parametrize(
    ("flags", "status", "code"),
    [
        ("DC", "2", "499"),
        ("DR", "2", "499"),
        ("UT,DC", "14", "499"),
        ("UR", "2", "500"),
        ("-", "2", "500"),
        ("DC", "0", "200"),
    ],
)
def test_who_left_a_call_of_grpc_has_seen_no_error(flags: str, status: str, code: str) -> None:
    labels = {"response_code": "200", "grpc_response_status": status, "response_flags": flags}
    for name, more in (("istio_requests_total", ISTIO), ("envoy_slipway_requests", {"cluster_name": HOST})):
        made = series(name, {**more, **labels})
        assert made is not None
        assert made["code"] == code


@pytest.mark.parametrize(
    "rule",
    [
        "shop/hello:frontend:/:weights",
        "shop/hello:frontend:/sms:header:v1",
        "shop/hello:frontend:/:host:canary.hello.local",
        "shop/hello:frontend:/a:b:weights:again",
        "shop/hello:frontend:v1",
    ],
)
def test_a_rule_that_leads_nowhere_tells_of_its_service(rule: str) -> None:
    made = series("envoy_slipway_unrouted", {"route": rule, "response_code": "503"})
    assert made is not None
    wanted = {"__name__": "envoy_slipway_requests", "namespace": "shop", "service": "frontend", "code": "503"}
    assert wanted.items() <= made.items()
    assert made["source"] == "istio-ingressgateway"
    assert "version" not in made


def test_a_shadow_is_counted_for_whom_it_was_asked() -> None:
    asked = {"reporter": "destination", "source_canonical_service": "model", "source_canonical_revision": "v1"}
    made = series("istio_requests_total", {**ISTIO, **asked})
    assert made is not None
    assert (made["source"], made["source_version"]) == ("model", "v1")


def test_a_service_without_versions_and_an_unknown_one() -> None:
    made = series("envoy_cluster_upstream_rq", {"cluster_name": HOST.replace("v2", ""), "response_code": "200"})
    assert made is not None
    assert "version" not in made
    made = series("istio_requests_total", {**ISTIO, "destination_service_name": "unknown"})
    assert made is not None
    assert "service" not in made
    made = series(
        "envoy_cluster_upstream_rq", {"cluster_name": "outbound|443||api.example.org", "response_code": "200"}
    )
    assert made is not None
    assert "service" not in made


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("envoy_cluster_upstream_rq", {"cluster_name": HOST, "response_code_class": "2xx"}),
        ("envoy_cluster_upstream_rq", {"cluster_name": "inbound|8080||", "response_code": "200"}),
        ("envoy_cluster_upstream_rq", {"cluster_name": "xds-grpc", "response_code": "200"}),
        ("envoy_cluster_upstream_cx_active", {"cluster_name": HOST}),
        ("istio_request_bytes_bucket", ISTIO),
        ("envoy_slipway_requests", {"response_code": "404"}),
        ("envoy_slipway_requests", {"cluster_name": "PassthroughCluster", "response_code": "200"}),
        ("envoy_slipway_request_time_bucket", {"le": "10"}),
        ("envoy_slipway_unrouted", {"response_code": "503"}),
        ("envoy_slipway_unrouted", {"route": "default", "response_code": "503"}),
        ("envoy_slipway_unrouted", {"route": "grafana", "response_code": "503"}),
        ("envoy_slipway_unrouted", {"route": "shop/mine", "response_code": "503"}),
        ("envoy_slipway_unrouted", {"route": "shop/hello:/sms:weights", "response_code": "503"}),
    ],
)
def test_what_nothing_reads_or_counts_twice_is_dropped(name: str, labels: Labels) -> None:
    assert series(name, labels) is None


def test_limits_and_the_gateways_answers() -> None:
    made = series("envoy_http_local_rate_limiter_http_local_rate_limit_rate_limited", {})
    assert made is not None
    assert made["__name__"] == "envoy_http_local_rate_limit"
    assert (made["limiter"], made["outcome"]) == ("http_local_rate_limiter", "rate_limited")
    # A release called so is no count of requests.
    made = series("envoy_slipway_request_time_x_http_local_rate_limit_ok", {})
    assert made is not None
    assert (made["limiter"], made["outcome"]) == ("slipway_request_time_x", "ok")
    made = series("envoy_http_downstream_rq", {"response_code_class": "4xx"})
    assert made is not None
    assert made["class"] == "4xx"
    assert made["source"] == "istio-ingressgateway"


def test_what_kubelets_tell_of_pods_keeps_the_pods_labels() -> None:
    for name in ("kubelet", "cadvisor"):
        assert one("ScrapeConfig", name)["spec"]["honorLabels"]


def test_more_series_can_be_kept() -> None:
    name = "apiserver_flowcontrol_rejected_requests_total"
    for more, kept in (([], False), ([name], True)):
        monitor = one("ServiceMonitor", "apiserver", monitoring_more_series=more)
        made = relabelled({"__name__": name}, monitor["spec"]["endpoints"][0]["metricRelabelings"])
        assert (made is not None) == kept


# --- a release's own Alertmanager


def own_alertmanagers() -> dict[str, Any]:
    named = one("Prometheus", "main")["spec"]["additionalAlertManagerConfigs"]
    secret = one("Secret", named["name"])
    (config,) = yaml.safe_load(base64.b64decode(secret["data"][named["key"]]))
    return dict(config)


def snake(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules as Prometheus itself reads them, in the words of the operator."""
    return [{"sourceLabels": rule["source_labels"], "regex": rule["regex"], "action": rule["action"]} for rule in rules]


def test_prometheus_finds_a_releases_own_alertmanager_in_any_namespace() -> None:
    config = own_alertmanagers()
    assert config["api_version"] == "v2"
    (where,) = config["kubernetes_sd_configs"]
    assert where == {"role": "pod", "selectors": [{"role": "pod", "label": "slipway.io/alertmanager"}]}
    port = "__meta_kubernetes_pod_container_port_name"
    rules = snake(config["relabel_configs"])
    assert relabelled({"__address__": "10.0.0.1:9093", port: "web"}, rules)
    # Its reloader and its peers take no alerts.
    assert relabelled({"__address__": "10.0.0.1:8080", port: "reloader-web"}, rules) is None


@pytest.mark.parametrize(("labels", "gets"), [({"alertmanager": "own"}, True), ({"severity": "critical"}, False)])
def test_it_gets_only_alerts_that_name_one(labels: Labels, gets: bool) -> None:
    rules = snake(own_alertmanagers()["alert_relabel_configs"])
    assert (relabelled({"alertname": "A", **labels}, rules) is not None) is gets


def test_the_clusters_mail_leaves_such_alerts_out() -> None:
    _, config = rendered("mail", monitoring_mail=MAIL)
    assert {"name": "alertmanager", "matchType": "=", "value": ""} in config["spec"]["route"]["matchers"]


# --- mail


def test_the_password_is_in_a_secret_and_nowhere_else() -> None:
    secret, config = rendered("mail", monitoring_mail={**MAIL, "user": "me"}, monitoring_mail_password="hunter2")
    assert secret["data"] == {"password": "aHVudGVyMg=="}
    assert "hunter2" not in str(config)
    (mail,) = config["spec"]["receivers"][0]["emailConfigs"]
    assert mail["authPassword"] == {"name": "mail", "key": "password"}
    assert mail["requireTLS"] is True


def test_what_means_something_to_yaml_arrives_as_it_was_written() -> None:
    given = {
        "to": '"Ops, Team: night" <ops@example.org>',
        "from": "'Cluster' <cluster@example.org> # lab",
        "smarthost": "[2001:db8::25]:587",
        "hello": "on",
        "user": "{a: b}, *c",
    }
    _, config = rendered("mail", monitoring_mail=given, monitoring_mail_password="hunter2")
    (mail,) = config["spec"]["receivers"][0]["emailConfigs"]
    assert {**{key: mail[key] for key in given if key != "user"}, "user": mail["authUsername"]} == given


def test_a_server_without_encryption_has_to_be_allowed() -> None:
    _, config = rendered("mail", monitoring_mail={**MAIL, "require_tls": False})
    (mail,) = config["spec"]["receivers"][0]["emailConfigs"]
    assert mail["requireTLS"] is False
    assert "authPassword" not in mail


def test_a_server_of_ones_own_authority_can_be_trusted() -> None:
    secret, config = rendered("mail", monitoring_mail={**MAIL, "ca": "PEM"})
    (mail,) = config["spec"]["receivers"][0]["emailConfigs"]
    assert mail["tlsConfig"] == {"ca": {"secret": {"name": "mail", "key": "ca"}}}
    assert secret["data"]["ca"] == "UEVN"
