"""People reach a service in the mesh by the gateway's address and are seen under their own; pods speak encrypted."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tests.support.kube import Kube, eventually
from tests.support.mesh import FETCH, NAMESPACE, OUTSIDE, PORT, Echo, own_address

# On the node network, and no part of the cluster.
testinfra_hosts = ["ansible://mirror"]

ROOT = Path(__file__).parents[3]
FORGED = {"X-Forwarded-For": "203.0.113.7"}


@pytest.fixture(scope="module")
def echo(kube: Kube, page: dict[str, Any]) -> Iterator[Echo]:
    started = Echo(kube, page["cluster_gateway"]["address"], f"echo.{page['cluster_name']}.local")
    yield started
    started.stop()


def playbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``ansible-playbook`` on the lab."""
    return subprocess.run(
        ["ansible-playbook", "--inventory=molecule/inventory", *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"},
    )


def test_every_port_of_the_gateway_leads_to_the_service(echo: Echo, page: dict[str, Any]) -> None:
    assert page["cluster_gateway"]["ports"] == [80, 443, 8080]
    assert echo.ask(80).body["pod"].startswith("echo-")
    assert echo.ask(8080).body["pod"].startswith("echo-")
    assert echo.ask(80, host="else.local").status == 404


def test_the_service_sees_the_address_of_this_machine(echo: Echo) -> None:
    assert echo.ask().body["headers"]["x-forwarded-for"] == own_address(echo.address)


def test_the_service_sees_the_address_of_another_machine_on_the_node_network(host: Host, echo: Echo) -> None:
    route = json.loads(host.check_output("ip -json route get %s", echo.address))
    assert "gateway" not in route[0]
    assert route[0]["prefsrc"] != echo.client
    said = host.check_output("python3 -c %s http://%s/ Host=%s", FETCH, echo.address, echo.host)
    assert json.loads(said)["headers"]["x-forwarded-for"] == route[0]["prefsrc"]


def test_a_forged_header_changes_nothing(host: Host, echo: Echo) -> None:
    assert echo.ask(headers=FORGED).body["headers"]["x-forwarded-for"] == echo.client
    own = json.loads(host.check_output("ip -json route get %s", echo.address))[0]["prefsrc"]
    command = "python3 -c %s http://%s/ Host=%s X-Forwarded-For=%s"
    said = host.check_output(command, FETCH, echo.address, echo.host, FORGED["X-Forwarded-For"])
    assert json.loads(said)["headers"]["x-forwarded-for"] == own


def test_requests_between_pods_are_encrypted(echo: Echo) -> None:
    said = json.loads(echo.inside("caller", NAMESPACE, f"http://echo.{NAMESPACE}:{PORT}/"))
    seen = said["headers"]["x-forwarded-client-cert"]
    assert f"URI=spiffe://cluster.local/ns/{NAMESPACE}/sa/default" in seen


def test_a_plain_request_from_pod_to_pod_is_refused(echo: Echo) -> None:
    for pod in echo.pods("echo", NAMESPACE):
        assert echo.inside("plain", OUTSIDE, f"http://{pod['status']['podIP']}:{PORT}/") in (
            "ConnectionResetError",
            "RemoteDisconnected",
        )
    (open_pod,) = echo.pods("plain", OUTSIDE)
    # The same request to a pod outside of the mesh is answered: it is the mesh that refuses.
    assert "pod" in echo.inside("plain", OUTSIDE, f"http://{open_pod['status']['podIP']}:{PORT}/")


def test_the_certificate_is_vouched_for_by_the_clusters_authority(echo: Echo, state: Path) -> None:
    assert echo.ask(443, authority=state / "ca/ca.crt").body["headers"]["x-forwarded-proto"] == "https"


def test_the_keys_are_the_users_alone(state: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (state / "ca").iterdir()}
    assert stat.S_IMODE((state / "ca").stat().st_mode) == 0o700
    assert {name: mode for name, mode in modes.items() if name.endswith(".key")} == {
        "ca.key": 0o600,
        "gateway.key": 0o600,
    }


def gateway(echo: Echo) -> list[dict[str, Any]]:
    return echo.pods("istio-ingressgateway", "istio-system")


def total(echo: Echo, pattern: str) -> float:
    """Sum of the gateway's series that match."""
    expression = re.compile(pattern)
    return sum(
        value for pod in gateway(echo) for series, value in echo.statistics(pod).items() if expression.search(series)
    )


def test_the_limit_of_requests_is_there_and_limits_nothing(echo: Echo) -> None:
    limits = r"^envoy_http_local_rate_limiter_http_local_rate_limit_(enabled|rate_limited)"
    assert [pod for pod in gateway(echo) if not any(re.search(limits, name) for name in echo.statistics(pod))] == []
    assert {echo.ask().status for _ in range(60)} == {200}
    assert total(echo, limits) == 0


def test_answers_are_counted_by_service_and_subset(echo: Echo) -> None:
    cluster = rf'cluster_name="outbound\|{PORT}\|\|echo\.{NAMESPACE}\.svc\.[^"]*"'
    series = rf'^envoy_cluster_upstream_rq\{{{cluster},response_code="200"\}}'
    before = total(echo, series)
    for _ in range(10):
        assert echo.ask().status == 200
    # A proxy merges the counts of its threads every few seconds.
    eventually(lambda: total(echo, series) == before + 10, seconds=20, what="10 more answers are counted")


def test_images_are_those_of_the_bundle(kube: Kube, echo: Echo) -> None:
    known = {f"{image['name']}:{image['tag']}" for image in kube.bundle["images"].values()}
    pods = [*kube("get", "pods", "--namespace=istio-system")["items"], *echo.pods("echo", NAMESPACE)]
    used = {
        container["image"]
        for pod in pods
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    }
    assert used
    assert used - known == set()


def test_gateway_pods_are_on_nodes_of_their_own_and_can_be_drained(kube: Kube, echo: Echo) -> None:
    pods = gateway(echo)
    workers = [
        node for node in kube.nodes() if "node-role.kubernetes.io/control-plane" not in node["metadata"]["labels"]
    ]
    assert len(pods) == min(2, len(workers))
    assert len({pod["spec"]["nodeName"] for pod in pods}) == len(pods)
    budget = kube("get", "poddisruptionbudget", "istio-ingressgateway", "--namespace=istio-system")
    assert budget["status"]["disruptionsAllowed"] == 1


def test_a_setting_that_istio_does_not_know_is_refused_before_anything_is_applied(kube: Kube) -> None:
    def versions() -> dict[str, str]:
        kinds = "deployments,services,configmaps,secrets,envoyfilters,peerauthentications"
        items = [item["metadata"] for item in kube("get", kinds, "--namespace=istio-system")["items"]]
        # istiod renews its elections all the time.
        election = "control-plane.alpha.kubernetes.io/leader"
        return {i["name"]: i["resourceVersion"] for i in items if election not in i.get("annotations", {})}

    before = versions()
    for settings, words in (
        ({"meshConfig": {"accessLogFil": "x"}}, "meshConfig.accessLogFil; did you mean accessLogFile?"),
        ({"values": {"global": {"proxi": {}}}}, "values.global.proxi; did you mean proxy?"),
        ({"meshConfig": {"connectTimeout": "soon"}}, 'invalid duration "soon"'),
    ):
        run = playbook("playbooks/phases/mesh.yml", "-e", json.dumps({"istio_values": settings}))
        assert run.returncode != 0
        assert words in run.stdout, run.stdout[-2000:]
        assert "Traceback" not in run.stdout + run.stderr
    assert versions() == before


def test_rules_that_cannot_work_are_refused_when_they_are_made(kube: Kube, echo: Echo) -> None:
    wrong = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "wrong", "namespace": NAMESPACE},
        "spec": {"hosts": [echo.host], "http": [{"fault": {"abort": {"httpStatus": 1000}}, "route": []}]},
    }
    with pytest.raises(AssertionError, match=r"validation\.istio\.io"):
        kube.apply([wrong])


