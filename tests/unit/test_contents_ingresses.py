"""What becomes of a chart's Ingresses: they stay, objects of the mesh stand in their place, or they are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slipway.cluster.objects import identity
from slipway.contents import ingresses
from slipway.contents.ingresses import CONTROLLER, Entrance

from tests.support.ingresses import AT, ingress, of, planned, routes

Object = dict[str, Any]


def test_an_ingress_that_istiod_reads_as_it_is_meant_stays() -> None:
    plan = planned(ingress())
    assert [identity(item) for item in of(plan, "Ingress")] == ["Ingress/shop/web"]
    assert (of(plan, "VirtualService"), plan.planned.warnings, plan.faults) == ([], [], [])
    assert [item["kind"] for item in plan.beside] == ["Gateway", "VirtualService"]


@pytest.mark.parametrize("at", [Entrance(), replace(AT, classes=frozenset({"istio"}))])
def test_an_ingress_of_another_class_is_left_alone(at: Entrance) -> None:
    plan = planned(ingress(annotations={"rewrite-target": "/"}, sort="ImplementationSpecific"), at=at)
    assert len(of(plan, "Ingress")) == 1
    assert (plan.beside, plan.planned.warnings) == ([], [])


def test_a_chart_with_a_class_of_its_own_is_left_alone() -> None:
    own = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: nginx}\nspec: {controller: k8s.io/x}"
    assert len(of(planned(own, ingress(annotations={"rewrite-target": "/"})), "Ingress")) == 1


def test_classes_are_those_of_istiods_controller() -> None:
    def item(name: str, controller: str, default: str = "false") -> Object:
        annotations = {"ingressclass.kubernetes.io/is-default-class": default}
        return {"metadata": {"name": name, "annotations": annotations}, "spec": {"controller": controller}}

    found = ingresses.entrance([item("a", "k8s.io/ingress-nginx", "true"), item("b", CONTROLLER, "true")])
    assert (found.classes, found.default) == (frozenset({"b"}), "b")
    assert ingresses.entrance([item("a", "k8s.io/ingress-nginx", "true"), item("b", CONTROLLER)]).default == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ingress(annotations={"ssl-redirect": "false"}), "does not read annotations of nginx"),
        (ingress(sort="ImplementationSpecific", named="istio"), "would be that path alone to istiod"),
        (ingress(defaultBackend={"service": {"name": "back", "port": {"number": 80}}}), "takes no defaultBackend"),
        (ingress(tls="other-tls", named="istio"), "its TLS Secret is not in istio-system"),
        (ingress(tls="shop-tls"), "nginx would redirect its hosts"),
        (
            ingress(named="").replace("annotations: {}", "annotations: {kubernetes.io/ingress.class: nginx}"),
            "does not read the class nginx in an annotation",
        ),
    ],
)
def test_what_istiod_reads_otherwise_becomes_objects_of_the_mesh_and_that_is_said(text: str, words: str) -> None:
    plan = planned(text)
    assert of(plan, "Ingress") == []
    (first, *_) = plan.planned.warnings
    assert "is not applied: what stands in its place is Gateway/shop/web-shop-local, VirtualService/shop/web-s" in first
    assert words in first
    assert plan.faults == []


def test_those_beside_one_that_does_not_stay_go_with_it() -> None:
    plan = planned(ingress("a", path="/a"), ingress("b", path="/b", annotations={"rewrite-target": "/"}))
    assert of(plan, "Ingress") == []
    (item,) = of(plan, "VirtualService")
    assert [rule["match"][0]["uri"] for rule in item["spec"]["http"]] == [{"exact": "/a"}, {"exact": "/b"}]
    assert "Ingress/shop/b is not applied: it is part of what stands in place of others" in str(plan.planned.warnings)


def test_those_of_other_hosts_stay() -> None:
    texts = [
        ingress("a", path="/a"),
        ingress("b", annotations={"rewrite-target": "/", "server-alias": "b.local"}),
        ingress("c", host="b.local", path="/c"),
        ingress("d", host="d.local"),
    ]
    plan = planned(*texts)
    assert [item["metadata"]["name"] for item in of(plan, "Ingress")] == ["d"]
    assert [item["spec"]["hosts"] for item in of(plan, "VirtualService")] == [["shop.local"], ["b.local"]]
    assert [item["of"] for item in plan.beside] == ["Ingress/shop/d"] * 2
    assert "Ingress/shop/c is not applied: it is part of what stands in place of others" in str(plan.planned.warnings)
    assert "because another Ingress with its host does not stay" in str(plan.planned.warnings)


def test_longer_paths_come_first_and_a_prefix_is_one_of_whole_parts() -> None:
    texts = [
        ingress("a", path="/"),
        ingress("b", path="/shop"),
        ingress("c", path="/shop", sort="Exact", annotations={"use-regex": "false"}),
        ingress("d", path="/shop/cart/*", sort="ImplementationSpecific"),
    ]
    assert [[match["uri"] for match in rule["match"]] for rule in routes(*texts)] == [
        [{"exact": "/shop/cart"}, {"prefix": "/shop/cart/"}],
        [{"exact": "/shop"}],
        [{"exact": "/shop"}, {"prefix": "/shop/"}],
        [{"prefix": "/"}],
    ]


def test_a_named_port_is_that_of_the_service_and_one_that_is_nowhere_is_refused() -> None:
    (rule,) = routes(ingress(port={"name": "http"}, sort="ImplementationSpecific"))
    assert rule["route"][0]["destination"] == {"host": "web.shop.svc.cluster.local", "port": {"number": 80}}
    (fault,) = planned(ingress(port={"name": "grpc"}, sort="ImplementationSpecific")).faults
    assert fault.id == "ingress-port-unknown"
    assert "has Ingress/shop/web (shop/templates/all.yaml): it leads to a named port of Service web" in fault.what
    # istiod finds the port of a Service that is elsewhere by itself.
    assert planned(ingress(port={"name": "grpc"})).faults == []


def test_a_default_backend_takes_what_no_path_does() -> None:
    default = {"service": {"name": "back", "port": {"number": 80}}}
    first, second = routes(ingress(path="/shop", defaultBackend=default))
    assert first["match"][0]["uri"] == {"exact": "/shop"}
    assert (second["match"], second["route"][0]["destination"]["host"]) == (
        [{"uri": {"prefix": "/"}}],
        "back.shop.svc.cluster.local",
    )
    alone = ingress(host="", defaultBackend=default).replace("rules:", "unused:")
    (item,) = of(planned(alone), "VirtualService")
    assert item["spec"]["hosts"] == ["*"]


@pytest.mark.parametrize(
    ("text", "servers", "redirects", "secret", "words"),
    [
        (ingress(tls="shop-tls"), [80, 443], True, "shop-tls", ""),
        (ingress(tls="shop-tls", annotations={"ssl-redirect": "false"}), [80, 443], False, "shop-tls", ""),
        (ingress(tls="else-tls"), [80, 443], True, "slipway-gateway-tls", "TLS Secret else-tls is not in istio-system"),
        (ingress(tls=""), [80, 443], True, "slipway-gateway-tls", ""),
        (ingress(tls="else-tls", named="istio"), [80, 443], False, "slipway-gateway-tls", "certificate answers"),
        (ingress(annotations={"ssl-redirect": "true"}), [80], False, None, "does nothing for shop.local, which has no"),
    ],
)
def test_tls_is_answered_at_443_with_a_certificate_that_the_gateway_can_read(
    text: str, servers: list[int], redirects: bool, secret: str | None, words: str
) -> None:
    plan = planned(text)
    (gateway,) = of(plan, "Gateway")
    ports = {server["port"]["number"]: server for server in gateway["spec"]["servers"]}
    assert list(ports) == servers
    assert (ports[80].get("tls") == {"httpsRedirect": True}) is redirects
    assert ports.get(443, {"tls": {}})["tls"].get("credentialName") == secret
    assert words in str(plan.planned.warnings)
    (route,) = of(plan, "VirtualService")
    assert route["spec"]["gateways"] == [f"shop/{gateway['metadata']['name']}"]


def test_hosts_with_one_certificate_have_one_gateway() -> None:
    texts = [
        ingress("a", tls="shop-tls"),
        ingress("b", host="b.local", tls="shop-tls"),
        ingress("c", host="c.local", sort="ImplementationSpecific"),
    ]
    hosts = [item["spec"]["servers"][0]["hosts"] for item in of(planned(*texts), "Gateway")]
    assert hosts == [["shop.local", "b.local"], ["c.local"]]


def test_a_gateway_without_port_443_has_no_tls_and_that_is_said() -> None:
    plan = planned(ingress(tls="shop-tls"), at=replace(AT, ports={80: 10080}))
    (gateway,) = of(plan, "Gateway")
    assert [server["port"]["number"] for server in gateway["spec"]["servers"]] == [80]
    assert "its tls does nothing: the gateway has no port 443" in str(plan.planned.warnings)


def test_a_route_of_the_chart_for_the_same_host_is_told() -> None:
    route = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: own}\n"
    route += "spec: {hosts: [shop.local], gateways: [shop], http: [{route: [{destination: {host: web}}]}]}"
    for text in (ingress(), ingress(annotations={"rewrite-target": "/"})):
        assert "Ingress/shop/web and VirtualService/shop/own are both for shop.local" in str(
            planned(text, route).planned.warnings
        )


def test_a_name_that_the_chart_has_already_is_refused() -> None:
    route = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web-shop-local}\nspec: {}"
    (fault,) = planned(ingress(annotations={"rewrite-target": "/"}), route).faults
    assert (fault.id, "which Ingress/shop/web becomes, too" in fault.what) == ("duplicate-object", True)


def test_what_leads_to_no_service_is_told() -> None:
    text = ingress(annotations={"use-regex": "true"}).replace("service:", "resource:")
    assert "leads to no Service" in str(planned(text).planned.warnings)
