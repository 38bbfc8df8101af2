"""Grafana, Kiali, Headlamp and tracing: which a cluster gets, what they may do, and that nobody comes in unasked."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from slipway.artifacts.catalog import Folder
from slipway.page.model import Parts
from slipway.parts import consoles, kept

from tests.support.consoles import IMAGES, SUM, TEMPLATES, only, rendered

ROOT = Path(__file__).parents[2]
CATALOG = Folder(ROOT / "artifacts").catalog
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
PARTS = dict.fromkeys(consoles.IMAGES, True)
SECRETS = {"grafana": "monitoring/grafana-admin", "kiali": "istio-system/kiali-signing-key"}

each_role = pytest.mark.parametrize("role", TEMPLATES)


def walk(value: Any) -> Iterator[Any]:
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(item)


def test_each_console_is_a_part_of_the_page_a_role_and_has_its_images_in_the_catalog() -> None:
    assert set(consoles.IMAGES) <= set(Parts.model_fields)
    assert set(consoles.IMAGES) == set(TEMPLATES)
    for part, images in consoles.IMAGES.items():
        assert (ROOT / "roles" / part / "tasks/main.yml").is_file()
        assert [name for name, entry in CATALOG.images.items() if part in entry.parts] == list(images)
    named = {f"{entry.name}:{re.sub('{{.*}}', str(entry.version), entry.tag)}" for entry in CATALOG.images.values()}
    assert set(IMAGES.values()) <= named


@pytest.mark.parametrize(
    ("images", "missing", "on", "left"),
    [
        (["grafana", "grafana-sidecar", "kiali", "headlamp", "zipkin"], {}, list(consoles.IMAGES), {}),
        (
            ["zipkin"],
            {"grafana": "no pages", "grafana-sidecar": "of no use", "kiali": "no pages", "headlamp": "no pages"},
            ["tracing"],
            {
                "grafana": "the bundle has no grafana and no grafana-sidecar: no pages",
                "kiali": "the bundle has no kiali: no pages",
                "headlamp": "the bundle has no headlamp: no pages",
            },
        ),
        (
            ["grafana", "kiali", "headlamp", "zipkin"],
            {},
            ["kiali", "headlamp", "tracing"],
            {"grafana": "the bundle has no grafana-sidecar: `make bundle` gets it"},
        ),
    ],
)
def test_what_the_bundle_cannot_give_is_left_out_and_told(
    images: list[str], missing: dict[str, str], on: list[str], left: dict[str, str]
) -> None:
    manifest = {
        "images": {name: {} for name in images},
        "missing": [{"name": name, "reason": reason} for name, reason in missing.items()],
    }
    assert consoles.on(PARTS, manifest) == on
    assert consoles.left_out(PARTS, manifest) == left
    told = consoles.told(PARTS, manifest)
    assert "\n" not in told
    assert [name for name in left if f"{name} ({left[name]})" not in told] == []
    assert bool(told) == bool(left)
    # Nobody misses what nobody wants.
    assert consoles.told({"istio": True}, manifest) == ""
    assert consoles.on({"istio": True}, manifest) == []


@each_role
@pytest.mark.parametrize("host", ["people.lab.local", ""])
def test_each_object_has_its_place_and_nothing_empty_that_a_server_would_drop(role: str, host: str) -> None:
    made = rendered(role, **{f"{role}_host": host})
    names = [(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in made]
    assert len(set(names)) == len(names)
    for one in made:
        assert ("namespace" in one["metadata"]) == (one["kind"] not in CLUSTER_WIDE), one["metadata"]["name"]
        empty = [part for part in walk(one) if part is None or part == []]
        assert empty == [], one["metadata"]["name"]
    routes = [one["spec"] for one in made if one["kind"] == "VirtualService"]
    assert [route["hosts"] for route in routes] == ([[host]] if host else [])
    for route in routes:
        assert route["gateways"] == ["istio-system/slipway-consoles"]


@each_role
def test_a_route_leads_to_its_service(role: str) -> None:
    made = rendered(role)
    (route,) = only(made, "VirtualService")["spec"]["http"]
    destination = route["route"][0]["destination"]
    service = only(made, "Service")
    # The mesh completes a name without dots by the route's own namespace, and takes one with dots as it is.
    assert destination["host"] == service["metadata"]["name"]
    assert only(made, "VirtualService")["metadata"]["namespace"] == service["metadata"]["namespace"]
    assert destination["port"]["number"] == service["spec"]["ports"][0]["port"]


def test_services_are_where_releases_look_for_tools() -> None:
    from slipway.release.environment import Environment

    known = Environment().tools
    for role in TEMPLATES:
        service = only(rendered(role), "Service")
        metadata, port = service["metadata"], service["spec"]["ports"][0]["port"]
        assert known[role] == f"{metadata['name']}.{metadata['namespace']}:{port}"


@each_role
def test_nobody_may_change_anything_or_read_a_secret(role: str) -> None:
    for one in rendered(role, **({"headlamp_mesh": True} if role == "headlamp" else {})):
        for rule in one.get("rules", []):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]
            reading = set(rule["verbs"]) <= {"get", "list", "watch"}
            assert reading or rule == {
                "apiGroups": ["authentication.k8s.io"],
                "resources": ["tokenreviews"],
                "verbs": ["create"],
            }
        if one["kind"].endswith("Binding"):
            assert one["roleRef"]["name"] == "view" or one["roleRef"]["name"].startswith(f"{role}:")


@each_role
def test_a_container_may_do_no_more_than_it_needs(role: str) -> None:
    pod = only(rendered(role), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
        requests = container["resources"]["requests"]
        assert re.fullmatch(r"[1-9][0-9]*m", requests["cpu"])
        assert re.fullmatch(r"[1-9][0-9]*Mi", requests["memory"])
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_headlamps_own_account_has_no_right() -> None:
    bound = [
        subject["name"]
        for one in rendered("headlamp")
        if one["kind"].endswith("Binding")
        for subject in one["subjects"]
    ]
    assert set(bound) == {"viewer"}
    assert only(rendered("headlamp"), "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "headlamp"


def test_grafana_lets_nobody_in_without_a_password_that_is_nowhere_but_in_its_secret() -> None:
    made = rendered("grafana")
    pod = only(made, "Deployment")["spec"]["template"]["spec"]
    environment = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in environment
    mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == f"{mounted['admin']}/admin-password"
    # The API is asked by the sidecar alone.
    assert "token" not in mounted
    assert "token" in {mount["name"] for mount in pod["containers"][1]["volumeMounts"]}
    assert "Secret" not in {one["kind"] for one in made}


def test_grafana_finds_dashboards_of_every_namespace_and_asks_prometheus() -> None:
    made = rendered("grafana", grafana_prometheus="http://prometheus.elsewhere:9090")
    settings = only(made, "ConfigMap", "grafana")["data"]
    (source,) = yaml.safe_load(settings["datasources.yml"])["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == (
        "prometheus",
        "http://prometheus.elsewhere:9090",
        True,
    )
    (provider,) = yaml.safe_load(settings["dashboards.yml"])["providers"]
    _, sidecar = only(made, "Deployment")["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in sidecar["env"]}
    assert environment["FOLDER"] == provider["options"]["path"]
    assert (environment["LABEL"], environment["LABEL_VALUE"]) == ("grafana_dashboard", "1")
    assert (environment["NAMESPACE"], environment["RESOURCE"]) == ("ALL", "configmap")


def test_dashboards_of_ones_own_go_into_config_maps_and_others_are_refused(tmp_path: Path) -> None:
    good, other = tmp_path / "Disks & Nets.json", tmp_path / "plain.yaml"
    good.write_text(json.dumps({"title": "Disks", "panels": []}))
    other.write_text("title: Disks")
    made = rendered("grafana", grafana_dashboards=[str(good)])
    (held,) = (one for one in made if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1")
    assert re.fullmatch(r"dashboard-own-disks-nets-[0-9a-f]{6}", held["metadata"]["name"])
    assert held["data"] == {good.name: good.read_text()}
    with pytest.raises(AnsibleError, match=r"plain\.yaml: its name does not end in \.json"):
        rendered("grafana", grafana_dashboards=[str(good), str(other)])


@pytest.mark.parametrize(
    ("role", "settings"),
    [("grafana", {"grafana_prometheus": "http://x:1"}), ("kiali", {"kiali_values": {"server": {"port": 1}}})],
)
def test_other_settings_mean_another_pod(role: str, settings: dict[str, Any]) -> None:
    def stamp(**more: Any) -> str:
        metadata = only(rendered(role, **more), "Deployment")["spec"]["template"]["metadata"]
        return str(metadata["annotations"]["slipway.io/settings"])

    assert stamp() == stamp()
    assert stamp() != stamp(**settings)


def test_kiali_asks_for_a_token_and_changes_nothing() -> None:
    made = rendered("kiali", kiali_values={"server": {"web_history_mode": "hash"}})
    settings = yaml.safe_load(only(made, "ConfigMap")["data"]["config.yaml"])
    assert settings["auth"] == {"strategy": "token"}
    assert settings["deployment"]["view_only_mode"] is True
    assert settings["external_services"]["prometheus"] == {"url": "http://prometheus.monitoring:9090"}
    assert settings["external_services"]["istio"]["istio_identity_domain"] == "svc.cluster.local"
    assert settings["server"]["web_history_mode"] == "hash"
    assert "login_token" not in settings


def test_the_host_of_zipkin_asks_for_a_password_and_no_other_host_does() -> None:
    made = rendered("tracing", tracing_gateway_ports=[443, 8443])
    switched_off, *hosts = only(made, "EnvoyFilter")["spec"]["configPatches"]
    assert switched_off["patch"]["value"]["disabled"] is True
    assert switched_off["patch"]["operation"] == "INSERT_BEFORE"
    assert [patch["match"]["routeConfiguration"]["vhost"]["name"] for patch in hosts] == [
        "tracing.lab.local:443",
        "tracing.lab.local:8443",
    ]
    for patch in hosts:
        (held,) = patch["patch"]["value"]["typed_per_filter_config"].values()
        assert held["@type"].endswith("basic_auth.v3.BasicAuthPerRoute")
        assert held["users"] == {"inline_string": f"slipway:{{SHA}}{SUM}"}
    assert "EnvoyFilter" not in {one["kind"] for one in rendered("tracing", tracing_host="")}


def test_zipkin_has_room_for_its_heap() -> None:
    (container,) = only(rendered("tracing", tracing_heap=100), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "324Mi"
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert "-Xmx100m" in environment["JAVA_OPTS"]
    assert environment["JDK_JAVA_OPTIONS"] == environment["JAVA_OPTS"]


@pytest.mark.parametrize("role", ["grafana", "kiali", "tracing"])
def test_a_password_is_made_where_nobody_sees_it(role: str) -> None:
    (task,) = (
        one for one in yaml.safe_load((ROOT / f"roles/{role}/tasks/main.yml").read_text()) if "kept_secret" in one
    )
    assert task["no_log"] is True
    (length,) = task["kept_secret"]["random"].values()
    assert length >= 32


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("present", "data", "new"),
    [
        ({}, {"user": b64("admin"), "password": b64("xxxx")}, ["user", "password"]),
        ({"password": b64("mine")}, {"user": b64("admin"), "password": b64("mine")}, ["user"]),
        (
            {"user": b64("admin"), "password": b64("mine"), "else": b64("x")},
            {"user": b64("admin"), "password": b64("mine")},
            [],
        ),
        ({"user": b64("root"), "password": ""}, {"user": b64("admin"), "password": b64("xxxx")}, ["user", "password"]),
    ],
)
def test_what_is_there_stays_and_what_is_missing_is_made(
    present: dict[str, str], data: dict[str, str], new: list[str]
) -> None:
    assert kept.completed(present, {"user": "admin"}, {"password": 4}, make=lambda length: "x" * length) == (data, new)


def test_what_is_made_up_is_long_enough_and_never_the_same() -> None:
    made = {kept.token(32) for _ in range(50)}
    assert len(made) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9]{32}", one) for one in made)


def test_sums_are_those_of_htpasswd() -> None:
    expected = base64.b64encode(hashlib.sha1(b"secret", usedforsecurity=False).digest()).decode()
    assert kept.sha1({"password": b64("secret"), "user": b64("a")}, {"password": 32}) == {"password": expected}
    assert kept.sha1({"password": ""}, {"password": 0}) == {"password": SUM}
