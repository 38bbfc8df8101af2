"""The plan of an upgrade: what each node runs, what is to be done on which, in which order, and what forbids it.

Pure: what was read goes in, the plan and words come out. What a node runs is read from the node itself, so a run that
was cut off is planned anew, and goes on where it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..artifacts import versions
from ..errors import SlipwayError, together
from .drain import upgraded
from .eviction import Seen, budgets_of, name_of, takes_pods
from .holdups import condition

Object = Mapping[str, Any]

# The taint of a node that is cordoned.
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
CONTROL = "node-role.kubernetes.io/control-plane"
# etcd 3.7 reads data of 3.6 that at least this patch has written.
ETCD_NEW, ETCD_LEAST = "3.7", "3.6.11"
# A kubelet may be so many minor versions older than the API server that it asks.
SKEW = 3
_DEPRECATED = re.compile(r"^apiserver_requested_deprecated_apis\{(?P<labels>[^}]*)\}\s+(?P<value>\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
PAGE = 'cluster_kubernetes_version: "{}"'


@dataclass(frozen=True)
class Target:
    """What the page asks for, with its etcd. ``known``: the releases of the catalog, oldest first.

    ``etcd_before``: the etcd that goes with the release that the cluster runs, where the catalog knows it.
    """

    kubernetes: str
    etcd: str
    etcd_before: str = ""
    known: Sequence[str] = ()
    batch: int = 1


@dataclass(frozen=True)
class Machine:
    """A node. ``parts`` are those of a controller; ``reached``: this run was on it; ``here``: the page has it.

    ``closed``: it has a taint that the Job of kubeadm does not tolerate.
    """

    name: str
    controller: bool
    ready: bool
    kubelet: str
    placed: str = ""
    runtime: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    cordoned: bool = False
    ours: bool = False
    reached: bool = True
    here: bool = True
    closed: bool = False

    @property
    def api(self) -> str:
        """The release of its API server; empty on a worker."""
        return self.parts.get("kube-apiserver", "")

    @property
    def etcd(self) -> str:
        """The release of its member of etcd, without the build behind it."""
        return self.parts.get("etcd", "").partition("-")[0]

    def control_is(self, target: Target) -> bool:
        """Tell whether its control plane is of a release."""
        others = [release for part, release in self.parts.items() if part != "etcd"]
        return self.etcd == target.etcd and all(release == target.kubernetes for release in others)

    def kubelet_is(self, target: Target) -> bool:
        """Tell whether its kubelet is, both as a file and as it runs, and pods may come to it."""
        return self.kubelet == self.placed == target.kubernetes and not self.ours


@dataclass(frozen=True)
class Kept:
    """What kubeadm keeps in the cluster: its configuration's release and tag of etcd, and the release of kube-proxy."""

    kubernetes: str
    etcd: str
    proxy: str


@dataclass(frozen=True)
class Plan:
    """What is to be done. ``control``: controllers in their order; ``nodes``: all whose kubelets change, in theirs.

    ``first``: the controller that upgrades what kubeadm keeps; empty: that is done. ``left``: nodes that are away.
    ``begun``: something is of the new release already.
    """

    target: Target
    control: tuple[str, ...]
    nodes: tuple[str, ...]
    first: str
    left: tuple[str, ...]
    begun: bool

    @property
    def needed(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.control or self.nodes)

    def as_values(self) -> dict[str, Any]:
        """Give it to a playbook."""
        return {
            "control": list(self.control),
            "nodes": list(self.nodes),
            "first": self.first,
            "left": list(self.left),
            "begun": self.begun,
            "needed": self.needed,
            "batch": self.target.batch,
        }


