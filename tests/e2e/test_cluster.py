"""Pods, nodes and Services of the cluster reach each other by name, under their own addresses."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from tests.support.checkout import Checkout
from tests.support.kube import Kube, eventually, ready
from tests.support.probe import PORT, Probes
from tests.support.typed import typed, with_programs

# A chart without pods.
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: words\nversion: 0.1.0\n",
    "values.yaml": "word: ours\n",
    "templates/words.yml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words}\ndata:\n  word: {{ .Values.word }}\n"
    ),
}


@pytest.fixture(scope="module")
def probes(kube: Kube) -> Iterator[Probes]:
    started = Probes(kube)
    yield started
    started.stop()


def test_every_node_is_ready(kube: Kube) -> None:
    assert [node["metadata"]["name"] for node in kube.nodes() if not ready(node)] == []


def test_every_pod_of_the_system_is_ready(kube: Kube) -> None:
    pods = kube("get", "pods", "--all-namespaces")["items"]
    assert [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] != "Running" or not ready(pod)] == []


def test_cluster_dns_outlives_a_node(kube: Kube) -> None:
    pods = kube("get", "pods", "--namespace=kube-system", "--selector=k8s-app=kube-dns")["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == len(pods) == 2


def test_no_container_of_the_system_was_restarted(kube: Kube) -> None:
    """Nothing had to fail first: no loop in DNS, no probe that gave up."""
    restarts = {
        f"{pod['metadata']['name']}/{status['name']}": status["restartCount"]
        for pod in kube("get", "pods", "--namespace=kube-system")["items"]
        for status in pod["status"]["containerStatuses"]
        if status["restartCount"]
    }
    assert restarts == {}


def test_dns_answers_in_a_pod_on_each_node(probes: Probes, page: dict[str, Any]) -> None:
    first = probes.kube("get", "service", "kubernetes", "--namespace=default")["spec"]["clusterIP"]
    for probe in probes.all:
        name = f"kubernetes.default.svc.{page['cluster_dns_domain']}"
        assert probes.resolve(probe, name) == [first], f"asked on {probe.node}"
        assert probes.resolve(probe, "kubernetes.default") == [first], f"the short name, asked on {probe.node}"


def test_pods_see_each_others_own_address(probes: Probes) -> None:
    for source, target in itertools.permutations(probes.all, 2):
        assert probes.fetch(source, f"http://{target.address}:{PORT}/")["client"] == source.address
        assert probes.fetch_by_service(source, target)["client"] == source.address


def test_a_pod_sees_the_nodes_own_address(controller: Host, probes: Probes) -> None:
    own = {
        entry["local"]
        for interface in json.loads(controller.check_output("ip -json -4 address"))
        for entry in interface["addr_info"]
    }
    for target in probes.all:
        url = f"http://{target.address}:{PORT}/"
        fetch = f"import urllib.request as r; print(r.urlopen('{url}', timeout=5).read().decode())"
        seen = json.loads(controller.check_output("env no_proxy='*' python3 -c %s", fetch))
        assert seen["client"] in own, f"asked the pod on {target.node}"


def test_pods_see_a_changed_configmap_within_seconds(probes: Probes) -> None:
    """Prometheus learns of a release this way: left to itself, a kubelet looks every 60 to 90 s."""
    for word in ("one", "other"):
        probes.set("word", word)
        for probe in probes.all:
            read = functools.partial(probes.setting, probe, "word")
            eventually(functools.partial(same, read, word), seconds=30, what=f"the pod on {probe.node} reads {word}")


def same(read: Callable[[], str], wanted: str) -> bool:
    return read() == wanted


def test_what_helm_would_change_is_shown(checkout: Checkout, kube: Kube, tmp_path: Path) -> None:
    """And what was changed by hand since. kubectl ends with 1 where there is a difference."""
    for name, text in CHART.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    programs = with_programs(checkout)
    install = ("helm", "install", "words", str(tmp_path), "--namespace=words", "--create-namespace")
    try:
        checkout.watch(install, environment=programs).expect()
        (tmp_path / "other.yaml").write_text("word: other\n")
        change = typed(
            checkout,
            "how-to/day-2",
            "helm template RELEASE CHART --namespace NAMESPACE --values values.yaml | "
            "kubectl diff --namespace NAMESPACE --filename -",
            instead={
                "RELEASE": "words",
                "CHART": str(tmp_path),
                "NAMESPACE": "words",
                "values.yaml": str(tmp_path / "other.yaml"),
            },
            environment=programs,
        ).expect(1)
        assert "\n-  word: ours\n+  word: other\n" in change.output
        by_hand = '{"data": {"word": "mine"}}'
        kube.text("patch", "configmap", "words", "--namespace=words", "--type=merge", f"--patch={by_hand}")
        since = typed(
            checkout,
            "how-to/day-2",
            "helm get manifest RELEASE --namespace NAMESPACE | kubectl diff --namespace NAMESPACE --filename -",
            instead={"RELEASE": "words", "NAMESPACE": "words"},
            environment=programs,
        ).expect(1)
        assert "\n-  word: mine\n+  word: ours\n" in since.output
    finally:
        kube.text("delete", "namespace", "words", "--ignore-not-found", "--timeout=60s", timeout=90)


def test_a_token_lets_somebody_look_and_no_more(checkout: Checkout, kube: Kube, tmp_path: Path) -> None:
    """Where Headlamp's image cannot be had, what else shows objects is named; else its account is there."""
    account = {"name": "viewer", "namespace": "headlamp"}
    there = kube.text("get", "namespace", "headlamp", "--ignore-not-found")
    try:
        if not there:
            refused = checkout.make("token")
            assert refused.status != 0
            assert "[console-missing]" in refused.output
            assert "`make status`, `make graph NAMESPACE=default`, and kubectl show objects here, too" in refused.output
            bound = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
            kube.apply(
                [
                    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "headlamp"}},
                    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
                    {
                        "apiVersion": "rbac.authorization.k8s.io/v1",
                        "kind": "ClusterRoleBinding",
                        "metadata": {"name": "test:view"},
                        "roleRef": bound,
                        "subjects": [{"kind": "ServiceAccount", **account}],
                    },
                ]
            )
        made = checkout.make("token", "MINUTES=10").expect()
        (token,) = (line for line in made.output.splitlines() if re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", line))
        config = yaml.safe_load(kube.config.read_text())
        for user in config["users"]:
            user["user"] = {"token": token}
        somebody = Kube(kube.state)
        somebody.config = tmp_path / "kubeconfig"
        somebody.config.write_text(yaml.safe_dump(config))
        assert somebody("get", "pods", "--namespace=kube-system")["items"]
        for forbidden in (("get", "secrets"), ("delete", "deployment", "coredns"), ("create", "token", "default")):
            with pytest.raises(AssertionError, match="forbidden"):
                somebody.text(*forbidden, "--namespace=kube-system")
    finally:
        if not there:
            kube.text("delete", "namespace/headlamp", "clusterrolebinding/test:view", "--ignore-not-found", timeout=120)
