"""From the objects of a chart to a plan, and to stages on a cluster that has some of it."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.cluster.objects import identity
from slipway.contents import stages
from slipway.contents.plan import RUN_FOR, Known, Made, recorded_kinds

from tests.support.contents import PICTURES, ROUTES, SHOP, job, made, read

Object = dict[str, Any]
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {k: hidden}"
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: polls.example.org}
spec: {group: example.org, scope: Namespaced, names: {kind: Unheard, plural: polls}}
"""
POLL = "apiVersion: example.org/v1\nkind: Unheard\nmetadata: {name: lunch}"


def names(made: Made) -> dict[str, list[str]]:
    return {step.name: [identity(item) for item in step.objects] for step in made.planned.steps}


def test_every_object_has_its_namespace_and_whose_it_is_and_a_step() -> None:
    plan = made(SHOP, ROUTES, SECRET)
    assert names(plan)["namespace"] == ["Namespace/shop"]
    assert names(plan)["workloads"] == ["Deployment/shop/web-v1", "Deployment/shop/web-v2", "Deployment/shop/back"]
    assert names(plan)["routes"] == ["Gateway/shop/shop", "VirtualService/shop/shop"]
    assert all(item["metadata"]["labels"]["slipway.io/release"] == "shop" for item in plan.objects)
    # What Services select is as it was.
    service = next(item for item in plan.objects if identity(item) == "Service/shop/web")
    assert service["spec"]["selector"] == {"app": "web"}
    assert service["metadata"]["labels"]["app"] == "web"


def test_secrets_are_applied_apart_and_are_not_pruned() -> None:
    plan = made(SHOP, SECRET)
    assert [identity(item) for item in plan.secrets] == ["Secret/shop/key"]
    assert "hidden" not in str([step.objects for step in plan.planned.steps])
    assert "Secret/shop/key" in plan.planned.keep


def test_the_namespace_of_others_is_not_made_and_the_chart_s_own_is() -> None:
    assert "namespace" not in names(made(SHOP, known=Known(foreign=frozenset({"shop"}))))
    own = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: disabled}}"
    (space,) = made(SHOP, own).planned.steps[0].objects
    assert space["metadata"]["labels"]["istio-injection"] == "disabled"
    assert "istio-injection" not in made(SHOP, sidecars=False).planned.steps[0].objects[0]["metadata"]["labels"]


def test_kinds_that_the_chart_defines_itself_are_known_and_noted() -> None:
    plan = made(DEFINITION, POLL)
    assert plan.faults == []
    assert names(plan)["namespace"] == ["Namespace/shop", "CustomResourceDefinition/polls.example.org"]
    (record,) = plan.planned.steps[-1].objects
    assert recorded_kinds(record["data"]) == [("example.org/v1", "Unheard")]
    there = made(DEFINITION, POLL, known=Known(definitions=frozenset({"polls.example.org"})))
    assert names(there)["namespace"] == ["Namespace/shop"]
    assert any("stays as it is" in text for text in there.planned.warnings)


@pytest.mark.parametrize(
    ("texts", "fault", "words"),
    [
        ((POLL,), "unknown-kind", "Unheard lunch"),
        ((SECRET, SECRET), "duplicate-object", "Secret/shop/key twice"),
        ((job("gone", "post-delete"),), "hook-refused", "post-delete hook Job gone"),
        ((job("back", "pre-rollback"),), "hook-refused", "pre-rollback"),
        (
            ("apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {helm.sh/hook: pre-install}}",),
            "hook-refused",
            "Pod does not end as a Job does",
        ),
    ],
)
def test_what_cannot_be_is_a_fault_with_its_file(texts: tuple[str, ...], fault: str, words: str) -> None:
    (found,) = made(*texts).faults
    assert found.id == fault
    assert words in found.what
    assert "shop/templates/all.yaml" in found.what


def test_objects_for_another_namespace_are_told() -> None:
    plan = made("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: elsewhere}")
    assert any("ConfigMap a: named for namespace elsewhere" in text for text in plan.planned.warnings)


def test_tests_of_the_chart_are_left_out_and_named() -> None:
    plan = made("apiVersion: v1\nkind: Pod\nmetadata: {name: t, annotations: {helm.sh/hook: test}}", SHOP)
    assert "Pod t" in plan.planned.warnings[0]
    assert not [item for item in plan.objects if item["kind"] == "Pod"]


