"""The clients of a proof, as Ansible's own templating makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from slipway.prove import PROGRAM, beside, run
from slipway.prove.beside import PROGRAM as STREAM
from slipway.prove.look import mail_sink

ROLE = Path(__file__).parents[2] / "roles/prove"
PLAN: dict[str, Any] = {
    "namespace": "slipway-prove-shop",
    "program": PROGRAM.read_text(),
    "clients": {
        "plain": {"sidecar": False, "labels": {}, "node": ""},
        "stranger-front-v1": {"sidecar": True, "labels": {"app": "front", "version": "v1"}, "node": ""},
        "addresses": {"sidecar": False, "labels": {}, "node": "node-2"},
    },
}


def render(template: str) -> list[dict[str, Any]]:
    loader = DataLoader()
    variables = loader.load_from_file(str(ROLE / "defaults/main.yml"), trusted_as_template=True)
    given = {**variables, "prove_image": "registry.k8s.io/pause:3.10", "__prove_plan": PLAN}
    templar = Templar(loader=loader, variables=given)
    text = templar.template(trust_as_template((ROLE / "templates" / template).read_text()))
    return [document for document in yaml.safe_load_all(str(text)) if document]


def clients() -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in render("clients.yml.j2")}


def test_the_agent_arrives_as_it_is() -> None:
    place, account, program = render("place.yml.j2")
    assert place["metadata"]["name"] == "slipway-prove-shop"
    assert account["kind"] == "ServiceAccount"
    assert program["data"]["agent.py"] == PROGRAM.read_text()


def test_what_sends_a_stream_arrives_beside_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLAN, "stream", STREAM.read_text())
    *_, program = render("place.yml.j2")
    assert program["data"] == {"agent.py": PROGRAM.read_text(), "stream.py": STREAM.read_text()}
    assert beside.IN_POD.rpartition("/")[2] == "stream.py"


def test_one_client_of_each_kind() -> None:
    made = clients()
    assert set(made) == set(PLAN["clients"])
    injected = {name: one["metadata"]["labels"]["sidecar.istio.io/inject"] for name, one in made.items()}
    assert injected == {"plain": "false", "stranger-front-v1": "true", "addresses": "false"}
    assert (
        made["stranger-front-v1"]["metadata"]["labels"] | {"app": "front", "version": "v1"}
        == (made["stranger-front-v1"]["metadata"]["labels"])
    )
    for one in made.values():
        (container,) = one["spec"]["containers"]
        assert container["name"] == run.CONTAINER
        assert {each["mountPath"] for each in container["volumeMounts"]} == {
            "/prove",
            "/kept",
            "/usr",
            "/lib",
            "/lib64",
        }
        assert one["spec"]["activeDeadlineSeconds"] >= 900
        assert one["spec"]["automountServiceAccountToken"] is False


def test_only_the_client_with_addresses_is_in_its_nodes_network() -> None:
    made = clients()
    placed = {name: one["spec"].get("nodeName") for name, one in made.items()}
    assert placed == {"plain": None, "stranger-front-v1": None, "addresses": "node-2"}
    privileged = {
        name for name, one in made.items() if one["spec"]["containers"][0]["securityContext"].get("privileged")
    }
    assert privileged == {"addresses"} == {name for name, one in made.items() if one["spec"].get("hostNetwork")}


def test_a_proof_finds_the_sink_that_the_role_makes() -> None:
    objects = render("sink.yml.j2")
    service = next(item for item in objects if item["kind"] == "Service")
    metadata = service["metadata"]
    mail = {"server": f"{metadata['name']}.{metadata['namespace']}.svc.cluster.local:2525"}
    services = {(metadata["namespace"], metadata["name"]): service}
    assert mail_sink(mail, services) == ["slipway-mail", "mail"]
    (deployment,) = (item for item in objects if item["kind"] == "Deployment")
    # Between two renderings nothing moves, so that a second run changes nothing.
    assert objects == render("sink.yml.j2")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"smtp": 2525, "http": 8025}
    (held,) = (item for item in objects if item["kind"] == "ConfigMap")
    assert len(json.dumps(held)) < 2**20
