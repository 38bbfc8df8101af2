"""Containers beside the application, jobs, nodes, accounts and more ports, as a plan has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.page.read import SettingsError
from slipway.release.environment import Environment
from slipway.release.listed import read
from slipway.release.planner import Plan, plan
from slipway.release.spec import load
from slipway.release.transition import due, transition

from tests.support.full_release import container, pod
from tests.support.pasted import pasted
from tests.support.release import Object, at, call, names, one, page, problems
from tests.support.release_changes import IMAGE, changed

JOB: Object = {"image": IMAGE, "command": ["/migrate"]}


def planned(folder: Path, *changes: tuple[str, Any]) -> Plan:
    return plan(load(page(folder, changed(*changes))))


def test_containers_run_before_and_beside_the_application(tmp_path: Path) -> None:
    init = {"wait": {"image": IMAGE, "command": ["/wait"], "env": {"A": "1"}}, "second": IMAGE}
    beside = {"export": {"image": "example.org/export", "mounts": {"data": "/data"}, "user": 2000, "writable": True}}
    made = planned(
        tmp_path,
        ("services.front.init", init),
        ("services.front.versions.v2", {"image": IMAGE, "beside": beside}),
        ("volumes", {"data": {"size": "1Gi"}}),
    )
    spec = pod(made, "front-v2")["spec"]
    assert [each["name"] for each in spec["initContainers"]] == ["wait", "second"]
    assert spec["initContainers"][0]["env"] == [{"name": "A", "value": "1"}]
    assert spec["initContainers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    export = spec["containers"][1]
    assert (export["name"], export["imagePullPolicy"]) == ("export", "Always")
    assert export["securityContext"]["runAsUser"] == 2000
    assert export["securityContext"]["readOnlyRootFilesystem"] is False
    assert export["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "data"}} in spec["volumes"]
    assert len(pod(made, "front-v1")["spec"]["containers"]) == 1
    assert "initContainers" not in pod(made, "back-v1")["spec"]
    assert container(made, "front-v1")["name"] == "front"


def test_pods_say_where_they_run_and_who_they_are(tmp_path: Path) -> None:
    made = planned(
        tmp_path,
        ("services.front.node_selector", {"disk": "fast"}),
        ("services.front.tolerations", ["gpu", {"key": "a", "value": "b", "effect": "NoExecute"}]),
        ("services.front.affinity", {"nodeAffinity": {"x": 1}}),
        ("services.front.labels", {"team": "shop"}),
        ("services.front.annotations", {"example.org/owner": "shop"}),
        ("services.front.service_account", "reader"),
    )
    template = pod(made, "front-v1")
    assert template["metadata"]["labels"]["team"] == "shop"
    assert template["metadata"]["labels"]["app"] == "front"
    assert template["metadata"]["annotations"]["example.org/owner"] == "shop"
    spec = template["spec"]
    assert spec["nodeSelector"] == {"disk": "fast"}
    assert spec["tolerations"] == [
        {"key": "gpu", "operator": "Exists"},
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"},
    ]
    assert spec["affinity"] == {"nodeAffinity": {"x": 1}}
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("reader", True)
    # It is somebody else's, and who calls is known by it.
    assert names(made, "ServiceAccount") == {"back-v1", "back-v2"}
    assert "cluster.local/ns/shop/sa/reader" in str(one(made, "AuthorizationPolicy", "back-v1"))
    assert pod(made, "back-v1")["spec"]["automountServiceAccountToken"] is False


def test_jobs_run_before_pods_and_have_a_name_of_what_they_do(tmp_path: Path) -> None:
    jobs = {"migrate": {**JOB, "retries": 2, "timeout": "90s"}, "clean": {**JOB, "schedule": "@daily"}}
    made = planned(tmp_path, ("jobs", jobs))
    (name,) = names(made, "Job")
    spec = one(made, "Job", name)["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (2, 90)
    assert spec["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    cron = one(made, "CronJob", "shop-clean")["spec"]
    assert (cron["schedule"], cron["concurrencyPolicy"]) == ("@daily", "Forbid")
    assert names(planned(tmp_path, ("jobs", jobs)), "Job") == {name}
    other = planned(tmp_path, ("jobs.migrate", {**JOB, "image": "example.org/app:2.0"}))
    assert names(other, "Job") != {name}
    stages = [stage.name for stage in transition(made, [])]
    assert stages.index("prepare") < stages.index("jobs") < stages.index("workloads")
    left = due(transition(made, []), lambda _: True, busy=True)
    assert left["jobs"]["settle"] is False
    # What the page no longer has, or has otherwise, goes at the end.
    gone = [item["metadata"]["name"] for stage in transition(other, made.objects) for item in stage.removed]
    assert name in gone
    assert "shop-clean" in gone


def test_images_of_all_containers_and_jobs_are_in_a_bundle(tmp_path: Path) -> None:
    values = changed(
        ("jobs", {"migrate": {"image": "a.b/job:1"}}),
        ("services.front.init", {"wait": "a.b/init:1"}),
        ("services.front.beside", {"export": "a.b/beside:1"}),
    )
    assert {"a.b/job:1", "a.b/init:1", "a.b/beside:1"} <= set(read(str(page(tmp_path, values))).images)


def test_more_ports_are_called_at_one_version_and_never_at_a_shadow(tmp_path: Path) -> None:
    ports = {"admin": 9000, "raw": {"port": 9001, "service_port": 91, "protocol": "tcp"}}
    made = planned(tmp_path, ("services.back.ports", ports), ("services.back.metrics", {"port": 9100}))
    listed = one(made, "Service", "back")["spec"]["ports"]
    assert [(each["name"], each["appProtocol"], each["port"]) for each in listed] == [
        ("http", "http", 8080), ("http-admin", "http", 9000), ("tcp-raw", "tcp", 91), ("http-metrics", "http", 9100),
    ]  # fmt: skip
    assert at(one(made, "ServiceMonitor", "back"), "spec/endpoints/*/port") == ["http-metrics"]
    spec = one(made, "VirtualService", "back")["spec"]
    (rule,) = (each for each in spec["http"] if each.get("match") == [{"port": 9000}])
    assert rule["route"][0]["destination"]["port"] == {"number": 9000}
    assert rule["route"][0]["destination"]["subset"] == "v1"
    (tcp,) = spec["tcp"]
    assert tcp["match"] == [{"port": 91}]
    assert tcp["route"][0]["destination"]["subset"] == "v1"
    (told,) = made.warnings
    assert told == (
        "services.back.ports.raw is plain TCP: the mesh encrypts its connections and lets in whom access names, but "
        "does not split, retry, time out or limit them; all go to v1"
    )
    # Calls of the main port go as before.
    assert call(made, "front", "v2", "back").shares == {"back:v2": 100}


GRPC = {"port": 8080, "protocol": "grpc"}


@pytest.mark.parametrize(
    ("changes", "error_id", "works"),
    [
        ([("services.front.init", {"front": IMAGE})], "duplicate-value", "front-2"),
        ([("services.front.init", {"a": IMAGE, "a-2": IMAGE}), ("services.front.beside", {"a": IMAGE})],
         "duplicate-value", "a-3"),
        ([("services.front.beside", {"istio-proxy": IMAGE})], "duplicate-value", "istio-proxy-2"),
        ([("services.front.init", {"a": {"image": IMAGE, "mounts": {"data": "/data"}}})],
         "unknown-mount", "volumes: {data: {size: 1Gi}}"),
        ([("services.front.init", {"a": {"image": IMAGE, "env": {"A": {"secret": "s", "key": "K"}}}})],
         "unknown-secret", "secrets: {s: {existing: true}}"),
        ([("jobs", {"a": {**JOB, "mounts": {"data": "/data"}}})], "unknown-mount", "volumes: {data: {size: 1Gi}}"),
        ([("jobs", {"a": {**JOB, "schedule": "daily"}})], "not-a-schedule", 'schedule: "0 3 * * *"'),
        ([("jobs", {"a": {"command": ["/x"]}})], "missing-key", "image: "),
        ([("services.front.labels", {"app": "x"})], "wrong-name", "example.org/app"),
        ([("services.front.labels", {"team": "a b"})], "wrong-form", "team: a-b"),
        ([("services.front.annotations", {"slipway.io/config": "x"})], "wrong-name", "example.org/config"),
        ([("services.front.ports", {"admin": 8080})], "port-taken", "admin: 9000"),
        ([("services.front.ports", {"admin": GRPC})], "port-taken", "admin: {port: 9000, protocol: grpc}"),
        ([("services.front.ports", {"admin": 15090, "b": 9000})], "port-taken", "admin: 9001"),
        ([("services.front.ports", {"a": 9000, "b": 9000, "c": 9001})], "port-taken", "b: 9002"),
        ([("services.front.ports", {"a": 9000, "b": {"port": 9001, "service_port": 9000}})],
         "port-taken", "b: {port: 9001, service_port: 9002}"),
        ([("services.front.metrics", {"port": 9000}), ("services.front.ports", {"a": 9000})],
         "port-taken", "a: 9001"),
        ([("services.front.ports", {"a": {"port": 9000, "protocol": "udp"}})], "not-one-of", "protocol: grpc"),
        ([("services.front.tolerations", [{"key": "a", "effect": "Never"}])], "not-one-of", "effect: NoSchedule"),
    ],
)  # fmt: skip
def test_what_no_pod_could_be_is_refused(
    tmp_path: Path, changes: list[tuple[str, Any]], error_id: str, works: str
) -> None:
    found = problems(page(tmp_path, changed(*changes)))
    assert [problem.id for problem in found] == [error_id]
    assert works in found[0].works
    pasted(tmp_path, changed(*changes), found[0])


OURS = "slipway.local/apps/job:1.0"
NO_IMAGE = "image: slipway.local/apps/app:1.0"


@pytest.mark.parametrize(
    ("changes", "error_id", "key", "works"),
    [
        ([("jobs", {"a": OURS})], "image-not-on-mirror", "jobs.a.image", NO_IMAGE),
        ([("services.front.init", {"a": OURS})], "image-not-on-mirror", "services.front.init.a.image", NO_IMAGE),
        ([("services.front.versions.v2", {"image": IMAGE, "beside": {"a": OURS}})],
         "image-not-on-mirror", "services.front.versions.v2.beside.a.image", NO_IMAGE),
        ([("services.front.image", OURS), ("services.front.versions.v2", {})],
         "image-not-on-mirror", "services.front.image", NO_IMAGE),
        ([("services.front.service_account", "raeder")],
         "account-not-in-cluster", "services.front.service_account", "service_account: reader, or kubectl create"),
        ([("services.front.versions.v2", {"image": IMAGE, "service_account": "x"})],
         "account-not-in-cluster", "services.front.versions.v2.service_account", "service_account: "),
        ([("jobs", {"a": {"image": IMAGE, "service_account": "back-v9"}})],
         "account-not-in-cluster", "jobs.a.service_account", "service_account: back-v"),
    ],
)  # fmt: skip
def test_what_the_cluster_lacks_for_a_pod_is_named_by_the_plan(
    tmp_path: Path, changes: list[tuple[str, Any]], error_id: str, key: str, works: str
) -> None:
    known = Environment(images=frozenset(["slipway.local/apps/app:1.0"]), accounts=frozenset(["reader"]))
    spec = load(page(tmp_path, changed(*changes)))
    with pytest.raises(SettingsError) as caught:
        plan(spec, known)
    (problem,) = caught.value.problems
    assert (problem.id, problem.key) == (error_id, key)
    assert works in problem.works


def test_accounts_that_are_there_or_that_the_release_makes_are_taken(tmp_path: Path) -> None:
    jobs = {name: {"image": IMAGE, "service_account": name} for name in ("reader", "back-v1", "default")}
    spec = load(page(tmp_path, changed(("jobs", jobs), ("services.front.service_account", "reader"))))
    assert plan(spec, Environment(accounts=frozenset(["reader"]))).objects


def test_an_image_of_a_job_that_changes_is_warned_of(tmp_path: Path) -> None:
    made = planned(tmp_path, ("jobs", {"a": "example.org/job"}), ("services.front.init", {"b": "example.org/b:latest"}))
    said = [text for text in made.warnings if "[image-may-change]" in text]
    assert ["jobs.a.image" in said[1], "services.front.init.b.image" in said[0]] == [True, True], said
