"""istiod, a gateway pod or the node that holds the address is lost: requests from outside come back, and how soon."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable

from tests.support.checkout import Checkout
from tests.support.kube import eventually, ready
from tests.support.mesh import NAMESPACE, Echo, Watch
from tests.support.outside import card

# Seconds until all requests are answered again. istiod blocks nothing; the time is for a busy machine.
ISTIOD_BACK = 3
GATEWAY_BACK = 10
# MetalLB announces the address elsewhere within 10 s, and a request takes its own time on top. For good takes longer:
# Kubernetes goes on naming the pods of a lost node for 40 s, and requests that were with them are lost.
FIRST_ANSWER, NODE_BACK = 15, 60


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def holder(cluster: Checkout, address: str) -> str:
    """The node whose network card answers for ``address``."""
    # A neighbour that was found long ago may be another one by now.
    subprocess.run(["ip", "neigh", "flush", "to", address], check=True)
    socket.create_connection((address, 80), timeout=10).close()
    answering = card(address)
    for node in cluster.kube.nodes():
        name = f"{cluster.name}-{node['metadata']['name']}"
        cards = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.MacAddress}} {{end}}", name)
        if answering in cards.split():
            return name
    raise AssertionError(f"{address} answers from {answering}, which is no node's")


def back(echo: Echo, harm: Callable[[], object], what: str, limit: float, first: float = 0) -> None:
    """Do ``harm`` while requests come all the time; they have to be answered for good within ``limit`` seconds.

    With ``first``, one of them within so many seconds.
    """
    # A request that finds a pod gone is sent to another one after 2 s.
    with Watch(echo, patience=5) as watch:
        time.sleep(2)
        assert all(good for _, good in watch.seen), "requests failed before anything was done"
        began = time.monotonic()
        harm()
        eventually(lambda: watch.steady(began) is not None, seconds=limit + 90, what=f"{what}: requests come back")
        took = watch.steady(began)
        lost = sum(not good for at, good in watch.seen if at >= began)
    assert took is not None
    failed = next((at for at, good in watch.seen if at >= began and not good), began)
    again = next(at for at, good in watch.seen if at >= failed and good) - began
    print(f"{what}: an answer after {again:.1f} s, all of them after {took:.1f} s, {lost} requests lost")
    assert took <= limit
    assert not first or again <= first


def kill(node: str, command: str) -> None:
    """``kill -9`` of every process on ``node`` whose command line has ``command``."""
    docker("exec", node, "pkill", "--signal=KILL", "--full", command)


def all_ready(echo: Echo, name: str, count: int) -> bool:
    pods = echo.pods(name, "istio-system")
    return len(pods) == count and all(ready(pod) for pod in pods)


def restarts(echo: Echo, name: str) -> int:
    """How often containers of ``name`` were restarted."""
    statuses = [status for pod in echo.pods(name, "istio-system") for status in pod["status"]["containerStatuses"]]
    return sum(int(status["restartCount"]) for status in statuses)


def test_requests_do_not_need_istiod(cluster: Checkout, echo: Echo) -> None:
    (pod,) = echo.pods("istiod", "istio-system")
    node, before = f"{cluster.name}-{pod['spec']['nodeName']}", restarts(echo, "istiod")
    back(echo, lambda: kill(node, "pilot-discovery discovery"), "istiod killed", ISTIOD_BACK)
    eventually(lambda: all_ready(echo, "istiod", 1), seconds=120, what="istiod is back")
    assert restarts(echo, "istiod") == before + 1


def test_a_gateway_pod_that_is_killed_is_replaced(cluster: Checkout, echo: Echo) -> None:
    node, before = holder(cluster, echo.address), restarts(echo, "istio-ingressgateway")
    back(echo, lambda: kill(node, "pilot-agent proxy router"), "gateway pod of the address killed", GATEWAY_BACK)
    eventually(lambda: all_ready(echo, "istio-ingressgateway", 2), seconds=120, what="both gateway pods are back")
    assert restarts(echo, "istio-ingressgateway") == before + 1


def test_the_node_that_holds_the_address_loses_power(cluster: Checkout, echo: Echo) -> None:
    node = holder(cluster, echo.address)
    try:
        back(echo, lambda: docker("kill", node), f"{node} without power", NODE_BACK, FIRST_ANSWER)
        assert holder(cluster, echo.address) != node
    finally:
        docker("start", node)
    eventually(lambda: all(ready(each) for each in cluster.kube.nodes()), seconds=180, what="the node is Ready again")
    eventually(lambda: all_ready(echo, "istio-ingressgateway", 2), seconds=180, what="both gateway pods are back")
    eventually(lambda: echo.ask().status == 200, seconds=60, what="requests are answered")


def test_the_node_that_holds_the_address_is_drained_and_nobody_notices(cluster: Checkout, echo: Echo) -> None:
    node = holder(cluster, echo.address).removeprefix(f"{cluster.name}-")
    with Watch(echo, patience=5) as watch:
        time.sleep(2)
        done = cluster.make("drain", f"NODE={node}").expect()
        time.sleep(2)
    lost = [at for at, good in watch.seen if not good]
    print(f"make drain: {done.seconds:.0f} s, {len(watch.seen)} requests, {len(lost)} lost")
    assert lost == []
    assert holder(cluster, echo.address) != f"{cluster.name}-{node}"
    left = cluster.kube("get", "pods", "--all-namespaces", f"--field-selector=spec.nodeName={node}")["items"]
    assert {pod["metadata"]["ownerReferences"][0]["kind"] for pod in left} == {"DaemonSet"}
    assert cluster.make("drain", f"NODE={node}").expect().total("changed") == 0
    assert cluster.make("uncordon", f"NODE={node}").expect().total("changed") == 1
    assert cluster.make("uncordon", f"NODE={node}").expect().total("changed") == 0


def test_a_budget_that_holds_a_pod_is_named_and_the_next_drain_goes_on(cluster: Checkout, echo: Echo) -> None:
    node = str(echo.pods("echo", NAMESPACE)[0]["spec"]["nodeName"])
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "held", "namespace": NAMESPACE},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "echo"}}},
    }
    cluster.kube.apply([budget])
    try:
        held = cluster.run(
            *(".venv/bin/ansible-playbook", "playbooks/drain.yml", "-e", f"drain_node={node}", "-e", "drain_timeout=15")
        )
        assert held.status
        assert f"is held by PodDisruptionBudget {NAMESPACE}/held" in held.output
        assert "[not-drained]" in held.output
    finally:
        cluster.kube.text("delete", "poddisruptionbudget", "held", f"--namespace={NAMESPACE}")
    cluster.make("drain", f"NODE={node}").expect()
    cluster.make("uncordon", f"NODE={node}").expect()
    eventually(lambda: all_ready(echo, "istio-ingressgateway", 2), seconds=120, what="both gateway pods serve")


def test_a_run_finds_nothing_to_change_after_all_that(cluster: Checkout, echo: Echo) -> None:
    assert echo.ask().status == 200
    assert cluster.make("up").expect().total("changed") == 0
