"""Whether pods reach each other: what to ask from each node, and what the answers mean. Pure: objects in, words out.

``reach`` does the asking, on the nodes.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypedDict

from ..cluster.holdups import condition, seconds
from ..node.pod_network import USED

Object = Mapping[str, Any]

# kubeadm gives cluster DNS this number in the network of the Services.
DNS_NUMBER = 10
# Where a pod declares no port one is asked that nobody serves: to be refused is to have reached it.
ANY_PORT = 1
# Other nodes that a node asks, and pods on each: one may end while it is asked.
NEIGHBOURS = 8
PODS = 2
# Seconds for which it is waited for a pod to have an address.
STARTING = 120
# Their pods are asked before those of users.
_OWN = ("kube-system", "metallb-system", "istio-system", "monitoring", "local-path-storage", "grafana", "kiali")


class Pod(TypedDict):
    """A pod that can be asked; ``name`` with its namespace, ``dns``: whether it is one of CoreDNS."""

    name: str
    node: str
    address: str
    port: int
    dns: bool


class Question(TypedDict):
    """What a node asks; ``service`` is the address of cluster DNS, empty where no CoreDNS is Ready."""

    name: str
    service: str
    pods: list[Pod]


def pod_name(pod: Object) -> str:
    """Return namespace/name."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _in_network(pods: Iterable[Object]) -> list[Object]:
    """Keep the pods that have an address of the pod network: not the node's, and not one that they had.

    It has one from its sandbox on, while images are still pulled, and refuses connections there.
    """
    return [pod for pod in _placed(pods) if (pod.get("status") or {}).get("podIP")]


def _placed(pods: Iterable[Object]) -> list[Object]:
    """Keep the pods that are on a node, and have an address of the pod network there, or will have one."""
    return [
        pod
        for pod in pods
        if pod["spec"].get("nodeName")
        and not pod["spec"].get("hostNetwork")
        and not pod["metadata"].get("deletionTimestamp")
        and (pod.get("status") or {}).get("phase") in ("Pending", "Running")
    ]


def _ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def is_dns(pod: Object) -> bool:
    """Tell whether a pod is one of cluster DNS."""
    labels = pod["metadata"].get("labels") or {}
    return pod["metadata"]["namespace"] == "kube-system" and labels.get("k8s-app") == "kube-dns"


def _port(pod: Object) -> int:
    ports = [port for one in pod["spec"].get("containers") or [] for port in one.get("ports") or []]
    return next((int(port["containerPort"]) for port in ports if port.get("protocol", "TCP") == "TCP"), ANY_PORT)


def question(pods: Iterable[Object], node: str, nodes: Collection[str], service_cidr: str, dns_domain: str) -> Question:
    """Say what ``node`` asks of ``pods``, all of the cluster; only those on ``nodes`` count.

    Every Ready pod of CoreDNS, and on each of the next ``NEIGHBOURS`` other nodes up to ``PODS`` pods.
    """
    there = [pod for pod in _in_network(pods) if pod["spec"]["nodeName"] in nodes]
    there.sort(
        key=lambda pod: (
            not _ready(pod),
            pod["metadata"]["namespace"] not in _OWN,
            pod["metadata"].get("creationTimestamp", ""),
        )
    )
    ring = sorted(set(nodes) | {node})
    start = ring.index(node) + 1
    asked = [pod for pod in there if is_dns(pod) and _ready(pod)]
    resolvers = len(asked)
    for other in (ring[start:] + ring[: start - 1])[:NEIGHBOURS]:
        asked += [pod for pod in there if pod["spec"]["nodeName"] == other and not is_dns(pod)][:PODS]
    return {
        "name": f"kubernetes.default.svc.{dns_domain}",
        "service": str(ipaddress.ip_network(service_cidr)[DNS_NUMBER]) if resolvers else "",
        "pods": [
            {
                "name": pod_name(pod),
                "node": pod["spec"]["nodeName"],
                "address": pod["status"]["podIP"],
                "port": _port(pod),
                "dns": is_dns(pod),
            }
            for pod in asked
        ],
    }


def strangers(pods: Iterable[Object], nodes: Iterable[Object], pod_cidr: str) -> list[str]:
    """Name the pods whose address is not of their node's share of the pod network, in a sentence for each node.

    ``nodes`` are Node objects; of a node without a share of its own ``pod_cidr`` counts.
    """
    shares = {node["metadata"]["name"]: (node.get("spec") or {}).get("podCIDR") or pod_cidr for node in nodes}
    found: dict[str, list[Object]] = {}
    for pod in _in_network(pods):
        node = pod["spec"]["nodeName"]
        if ipaddress.ip_address(pod["status"]["podIP"]) not in ipaddress.ip_network(shares.get(node, pod_cidr)):
            found.setdefault(node, []).append(pod)
    return [
        f"on {node} the address of {_few([_addressed(pod) for pod in out])} is not in "
        f"{shares.get(node, pod_cidr)}, the pod network of that node, so no other node reaches it: another CNI plugin "
        "has given it, or the node joined anew since. "
        f"Look at: ls /etc/cni/slipway.d; cat /{USED['lease_file']} on {node}; "
        f"where both are {USED['title']}'s, delete the pod "
        f"(kubectl --namespace {out[0]['metadata']['namespace']} delete pod {out[0]['metadata']['name']})"
        for node, out in sorted(found.items())
    ]


def _addressed(pod: Object) -> str:
    return f"{pod_name(pod)} ({pod['status']['podIP']})"


