"""A chart for ingress-nginx on the mesh's gateway: its annotations do there what they do in nginx."""

from __future__ import annotations

import http.client
import shutil
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.kube import eventually
from tests.support.mesh import gateway_address, own_address
from tests.support.releases import Stage
from tests.support.traffic import asked

CHARTS = Path(__file__).parent / "charts"
PAGE = str(CHARTS / "desk.yml")
CLASS = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "IngressClass",
    "metadata": {"name": "nginx"},
    "spec": {"controller": "istio.io/ingress-controller"},
}
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: desk}
spec:
  parentRefs: [{name: slipway, namespace: istio-system}]
  hostnames: [desk.local]
  rules:
    - matches: [{headers: [{name: x-desk, value: always}]}]
      backendRefs: [{name: desk-canary, port: 80}]
    - backendRefs: [{name: desk, port: 80, weight: 80}, {name: desk-canary, port: 80, weight: 20}]
"""
HOST, ADMIN = "desk.local", "admin.desk.local"


@pytest.fixture
def served(empty: Stage) -> Iterator[Stage]:
    """The cluster with the class nginx, as ``cluster_ingress_classes: [istio, nginx]`` makes it."""
    empty.kube.apply([CLASS])
    yield empty
    empty.take_away((PAGE,))
    empty.kube.text("delete", "ingressclass", "nginx", "--ignore-not-found")


def changed(folder: Path, **values: Any) -> str:
    """Write a page of the chart with other values."""
    (folder / "changed").mkdir(exist_ok=True)
    made = folder / "changed" / "desk.yml"
    made.write_text(f"name: desk\nchart: {{path: {CHARTS / 'desk'}, set: {values}}}\n")
    return str(made)


def applied(stage: Stage) -> dict[str, set[str]]:
    """Names of what leads requests, by kind."""
    found: dict[str, set[str]] = {}
    for item in stage.kube("get", "ingresses,virtualservices,gateways.networking.istio.io", "--namespace=desk")[
        "items"
    ]:
        found.setdefault(item["kind"], set()).add(item["metadata"]["name"])
    return found


def test_shares_headers_and_rewrites_of_a_chart_for_nginx_are_proved(served: Stage, tmp_path: Path) -> None:
    run = served.release(PAGE, prove="always").expect()
    assert "what stands in its place is Gateway/desk/desk-desk-local" in run.output
    assert "proxy-body-size is not needed" in run.output
    # The one of another host, which says nothing to nginx, stays.
    there = applied(served)
    assert (set(there), there["Ingress"]) == ({"Gateway", "Ingress", "VirtualService"}, {"desk-admin"})
    assert {"share", "override", "tool"} <= served.kinds("desk", "passed")
    served.passed("desk")
    address = gateway_address(served.kube)
    # The app has /version, and answers 404 for what it does not know.
    assert [
        asked(address, HOST, path).status for path in ("/tickets/version", "/TICKETS/version", "/tickets/none")
    ] == [
        *("200", "200"),
        "404",
    ]
    assert asked(address, HOST, "/", headers={"x-desk": "always"}).version == "v2"
    assert served.release(PAGE, prove="never").expect().total("changed") == 0
    # Another share, and an Ingress that the next change takes away.
    served.release(changed(tmp_path, **{"canary.weight": 100}), prove="always").expect()
    assert {asked(address, HOST, "/").version for _ in range(10)} == {"v2"}


def test_a_limit_and_an_allow_list_hold_at_the_gateway(served: Stage, tmp_path: Path) -> None:
    address = gateway_address(served.kube)
    served.release(changed(tmp_path, limit=6, allowed="203.0.113.0/24"), prove="never").expect()
    eventually(lambda: asked(address, ADMIN, "/").status == "403", seconds=30, what="this machine is not let in")
    assert asked(address, HOST, "/").status == "200"
    statuses = [asked(address, HOST, "/").status for _ in range(10)]
    assert statuses.count("429") >= 3
    served.release(changed(tmp_path, allowed=f"{own_address(address)}/32"), prove="never").expect()
    eventually(lambda: asked(address, ADMIN, "/").status == "200", seconds=30, what="this machine is let in")
    assert {asked(address, HOST, "/").status for _ in range(20)} == {"200"}


def test_tls_is_answered_with_the_gateways_certificate_until_the_secret_is_beside_it(
    served: Stage, tmp_path: Path
) -> None:
    run = served.release(changed(tmp_path, tls=True), prove="always").expect()
    assert "its TLS Secret desk-tls is not in istio-system, where the gateway reads" in run.output
    served.passed("desk")
    address = gateway_address(served.kube)
    eventually(lambda: asked(address, HOST, "/").status == "301", seconds=30, what="port 80 leads to 443")
    trust = ssl.create_default_context()
    # The gateway's own certificate is not for this host. nginx does the same until the Secret is there.
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    with closing(http.client.HTTPConnection(address, 443, timeout=10)) as connection:
        connection.connect()
        connection.sock = trust.wrap_socket(connection.sock, server_hostname=HOST)
        connection.request("GET", "/", headers={"Host": HOST})
        assert connection.getresponse().status == 200


def test_routes_of_the_gateway_api_are_proved(empty: Stage, tmp_path: Path) -> None:
    """The chart's pods, with an HTTPRoute at the mesh's gateway in the place of its Ingresses."""
    if not empty.kube.text(
        "get", "customresourcedefinitions", "--ignore-not-found", "httproutes.gateway.networking.k8s.io"
    ):
        pytest.skip("this cluster has no Gateway API: cluster_gateway_api is off")
    chart = shutil.copytree(CHARTS / "desk", tmp_path / "desk")
    (chart / "templates" / "ingress.yaml").write_text(ROUTE)
    page = tmp_path / "desk.yml"
    page.write_text("name: desk\nchart: ./desk\n")
    try:
        empty.release(str(page), prove="always").expect()
        empty.passed("desk")
        assert {"share", "override"} <= empty.kinds("desk", "passed")
        assert empty.release(str(page), prove="never").expect().total("changed") == 0
    finally:
        empty.take_away((str(page),))


def test_a_chart_is_left_as_it_is_where_nobody_serves_its_class(empty: Stage) -> None:
    try:
        run = empty.release(PAGE, prove="never").expect()
        assert "cluster_ingress_classes: [istio, nginx] on the cluster's page" in run.output
        assert set(applied(empty)) == {"Ingress"}
    finally:
        empty.take_away((PAGE,))
