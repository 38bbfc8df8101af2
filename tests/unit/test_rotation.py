"""A rotation of the CAs: the steps that are left, and the workloads whose pods believe the old ones alone."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from slipway.cluster import rotation
from slipway.errors import SlipwayError
from slipway.node.trust import blocks, key_id

from tests.support.authorities import authorities
from tests.unit.test_trust import token

OLD, NEW = authorities("old"), authorities("new")
SINCE = rotation.moment("2026-11-30T10:00:00Z")
EARLY, LATE = "2026-11-30T09:00:00Z", "2026-11-30T10:05:00Z"


def looked(begun: int, waits: bool) -> dict[str, Any]:
    return {"begun": begun, "waits": waits}


@pytest.mark.parametrize(
    ("controllers", "steps", "holder", "begun"),
    [
        ([(0, False)], ["accept", "issue", "drop"], "a", False),
        # Made, and not begun.
        ([(0, True), (0, False), (0, False)], ["accept", "issue", "drop"], "a", True),
        # Cut off within a step: it is done again, everywhere.
        ([(1, True), (0, True), (0, False)], ["accept", "issue", "drop"], "a", True),
        ([(1, True), (1, True), (1, True)], ["accept", "issue", "drop"], "a", True),
        ([(2, True), (1, True), (1, True)], ["issue", "drop"], "a", True),
        ([(1, True), (2, True), (2, True)], ["issue", "drop"], "b", True),
        ([(3, True), (2, True), (2, True)], ["drop"], "a", True),
        ([(3, True), (3, True), (3, True)], ["drop"], "a", True),
        # The copies went on one controller.
        ([(0, False), (3, True), (3, True)], ["drop"], "b", True),
        # One joined meanwhile.
        ([(0, False), (1, True), (1, True)], ["accept", "issue", "drop"], "b", True),
    ],
)
def test_the_steps_that_are_left(
    controllers: list[tuple[int, bool]], steps: list[str], holder: str, begun: bool
) -> None:
    given = {name: looked(*one) for name, one in zip("abc", controllers, strict=False)}
    assert rotation.steps(given) == {"steps": steps, "holder": holder, "begun": begun}


def pod(name: str, started: str = EARLY, owner: tuple[str, str] | None = None, **more: Any) -> dict[str, Any]:
    source = {"configMap": {"name": more.get("root", "kube-root-ca.crt")}}
    metadata: dict[str, Any] = {"name": name, "namespace": more.get("space", "shop")}
    if owner:
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    if more.get("mirror"):
        metadata["annotations"] = {"kubernetes.io/config.mirror": "x"}
    if more.get("ends"):
        metadata["deletionTimestamp"] = LATE
    statuses = [{"state": {"running": {"startedAt": started}}}, {"state": {"terminated": {"startedAt": EARLY}}}]
    return {
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"volumes": [{"emptyDir": {}}, {"projected": {"sources": [{"serviceAccountToken": {}}, source]}}]},
        "status": {"phase": more.get("phase", "Running"), "containerStatuses": statuses},
    }


def item(kind: str, name: str, owner: tuple[str, str] | None = None, **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": more.get("space", "shop"), "labels": more.get("labels", {})}
    if owner:
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    return {"kind": kind, "metadata": metadata}


@pytest.mark.parametrize(
    ("one", "believes"),
    [
        (pod("a"), True),
        (pod("a", LATE), False),
        # The kubelet may not have written its file yet.
        (pod("a", "2026-11-30T10:00:20Z"), True),
        (pod("a", root="istio-ca-root-cert"), False),
        (pod("a", phase="Succeeded"), False),
        (pod("a", mirror=True), False),
        # Its successor is there already, and it takes its time to end.
        (pod("a", ends=True), False),
        ({"kind": "Pod", "metadata": {"name": "a"}, "spec": {}}, False),
    ],
)
def test_a_pod_believes_the_old_ca_alone_if_it_started_before(one: dict[str, Any], believes: bool) -> None:
    assert rotation.believes_old(one, SINCE) is believes


def test_an_old_sidecar_is_enough() -> None:
    one = pod("a", LATE)
    one["status"]["initContainerStatuses"] = [{"state": {"running": {"startedAt": EARLY}}}]
    assert rotation.believes_old(one, SINCE)


def test_a_pod_that_mounts_the_config_map_itself_counts() -> None:
    one = pod("a")
    one["spec"]["volumes"] = [{"configMap": {"name": "kube-root-ca.crt"}}]
    assert rotation.uses_api(one)


PODS = [
    pod("web-1-x", owner=("ReplicaSet", "web-1")),
    pod("web-1-y", owner=("ReplicaSet", "web-1")),
    pod("db-0", owner=("StatefulSet", "db")),
    pod("lonely"),
    pod("job-x", owner=("Job", "job")),
    pod("coredns-1-x", owner=("ReplicaSet", "coredns-1"), space="kube-system"),
    pod("operator-1-x", owner=("ReplicaSet", "operator-1"), space="monitoring"),
    pod("prometheus-0", owner=("StatefulSet", "prometheus"), space="monitoring"),
    pod("new-1-x", LATE, owner=("ReplicaSet", "new-1")),
]
OWNERS = [
    item("ReplicaSet", "web-1", ("Deployment", "web")),
    item("Deployment", "web"),
    item("StatefulSet", "db"),
    item("ReplicaSet", "coredns-1", ("Deployment", "coredns"), space="kube-system"),
    item("Deployment", "coredns", space="kube-system"),
    item("ReplicaSet", "operator-1", ("Deployment", "operator"), space="monitoring"),
    item("Deployment", "operator", space="monitoring", labels={"slipway.io/part": "monitoring"}),
    item("StatefulSet", "prometheus", ("Prometheus", "main"), space="monitoring"),
    item("ReplicaSet", "new-1", ("Deployment", "new")),
    item("Deployment", "new"),
]


def test_the_workloads_of_such_pods_ours_first() -> None:
    found = rotation.workloads(PODS, OWNERS, SINCE)
    assert [(one.told, one.ours, one.evicted, one.pods) for one in found] == [
        ("Deployment kube-system/coredns", True, False, ("coredns-1-x",)),
        ("Deployment monitoring/operator", True, False, ("operator-1-x",)),
        # What an operator would write over is started again pod by pod.
        ("StatefulSet monitoring/prometheus", True, True, ("prometheus-0",)),
        ("Pod shop/job-x", False, True, ("job-x",)),
        ("Pod shop/lonely", False, True, ("lonely",)),
        ("Deployment shop/web", False, False, ("web-1-x", "web-1-y")),
        ("StatefulSet shop/db", False, True, ("db-0",)),
    ]


def test_those_of_others_are_named_with_what_to_type() -> None:
    others = [one for one in rotation.workloads(PODS, OWNERS, SINCE) if not one.ours]
    error = rotation.refusal(others)
    assert isinstance(error, SlipwayError)
    assert error.id == "pods-believe-old-ca"
    assert "kubectl --namespace shop rollout restart deployment/web" in error.text
    assert "kubectl --namespace shop rollout restart statefulset/db" in error.text
    assert "make these anew, as nobody else does: Pod shop/job-x, Pod shop/lonely" in error.text
    assert "rollout restart pod" not in error.text
    assert "make rotate-ca RESTART=1" in error.text


def test_when_pods_were_given_other_cas_is_read_from_the_cluster() -> None:
    times = [{"time": EARLY}, {"time": LATE}, {}]
    config = {"metadata": {"managedFields": times, "creationTimestamp": EARLY}}
    assert rotation.changed_at(config) == rotation.moment(LATE)
    assert rotation.changed_at({"metadata": {"creationTimestamp": EARLY}}) == rotation.moment(EARLY)


def secret(name: str, text: str, kind: str = "kubernetes.io/service-account-token") -> dict[str, Any]:
    data = {"token": base64.b64encode(text.encode()).decode()} if text else {}
    return {"metadata": {"name": name, "namespace": "shop"}, "type": kind, "data": data}


def test_tokens_that_never_end_and_another_key_has_signed() -> None:
    old, new = (key_id(blocks(one["pki/sa.pub"])[0]) for one in (OLD, NEW))
    secrets = [secret("a", token(old)), secret("b", token(new)), secret("c", ""), secret("d", token(old), "Opaque")]
    assert [one["metadata"]["name"] for one in rotation.old_tokens(secrets, new)] == ["a"]
    assert [one["metadata"]["name"] for one in rotation.old_tokens(secrets, "")] == ["a", "b"]


def test_webhooks_that_the_cluster_ca_vouches_for() -> None:
    bundle, other = (base64.b64encode(one["pki/ca.crt"].encode()).decode() for one in (OLD, NEW))
    hooks: list[dict[str, Any]] = [
        {"kind": "A", "metadata": {"name": "mine"}, "webhooks": [{"clientConfig": {"caBundle": bundle}}]},
        {"kind": "A", "metadata": {"name": "own"}, "webhooks": [{"clientConfig": {"caBundle": other}}]},
        {"kind": "APIService", "metadata": {"name": "local"}, "spec": {}},
        {"kind": "APIService", "metadata": {"name": "one"}, "spec": {"caBundle": bundle}},
    ]
    assert rotation.bundles_with(hooks, OLD["pki/ca.crt"]) == ["A mine", "APIService one"]


def test_the_plan_in_words() -> None:
    others = [one for one in rotation.workloads(PODS, OWNERS, SINCE) if not one.ours]
    made = {"steps": ["accept", "issue", "drop"], "begun": False, "holder": "a"}
    lines = rotation.told(made, ["a"], others, ["shop/a"], ["A mine"])
    assert lines[0] == "In this order, each step on all nodes before the next one:"
    assert [line.split(":")[0].strip() for line in lines[1:4]] == ["accept", "issue", "drop"]
    text = "\n".join(lines)
    for part in ("the API does not answer for up to a minute", "Deployment shop/web", "shop/a", "A mine"):
        assert part in text
    more = rotation.told({**made, "steps": ["drop"], "begun": True}, ["a", "b", "c"], [], [], [])
    assert more[0] == "A rotation was begun, and goes on."
    assert "a, b, c have their turn one after the other. The API answers all the time." in more
    assert not any("Started again" in line or "Tokens" in line for line in more)
