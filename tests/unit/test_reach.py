"""What a node asks of cluster DNS and of pods, against servers on loopback; and what the answers are taken to mean."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from slipway.node import reach
from slipway.parts import pod_network

from tests.support.plugins import load, run_module

CIDR, SERVICES, DOMAIN = "10.244.0.0/16", "10.96.0.0/12", "cluster.local"


# --- asking


@contextmanager
def dns(answer: Callable[[int], list[bytes]]) -> Iterator[str]:
    """A DNS server on an address of loopback; ``answer`` gives what it sends back to a query's number."""
    address = "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.MonkeyPatch.context() as patch:
        sock.bind((address, 0))
        patch.setattr(reach, "DNS", sock.getsockname()[1])
        sock.settimeout(0.2)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    data, peer = sock.recvfrom(512)
                except TimeoutError:
                    continue
                for part in answer(int.from_bytes(data[:2], "big")):
                    sock.sendto(part, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield address
        finally:
            ended.set()
            thread.join()


def header(number: int, code: int = 0, records: int = 1) -> bytes:
    return struct.pack("!6H", number, 0x8180 | code, 1, records, 0, 0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda number: [header(number)], ""),
        (lambda number: [header(number ^ 1), header(number)], ""),
        (lambda number: [header(number, 2, 0)], "answers SERVFAIL"),
        (lambda number: [header(number, 0, 0)], "answers without an address"),
        (lambda _: [], "no answer"),
        (lambda number: [header(number ^ 1)], "no answer"),
        (lambda _: [b"short"], "no answer"),
    ],
)
def test_a_name_resolves_or_it_is_said_how_not(answer: Callable[[int], list[bytes]], said: str) -> None:
    with dns(answer) as server:
        found = ""
        try:
            reach.resolve(server, "kubernetes.default.svc.cluster.local", 0.3, 1)
        except reach.NoAnswerError as exc:
            found = str(exc)
    assert found == said