def askable(pods: Iterable[Object], nodes: Collection[str], now: float | None = None) -> bool:
    """Tell whether a pod of CoreDNS is Ready, and each of ``nodes`` that has pods has one with an address.

    What has not come ``STARTING`` seconds after it was made is not waited for, nor a CoreDNS on the nodes' own network.
    ``now``: seconds since 1970.
    """
    pods = list(pods)
    now = time.time() if now is None else now
    young = [pod for pod in pods if now - seconds(pod["metadata"].get("creationTimestamp")) < STARTING]
    there = _in_network(pods)
    waited = {pod["spec"]["nodeName"] for pod in _placed(young)} - {pod["spec"]["nodeName"] for pod in there}
    # On a node that is Ready since a moment they are not placed yet.
    resolvers = [pod for pod in young if is_dns(pod) and not pod["spec"].get("hostNetwork")]
    return not waited & set(nodes) and (not resolvers or any(is_dns(pod) and _ready(pod) for pod in there))


def still(asked: Question, pods: Iterable[Object]) -> Question:
    """Leave out of a question the pods that are no longer what they were when it was asked."""
    there = {(pod_name(pod), pod["status"]["podIP"]) for pod in _in_network(pods)}
    kept = [pod for pod in asked["pods"] if (pod["name"], pod["address"]) in there]
    return {**asked, "pods": kept}


def troubles(questions: Mapping[str, Question], answers: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Say what does not pass, and why that may be. Both by the name of the node that asks.

    A node counts as reached when one of its pods was. Of a node without answers nothing is said.
    """
    cut: dict[str, list[str]] = {}
    lines: list[str] = []
    for node, asked in sorted(questions.items()):
        said = answers.get(node)
        if said is None:
            continue
        lost = _cut_off(node, asked, said)
        if lost:
            cut[node] = lost
            continue
        lines += _of_packets(node, asked, said) or _of_dns(node, asked, said)
    return _of_links(cut, questions, answers) + lines


def _cut_off(node: str, asked: Question, said: Mapping[str, str]) -> list[str]:
    """Name the other nodes of which no pod was reached."""
    reached: dict[str, bool] = {}
    for pod in asked["pods"]:
        if pod["node"] != node:
            passed = not said.get(f"pod {pod['name']}", "")
            reached[pod["node"]] = reached.get(pod["node"], False) or passed
    return sorted(other for other, passed in reached.items() if not passed)


def _of_links(
    cut: Mapping[str, list[str]], questions: Mapping[str, Question], answers: Mapping[str, Mapping[str, str]]
) -> list[str]:
    lines = []
    for node, others in cut.items():
        pods = [pod for pod in questions[node]["pods"] if pod["node"] in others]
        named = _few([f"{pod['name']} at {pod['address']}" for pod in pods], 1)
        why = answers[node].get(f"pod {pods[0]['name']}", "")
        lines.append(f"from {node} no pod on {_few(others)} is reached ({named}): {why}")
    if lines:
        lines.append(
            f"what goes between pods on two nodes is {_port_of_pods()} ({USED['carrier']}) between the nodes' own "
            "addresses: a firewall has to let it in on both, and forward what is in it (iptables -S FORWARD). Look at: "
            f"kubectl --namespace {USED['namespace']} get pods --output wide; ip -d link show "
            f"{USED['link']} on those nodes"
        )
    return lines


def _port_of_pods() -> str:
    number, _, protocol = USED["port"].partition("/")
    return f"{protocol.upper()} port {number}"


def _of_packets(node: str, asked: Question, said: Mapping[str, str]) -> list[str]:
    """Large answers that stop where small ones pass."""
    pods = [pod for pod in asked["pods"] if pod["dns"] and pod["node"] != node]
    small = [pod for pod in pods if not said.get(f"dns {pod['name']}", "") and said.get(f"large {pod['name']}", "")]
    return [
        f"from {node} small packets pass to {pod['name']} on {pod['node']} and large ones do not "
        f"({said['large ' + pod['name']]}): the network between the nodes carries less than the MTU of {USED['link']}, "
        f"which is {USED['overhead']} less than that of the nodes' interface. "
        f"Look at: ip link show {USED['link']} on {node} and {pod['node']}; ping -M do -s 1472 between the nodes"
        for pod in small[:1]
    ]


def _of_dns(node: str, asked: Question, said: Mapping[str, str]) -> list[str]:
    pods = [pod for pod in asked["pods"] if pod["dns"]]
    silent = {pod["name"]: said.get(f"dns {pod['name']}", "") for pod in pods if said.get(f"dns {pod['name']}", "")}
    if silent and len(silent) == len(pods):
        name, why = next(iter(silent.items()))
        return [
            (
                f"from {node} cluster DNS does not resolve {asked['name']}: {name}: {why}. "
                "Look at: kubectl --namespace kube-system logs --selector k8s-app=kube-dns"
            )
        ]
    why = said.get("service", "") if pods else ""
    if not why or silent:
        return [
            f"from {node} one pod of cluster DNS, {name}, does not resolve {asked['name']}: {reason}. "
            f"Look at: kubectl --namespace kube-system logs {name.partition('/')[2]}"
            for name, reason in list(silent.items())[:1]
        ]
    return [
        (
            f"from {node} cluster DNS is reached at its pods and not at its Service {asked['service']} ({why}): "
            f"kube-proxy on {node} has no rule for it. "
            "Look at: kubectl --namespace kube-system get pods --selector k8s-app=kube-proxy --output wide"
        )
    ]


def _few(names: Collection[str], most: int = 3) -> str:
    """Join names; beyond ``most`` only their number."""
    shown = list(names)[:most]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")
