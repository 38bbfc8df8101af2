"""The plan: the order of its steps, what it holds against a cluster, what it promises, and how long it takes."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from slipway.page.read import SettingsError
from slipway.release.environment import Environment
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.errors import tells
from tests.support.release import RELEASES, at, names, one, page, shipped

IMAGE = "example.org/app:1.0"
SMALL: dict[str, Any] = {
    "name": "shop",
    "hosts": ["shop.local"],
    "weights": {"v1": 90, "v2": 10},
    "services": {"web": {"versions": {"v1": IMAGE, "v2": IMAGE}}},
}


def made(folder: Path, environment: Environment | None = None, **values: Any) -> Plan:
    return plan(load(page(folder, {**SMALL, **values})), environment)


def step_of(release: Plan, kind: str) -> int:
    (found,) = {n for n, step in enumerate(release.steps) for item in step.objects if item["kind"] == kind}
    return found


def test_nothing_is_routed_to_before_it_is_there() -> None:
    release = shipped("app-frontend")
    order = [
        "Namespace",
        "ServiceAccount",
        "Service",
        "DestinationRule",
        "Deployment",
        "VirtualService",
        "ServiceMonitor",
    ]
    assert [step_of(release, kind) for kind in order] == sorted(step_of(release, kind) for kind in order)
    assert step_of(release, "AuthorizationPolicy") < step_of(release, "Deployment")
    assert step_of(release, "PersistentVolumeClaim") < step_of(release, "Deployment")
    (workloads,) = [step for step in release.steps if step.wait]
    assert [wait["name"] for wait in workloads.wait] == [
        item["metadata"]["name"] for item in workloads.objects if item["kind"] == "Deployment"
    ]
    assert {wait["condition"] for wait in workloads.wait} == {"Available"}


def test_a_port_keeps_the_name_that_the_cluster_has_for_it(tmp_path: Path) -> None:
    """Endpoints go by the name; the one of a port that goes is not taken while it is there."""
    services = {"web": {"port": 9090, "metrics": "/metrics", "versions": {"v1": IMAGE}}}
    for known, name in (({}, "http"), ({8080: "http"}, "http-9090"), ({9090: "http-9090"}, "http-9090")):
        release = made(tmp_path, Environment(ports={"web": known}), services=services, weights={})
        assert at(one(release, "Service", "web"), "spec/ports/*/name") == [name]
        assert at(one(release, "ServiceMonitor", "web"), "spec/endpoints/*/port") == [name]


def test_the_selector_of_a_deployment_that_is_there_stays_while_it_fits(tmp_path: Path) -> None:
    def selector(version: str, labels: dict[str, str]) -> dict[str, str]:
        live = Environment(deployments={"web-v1": {"version": version, "selector": labels}})
        found: dict[str, str] = one(made(tmp_path, live), "Deployment", "web-v1")["spec"]["selector"]["matchLabels"]
        return found

    before = {"app": "web", "version": "v1"}
    new = {"app": "web", "slipway.io/version": "v1", "slipway.io/workload": "web-v1"}
    assert selector("v1", before) == before
    assert selector("v2", before) == new
    assert selector("v1", {"app": "web", "version": "stable"}) == new


FAULTS: list[tuple[dict[str, Any], dict[str, Any], str, str, str]] = [
    (
        {},
        {"hosts_taken": {"shop.local": "other/other"}},
        "hosts[0]",
        "host-taken: shop.local … other/other",
        "another host",
    ),
    (
        {"tools": {"grafana": "grafana"}},
        {"hosts_taken": {"grafana.shop.local": "o/o"}},
        "tools.grafana.host",
        "host-taken: o/o",
        "release_hosts=",
    ),
    (
        {"override": {"hosts": {"next": "v2"}}},
        {"hosts_taken": {"next.shop.local": "o/o"}},
        "override.hosts.next",
        "host-taken: o/o",
        "another host",
    ),
    (
        {"gateway": {"ports": [81]}},
        {"gateway_ports": [443, 80, 8080]},
        "gateway.ports[0]",
        "gateway-port-closed: 443, 80, 8080",
        "ports: [80]",
    ),
    (
        {},
        {"gateway_ports": [443]},
        "gateway.ports[0]",
        "gateway-port-closed: 443",
        "cluster_gateway: {ports: [80, 443]} in group_vars/all/cluster.yml",
    ),
    (
        {"gateway": {"tls": {}}},
        {"gateway_ports": [80, 8080]},
        "gateway.tls",
        "gateway-port-closed: 443 … 80, 8080",
        "no tls, or cluster_gateway: {ports: [80, 443, 8080]}",
    ),
    (
        {"secrets": {"tokn": {"existing": True}}, "image_pull_secrets": ["tokn"]},
        {"secrets": ["token"]},
        "secrets.tokn",
        "secret-not-in-cluster: shop",
        "token, or tokn: {keys:",
    ),
    (
        {"secrets": {"t": {"existing": True}}, "image_pull_secrets": ["t"]},
        {"secrets": []},
        "secrets.t",
        "secret-not-in-cluster: shop",
        "t: {keys:",
    ),
    (
        {"volumes": {"disk": {"size": "1Gi", "storage_class": "fats"}}},
        {"storage_classes": ["fast"]},
        "volumes.disk.storage_class",
        "unknown-storage-class",
        "storage_class: fast",
    ),
    (
        {"volumes": {"disk": {"size": "1Gi", "storage_class": "fast"}}},
        {"storage_classes": []},
        "volumes.disk.storage_class",
        "unknown-storage-class",
        "{storage: true}",
    ),
    (
        {},
        {"objects_taken": {"Service/shop/web": "o/o"}},
        "services.web",
        "object-taken: Service/shop/web … o/o's",
        "release_namespace=another",
    ),
    (
        {"volumes": {"disk": {"size": "1Gi"}}},
        {"objects_taken": {"PersistentVolumeClaim/shop/disk": "o/o"}},
        "name",
        "object-taken: o/o's",
        "another name in names",
    ),
]


@pytest.mark.parametrize(("values", "cluster", "key", "what", "works"), FAULTS)
def test_what_this_cluster_has_against_it_is_told_like_everything_else(
    tmp_path: Path, values: dict[str, Any], cluster: dict[str, Any], key: str, what: str, works: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        made(tmp_path, Environment.of(cluster), **values)
    (problem,) = caught.value.problems
    assert problem.key == key
    tells(problem, what)
    assert works in problem.works
    assert problem.where.endswith(f"page.yml:{problem.line}")


def test_what_is_its_own_is_not_against_it(tmp_path: Path) -> None:
    environment = Environment.of(
        {
            "hosts_taken": {"shop.local": "shop/shop"},
            "objects_taken": {"Service/shop/web": "shop/shop"},
            "gateway_ports": [80],
            "secrets": ["token"],
            "storage_classes": ["fast"],
        }
    )
    values: dict[str, Any] = {
        "secrets": {"token": {"existing": True}},
        "image_pull_secrets": ["token"],
        "volumes": {"disk": {"size": "1Gi", "storage_class": "fast"}, "other": {"size": "1Gi"}},
    }
    assert made(tmp_path, environment, **values).objects


def test_tls_of_another_gateway_needs_no_port_of_this_one(tmp_path: Path) -> None:
    gateway = {"tls": {}, "use": "edge/shared"}
    assert made(tmp_path, Environment.of({"gateway_ports": [80]}), gateway=gateway).steps
    assert made(tmp_path, Environment.of({"gateway_ports": [80, 443]}), gateway={"tls": {}}).steps


def test_facts_of_a_cluster_are_plain_values() -> None:
    given = {"gateway_ports": [80], "secrets": ["a"], "storage_classes": None, "tools": {"kiali": "k.x:1"}}
    environment = Environment.of(given)
    assert environment.gateway_ports == (80,)
    assert environment.secrets == frozenset("a")
    assert environment.storage_classes is None
    assert environment.tools["kiali"] == "k.x:1"
    assert "grafana" in environment.tools
    with pytest.raises(TypeError):
        Environment.of({"wibble": 1})


OWN = "slipway.local/apps/model"


@pytest.mark.parametrize(
    ("image", "images", "fix"),
    [
        (f"{OWN}:1.0.0", None, None),
        (f"{OWN}:1.0.0", [f"{OWN}:1.0.0"], None),
        (f"{OWN}@sha256:{'0' * 64}", [f"{OWN}@sha256:{'0' * 64}"], None),
        (f"{OWN}:2@sha256:{'0' * 64}", [f"{OWN}@sha256:{'0' * 64}"], None),
        # Nodes pull it from its registry.
        ("example.org/model:1", [f"{OWN}:1.0.0"], None),
        (f"{OWN}:1.0.1", [f"{OWN}:1.0.0", f"{OWN}@sha256:0"], f"image: {OWN}:1.0.0"),
        (f"{OWN}@sha256:{'1' * 64}", [f"{OWN}@sha256:{'0' * 64}"], "cluster_releases: [this page], then `make up`"),
        (f"{OWN}:1.0.0", ["registry.k8s.io/pause:3"], "cluster_releases: [this page], then `make up`"),
    ],
)
def test_an_image_that_only_a_mirror_can_have_is_on_it(
    tmp_path: Path, image: str, images: list[str] | None, fix: str | None
) -> None:
    environment = Environment.of({"images": images})
    services = {"web": {"image": image, "versions": {"v1": {}, "v2": {}}}}
    weights = {"v1": 50, "v2": 50}
    if fix is None:
        assert made(tmp_path, environment, weights=weights, services=services).steps
        return
    with pytest.raises(SettingsError) as caught:
        made(tmp_path, environment, weights=weights, services=services)
    # Once, where it stands, though two versions run it.
    assert [(problem.key, problem.works) for problem in caught.value.problems] == [("services.web.image", fix)]


def taken_by_another(**values: Any) -> Environment:
    """The release under its former name, in the same namespace."""
    kinds = ("VirtualService/shop/shop-entry", "Service/shop/web", "Gateway/shop/shop")
    return Environment(
        objects_taken=dict.fromkeys(kinds, "shop/former"),
        hosts_taken={"shop.local": "shop/former"},
        host_holders={"shop.local": ["Gateway/shop/shop", "VirtualService/shop/shop-entry"]},
        **values,
    )


def test_objects_of_another_release_are_refused_or_taken_over_where_the_page_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        made(tmp_path, taken_by_another())
    taken = ("host-taken", "object-taken")
    assert all("shop/former" in problem.what for problem in caught.value.problems if problem.id in taken)
    said = {(problem.key, problem.works) for problem in caught.value.problems if problem.id in taken}
    assert {key for key, _ in said} >= {"hosts[0]", "services.web", "name"}
    assert any("adopt: true takes it over" in works for _, works in said)
    assert made(tmp_path, taken_by_another(), adopt=True).steps


def test_a_host_is_not_taken_over_while_the_other_release_keeps_what_holds_it(tmp_path: Path) -> None:
    elsewhere = Environment(
        hosts_taken={"shop.local": "b/b"}, host_holders={"shop.local": ["Gateway/b/b", "Gateway/shop/shop"]}
    )
    with pytest.raises(SettingsError) as caught:
        made(tmp_path, elsewhere, adopt=True)
    assert [problem.key for problem in caught.value.problems] == ["hosts[0]"]


def carried(release: Plan) -> dict[str, dict[str, str]]:
    """What pods carry, by Deployment."""
    return {
        item["metadata"]["name"]: item["spec"]["template"]["metadata"].get("annotations", {})
        for item in release.objects
        if item["kind"] == "Deployment"
    }


SECRETIVE: dict[str, Any] = {
    "secrets": {name: {"keys": {"K": {"environment": "E"}}} for name in ("env", "single", "file", "mail")},
    "volumes": {"disk": {"temporary": "1Mi"}},
    "services": {
        "web": {
            "image": IMAGE,
            "config": {"A": "1"},
            "secrets": "env",
            "versions": {"v1": {"env": {"X": {"secret": "single", "key": "K"}}}, "v2": {"mounts": {"file": "/f"}}},
        },
        "plain": {"versions": {"v1": {"image": IMAGE, "mounts": {"disk": "/d"}}}},
    },
    "mail": {"to": "a@b.c", "server": "m:25", "user": "u", "password": {"secret": "mail", "key": "K"}},
    "alerts": {"X": "errors > 5%"},
}


def with_secrets(folder: Path, revisions: dict[str, str], **values: Any) -> dict[str, dict[str, str]]:
    return carried(made(folder, Environment(secret_revisions=revisions), **{**SECRETIVE, **values}))


@pytest.mark.parametrize(
    ("changed", "restarted"),
    [
        ("env", {"web-v1", "web-v2"}),
        ("single", {"web-v1"}),
        ("file", {"web-v2"}),
        # The Alertmanager reads it, and no pod of the release.
        ("mail", set()),
    ],
)
def test_pods_are_made_anew_when_a_secret_that_they_use_changes(
    tmp_path: Path, changed: str, restarted: set[str]
) -> None:
    revisions = {"env": "1", "single": "1", "file": "1", "mail": "1"}
    before = with_secrets(tmp_path, revisions)
    assert with_secrets(tmp_path, dict(reversed(revisions.items()))) == before
    after = with_secrets(tmp_path, {**revisions, changed: "2"})
    assert {name for name in before if before[name] != after[name]} == restarted
    assert before["plain-v1"] == {}


def test_pods_are_made_anew_when_their_config_changes_and_only_then(tmp_path: Path) -> None:
    before = with_secrets(tmp_path, {})
    web = {**SECRETIVE["services"]["web"], "config": {"A": "2"}}
    after = with_secrets(tmp_path, {}, services={**SECRETIVE["services"], "web": web})
    assert {name for name in before if before[name] != after[name]} == {"web-v1", "web-v2"}
    # Another weight, another alert, another secret's source: nothing that a pod reads.
    same = with_secrets(tmp_path, {}, weights={"v1": 50, "v2": 50}, alerts={"X": "errors > 6%"})
    assert same == before


def test_a_namespace_of_others_is_not_made(tmp_path: Path) -> None:
    assert names(made(tmp_path), "Namespace") == {"shop"}
    theirs = Environment(foreign_namespaces=frozenset({"shop"}))
    assert names(made(tmp_path, theirs), "Namespace") == set()


def test_without_monitoring_its_kinds_are_left_out(tmp_path: Path) -> None:
    release = made(tmp_path, Environment(monitoring=False), alerts={"X": "errors > 5%"})
    assert {"PrometheusRule", "ServiceMonitor", "AlertmanagerConfig"} & {
        item["kind"] for item in release.objects
    } == set()
    assert any("there is no monitoring" in warning for warning in release.warnings)
    assert made(tmp_path, Environment(monitoring=False)).warnings == []


def test_a_tool_that_is_not_there_is_told(tmp_path: Path) -> None:
    release = made(tmp_path, Environment(missing_tools=frozenset({"grafana"})), tools={"grafana": "grafana", "x": "x"})
    assert release.warnings == ["grafana is not part of this cluster: grafana.shop.local will answer 503"]
    assert at(one(release, "VirtualService", "shop-x"), "spec/http/*/route/*/destination/host") == [
        "x.monitoring.svc.cluster.local"
    ]


def test_a_secret_for_pulls_that_is_not_there_is_told(tmp_path: Path) -> None:
    own = {"type": "kubernetes.io/dockerconfigjson", "keys": {".dockerconfigjson": {"environment": "K"}}}
    values: dict[str, Any] = {"image_pull_secrets": ["registry", "own"], "secrets": {"own": own}}
    told = "image_pull_secrets: namespace shop has no Secret registry, so pulls go without it"
    assert made(tmp_path, Environment.of({"secrets": []}), **values).warnings == [told]
    assert made(tmp_path, Environment.of({"secrets": ["registry"]}), **values).warnings == []
    assert made(tmp_path, Environment(), **values).warnings == []


def test_warnings_have_file_and_line(tmp_path: Path) -> None:
    release = made(tmp_path, volumes={"disk": {"size": "1Gi"}})
    assert release.warnings[0].endswith("volumes.disk is used by nobody [unused-entry]")
    assert "page.yml:" in release.warnings[0]


def test_another_domain_is_everywhere(tmp_path: Path) -> None:
    release = made(tmp_path, Environment(cluster_domain="k8s.test", trust_domain="k8s.test"))
    text = json.dumps(release.as_dict())
    assert "cluster.local" not in text
    assert "web.shop.svc.k8s.test" in text


def test_facts_and_claims_of_a_canary() -> None:
    facts = shipped("sms-checker").facts
    assert {route["path"]: route["shares"] for route in facts["routes"]} == {
        "/sms": {"v1": 100},
        "/": {"v1": 90, "v2": 10},
    }
    assert facts["sticky"] == {
        "by": "cookie",
        "cookie": "canary-user",
        "set_by": "app",
        "values": {"v1": "false", "v2": "true"},
        "max_age": 86400,
        "withdrawn": [],
    }
    assert facts["overrides"] == [
        {"by": "host", "name": "canary.team8.local", "value": "canary.team8.local", "version": "v2"}
    ]
    assert facts["ports"] == [80, 8080]
    assert facts["alertmanager"] == "email-alert"
    kinds = [claim["kind"] for claim in facts["claims"]]
    assert set(kinds) == {
        "share", "default", "sticky", "override", "chain", "shadow", "metrics", "mtls", "access", "alert", "tool",
        "dashboard",
    }  # fmt: skip
    assert len({claim["id"] for claim in facts["claims"]}) == len(kinds)


def test_a_roll_back_claims_that_everybody_moves() -> None:
    facts = shipped("sms-checker", weights={"v1": 100, "v2": 0}).facts
    assert facts["sticky"]["withdrawn"] == ["v2"]
    assert "withdrawn" in [claim["kind"] for claim in facts["claims"]]


def test_every_policy_is_claimed(tmp_path: Path) -> None:
    policies = {
        "timeout": "1s",
        "retries": 1,
        "circuit_breaking": {},
        "faults": {"abort": {"status": 500, "share": 1}},
        "metrics": "/metrics",
    }
    services = {"web": {"versions": {"v1": IMAGE, "v2": IMAGE}, **policies}}
    sticky = {"hash": {"header": "x-user"}}
    limits = {"per_client": "1/s", "total": "9/s"}
    override = {"header": "x-v", "cookie": "v"}
    facts = made(
        tmp_path, services=services, sticky=sticky, limits=limits, override=override, gateway={"tls": {}}
    ).facts
    kinds = [claim["kind"] for claim in facts["claims"]]
    assert {"timeout", "retries", "circuit-breaking", "faults", "limit", "sticky", "override"} <= set(kinds)
    assert kinds.count("limit") == 2
    assert facts["sticky"] == {"by": "hash", "hash": {"header": "x-user"}}
    assert facts["ports"] == [80, 443]
    assert facts["services"]["web"]["retries"]["attempts"] == 1


def test_one_version_promises_no_split(tmp_path: Path) -> None:
    release = made(tmp_path, weights={}, services={"web": {"versions": {"v1": IMAGE}}})
    assert release.facts["sticky"] == {"by": "none"}
    assert release.facts["chains"] == []
    assert [claim["kind"] for claim in release.facts["claims"]] == ["mtls", "access", "dashboard", "dashboard"]


def test_releases_live_side_by_side() -> None:
    names_of = ["sms-checker", "sentiment", "app-frontend", "spam-detection", "hello"]
    plans = [shipped(name) for name in names_of]
    plans.append(shipped("sms-checker", name="team9", namespace="team9", hosts=["team9.local"]))
    every = [identity for release in plans for identity in release.keep]
    assert len(every) == len(set(every))
    hosts = [host for release in plans for host in (*release.facts["hosts"], *release.facts["tools"].values())]
    assert len(hosts) == len(set(hosts))


TIMED = """
import sys, time
from slipway.release.planner import plan
from slipway.release.spec import load
from tests.support.errors import tells
times = []
for _ in range(5):
    start = time.process_time()
    plan(load(sys.argv[1])).as_dict()
    times.append(time.process_time() - start)
