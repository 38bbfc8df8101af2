"""The filters about nodes and places."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from tests.support.errors import refused

FILTERS = Path(__file__).parents[2] / "plugins" / "filter"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"slipway_filter_{name}", FILTERS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NODES = load("nodes").FilterModule().filters()
PLACED = load("placed").FilterModule().filters()["placed"]


def node(name: str, ready: str, message: str = "") -> dict[str, Any]:
    conditions = [{"type": "MemoryPressure", "status": "True"}, {"type": "Ready", "status": ready, "message": message}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


def test_a_node_is_ready_when_its_condition_is_true() -> None:
    nodes = [
        node("b", "True"),
        node("a", "True"),
        node("c", "False"),
        node("d", "Unknown"),
        {"metadata": {"name": "e"}},
    ]
    assert NODES["ready_nodes"](nodes) == ["a", "b"]
    # Kubernetes takes the taint off a moment later.
    nodes[0]["spec"] = {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}
    nodes[1]["spec"] = {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}
    assert NODES["open_nodes"](nodes) == ["a"]


def test_a_node_that_is_not_ready_is_named_with_its_reason() -> None:
    text = NODES["unready"](
        {"resources": [node("a", "True"), node("b", "False", "no network plugin")]}, ["a", "b", "c"]
    )
    first, second, _ = text.splitlines()
    assert first == "b is not Ready: no network plugin"
    assert second.startswith("c is not Ready: the cluster does not know it; run again, or type")
    assert second.endswith("sudo systemctl restart kubelet")


def test_an_api_server_that_does_not_answer_is_said_to_be_so() -> None:
    assert "did not answer: refused" in NODES["unready"]({"msg": "refused"}, ["a"])


def test_an_invitation_names_its_parts() -> None:
    line = "kubeadm join a:6443 --token t --discovery-token-ca-cert-hash sha256:c"
    assert NODES["invitation"](line) == {"endpoint": "a:6443", "token": "t", "ca_hash": "sha256:c"}
    with pytest.raises(AnsibleFilterError, match="names no token"):
        NODES["invitation"]("kubeadm join a:6443 --discovery-token-ca-cert-hash sha256:c")


def test_items_get_their_place_by_name() -> None:
    items = [{"name": "a", "url": "u"}, {"name": "b", "url": "v"}]
    assert PLACED(items, {"a": {"dest": "/a"}, "b": {"dest": "/b"}}) == [
        {"name": "a", "url": "u", "dest": "/a"},
        {"name": "b", "url": "v", "dest": "/b"},
    ]


@pytest.mark.parametrize("places", [{}, {"a": {}, "b": {}, "c": {}}, {"a": {}}])
def test_items_and_places_have_to_be_the_same(places: dict[str, Any]) -> None:
    with pytest.raises(AnsibleFilterError, match="the bundle gives a, b"):
        PLACED([{"name": "a"}, {"name": "b"}], places)


def test_a_key_is_its_text_or_its_file(tmp_path: Path) -> None:
    (tmp_path / "id.pub").write_text("# mine\nssh-ed25519 AAAA me\n\n")
    assert NODES["key_texts"](["ssh-rsa BBBB you", "id.pub", str(tmp_path / "id.pub")], str(tmp_path)) == [
        "ssh-rsa BBBB you",
        "ssh-ed25519 AAAA me",
        "ssh-ed25519 AAAA me",
    ]
    with refused("ssh-key-unreadable", AnsibleFilterError):
        NODES["key_texts"](["gone.pub"], str(tmp_path))


def test_a_key_file_may_have_a_blank_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "my key.pub").write_text("ssh-ed25519 AAAA me\n")
    assert NODES["key_texts"](["my key.pub"], str(tmp_path)) == ["ssh-ed25519 AAAA me"]