def machines(nodes: Iterable[Object], looked: Mapping[str, Mapping[str, Any]], page: Iterable[str]) -> list[Machine]:
    """Put together what the cluster says of its nodes and what was read on them, by name; controllers first.

    ``page``: the names that it has, in its order, in which nodes have their turn.
    """
    order = {name: number for number, name in enumerate(page)}
    found = []
    for node in nodes:
        name, info = str(node["metadata"]["name"]), (node.get("status") or {}).get("nodeInfo") or {}
        own = looked.get(name) or {}
        found.append(
            Machine(
                name=name,
                controller=CONTROL in (node["metadata"].get("labels") or {}),
                ready=condition(node, "Ready").get("status") == "True",
                kubelet=str(info.get("kubeletVersion", "")).removeprefix("v"),
                placed=str(own.get("kubelet", "")),
                runtime=str(info.get("containerRuntimeVersion", "")).rpartition("//")[2],
                parts=dict(own.get("parts") or {}),
                cordoned=bool((node.get("spec") or {}).get("unschedulable")),
                ours=upgraded(node),
                reached=bool(own),
                here=name in order,
                closed=_closed(node),
            )
        )
    return sorted(found, key=lambda one: (not one.controller, order.get(one.name, len(order)), one.name))


def _closed(node: Object) -> bool:
    """Tell whether a node has a taint beside those of its role and of a cordon, which pods would have to tolerate."""
    taints = (node.get("spec") or {}).get("taints") or []
    keeps = [one for one in taints if one.get("effect") in ("NoSchedule", "NoExecute")]
    return any(one.get("key") not in (CONTROL, UNSCHEDULABLE) for one in keeps)


# --- what forbids it


def refusals(there: Sequence[Machine], target: Target) -> list[SlipwayError]:
    """Say what forbids the upgrade, each with what would work; empty: nothing does."""
    faults = [*_of_versions(there, target)]
    away = [one.name for one in there if one.controller and not (one.ready and one.reached)]
    if away:
        faults.append(
            SlipwayError(
                "controller-away",
                f"not Ready, or not to be reached, among the controllers: {', '.join(away)}. All of them are upgraded, "
                "or none. Bring it back, or remove it for good: "
                + "; ".join(f"make remove-node NODE={name}" for name in away),
            )
        )
    return faults


def _of_the_job(there: Sequence[Machine], first: str) -> Iterable[SlipwayError]:
    """kubeadm begins the first controller with a Job of the pause image, and fails where no node takes it.

    It tolerates the taint of controllers. The image is on every node that is upgraded before kubeadm runs.
    """
    if not first or any(one.ready and not one.cordoned and not one.closed for one in there):
        return
    why = [f"{one.name} ({_takes_none(one)})" for one in there]
    open_again = [f"make uncordon NODE={one.name}" for one in there if one.ready and one.cordoned and not one.closed]
    works = " or ".join(open_again) or "bring a node back, or take the taint from one (kubectl taint)"
    yield SlipwayError(
        "upgrade-nowhere",
        f"before kubeadm upgrades a control plane it runs a Job (its check CreateJob), and no node takes its pod: "
        f"{', '.join(why)}. What works: {works}",
    )


def _takes_none(one: Machine) -> str:
    if not one.ready:
        return "not Ready"
    return "cordoned" if one.cordoned else "has a taint of yours"


def _of_versions(there: Sequence[Machine], target: Target) -> Iterable[SlipwayError]:
    order = versions.order
    apis = sorted({one.api for one in there if one.api}, key=order)
    kubelets = sorted({one.kubelet for one in there if one.kubelet and one.ready}, key=order)
    if not apis:
        return
    newest, oldest = apis[-1], apis[0]
    if order(target.kubernetes) < order(newest):
        yield SlipwayError(
            "upgrade-backwards",
            f"{PAGE.format(target.kubernetes)} is older than {newest}, which controllers run already, and Kubernetes "
            f"does not go back. What works: {PAGE.format(newest)}; or make restore with the backup of before "
            "(docs/how-to/upgrade.md)",
        )
        return
    low = min([oldest, *kubelets[:1]], key=order)
    if _minor(target.kubernetes) > _minor(oldest) + 1 or _minor(target.kubernetes) > _minor(low) + SKEW:
        yield _skips(target, oldest)
    elif _minor(target.kubernetes) > _minor(low) + 1:
        least = _minor(target.kubernetes) - 1
        behind = ", ".join(one.name for one in there if one.ready and _minor(one.kubelet) < least)
        yield SlipwayError(
            "upgrade-skips",
            f"{behind} still run kubelets of {low}, from an upgrade that did not end. What works: "
            f"{PAGE.format(newest)}, make upgrade, and {target.kubernetes} after that",
        )
    yield from _of_etcd(there, target)


