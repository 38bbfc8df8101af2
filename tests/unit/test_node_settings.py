"""Labels and taints of the page: given, changed, and taken away again; those of others stay."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.cluster.node_settings import TRIES, apply, settled, shown, taint, wanted
from slipway.errors import SlipwayError
from slipway.node.state import SETTINGS

from tests.support.errors import tells

Object = dict[str, Any]
THEIRS = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}


def node(labels: dict[str, str] | None = None, taints: list[Object] | None = None, note: str = "") -> Object:
    annotations = {SETTINGS: note} if note else {}
    return {
        "metadata": {"name": "node-2", "labels": labels or {}, "annotations": annotations},
        "spec": {"taints": taints} if taints else {},
    }


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("gpu=true:NoSchedule", {"key": "gpu", "value": "true", "effect": "NoSchedule"}),
        ("example.org/gpu:NoExecute", {"key": "example.org/gpu", "effect": "NoExecute"}),
    ],
)
def test_a_taint_is_read_as_kubectl_writes_it(text: str, read: dict[str, str]) -> None:
    assert taint(text) == read


def test_what_is_given_is_noted_and_given_once() -> None:
    wanted = {"labels": {"disk": "ssd"}, "taints": ["gpu=true:NoSchedule"]}
    made = settled(node({"theirs": "yes"}, [THEIRS]), wanted)
    assert made
    assert shown(made) == {
        "labels": {"theirs": "yes", "disk": "ssd"},
        "taints": [THEIRS, {"key": "gpu", "value": "true", "effect": "NoSchedule"}],
    }
    assert made["metadata"]["annotations"][SETTINGS] == '{"labels": ["disk"], "taints": ["gpu:NoSchedule"]}'
    assert settled(made, wanted) is None


def test_another_value_replaces_the_old_one() -> None:
    first = settled(node(), {"labels": {"disk": "ssd"}, "taints": ["gpu=true:NoSchedule"]})
    assert first
    second = settled(first, {"labels": {"disk": "hdd"}, "taints": ["gpu=no:NoSchedule"]})
    assert second
    assert shown(second) == {
        "labels": {"disk": "hdd"},
        "taints": [{"key": "gpu", "value": "no", "effect": "NoSchedule"}],
    }


def test_what_the_page_no_longer_has_goes_and_what_others_gave_stays() -> None:
    first = settled(node({"theirs": "yes"}, [THEIRS]), {"labels": {"disk": "ssd"}, "taints": ["gpu:NoSchedule"]})
    assert first
    last = settled(first, {})
    assert last
    assert shown(last) == {"labels": {"theirs": "yes"}, "taints": [THEIRS]}
    assert SETTINGS not in last["metadata"]["annotations"]
    assert settled(last, {}) is None


def test_a_note_that_cannot_be_read_is_written_anew() -> None:
    for note in ("nonsense", "[]"):
        made = settled(node({"disk": "ssd"}, note=note), {"labels": {"disk": "ssd"}})
        assert made
        assert made["metadata"]["annotations"][SETTINGS] == '{"labels": ["disk"], "taints": []}'


CONTROL = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def test_a_controller_takes_pods_while_there_is_no_worker() -> None:
    alone = wanted({}, controllers=["node-2"])
    first = settled(node(taints=[THEIRS, CONTROL]), alone["node-2"])
    assert first
    assert shown(first)["taints"] == [THEIRS]
    assert settled(first, alone["node-2"]) is None
    joined = wanted({"node-9": {}}, controllers=["node-2"], workers=["node-9"])
    last = settled(first, joined.get("node-2") or {})
    assert last
    assert shown(last)["taints"] == [THEIRS, CONTROL]
    assert SETTINGS not in last["metadata"]["annotations"]
    assert settled(last, {}) is None


def test_a_taint_that_somebody_took_off_by_hand_stays_off() -> None:
    assert settled(node(taints=[THEIRS]), wanted({}, controllers=["node-2"])["node-2"]) is None
    assert settled(node(taints=[THEIRS]), {}) is None
    # Also one that somebody put back, where the page had it taken off.
    off = settled(node(taints=[CONTROL]), wanted({}, controllers=["node-2"])["node-2"])
    assert off
    off["spec"]["taints"] = [CONTROL]
    back = settled(off, {})
    assert back
    assert shown(back)["taints"] == [CONTROL]


def test_the_page_may_keep_pods_off_a_lone_controller() -> None:
    page = {"node-2": {"taints": ["node-role.kubernetes.io/control-plane:NoSchedule"]}}
    made = settled(node(taints=[CONTROL]), wanted(page, controllers=["node-2"])["node-2"])
    assert made
    assert shown(made)["taints"] == [CONTROL]


class Cluster:
    """A cluster with one node, that refuses the first writes."""

    def __init__(self, conflicts: int = 0, status: int = 200) -> None:
        self.node, self.conflicts, self.status, self.puts = node(), conflicts, status, 0

    def listed(self, *_: str) -> list[Object]:
        return [self.node]

    def path(self, item: Object) -> str:
        return str(item["metadata"]["name"])

    def get(self, _path: str) -> Object:
        return self.node

    def ask(self, _path: str, *, method: str, body: Object) -> tuple[int, Object]:
        assert method == "PUT"
        self.puts += 1
        if self.puts <= self.conflicts:
            # The kubelet was quicker.
            self.node["metadata"]["labels"]["theirs"] = "yes"
            return 409, {"message": "the object has been modified"}
        if self.status == 200:
            self.node = body
        return self.status, {"message": "no"}


PAGE = {"node-2": {"labels": {"disk": "ssd"}}, "node-9": {"labels": {"disk": "ssd"}}}


def test_somebody_who_writes_meanwhile_loses_nothing() -> None:
    cluster = Cluster(conflicts=2)
    assert [before["metadata"]["name"] for before, _ in apply(cluster, PAGE)] == ["node-2"]  # type: ignore[arg-type]
    assert cluster.node["metadata"]["labels"] == {"theirs": "yes", "disk": "ssd"}
    assert apply(cluster, PAGE) == []  # type: ignore[arg-type]


def test_a_check_writes_nothing() -> None:
    cluster = Cluster()
    assert len(apply(cluster, PAGE, dry_run=True)) == 1  # type: ignore[arg-type]
    assert cluster.puts == 0


@pytest.mark.parametrize(("conflicts", "status"), [(TRIES, 200), (0, 422)])
def test_a_refusal_is_told(conflicts: int, status: int) -> None:
    with pytest.raises(SlipwayError) as error:
        apply(Cluster(conflicts, status), PAGE)  # type: ignore[arg-type]
    tells(error.value, "refused-by-api: Node/node-2")
