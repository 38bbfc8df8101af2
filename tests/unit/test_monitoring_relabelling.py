"""Prometheus asks pods of the mesh through it, and both sorts of proxies count calls in the same labels."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.monitoring_templates import Labels, one, relabelled

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
# Where an HTTPRoute leads: the Service of the version.
OF_VERSION = "outbound|80||frontend--v2.shop.svc.cluster.local"
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
        ("envoy_slipway_requests", {"cluster_name": OF_VERSION, "response_code": "200"}),
        ("istio_requests_total", {**ISTIO, "destination_service_name": "frontend--v2"}),
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
        ("envoy_slipway_unrouted", {"route": "frontend.shop.slipway-1", "response_code": "200"}),
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
