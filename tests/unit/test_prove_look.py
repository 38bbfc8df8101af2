"""What is found out of a cluster before anything is asked of a release on it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from slipway import prove
from slipway.prove import look
from slipway.prove.planner import ASKED_BY, KINDS
from slipway.prove.verdicts import JUDGED_BY

from tests.support.errors import refused
from tests.support.prove import FakeCluster, gateway_service, ready_pod, service
from tests.support.release import shipped

Json = dict[str, Any]
FACTS = shipped("sms-checker").facts
GATEWAYS = "/apis/networking.istio.io/v1/gateways"
ROUTES = "/apis/networking.istio.io/v1/virtualservices"
GATEWAY_PODS = "/api/v1/namespaces/istio-system/pods?labelSelector=istio%3Dingressgateway"


def deployments(**settings: str) -> list[Json]:
    found = []
    for name, declared in FACTS["services"].items():
        image = f"slipway.local/apps/{name.removeprefix('app-').removesuffix('-service')}:1.0.0"
        for version in declared["versions"].values():
            env = [{"name": key, "value": value} for key, value in settings.items()]
            pod = {"spec": {"containers": [{"image": image, "env": env}]}}
            found.append({"metadata": {"name": version["deployment"]}, "spec": {"template": pod}})
    return found


def of_release(name: str, namespace: str) -> Json:
    labels = {"app.kubernetes.io/managed-by": "slipway", "slipway.io/release": name}
    return {**labels, "slipway.io/namespace": namespace}


def route(name: str, namespace: str, hosts: list[str], *to: str, labels: Json | None = None) -> Json:
    rules = [{"route": [{"destination": {"host": host}} for host in to]}]
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"hosts": hosts, "gateways": ["g"], "http": rules},
    }


def gateway(hosts: list[str], number: int = 80, protocol: str = "HTTP") -> Json:
    return {"spec": {"servers": [{"port": {"number": number, "protocol": protocol}, "hosts": hosts}]}}


def cluster(**more: Any) -> FakeCluster:
    own = [service("default", each["host"].split(".")[0], clusterIP=f"10.96.1.{index}")
           for index, each in enumerate(FACTS["services"].values(), 1)]  # fmt: skip
    answers = {
        "/api/v1/services": [gateway_service(), *own],
        "/api/v1/namespaces": [{"metadata": {"name": "default"}}],
        "/apis/apps/v1/namespaces/default/deployments": deployments(),
        GATEWAYS: [],
        ROUTES: [],
        GATEWAY_PODS: [ready_pod("gateway-b", node="node-2"), ready_pod("gateway-a", node="node-1")],
    }
    return FakeCluster({**answers, **more})


def test_a_look_gives_all_that_a_plan_and_its_jobs_need() -> None:
    found = look.look(cluster(), FACTS, away=lambda address: f"{address} is far")
    assert found.targets["gateway"] == "192.0.2.92"
    assert found.targets[FACTS["services"]["model-service"]["host"]] == "10.96.1.3"
    assert (found.node, found.namespace, found.stale, found.sink) == (
        "node-1",
        "slipway-prove-sms-checker",
        False,
        None,
    )
    assert found.environment["tells"]
    assert not found.environment["monitoring"]
    assert found.environment["missing_tools"] == ["grafana", "prometheus"]
    plan = prove.plan(FACTS, found.environment)
    (address,) = (claim for claim in plan["claims"] if claim["kind"] == "address")
    assert (address["state"], address["reason"]) == ("configured", "192.0.2.92 is far")
    for name, senders in prove.stages(plan):
        for by in senders:
            prove.job(plan, name, by, found.targets)


def test_where_the_way_is_short_this_machine_asks_too() -> None:
    found = look.look(cluster(), FACTS, away=lambda _: "")
    plan = prove.plan(FACTS, found.environment)
    made = prove.job(plan, "quiet", "here", found.targets)
    assert made["check_route"]
    assert "network" not in made
    assert [step["to"] for each in made["experiments"] for step in each["steps"]] == ["gateway"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"/api/v1/services": []}, "gateway-not-ready: address"),
        ({GATEWAY_PODS: [{**ready_pod("g"), "status": {}}]}, "gateway-not-ready: Ready"),
        ({"/api/v1/services": [gateway_service()]}, "release-not-there: sms-checker"),
        (
            {"/api/v1/namespaces": [{"metadata": {"name": "slipway-prove-sms-checker"}}]},
            "namespace-taken: slipway-prove-sms-checker",
        ),
    ],
)
def test_where_a_proof_cannot_begin_it_is_said_why(change: Json, said: str) -> None:
    with refused(said):
        look.look(cluster(**change), FACTS)


def test_claims_are_left_out_by_their_kind() -> None:
    plan = prove.plan(FACTS, look.look(cluster(), FACTS, skip=["share", "mtls"]).environment)
    states = {claim["kind"]: claim["state"] for claim in plan["claims"]}
    assert (states["share"], states["mtls"], states["chain"]) == ("skipped", "skipped", "asked")
    with refused("unknown-claim: alerts … address, share"):
        look.look(cluster(), FACTS, skip=["mtls", "alerts"])


def test_every_kind_of_claim_can_be_left_out() -> None:
    known = set(KINDS)
    assert {claim["kind"] for claim in FACTS["claims"]} <= known
    assert set(ASKED_BY) == known
    # Circuit breaking, and what is outside, is read from the proxies alone; what a chart has besides is only listed.
    assert set(JUDGED_BY) == known - {"circuit-breaking", "outside", "egress", "listed"}


def test_what_a_run_has_left_is_seen() -> None:
    labels = {"app.kubernetes.io/managed-by": "slipway-prove"}
    left = [{"metadata": {"name": "slipway-prove-sms-checker", "labels": labels}}]
    assert look.look(cluster(**{"/api/v1/namespaces": left}), FACTS).stale


@pytest.mark.parametrize(
    ("release", "namespace", "expected"),
    [
        ("shop", "shop", "slipway-prove-shop"),
        ("shop", "default", "slipway-prove-shop"),
        ("shop", "two", "slipway-prove-shop-two"),
    ],
)
def test_clients_of_each_release_have_a_place_of_their_own(release: str, namespace: str, expected: str) -> None:
    assert look.client_namespace(release, namespace) == expected
    assert len(look.client_namespace("a" * 60, "b" * 60)) <= 63


def test_neighbours_are_the_hosts_of_other_releases_on_plain_http() -> None:
    gateways = [
        gateway(["team8.local", "one.local"], 8080),
        gateway(["two.local"], 443, "HTTPS"),
        gateway(["*.x.local"]),
    ]
    routes = [
        route("own", "default", ["team8.local"], labels=of_release("sms-checker", "default")),
        route("one", "one", ["one.local"], labels=of_release("one", "one")),
        route("two", "two", ["two.local"], labels=of_release("two", "two")),
        route("wild", "two", ["*.x.local"], labels=of_release("two", "two")),
        route("nobody", "three", ["one.local"]),
    ]
    assert look.neighbours(FACTS, gateways, routes) == [{"host": "one.local", "port": 8080}]


@pytest.mark.parametrize(
    ("services", "missing"),
    [
        ([], ["grafana"]),
        ([("default", "grafana")], ["grafana"]),
        ([("monitoring", "grafana")], []),
        ([("monitoring", "grafana", "graphs.elsewhere.svc.cluster.local")], ["grafana"]),
        ([("monitoring", "grafana", "graphs.elsewhere.svc.cluster.local"), ("elsewhere", "graphs")], []),
    ],
)
def test_a_tool_is_missing_when_its_service_is_wherever_routes_lead(
    services: list[tuple[str, ...]], missing: list[str]
) -> None:
    there = {
        (namespace, name): service(namespace, name, **({"externalName": other[0]} if other else {}))
        for namespace, name, *other in services
    }
    assert look.missing_tools({"grafana": "grafana.monitoring"}, there) == missing


def test_the_test_header_counts_when_every_hop_obeys_it() -> None:
    every = {each["metadata"]["name"]: each for each in deployments(APP_TEST_HEADER="1")}
    spoken = look.obeys(FACTS, every)
    assert spoken == {
        "test_header": True,
        "roles": {"app-frontend": "frontend", "app-service": "service", "model-service": "model"},
    }
    one = next(iter(every.values()))
    one["spec"]["template"]["spec"]["containers"][0]["env"] = []
    assert not look.obeys(FACTS, every)["test_header"]


def test_an_app_of_somebody_else_does_not_say_its_versions_unless_we_are_told() -> None:
    strange = [{"metadata": {"name": "x"}, "spec": {}}]
    other = cluster(**{"/apis/apps/v1/namespaces/default/deployments": strange})
    found = look.look(other, FACTS)
    assert not found.environment["tells"]
    states = {claim["kind"]: claim["state"] for claim in prove.plan(FACTS, found.environment)["claims"]}
    assert (states["share"], states["sticky"], states["mtls"]) == ("configured", "configured", "asked")
    assert look.look(other, FACTS, tells=True).environment["tells"]


@pytest.mark.parametrize(
    ("server", "labels", "expected"),
    [
        ("mail.box.svc.cluster.local:2525", {"slipway.io/mail-sink": "true"}, ["box", "mail"]),
        ("mail.box.svc.cluster.local:2525", {}, None),
        ("mail.box.example.org:25", {"slipway.io/mail-sink": "true"}, None),
        ("smtp.example.org:587", {}, None),
    ],
)
def test_mail_is_read_only_where_the_server_is_our_own(server: str, labels: Json, expected: list[str] | None) -> None:
    box = service("box", "mail")
    box["metadata"]["labels"] = labels
    assert look.mail_sink({"server": server}, {("box", "mail"): box}) == expected


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ([{"dst": "192.0.2.92", "dev": "eth1"}], ""),
        ([{"gateway": "10.0.2.2", "dev": "eth0"}], "192.0.2.92 is behind 10.0.2.2"),
        ([], "does not say how"),
    ],
)
def test_this_machine_asks_only_on_a_network_of_its_own(printed: list[Json], said: str) -> None:
    def execute(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command == ["ip", "-json", "route", "get", "192.0.2.92"]
        return subprocess.CompletedProcess(command, 0, json.dumps(printed), "")

    found = look.way("192.0.2.92", execute)
    assert (said in found) if said else not found


def test_hosts_with_connections_of_their_own_are_those_of_other_gateways() -> None:
    own = FACTS["hosts"][0]
    gateways = [
        gateway([own, "grafana." + own], 443, "HTTPS"),
        gateway(["other/shop.local", "*.wild.local", "b.local"], 443, "HTTPS"),
        gateway(["clear.local"], 80),
        gateway(["through.local"], 443, "TLS"),
        gateway(["*", "shared.local"], 443, "HTTPS"),
        gateway([f"*.{own.partition('.')[2]}", "wide.local"], 443, "HTTPS"),
        {"spec": {"selector": {"istio": "another"}, **gateway(["far.local"], 443, "HTTPS")["spec"]}},
        {"spec": {"selector": {"istio": "ingressgateway"}, **gateway(["kiali.lab.local"], 443, "HTTPS")["spec"]}},
    ]
    assert look.elsewhere(FACTS, gateways) == ["b.local", "kiali.lab.local", "shop.local"]
    found = look.look(cluster(**{GATEWAYS: gateways}), FACTS)
    assert found.environment["elsewhere"] == ["b.local", "kiali.lab.local", "shop.local"]
    prove.plan(FACTS, found.environment)
