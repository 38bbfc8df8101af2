"""Take a node out of service, and put it back: cordon, MetalLB's addresses, evictions, and a look at what serves then.

The API server evicts, and keeps to PodDisruptionBudgets. Here is the order: other nodes announce the addresses before
pods leave, pods leave while the rest of their workload serves, and at the end everything serves elsewhere. The only pod
of a Deployment is not evicted: the Deployment is rolled out once more, so its new pod is Ready before the old one ends.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import SlipwayError, together
from . import eviction, rollout
from .apply import Applier
from .client import Cluster
from .eviction import Object, Seen, name_of
from .objects import identity

MANAGER = "slipway-drain"
# MetalLB announces no address from a node that has it, and cloud controllers send nothing there.
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
# On the pods of a Deployment: the pod whose node was drained. Another value makes the Deployment replace its pods.
ROLLED = "slipway.io/drained"
# On a node that is drained, until all serves elsewhere: the uids of workloads whose pods leave. A drain that was cut
# off has seen them go, and the next one waits for them.
LEAVING = "slipway.io/leaving"
# On a node that an upgrade has cordoned, and so opens again. One that somebody else has cordoned stays as it is.
UPGRADES = "slipway.io/upgrades"
# Seconds between two looks, and for addresses to move: speakers tell each other at once.
PAUSE = 1.0
MOVES = 20.0
# What is read of the whole cluster at once.
_KINDS = (
    ("v1", "Node"),
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("policy/v1", "PodDisruptionBudget"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "PersistentVolume"),
)


@dataclass
class Drain:
    """One node of ``cluster``. ``forced``: pods that nobody makes anew go too, and budgets hold for ``seconds`` only.

    ``losing``: the node does not come back, so what is on its disk is lost. ``upgrades``: it is drained for an upgrade.
    """

    cluster: Cluster
    node: str
    seconds: float
    forced: bool = False
    losing: bool = False
    upgrades: bool = False
    say: Callable[[str], None] = lambda _: None
    left: list[str] = field(default_factory=list)
    """The pods that have left, as ``namespace/name``."""
    _refused: dict[str, str] = field(default_factory=dict)
    _workloads: set[str] = field(default_factory=set)

    def look(self) -> Seen:
        """Read what there is. Raises SlipwayError where the cluster has no such node."""
        lists = self.cluster.many(lambda kind: self.cluster.listed(*kind) or [], _KINDS)
        nodes, pods, deployments, sets, stateful, budgets, claims, volumes = lists
        node = next((one for one in nodes if one["metadata"]["name"] == self.node), None)
        if node is None:
            names = ", ".join(sorted(one["metadata"]["name"] for one in nodes))
            raise SlipwayError("no-such-node", f"the cluster has no node {self.node}; it has {names}: NODE={names}")
        return Seen(node, nodes, pods, [*deployments, *sets, *stateful], budgets, claims, volumes)

    # --- before

    def plan(self) -> tuple[bool, list[str]]:
        """Tell whether a drain would change anything, and say what, with what is lost.

        Raises SlipwayError for what only force would do.
        """
        seen = self.look()
        self._check(seen)
        lines = [f"{self.node}: {'cordoned already' if _cordoned(seen.node) else 'to be cordoned'}"]
        lines += [f"  {name_of(pod)} moves" for pod in seen.leaving if eviction.owner(pod) and not eviction.ends(pod)]
        lines += [f"  {name} is deleted, and nobody makes it anew" for name in eviction.orphans(seen)]
        for claim, pods in eviction.local_volumes(seen).items():
            fate = "is lost" if self.losing else "waits for the node to come back"
            lines.append(f"  {claim} is on this node alone and {fate} ({pods or 'no pod uses it'})")
        return _marks(seen.node) != (True, True) or bool(seen.leaving), lines

    def _check(self, seen: Seen) -> None:
        """Refuse what cannot go well, all of it at once, unless it is forced."""
        if self.forced:
            return
        faults = []
        if orphans := eviction.orphans(seen):
            faults.append(
                SlipwayError(
                    "unmanaged-pods",
                    f"nobody would make these pods anew: {', '.join(orphans)}. Type the same command with FORCE=1, and "
                    "they are deleted",
                )
            )
        volumes = eviction.local_volumes(seen)
        if self.losing and volumes:
            names = ", ".join(volumes)
            faults.append(
                SlipwayError(
                    "volumes-would-go",
                    f"the volumes of these claims are on {self.node} alone, and are lost with it: {names}. Copy what "
                    "you need, then type the same command with FORCE=1",
                )
            )
        if any(eviction.owner(pod) for pod in seen.leaving) and not eviction.elsewhere(seen):
            faults.append(
                SlipwayError(
                    "nowhere-to-go",
                    f"no other node takes the pods of {self.node}. Add one, or type the same command with FORCE=1, and "
                    "what runs there stops",
                )
            )
        if faults:
            raise together(faults)

    # --- doing it

    def run(self) -> bool:
        """Drain the node and tell whether that changed anything. Raises SlipwayError that names what holds it."""
        seen = self.look()
        self._check(seen)
        if _cordoned(seen.node) and not upgraded(seen.node):
            self.upgrades = False
        self._workloads |= _before(seen.node)
        changed = self._mark(drained=True)
        if changed:
            self.say(f"{self.node}: cordoned")
        self._addresses_move(seen)
        until = time.monotonic() + self.seconds
        while (seen := self.look()).leaving:
            gone = not seen.answers and all(map(eviction.ends, seen.leaving))
            if gone:
                # Its kubelet is silent: these pods end when it is back, or with the node.
                self._tell_stuck(seen)
                break
            going = [(pod, eviction.rolls(pod, seen)) for pod in eviction.next_ones(seen)]
            self._remember(pod for pod, deployment in going if not deployment)
            for pod, deployment in going:
                if deployment:
                    self._roll(deployment, pod)
                else:
                    self._evict(pod)
            if time.monotonic() >= until:
                self._give_up(seen)
                break
            time.sleep(PAUSE)
        if self._workloads or self._staying(seen):
            self._serves(max(until - time.monotonic(), self.seconds / 2))
            self._workloads.clear()
            self._mark(drained=True)
        return changed or bool(self.left)

    def _remember(self, pods: Iterable[Object]) -> None:
        """Write on the node which workloads have pods that leave, before they do."""
        found = {str(reference["uid"]) for pod in pods if (reference := eviction.owner(pod)).get("uid")}
        if not found <= self._workloads:
            self._workloads |= found
            self._mark(drained=True)

    def _tell_stuck(self, seen: Seen) -> None:
        """Name the pods that nobody makes anew while a silent node is in the cluster."""
        for name in [name for item in seen.owners for name in eviction.stuck(item, seen)]:
            back = "" if self.losing else f"is back, or gone (`make remove-node NODE={self.node}`)"
            self.say(f"{self.node} does not answer: {name} starts elsewhere when it {back or 'is gone'}")

    def _roll(self, deployment: Object, pod: Object) -> None:
        """Have a Deployment start another pod before this one ends; no change if that is under way."""
        annotations = {ROLLED: pod["metadata"]["name"]}
        template = deployment["spec"]["template"].get("metadata") or {}
        if annotations.items() <= (template.get("annotations") or {}).items():
            return
        wanted = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {key: deployment["metadata"][key] for key in ("namespace", "name")},
            "spec": {"template": {"metadata": {"annotations": annotations}}},
        }
        try:
            Applier(self.cluster, manager=MANAGER).apply([wanted])
        except SlipwayError as exc:
            self._refused[name_of(pod)] = exc.text
            return
        self.left.append(name_of(pod))
        self.say(f"{self.node}: {name_of(pod)} leaves when another pod of {identity(wanted)} is Ready")

    def _evict(self, pod: Object) -> None:
        metadata = pod["metadata"]
        space, name = metadata["namespace"], metadata["name"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"namespace": space, "name": name}}
        path = f"/api/v1/namespaces/{space}/pods/{name}"
        status, said = self.cluster.ask(f"{path}/eviction", method="POST", body=body)
        if status in (200, 201):
            self._note(pod)
        elif status == 404:
            self._refused.pop(name_of(pod), None)
        else:
            self._refused[name_of(pod)] = str(said.get("message") or f"the API server answers with {status}")

    def _note(self, pod: Object) -> None:
        name, reference = name_of(pod), eviction.owner(pod)
        self._refused.pop(name, None)
        self.left.append(name)
        self.say(f"{self.node}: {name} leaves")
        if reference.get("uid"):
            self._workloads.add(str(reference["uid"]))

    def _give_up(self, seen: Seen) -> None:
        """Name what holds the node when time is up; with force it goes all the same."""
        held = list(eviction.held(seen, self._refused))
        if not self.forced:
            told = "\n".join(held)
            raise SlipwayError(
                "not-drained",
                f"{self.node} is not drained after {self.seconds:g} s:\n{told}\nIt stays cordoned: `make uncordon "
                f"NODE={self.node}` opens it again. FORCE=1 deletes these pods.",
            )
        for pod in seen.leaving:
            path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
            status, _ = self.cluster.ask(path, method="DELETE", body={})
            if status < 300 and not eviction.ends(pod):
                self._note(pod)

    def _addresses_move(self, seen: Seen) -> None:
        """Give MetalLB time to announce everything from other nodes. What only follows its pods is waited for later."""
        if eviction.elsewhere(seen):
            rollout.until(self.announced, lambda services: not services, MOVES)

    def _staying(self, seen: Seen) -> list[str]:
        """Name the Services whose address should have moved. The speaker of a silent node says nothing new."""
        return self.announced() if seen.answers and not self.forced and eviction.elsewhere(seen) else []

    def announced(self) -> list[str]:
        """Name the Services whose address the node announces, as MetalLB's speakers say."""
        found = self.cluster.listed("metallb.io/v1beta1", "ServiceL2Status") or []
        return sorted(
            f"{status.get('serviceNamespace')}/{status.get('serviceName')}"
            for one in found
            if (status := one.get("status") or {}).get("node") == self.node
        )

    def _serves(self, seconds: float) -> None:
        """Wait until what has left serves elsewhere."""
        told, served = rollout.until(self._short, lambda told: not told, seconds)
        if not served:
            what = "\n".join(told)
            raise SlipwayError(
                "not-served-elsewhere",
                f"{self.node} is drained, and not everything that ran there serves elsewhere:\n{what}\nIt stays "
                f"cordoned: `make uncordon NODE={self.node}` opens it again.",
            )

    def _short(self) -> list[str]:
        seen = self.look()
        if self.forced and not eviction.elsewhere(seen):
            return []
        staying = [
            f"Service {name}: MetalLB still announces its address from {self.node}" for name in self._staying(seen)
        ]
        parked = {name for names in eviction.local_volumes(seen).values() for name in names.split(", ")}
        return [*eviction.short(seen, self._workloads, parked), *staying]

    def open(self, *, dry_run: bool = False) -> bool:
        """Let pods come to the node again, and tell whether that changes anything."""
        marks = _marks(self.look().node)
        return any(marks) if dry_run else self._mark(drained=False)

    def _mark(self, *, drained: bool) -> bool:
        metadata: dict[str, Any] = {"name": self.node, **({"labels": {EXCLUDED: ""}} if drained else {})}
        leaving = {LEAVING: ",".join(sorted(self._workloads))} if self._workloads else {}
        if drained and (notes := leaving | ({UPGRADES: ""} if self.upgrades else {})):
            metadata["annotations"] = notes
        wanted = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"unschedulable": drained}}
        (applied,) = Applier(self.cluster, patience=10, manager=MANAGER).apply([wanted])
        return _marks(applied.before) != _marks(applied.after)

    def remove(self) -> bool:
        """Take the Node object out of the cluster, and tell whether it was there."""
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node}}
        (gone,) = Applier(self.cluster, patience=10).remove([node])
        if gone.changed:
            self.say(f"{identity(node)} is gone")
        return gone.changed