def test_a_query_is_one_that_a_resolver_reads() -> None:
    assert reach.query("a.bc.", 258) == b"\x01\x02\x01\x00\x00\x01\0\0\0\0\0\0\x01a\x02bc\0\x00\x01\x00\x01"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def http(parts: list[bytes]) -> Iterator[int]:
    """A server on loopback that sends ``parts`` to the one that connects, and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(512)
                for part in parts:
                    connection.sendall(part)
                ended.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def test_a_pod_that_refuses_is_reached() -> None:
    reach.touch("127.0.0.1", free_port())


def test_a_pod_that_says_nothing_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        taken = [socket.socket() for _ in range(8)]
        for sock in taken:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        try:
            with pytest.raises(reach.NoAnswerError, match="no answer"):
                reach.touch("127.0.0.1", full.getsockname()[1], 0.3)
        finally:
            for sock in taken:
                sock.close()


@pytest.mark.parametrize(
    ("parts", "said"),
    [([b"x" * 5000], ""), ([b"x" * 100], "the answer stops after 100 bytes"), ([], "no answer")],
)
def test_a_large_answer_that_stops_is_told_from_one_that_comes(parts: list[bytes], said: str) -> None:
    found = ""
    with http(parts) as port:
        try:
            reach.fetch("127.0.0.1", port, "/metrics", 0.4)
        except reach.NoAnswerError as exc:
            found = str(exc)
    assert found == said


def test_what_has_not_answered_is_asked_again() -> None:
    seen: list[int] = []

    def later(number: int) -> list[bytes]:
        seen.append(number)
        return [header(number)] if len(seen) > reach.TRIES else []

    with dns(later) as server:
        asked = {"name": "a.b", "service": server, "pods": []}
        assert reach.ask(asked, 0) == {"service": "no answer"}
        assert reach.ask(asked, 20) == {"service": ""}


def test_the_module_gives_back_what_it_asked() -> None:
    port = free_port()
    pod = {"name": "a/b", "node": "n", "address": "127.0.0.1", "port": port, "dns": False}
    question = {"name": "a.b", "service": "", "pods": [pod]}
    ended = run_module(load("modules", "pod_network"), {"question": question})
    assert (ended.result["answers"], ended.result["question"], ended.result["changed"]) == (
        {"pod a/b": ""},
        question,
        False,
    )


# --- what to ask, and what the answers mean


def pod(name: str, node: str, address: str, **more: Any) -> dict[str, Any]:
    namespace, _, name = name.rpartition("/")
    return {
        "metadata": {"name": name, "namespace": namespace or "kube-system", "labels": more.get("labels", {}),
                     **more.get("metadata", {})},
        "spec": {"nodeName": node, "hostNetwork": more.get("host", False),
                 "containers": [{"ports": [{"containerPort": 53, "protocol": "UDP"},
                                           {"containerPort": more.get("port", 8080)}]}]},
        "status": {"podIP": address, "phase": more.get("phase", "Running"),
                   "conditions": [{"type": "Ready", "status": more.get("ready", "True")}]},
    }  # fmt: skip


DNS = {"labels": {"k8s-app": "kube-dns"}}
NODES = ["ctrl", "node-1", "node-2"]
PODS = [
    pod("coredns-1", "ctrl", "10.244.0.2", **DNS, port=9153),
    pod("coredns-2", "ctrl", "10.244.0.3", **DNS, port=9153),
    pod("shop/web", "node-1", "10.244.1.9"),
    pod("metrics", "node-1", "10.244.1.2"),
    pod("istio-system/istiod", "node-2", "10.244.2.2", port=15012),
    pod("flannel", "node-2", "192.168.56.102", host=True),
    pod("ends", "node-2", "10.244.2.7", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    pod("starts", "node-2", "10.244.2.8", ready="False"),
    pod("done", "node-2", "10.244.2.9", phase="Succeeded"),
]


def ask_from(node: str, pods: list[dict[str, Any]] = PODS, nodes: list[str] = NODES) -> pod_network.Question:
    return pod_network.question(pods, node, nodes, SERVICES, DOMAIN)


def test_a_node_asks_cluster_dns_and_pods_of_every_other_node() -> None:
    asked = ask_from("node-1")
    assert (asked["name"], asked["service"]) == ("kubernetes.default.svc.cluster.local", "10.96.0.10")
    assert [(one["name"], one["port"], one["dns"]) for one in asked["pods"]] == [
        ("kube-system/coredns-1", 9153, True),
        ("kube-system/coredns-2", 9153, True),
        ("istio-system/istiod", 15012, False),
        ("kube-system/starts", 8080, False),
    ]


def test_pods_of_the_cluster_come_before_those_of_users_and_two_are_enough() -> None:
    pods = [*PODS, pod("shop/api", "node-1", "10.244.1.10"), pod("monitoring/x", "node-1", "10.244.1.3")]
    names = [one["name"] for one in ask_from("node-2", pods)["pods"] if one["node"] == "node-1"]
    assert names == ["kube-system/metrics", "monitoring/x"]


def test_on_a_large_cluster_every_node_is_asked_by_some_other_and_none_asks_all() -> None:
    nodes = [f"node-{number:02}" for number in range(40)]
    pods = [pod(f"p-{node}", node, f"10.244.{number}.2") for number, node in enumerate(nodes)]
    questions = {node: ask_from(node, pods, nodes) for node in nodes}
    assert {len(asked["pods"]) for asked in questions.values()} == {pod_network.NEIGHBOURS}
    assert {one["node"] for asked in questions.values() for one in asked["pods"]} == set(nodes)


def test_pods_of_a_node_that_does_not_count_are_not_asked() -> None:
    assert {one["node"] for one in ask_from("node-1", nodes=["ctrl", "node-1"])["pods"]} == {"ctrl"}


def test_a_pod_whose_image_is_being_pulled_is_asked_after_those_that_are_ready() -> None:
    pods = [pod("a-pulls", "node-2", "10.244.2.3", phase="Pending", ready="False"), *PODS]
    names = [one["name"] for one in ask_from("ctrl", pods)["pods"] if one["node"] == "node-2"]
    assert names == ["istio-system/istiod", "kube-system/a-pulls"]


@pytest.mark.parametrize(
    ("more", "askable"),
    [
        ([], True),
        # On its way, and alone there.
        ([pod("new", "node-3", "", phase="Pending", ready="False")], False),
        ([pod("new", "node-3", "10.244.3.1", phase="Pending", ready="False")], True),
        ([pod("new", "node-3", "", phase="Pending", ready="False"), pod("b", "node-3", "10.244.3.1")], True),
        ([pod("host", "node-3", "", host=True)], True),
        ([pod("new", "away", "", phase="Pending", ready="False")], True),
        ([pod("nowhere", "", "", phase="Pending", ready="False")], True),
    ],
)
def test_it_is_waited_for_an_address_on_each_node_that_has_pods(more: list[dict[str, Any]], askable: bool) -> None:
    made = {"creationTimestamp": "2026-01-01T00:00:00Z"}
    pods = [{**one, "metadata": {**one["metadata"], **made}} for one in (*PODS, *more)]
    began = 1767225600.0
    assert pod_network.askable(pods, [*NODES, "node-3"], began + 10) is askable
    # What does not come is not waited for in every run.
    assert pod_network.askable(pods, [*NODES, "node-3"], began + 1000)


def test_cluster_dns_that_is_not_in_the_pod_network_is_not_waited_for() -> None:
    new = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}
    assert pod_network.askable([pod("coredns", "ctrl", "192.0.2.1", host=True, **new, **DNS)], NODES, 1767225601.0)
    assert not pod_network.askable(
        [pod("coredns", "", "", phase="Pending", ready="False", **new, **DNS)], NODES, 1767225601.0
    )


def test_without_a_pod_of_cluster_dns_its_service_is_not_asked() -> None:
    assert ask_from("ctrl", PODS[2:])["service"] == ""


def said(node: str, **wrong: str) -> dict[str, str]:
    answers = dict.fromkeys((name for name, _ in reach.questions(ask_from(node))), "")
    for name, reason in wrong.items():
        answers |= {key: reason for key in answers if key.startswith(name)}
    return answers


def judged(**answers: dict[str, str]) -> list[str]:
    results = {name.replace("_", "-"): given for name, given in answers.items()}
    return pod_network.troubles({node: ask_from(node) for node in NODES}, results)


def test_where_all_answer_nothing_is_said() -> None:
    assert judged(ctrl=said("ctrl"), node_1=said("node-1"), node_2=said("node-2")) == []


def test_a_node_that_was_not_asked_is_not_judged() -> None:
    assert judged(ctrl=said("ctrl")) == []


def test_a_node_that_reaches_nobody_is_named_with_the_port_of_the_vxlan() -> None:
    cut = said("node-1", pod="no answer", dns="no answer", large="no answer", service="no answer")
    found = judged(ctrl=said("ctrl"), node_1=cut, node_2=said("node-2"))
    assert len(found) == 2
    assert found[0].startswith("from node-1 no pod on ctrl, node-2 is reached (kube-system/coredns-1 at 10.244.0.2 and")
    assert "UDP port 8472" in found[1]


def test_one_pod_of_two_that_does_not_answer_is_not_the_network() -> None:
    pods = [*PODS, pod("monitoring/x", "node-1", "10.244.1.3")]
    questions = {"ctrl": ask_from("ctrl", pods)}
    answers = dict.fromkeys((name for name, _ in reach.questions(questions["ctrl"])), "")
    answers["pod monitoring/x"] = "no answer"
    assert pod_network.troubles(questions, {"ctrl": answers}) == []


def test_large_packets_that_get_lost_are_the_mtu() -> None:
    found = judged(node_1=said("node-1", large="the answer stops after 1000 bytes"))
    assert len(found) == 1
    assert "MTU" in found[0]
    assert "from node-1 small packets pass to kube-system/coredns-1 on ctrl" in found[0]


def test_a_service_that_does_not_answer_where_its_pods_do_is_kube_proxy() -> None:
    found = judged(node_2=said("node-2", service="no answer"))
    assert len(found) == 1
    assert (
        "from node-2 cluster DNS is reached at its pods and not at its Service 10.96.0.10 (no answer): kube-proxy"
        in found[0]
    )


def test_dns_that_answers_wrongly_is_dns() -> None:
    found = judged(node_2=said("node-2", service="answers SERVFAIL", dns="answers SERVFAIL"))
    assert len(found) == 1
    assert "kube-system/coredns-1: answers SERVFAIL" in found[0]
    assert "k8s-app=kube-dns" in found[0]


SHARES = [
    {"metadata": {"name": name}, "spec": {"podCIDR": f"10.244.{number}.0/24"}} for number, name in enumerate(NODES)
]


def test_pods_with_addresses_of_another_network_are_named_by_node() -> None:
    foreign = [pod(f"coredns-{number}", "ctrl", f"10.88.0.{number}", **DNS) for number in range(1, 6)]
    (found,) = pod_network.strangers([*PODS, *foreign], SHARES, CIDR)
    assert "on ctrl the address of kube-system/coredns-1 (10.88.0.1)" in found
    assert "and 2 more is not in 10.244.0.0/24, the pod network of that node" in found
    assert "kubectl --namespace kube-system delete pod coredns-1" in found
    assert pod_network.strangers(PODS, SHARES, CIDR) == []
    # Without a share of its own the node has the whole.
    assert len(pod_network.strangers([*PODS, *foreign], [], CIDR)) == 1


def test_pods_of_a_share_that_their_node_had_before_are_named() -> None:
    moved = [*SHARES[:1], {"metadata": {"name": "node-1"}, "spec": {"podCIDR": "10.244.9.0/24"}}, *SHARES[2:]]
    (found,) = pod_network.strangers(PODS, moved, CIDR)
    assert "on node-1 the address of shop/web (10.244.1.9)" in found
    assert "is not in 10.244.9.0/24" in found


def test_a_pod_that_has_ended_meanwhile_is_no_fault() -> None:
    plugin = load("filter", "pod_network")
    cut = said("node-1", pod="no answer", dns="no answer", large="no answer", service="")
    results = {"node-1": {"question": ask_from("node-1"), "answers": cut}, "node-2": {"skipped": True}}
    assert len(plugin.troubles(results, PODS, SHARES, CIDR)) == 2
    assert plugin.troubles(results, [], SHARES, CIDR) == []
