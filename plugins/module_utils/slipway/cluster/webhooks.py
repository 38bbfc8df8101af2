"""Why a webhook does not answer: what the API server says, and what stands behind it. Pure: texts in, words out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..node.pod_network import USED
from .holdups import Signs, condition

Object = Mapping[str, Any]

# Seconds for which a webhook's pods may be Ready and not be reached: kube-proxy and routes follow a little later.
REACHED = 60.0
_CALL = re.compile(
    r"^(?P<item>\S+): the API server refuses it .*"
    r'Post "https://(?P<service>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.svc\b[^"]*": (?P<why>.*)$',
    re.MULTILINE,
)
# Packets that get lost, unlike a certificate that is not there yet, or a program that does not listen yet.
_LOST = re.compile(r"deadline exceeded|timed? ?out|no route to host|network is unreachable", re.IGNORECASE)


@dataclass(frozen=True)
class Call:
    """A webhook that was to judge ``item`` and did not answer; ``why`` in the API server's words."""

    item: str
    namespace: str
    service: str
    why: str

    @property
    def lost(self) -> bool:
        """Whether packets on the way to it get lost."""
        return bool(_LOST.search(self.why))


def calls(said: str) -> list[Call]:
    """Find the webhooks in what the API server says of objects that it refuses."""
    return [Call(**found.groupdict()) for found in _CALL.finditer(said)]


def summary(said: str) -> str:
    """Say of each webhook once that it does not answer, and for which objects; other lines stay as they are."""
    items: dict[tuple[str, str], dict[str, str]] = {}
    for call in calls(said):
        items.setdefault((call.namespace, call.service), {})[call.item] = call.why
    lines = [
        f"{', '.join(whys)}: the webhook of Service {namespace}/{service}, which judges this, does not answer: "
        f"{'; '.join(dict.fromkeys(whys.values()))}"
        for (namespace, service), whys in items.items()
    ]
    return "\n".join([*lines, *(line for line in said.splitlines() if not _CALL.match(line))])


def selects(selector: Mapping[str, str], labels: Mapping[str, str] | None) -> bool:
    """Tell whether a Service's selector fits labels; an empty one fits none."""
    return bool(selector) and selector.items() <= (labels or {}).items()


def on_lost_nodes(pods: Iterable[Object], signs: Signs) -> str:
    """Say which of the pods are on nodes that are not Ready and do not come back by themselves; empty: none is."""
    lost = {node["metadata"]["name"]: str(condition(node, "Ready").get("message") or "it never reported")
            for node in signs.nodes_lost()}  # fmt: skip
    found = ((pod["metadata"]["name"], (pod.get("spec") or {}).get("nodeName")) for pod in pods)
    return "; ".join(f"pod {pod} is on {node}, which is not Ready: {lost[node]}" for pod, node in found if node in lost)


def not_reached(pods: Iterable[Object], service: str) -> str:
    """Say what may be in the way of a webhook whose pods are Ready."""
    places = ", ".join(
        f"{pod['metadata']['name']} on {pod['spec'].get('nodeName')}, {(pod.get('status') or {}).get('podIP')}"
        for pod in pods
    )
    return (
        f"the pods behind {service} are Ready ({places}), and the API server does not reach them: packets between the "
        "controller and that node get lost. Likely causes: a firewall closes "
        f"{USED['port']} ({USED['carrier']}) between nodes; a node's address has changed and {USED['title']} still has "
        "the old one; another CNI plugin has given the pod its address.\n"
        f"look at: kubectl --namespace {USED['namespace']} get pods --output wide; on both machines: sudo nft list "
        f"ruleset; ip -details link show {USED['link']}"
    )