def _before(node: Object) -> set[str]:
    """Read which workloads a drain that was cut off has seen leave."""
    annotations = node["metadata"].get("annotations") or {}
    return set(filter(None, str(annotations.get(LEAVING, "")).split(",")))


def upgraded(node: Object) -> bool:
    """Tell whether an upgrade has cordoned a node, and not opened it yet."""
    return UPGRADES in (node["metadata"].get("annotations") or {})


def _cordoned(node: Object) -> bool:
    return bool((node.get("spec") or {}).get("unschedulable"))


def _marks(node: Mapping[str, Any] | None) -> tuple[bool, bool]:
    labels = ((node or {}).get("metadata") or {}).get("labels") or {}
    return _cordoned(dict(node or {})), EXCLUDED in labels


def through_gateway(address: str, work: Callable[[], bool], seconds: float) -> bool:
    """Do ``work``. A gateway (``host:port``) that answers before has to answer afterwards: SlipwayError where not."""
    answered = bool(address) and answers(address)
    changed = work()
    if answered and not rollout.until(lambda: answers(address), bool, seconds)[1]:
        raise SlipwayError(
            "gateway-silent",
            f"the gateway at {address} answered before the drain, and does not answer any more; look at: kubectl "
            "--namespace istio-system get pods,services --output wide",
        )
    return changed


def answers(address: str, seconds: float = 3.0) -> bool:
    """Tell whether an HTTP server answers at ``host:port``, whatever its status is."""
    connection = http.client.HTTPConnection(address, timeout=seconds)
    try:
        connection.request("GET", "/", headers={"Host": "drain.slipway.internal"})
        return connection.getresponse().status > 0
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