@pytest.fixture
def ingress(kube: Kube, echo: Echo) -> Iterator[str]:
    """Give the host of an Ingress of the class that the role makes, which leads to the echo."""
    host = f"ingress.{echo.host}"
    backend = {"service": {"name": "echo", "port": {"number": PORT}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    rules = [{"host": host, "http": {"paths": paths}}]
    metadata = {"name": "echo", "namespace": NAMESPACE}
    spec = {"ingressClassName": "istio", "rules": rules}
    kube.apply([{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}])
    yield host
    kube.text("delete", "ingress", "echo", f"--namespace={NAMESPACE}", "--ignore-not-found")


def test_an_ingress_of_its_class_is_served_at_the_gateways_address(kube: Kube, echo: Echo, ingress: str) -> None:
    def address() -> str:
        status = kube("get", "ingress", "echo", f"--namespace={NAMESPACE}")["status"]
        return str((status["loadBalancer"].get("ingress") or [{}])[0].get("ip"))

    eventually(lambda: echo.ask(host=ingress).status == 200, seconds=30, what="the Ingress leads to the echo")
    assert echo.ask(host=ingress).body["pod"].startswith("echo-")
    eventually(lambda: address() == echo.address, seconds=30, what="the Ingress has the gateway's address")
    # Hosts of others are as they were, although istiod's Gateway for an Ingress is for all hosts.
    assert echo.ask().status == 200
    assert echo.ask(host="else.local").status == 404


@pytest.fixture
def route(kube: Kube, echo: Echo) -> Iterator[str]:
    """Give the host of an HTTPRoute at the Gateway that the role makes, which leads to the echo."""
    host = f"route.{echo.address.replace('.', '-')}.local"
    parents = [{"name": "slipway", "namespace": "istio-system"}]
    backends = [{"name": "echo", "port": PORT}]
    metadata = {"name": "echo", "namespace": NAMESPACE}
    spec = {"parentRefs": parents, "hostnames": [host], "rules": [{"backendRefs": backends}]}
    kube.apply(
        [{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": spec}]
    )
    yield host
    kube.text("delete", "httproute", "echo", f"--namespace={NAMESPACE}", "--ignore-not-found")


def test_a_route_of_the_gateway_api_leads_through_the_gateway_that_is_there(kube: Kube, echo: Echo, route: str) -> None:
    def programmed() -> bool:
        found = kube("get", "gateways.gateway.networking.k8s.io", "slipway", "--namespace=istio-system")["status"]
        states = {one["type"]: one["status"] for one in found.get("conditions", [])}
        return states.get("Programmed") == "True"

    eventually(programmed, seconds=60, what="istiod serves the Gateway")
    eventually(lambda: echo.ask(host=route).status == 200, seconds=30, what="the route leads to the echo")
    assert echo.ask(8080, host=route).body["pod"].startswith("echo-")
    # No second gateway, and no second address.
    services = kube("get", "services", "--namespace=istio-system")["items"]
    balanced = [item["metadata"]["name"] for item in services if item["spec"]["type"] == "LoadBalancer"]
    assert balanced == ["istio-ingressgateway"]
    assert {item["metadata"]["name"] for item in kube("get", "gatewayclasses")["items"]} >= {"istio"}
    assert echo.ask().status == 200
    assert echo.ask(host="else.local").status == 404


def test_names_go_into_a_hosts_file_on_request_and_out_again(echo: Echo, page: dict[str, Any], tmp_path: Path) -> None:
    printed = playbook("playbooks/hosts.yml").stdout
    assert f"{echo.address} {echo.host}" in printed
    marks = [f"# {mark} Slipway cluster {page['cluster_name']}" for mark in ("BEGIN", "END")]
    # Parts of the cluster that people open in a browser have names of their own.
    parts = {f"{part}.{page['cluster_name']}.local" for part in ("grafana", "headlamp", "kiali", "tracing")}
    without, file = "127.0.0.1 localhost\n", tmp_path / "hosts"
    file.write_text(without)
    for state, changed in (("present", 1), ("present", 0), ("absent", 1), ("absent", 0)):
        run = playbook("playbooks/hosts.yml", "-e", f"hosts_state={state}", "-e", f"hosts_file={file}")
        assert f"changed={changed}" in run.stdout, run.stdout[-2000:]
        first, *block = file.read_text().splitlines(keepends=True)
        assert first == without
        if state == "absent":
            assert block == []
            continue
        begin, line, end = (text.strip() for text in block)
        assert [begin, end] == marks
        address, *names = line.split()
        assert (address, names[0]) == (echo.address, echo.host)
        assert set(names[1:]) <= parts
