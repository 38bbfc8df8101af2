"""An upgrade is planned from what each node runs, refused where it cannot work, and each node has its turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml
from slipway.cluster import drain as drain_module
from slipway.cluster import rollout, turn, upgrade
from slipway.cluster.drain import UPGRADES, Drain
from slipway.cluster.turn import Turn, make_plan
from slipway.cluster.upgrade import Kept, Machine, Plan, Target, blocking, machines, plan, removed_apis, stays, told
from slipway.errors import SlipwayError

from tests.support.draining import Cluster, Object, budget, node, pod, workload
from tests.support.errors import tells

OLD, NEW = "1.36.3", "1.37.2"
ETCD = {OLD: "3.6.16", NEW: "3.7.3", "1.37.0": "3.7.0", "1.38.0": "3.7.3"}
KNOWN = (OLD, "1.37.0", NEW)
TARGET = Target(NEW, ETCD[NEW], ETCD[OLD], KNOWN)
PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
BEFORE, AFTER = Kept(OLD, "3.6.16-0", OLD), Kept(NEW, "3.7.3-0", NEW)


def parts(release: str, etcd: str = "") -> dict[str, str]:
    return {"etcd": f"{etcd or ETCD[release]}-0", **dict.fromkeys(PARTS, release)}


def controller(name: str = "ctrl", release: str = OLD, kubelet: str = "", **more: Any) -> Machine:
    of = kubelet or release
    return replace(Machine(name, True, True, of, of, "2.4.2", parts(release)), **more)


def worker(name: str = "node-1", release: str = OLD, **more: Any) -> Machine:
    return replace(Machine(name, False, True, release, release, "2.4.2"), **more)


CLUSTER = [controller(), worker("node-1"), worker("node-2")]


# --- what is to be done


def made(there: list[Machine], kept: Kept = BEFORE, **more: Any) -> Plan:
    return plan(there, replace(TARGET, **more), kept)


def test_from_nothing_all_is_to_be_done_controllers_first() -> None:
    found = made(CLUSTER)
    assert (found.first, found.control, found.nodes) == ("ctrl", ("ctrl",), ("ctrl", "node-1", "node-2"))
    assert found.needed
    assert not found.begun


def test_where_all_is_done_nothing_is_to_be_done() -> None:
    found = made([controller(release=NEW), worker(release=NEW)], AFTER)
    assert (found.first, found.control, found.nodes, found.needed, found.begun) == ("", (), (), False, False)


CUT_OFF: dict[str, tuple[list[Machine], Kept, str, str]] = {
    "etcd alone is new": ([controller(parts=parts(OLD, ETCD[NEW])), worker()], BEFORE, "ctrl ctrl", "ctrl node-1"),
    "its manifest is away": (
        [controller(parts={**parts(NEW), "kube-scheduler": ""}, kubelet=OLD, placed=OLD), worker()],
        BEFORE,
        "ctrl ctrl",
        "ctrl node-1",
    ),
    "what kubeadm keeps is old": ([controller(release=NEW, kubelet=OLD), worker()], BEFORE, "ctrl ctrl", "ctrl node-1"),
    "kube-proxy is old": (
        [controller(release=NEW, kubelet=OLD), worker()],
        replace(AFTER, proxy=OLD),
        "ctrl ctrl",
        "ctrl node-1",
    ),
    "the control plane is new": ([controller(release=NEW, kubelet=OLD), worker()], AFTER, "", "ctrl node-1"),
    "a kubelet is placed and not started": (
        [controller(release=NEW), worker(placed=NEW)],
        AFTER,
        "",
        "node-1",
    ),
    "a node is not open yet": (
        [controller(release=NEW), worker(release=NEW, cordoned=True, ours=True)],
        AFTER,
        "",
        "node-1",
    ),
    "the second controller": (
        [controller(release=NEW), controller("ctrl-2"), controller("ctrl-3"), worker()],
        replace(AFTER, proxy=OLD),
        "ctrl ctrl ctrl-2 ctrl-3",
        "ctrl-2 ctrl-3 node-1",
    ),
}


@pytest.mark.parametrize("moment", CUT_OFF)
def test_one_that_was_cut_off_goes_on_where_it_was(moment: str) -> None:
    there, kept, control, nodes = CUT_OFF[moment]
    found = made(there, kept)
    assert " ".join(filter(None, [found.first, *found.control])) == control
    assert " ".join(found.nodes) == nodes
    assert found.begun


def test_the_etcd_of_each_controller_counts() -> None:
    there = [controller(release=NEW), controller("ctrl-2", NEW, parts=parts(NEW, "3.7.0"))]
    assert made(there, AFTER).control == ("ctrl-2",)


def test_a_kubelet_that_was_not_placed_by_us_is_replaced() -> None:
    """Else every other command would go on refusing to run."""
    assert made([controller(release=NEW), worker(release=NEW, placed=OLD)], AFTER).nodes == ("node-1",)


def test_the_same_etcd_is_no_beginning() -> None:
    """Of a patch that brings no other one, nothing has been done."""
    there = [controller(release="1.37.0", parts=parts("1.37.0", "3.7.3")), worker(release="1.37.0")]
    assert not made(there, Kept("1.37.0", "3.7.3-0", "1.37.0"), etcd_before="3.7.3").begun


def test_a_node_that_a_run_has_left_cordoned_comes_first() -> None:
    there = [controller(release=NEW), worker("node-1"), worker("node-2", cordoned=True, ours=True)]
    assert made(there, AFTER).nodes == ("node-2", "node-1")


def test_workers_that_are_away_are_left_out() -> None:
    there = [controller(), worker("node-1", ready=False), worker("node-2", reached=False), worker("old", here=False)]
    found = made(there)
    assert (found.nodes, found.left) == (("ctrl",), ("node-1", "node-2", "old"))
    assert "Left out, because away or not on the page: node-1, node-2, old" in told(there, found, [], {})[-1]


# --- what is refused


@pytest.mark.parametrize(
    ("there", "more", "what"),
    [
        ([controller(release=NEW)], {"kubernetes": "1.37.0"}, f'upgrade-backwards: "{NEW}"'),
        ([controller(release=NEW)], {"kubernetes": OLD}, f'upgrade-backwards: "{NEW}"'),
        # One controller of three is newer already.
        ([controller(), controller("ctrl-2", NEW)], {"kubernetes": OLD}, f'upgrade-backwards: "{NEW}"'),
        ([controller()], {"kubernetes": "1.38.0"}, f'upgrade-skips: 1.36.3 … cluster_kubernetes_version: "{NEW}"'),
        ([controller()], {"kubernetes": "1.38.0", "known": (OLD,)}, "upgrade-skips: a release of 1.37 … make catalog"),
        (
            [controller(release=NEW), worker()],
            {"kubernetes": "1.38.0"},
            f'upgrade-skips: node-1 still run kubelets of {OLD} … "{NEW}", make upgrade, and 1.38.0 after',
        ),
        (
            [controller(parts=parts(OLD, "3.6.8"))],
            {},
            f'etcd-too-old: ctrl is 3.6.8 … 3.6.11 … cluster_kubernetes_version: "{OLD}"',
        ),
        ([controller(), controller("ctrl-2", ready=False)], {}, "controller-away: ctrl-2 … remove-node NODE=ctrl-2"),
        ([controller(), controller("ctrl-2", reached=False)], {}, "controller-away: ctrl-2"),
        (
            [controller(cordoned=True), worker(ready=False), worker("node-2", closed=True)],
            {},
            "upgrade-nowhere: ctrl (cordoned), node-1 (not Ready), node-2 (has a taint … make uncordon NODE=ctrl",
        ),
        ([controller(closed=True)], {}, "upgrade-nowhere: ctrl (has a taint of yours) … kubectl taint"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_what_would(there: list[Machine], more: dict[str, Any], what: str) -> None:
    with pytest.raises(SlipwayError) as error:
        made(there, **more)
    tells(error.value, what)


def test_one_node_is_enough_for_the_job_of_kubeadm_which_runs_on_the_first_controller_alone() -> None:
    assert made([controller(cordoned=True), worker()]).first == "ctrl"
    assert made([controller(), worker(cordoned=True)]).first == "ctrl"
    # The rest goes on without it.
    assert made([controller(release=NEW, cordoned=True), worker(cordoned=True)], AFTER).nodes == ("node-1",)


@pytest.mark.parametrize("etcd", ["3.6.11", "3.6.16", "3.7.0"])
def test_an_etcd_that_is_new_enough_is_not_refused(etcd: str) -> None:
    assert made([controller(parts=parts(OLD, etcd))]).needed


def test_an_old_etcd_is_brought_by_its_own_minor_version() -> None:
    """What the refusal says works: the same Kubernetes with a newer etcd."""
    found = made([controller(parts=parts(OLD, "3.6.8"))], Kept(OLD, "3.6.8-0", OLD), kubernetes=OLD, etcd="3.6.16")
    assert (found.control, found.nodes) == (("ctrl",), ())


METRICS = """
# HELP apiserver_requested_deprecated_apis Gauge of deprecated APIs that have been requested
apiserver_requested_deprecated_apis{group="flow",removed_release="1.37",resource="schemas",version="v1beta3"} 1
apiserver_requested_deprecated_apis{group="",removed_release="",resource="componentstatuses",version="v1"} 1
apiserver_requested_deprecated_apis{group="batch",removed_release="1.38",resource="cronjobs",version="v1beta1"} 1
apiserver_requested_deprecated_apis{group="apps",removed_release="1.9",resource="deployments",version="v1beta1"} 0
apiserver_requested_deprecated_apis{group="old",removed_release="1.9",resource="things",version="v1"} 1
"""


def test_only_apis_that_go_with_the_release_and_were_asked_for_are_named() -> None:
    assert removed_apis(METRICS, NEW) == [
        "schemas of flow/v1beta3 (gone with 1.37)",
        "things of old/v1 (gone with 1.9)",
    ]
    assert len(removed_apis(METRICS, "1.38.0")) == 3
    assert removed_apis("", NEW) == []


# --- what is said


def test_the_plan_says_what_runs_and_what_happens_in_which_order() -> None:
    there = [controller(), worker("node-1"), worker("node-2", cordoned=True)]
    found = made(there, batch=2)
    assert told(there, found, ["things of old/v1 (gone with 1.37)"], {"ctrl": [], "node-1": ["a budget"]}) == [
        "From Kubernetes 1.36.3 to 1.37.2, with etcd 3.7.3:",
        "  ctrl: control plane 1.36.3, etcd 3.6.16, kubelet 1.36.3, containerd 2.4.2",
        "  node-1: kubelet 1.36.3, containerd 2.4.2",
        "  node-2: kubelet 1.36.3, containerd 2.4.2; cordoned by somebody else, and stays so",
        "In this order:",
        "  ctrl: control plane; the API does not answer for some seconds",
        "  ctrl: drained, kubelet, opened",
        "  node-1: drained, kubelet, opened",
        "    a budget",
        "  node-2: kubelet; its pods stay, as no other node takes them",
        "  workers in batches of 2 (cluster_upgrade_batch), drained one after the other",
        "In use, and not in 1.37.2: things of old/v1 (gone with 1.37)",
    ]


def test_with_several_controllers_the_api_answers_and_a_second_run_says_that_it_goes_on() -> None:
    there = [controller(release=NEW, kubelet=OLD), controller("ctrl-2"), worker()]
    lines = told(there, made(there), [], {})
    assert "An upgrade was begun, and goes on." in lines
    assert not any("does not answer" in line for line in lines)
    done = [controller(release=NEW)]
    assert told(done, made(done, AFTER), [], {})[-1] == "Nothing is to be done."


def test_pods_stay_where_no_other_node_takes_them() -> None:
    nodes = [node("ctrl", tainted=True), node("node-1"), node("node-2")]
    assert not stays("node-1", nodes)
    assert stays("node-1", nodes[:2])
    assert not stays("ctrl", nodes[:2])
    # An upgrade opens it before.
    cordoned = {**nodes[2], "metadata": {**nodes[2]["metadata"], "annotations": {UPGRADES: ""}}}
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    cordoned["spec"] = {"unschedulable": True, "taints": [taint]}
    assert not stays("node-1", [*nodes[:2], cordoned])
    assert stays("node-1", [*nodes[:2], {**cordoned, "metadata": nodes[2]["metadata"]}])


def test_a_budget_that_lets_no_pod_go_is_named() -> None:
    from slipway.cluster.eviction import Seen

    free = budget("d", "web")
    free["status"]["disruptionsAllowed"] = 1
    budgets = [budget("b", "web"), budget("c", "other"), free]
    seen = Seen(node("node-2"), [], [pod("web", "node-2", "web")], budgets=budgets)
    assert blocking(seen) == ["PodDisruptionBudget shop/b lets no pod go now (1 are healthy, 1 have to be)"]


# --- on a cluster


def installed(name: str, release: str = OLD, **more: Any) -> Object:
    """A node with what it says of itself."""
    found = node(name, **more)
    found["status"]["nodeInfo"] = {
        "kubeletVersion": f"v{release}",
        "containerRuntimeVersion": "containerd://2.4.2",
    }
    if more.get("tainted"):
        found["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = ""
    return found


class Live(Cluster):
    """A cluster with what kubeadm keeps, and metrics."""

    metrics = ""

    def __init__(self, *pods: Object, **more: list[Object]) -> None:
        etcd = {"local": {"imageTag": "3.6.16-0"}}
        self.stored: Object | None = {"kubernetesVersion": f"v{OLD}", "etcd": etcd}
        nodes = [installed("ctrl", tainted=True), installed("node-1"), installed("node-2")]
        super().__init__(pods, **{"Node": nodes, **more})

    def get(self, path: str) -> Object | None:
        if "configmaps" in path:
            return self.stored and {"data": {"ClusterConfiguration": yaml.safe_dump(self.stored)}}
        return super().get(path)

    def read(self, _version: str, kind: str, _namespace: str, name: str) -> Object | None:
        if kind == "DaemonSet":
            container = {"image": f"registry.k8s.io/kube-proxy:v{OLD}"}
            return {"spec": {"template": {"spec": {"containers": [container]}}}}
        return next((one for one in self.lists[kind] if one["metadata"]["name"] == name), None)

    def items(self, _path: str) -> list[Object]:
        return self.lists["Pod"]

    def text(self, _path: str) -> str:
        return self.metrics


LOOKED: dict[str, Any] = {
    "ctrl": {"kubelet": OLD, "parts": parts(OLD)},
    "node-1": {"kubelet": OLD, "parts": {}},
    "node-2": {"kubelet": OLD, "parts": {}},
}
NAMES = ("ctrl", "node-1", "node-2")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in (drain_module, rollout):
        monkeypatch.setattr(loaded, "PAUSE", 0.001)
    monkeypatch.setattr(drain_module, "MOVES", 0.01)


def planned(cluster: Live, **more: Any) -> turn.Made:
    return make_plan(cluster, TARGET, LOOKED, NAMES, **more)  # type: ignore[arg-type]


def test_the_plan_is_made_of_the_cluster_and_of_its_nodes() -> None:
    found = planned(Live(pod("web", "node-2", "web"), PodDisruptionBudget=[budget("b", "web")]))
    assert found.plan.as_values() == {
        "control": ["ctrl"],
        "nodes": ["ctrl", "node-1", "node-2"],
        "first": "ctrl",
        "left": [],
        "begun": False,
        "needed": True,
        "batch": 1,
    }
    assert "    PodDisruptionBudget shop/b lets no pod go now (1 are healthy, 1 have to be)" in found.lines


def test_what_would_be_lost_or_is_gone_then_is_refused_all_at_once_with_the_plan_unless_forced() -> None:
    cluster = Live(pod("mine", "node-2"))
    cluster.metrics = METRICS
    with pytest.raises(SlipwayError) as error:
        planned(cluster)
    tells(error.value, "unmanaged-pods: shop/mine … things of old/v1 … [removed-apis] … In this order:")
    assert planned(cluster, forced=True).plan.needed


def test_without_what_kubeadm_keeps_nothing_is_planned() -> None:
    cluster = Live()
    cluster.stored = None
    with pytest.raises(SlipwayError) as error:
        planned(cluster)
    tells(error.value, "kubeadm-config-gone: kubeadm-config")


def test_a_stored_configuration_without_a_tag_of_etcd_is_rewritten() -> None:
    cluster = Live()
    cluster.stored = {"kubernetesVersion": f"v{NEW}"}
    assert turn.kept(cluster) == Kept(NEW, "", OLD)  # type: ignore[arg-type]


def of(cluster: Live, name: str = "node-2", **more: Any) -> Turn:
    return Turn(cluster, name, 0.05, **more)  # type: ignore[arg-type]


def renew(cluster: Live, name: str, change: Callable[[Object], None]) -> None:
    change(next(one for one in cluster.lists["Node"] if one["metadata"]["name"] == name))


def upgraded_to(release: str) -> Callable[[Object], None]:
    return lambda found: found["status"]["nodeInfo"].update(kubeletVersion=f"v{release}")


def test_a_turn_drains_waits_and_opens() -> None:
    said: list[str] = []
    cluster = Live(pod("web", "node-2", "web"), ReplicaSet=[workload("web", 1)])
    one = of(cluster, say=said.append)
    assert one.begin("")
    assert cluster.evicted == ["web"]
    with pytest.raises(SlipwayError) as error:
        one.end(NEW, "")
    tells(error.value, f"node-not-well: node-2 … its kubelet says {OLD}")
    renew(cluster, "node-2", upgraded_to(NEW))
    assert one.end(NEW, "")
    assert said[-1] == "node-2: open"
    assert not one.end(NEW, "")


def test_a_node_is_open_only_when_what_every_node_has_serves() -> None:
    speaker = pod("proxy", "node-2", "proxy", kind="DaemonSet", ready=False)
    speaker["metadata"]["namespace"] = "kube-system"
    own = pod("agent", "node-2", "agent", kind="DaemonSet", ready=False)
    cluster = Live(speaker, own, Node=[installed("node-1"), installed("node-2", NEW)])
    assert of(cluster).trouble(NEW) == "pods that every node has are not Ready: kube-system/proxy"
    cluster.lists["Pod"] = [own]
    assert of(cluster).trouble(NEW) == ""


def test_the_pods_of_a_node_stay_that_has_no_other() -> None:
    cluster = Live(pod("web", "node-1", "web"), Node=[installed("ctrl", tainted=True), installed("node-1")])
    assert not of(cluster, "node-1").begin("")
    assert cluster.asked == []


@pytest.mark.parametrize("of_it", ["begin", "end"])
@pytest.mark.parametrize(
    ("answers", "silent"),
    [([True, False, False, True], False), ([False], False), ([True, False], True)],
    ids=["it comes back", "nobody was there before", "it stays away"],
)
def test_a_turn_is_over_when_the_gateway_answers_again(
    monkeypatch: pytest.MonkeyPatch, of_it: str, answers: list[bool], silent: bool
) -> None:
    asked: list[str] = []

    def look(address: str) -> bool:
        asked.append(address)
        return answers[min(len(asked), len(answers)) - 1]

    cluster = Live(pod("web", "node-2", "web"), ReplicaSet=[workload("web", 1)])
    one = of(cluster)
    if of_it == "end":
        one.begin("")
        renew(cluster, "node-2", upgraded_to(NEW))
    assert asked == [], "without a gateway nobody is asked"
    monkeypatch.setattr(drain_module, "answers", look)

    def work() -> bool:
        return one.begin("192.0.2.9:80") if of_it == "begin" else one.end(NEW, "192.0.2.9:80")

    if silent:
        with pytest.raises(SlipwayError) as error:
            work()
        tells(error.value, "gateway-silent: 192.0.2.9:80 … istio-system")
    else:
        assert work()
        assert len(asked) == len(answers)
    assert set(asked) == {"192.0.2.9:80"}
    # In either case the work itself was done.
    assert cluster.evicted == ["web"]
    assert bool((cluster.get("/Node/node-2") or {})["spec"].get("unschedulable")) == (of_it == "begin")


def test_who_has_cordoned_a_node_opens_it() -> None:
    cluster = Live()
    Drain(cluster, "node-2", 0.05).run()  # type: ignore[arg-type]
    of(cluster).begin("")
    renew(cluster, "node-2", upgraded_to(NEW))
    assert not of(cluster).end(NEW, "")
    assert (cluster.get("/Node/node-2") or {})["spec"]["unschedulable"]
    assert not of(cluster, "no-node").open()


def test_the_state_is_what_the_cluster_knows_of_each_node() -> None:
    static = pod("kube-apiserver-ctrl", "ctrl")
    static["metadata"]["labels"] = {"component": "kube-apiserver", "tier": "control-plane"}
    static["spec"]["containers"] = [{"image": f"registry.k8s.io/kube-apiserver:v{NEW}"}]
    assert turn.state(Live(static)) == [  # type: ignore[arg-type]
        f"  ctrl: control plane {NEW}, etcd not declared, kubelet {OLD}, containerd 2.4.2",
        f"  node-1: kubelet {OLD}, containerd 2.4.2",
        f"  node-2: kubelet {OLD}, containerd 2.4.2",
    ]


def test_nodes_are_in_the_order_of_the_page_controllers_first() -> None:
    nodes = [
        installed("node-1"),
        installed("zebra"),
        installed("ctrl-2", tainted=True),
        installed("ctrl", tainted=True),
    ]
    found = machines(nodes, {}, ["ctrl", "ctrl-2", "zebra"])
    assert [one.name for one in found] == ["ctrl", "ctrl-2", "zebra", "node-1"]
    assert [one.here for one in found] == [True, True, True, False]
    assert not any(one.reached or one.closed for one in found)
    nodes[0]["spec"]["taints"] = [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]
    nodes[1]["spec"]["taints"] = [{"key": "mine", "effect": "NoSchedule"}]
    nodes[2]["spec"]["taints"].append({"key": "mine", "effect": "PreferNoSchedule"})
    closed = [one.name for one in machines(nodes, {}, []) if one.closed]
    assert closed == ["zebra"]
    assert upgrade.runs(found[0]).endswith("; not reached")
