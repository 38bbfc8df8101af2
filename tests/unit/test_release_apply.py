"""What a cluster has is held against a plan: tables of objects, no cluster."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from slipway.cluster.client import stripped
from slipway.cluster.objects import identity
from slipway.release.judge import (
    Claimant,
    Found,
    Made,
    claimant,
    content,
    environment,
    hosts,
    owner,
    removal,
    revision_of,
    secret_revisions,
    secret_values,
    strangers,
)
from slipway.release.objects import KINDS

from tests.support.errors import tells

Object = dict[str, Any]


def item(kind: str, name: str, *, release: str = "shop", namespace: str = "shop", **rest: Any) -> Object:
    """An object that a release has applied; ``release=""``: one of nobody's."""
    labels = {
        "app.kubernetes.io/managed-by": "slipway",
        "slipway.io/release": release,
        "slipway.io/namespace": namespace,
    }
    metadata = {"name": name, **({} if kind == "Namespace" else {"namespace": rest.pop("where", namespace)})}
    metadata |= {"labels": labels if release else {}} | rest.pop("metadata", {})
    return {
        "apiVersion": {known: version for version, known in KINDS}[kind],
        "kind": kind,
        "metadata": metadata,
    } | rest


def found(**given: Any) -> Found:
    return Found(**{"name": "shop", "namespace": "shop", **given})


@pytest.mark.parametrize(
    ("labels", "whose"),
    [
        ({}, ""),
        ({"slipway.io/release": "shop", "slipway.io/namespace": "shop"}, ""),
        ({"app.kubernetes.io/managed-by": "slipway"}, ""),
        ({"app.kubernetes.io/managed-by": "slipway", "slipway.io/release": "a", "slipway.io/namespace": "b"}, "b/a"),
    ],
)
def test_an_object_is_a_releases_by_all_its_labels(labels: dict[str, str], whose: str) -> None:
    assert owner({"metadata": {"name": "x", "labels": labels}}) == whose


@pytest.mark.parametrize(
    ("thing", "named"),
    [
        (item("Gateway", "g", spec={"servers": [{"hosts": ["a.local", "ns/b.local"]}]}), ["a.local", "b.local"]),
        (item("Gateway", "g", spec={"servers": [{"hosts": ["a.local"]}, {"hosts": ["a.local"]}]}), ["a.local"]),
        (item("VirtualService", "v", spec={"hosts": ["a.local"], "gateways": ["g"]}), ["a.local"]),
        (item("VirtualService", "v", spec={"hosts": ["page"], "gateways": ["mesh"]}), []),
        (item("VirtualService", "v", spec={"hosts": ["page"]}), []),
        (item("Service", "s"), []),
    ],
)  # fmt: skip
def test_hosts_of_an_object(thing: Object, named: list[str]) -> None:
    assert hosts(thing) == named


def test_the_environment_of_an_empty_cluster() -> None:
    seen = environment(found(missing_kinds=frozenset({"ServiceMonitor"})))
    assert not seen.monitoring
    assert seen.gateway_ports == ()
    assert seen.gateway_replicas == 1
    assert seen.secrets == frozenset()
    assert "prometheus" in seen.missing_tools


