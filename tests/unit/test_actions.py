"""Action plugins report what they changed, change nothing in check mode, and fail with a sentence that says why."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.template import trust_as_template
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from tests.support.api import ApiServer
from tests.support.errors import refused
from tests.support.plugins import PLUGINS, load, run_action

MAPS = "/api/v1/namespaces/apps/configmaps"
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/web-v1"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    started = ApiServer(tmp_path, monkeypatch)
    started.put("/api/v1", {"resources": [resource("ConfigMap"), resource("Secret"), resource("Namespace", False)]})
    started.put("/apis/apps/v1", {"resources": [resource("Deployment")]})
    yield started
    started.stop()


def resource(kind: str, namespaced: bool = True) -> dict[str, Any]:
    return {"name": f"{kind.lower()}s", "kind": kind, "namespaced": namespaced}


def thing(kind: str, name: str, namespace: str = "apps", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}


# --- cluster_look -------------------------------------------------------------------------------------------


def test_objects_are_read_without_what_is_to_stay_hidden(server: ApiServer) -> None:
    metadata = {"name": "a", "namespace": "apps", "managedFields": [1]}
    server.put(f"{MAPS}/a", {**thing("ConfigMap", "a"), "metadata": metadata, "data": {"k": "v", "key": "private"}})
    arguments: dict[str, Any] = {"kubeconfig": str(server.kubeconfig), "kind": "ConfigMap", "namespace": "apps"}
    arguments |= {"hidden_fields": ["data[key]"]}
    result = run_action(load("action", "cluster_look"), arguments)
    assert result["changed"] is False
    (found,) = result["resources"]
    assert (found["kind"], found["data"], found["metadata"]) == (
        "ConfigMap",
        {"k": "v"},
        {"name": "a", "namespace": "apps"},
    )
    unknown = {**arguments, "api_version": "kiali.io/v1", "kind": "Kiali"}
    server.gone.add("/apis/kiali.io/v1")
    assert run_action(load("action", "cluster_look"), unknown)["resources"] == []


def test_what_is_waited_for_is_told_with_its_reason_when_it_does_not_come(server: ApiServer) -> None:
    server.put("/apis/apps/v1", {"resources": [resource("DaemonSet")]})
    status = {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 1}
    metadata = {"name": "speaker", "namespace": "lb", "generation": 1}
    place = "/apis/apps/v1/namespaces/lb/daemonsets/speaker"
    server.put(place, {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "status": status})
    owned = {"name": "speaker-x", "ownerReferences": [{"name": "speaker"}]}
    waiting = {"name": "speaker", "state": {"waiting": {"reason": "InvalidImageName", "message": "no such image"}}}
    pod = {"metadata": owned, "spec": {"nodeName": "node-2"}, "status": {"containerStatuses": [waiting]}}
    server.put("/api/v1/namespaces/lb/pods", {"items": [pod]})
    for kind in ("/api/v1/namespaces/lb/events", "/apis/apps/v1/namespaces/lb/replicasets"):
        server.put(kind, {"items": []})
    named = {"api_version": "apps/v1", "kind": "DaemonSet", "namespace": "lb", "name": "speaker"}
    arguments = {"kubeconfig": str(server.kubeconfig), **named, "wait": True, "wait_timeout": 60}
    plugin = load("action", "cluster_look")
    with refused("pods-cannot-start: DaemonSet/lb/speaker … speaker-x, … InvalidImageName", AnsibleActionFail):
        run_action(plugin, arguments)
    (found,) = run_action(plugin, {**arguments, "wait_enough": 1})["resources"]
    assert found["status"]["numberReady"] == 1
    assert run_action(plugin, arguments, check=True)["resources"] == [found]


@pytest.mark.parametrize("name", ["cluster_look", "cluster_objects"])
def test_a_cluster_that_is_not_there_is_one_sentence(name: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {"kind": "Pod"} if name == "cluster_look" else {"definition": []}
    with refused("kubeconfig-missing: `make up`", AnsibleActionFail):
        run_action(load("action", name), {"kubeconfig": str(tmp_path / "none"), **more})


# --- cluster_objects ----------------------------------------------------------------------------------------


def test_what_is_applied_is_named_once_and_shown_with_its_difference(server: ApiServer) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps}\ndata: {k: v}\n"
    arguments = {"kubeconfig": str(server.kubeconfig), "definition": trust_as_template(text)}
    plugin = load("action", "cluster_objects")
    first = run_action(plugin, arguments, diff=True)
    assert (first["changed"], first["changes"]) == (True, ["ConfigMap/apps/a"])
    (difference,) = first["diff"]
    assert (difference["before"], "k: v" in difference["after"]) == ("", True)
    second = run_action(plugin, arguments, diff=True)
    assert (second["changed"], second["changes"], second["diff"]) == (False, [], [])
    assert second["result"]["results"][0]["data"] == {"k": "v"}


def test_check_mode_applies_nothing_and_waits_for_nothing(server: ApiServer) -> None:
    arguments = {"kubeconfig": str(server.kubeconfig), "definition": [deployment(1)], "wait": True, "wait_timeout": 0}
    result = run_action(load("action", "cluster_objects"), arguments, check=True)
    assert (result["changed"], DEPLOYMENT in server.objects, "diff" in result) == (True, False, False)


def test_a_workload_that_does_not_come_is_named(server: ApiServer) -> None:
    wanted = {key: value for key, value in deployment(1).items() if key != "status"}
    arguments = {"kubeconfig": str(server.kubeconfig), "definition": wanted, "wait": True, "wait_timeout": 0}
    with refused("not-rolled-out: Deployment/shop/web-v1", AnsibleActionFail):
        run_action(load("action", "cluster_objects"), arguments)
    server.objects[DEPLOYMENT] |= deployment(1, updatedReplicas=1, replicas=1, availableReplicas=1, readyReplicas=1)
    assert not run_action(load("action", "cluster_objects"), arguments)["changed"]


def test_of_a_secret_nothing_is_shown_but_its_keys(server: ApiServer) -> None:
    hidden = base64.b64encode(b"hunter2").decode()
    arguments = {"kubeconfig": str(server.kubeconfig), "definition": thing("Secret", "token", data={"K": hidden})}
    result = run_action(load("action", "cluster_objects"), arguments, diff=True)
    assert "(not shown)" in str(result)
    assert hidden not in str(result)


# --- release_stage -------------------------------------------------------------------------------------------


def deployment(wanted: int, **status: int) -> dict[str, Any]:
    metadata = {"name": "web-v1", "namespace": "shop", "generation": 1, "uid": "d"}
    annotations = {"deployment.kubernetes.io/revision": "1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata, "annotations": annotations},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 1, **status},
    }


def pod_that_waits(reason: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": "no such image"}}
    owners = [{"kind": "ReplicaSet", "name": "web-v1-1", "controller": True}]
    return {
        "metadata": {"name": "web-v1-1-x", "namespace": "shop", "ownerReferences": owners},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "web", "state": state, "restartCount": 0}]},
    }


@pytest.fixture
def rollout(server: ApiServer) -> ApiServer:
    owners = [{"kind": "Deployment", "name": "web-v1", "controller": True}]
    annotations = {"deployment.kubernetes.io/revision": "1"}
    replica_set = {"metadata": {"name": "web-v1-1", "ownerReferences": owners, "annotations": annotations}}
    server.put(DEPLOYMENT, deployment(1))
    server.put("/apis/apps/v1/namespaces/shop/replicasets/web-v1-1", replica_set)
    return server


def wait(server: ApiServer, timeout: int = 0) -> dict[str, Any]:
    arguments = {
        "kubeconfig": str(server.kubeconfig),
        "release": "shop",
        "namespace": "shop",
        "stage": {},
        "waits": [{"name": "web-v1"}],
        "timeout": timeout,
        "settle": 0,
    }
    plugin = load("action", "release_stage")
    return run_action(plugin, arguments)


def test_a_roll_out_that_is_done_is_waited_for_no_more(rollout: ApiServer) -> None:
    rollout.put(DEPLOYMENT, deployment(1, updatedReplicas=1, replicas=1, availableReplicas=1, readyReplicas=1))
    result = wait(rollout)
    assert (result["changed"], result["seconds"] < 5) == (False, True)


def test_a_roll_out_that_takes_too_long_is_named_with_what_to_look_at(rollout: ApiServer) -> None:
    with pytest.raises(AnsibleActionFail) as caught:
        wait(rollout)
    said = str(caught.value)
    assert "not rolled out within 0 s: [not-rolled-out]\nDeployment/shop/web-v1: " in said
    assert "what served before serves on" in said
    assert "kubectl --namespace shop get pods" in said


def test_what_cannot_start_is_told_before_the_time_is_up(rollout: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may pass by itself is given some patience; the rest is told at once."""
    rollout.put("/api/v1/namespaces/shop/pods/web-v1-1-x", pod_that_waits("ImagePullBackOff"))
    monkeypatch.setattr("slipway.cluster.workloads.PATIENCE", 0.2)
    with refused("pods-cannot-start: Deployment/shop/web-v1 … no such image", AnsibleActionFail):
        wait(rollout, timeout=60)


