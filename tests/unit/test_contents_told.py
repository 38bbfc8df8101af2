"""What of a chart does nothing on a cluster is said, each by name; what is right is not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from slipway.contents import subcharts, told
from slipway.contents.told import World

from tests.support.contents import ROUTES, SHOP, made

GATEWAY = {"istio": "ingressgateway", "app": "istio-ingressgateway"}
WORLD = World(
    asked=True,
    ports={80: 8080, 443: 8443},
    gateway_labels=GATEWAY,
    fits={json.dumps({"istio": "ingressgateway"}): True, json.dumps({"istio": "other"}): False},
    prometheus=({"spec": {"serviceMonitorSelector": {}, "ruleSelector": {"matchLabels": {"release": "kps"}}}},),
    services={("monitoring", "grafana"): {"app": "grafana"}},
)
FILTER = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: limit, namespace: istio-system}
spec:
  workloadSelector: {labels: {istio: ingressgateway}}
  configPatches: [{applyTo: HTTP_FILTER, match: {context: GATEWAY, listener: {portNumber: 8080}}}]
"""
MONITOR = """
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: web}
spec: {selector: {matchLabels: {app: web}}, endpoints: [{port: http}]}
"""
INGRESS = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec: {ingressClassName: nginx}"
BOARD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, labels: {grafana_dashboard: '1'}}\n"
RULE = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: r, labels: {release: kps}}\n"


def said(*texts: str, world: World = WORLD) -> list[str]:
    return list(told.warnings(made(*texts), world))


def test_of_what_works_nothing_is_said() -> None:
    assert said(SHOP, ROUTES, FILTER, MONITOR, RULE, f"{BOARD}data: {{a.json: '{{}}'}}") == []
    assert said(INGRESS, world=replace(WORLD, classes=frozenset({"nginx"}))) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            FILTER.replace("8080", "80"),
            "port 80, where it does not listen: it changes nothing; the gateway",
        ),
        (FILTER.replace("8080", "80"), "8080 is the one for port 80"),
        (FILTER.replace("8080", "9999"), "listen on 8080, 8443"),
        (FILTER.replace(", namespace: istio-system", ""), "counts only for pods of its own namespace"),
        (FILTER.replace("istio: ingressgateway", "istio: other"), "no pod of this cluster has that"),
        (SHOP.replace("istio: ingressgateway", "istio: other"), "the gateway's pods have istio: ingressgateway"),
        (SHOP.replace("number: 80", "number: 8888"), "is for port 8888, which the gateway does not have"),
        (MONITOR.replace("app: web", "app: webb"), "selects no Service"),
        (MONITOR.replace("port: http", "port: metrics"), "reads the port metrics"),
        (RULE.replace("release: kps", "release: shop"), "is read by no Prometheus of this cluster"),
        (INGRESS, "of class nginx, and this cluster has no controller"),
        (INGRESS, "cluster_ingress_classes: [istio, nginx] on the cluster's page"),
        (INGRESS.replace("nginx", ""), "without a class"),
        (INGRESS.replace("nginx", ""), "cluster_ingress_default: istio on the cluster's page"),
        (f"{BOARD}data: {{}}", "without any content"),
        (f"{BOARD}data: {{a.yaml: 'a: b'}}", "a dashboard's key ends in .json"),
        (f"{BOARD}data: {{a.json: '{{'}}", "is not JSON"),
        ("apiVersion: monitoring.coreos.com/v1\nkind: Alertmanager\nmetadata: {name: a}", "this release gives it"),
        (ROUTES.replace("host: web", "host: shop-grafana"), "here that is grafana.monitoring:80"),
        (
            ROUTES.replace("host: web", "host: shop-alertmanager"),
            "alertmanager.monitoring:9093, which is not there either",
        ),
        (ROUTES.replace("host: web", "host: nobody"), "Service shop/nobody, which is nowhere"),
    ],
)
def test_what_does_nothing_is_said(text: str, words: str) -> None:
    texts = (text,) if text.startswith(SHOP[:20]) else (SHOP, text)
    assert any(words in one for one in said(*texts)), said(*texts)


def test_a_monitor_whose_service_has_its_labels_only_as_a_selector_is_told_why() -> None:
    text = SHOP.replace("metadata: {name: web, labels: {app: web}}", "metadata: {name: web}")
    assert any("Service web selects pods with these labels" in one for one in said(text, MONITOR))


def test_subcharts_that_are_off_are_named_with_how() -> None:
    off = [subcharts.Subchart("pictures", "grafana"), subcharts.Subchart("kps", "kube-prometheus-stack", ("kps.on",))]
    first, second = told.switched_off(off)
    assert "subchart pictures is switched off (taken out" in first
    assert "(kps.on: false): the cluster has Prometheus" in second


@pytest.mark.parametrize(
    ("image", "missing"),
    [
        ("nginx:1.27", False),
        ("docker.io/library/nginx:1.27", False),
        ("bitnami/redis:7", True),
        ("quay.io/a/b", True),
    ],
)
def test_images_that_the_mirror_does_not_have_are_told(image: str, missing: bool) -> None:
    world = replace(WORLD, images=frozenset({"docker.io/library/nginx:1.27"}))
    found = [one for one in said(SHOP.replace("example.org/web:1", image), world=world) if image in one]
    assert bool(found) is missing


def test_an_alertmanager_without_an_image_is_told_which_one_the_mirror_has() -> None:
    world = replace(WORLD, images=frozenset({"quay.io/prometheus/alertmanager:v0.31.0"}))
    own = "apiVersion: monitoring.coreos.com/v1\nkind: Alertmanager\nmetadata: {name: a}\nspec: {replicas: 1}"
    words = "image: quay.io/prometheus/alertmanager:v0.31.0 and version: v0.31.0 would work"
    assert any(words in one for one in said(own, world=world))
    assert not any(words in one for one in said(own.replace("replicas: 1", "image: a/b:1"), world=world))
    assert not any("has no image" in one for one in said(own))


def test_an_image_of_ours_that_the_mirror_does_not_have_is_refused() -> None:
    world = replace(WORLD, images=frozenset({"slipway.local/apps/model:1.0.0"}))
    plan = made(SHOP.replace("example.org/web:1", "slipway.local/apps/model:2"))
    found = list(told.faults(plan, world, "chart"))
    assert [(fault.id, fault.works) for fault in found] == [("image-not-on-mirror", "slipway.local/apps/model:1.0.0")]