def test_the_environment_of_a_cluster_with_another_release() -> None:
    gateway: Any = {"spec": {"servers": [{"hosts": ["a.local"]}]}}
    rule: Any = {"spec": {"host": "page", "subsets": [{"name": "v1", "labels": {"version": "stable"}}]}}
    pods: Any = {"metadata": {"labels": {"app": "page", "version": "stable"}}}
    mine: Any = {"spec": {"selector": {"matchLabels": {"app": "page"}}, "template": pods}}
    shares = [{"destination": {"host": "page", "subset": v}, "weight": w} for v, w in (("v1", 90), ("v2", 10))]
    hashed = {"name": "x:hash", "route": shares}
    seen = environment(
        found(
            applied=[
                item("Gateway", "g", release="other", **gateway),
                item("Gateway", "mine", **gateway),
                item("Deployment", "page", release="other"),
                item("DestinationRule", "page", **rule),
                item("Deployment", "mine", **mine),
                item("Service", "page", spec={"ports": [{"name": "http", "port": 80}]}),
                item("VirtualService", "calls", spec={"gateways": ["mesh"], "http": [{"name": "x:weights"}]}),
                item("VirtualService", "entry", spec={"gateways": ["g"], "http": [hashed]}),
                item("DestinationRule", "theirs", release="other", **rule),
            ],
            namespaces=[
                item("Namespace", "shop"),
                item("Namespace", "theirs", release=""),
                item("Namespace", "b", release="other"),
            ],
            services=[item("Service", "prometheus", release="", where="monitoring")],
            gateway_service={"spec": {"ports": [{"name": "status-port", "port": 15021}, {"name": "http", "port": 80}]}},
            gateway_deployment={"spec": {"replicas": 3, "template": {"spec": {"serviceAccountName": "gate"}}}},
        ),
        cluster_domain="k8s.internal",
    )  # fmt: skip
    assert seen.hosts_taken == {"a.local": "shop/other"}
    assert seen.host_holders == {"a.local": ["Gateway/shop/g"]}
    assert seen.objects_taken["Deployment/shop/page"] == "shop/other"
    assert "Gateway/shop/mine" not in seen.objects_taken
    assert seen.deployments == {"mine": {"version": "v1", "selector": {"app": "page"}}}
    assert seen.ports == {"page": {80: "http"}}
    assert seen.bands == (("v1", 90), ("v2", 10))
    assert {"theirs", "b", "default", "kube-system"} <= seen.foreign_namespaces
    assert "shop" not in seen.foreign_namespaces
    assert (seen.gateway_ports, seen.gateway_replicas, seen.gateway_account) == ((80,), 3, "gate")
    assert "prometheus" not in seen.missing_tools
    assert seen.cluster_domain == "k8s.internal"


def test_what_this_release_applied_goes_and_what_routes_goes_first() -> None:
    there = found(
        applied=[
            item("Namespace", "shop"),
            item("Service", "gone"),
            item("Deployment", "gone"),
            item("VirtualService", "gone"),
            item("EnvoyFilter", "gone", where="istio-system"),
            item("Service", "theirs", release="other"),
            item("Service", "elsewhere", namespace="shop-2"),
            item("Secret", "generated", metadata={"ownerReferences": [{"kind": "Alertmanager", "name": "x"}]}),
        ]
    )
    gone, kept = removal(there)
    assert [one["kind"] for one in gone] == ["EnvoyFilter", "VirtualService", "Deployment", "Service", "Namespace"]
    assert {one["metadata"]["name"] for one in gone} == {"gone", "shop"}
    assert kept == []


@pytest.mark.parametrize(
    ("deleted", "kept", "gone"),
    [
        ([], ["cache", "mail"], ["Service"]),
        (["cache"], ["mail"], ["Service", "PersistentVolumeClaim"]),
        (["cache", "mail"], [], ["Service", "PersistentVolumeClaim", "PersistentVolumeClaim", "Namespace"]),
        (["*"], [], ["Service", "PersistentVolumeClaim", "PersistentVolumeClaim", "Namespace"]),
    ],
)
def test_claims_stay_with_their_namespace_until_somebody_says_that_they_may_go(
    deleted: list[str], kept: list[str], gone: list[str]
) -> None:
    claims = [item("PersistentVolumeClaim", name) for name in ("mail", "cache")]
    there = found(applied=[item("Namespace", "shop"), item("Service", "web"), *claims])
    taken, stay = removal(there, deleted)
    assert ([one["kind"] for one in taken], stay) == (gone, kept)


def test_a_namespace_of_somebody_else_is_never_removed() -> None:
    there = found(applied=[item("Namespace", "shop", release="other"), item("Service", "page")])
    assert [one["kind"] for one in removal(there)[0]] == ["Service"]


def test_what_the_server_writes_is_no_difference() -> None:
    given = item("Service", "page", metadata={"resourceVersion": "1", "uid": "x", "managedFields": []}, status={"a": 1})
    assert stripped(given) == item("Service", "page")


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def wanted(**source: Any) -> list[Object]:
    return [{"name": "token", "existing": False, "keys": {"TOKEN": source}}]