def test_an_alertmanager_gets_the_rights_that_the_operator_needs() -> None:
    plan = made("apiVersion: monitoring.coreos.com/v1\nkind: Alertmanager\nmetadata: {name: a}\nspec: {}")
    assert "RoleBinding/shop/shop-alertmanager" in names(plan)["foundation"]


# Services of subcharts that are off.

METERS = PICTURES.replace("pictures", "meters").replace("shop-grafana", "shop-kube-prometheus-stack-prometheus")
METERS_ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: meters}
spec:
  parentRefs: [{name: slipway, namespace: istio-system}]
  hostnames: [meters.local]
  rules: [{backendRefs: [{name: shop-kube-prometheus-stack-prometheus, port: 9090}]}]
"""
METERED = {"Service/shop/shop-kube-prometheus-stack-prometheus": ("prometheus.monitoring.svc.cluster.local", 9090)}
HAS = Known(services=frozenset({("monitoring", "prometheus"), ("monitoring", "grafana"), ("shop", "there-grafana")}))


def other_names(plan: Made) -> dict[str, tuple[str, int]]:
    found = [item for item in plan.objects if item.get("spec", {}).get("type") == "ExternalName"]
    return {identity(item): (item["spec"]["externalName"], item["spec"]["ports"][0]["port"]) for item in found}


@pytest.mark.parametrize(
    ("text", "made_of_it"),
    [
        (PICTURES, {"Service/shop/shop-grafana": ("grafana.monitoring.svc.cluster.local", 80)}),
        (METERS, METERED),
        (METERS_ROUTE, METERED),
        # One that is there, one that nobody knows, one that the cluster does not have, one of another namespace.
        (PICTURES.replace("shop-grafana", "there-grafana"), {}),
        (PICTURES.replace("shop-grafana", "nobody"), {}),
        (PICTURES.replace("shop-grafana", "shop-alertmanager"), {}),
        (PICTURES.replace("shop-grafana", "shop-grafana.monitoring.svc.cluster.local"), {}),
    ],
)
def test_a_service_that_routes_expect_is_made_where_the_cluster_has_it_under_another_name(
    text: str, made_of_it: dict[str, tuple[str, int]]
) -> None:
    plan = made(SHOP, text, known=HAS)
    assert other_names(plan) == made_of_it
    for name in made_of_it:
        assert name in names(plan)["foundation"]
        assert any(f"{name} is made" in told for told in plan.planned.warnings)
        assert name in plan.planned.places
    # It goes with the release, and hooks do not depend on it.
    assert all(item["metadata"]["labels"]["slipway.io/release"] == "shop" for item in plan.objects)
    assert plan.sum == made(SHOP, text).sum
    assert other_names(made(SHOP, text)) == {}


def test_a_service_of_the_chart_itself_stays_what_it_is() -> None:
    own = "apiVersion: v1\nkind: Service\nmetadata: {name: shop-grafana}\nspec: {ports: [{port: 80}]}"
    assert other_names(made(SHOP, PICTURES, own, known=HAS)) == {}


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ("host: shop-grafana, port: {number: 3000}", "it has no port 3000: requests for it are answered 503"),
        ("host: shop-grafana, port: {number: 3000}", "port: {number: 80}} would work"),
        ("host: shop-grafana, subset: v1", "it has no subset v1"),
    ],
)
def test_a_route_to_another_port_of_such_a_service_is_told_what_works(destination: str, words: str) -> None:
    plan = made(SHOP, PICTURES.replace("host: shop-grafana", destination), known=HAS)
    assert any(words in told for told in plan.planned.warnings), plan.planned.warnings
    assert not any("is made" in told for told in plan.planned.warnings)


# Hooks.

HOOKS = (
    job("third", "post-install,post-upgrade"),
    job("second", "pre-install,pre-upgrade", 5),
    job("first", "pre-install", -1),
)


def due(plan: Made) -> list[str]:
    return [hook.item["metadata"]["name"] for hook in plan.due]


def test_hooks_are_run_in_their_order_at_a_change_and_not_without_one() -> None:
    plan = made(SHOP, *HOOKS)
    assert due(plan) == ["first", "second", "third"]
    turns = [turn.stage.name for turn in stages.turns(plan, [])]
    assert turns == ["namespace", "foundation", "before-1", "before-2", "workloads", "routes", "after-1", "tidy"]
    assert due(made(SHOP, *HOOKS, known=Known(record={"sum": plan.sum}))) == []
    # What is for installing alone is not run again.
    assert due(made(SHOP, *HOOKS, known=Known(record={"sum": "another"}))) == ["second", "third"]


def test_a_hook_that_is_for_upgrades_alone_waits_for_one() -> None:
    upgrade = job("only", "pre-upgrade")
    assert due(made(SHOP, upgrade)) == []
    assert due(made(SHOP, upgrade, known=Known(record={"sum": "another"}))) == ["only"]


def test_a_hook_that_an_interrupted_run_has_ended_is_not_run_twice_and_a_failed_one_is() -> None:
    plan = made(SHOP, job("first", "pre-install"))
    done = {**plan.hooks[0].item, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    assert "before-1" not in [turn.stage.name for turn in stages.turns(plan, [done])]
    failed = {**done, "status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    turn = next(turn for turn in stages.turns(plan, [failed]) if turn.stage.name == "before-1")
    assert turn.stage.remove_first == [failed]
    assert turn.waits[0]["kind"] == "Job"


# Stages.


def live(plan: Made) -> list[Object]:
    return [*plan.planned.objects, *(hook.item for hook in plan.hooks)]


def turn(plan: Made, there: list[Object], name: str) -> stages.Turn:
    return next(turn for turn in stages.turns(plan, there) if turn.stage.name == name)


def test_what_is_no_longer_named_goes_last_and_routes_before_it() -> None:
    before = live(made(SHOP, ROUTES))
    plan = made(SHOP.rpartition("---")[0])
    gone = [identity(item) for item in turn(plan, before, "routes").stage.remove]
    assert gone == ["VirtualService/shop/shop", "Gateway/shop/shop"]
    assert turn(plan, before, "tidy").stage.remove == []
    # Claims, definitions and the namespace stay.
    claim = read("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: shop}")[0].item
    other = read("apiVersion: v1\nkind: Namespace\nmetadata: {name: beside}")[0].item
    rest = turn(made(ROUTES), [*before, claim, other], "tidy").stage.remove
    assert not {"PersistentVolumeClaim", "Namespace"} & {item["kind"] for item in rest}
    assert stages.kept(made(ROUTES), [*before, claim]) == ["data"]


def test_subsets_stay_until_routes_are_changed() -> None:
    before = live(made(SHOP, ROUTES))
    plan = made(SHOP.replace("name: canary", "name: next"), ROUTES.replace("canary", "next"))
    (grown,) = (item for item in turn(plan, before, "foundation").stage.apply if item["kind"] == "DestinationRule")
    assert [subset["name"] for subset in grown["spec"]["subsets"]] == ["stable", "next", "canary"]
    (final,) = (item for item in turn(plan, before, "tidy").stage.apply if item["kind"] == "DestinationRule")
    assert [subset["name"] for subset in final["spec"]["subsets"]] == ["stable", "next"]


def test_a_job_that_is_no_hook_is_made_anew_when_it_changes() -> None:
    text = job("once", "").replace('helm.sh/hook: "", helm.sh/hook-weight: "0"', "")
    before = live(made(text))
    same, other = made(text), made(text.replace("a:1", "a:2"))
    assert stages.anew(same, before) == []
    assert stages.anew(other, before) == ["Job/shop/once"]
    assert [identity(item) for item in turn(other, before, "workloads").stage.remove_first] == ["Job/shop/once"]
    assert before[1]["metadata"]["annotations"][RUN_FOR]


def test_a_release_is_taken_away_from_its_routes_to_its_namespace() -> None:
    gone, kept = stages.removal(live(made(SHOP, ROUTES)))
    order = [item["kind"] for item in gone]
    assert kept == []
    assert order.index("VirtualService") < order.index("Deployment") < order.index("Service") < order.index("Namespace")


def test_stages_without_a_difference_are_left_out_but_pods_are_waited_for() -> None:
    plan = made(SHOP, ROUTES)
    found = stages.due_turns(stages.turns(plan, live(plan)), lambda _: False, busy=True)
    assert [(one["name"], one["stage"]) for one in found] == [("workloads", {})]
    assert len(found[0]["waits"]) == 3
