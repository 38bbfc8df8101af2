"""What `make graph` draws of a namespace."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from slipway.cluster import reader
from slipway.cluster.access import UnansweredError
from slipway.status import graph as drawing
from slipway.status.graph import Edge, dot, graph, quoted, svg

from tests.support.errors import refused


def thing(kind: str, name: str, spec: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    labels, owners = more.pop("labels", {}), more.pop("owners", [])
    metadata = {
        "name": name,
        "namespace": "shop",
        "labels": labels,
        "ownerReferences": [{"kind": k, "name": n} for k, n in owners],
    }
    return {"kind": kind, "metadata": metadata, "spec": spec or {}, **more}


POD_SPEC = {
    "nodeName": "node-1",
    "serviceAccountName": "web-v1",
    "containers": [
        {
            "envFrom": [{"secretRef": {"name": "keys"}, "prefix": "A_"}],
            "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "x"}}}],
        }
    ],
    "volumes": [{"persistentVolumeClaim": {"claimName": "data"}}, {"configMap": {"name": "kube-root-ca.crt"}}],
}
LABELS = {"app": "web", "version": "v1"}
BACKENDS = [{"name": "web", "weight": 90}, {"name": "web--v2", "weight": 10}]
SHOP = [
    thing("Gateway", "gw", {"servers": [{"hosts": ["shop.local"]}]}),
    thing(
        "VirtualService",
        "web",
        {
            "hosts": ["shop.local"],
            "gateways": ["shop/gw", "other/gw"],
            "http": [
                {"route": [{"destination": {"host": "web", "subset": "v1"}}]},
                {
                    "route": [
                        {"destination": {"host": "web.shop.svc.cluster.local", "subset": "v1"}, "weight": 90},
                        {"destination": {"host": "web", "subset": "v2"}, "weight": 10},
                    ]
                },
            ],
        },
    ),
    thing(
        "HTTPRoute",
        "door",
        {"rules": [{"backendRefs": [{"name": "web", "weight": 1}]}, {"backendRefs": BACKENDS}, {"filters": []}]},
    ),
    thing("Service", "web--v2", {"selector": {"app": "other"}}),
    thing("DestinationRule", "web", {"host": "web", "subsets": [{"name": "v1"}, {"name": "v2"}]}),
    thing("Service", "web", {"selector": {"app": "web"}, "ports": [{"port": 80}]}, labels={"app": "web"}),
    thing("Deployment", "web-v1", {"replicas": 2}, status={"readyReplicas": 1}),
    thing("ReplicaSet", "web-v1-abc", owners=[("Deployment", "web-v1")]),
    *(thing("Pod", f"web-v1-abc-{n}", POD_SPEC, labels=LABELS, owners=[("ReplicaSet", "web-v1-abc")]) for n in "xy"),
    thing("ServiceAccount", "web-v1"),
    thing("Secret", "keys"),
    thing("ConfigMap", "settings"),
    thing("ConfigMap", "kube-root-ca.crt"),
    thing("PersistentVolumeClaim", "data"),
    thing("ServiceMonitor", "web", {"selector": {"matchLabels": {"app": "web"}}}),
    thing("AlertmanagerConfig", "mail", {"receivers": [{"emailConfigs": [{"authPassword": {"name": "keys"}}]}]}),
    thing("PeerAuthentication", "strict", {"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "STRICT"}}),
]  # fmt: skip
WEB = ("Deployment", "web-v1")


@pytest.mark.parametrize(
    "edge",
    [
        Edge(("Gateway", "gw"), ("VirtualService", "web")),
        Edge(("VirtualService", "web"), ("Service", "web"), "v1, v1 90 %, v2 10 %"),
        Edge(("HTTPRoute", "door"), ("Service", "web"), "90 %"),
        Edge(("HTTPRoute", "door"), ("Service", "web--v2"), "10 %"),
        Edge(("DestinationRule", "web"), ("Service", "web"), "v1, v2"),
        Edge(("Service", "web"), WEB),
        Edge(WEB, ("Pod", "web-v1-abc-x")),
        Edge(WEB, ("Pod", "web-v1-abc-y")),
        Edge(WEB, ("ServiceAccount", "web-v1")),
        Edge(WEB, ("Secret", "keys"), "reads"),
        Edge(WEB, ("ConfigMap", "settings"), "reads"),
        Edge(WEB, ("PersistentVolumeClaim", "data"), "mounts"),
        Edge(("ServiceMonitor", "web"), ("Service", "web"), "scrapes"),
        Edge(("AlertmanagerConfig", "mail"), ("Secret", "keys")),
        Edge(("PeerAuthentication", "strict"), WEB),
    ],
)
def test_relations_are_found(edge: Edge) -> None:
    assert edge in graph(SHOP).edges


def test_nothing_else_is_drawn() -> None:
    drawn = graph(SHOP)
    assert len(drawn.edges) == 15
    kinds = {kind for kind, _ in drawn.nodes}
    assert "ReplicaSet" not in kinds
    assert ("ConfigMap", "kube-root-ca.crt") not in drawn.nodes


def test_what_a_thing_is_can_be_read_off_it() -> None:
    nodes = graph(SHOP).nodes
    assert nodes[WEB] == "1 of 2 ready"
    assert nodes["Pod", "web-v1-abc-x"] == "v1 on node-1"
    assert nodes["Gateway", "gw"] == "shop.local"
    assert nodes["PeerAuthentication", "strict"] == "STRICT"


def test_the_same_objects_give_the_same_text() -> None:
    assert dot(graph(SHOP), "shop") == dot(graph(reversed(SHOP)), "shop")


def test_names_cannot_leave_their_quotes() -> None:
    assert quoted('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'


def test_graphviz_draws_it() -> None:
    if not shutil.which("dot"):
        pytest.skip("Graphviz is not on this machine: apt-get install graphviz")
    picture = svg(dot(graph(SHOP), "shop")).decode()
    assert picture.rstrip().endswith("</svg>")
    assert "1 of 2 ready" in picture


def test_without_graphviz_it_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with refused("program-missing: apt-get install graphviz"):
        svg("digraph {}")


def test_without_a_cluster_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    assert drawing.main(["shop"]) == 1
    assert "there is no cluster here" in capsys.readouterr().err


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder, and a cluster that holds the namespace shop."""

    class Api:
        def __init__(self, kubeconfig: Path) -> None:
            assert kubeconfig == tmp_path / "kubeconfig"

        def get(self, path: str) -> Any:
            if path != "/api/v1/namespaces/shop":
                raise UnansweredError("api-refuses", f"{path} is not there")

        def listed(self, version: str, kind: str, namespace: str) -> list[Any]:
            assert (version, namespace) == ("networking.istio.io/v1", "shop") or kind != "Gateway"
            return [one for one in SHOP if one["kind"] == kind == "Gateway"]

    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    monkeypatch.setattr(reader, "Reader", Api)
    monkeypatch.setattr(drawing, "svg", lambda text: text.encode())
    return tmp_path