def present(value: str, *, release: str = "shop") -> dict[str, Object]:
    data = {"TOKEN": coded(value)}
    carried = {"annotations": Made("token", data, {}, "0123456789abcdef").annotations}
    return {"token": item("Secret", "token", release=release, data=data, metadata=carried)}


@pytest.mark.parametrize(
    ("source", "there", "value", "said"),
    [
        ({"environment": "A"}, {}, "from-env", "environment variable A"),
        ({"environment": "A"}, present("old"), "from-env", "environment variable A"),
        ({"variable": "a"}, {}, "from-var", "variable a"),
        ({"environment": "NONE", "random": True}, {}, None, "random"),
    ],
)
def test_a_secret_is_made_of_what_its_source_gives(
    source: Object, there: dict[str, Object], value: str | None, said: str
) -> None:
    made, faults = secret_values(wanted(**source), there, "shop/shop", {"A": "from-env"}, {"a": "from-var"})
    assert faults == []
    assert made[0].said == {"TOKEN": said}
    decoded = base64.b64decode(made[0].data["TOKEN"]).decode()
    assert decoded == value if value else len(decoded) >= 24
    # Nothing that is shown holds it.
    assert decoded not in str(made[0].said)


@pytest.mark.parametrize(
    ("source", "value"),
    [({"environment": "A"}, "from-env"), ({"environment": "NONE"}, "kept"), ({"random": True}, "kept")],
)
def test_a_secret_that_is_there_stays(source: Object, value: str) -> None:
    made, faults = secret_values(wanted(**source), present(value), "shop/shop", {"A": "from-env"}, {})
    assert (made, faults) == ([], [])


@pytest.mark.parametrize(
    ("source", "there", "what"),
    [
        ({"environment": "NONE"}, {}, "value-not-set: environment variable NONE"),
        ({"variable": "none"}, {}, "value-not-set: the variable none"),
        ({"environment": "A"}, present("x", release="other"), "object-taken: release shop/other's"),
        ({"environment": "A"}, present("x", release=""), "object-taken: somebody else's"),
    ],
)
def test_a_secret_that_cannot_be_made_is_a_fault_with_a_way_out(
    source: Object, there: dict[str, Object], what: str
) -> None:
    made, faults = secret_values(wanted(**source), there, "shop/shop", {"A": "from-env"}, {})
    assert made == []
    (fault,) = faults
    tells(fault, what)
    assert fault.works


def test_a_key_that_is_no_longer_named_leaves_the_secret() -> None:
    there = present("kept")
    there["token"]["data"]["OLD"] = coded("old")
    made, _ = secret_values(wanted(random=True), there, "shop/shop", {}, {})
    assert made[0].data == {"TOKEN": coded("kept")}


def test_what_pods_carry_changes_with_a_secrets_content_and_with_nothing_else() -> None:
    there = present("kept")
    revision = secret_revisions([], there)["token"]
    assert revision == "0123456789abcdef"
    # The same content once more: nothing is applied, and pods stay.
    assert secret_values(wanted(environment="A"), there, "shop/shop", {"A": "kept"}, {}) == ([], [])
    # Another one: another revision, which pods get with it.
    made, _ = secret_values(wanted(environment="A"), there, "shop/shop", {"A": "new"}, {})
    assert secret_revisions(made, there)["token"] == made[0].revision != revision
    # What the plan has made up is what the Secret gets.
    again, _ = secret_values(wanted(environment="A"), there, "shop/shop", {"A": "new"}, {}, {"token": made[0].revision})
    assert again[0].annotations == made[0].annotations
    # Somebody has changed it by hand, and nothing gives another value: it stays, and pods are made anew.
    there["token"]["data"]["TOKEN"] = coded("by hand")
    assert revision_of(there["token"]) == ""
    made, _ = secret_values(wanted(random=True), there, "shop/shop", {}, {})
    assert made[0].data == {"TOKEN": coded("by hand")}
    assert made[0].said == {}
    assert secret_revisions(made, there)["token"] not in ("", revision)
    # Applied so, it is settled.
    settled = {"token": item("Secret", "token", data=made[0].data, metadata={"annotations": made[0].annotations})}
    assert secret_values(wanted(random=True), settled, "shop/shop", {}, {}) == ([], [])


