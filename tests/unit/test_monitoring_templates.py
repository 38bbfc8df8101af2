"""Role monitoring gives few rights, takes objects of every namespace, and mails alerts of the cluster alone."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
import yaml

from tests.support.monitoring_templates import Labels, everything, one, relabelled, rendered

MAIL = {"to": "ops@example.org", "from": "cluster@example.org", "smarthost": "smtp.example.org:587"}

# What a release lends the operator for its own namespace.
LENT = "monitoring:alertmanager"
ROLES = {"monitoring:operator", "monitoring:prometheus", "monitoring:kube-state-metrics"}


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