def _skips(target: Target, oldest: str) -> SlipwayError:
    """Name a release of the next minor version, of those that the catalog knows."""
    major, minor = versions.minor(oldest) or (0, 0)
    between = [one for one in target.known if versions.minor(one) == (major, minor + 1)]
    missing = f"a release of {major}.{minor + 1}, of which the catalog has none (make catalog KUBERNETES=...)"
    works = PAGE.format(between[-1]) if between else missing
    return SlipwayError(
        "upgrade-skips",
        f"{PAGE.format(target.kubernetes)} is more than one minor version above {oldest}, which the cluster runs, and "
        f"Kubernetes goes up one at a time. What works first: {works}",
    )


def _of_etcd(there: Sequence[Machine], target: Target) -> Iterable[SlipwayError]:
    order = versions.order
    if order(target.etcd) < order(ETCD_NEW):
        return
    old = [one for one in there if one.etcd and order(one.etcd) < order(ETCD_LEAST)]
    if not old:
        return
    same = [one for one in target.known if versions.minor(one) == versions.minor(old[0].api)]
    first = PAGE.format(same[-1]) if same else "a release of the minor version that the cluster runs"
    yield SlipwayError(
        "etcd-too-old",
        f"etcd on {', '.join(one.name for one in old)} is {old[0].etcd}; before etcd {target.etcd} each member has to "
        f"be at least {ETCD_LEAST}. What works first: {first}, and make upgrade, which brings its etcd",
    )


def _minor(text: str) -> int:
    return (versions.minor(text) or (0, 0))[1]


def removed_apis(metrics: str, target: str) -> list[str]:
    """Name the APIs that somebody has asked an API server for and that ``target`` does not have any more.

    It counts since it started, so what is asked for once a week may be missing.
    """
    found = set()
    for line in _DEPRECATED.finditer(metrics):
        labels = dict(_LABEL.findall(line["labels"]))
        removed = labels.get("removed_release", "")
        if not removed or not float(line["value"]) or versions.order(removed) > versions.order(target):
            continue
        place = "/".join(filter(None, (labels.get("group"), labels.get("version"))))
        found.add(f"{labels.get('resource', '')} of {place} (gone with {removed})")
    return sorted(found)


def blocking(seen: Seen) -> list[str]:
    """Name the budgets that would not let a pod go that is on the node now, unless more pods become Ready."""
    found = set()
    for pod in seen.leaving:
        for budget in budgets_of(pod, seen.budgets):
            status = budget.get("status") or {}
            if not status.get("disruptionsAllowed", 0):
                found.add(
                    f"PodDisruptionBudget {name_of(budget)} lets no pod go now "
                    f"({status.get('currentHealthy', 0)} are healthy, {status.get('desiredHealthy', 0)} have to be)"
                )
    return sorted(found)


# --- the plan