def test_a_namespace_is_drawn_into_the_state_folder_or_a_file(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drawing.main(["shop"]) == 0
    assert capsys.readouterr().out.startswith(f"{state}/graph/shop.svg: 1 objects")
    assert "gw" in (state / "graph/shop.svg").read_text()
    assert drawing.main(["shop", str(state / "deep/own.svg")]) == 0
    assert (state / "deep/own.svg").exists()


def test_a_namespace_that_is_not_there_is_told(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drawing.main(["shpo"]) == 1
    assert "`kubectl get namespaces` lists what there is" in capsys.readouterr().err
    assert not (state / "graph").exists()


def test_a_host_outside_is_no_service_that_begins_alike() -> None:
    drawn = graph(
        [
            thing("Service", "pay"),
            thing("ServiceEntry", "shop-pay", {"hosts": ["pay.example.com"]}),
            thing("DestinationRule", "shop-pay", {"host": "pay.example.com"}),
            thing(
                "VirtualService",
                "shop-pay",
                {"hosts": ["pay.example.com"], "http": [{"route": [{"destination": {"host": "pay.example.com"}}]}]},
            ),
            thing("Pod", "web-1", {"containers": []}, labels=LABELS),
            thing("RequestAuthentication", "web-jwt", {"selector": {"matchLabels": {"app": "web"}}}),
        ]
    )
    assert drawn.edges == [
        Edge(("DestinationRule", "shop-pay"), ("ServiceEntry", "shop-pay")),
        Edge(("VirtualService", "shop-pay"), ("ServiceEntry", "shop-pay")),
        Edge(("RequestAuthentication", "web-jwt"), ("Pod", "web-1")),
    ]
    assert drawn.nodes["ServiceEntry", "shop-pay"] == "pay.example.com"