def test_a_secret_from_before_there_were_revisions_gets_one() -> None:
    old = {"token": item("Secret", "token", data={"TOKEN": coded("kept")})}
    made, faults = secret_values(wanted(random=True), old, "shop/shop", {}, {})
    assert faults == []
    assert made[0].data == {"TOKEN": coded("kept")}
    assert secret_revisions([], old) == {}


def test_a_revision_gives_nothing_of_the_content_away() -> None:
    first, second = (
        secret_values(wanted(environment="A"), {}, "shop/shop", {"A": "guess"}, {})[0][0] for _ in range(2)
    )
    # Whoever knows the content cannot tell the revision, nor what the Secret remembers.
    assert first.revision != second.revision
    assert first.annotations["slipway.io/content"] != second.annotations["slipway.io/content"]
    assert content({"TOKEN": coded("guess")}, first.revision) == first.annotations["slipway.io/content"]


@pytest.mark.parametrize(
    ("thing", "who", "yields"),
    [
        (item("Service", "s", release="other"), "release shop/other's", True),
        (item("Service", "s", release=""), "somebody else's", True),
        (
            item("Service", "s", release="", metadata={
                "annotations": {"meta.helm.sh/release-name": "app", "meta.helm.sh/release-namespace": "shop"},
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
            }),
            "Helm release shop/app's", True,
        ),
        (
            item("Service", "s", metadata={"labels": {"app.kubernetes.io/managed-by": "Helm"}}),
            "managed by Helm", True,
        ),
        (
            item("Service", "s", release="", metadata={"managedFields": [
                {"manager": "kubectl-edit", "time": "2026-02-01T00:00:00Z"},
                {"manager": "kubectl-create", "time": "2026-01-01T00:00:00Z"},
                {"manager": "controller", "time": "2025-01-01T00:00:00Z", "subresource": "status"},
            ]}),
            "made with kubectl-create", True,
        ),
        # What a controller made, it makes again; and a release is not to break what the cluster itself consists of.
        (
            item("Service", "s", release="", metadata={"ownerReferences": [{"kind": "Alertmanager", "name": "main"}]}),
            "made by Alertmanager main", False,
        ),
        (
            item("EnvoyFilter", "f", metadata={"labels": {"app.kubernetes.io/managed-by": "slipway"}}),
            "a part of the cluster that Slipway sees to", False,
        ),
    ],
)  # fmt: skip
def test_an_object_says_whose_it_is(thing: Object, who: str, yields: bool) -> None:
    assert claimant(thing) == Claimant(who, yields)
    whose = "shop/shop"
    place = {identity(thing): ("services", "web")}
    planned = item(thing["kind"], thing["metadata"]["name"])
    (fault,), taken = strangers([(planned, thing)], whose, place, adopt=False)
    assert taken == []
    assert fault.key == ("services", "web")
    tells(fault, f"object-taken: {identity(thing)} … {who}")
    assert ("adopt: true" in fault.works) is yields
    faults, taken = strangers([(planned, thing)], whose, place, adopt=True)
    assert [f"{identity(thing)} is {who}: this release takes it over"] * yields == taken
    assert bool(faults) is not yields


@pytest.mark.parametrize("adopt", [False, True])
def test_what_is_new_or_its_own_is_nobody_elses(adopt: bool) -> None:
    changes = [(item("Service", "new"), None), (item("Service", "own"), item("Service", "own"))]
    assert strangers(changes, "shop/shop", {}, adopt=adopt) == ([], [])


def test_an_object_whose_name_is_nowhere_on_the_page_is_placed_at_the_releases_name() -> None:
    thing = item("ServiceAccount", "web-v1", release="")
    assert strangers([(thing, thing)], "shop/shop", {}, adopt=False)[0][0].key == ("name",)


def test_a_secret_of_somebody_else_is_left_alone() -> None:
    assert secret_values([{"name": "token", "existing": True, "keys": {}}], {}, "shop/shop", {}, {}) == ([], [])
