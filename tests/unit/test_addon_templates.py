"""Objects of the roles metallb, storage and metrics_server, as Ansible's own templating makes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = Path(__file__).parents[2] / "roles"
GIVEN: dict[str, Any] = {
    "metallb_controller_image": "q/controller:1",
    "metallb_speaker_image": "q/speaker:1",
    "metallb_addresses": ["192.0.2.90-192.0.2.99"],
    "storage_image": "q/provisioner:1",
    "storage_helper_image": "q/shell:1",
    "metrics_server_image": "q/metrics:1",
    "__metrics_server_certificate": {"certificate": "Y2VydA==", "key": "a2V5"},
}
TEMPLATES = [
    ("metallb", "metallb.yml.j2"),
    ("metallb", "addresses.yml.j2"),
    ("storage", "storage.yml.j2"),
    ("metrics_server", "metrics-server.yml.j2"),
    ("metrics_server", "secret.yml.j2"),
]
CLUSTER_WIDE = {
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "StorageClass",
    "ValidatingWebhookConfiguration",
    "APIService",
}

each_template = pytest.mark.parametrize(("role", "template"), TEMPLATES)


def render(role: str, template: str, **more: Any) -> list[dict[str, Any]]:
    """The objects of a template, with the role's own defaults beneath ``GIVEN`` and ``more``."""
    loader = DataLoader()
    variables: dict[str, Any] = {}
    for name in ("defaults", "vars"):
        path = ROLES / role / name / "main.yml"
        if path.exists():
            variables |= loader.load_from_file(str(path), trusted_as_template=True)
    templar = Templar(loader=loader, variables={**variables, **GIVEN, **more})
    text = templar.template(trust_as_template((ROLES / role / "templates" / template).read_text()))
    return [document for document in yaml.safe_load_all(str(text)) if document]


