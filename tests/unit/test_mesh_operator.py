"""What istioctl is told: the role's template with its defaults, in Ansible's own templating."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.istio import GIVEN, rendered, value


def operator(**settings: Any) -> dict[str, Any]:
    (made,) = rendered(**settings)
    spec: dict[str, Any] = made["spec"]
    return spec


def gateway(**settings: Any) -> dict[str, Any]:
    (made,) = operator(**settings)["components"]["ingressGateways"]
    assert made["name"] == "istio-ingressgateway"
    inner: dict[str, Any] = made["k8s"]
    return inner


def test_images_are_those_of_the_bundle() -> None:
    values = operator()["values"]
    assert values["pilot"]["image"] == GIVEN["istio_pilot_image"]
    assert values["global"]["proxy"]["image"] == GIVEN["istio_proxy_image"]
    assert values["global"]["proxy_init"]["image"] == GIVEN["istio_proxy_image"]


def test_clients_keep_their_address() -> None:
    assert gateway()["service"]["externalTrafficPolicy"] == "Local"


def test_plain_envoy_gets_none_of_istios_filters() -> None:
    values = operator(istio_proxy_plain=True)["values"]
    assert values["telemetry"] == {"enabled": False}
    assert values["pilot"]["env"] == {"PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false"}
    values = operator()["values"]
    assert "telemetry" not in values
    assert "env" not in values["pilot"]


def test_the_address_is_asked_of_metallb() -> None:
    assert gateway(istio_gateway_address="192.0.2.92")["serviceAnnotations"] == {
        "metallb.io/loadBalancerIPs": "192.0.2.92"
    }
    assert "serviceAnnotations" not in gateway()


@pytest.mark.parametrize(("replicas", "nodes", "apart"), [(1, 1, False), (1, 3, False), (2, 2, True), (3, 2, False)])
def test_pods_are_kept_apart_when_there_are_nodes_for_it(replicas: int, nodes: int, apart: bool) -> None:
    made = gateway(istio_gateway_replicas=replicas, istio_nodes=nodes)
    assert made["replicaCount"] == replicas
    rules = made["affinity"]["podAntiAffinity"]
    assert ("requiredDuringSchedulingIgnoredDuringExecution" in rules) is apart
    # Where no two may share a node, a new pod finds none before an old one has gone.
    assert made["strategy"]["rollingUpdate"]["maxUnavailable"] == (1 if apart else 0)


def test_what_a_proxy_reads_once_makes_other_gateway_pods() -> None:
    stamp = "slipway.io/settings"
    first = gateway()["podAnnotations"][stamp]
    assert gateway()["podAnnotations"][stamp] == first
    assert gateway(istio_gateway_ports=[80])["podAnnotations"][stamp] != first
    assert gateway(istio_values={"meshConfig": {"defaultConfig": {"concurrency": 1}}})["podAnnotations"][stamp] != first
    assert gateway(istio_gateway_replicas=2)["podAnnotations"][stamp] == first


def test_logs_and_traces_are_off_unless_asked_for() -> None:
    mesh = operator()["meshConfig"]
    assert not {"accessLogFile", "extensionProviders", "enableTracing"} & set(mesh)
    assert operator(istio_access_log="json")["meshConfig"]["accessLogEncoding"] == "JSON"
    provider = {"zipkin": {"service": "zipkin.tracing.svc.cluster.local", "port": 9411}}
    mesh = operator(istio_tracing=provider, istio_tracing_sampling=25.0)["meshConfig"]
    assert mesh["extensionProviders"] == [{"name": "slipway-tracing", **provider}]
    assert mesh["defaultProviders"] == {"tracing": ["slipway-tracing"]}
    assert mesh["defaultConfig"]["tracing"] == {"sampling": 25.0}


OUTBOUND = "cluster.outbound|8080|v2|reviews.default.svc.cluster.local;"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (f"{OUTBOUND}.upstream_rq_200", True),
        (f"{OUTBOUND}.upstream_rq_5xx", True),
        (f"{OUTBOUND}.upstream_rq_completed", True),
        (f"{OUTBOUND}.upstream_rq_time", True),
        (f"{OUTBOUND}.upstream_rq_timeout", True),
        (f"{OUTBOUND}.upstream_rq_retry_success", True),
        (f"{OUTBOUND}.upstream_rq_pending_overflow", True),
        (f"{OUTBOUND}.outlier_detection.ejections_active", True),
        ("cluster.inbound|8080||;.upstream_rq_200", True),
        ("http_local_rate_limiter.http_local_rate_limit.rate_limited", True),
        ("team8.http_local_rate_limit.ok", True),
        ("http.outbound_0.0.0.0_10080;.downstream_rq_4xx", True),
        (
            f"slipway.requests.cluster_name.{OUTBOUND[8:-1]}.response_code.503.grpc_response_status..response_flags.FI",
            True,
        ),
        ("slipway.request_time.cluster_name.outbound|8080|v2|reviews.default.svc.cluster.local", True),
        ("slipway.unrouted.route.shop/shop:front:/:weights.response_code.503.grpc_response_status.14", True),
        # The same answers once more.
        (f"{OUTBOUND}.external.upstream_rq_200", False),
        (f"{OUTBOUND}.canary.upstream_rq_time", False),
        # Of no use here.
        (f"{OUTBOUND}.upstream_cx_rx_bytes_total", False),
        (f"{OUTBOUND}.upstream_rq_active", False),
        (f"{OUTBOUND}.membership_healthy", False),
        ("cluster.inbound|8080||;.upstream_rq_timeout", False),
        ("http.outbound_0.0.0.0_9090;.downstream_rq_4xx", False),
        ("listener.0.0.0.0_15006.downstream_cx_total", False),
    ],
)
def test_statistics_that_are_kept(name: str, kept: bool) -> None:
    """Envoy takes a statistic when an expression matches all of its name."""
    expressions = operator()["meshConfig"]["defaultConfig"]["proxyStatsMatcher"]["inclusionRegexps"]
    assert any(re.fullmatch(expression, name) for expression in expressions) is kept


def test_plain_envoy_counts_what_whoever_asked_got_and_istios_proxy_by_itself() -> None:
    plain = [item["metadata"]["name"] for item in rendered("mesh.yml.j2", istio_proxy_plain=True)]
    assert set(plain) - {item["metadata"]["name"] for item in rendered("mesh.yml.j2")} == {"slipway-requests"}
    (counting,) = (
        item
        for item in rendered("mesh.yml.j2", istio_proxy_plain=True)
        if item["metadata"]["name"] == "slipway-requests"
    )
    # Everywhere: in Istio's own namespace, for all that it does not name.
    assert counting["metadata"]["namespace"] == "istio-system"
    assert "workloadSelector" not in counting["spec"]
    patches = counting["spec"]["configPatches"]
    assert [patch["match"]["context"] for patch in patches] == ["GATEWAY", "SIDECAR_OUTBOUND"]
    assert {patch["patch"]["operation"] for patch in patches} == {"MERGE"}


@pytest.mark.parametrize("mode", ["permissive", "strict"])
def test_the_mesh_has_one_mode_one_inert_limit_and_lets_nodes_be_drained(mode: str) -> None:
    made = {item["metadata"]["name"]: item for item in rendered("mesh.yml.j2", istio_mtls=mode)}
    assert made["default"]["spec"] == {"mtls": {"mode": mode.upper()}}
    # An IngressClass is of no namespace.
    inside = [item["metadata"] for item in made.values() if item["kind"] != "IngressClass"]
    assert {metadata["namespace"] for metadata in inside} == {"istio-system"}
    (patch,) = made["slipway-local-ratelimit"]["spec"]["configPatches"]
    # Without a bucket and a share of requests it does nothing: a release gives both for its own hosts.
    assert patch["patch"]["value"]["typed_config"]["value"] == {"stat_prefix": "http_local_rate_limiter"}
    assert patch["patch"]["operation"] == "INSERT_BEFORE"
    assert made["istio-ingressgateway"]["spec"]["maxUnavailable"] == 1
    # tests/envoy has it answer.
    (patch,) = made["slipway-misdirected"]["spec"]["configPatches"]
    (mapper,) = patch["patch"]["value"]["typed_config"]["local_reply_config"]["mappers"]
    assert mapper["status_code"] == 421


@pytest.mark.parametrize(("proxies", "removed"), [(0, ["x-forwarded-for"]), (1, [])])
def test_what_a_client_says_of_its_address_is_taken_out(proxies: int, removed: list[str]) -> None:
    """Unless a proxy that is trusted has said it."""
    topology = operator(istio_trusted_proxies=proxies)["meshConfig"]["defaultConfig"]["gatewayTopology"]
    assert topology == {"numTrustedProxies": proxies}
    made = {item["metadata"]["name"]: item for item in rendered("mesh.yml.j2", istio_trusted_proxies=proxies)}
    (patch,) = made["slipway-client-address"]["spec"]["configPatches"]
    extensions = patch["patch"]["value"]["typed_config"].get("early_header_mutation_extensions", [])
    assert [item["remove"] for each in extensions for item in each["typed_config"]["mutations"]] == removed


@pytest.mark.parametrize(
    ("ports", "servers"),
    [
        ([80, 443, 8080], [(443, "HTTPS", "slipway-gateway-tls"), (80, "HTTP", "redirect")]),
        ([443, 8443], [(443, "HTTPS", "slipway-gateway-tls"), (8443, "HTTPS", "slipway-gateway-tls")]),
        ([80, 8080], [(80, "HTTP", ""), (8080, "HTTP", "")]),
    ],
)
def test_consoles_share_one_gateway_and_are_reached_by_tls_where_there_is_any(
    ports: list[int], servers: list[tuple[int, str, str]]
) -> None:
    hosts = ["grafana.lab.local", "kiali.lab.local"]
    made = rendered("mesh.yml.j2", istio_console_hosts=hosts, istio_gateway_ports=ports)
    (shared,) = (item for item in made if item["kind"] == "Gateway")
    assert shared["metadata"]["name"] == "slipway-consoles"
    assert all(server["hosts"] == hosts for server in shared["spec"]["servers"])
    found = []
    for server in shared["spec"]["servers"]:
        tls = server.get("tls", {})
        how = tls.get("credentialName") or ("redirect" if tls.get("httpsRedirect") else "")
        found.append((server["port"]["number"], server["port"]["protocol"], how))
    assert found == servers


def test_traces_go_to_zipkin_unless_somebody_says_otherwise() -> None:
    assert "extensionProviders" not in operator()["meshConfig"]
    asked = operator(istio_zipkin="zipkin.tracing.svc.cluster.local:9411")["meshConfig"]
    assert asked["extensionProviders"] == [
        {"name": "slipway-tracing", "zipkin": {"service": "zipkin.tracing.svc.cluster.local", "port": 9411}}
    ]
    elsewhere = {"opentelemetry": {"service": "collector.example.org", "port": 4317}}
    asked = operator(istio_zipkin="zipkin.tracing:9411", istio_tracing=elsewhere)["meshConfig"]
    assert asked["extensionProviders"] == [{"name": "slipway-tracing", **elsewhere}]
    assert operator(istio_zipkin="")["meshConfig"] == operator()["meshConfig"]


def test_ingresses_are_served_by_their_class_at_port_80() -> None:
    def classes(**settings: Any) -> dict[str, Any]:
        made = rendered("mesh.yml.j2", **settings)
        return {item["metadata"]["name"]: item for item in made if item["kind"] == "IngressClass"}

    (istio,) = classes().values()
    assert istio["spec"] == {"controller": "istio.io/ingress-controller"}
    assert "annotations" not in istio["metadata"]
    two = classes(istio_ingress_classes=["istio", "nginx"], istio_ingress_default="nginx")
    assert [name for name, item in two.items() if "annotations" in item["metadata"]] == ["nginx"]
    assert two["nginx"]["metadata"]["annotations"] == {"ingressclass.kubernetes.io/is-default-class": "true"}
    assert classes(istio_gateway_ports=[8080]) == {}


def test_the_gateway_api_has_a_gateway_at_the_service_that_is_there() -> None:
    def gateways(**settings: Any) -> list[dict[str, Any]]:
        made = rendered("mesh.yml.j2", **settings)
        return [item for item in made if item["apiVersion"] == "gateway.networking.k8s.io/v1"]

    assert gateways() == []
    (gateway,) = gateways(istio_gateway_api_crds=["/crds/gateways.yaml"], istio_dns_domain="lab.internal")
    assert (gateway["kind"], gateway["metadata"]["namespace"]) == ("Gateway", "istio-system")
    spec = gateway["spec"]
    # With another type, or none, istiod would make a second gateway, with an address of its own.
    address = "istio-ingressgateway.istio-system.svc.lab.internal"
    assert (spec["gatewayClassName"], spec["addresses"]) == ("istio", [{"type": "Hostname", "value": address}])
    assert [(each["port"], each["protocol"]) for each in spec["listeners"]] == [
        (80, "HTTP"),
        (443, "HTTPS"),
        (8080, "HTTP"),
    ]
    assert [each["allowedRoutes"]["namespaces"]["from"] for each in spec["listeners"]] == ["All"] * 3
    assert spec["listeners"][1]["tls"] == {"mode": "Terminate", "certificateRefs": [{"name": "slipway-gateway-tls"}]}


def test_the_definitions_of_the_gateway_api_come_out_of_their_files(tmp_path: Path) -> None:
    text = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: NAME}\nspec: {}\n"
    files = []
    for name in ("gateways", "httproutes"):
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(f"# a comment\n---\n{text.replace('NAME', name)}status: {{conditions: []}}\n")
    found = value("__istio_gateway_api", istio_gateway_api_crds=list(map(str, files)))
    assert [(item["kind"], item["metadata"]["name"]) for item in found] == [
        ("CustomResourceDefinition", "gateways"),
        ("CustomResourceDefinition", "httproutes"),
    ]
    assert "status" not in found[0]
    assert value("__istio_gateway_api") == []
