"""The audit policy: what the page takes for one, what Slipway's own says, and what kubeadm is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from slipway.page.audit import OWN, file_problem, policy, problem

from tests.support.plugins import load
from tests.support.settings import here
from tests.support.wiring import wired

ROLE = Path(__file__).parents[2] / "roles/control_plane"
GOOD = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"


@pytest.mark.parametrize("setting", [False, "off"])
def test_off_is_no_policy_however_yaml_reads_it(setting: str | bool) -> None:
    assert here({"cluster_audit": setting}).problems == []
    assert policy(setting) == ""


def test_metadata_is_slipways_own_and_never_says_what_is_in_an_object() -> None:
    assert policy("metadata") == OWN.read_text()
    assert problem(OWN.read_text()) == ""
    own = yaml.safe_load(OWN.read_text())
    assert {rule["level"] for rule in own["rules"]} == {"None", "Metadata"}
    assert own["rules"][-1] == {"level": "Metadata"}
    # Whoever reads a Secret is told, also if they may read everything without a word.
    groups = [resource for rule in own["rules"][:2] for resource in rule.get("resources", [])]
    assert any("secrets" in resource.get("resources", []) for resource in groups)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no valid YAML"),
        ("[]", "no audit policy"),
        (GOOD.replace("Policy", "ConfigMap"), "no audit policy"),
        (GOOD.replace("/v1", "/v1beta1"), "no audit policy"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\n", "no rules"),
        (GOOD.replace("Metadata", "All"), "rule 1 has level All"),
        (GOOD.replace("{level: Metadata}", "secrets"), "rule 1 has level None"),
        (GOOD + "omitStages: [Never]\n", "omitStages"),
        (GOOD + "rule: []\n", "rule is no key"),
        (GOOD.replace("Metadata}", "Metadata, users: x}"), "users of rule 1 is no list"),
        (GOOD.replace("Metadata}", "Metadata, user: [x]}"), "user of rule 1 is no key"),
        (
            GOOD.replace("Metadata}", "Metadata, resources: [{group: '', verbs: [get]}]}"),
            "verbs of a resource of rule 1",
        ),
    ],
)
def test_a_policy_that_no_api_server_takes_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "audit.yml"
    file.write_text(text)
    (found,) = here({"cluster_audit": str(file)}).problems
    assert (found.id, found.key) == ("audit-policy", "cluster_audit")
    assert says in found.what
    file.write_text(GOOD)
    assert here({"cluster_audit": str(file)}).problems == []
    assert policy(str(file)) == GOOD


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audit.yml").write_bytes(b"\xff")
    assert file_problem(tmp_path / "audit.yml") == "is not a text"
    assert file_problem(tmp_path) == "cannot be read (Is a directory)"
    with pytest.raises(AnsibleFilterError, match=r"cluster_audit.*\[audit-policy\]"):
        load("filter", "audit").audit_policy(str(tmp_path / "none.yml"))


@pytest.mark.parametrize("setting", [True, 1, "", "audit", "{{ x }}.yml"])
def test_anything_else_is_told_what_would_work(setting: Any) -> None:
    (found,) = here({"cluster_audit": setting}).problems
    assert found.key == "cluster_audit"
    assert "cluster_audit: metadata" in found.works


def api_server(text: str) -> dict[str, Any]:
    """The part of the ClusterConfiguration that is about the API server."""
    init_plugin_loader()
    loader = DataLoader()
    variables = {
        **loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True),
        "control_plane_address": "192.0.2.1",
        "control_plane_names": [],
        "control_plane_audit_policy": text,
    }
    expression = trust_as_template("{{ __control_plane_cluster_configuration.apiServer }}")
    found: dict[str, Any] = Templar(loader=loader, variables=variables).template(expression)
    return found


def test_kubeadm_is_told_of_a_policy_by_a_name_that_changes_with_it() -> None:
    one, other = (
        {argument["name"]: argument["value"] for argument in api_server(text)["extraArgs"]} for text in (GOOD, "x")
    )
    assert one["audit-policy-file"] != other["audit-policy-file"]
    assert one["audit-policy-file"].startswith("/etc/kubernetes/audit/")
    rotation = {name: value for name, value in one.items() if name.startswith("audit-log-max")}
    assert rotation == {"audit-log-maxage": "30", "audit-log-maxbackup": "10", "audit-log-maxsize": "100"}
    assert {volume["name"] for volume in api_server(GOOD)["extraVolumes"]} == {"encryption", "audit", "audit-log"}


def test_without_a_policy_nothing_of_it_is_left() -> None:
    there = api_server("")
    assert not [argument for argument in there["extraArgs"] if argument["name"].startswith("audit")]
    assert {volume["name"] for volume in there["extraVolumes"]} == {"encryption"}
    # Not an audit matter, and always there.
    assert {"name": "service-account-extend-token-expiration", "value": "false"} in there["extraArgs"]


def test_the_page_decides() -> None:
    init_plugin_loader()
    assert wired("control_plane_audit_policy", cluster_audit=False) == ""
    assert wired("control_plane_audit_policy", cluster_audit="metadata") == OWN.read_text()