def plan(there: Sequence[Machine], target: Target, kept: Kept) -> Plan:
    """Make the plan. Raises SlipwayError that names all that forbids it."""
    controllers = [one for one in there if one.controller]
    # What kubeadm keeps goes before the others, which go by it.
    done = kept.kubernetes == kept.proxy == target.kubernetes and kept.etcd.partition("-")[0] == target.etcd
    first = controllers[0].name if controllers and not done else ""
    if faults := [*refusals(there, target), *_of_the_job(there, first)]:
        raise together(faults)
    control = [one.name for one in controllers if one.name == first or not one.control_is(target)]
    able = [one for one in there if one.ready and one.reached and one.here]
    # A node that a run which was cut off has left cordoned comes first: until it is open, pods of others find no place.
    turns = sorted(able, key=lambda one: (not one.controller, not one.ours))
    nodes = [one.name for one in turns if not one.kubelet_is(target)]
    left = [one.name for one in there if one not in able and not one.kubelet_is(target)]
    begun = bool(control or nodes) and any(_has_begun(one, target) for one in there)
    return Plan(target, tuple(control), tuple(nodes), first, tuple(left), begun)


def _has_begun(one: Machine, target: Target) -> bool:
    """Tell whether anything of a node is of the new release."""
    releases = [release for part, release in one.parts.items() if part != "etcd"]
    etcd = one.etcd == target.etcd and target.etcd_before not in ("", target.etcd)
    return etcd or target.kubernetes in (*releases, one.kubelet)


def stays(name: str, nodes: Sequence[Object]) -> bool:
    """Tell whether the pods of a node stay there, because no other one takes any, or will when an upgrade opens it."""
    others = [node for node in nodes if node["metadata"]["name"] != name]
    return not any(takes_pods(node) or (upgraded(node) and takes_pods(_opened(node))) for node in others)


def _opened(node: Object) -> Object:
    taints = [one for one in (node["spec"].get("taints") or []) if one.get("key") != UNSCHEDULABLE]
    return {**node, "spec": {**node["spec"], "unschedulable": False, "taints": taints}}


def told(there: Sequence[Machine], made: Plan, removed: Sequence[str], moves: Mapping[str, Sequence[str]]) -> list[str]:
    """Write the plan. ``moves``: of each node whose pods go what happens there; the pods of others stay."""
    target = made.target
    before = " and ".join(_releases(there)) or "nothing"
    lines = [f"From Kubernetes {before} to {target.kubernetes}, with etcd {target.etcd}:", *map(runs, there)]
    if not made.needed:
        return [*lines, *_left(made), "Nothing is to be done."]
    if made.begun:
        lines.append("An upgrade was begun, and goes on.")
    lines.append("In this order:")
    alone = len([one for one in there if one.controller]) == 1
    for name in made.control:
        away = "; the API does not answer for some seconds" if alone else ""
        lines.append(f"  {name}: control plane{away}")
    for name in made.nodes:
        how = "drained, kubelet, opened" if name in moves else "kubelet; its pods stay, as no other node takes them"
        lines.append(f"  {name}: {how}")
        lines += [f"    {what}" for what in moves.get(name, ())]
    if made.target.batch > 1:
        lines.append(
            f"  workers in batches of {made.target.batch} (cluster_upgrade_batch), drained one after the other"
        )
    lines += [f"In use, and not in {target.kubernetes}: {what}" for what in removed]
    return [*lines, *_left(made)]


def runs(one: Machine) -> str:
    """Say what a node runs."""
    control = {"control plane": one.api, "etcd": one.etcd} if one.controller else {}
    words = [f"{part} {release or 'not declared'}" for part, release in control.items()]
    words += [f"kubelet {one.kubelet}", f"containerd {one.runtime}"]
    states = {
        "not Ready": not one.ready,
        "not reached": not one.reached,
        "cordoned by this upgrade": one.ours,
        "cordoned by somebody else, and stays so": one.cordoned and not one.ours,
    }
    state = "".join(f"; {word}" for word, true in states.items() if true)
    return f"  {one.name}: {', '.join(words)}{state}"


def _releases(there: Iterable[Machine]) -> list[str]:
    found = {release for one in there for release in (one.api, one.kubelet) if release}
    return sorted(found, key=versions.order)


def _left(made: Plan) -> list[str]:
    if not made.left:
        return []
    return [f"Left out, because away or not on the page: {', '.join(made.left)}. When back: make upgrade"]
