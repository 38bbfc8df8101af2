"""Filters about nodes: which are Ready, and what a new one needs to join."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from slipway.cluster.kubeconfig import with_contexts
from slipway.errors import SlipwayError
from slipway.node.kubeadm import invitation
from slipway.page.ssh_keys import is_line
from slipway.paths import user_path

DOCUMENTATION = r"""
name: ready_nodes
short_description: Name the nodes that are Ready
description:
  - Keeps the nodes whose condition Ready is true and returns their names, sorted.
  - Beside it is open_nodes, of those that have got rid of the taint of a node that is not Ready. Kubernetes takes it
    off a moment later, and before that no pod comes there.
options:
  _input: {description: Node objects as the API gives them., type: list, elements: dict, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.assert:
    that: nodes.resources | ready_nodes | length == 3
"""
RETURN = r"""
_value: {description: Names., type: list, elements: str}
"""

# A kubelet makes its node known when it starts, and a run starts it anew where it finds that the node is gone.
UNKNOWN = "the cluster does not know it; run again, or type on that machine: sudo systemctl restart kubelet"
NOT_READY = "node.kubernetes.io/not-ready"
CHECKOUT = str(Path(__file__).resolve().parents[2])


def ready_nodes(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the nodes whose condition ``Ready`` is ``True``."""
    return sorted(
        node["metadata"]["name"]
        for node in nodes
        for condition in node.get("status", {}).get("conditions", [])
        if condition["type"] == "Ready" and condition["status"] == "True"
    )


def open_nodes(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the nodes that are Ready, and not tainted as one that is not."""
    return ready_nodes(
        node
        for node in nodes
        if not any(taint.get("key") == NOT_READY for taint in (node.get("spec") or {}).get("taints") or [])
    )


def unready(answer: Mapping[str, Any], expected: Iterable[str]) -> str:
    """Say of every expected node that is not Ready why, from the answer of ``k8s_info`` (or that it did not answer)."""
    if "resources" not in answer:
        return f"the API server did not answer: {answer.get('msg', 'no reason given')}; look at: kubectl get nodes"
    nodes = {node["metadata"]["name"]: node for node in answer["resources"]}
    lines = []
    for name in sorted(set(expected) - set(ready_nodes(nodes.values()))):
        conditions = nodes.get(name, {}).get("status", {}).get("conditions", [])
        reasons = [condition.get("message", "") for condition in conditions if condition["type"] == "Ready"]
        lines.append(f"{name} is not Ready: {(reasons or [UNKNOWN])[0]}")
    return "\n".join([*lines, "look at: kubectl describe node; journalctl -u kubelet on that machine"])


def invited(command_line: str) -> dict[str, str]:
    """Read a join command; see :func:`slipway.node.kubeadm.invitation`."""
    try:
        return invitation(command_line)
    except ValueError as exc:
        raise AnsibleFilterError(f"{exc}; run `kubeadm token create --print-join-command` on a controller") from exc


def key_texts(keys: Iterable[str], root: str = CHECKOUT) -> list[str]:
    """Turn the entries of ``cluster_ssh_keys`` into keys: a file (looked up from the checkout) gives its lines."""
    texts = []
    for key in keys:
        path = user_path(Path(root), key)
        try:
            text = key if is_line(key) else path.read_text(encoding="utf-8")
        except OSError as exc:
            what = f"cluster_ssh_keys: {path} cannot be read ({exc.strerror})"
            raise AnsibleFilterError(SlipwayError("ssh-key-unreadable", what).message) from None
        texts += [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return texts


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "open_nodes": open_nodes,
            "ready_nodes": ready_nodes,
            "unready": unready,
            "invitation": invited,
            "key_texts": key_texts,
            "kubeconfig_contexts": with_contexts,
        }