def only(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    (found,) = (one for one in objects if one["kind"] == kind and name in ("", one["metadata"]["name"]))
    return found


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pod specs, the one in the provisioner's settings too."""
    for one in objects:
        if one["kind"] in ("Deployment", "DaemonSet"):
            yield one["spec"]["template"]["spec"]
        for text in one.get("data", {}).values() if one["kind"] == "ConfigMap" else ():
            if "kind: Pod" in text:
                yield yaml.safe_load(text)["spec"]


def walk(value: Any) -> Iterator[Any]:
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(item)


@each_template
def test_each_object_has_its_place_and_nothing_empty_that_a_server_would_drop(role: str, template: str) -> None:
    for one in render(role, template):
        assert ("namespace" in one["metadata"]) == (one["kind"] not in CLUSTER_WIDE), one["metadata"]["name"]
        assert [part for part in walk(one) if part is None or part in ({}, [])] == [], one["metadata"]["name"]


@each_template
def test_nobody_may_do_everything(role: str, template: str) -> None:
    for one in render(role, template):
        for rule in one.get("rules", []):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            if {"secrets", "validatingwebhookconfigurations", "customresourcedefinitions"} & set(rule["resources"]):
                assert "resourceNames" in rule or not {"update", "patch", "delete"} & set(rule["verbs"])
        assert one.get("roleRef", {}).get("name") not in ("cluster-admin", "admin", "edit")


@each_template
def test_a_container_may_do_no_more_than_it_needs(role: str, template: str) -> None:
    added = []
    for pod in pods(render(role, template)):
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert not context.get("privileged")
            assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
            assert context["capabilities"]["drop"] == ["ALL"]
            added += context["capabilities"].get("add", [])
            assert context.get("runAsUser") == 0 or pod["securityContext"]["runAsNonRoot"] is True
            assert container["image"] in GIVEN.values()
    expected = {"metallb.yml.j2": ["NET_RAW"], "storage.yml.j2": ["DAC_OVERRIDE", "FOWNER"]}
    assert added == expected.get(template, [])


@each_template
def test_requests_are_written_as_the_server_writes_them(role: str, template: str) -> None:
    for one in render(role, template):
        for pod in pods([one] if one["kind"] != "ConfigMap" else []):
            for container in pod["containers"]:
                requests = container["resources"]["requests"]
                assert re.fullmatch(r"[1-9][0-9]*m", requests["cpu"])
                assert re.fullmatch(r"[1-9][0-9]*Mi", requests["memory"])


def test_what_the_controller_writes_is_not_applied() -> None:
    objects = render("metallb", "metallb.yml.j2")
    webhooks = only(objects, "ValidatingWebhookConfiguration")["webhooks"]
    assert len(webhooks) == 6
    assert [hook["name"] for hook in webhooks if "caBundle" in hook["clientConfig"]] == []
    assert "data" not in only(objects, "Secret")
    assert webhooks[4]["clientConfig"]["service"]["path"] == "/validate-metallb-io-v1beta1-ipaddresspool"


def test_addresses_are_announced_on_the_node_network_alone() -> None:
    objects = render("metallb", "addresses.yml.j2", metallb_interfaces=["eth1"])
    assert only(objects, "IPAddressPool")["spec"] == {"addresses": ["192.0.2.90-192.0.2.99"]}
    assert only(objects, "L2Advertisement")["spec"] == {"ipAddressPools": ["default"], "interfaces": ["eth1"]}


@pytest.mark.parametrize(
    ("there", "interfaces"),
    [
        ([{"spec": {"interfaces": ["eth1", "ens5"]}}], ["ens5", "eth1", "eth2"]),
        # Announced on every interface, which has those of the machine that is away.
        ([{"spec": {"ipAddressPools": ["default"]}}], None),
        ([], None),
    ],
)
def test_a_run_that_does_not_see_every_machine_takes_no_interface_away(there: Any, interfaces: Any) -> None:
    more = {"metallb_interfaces": ["eth2"], "metallb_interfaces_complete": False}
    objects = render("metallb", "addresses.yml.j2", __metallb_announced={"resources": there}, **more)
    assert only(objects, "L2Advertisement")["spec"].get("interfaces") == interfaces


@pytest.mark.parametrize("alone", [True, False])
def test_controllers_announce_when_there_is_nobody_else(alone: bool) -> None:
    speaker = only(render("metallb", "metallb.yml.j2", metallb_on_controllers=alone), "DaemonSet")
    (container,) = speaker["spec"]["template"]["spec"]["containers"]
    assert f"--ignore-exclude-lb={str(alone).lower()}" in container["args"]


def test_bgp_peers_are_handed_through() -> None:
    assert not [one for one in render("metallb", "addresses.yml.j2") if one["kind"].startswith("BGP")]
    peer = {"name": "rack", "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", "nodeSelectors": [{"a": {}}]}
    objects = render("metallb", "addresses.yml.j2", metallb_bgp_peers=[peer])
    assert only(objects, "BGPPeer", "rack")["spec"] == {key: peer[key] for key in peer if key != "name"}
    assert only(objects, "BGPAdvertisement")["spec"] == {"ipAddressPools": ["default"]}


def test_volumes_are_where_they_are_said_to_be() -> None:
    objects = render("storage", "storage.yml.j2", storage_path="/srv/volumes", storage_default=False)
    settings = yaml.safe_load(only(objects, "ConfigMap")["data"]["config.json"])
    assert settings["nodePathMap"] == [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["/srv/volumes"]}]
    annotations = only(objects, "StorageClass")["metadata"]["annotations"]
    assert annotations == {"storageclass.kubernetes.io/is-default-class": "false"}


def test_metrics_are_asked_for_and_served_under_certificates() -> None:
    objects = render("metrics_server", "metrics-server.yml.j2")
    (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert "--kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt" in container["args"]
    assert [argument for argument in container["args"] if "insecure" in argument] == []
    service = only(objects, "APIService")["spec"]
    assert service["caBundle"] == "Y2VydA=="
    assert not service.get("insecureSkipTLSVerify")
    secret = only(render("metrics_server", "secret.yml.j2"), "Secret")
    assert secret["data"] == {"tls.crt": service["caBundle"], "tls.key": "a2V5"}


@pytest.mark.parametrize("seconds", [10, 15, 60])
def test_a_kubelet_has_less_time_than_there_is_between_two_looks(seconds: int) -> None:
    """metrics-server does not start otherwise."""
    objects = render("metrics_server", "metrics-server.yml.j2", metrics_server_resolution=seconds)
    (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    (patience,) = (re.findall(r"^--kubelet-request-timeout=(\d+)s$", "\n".join(container["args"]), re.M),)
    assert 0 < int(patience[0]) < seconds * 0.9
