"""Stateful services: pods with stable names and claims of their own, what cannot be, and how they change."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from slipway.cluster.objects import identity
from slipway.contents import waits
from slipway.page.form import Fault
from slipway.prove.answers import hops
from slipway.prove.given import live
from slipway.prove.look import pods_of
from slipway.release.judge import Found, environment, removal
from slipway.release.planner import Plan, plan
from slipway.release.spec import load
from slipway.release.transition import costs, kept_claims, refusals, transition

from tests.support.pasted import pasted
from tests.support.release import Object, names, one, page, problems
from tests.support.release_changes import GONE, IMAGE, changed

Change = tuple[str, Any]
PER_POD = {"size": "1Gi", "per_pod": True}
BASE: list[Change] = [
    ("services.back.stateful", True),
    ("services.back.replicas", 2),
    ("services.back.mounts", {"data": "/data"}),
    ("volumes", {"data": PER_POD}),
]


def planned(folder: Path, *changes: Change) -> Plan:
    return plan(load(page(folder, changed(*BASE, *changes))))


def on_cluster(made: Plan) -> list[Object]:
    """What is there when a plan has been applied, and its StatefulSets have made their claims."""
    objects = copy.deepcopy(made.objects)
    for item in made.objects:
        for claim in item["spec"].get("volumeClaimTemplates", []) if item["kind"] == "StatefulSet" else ():
            for number in range(item["spec"]["replicas"]):
                name = f"{claim['metadata']['name']}-{item['metadata']['name']}-{number}"
                objects.append({**copy.deepcopy(claim), "metadata": {**made_by(made), "name": name}})
    return objects


def made_by(made: Plan) -> Object:
    return {"namespace": made.namespace, "labels": made.labels}


def test_pods_have_names_and_claims_of_their_own(tmp_path: Path) -> None:
    made = planned(tmp_path, ("volumes", {"data": {**PER_POD, "storage_class": "fast"}}))
    assert names(made, "StatefulSet") == {"back-v1", "back-v2"}
    assert names(made, "Deployment") == {"front-v1", "front-v2"}
    spec = one(made, "StatefulSet", "back-v1")["spec"]
    assert (spec["serviceName"], spec["replicas"], spec["podManagementPolicy"]) == ("back-pods", 2, "Parallel")
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["metadata"] == {"name": "data", "labels": made.labels}
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (container,) = spec["template"]["spec"]["containers"]
    assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    assert [volume["name"] for volume in spec["template"]["spec"]["volumes"]] == ["slipway-tmp"]
    # Nobody else's claim.
    assert names(made, "PersistentVolumeClaim") == set()
    headless = one(made, "Service", "back-pods")["spec"]
    assert (headless["clusterIP"], headless["publishNotReadyAddresses"]) == ("None", True)
    assert headless["selector"] == one(made, "Service", "back")["spec"]["selector"]
    assert "front-pods" not in names(made, "Service")
    waited = {(wait["kind"], wait["name"]) for step in made.steps for wait in step.wait}
    assert waited >= {("StatefulSet", "back-v1"), ("Deployment", "front-v1")}
    assert {kind for kind, _ in waited} - {"Deployment"} <= set(waits.FOLLOWED)


def test_a_pod_template_is_the_same_for_both(tmp_path: Path) -> None:
    stateful = one(planned(tmp_path), "StatefulSet", "back-v1")["spec"]["template"]
    changes = [("services.back.replicas", 2), ("services.back.mounts", {"data": "/data"})]
    plain = plan(load(page(tmp_path, changed(*changes, ("volumes", {"data": {"size": "1Gi"}})))))
    template = one(plain, "Deployment", "back-v1")["spec"]["template"]
    template["spec"]["volumes"] = [v for v in template["spec"]["volumes"] if v["name"] != "data"]
    assert stateful == template


@pytest.mark.parametrize(
    ("changes", "error_id", "key", "works"),
    [
        ([("services.back.replicas", 0), ("weights", {"v1": 100, "v2": 0}), ("services.back.versions.v1",
          {"image": IMAGE, "replicas": 1})], "not-for-stateful", "services.back.replicas", "replicas: 1"),
        ([("services.back.replicas", GONE), ("services.back.versions.v2",
          {"image": IMAGE, "autoscaling": {"min": 1, "max": 3}})],
         "not-for-stateful", "services.back.versions.v2.autoscaling", "replicas: 3"),
        ([("services.back.versions.v3", {"image": IMAGE, "shadow": "10%"})],
         "not-for-stateful", "services.back.versions.v3.shadow", "stateful: false at back"),
        ([("volumes", {"data": {"size": "1Gi", "storage_class": "fast"}})], "claim-not-per-pod", "volumes.data",
         "data: {size: 1Gi, storage_class: fast, per_pod: true}"),
        ([("services.back.stateful", False)], "claim-not-per-pod", "services.back.mounts.data", "stateful: true"),
        ([("services.front.beside", {"a": {"image": IMAGE, "mounts": {"data": "/a"}}})],
         "claim-not-per-pod", "services.front.mounts.data", "stateful: true"),
        ([("jobs", {"a": {"image": IMAGE, "mounts": {"data": "/a"}}})],
         "claim-not-per-pod", "jobs.a.mounts.data", "another volume"),
        ([("volumes", {"data": {"temporary": "1Mi", "per_pod": True}})],
         "keys-contradict", "volumes.data", "data: {size: 1Gi"),
        ([("services.back.names", {"deployment": "b" * 48 + "-{version}-x"})],
         "name-too-long", "services.back.names.deployment", "a name that is 1 letters shorter"),
    ],
)  # fmt: skip
def test_what_a_stateful_service_cannot_be_is_refused(
    tmp_path: Path, changes: list[Change], error_id: str, key: str, works: str
) -> None:
    values = changed(*BASE, *changes)
    found = problems(page(tmp_path, values))
    assert {(problem.id, problem.key) for problem in found} == {(error_id, key)}
    assert works in found[0].works
    pasted(tmp_path, values, found[0])


@pytest.mark.parametrize(
    "changes",
    [
        [("volumes", {"data": {"size": "1Gi", "access": "ReadWriteMany"}})],
        [("services.back.mounts", {}), ("volumes", {})],
        [("services.back.replicas", 1), ("services.back.versions", {"v1": IMAGE}),
         ("volumes", {"data": {"size": "1Gi"}})],
    ],
)  # fmt: skip
def test_what_pods_with_names_may_share_is_taken(tmp_path: Path, changes: list[Change]) -> None:
    assert problems(page(tmp_path, changed(*BASE, *changes))) == []


def test_claims_of_pods_that_go_stay_and_are_named(tmp_path: Path) -> None:
    there = on_cluster(planned(tmp_path))
    assert kept_claims(planned(tmp_path), there) == []
    fewer = planned(tmp_path, ("services.back.replicas", 1))
    assert kept_claims(fewer, there) == ["data-back-v1-1", "data-back-v2-1"]
    gone = [
        item["metadata"]["name"] for stage in transition(fewer, there, (), ["data-back-v1-1"]) for item in stage.removed
    ]
    assert gone == ["data-back-v1-1"]
    found = Found("shop", "shop", applied=there)
    assert [name for name in removal(found)[1] if name.startswith("data-")] == [
        f"data-back-{version}-{number}" for version in ("v1", "v2") for number in (0, 1)
    ]


def refused(made: Plan, there: list[Object]) -> list[Fault]:
    return refusals(made, there)


@pytest.mark.parametrize(
    ("changes", "key", "what", "works"),
    [
        ([("volumes", {"data": {**PER_POD, "size": "2Gi"}})], ("volumes", "data", "size"), "is 1Gi",
         "size: 1Gi, or for new pods alone: kubectl delete statefulset back-v1 -n shop --cascade=orphan"),
        ([("volumes", {"data": {**PER_POD, "storage_class": "fast"}})], ("volumes", "data", "storage_class"),
         "is the default", "no storage_class here, or "),
        ([("volumes", {"data": {**PER_POD, "access": "ReadWriteMany"}})], ("volumes", "data", "access"),
         "is ReadWriteOnce", "access: ReadWriteOnce, or "),
        ([("volumes", {"data": PER_POD, "more": PER_POD}), ("services.back.mounts", {"data": "/data", "more": "/m"})],
         ("volumes", "more"), "is new", "a version of another name, or "),
        ([("services.back.mounts", {}), ("volumes", {})], ("volumes",), "has no data", "mounts: {data: /data}, or "),
        ([("volumes", {"data": {"size": "1Gi", "access": "ReadWriteMany"}})], ("volumes", "data", "per_pod"),
         "begins empty", "per_pod: true, or data-2: {size: 1Gi, access: ReadWriteMany}"),
        ([("names", {"pods": "{service}-peers"})], ("names",), "headless", "names: {pods: back-pods}"),
    ],
)  # fmt: skip
def test_what_a_stateful_set_keeps_is_refused_in_words(
    tmp_path: Path, changes: list[Change], key: tuple[str, ...], what: str, works: str
) -> None:
    there = on_cluster(planned(tmp_path))
    found = refused(planned(tmp_path, *changes), there)
    assert {fault.key for fault in found} == {key}
    assert all(fault.id in ("claim-changed", "stateful-set-changed") for fault in found)
    assert what in found[0].what
    assert works in found[0].works
    assert refused(planned(tmp_path), there) == []


def test_one_claim_never_becomes_claims_of_pods_in_silence(tmp_path: Path) -> None:
    changes = [("services.back.mounts", {"data": "/data"}), ("volumes", {"data": {"size": "1Gi"}})]
    before = plan(load(page(tmp_path, changed(*changes))))
    (fault,) = refused(planned(tmp_path), before.objects)
    assert (fault.id, fault.key) == ("claim-changed", ("volumes", "data", "per_pod"))
    assert "per_pod: false, or data-2: {size: 1Gi, per_pod: true}, which begins empty" in fault.works
    # Another name is another claim, and says so: what was there is kept, and named.
    other = planned(tmp_path, ("volumes", {"new": PER_POD}), ("services.back.mounts", {"new": "/data"}))
    assert refused(other, before.objects) == []
    assert kept_claims(other, before.objects) == ["data"]


@pytest.mark.parametrize("back", [False, True])
def test_the_other_kind_of_pods_is_there_before_the_first_one_goes(tmp_path: Path, back: bool) -> None:
    plain = plan(load(page(tmp_path, changed())))
    stateful = planned(tmp_path, ("services.back.mounts", {}), ("volumes", {}))
    before, after = (stateful, plain) if back else (plain, stateful)
    new, old = ("Deployment", "StatefulSet") if back else ("StatefulSet", "Deployment")
    stages = transition(after, before.objects)
    come = [
        stage.name
        for stage in stages
        for item in stage.apply
        if (item["kind"], item["metadata"]["name"]) == (new, "back-v1")
    ]
    gone = [stage.name for stage in stages for turn in stage.in_turn for item in turn if item["kind"] == old]
    assert come == ["workloads"]
    assert gone == ["retire", "retire"]
    assert [stage.name for stage in stages].index("workloads") < [stage.name for stage in stages].index("retire")


def test_a_pod_that_goes_before_its_successor_comes_is_told(tmp_path: Path) -> None:
    single = ("services.back.replicas", 1)
    there = on_cluster(planned(tmp_path, single))
    other = ("services.back.env", {"A": "1"})
    said = costs(planned(tmp_path, single, other), there)
    assert [text.partition(" has one pod")[0] for text in said] == [
        "StatefulSet/shop/back-v1",
        "StatefulSet/shop/back-v2",
    ]
    assert "replicas: 2" in said[0]
    assert costs(planned(tmp_path, single), there) == []
    assert costs(planned(tmp_path, other), on_cluster(planned(tmp_path))) == []


def test_a_selector_that_is_there_stays(tmp_path: Path) -> None:
    there = on_cluster(planned(tmp_path))
    for item in there:
        if item["kind"] == "StatefulSet":
            item["spec"]["selector"] = {"matchLabels": {"app": "back"}}
    known = environment(Found("shop", "shop", applied=there))
    made = plan(load(page(tmp_path, changed(*BASE))), known)
    assert one(made, "StatefulSet", "back-v1")["spec"]["selector"] == {"matchLabels": {"app": "back"}}


def test_a_proof_knows_pods_by_their_stateful_set(tmp_path: Path) -> None:
    made = planned(tmp_path)
    services = made.facts["services"]
    assert services["back"]["stateful"] is True
    assert "stateful" not in services["front"]
    told = {"services": services, "signatures": {"": {"": [["front", None], ["back", None]]}}}
    answer = {"pods": ["front-v1-5d4f8c7b9c-xk2lp", "back-v2-1"], "chain": ""}
    assert hops(told, "", answer) == [("front", "v1"), ("back", "v2")]
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    owned = [{"kind": "StatefulSet", "name": "back-v2"}]
    pod = {"metadata": {"name": "back-v2-1", "ownerReferences": owned}, "status": ready}
    assert list(pods_of([pod], "back-v2")) == [pod]
    assert list(pods_of([pod], "back-v1")) == []
    objects: dict[str, list[Object]] = {}
    for item in made.objects:
        objects.setdefault(item["kind"], []).append(item)
    given = live(made.facts, {"EnvoyFilter": [], "AuthorizationPolicy": [], **objects})
    assert given is not None
    assert set(given.services["back"]) == {"v1", "v2"}
    assert {identity(item) for item in objects["StatefulSet"]} == {
        "StatefulSet/shop/back-v1",
        "StatefulSet/shop/back-v2",
    }
