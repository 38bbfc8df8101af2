"""Pods of a release have the rights, storage, environment, probes and neighbours that its page gives them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.full_release import FULL, IMAGE, container, every, full_plan, pod
from tests.support.release import at, one, page, shipped


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return full_plan(tmp_path_factory.mktemp("full"))


def test_the_apps_own_container_is_restricted(full: Plan) -> None:
    for item in every(full):
        if item["kind"] != "Deployment":
            continue
        spec = item["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for each in spec["containers"]:
            assert each["securityContext"]["allowPrivilegeEscalation"] is False
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_container_writes_only_where_it_may(full: Plan) -> None:
    assert container(full, "web-v1")["securityContext"]["readOnlyRootFilesystem"] is True
    assert "slipway-tmp" in at(container(full, "web-v1"), "volumeMounts/*/name")
    assert container(full, "web-v2")["securityContext"]["readOnlyRootFilesystem"] is False
    assert "slipway-tmp" not in at(container(full, "web-v2"), "volumeMounts/*/name")
    assert pod(full, "web-v2")["spec"]["securityContext"]["runAsUser"] == 1000


def test_storage_of_every_sort(full: Plan) -> None:
    assert pod(full, "web-v1")["spec"]["volumes"] == [
        {"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}},
        {"name": "node", "hostPath": {"path": "/mnt/x", "type": "DirectoryOrCreate"}},
        {"name": "room", "emptyDir": {"sizeLimit": "8Mi"}},
        {"name": "token", "secret": {"secretName": "token"}},
        {"name": "slipway-config", "configMap": {"name": "web-v1"}},
        {"name": "slipway-tmp", "emptyDir": {}},
    ]
    claim = one(full, "PersistentVolumeClaim", "disk")["spec"]
    assert claim == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "1Gi"}},
    }


def test_the_environment_of_a_container(full: Plan) -> None:
    found = container(full, "web-v1")
    assert found["envFrom"] == [{"configMapRef": {"name": "web-v1"}}, {"secretRef": {"name": "token"}}]
    assert found["env"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "token", "key": "K"}}},
        {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    assert (found["command"], found["args"]) == (["/app"], ["--x"])
    assert found["resources"] == {
        "requests": {"cpu": "100m", "memory": "1Gi"},
        "limits": {"cpu": "1", "memory": "2Gi"},
    }


def test_a_container_asks_by_itself_for_no_more_than_its_limit(tmp_path: Path) -> None:
    web = {"resources": {"memory_limit": "32Mi", "cpu_limit": "20m"}, "versions": {"v1": IMAGE}}
    found = container(plan(load(page(tmp_path, {"name": "a", "hosts": "a.b", "services": {"web": web}}))), "web-v1")
    assert found["resources"]["requests"] == found["resources"]["limits"] == {"cpu": "20m", "memory": "32Mi"}


def test_probes_are_asked_as_written_and_the_port_where_nothing_is(full: Plan) -> None:
    found = container(full, "web-v1")
    assert found["readinessProbe"]["httpGet"] == {"path": "/r", "port": 8080, "scheme": "HTTP"}
    assert found["livenessProbe"]["httpGet"] == {"path": "/l", "port": 81, "scheme": "HTTP"}
    assert (found["livenessProbe"]["periodSeconds"], found["startupProbe"]["httpGet"]["path"]) == (10, "/s")
    assert container(full, "api-v1")["readinessProbe"]["tcpSocket"] == {"port": 8080}


def test_a_pod_that_is_alive_is_not_ready_before_its_port_is_open(tmp_path: Path) -> None:
    web = {"probes": {"live": "/l"}, "versions": {"v1": IMAGE}}
    found = container(plan(load(page(tmp_path, {"name": "a", "hosts": "a.b", "services": {"web": web}}))), "web-v1")
    assert found["readinessProbe"]["tcpSocket"] == {"port": 8080}
    assert found["livenessProbe"]["httpGet"]["path"] == "/l"


def test_pods_leave_in_time(full: Plan) -> None:
    assert container(full, "web-v1")["lifecycle"] == {"preStop": {"sleep": {"seconds": 3}}}
    assert container(full, "web-v2")["lifecycle"] == {"preStop": {"sleep": {"seconds": 1}}}
    assert pod(full, "web-v1")["spec"]["terminationGracePeriodSeconds"] == 33


def test_the_proxy_is_chosen_pod_by_pod(full: Plan) -> None:
    inject = "sidecar.istio.io/inject"
    assert pod(full, "web-v1")["metadata"]["labels"][inject] == "true"
    assert pod(full, "web-v2")["metadata"]["labels"][inject] == "false"
    assert pod(full, "api-v3")["metadata"]["labels"]["traffic"] == "shadow"


def test_many_pods_spread_and_the_autoscaler_sets_their_number(full: Plan) -> None:
    assert "replicas" not in one(full, "Deployment", "api-v1")["spec"]
    assert "topologySpreadConstraints" in pod(full, "api-v1")["spec"]
    assert "topologySpreadConstraints" not in pod(shipped("hello"), "model-v1")["spec"]
    scaler = one(full, "HorizontalPodAutoscaler", "api-v1")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 4)
    assert at(scaler, "metrics/*/containerResource/target") == [{"type": "Utilization", "averageUtilization": 70}]
    assert at(scaler, "metrics/*/containerResource/container") == ["api"]
    assert one(full, "PodDisruptionBudget", "web-v1")["spec"]["minAvailable"] == 1


def test_another_config_restarts_pods_and_another_weight_does_not(tmp_path: Path) -> None:
    before = plan(load(page(tmp_path, FULL)))
    changed = json.loads(json.dumps(FULL))
    changed["services"]["web"]["config"]["MODE"] = "y"
    after = plan(load(page(tmp_path, changed)))
    digest = "slipway.io/config"
    assert (
        pod(before, "web-v1")["metadata"]["annotations"][digest]
        != pod(after, "web-v1")["metadata"]["annotations"][digest]
    )
    assert pod(before, "api-v1") == pod(after, "api-v1")


@pytest.mark.parametrize("image", ["a/b", "a/b:latest"])
def test_an_image_that_moves_is_pulled_every_time(tmp_path: Path, image: str) -> None:
    values = {"name": "a", "hosts": "a.b", "services": {"web": {"versions": {"v1": image}}}}
    assert container(plan(load(page(tmp_path, values))), "web-v1")["imagePullPolicy"] == "Always"
    assert container(shipped("hello"), "model-v1")["imagePullPolicy"] == "IfNotPresent"
