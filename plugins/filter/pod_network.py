"""Filters about the network of the pods; the answers come from slipway.parts and slipway.node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from slipway.node import pod_network as contract
from slipway.parts import cluster_dns, pod_network

DOCUMENTATION = r"""
name: pod_network_question
short_description: Say what a node asks of the pods of a cluster
description:
  - Gives what M(pod_network) asks from one node, out of all pods of the cluster.
  - Beside it are pod_network_ready (whether CoreDNS, and a pod on each of the nodes that have some, can be asked), and
    pod_network_troubles (of the results of M(pod_network) by node, what does not pass, and why that may be).
  - cluster_dns_to_move gives, of all pods and the nodes, the pod of cluster DNS that is to be made anew elsewhere.
  - pod_network_contract says what a pod network gives, by its name; an empty name stands for the one in use.
options:
  _input: {description: Pods as the API gives them., type: list, elements: dict, required: true}
  node: {description: The node that asks., type: str, required: true}
  nodes: {description: The nodes whose pods count., type: list, elements: str, required: true}
  service_cidr: {description: Network of the Services., type: str, required: true}
  dns_domain: {description: Domain of cluster DNS., type: str, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- pod_network:
    question: >-
      {{ pods.resources | pod_network_question(inventory_hostname, groups.nodes, '10.96.0.0/12', 'cluster.local') }}
  register: asked
- ansible.builtin.debug:
    msg: "{{ answers | pod_network_troubles(pods.resources, nodes.resources, '10.244.0.0/16') | join('. ') }}"
"""
RETURN = r"""
_value: {description: The question., type: dict}
"""

# A node that could not be asked has no answers; that it could not was said where it failed.
Results = Mapping[str, Mapping[str, Any]]


def troubles(
    results: Results, pods: Iterable[Mapping[str, Any]], nodes: Iterable[Mapping[str, Any]], pod_cidr: str
) -> list[str]:
    """Say what does not pass, of pods that are still there."""
    pods = list(pods)
    asked = {node: result for node, result in results.items() if "answers" in result}
    questions = {node: pod_network.still(result["question"], pods) for node, result in asked.items()}
    answers = {node: result["answers"] for node, result in asked.items()}
    return pod_network.strangers(pods, nodes, pod_cidr) + pod_network.troubles(questions, answers)


def agreed(name: str) -> dict[str, Any]:
    """Say what a pod network gives, and which commands take a node out of it (``reset``); no name: the one in use."""
    network = contract.NETWORKS[name] if name else contract.USED
    return {**network, "reset": contract.reset(network)}


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "cluster_dns_to_move": cluster_dns.to_move,
            "pod_network_contract": agreed,
            "pod_network_question": pod_network.question,
            "pod_network_ready": pod_network.askable,
            "pod_network_troubles": troubles,
        }
