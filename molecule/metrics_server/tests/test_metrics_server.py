"""kubectl top and HorizontalPodAutoscalers get their numbers, and nobody skips a certificate for that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.kube import Kube, eventually

testinfra_hosts = ["ansible://controllers[0]"]

NAMESPACE = "slipway-metrics"


def test_every_node_is_in_kubectl_top(kube: Kube) -> None:
    names = {node["metadata"]["name"] for node in kube.nodes()}

    def complete() -> dict[str, str]:
        rows = [line.split() for line in kube.text("top", "nodes", "--no-headers").splitlines()]
        memory = {row[0]: row[3] for row in rows}
        assert set(memory) == names, memory
        return memory

    memory = eventually(complete, seconds=90, what="kubectl top names every node")
    assert [node for node, text in memory.items() if not re.fullmatch(r"[1-9]\d*Mi", text)] == []


def test_pods_are_in_kubectl_top(kube: Kube) -> None:
    def used() -> str:
        said = kube.text("top", "pods", "--namespace=kube-system", "--no-headers")
        # A pod has a row only after two looks at it, a while after others have theirs.
        assert re.search(r"^kube-apiserver-\S+\s+[1-9]\d*m\s+[1-9]\d*Mi", said, re.M), said
        return said

    eventually(used, seconds=90, what="kubectl top says what the API server uses")


def test_the_api_server_knows_metrics_server_by_a_certificate(kube: Kube) -> None:
    service = kube("get", "apiservice", "v1beta1.metrics.k8s.io")
    assert service["spec"]["caBundle"]
    assert not service["spec"].get("insecureSkipTLSVerify")
    assert {one["type"]: one["status"] for one in service["status"]["conditions"]} == {"Available": "True"}


def test_another_certificate_is_not_taken(kube: Kube) -> None:
    """The certificate is what counts: with another one in its place the API server does not answer for metrics."""
    right = kube("get", "apiservice", "v1beta1.metrics.k8s.io")["spec"]["caBundle"]
    other = kube("get", "configmap", "kube-root-ca.crt", "--namespace=kube-system")["data"]["ca.crt"]
    patch_certificate(kube, encoded(other))
    try:
        eventually(lambda: not available(kube), seconds=60, what="metrics are not served under a wrong certificate")
    finally:
        patch_certificate(kube, right)
    eventually(lambda: available(kube), seconds=60, what="metrics are served again")


def encoded(text: str) -> str:
    import base64

    return base64.b64encode(text.encode()).decode()


def patch_certificate(kube: Kube, bundle: str) -> None:
    patch = f'{{"spec":{{"caBundle":"{bundle}"}}}}'
    kube.text("patch", "apiservice", "v1beta1.metrics.k8s.io", "--type=merge", f"--patch={patch}")


def available(kube: Kube) -> bool:
    (condition,) = kube("get", "apiservice", "v1beta1.metrics.k8s.io")["status"]["conditions"]
    return bool(condition["status"] == "True")


@pytest.fixture
def scaled(kube: Kube) -> Iterator[str]:
    """A Deployment that idles, with an autoscaler that looks at its CPU."""
    helper = kube.bundle["images"]["local-path-helper"]
    container = {
        "name": "idle",
        "image": f"{helper['name']}:{helper['tag']}",
        "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
        "resources": {"requests": {"cpu": "20m"}},
    }
    name = "idle"
    metadata: dict[str, Any] = {"name": name, "namespace": NAMESPACE}
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    target = {"type": "Utilization", "averageUtilization": 50}
    autoscaler = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": 1,
        "maxReplicas": 2,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
        },
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": metadata,
            "spec": autoscaler,
        },
    ]
    kube.apply(objects)
    yield name
    kube.text("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=120)


def test_an_autoscaler_sees_what_its_pods_use(kube: Kube, scaled: str) -> None:
    def active() -> bool:
        autoscaler = kube("get", "horizontalpodautoscaler", scaled, f"--namespace={NAMESPACE}")
        conditions = {one["type"]: one["status"] for one in autoscaler["status"]["conditions"]}
        return conditions.get("ScalingActive") == "True"

    eventually(active, seconds=150, what="the autoscaler has numbers")
