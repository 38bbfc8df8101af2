"""Volumes of a release: where they come from, how pods see them, who makes folders, and who would share a claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.cluster import holdups
from slipway.cluster.holdups import Signs
from slipway.page.read import SettingsError
from slipway.release.environment import Environment
from slipway.release.judge import Found, environment
from slipway.release.planner import Plan, plan
from slipway.release.spec import load
from slipway.release.transition import transition

from tests.support.full_release import container, pod
from tests.support.release import names, one, page
from tests.support.release_changes import IMAGE, changed

MADE = {"made": {"host_path": "/data/made", "create": True}}


def planned(folder: Path, volume: dict[str, Any], *more: tuple[str, Any], known: Environment | None = None) -> Plan:
    changes = [("volumes", {"data": volume}), ("services.front.mounts", {"data": "/data"}), *more]
    return plan(load(page(folder, changed(*changes))), known)


def test_a_mount_may_be_a_part_of_a_volume_and_only_to_be_read(tmp_path: Path) -> None:
    long = {"data": {"path": "/data", "sub_path": "a/b", "read_only": True}}
    made = planned(tmp_path, {"size": "1Gi"}, ("services.front.mounts", long))
    (mount,) = (each for each in container(made, "front-v1")["volumeMounts"] if each["name"] == "data")
    assert mount == {"name": "data", "mountPath": "/data", "subPath": "a/b", "readOnly": True}
    short = container(planned(tmp_path, {"size": "1Gi"}), "front-v1")["volumeMounts"][0]
    assert short == {"name": "data", "mountPath": "/data"}
    everywhere = container(planned(tmp_path, {"size": "1Gi", "read_only": True}), "front-v1")["volumeMounts"][0]
    assert everywhere["readOnly"] is True


def test_a_claim_that_is_there_is_used_and_neither_made_nor_taken_away(tmp_path: Path) -> None:
    made = planned(tmp_path, {"claim": "old.data"})
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "old.data"}} in pod(made, "front-v1")["spec"][
        "volumes"
    ]
    assert names(made, "PersistentVolumeClaim") == set()
    # One that an earlier page of the release has made is in use, whatever may be deleted.
    before = planned(tmp_path, {"size": "1Gi"})
    after = planned(tmp_path, {"claim": "data"})
    gone = [item["kind"] for stage in transition(after, before.objects, delete_claims=["*"]) for item in stage.removed]
    assert "PersistentVolumeClaim" not in gone


def test_a_claim_that_is_not_there_is_named_with_one_that_is(tmp_path: Path) -> None:
    claims = [{"metadata": {"name": "old-data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    known = environment(Found("shop", "shop", claims=claims))
    assert planned(tmp_path, {"claim": "old-data"}, known=known).objects
    with pytest.raises(SettingsError) as caught:
        planned(tmp_path, {"claim": "old-dta"}, known=known)
    (problem,) = caught.value.problems
    assert (problem.id, problem.key) == ("claim-not-in-cluster", "volumes.data.claim")
    assert "claim: old-data" in problem.works
    # Nobody has asked a cluster.
    assert planned(tmp_path, {"claim": "old-dta"}).objects


def test_a_folder_that_may_be_made_is_given_to_the_user_of_the_pod(tmp_path: Path) -> None:
    made = planned(tmp_path, MADE["made"], ("services.front.user", 1000))
    spec = pod(made, "front-v1")["spec"]
    assert {"name": "data", "hostPath": {"path": "/data/made", "type": "DirectoryOrCreate"}} in spec["volumes"]
    (first,) = spec["initContainers"]
    assert first["securityContext"]["runAsUser"] == 0
    assert first["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE"]}
    assert first["volumeMounts"] == [{"name": "data", "mountPath": "/made/data"}]
    assert "chown 1000:1000" in first["command"][2]
    assert first["command"][4:] == ["/made/data"]
    assert first["image"] == "docker.io/library/busybox:1.35.0"
    assert "initContainers" not in pod(made, "back-v1")["spec"]


@pytest.mark.parametrize(
    "more",
    [
        [("services.front.user", "image")],
        [("volumes.data.read_only", True)],
        [("services.front.mounts", {"data": {"path": "/data", "read_only": True}})],
        [("volumes.data.create", False)],
    ],
)
def test_nobody_is_given_a_folder_who_does_not_need_it(tmp_path: Path, more: list[tuple[str, Any]]) -> None:
    made = planned(tmp_path, {"host_path": "/data/made", "create": True}, *more)
    assert "initContainers" not in pod(made, "front-v1")["spec"]


def test_a_part_of_a_folder_is_made_too_with_the_clusters_own_image(tmp_path: Path) -> None:
    part = ("services.front.mounts", {"data": {"path": "/data", "sub_path": "a/b"}})
    made = planned(tmp_path, MADE["made"], part, known=Environment(helper_image="mirror/shell:1"))
    (first,) = pod(made, "front-v1")["spec"]["initContainers"]
    assert first["command"][4:] == ["/made/data/a/b"]
    assert first["image"] == "mirror/shell:1"


NODES: list[dict[str, Any]] = [{"metadata": {"name": name, "labels": {}}} for name in ("node-1", "node-2")]
CONTROLLER = {"metadata": {"name": "ctrl", "labels": {"node-role.kubernetes.io/control-plane": ""}}}
DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}
NETWORK = {"metadata": {"name": "net", "annotations": DEFAULT}, "provisioner": "ebs.csi.aws.com"}
LOCAL = {"metadata": {"name": "local-path"}, "provisioner": "rancher.io/local-path"}


def found(**more: Any) -> Environment:
    classes = [NETWORK, LOCAL]
    given = {"nodes": [CONTROLLER, *NODES], "classes": classes, "claims": [], **more}
    return environment(Found("shop", "shop", storage_classes=["net", "local-path"], **given))


ONLY: tuple[str, Any] = ("services.front.mounts", {})
OF_V1 = ("services.front.versions.v1", {"image": IMAGE, "mounts": {"data": "/data"}})
SHARED = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "net"}}]


@pytest.mark.parametrize(
    ("volume", "changes", "cluster", "said"),
    [
        ({"size": "1Gi"}, [], {}, "front v1, front v2 share it"),
        ({"size": "1Gi"}, [ONLY, OF_V1], {}, ""),
        ({"size": "1Gi"}, [ONLY, OF_V1, ("services.front.replicas", 2)], {}, "front v1 (2 pods)"),
        ({"size": "1Gi"}, [ONLY, OF_V1, ("services.front.autoscaling", {"max": 3})], {}, "front v1 (3 pods)"),
        ({"size": "1Gi", "access": "ReadWriteMany"}, [], {}, ""),
        # The scheduler puts all of its pods on the one node.
        ({"size": "1Gi", "storage_class": "local-path"}, [], {}, ""),
        ({"size": "1Gi", "storage_class": "local-path", "access": "ReadWriteOncePod"}, [], {}, "pod that comes second"),
        ({"size": "1Gi"}, [], {"nodes": [CONTROLLER, NODES[0]]}, ""),
        # What is there counts, not what the page would make.
        ({"claim": "data"}, [], {"claims": SHARED}, ""),
        ({"temporary": "1Mi"}, [], {}, ""),
    ],
)
def test_versions_that_would_share_a_claim_of_one_node_are_named(
    tmp_path: Path, volume: dict[str, Any], changes: list[tuple[str, Any]], cluster: dict[str, Any], said: str
) -> None:
    warnings = planned(tmp_path, volume, *changes, known=found(**cluster)).warnings
    about = [warning for warning in warnings if warning.startswith("volumes.data")]
    assert bool(about) == bool(said), warnings
    assert said in "".join(about)


def test_the_access_mode_of_a_claim_is_that_of_the_page(tmp_path: Path) -> None:
    made = planned(tmp_path, {"size": "1Gi", "access": "ReadWriteOncePod"})
    assert one(made, "PersistentVolumeClaim", "data")["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_a_folder_that_is_missing_is_told_at_once_however_long_ago_it_was_said() -> None:
    said = 'MountVolume.SetUp failed for volume "data" : hostPath type check failed: /none is not a directory'
    event = {"reason": "FailedMount", "message": said, "involvedObject": {"uid": "pod"}}
    event |= {"firstTimestamp": "2026-01-01T12:00:00Z", "lastTimestamp": "2026-01-01T12:00:02Z"}
    waits = [{"name": "web", "state": {"waiting": {"reason": "PodInitializing"}}}]
    status = {"containerStatuses": waits}
    thing = {"metadata": {"name": "web-1-x", "uid": "pod"}, "spec": {"nodeName": "node-1"}, "status": status}
    words = holdups.kept_back(thing, [], Signs((event,), now=1767268840.0))
    assert words == f"!pod web-1-x: FailedMount: {said}"
    (works,) = holdups.hints(words, "shop")
    assert "create: true" in works
    # It has begun since, so the folder is there.
    waits[0]["state"] = {"running": {}}
    assert holdups.kept_back(thing, [], Signs((event,), now=1767268840.0)) == ""
