"""Objects go to a cluster and away from it in their order, only changes count, and what is refused is named."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.template import trust_as_template
from slipway.cluster import rollout
from slipway.cluster.apply import Applier
from slipway.cluster.objects import flat, holds, identity, read, shown, stages, without
from slipway.errors import SlipwayError

from tests.support.errors import refused
from tests.support.objects import DEFINITION, POOL, FakeCluster, item


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def test_what_others_need_comes_first_and_new_kinds_last() -> None:
    given = [POOL, item("Deployment", version="apps/v1"), item("ConfigMap"), DEFINITION, item("Namespace", "apps")]
    assert [[one["kind"] for one in stage] for stage in stages(given)] == [
        ["CustomResourceDefinition", "Namespace"],
        ["ConfigMap"],
        ["Deployment"],
        ["Pool"],
    ]


def test_documents_and_lists_are_read() -> None:
    one = item("ConfigMap")
    assert list(flat([one, None, {"apiVersion": "v1", "kind": "List", "items": [one]}, [one]])) == [one] * 3
    for wrong in ("text", {"kind": "ConfigMap"}, [7]):
        with refused("not-an-object"):
            list(flat(wrong))


def test_text_is_read_also_when_it_is_ansibles_own() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps}\n"
    assert read(trust_as_template(f"{text}---\n---\n{text}")) == [item("ConfigMap")] * 2
    assert read([item("ConfigMap")]) == [item("ConfigMap")]
    with refused("yaml-syntax"):
        read("a: [")


def test_a_second_apply_changes_nothing(cluster: FakeCluster) -> None:
    given = [item("Namespace", "apps"), item("ConfigMap", data={"a": "1"}), DEFINITION, POOL]
    assert [one.changed for one in Applier(cluster).apply(given)] == [True] * 4
    # The server has written managedFields anew, and a controller the status.
    assert [one.changed for one in Applier(cluster).apply(given)] == [False] * 4


def test_a_change_is_named_with_what_was_there(cluster: FakeCluster) -> None:
    Applier(cluster).apply([item("ConfigMap", data={"a": "1"})])
    (one,) = Applier(cluster).apply([item("ConfigMap", data={"a": "2"})])
    assert one.changed
    assert one.name == "ConfigMap/apps/a"
    assert one.before
    assert (one.before["data"], one.after["data"]) == ({"a": "1"}, {"a": "2"})


def test_a_definition_is_sent_again_only_when_it_is_another_or_was_changed(cluster: FakeCluster) -> None:
    def sent(given: dict[str, Any], dry_run: bool = False) -> tuple[bool, bool]:
        cluster.asked.clear()
        (one,) = Applier(cluster, dry_run).apply([given])
        return any(method == "PATCH" for method, _ in cluster.asked), one.changed

    long = {
        **DEFINITION,
        "status": {"conditions": []},
        "spec": {"group": "test.io", "versions": [{"name": "v1", "served": True}], "scope": "Cluster"},
    }
    assert sent(long) == (True, True)
    assert sent(long) == (False, False)
    # One version less is another sum, although all that is wanted is there.
    short = {**long, "spec": {"group": "test.io", "versions": [{"name": "v1", "served": True}]}}
    assert sent(short, dry_run=True) == (True, True)
    assert sent(short) == (True, True)
    (there,) = [one for path, one in cluster.store.items() if path.endswith("/pools.test.io")]
    there["spec"]["versions"][0]["served"] = False
    assert sent(short) == (True, True)
    assert sent(short) == (False, False)


@pytest.mark.parametrize(
    ("there", "wanted", "held"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        # What the server drops because it is empty.
        ({"a": 1}, {"a": 1, "b": None, "c": {}, "d": False}, True),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, True),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}]}, False),
        ({"a": {"b": 1}}, {"a": [1]}, False),
        ({"a": 1}, {"a": {"b": 1}}, False),
        ({"a": {"status": 1}}, {"a": {"status": 2}}, False),
    ],
)
def test_what_is_wanted_is_held_by_what_is_there(there: Any, wanted: Any, held: bool) -> None:
    assert holds(there, wanted) is held


def test_a_dry_run_says_what_would_be_new_and_makes_nothing(cluster: FakeCluster) -> None:
    given = [item("Namespace", "apps"), item("ConfigMap"), DEFINITION, {**POOL, "metadata": {"name": "a"}}]
    assert [one.changed for one in Applier(cluster, dry_run=True).apply(given)] == [True] * 4
    assert not cluster.store
    # What is in the namespace, or of the kind, that would be made cannot be asked about.
    assert not [path for method, path in cluster.asked if method == "PATCH" and "namespaces/apps/" in path]
    Applier(cluster).apply(given)
    assert not any(one.changed for one in Applier(cluster, dry_run=True).apply(given))


def test_all_that_is_refused_is_named_at_once(cluster: FakeCluster) -> None:
    base = "/api/v1/namespaces/apps/configmaps"
    cluster.refusals = {f"{base}/a": [(422, "a is wrong")], f"{base}/b": [(403, "b is forbidden")]}
    with pytest.raises(SlipwayError) as refused:
        Applier(cluster, patience=60).apply([item("ConfigMap", name) for name in "abc"])
    assert refused.value.text == (
        "ConfigMap/apps/a: the API server refuses it (422): a is wrong\n"
        "ConfigMap/apps/b: the API server refuses it (403): b is forbidden"
    )


def test_a_kind_that_is_not_known_is_named(cluster: FakeCluster) -> None:
    with refused("unknown-kind: Pool/apps/a: … Pool … test.io/v1"):
        Applier(cluster).apply([POOL])


def test_a_namespace_that_is_not_said_is_the_default_one(cluster: FakeCluster) -> None:
    bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    Applier(cluster).apply([bare])
    assert list(cluster.store) == ["/api/v1/namespaces/default/configmaps/a"]
    assert identity(bare) == "ConfigMap/a"


def test_what_is_taken_away_is_gone_and_a_second_run_changes_nothing(cluster: FakeCluster) -> None:
    given = [item("ConfigMap", "a", data={"a": "1"}), item("ConfigMap", "b"), item("Namespace", "apps")]
    applier = Applier(cluster)
    applier.apply(given)
    assert [one.changed for one in Applier(cluster, dry_run=True).remove(given)] == [True] * 3
    assert len(cluster.store) == 3
    cluster.asked.clear()
    removed = applier.remove(given)
    assert [(one.name, one.changed) for one in removed] == [
        ("ConfigMap/apps/a", True),
        ("ConfigMap/apps/b", True),
        ("Namespace/apps", True),
    ]
    assert removed[0].before
    assert removed[0].before["data"] == {"a": "1"}
    # In the order that was given: what is in a namespace before it.
    assert [path for method, path in cluster.asked if method == "DELETE"][-1] == "/api/v1/namespaces/apps"
    assert not cluster.store
    applier.gone(given, 1)
    assert not any(one.changed for one in applier.remove(given))


def test_of_a_kind_that_is_not_known_there_is_nothing(cluster: FakeCluster) -> None:
    assert [one.changed for one in Applier(cluster).remove([POOL])] == [False]
    Applier(cluster).gone([POOL], 1)


def test_what_does_not_go_is_named_with_what_keeps_it(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "PAUSE", 0.01)
    applier = Applier(cluster)
    applier.apply([item("Namespace", "apps")])
    path = "/api/v1/namespaces/apps"
    cluster.lasting = {path}
    cluster.store[path]["status"] = {"conditions": [{"status": "True", "message": "some content remains"}]}
    assert applier.remove([item("Namespace", "apps")])[0].changed
    with refused("still-there") as kept:
        applier.gone([item("Namespace", "apps")], 0.05)
    assert kept.value.text == "Namespace/apps is still there: some content remains"
    # It is going already: that is no change of ours.
    cluster.store[path]["metadata"]["deletionTimestamp"] = "now"
    assert not applier.remove([item("Namespace", "apps")])[0].changed


def test_a_removal_that_is_refused_is_named(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "PAUSE", 0.01)
    given = [item("ConfigMap", name) for name in "ab"]
    Applier(cluster).apply(given)
    base = "/api/v1/namespaces/apps/configmaps"
    cluster.refusals = {f"{base}/a": [(403, "forbidden")]}
    with refused("refused-by-api: ConfigMap/apps/a: … (403): forbidden"):
        Applier(cluster).remove(given)
    cluster.refusals = {f"{base}/a": [(503, "shutting down")]}
    assert [one.changed for one in Applier(cluster, patience=20).remove(given)] == [True, False]


def test_objects_are_read_by_kind_by_place_and_by_name(cluster: FakeCluster) -> None:
    applier = Applier(cluster)
    applier.apply([item("ConfigMap", data={"a": "1"}), item("Namespace", "apps")])
    cluster.store["/api/v1/namespaces/apps/configmaps"] = {"items": [{"metadata": {"name": "a"}}]}
    cluster.store["/api/v1/configmaps"] = {"items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}
    assert [one["metadata"]["name"] for one in applier.look("v1", "ConfigMap")] == ["a", "b"]
    assert applier.look("v1", "ConfigMap", "apps") == [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    ]
    assert [one["data"] for one in applier.look("v1", "ConfigMap", "apps", "a")] == [{"a": "1"}]
    assert not applier.look("v1", "ConfigMap", "apps", "gone")
    selected = "/api/v1/configmaps?fieldSelector=metadata.name%3Da&labelSelector=app%3Dweb%2Ctier%3Dback"
    cluster.store[selected] = {"items": [{"metadata": {"name": "b"}}]}
    found = applier.look("v1", "ConfigMap", fields=["metadata.name=a"], labels=["app=web", "tier=back"])
    assert [one["metadata"]["name"] for one in found] == ["b"]
    # A namespace says nothing about what is in none, and an unknown kind has no rollout.
    assert applier.look("v1", "Namespace", "other", "apps")
    assert not applier.look("test.io/v1", "Pool")


def test_what_is_hidden_or_for_nobody_is_left_out() -> None:
    secret = item("Secret", data={"tls.crt": "a", "tls.key": "b"})
    secret["metadata"]["managedFields"] = [1]
    seen = without(secret, ["tls.key"])
    assert seen == {**item("Secret"), "data": {"tls.crt": "a"}}
    assert without(item("Namespace"), ["tls.key"]) == item("Namespace")


def test_of_a_secret_only_the_keys_are_shown() -> None:
    secret = item("Secret", data={"password": "c2VjcmV0"}, type="Opaque")
    assert shown(secret) == {**secret, "data": {"password": "(not shown)"}}
    assert shown(item("ConfigMap", data={"a": "1"})) == item("ConfigMap", data={"a": "1"})
    assert shown(None) is None
