"""Containers that run as their image says, what that means for the namespace, and what is said where a right lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.cluster import holdups
from slipway.page.read import SettingsError
from slipway.release.environment import Environment
from slipway.release.judge import Found, environment
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.full_release import container, pod
from tests.support.release import names, one, page
from tests.support.release_changes import IMAGE, changed

AS_IMAGE = ("services.front.versions.v2", {"image": IMAGE, "user": "image", "writable": True})
LEVEL = "pod-security.kubernetes.io/"
SPACE = {"metadata": {"name": "shop", "labels": {f"{LEVEL}enforce": "restricted", f"{LEVEL}audit": "baseline"}}}


def planned(folder: Path, *changes: tuple[str, Any], known: Environment | None = None) -> Plan:
    return plan(load(page(folder, changed(*changes))), known)


def levels(made: Plan) -> dict[str, str]:
    labels = one(made, "Namespace", "shop")["metadata"]["labels"]
    return {name.removeprefix(LEVEL): level for name, level in labels.items() if name.startswith(LEVEL)}


def test_user_image_leaves_user_and_rights_to_the_image_of_that_version_alone(tmp_path: Path) -> None:
    made = planned(tmp_path, AS_IMAGE)
    assert pod(made, "front-v2")["spec"]["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert container(made, "front-v2")["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": False,
    }
    for other in ("front-v1", "back-v1", "back-v2"):
        assert pod(made, other)["spec"]["securityContext"]["runAsUser"] == 65532
        assert container(made, other)["securityContext"]["capabilities"] == {"drop": ["ALL"]}


PLAIN = {"seccompProfile": {"type": "RuntimeDefault"}}
FREE = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
NOBODY = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532}


@pytest.mark.parametrize("where", ["init", "beside"])
def test_a_container_as_its_image_says_leaves_its_user_to_all_others_of_the_pod(tmp_path: Path, where: str) -> None:
    others = {"one": IMAGE, "two": {"image": IMAGE, "user": 7}, "root": {"image": IMAGE, "user": "image"}}
    made = planned(tmp_path, ("services.front.versions.v2", {"image": IMAGE, where: others}))
    spec = pod(made, "front-v2")["spec"]
    assert spec["securityContext"] == {"fsGroup": 65532, **PLAIN}
    listed = [*spec.get("initContainers", ()), *spec["containers"]]
    found = {each["name"]: each["securityContext"] for each in listed}
    dropped = {**FREE, "capabilities": {"drop": ["ALL"]}}
    assert found == {
        "front": {**dropped, **NOBODY},
        "one": {**dropped, **NOBODY},
        "two": {**dropped, "runAsNonRoot": True, "runAsUser": 7, "runAsGroup": 7},
        "root": FREE,
    }
    # A pod without one is as it always was: whom it runs as is said once.
    assert pod(made, "front-v1")["spec"]["securityContext"] == {"fsGroup": 65532, **NOBODY, **PLAIN}
    assert "runAsUser" not in container(made, "front-v1")["securityContext"]
    (said,) = made.warnings
    assert f"{where} root of front v2 may be root" in said
    assert levels(made)["warn"] == "baseline"


@pytest.mark.parametrize("schedule", [None, "@daily"])
def test_a_job_may_run_as_its_image_says(tmp_path: Path, schedule: str | None) -> None:
    jobs = {"root": {"image": IMAGE, "user": "image", "writable": True, "schedule": schedule}}
    if schedule is None:
        del jobs["root"]["schedule"]
    made = planned(tmp_path, ("jobs", {**jobs, "plain": IMAGE}))
    kind = "CronJob" if schedule else "Job"
    (spec,) = (each["spec"] for each in made.objects if each["kind"] == kind and "root" in each["metadata"]["name"])
    template = (spec["jobTemplate"]["spec"] if schedule else spec)["template"]["spec"]
    assert template["securityContext"] == PLAIN
    assert template["containers"][0]["securityContext"] == {**FREE, "readOnlyRootFilesystem": False}
    (other,) = (each for each in made.objects if each["kind"] == "Job" and "plain" in each["metadata"]["name"])
    assert other["spec"]["template"]["spec"]["securityContext"] == {"fsGroup": 65532, **NOBODY, **PLAIN}
    assert "job root may be root" in made.warnings[0]


def test_jobs_that_are_done_keep_their_names(tmp_path: Path) -> None:
    # A name is made of what a job does: another one would run what is done already again.
    made = planned(tmp_path, ("jobs", {"migrate": {"image": IMAGE, "command": ["/migrate"]}}))
    assert names(made, "Job") == {"shop-migrate-538387af"}


def test_a_version_may_have_a_user_where_its_service_says_image(tmp_path: Path) -> None:
    made = planned(
        tmp_path, ("services.front.user", "image"), ("services.front.versions.v2", {"image": IMAGE, "user": 5})
    )
    assert "runAsUser" not in pod(made, "front-v1")["spec"]["securityContext"]
    assert pod(made, "front-v2")["spec"]["securityContext"]["runAsUser"] == 5


def test_the_namespace_warns_of_what_is_weaker_than_the_page_and_the_plan_says_so(tmp_path: Path) -> None:
    assert levels(planned(tmp_path)) == {"enforce": "privileged", "warn": "restricted", "audit": "restricted"}
    assert planned(tmp_path).warnings == []
    made = planned(tmp_path, AS_IMAGE)
    assert levels(made) == {"enforce": "privileged", "warn": "baseline", "audit": "baseline"}
    (said,) = made.warnings
    for part in ("front v2 may be root", "namespace shop", "enforce privileged, warn and audit baseline"):
        assert part in said


def test_of_somebody_elses_namespace_the_plan_says_what_holds_there(tmp_path: Path) -> None:
    space = {"metadata": {"name": "shop", "labels": {f"{LEVEL}enforce": "baseline", f"{LEVEL}audit": "restricted"}}}
    known = environment(Found("shop", "shop", namespaces=[space]))
    made = planned(tmp_path, AS_IMAGE, known=known)
    assert "enforce baseline, warn privileged, audit restricted" in made.warnings[0]
    assert not [item for item in made.objects if item["kind"] == "Namespace"]


@pytest.mark.parametrize(("sidecar", "level"), [(True, "privileged"), (False, "baseline")])
def test_a_namespace_that_takes_restricted_pods_alone_is_named_before_anything_is_applied(
    tmp_path: Path, sidecar: bool, level: str
) -> None:
    known = environment(Found("shop", "shop", namespaces=[SPACE]))
    assert planned(tmp_path, known=known).objects
    with pytest.raises(SettingsError) as caught:
        planned(tmp_path, AS_IMAGE, ("services.front.versions.v2.sidecar", sidecar), known=known)
    (problem,) = caught.value.problems
    assert (problem.id, problem.key) == ("pod-security", "services.front.versions.v2.user")
    assert f"pod-security.kubernetes.io/enforce={level}" in problem.works


def test_a_namespace_of_the_release_is_never_taken_for_somebody_elses() -> None:
    own = {"app.kubernetes.io/managed-by": "slipway", "slipway.io/release": "shop", "slipway.io/namespace": "shop"}
    space = {"metadata": {"name": "shop", "labels": {**own, f"{LEVEL}enforce": "restricted"}}}
    assert environment(Found("shop", "shop", namespaces=[space])).pod_security == {}


@pytest.mark.parametrize(
    ("changes", "key", "level"),
    [
        ([("services.front.init", {"a": {"image": IMAGE, "user": "image"}})],
         "services.front.init.a.user", "privileged"),
        ([("services.front.versions.v2", {"image": IMAGE, "beside": {"a": {"image": IMAGE, "user": "image"}}})],
         "services.front.versions.v2.beside.a.user", "privileged"),
        ([("jobs", {"a": {"image": IMAGE, "user": "image"}})], "jobs.a.user", "baseline"),
    ],
)  # fmt: skip
def test_other_containers_that_a_namespace_refuses_are_named_too(
    tmp_path: Path, changes: list[tuple[str, Any]], key: str, level: str
) -> None:
    known = environment(Found("shop", "shop", namespaces=[SPACE]))
    with pytest.raises(SettingsError) as caught:
        planned(tmp_path, *changes, known=known)
    assert {(problem.id, problem.key) for problem in caught.value.problems} == {("pod-security", key)}
    assert f"pod-security.kubernetes.io/enforce={level}" in caught.value.problems[0].works


FAILED = "Deployment/shop/web cannot start: pod web-1-x: container web has failed 3 times, last with 1"


@pytest.mark.parametrize(
    ("said", "works"),
    [
        (
            f"{FAILED}\n    its last lines (kubectl logs):\n    | mkdir() failed (13: Permission denied)",
            ["user: image"],
        ),
        (f"{FAILED}\n    | chown: /data: Operation not permitted", ["user: image"]),
        (f"{FAILED}\n    | Error: EACCES: listen 0.0.0.0:80", ["user: image"]),
        (f'{FAILED} (StartError): exec: "/app": permission denied', ["user: image"]),
        (f"{FAILED}\n    | open /run/x: Read-only file system", ["writable: true"]),
        (f"{FAILED}\n    | EROFS: /x\n    | EACCES: /y", ["user: image", "writable: true"]),
        (f"{FAILED}\n    | KeyError: 'MODEL'", []),
        # What the registry or a volume denies is nothing that another user gets.
        ("Deployment/shop/web cannot start: pod web-1-x: FailedMount: mount: permission denied", []),
        ("Deployment/shop/web cannot start: ErrImagePull: permission denied", []),
    ],
)
def test_a_right_that_a_program_lacks_is_named_with_the_key_that_gives_it(said: str, works: list[str]) -> None:
    found = list(holdups.hints(said, "shop"))
    assert len(found) == len(works), found
    assert all(part in hint for part, hint in zip(works, found, strict=True))
