"""What role monitoring applies, as Ansible's own templating makes it, and what its relabelling makes of labels."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from .lab import ROOT

ROLE = ROOT / "roles/monitoring"
GIVEN = {
    "monitoring_operator_image": "quay.io/prometheus-operator/prometheus-operator:v0.85.0",
    "monitoring_reloader_image": "quay.io/prometheus-operator/prometheus-config-reloader:v0.85.0",
    "monitoring_prometheus_image": "quay.io/prometheus/prometheus:v3.15.1",
    "monitoring_alertmanager_image": "quay.io/prometheus/alertmanager:v0.31.1",
    "monitoring_node_exporter_image": "quay.io/prometheus/node-exporter:v1.12.1",
    "monitoring_kube_state_metrics_image": "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.19.1",
    "monitoring_mesh_image": "docker.io/istio/proxyv2:1.31.0",
}
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

Labels = dict[str, str]
_plugins = functools.cache(init_plugin_loader)


def templar(**settings: Any) -> Templar:
    """The role's defaults, with ``settings`` in their place."""
    _plugins()
    loader = DataLoader()
    variables: dict[str, Any] = {"ansible_search_path": [str(ROLE)]}
    for name in ("defaults/main.yml", "vars/main.yml"):
        variables |= loader.load_from_file(str(ROLE / name), trusted_as_template=True)
    return Templar(loader=loader, variables={**variables, **GIVEN, **settings})


@functools.cache
def text_of(template: str, settings: str) -> str:
    """What ``template`` makes of settings, which are JSON."""
    given = templar(**json.loads(settings))
    return str(given.template(trust_as_template((ROLE / f"templates/{template}.yml.j2").read_text())))


def rendered(template: str, **settings: Any) -> list[dict[str, Any]]:
    """The documents that ``template`` makes of the role's defaults and ``settings``."""
    documents = yaml.load_all(text_of(template, json.dumps(settings)), Loader=yaml.CSafeLoader)
    return [document for document in documents if document]


def everything(**settings: Any) -> list[dict[str, Any]]:
    """The documents of all templates but the one for mail."""
    return [document for template in TEMPLATES for document in rendered(template, **settings)]


def one(kind: str, name: str, **settings: Any) -> dict[str, Any]:
    """The document of that kind and name."""
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