print(min(times))
"""


def seconds(path: Path) -> float:
    """Give the processor time of reading and planning a page; in a process that nothing measures line by line."""
    done = subprocess.run([sys.executable, "-c", TIMED, str(path)], check=True, capture_output=True, text=True)
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(RELEASES.glob("*.yml")), ids=lambda path: path.stem)
def test_a_plan_takes_a_tenth_of_a_second(path: Path) -> None:
    assert seconds(path) <= 0.1


@pytest.mark.slow
def test_fifty_services_of_three_versions_take_a_second(tmp_path: Path) -> None:
    versions = {name: {"image": IMAGE, "env": {"APP_VERSION": name}} for name in ("v1", "v2", "v3")}
    service = {"versions": versions, "metrics": "/metrics", "timeout": "10s", "config": {"A": "b"}}
    services = {f"s{n}": {**copy.deepcopy(service), "calls": [f"s{n + 1}"] if n < 49 else []} for n in range(50)}
    values: dict[str, Any] = {
        "weights": {"v1": 80, "v2": 10, "v3": 10},
        "services": services,
        "limits": {"per_client": "10/minute"},
    }
    assert seconds(page(tmp_path, {**SMALL, **values})) <= 1
    release = made(tmp_path, **values)
    assert len(release.objects) > 700
    assert len(release.steps) <= 8