def test_a_cluster_that_does_not_answer_ends_the_wait(rollout: ApiServer) -> None:
    rollout.hang_up = 2
    with refused("api-silent", AnsibleActionFail):
        wait(rollout, timeout=60)


def test_where_most_controllers_are_lost_that_is_said_of_every_question(
    rollout: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.cluster.access.without_quorum", lambda _: "ctrl-2 and ctrl-3 do not answer")
    rollout.hang_up = 2
    with refused("no-quorum: ctrl-2 and ctrl-3 do not answer", AnsibleActionFail):
        wait(rollout, timeout=60)


# --- release_secrets ----------------------------------------------------------------------------------------


def secrets(server: ApiServer, source: dict[str, Any], variables: dict[str, Any] | None = None) -> dict[str, Any]:
    wanted = {"name": "token", "existing": False, "keys": {"K": source}}
    arguments = {
        "kubeconfig": str(server.kubeconfig),
        "release": "shop",
        "namespace": "shop",
        "labels": {"app": "shop"},
        "secrets": [wanted],
    }
    return run_action(load("action", "release_secrets"), arguments, variables)


def held(result: dict[str, Any]) -> str:
    assert result["_ansible_no_log"] is True
    (item,) = result["objects"]
    assert (item["kind"], item["metadata"]["labels"]["app"]) == ("Secret", "shop")
    return base64.b64decode(item["data"]["K"]).decode()


def test_a_secret_comes_from_the_environment_or_from_a_variable(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "hunter2")
    assert held(secrets(server, {"environment": "SHOP_TOKEN"})) == "hunter2"
    template = trust_as_template("{{ prefix }}-token")
    assert held(secrets(server, {"variable": "of_the_vault"}, {"of_the_vault": template, "prefix": "a"})) == "a-token"


def test_a_secret_without_a_value_is_named_by_its_key(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_TOKEN", raising=False)
    with refused("value-not-set: secrets.token.keys.K: … SHOP_TOKEN", AnsibleActionFail):
        secrets(server, {"environment": "SHOP_TOKEN"})


def test_a_cluster_that_refuses_to_show_its_secrets_is_told(server: ApiServer) -> None:
    server.refusals["/api/v1/namespaces/shop/secrets/token"] = [(403, "forbidden")]
    with refused("api-refuses: 403: forbidden", AnsibleActionFail):
        secrets(server, {"environment": "SHOP_TOKEN"})


# --- release_plan -------------------------------------------------------------------------------------------


def test_a_page_that_is_wrong_is_told_with_its_place(server: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "page.yml").write_text("name: shop\nservices: 7\n")
    arguments = {"page": str(tmp_path / "page.yml"), "kubeconfig": str(server.kubeconfig)}
    with refused("missing-key: page.yml:2", AnsibleActionFail):
        run_action(load("action", "release_plan"), arguments)


def test_a_release_that_goes_takes_what_it_applied(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Secrets only the name is shown; nobody else's objects go."""
    labels = {
        "app.kubernetes.io/managed-by": "slipway",
        "slipway.io/release": "sentiment",
        "slipway.io/namespace": "default",
    }
    for kind, place in (("secrets", "token"), ("services", "web")):
        metadata = {"name": place, "namespace": "default", "labels": labels, "resourceVersion": "7"}
        # A list over all namespaces is what is asked for.
        server.put(f"/api/v1/{kind}/{place}", {"metadata": metadata})
    monkeypatch.chdir("/")
    arguments = {"page": "releases/sentiment.yml", "kubeconfig": str(server.kubeconfig), "state": "absent"}
    plugin = load("action", "release_plan")
    result = run_action(plugin, arguments, diff=True)
    assert {(one["kind"], one["metadata"]["name"]) for one in result["prune"]} == {
        ("Secret", "token"),
        ("Service", "web"),
    }
    assert (result["changed"], result["differs"], len(result["diff"])) == (True, True, 2)
    assert all(one["after"] == "" and "resourceVersion" not in one["before"] for one in result["diff"])
    # Without --diff the plan itself is no change: what comes after it does the work.
    assert run_action(plugin, arguments)["changed"] is False


# --- certificates -------------------------------------------------------------------------------------------


def test_a_servers_certificate_is_made_once_and_again_when_it_is_due() -> None:
    plugin = load("action", "serving_certificate")
    arguments = {"name": "metrics.kube-system.svc", "days": 90, "renew_days": 30}
    first = run_action(plugin, arguments)
    assert (first["changed"], first["reason"], bool(first["key"])) == (True, "there is none", True)
    kept = {**arguments, "certificate": first["certificate"]}
    second = run_action(plugin, kept)
    assert (second["changed"], second["certificate"], second["key"]) == (False, first["certificate"], "")
    due = run_action(plugin, {**kept, "days": 365, "renew_days": 91})
    assert (due["changed"], due["reason"].startswith("it ends on")) == (True, True)
    assert run_action(plugin, {**arguments, "certificate": "!"})["reason"] in ("it is not in base64", "there is none")


def test_a_certificate_that_would_be_due_at_once_is_refused() -> None:
    with refused("certificate-not-made: let renew_days be less", AnsibleActionFail):
        run_action(load("action", "serving_certificate"), {"name": "a", "days": 30, "renew_days": 30})


def test_the_gateways_certificate_is_made_once_and_not_in_check_mode(tmp_path: Path) -> None:
    plugin, folder = load("action", "gateway_certificate"), tmp_path / "certificates"
    arguments = {"folder": str(folder), "hosts": ["*.slipway.local"], "authority": "lab"}
    assert run_action(plugin, arguments, check=True)["made"] == ["ca", "gateway"]
    assert not folder.exists()
    assert run_action(plugin, arguments)["made"] == ["ca", "gateway"]
    again = run_action(plugin, arguments)
    assert (again["changed"], again["made"]) == (False, [])
    assert run_action(plugin, {**arguments, "hosts": ["other.local"]})["made"] == ["gateway"]


def test_a_certificate_for_nobody_or_into_no_folder_is_refused(tmp_path: Path) -> None:
    plugin = load("action", "gateway_certificate")
    with refused("certificate-not-made: hosts:", AnsibleActionFail):
        run_action(plugin, {"folder": str(tmp_path), "hosts": [], "authority": "lab"})
    (tmp_path / "file").touch()
    with refused("certificate-not-made", AnsibleActionFail):
        run_action(plugin, {"folder": str(tmp_path / "file/below"), "hosts": ["a.local"], "authority": "lab"})


# --- every action -------------------------------------------------------------------------------------------


# Of what runs on a node the module checks its arguments itself.
ON_NODES = {"api_server", "etcd_user", "kubeadm_node", "node_service", "shared_folder"}


@pytest.mark.parametrize("name", sorted({path.stem for path in (PLUGINS / "action").glob("*.py")} - ON_NODES))
def test_an_action_takes_what_its_documentation_says(name: str) -> None:
    """`ansible-doc` reads the module of the same name; the action plugin is what checks the arguments."""

    class Given(Exception):  # noqa: N818 - no error: it carries what was found
        pass

    plugin = load("action", name)

    def spec(_self: Any, argument_spec: dict[str, Any], **_more: Any) -> None:
        raise Given(argument_spec)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugin.ActionModule, "validate_argument_spec", spec)
        with pytest.raises(Given) as caught:
            run_action(plugin, {})
    (taken,) = caught.value.args
    documentation = yaml.safe_load(load("modules", name).DOCUMENTATION)
    documented = documentation["options"]
    for fragment in documentation.get("extends_documentation_fragment", []):
        # Its options are the collection's own, and so is what is taken.
        assert fragment == "kubernetes.core.k8s_auth_options"
        assert {key: taken.pop(key) for key in AUTH_ARG_SPEC} == AUTH_ARG_SPEC

    def facts(option: dict[str, Any]) -> tuple[Any, ...]:
        wanted = option.get("required", False), option.get("type", "str"), option.get("elements"), option.get("choices")
        return (*wanted, option.get("default") or None)

    assert {key: facts(value) for key, value in documented.items()} == {key: facts(taken[key]) for key in taken}
    yaml.safe_load(load("modules", name).RETURN)


def test_an_action_without_its_library_says_what_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible of another environment than ours finds the plugins, and not the library."""
    monkeypatch.setitem(os.sys.modules, "slipway.plugin", None)  # type: ignore[attr-defined]
    for name, more in (
        ("cluster_look", {"kind": "Pod"}),
        ("cluster_objects", {"definition": []}),
        ("release_plan", {"page": "x"}),
        ("prove_plan", {"facts": {}}),
    ):
        with refused("library-missing: run `make setup`, then use .venv/bin/ansible-playbook", AnsibleActionFail):
            run_action(load("action", name), {"kubeconfig": "/none", **more})
