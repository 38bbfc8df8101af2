"""Deployments that are Available, and the reasons of those that are not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from slipway.cluster import workloads

ROOT = Path(__file__).parents[2]
Object = dict[str, Any]


def deployment(name: str, wanted: int = 1, generation: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "generation": generation},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, **status},
    }


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        (deployment("a"), True),
        (deployment("a", availableReplicas=0), False),
        (deployment("a", generation=2), False),
        (deployment("a", wanted=2), False),
        # A pod of the old template is still there.
        (deployment("a", replicas=2), False),
        ({"metadata": {"name": "a", "generation": 1}, "spec": {}}, False),
    ],
)
def test_a_deployment_is_available_with_all_its_newest_pods(state: dict[str, Any], answer: bool) -> None:
    assert workloads.available(state) is answer


@pytest.mark.parametrize(("there", "least", "answer"), [(1, None, False), (1, 2, False), (1, 1, True), (2, 5, True)])
def test_a_pod_whose_node_is_away_is_not_waited_for(there: int, least: int | None, answer: bool) -> None:
    state = deployment("a", wanted=2, replicas=2, updatedReplicas=2, availableReplicas=there)
    assert workloads.all_available([state], {"a": least}) is answer
    assert bool(workloads.unready([state], [], {"a": least})) is not answer


def test_what_is_not_available_is_named_with_its_pods_reasons() -> None:
    pods = [
        {
            "metadata": {"name": "gateway-1"},
            "status": {
                "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]
            },
        },
        {
            "metadata": {"name": "istiod-1"},
            "status": {
                "containerStatuses": [
                    {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
                    {"state": {"waiting": {"reason": "ContainerCreating"}}},
                    {"state": {"running": {}}, "ready": False},
                ]
            },
        },
    ]
    states = [deployment("gateway", availableReplicas=0), deployment("istiod", availableReplicas=0), deployment("fine")]
    assert workloads.unready(states, pods, ["gateway", "istiod", "fine", "gone"]) == [
        "gateway is not Available: gateway-1 finds no node (0/3 nodes are available)",
        "istiod is not Available: istiod-1 ImagePullBackOff: no such image; istiod-1 runs and is not ready",
        "gone is not there",
    ]
    assert workloads.unready([deployment("a", availableReplicas=0)], [], ["a"]) == [
        "a is not Available: its pods are starting"
    ]
    init = {"name": "istio-init", "state": {"running": {}}, "ready": False}
    app = {"name": "app", "state": {"waiting": {"reason": "PodInitializing"}}, "ready": False}
    young: Object = {
        "metadata": {"name": "a-1"},
        "spec": {"nodeName": "node-2"},
        "status": {"initContainerStatuses": [{**init, "ready": True}], "containerStatuses": [app]},
    }
    assert workloads.reason("a", [young]) == "a-1 is starting on node-2 (app PodInitializing)"
    young["status"]["initContainerStatuses"] = [init]
    assert workloads.reason("a", [young]) == "a-1 runs and is not ready"


def test_everything_that_is_wanted_has_to_be_available() -> None:
    assert workloads.all_available([deployment("a")], ["a"])
    assert workloads.all_available([], [])
    assert not workloads.all_available([deployment("a")], ["a", "b"])
    assert not workloads.all_available([deployment("a"), deployment("b", replicas=2)], ["a", "b"])


def page(wanted: int | None = 1, *, generation: int = 1, revision: str = "2", **status: int) -> Object:
    spec = {"selector": {"matchLabels": {"app": "page"}}, **({} if wanted is None else {"replicas": wanted})}
    metadata = {"generation": generation, "annotations": {"deployment.kubernetes.io/revision": revision}}
    told = {"observedGeneration": 1, **status}
    return {"kind": "Deployment", "metadata": {"name": "page", **metadata}, "spec": spec, "status": told}


@pytest.mark.parametrize(
    ("thing", "done"),
    [
        (page(1, updatedReplicas=1, replicas=1, availableReplicas=1), True),
        (page(None, updatedReplicas=1, replicas=1, availableReplicas=1), True),
        (page(0), True),
        (page(1), False),
        (page(1, generation=2, updatedReplicas=1, replicas=1, availableReplicas=1), False),
        (page(1, updatedReplicas=1, replicas=2, availableReplicas=2), False),
        (page(2, updatedReplicas=2, replicas=2, availableReplicas=1), False),
        (page(2, updatedReplicas=1, replicas=2, availableReplicas=2), False),
    ],
)
def test_a_deployment_is_rolled_out_when_every_pod_is_new_and_can_serve(thing: Object, done: bool) -> None:
    assert workloads.rolled_out(thing) is done


def pod(reason: str = "", message: str = "", *, of: str = "page-new", restarts: int = 0, ended: Any = None) -> Object:
    state = {"waiting": {"reason": reason, "message": message}} if reason else {"running": {}}
    status = {
        "name": "page",
        "state": state,
        "restartCount": restarts,
        "lastState": {"terminated": ended} if ended else {},
    }
    return {
        "metadata": {"name": f"{of}-x", "ownerReferences": [{"name": of}]},
        "spec": {"containers": [{"name": "page", "image": "shop/page:2"}]},
        "status": {"containerStatuses": [status]},
    }


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (pod(), ""),
        (pod("ContainerCreating"), ""),
        (pod("CrashLoopBackOff", restarts=2), ""),
        (pod("ImagePullBackOff", "not found"), "pod page-new-x, image shop/page:2: ImagePullBackOff: not found"),
        (pod("InvalidImageName"), "!pod page-new-x, image shop/page:2: InvalidImageName"),
        (
            pod("CrashLoopBackOff", restarts=3, ended={"exitCode": 1, "message": "no such file\n"}),
            "!pod page-new-x: container page has failed 3 times, last with 1: no such file",
        ),
        (
            pod("CrashLoopBackOff", restarts=1, ended={"exitCode": 128, "reason": "StartError", "message": "no sh"}),
            "!pod page-new-x: container page has failed once, last with 128 (StartError): no sh",
        ),
        (
            pod("CrashLoopBackOff", restarts=3, ended={"exitCode": 137, "reason": "OOMKilled"}),
            "!pod page-new-x: container page has failed 3 times, last with 137 (OOMKilled)",
        ),
    ],
)
def test_the_reason_of_a_pod_that_cannot_start(thing: Object, said: str) -> None:
    assert workloads.cannot_start(thing) == said


@pytest.mark.parametrize(
    ("message", "secrets", "said"),
    [
        (
            "HEAD http://a.b/v2/x: 401 Unauthorized",
            ["reg"],
            " (asked for with Secret reg: see user and password there)",
        ),
        ("pull access denied", ["a", "b"], " (asked for with Secrets a, b: see user and password there)"),
        ("HEAD http://a.b/v2/x: 401 Unauthorized", [], ""),
        ("HEAD http://a.b/v2/x: 404 Not Found", ["reg"], ""),
    ],
)
def test_the_secrets_are_named_with_which_a_registry_let_nobody_in(message: str, secrets: list[str], said: str) -> None:
    thing = pod("ErrImagePull", message)
    thing["spec"]["imagePullSecrets"] = [{"name": name} for name in secrets]
    assert workloads.cannot_start(thing) == f"pod page-new-x, image shop/page:2: ErrImagePull: {message}{said}"


def test_a_pod_that_is_being_deleted_holds_up_nobody() -> None:
    going = pod("ImagePullBackOff")
    going["metadata"]["deletionTimestamp"] = "now"
    assert workloads.cannot_start(going) == ""


def test_only_pods_of_the_present_template_hold_up_a_roll_out() -> None:
    sets = [
        {"metadata": {"name": name, "ownerReferences": [{"name": "page"}],
                      "annotations": {"deployment.kubernetes.io/revision": revision}}}
        for name, revision in (("page-old", "1"), ("page-new", "2"))
    ]  # fmt: skip
    old, new = pod("ImagePullBackOff", of="page-old"), pod("ErrImagePull", "gone", of="page-new")
    assert workloads.stuck(page(), sets, [old]) == ""
    assert workloads.stuck(page(), sets, [old, new]).endswith("ErrImagePull: gone")
    # The controller has not seen the new template yet: what it shows is about the old one.
    assert workloads.stuck(page(generation=2), sets, [new]) == ""


def test_pods_of_a_daemonset_are_told_by_their_generation() -> None:
    def own(generation: str) -> Object:
        failing = pod("ImagePullBackOff", of="agent")
        failing["metadata"]["labels"] = {"pod-template-generation": generation}
        return failing

    agent = {
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "annotations": {"deprecated.daemonset.template.generation": "3"}},
        "status": {},
    }
    assert workloads.stuck(agent, [], [own("2")]) == ""
    assert workloads.stuck(agent, [], [own("2"), own("3")]).startswith("pod agent-x")


def test_what_may_pass_is_hopeless_when_it_lasts_and_the_rest_at_once() -> None:
    followed = workloads.Rollouts(patience=20)
    assert followed.hopeless(100, {"a": "cannot pull", "b": ""}) == []
    assert followed.hopeless(119, {"a": "cannot pull"}) == []
    # It went on in between.
    assert followed.hopeless(120, {"a": ""}) == []
    assert followed.hopeless(121, {"a": "cannot pull"}) == []
    assert followed.hopeless(141, {"a": "cannot pull"}) == ["a cannot start: cannot pull"]
    assert followed.hopeless(141, {"b": "!no such name"}) == ["b cannot start: no such name"]


def test_the_filters_are_for_any_deployment() -> None:
    spec = importlib.util.spec_from_file_location("slipway_filter_workloads", ROOT / "plugins/filter/workloads.py")
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    filters = module.FilterModule().filters()
    assert filters["workloads_available"]([deployment("a")], ["a"])
    assert filters["workloads_unready"]([], [], ["a"]) == ["a is not there"]


def test_a_pod_that_has_failed_is_not_waited_for() -> None:
    """Of its own: a Deployment makes another in its place."""
    ended = {"name": "istio-init", "state": {"terminated": {"exitCode": 1, "message": "no lock\n"}}, "ready": False}
    waiting = {"name": "agent", "state": {"waiting": {"reason": "PodInitializing"}}, "ready": False}
    status = {"phase": "Failed", "initContainerStatuses": [ended], "containerStatuses": [waiting]}
    client: Object = {"kind": "Pod", "metadata": {"name": "client", "namespace": "shop"}, "status": status}
    assert workloads.stuck(client, [], [client]) == "!pod client has ended: container istio-init with 1, no lock"
    late = {**client, "status": {"phase": "Failed", "reason": "DeadlineExceeded", "message": "was active too long"}}
    assert workloads.stuck(late, [], [late]) == "!pod client has ended: was active too long"
    assert workloads.stuck({**client, "status": {**status, "phase": "Pending"}}, [], []) == ""
    assert workloads.reason("client", [{**client, "status": {**status, "phase": "Pending"}}]) == (
        "client is starting on no node (istio-init ended with 1, agent PodInitializing)"
    )


def test_so_many_pods_of_a_daemon_set_are_enough_where_a_node_is_away() -> None:
    status = {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberReady": 2}
    speaker = {"kind": "DaemonSet", "metadata": {"generation": 2}, "status": {**status, "numberAvailable": 2}}
    assert [workloads.rolled_out(speaker, enough) for enough in (None, 3, 2)] == [False, False, True]
    old = {**speaker, "metadata": {"generation": 3}}
    assert not workloads.rolled_out(old, 1)
    # Pods of the template before do not count, but where a node is away and keeps the others from being made anew.
    before = {**status, "numberReady": 3, "updatedNumberScheduled": 0}
    assert [workloads.rolled_out({**speaker, "status": before}, enough) for enough in (3, 2)] == [False, True]
