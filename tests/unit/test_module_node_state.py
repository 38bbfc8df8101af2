"""The modules that look at a machine: what they refuse, by name, before anything on it is changed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.support.plugins import Ended, load, run_module

ROOT = Path(__file__).parents[2]
LINKS = [
    {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]},
    {"ifname": "eth1", "addr_info": [{"local": "192.0.2.101"}, {}]},
]
KUBERNETES = {"node": "", "joined": False, "foreign": False, "pod_cidr": ""}
NODE = {
    "os": "debian",
    "os_version": "12",
    "os_name": "Debian GNU/Linux 12 (bookworm)",
    "interface": "eth1",
    "nameservers_useless": [],
    "kubernetes": KUBERNETES,
}


class Looks:
    """What the machine says of itself."""

    def __init__(self) -> None:
        self.links = (0, json.dumps(LINKS), "")
        self.node: dict[str, Any] = {**NODE, "kubernetes": dict(KUBERNETES)}
        self.asked: list[str] = []
        self.found: Any = None


@pytest.fixture
def machine() -> Looks:
    return Looks()


@pytest.fixture
def plugin(machine: Looks, monkeypatch: pytest.MonkeyPatch) -> Any:
    loaded = load("modules", "node_state")

    def find(_kubeconfig: str, name: str) -> Any:
        machine.asked.append(name)
        return machine.found

    monkeypatch.setattr(loaded.AnsibleModule, "run_command", lambda *_arguments: machine.links)
    monkeypatch.setattr(loaded, "describe", lambda *_arguments: machine.node)
    monkeypatch.setattr(loaded, "find_node", find)
    monkeypatch.setattr(loaded, "read", lambda _path: "a kubeconfig")
    monkeypatch.setattr(loaded, "still", lambda *_arguments: ["a-call"])
    return loaded


def test_it_says_which_calls_are_still_in_effect(plugin: Any) -> None:
    assert look(plugin).result["ansible_facts"]["slipway_node"]["settled"] == ["a-call"]


def look(plugin: Any, **more: Any) -> Ended:
    known = yaml.safe_load((ROOT / "roles/host/vars/main.yml").read_text())["__host_known_systems"]
    arguments = {"address": "192.0.2.101", "node": "node-1", "known_systems": known, **more}
    return run_module(plugin, arguments, check=True)


@pytest.mark.parametrize(("system", "version"), [("debian", "12"), ("debian", "13"), ("ubuntu", "24.04")])
def test_the_systems_that_the_roles_know_are_taken(plugin: Any, machine: Looks, system: str, version: str) -> None:
    machine.node |= {"os": system, "os_version": version}
    ended = look(plugin)
    assert (ended.failed, ended.result["changed"]) == (False, False)
    assert ended.result["ansible_facts"]["slipway_node"]["os_version"] == version


@pytest.mark.parametrize(
    ("system", "version", "name"),
    [
        ("debian", "11", "Debian GNU/Linux 11 (bullseye)"),
        ("ubuntu", "22.04", "Ubuntu 22.04.5 LTS"),
        ("fedora", "42", "Fedora Linux 42"),
        ("", "", ""),
    ],
)
def test_another_system_is_refused_by_its_name(
    plugin: Any, machine: Looks, system: str, version: str, name: str
) -> None:
    machine.node |= {"os": system, "os_version": version, "os_name": name}
    ended = look(plugin)
    assert ended.failed
    assert f"this machine runs {name or 'an unknown system'}; the roles know debian 12, debian 13" in ended.msg


@pytest.mark.parametrize(
    ("wanted", "processor", "refused"),
    [("amd64", "x86_64", False), ("amd64", "aarch64", True), ("arm64", "aarch64", False), ("", "aarch64", False)],
)
def test_a_machine_of_another_architecture_than_the_page_says_is_refused(
    plugin: Any, monkeypatch: pytest.MonkeyPatch, wanted: str, processor: str, refused: bool
) -> None:
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine=processor))
    ended = look(plugin, architecture=wanted)
    assert ended.failed is refused
    if refused:
        assert ended.result["error_id"] == "other-architecture"
        assert "its processor is arm64 (uname -m), and the page says amd64" in ended.msg
        assert (
            "architecture: arm64 into the entry of node-1 in cluster_hosts of group_vars/all/cluster.yml" in ended.msg
        )
    else:
        assert ended.result["ansible_facts"]["slipway_node"]["architecture"] == (
            "amd64" if processor == "x86_64" else "arm64"
        )


def test_role_host_looks_before_it_touches_anything() -> None:
    first = yaml.safe_load((ROOT / "roles/host/tasks/main.yml").read_text())[0]
    assert first["ansible.builtin.import_tasks"] == "look.yml"
    (look_at,) = yaml.safe_load((ROOT / "roles/host/tasks/look.yml").read_text())
    assert look_at["node_state"]["known_systems"] == "{{ __host_known_systems }}"
    assert look_at["node_state"]["architecture"] == "{{ host_architecture }}"


def test_all_that_is_wrong_is_named_at_once(plugin: Any, machine: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.node |= {"os": "debian", "os_version": "11", "os_name": "Debian GNU/Linux 11", "interface": ""}
    asked: list[Any] = []

    def unfit(*given: Any, **more: Any) -> list[tuple[str, str]]:
        asked.append((given[2], more["apart"]))
        return [("machine-too-small", "it has too little of everything")]

    monkeypatch.setattr(plugin, "hindrances", unfit)
    monkeypatch.setattr(plugin.time, "time", lambda: 1000.0)
    ended = look(plugin, role="worker", clock=910)
    assert [line.partition(";")[0][:30] for line in ended.msg.splitlines()] == [
        "this machine runs Debian GNU/L",
        "no interface holds 192.0.2.101",
        "it has too little of everythin",
    ]
    assert re.findall(r"\[(\S+)\]$", ended.msg, re.M) == ["unknown-system", "address-not-here", "machine-too-small"]
    assert ended.result["error_id"] == "unknown-system"
    assert asked == [("worker", 90.0)]
    assert "too little" not in look(plugin).msg


def test_of_a_machine_that_was_made_only_what_has_come_upon_it_is_asked(
    plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strained(*given: Any, **more: Any) -> list[tuple[str, str]]:
        return [("clock-apart", f"{given[2]} {more['apart']:.0f} s, {', '.join(more['disks'])}")]

    monkeypatch.setattr(plugin, "strains", strained)
    monkeypatch.setattr(plugin.time, "time", lambda: 1000.0)
    ended = look(plugin, made_for="worker", clock=910)
    assert ended.failed
    assert "worker 90 s, /var/lib/containerd, /var/lib/kubelet" in ended.msg
    assert not look(plugin, clock=910).failed


@pytest.mark.parametrize(("name", "refused"), [("web-1", True), ("node-1", False), ("", False)])
def test_a_node_keeps_its_name(plugin: Any, machine: Looks, name: str, refused: bool) -> None:
    machine.node["kubernetes"] |= {"joined": True, "node": "node-1"}
    ended = look(plugin, node=name)
    assert ended.failed is refused
    if refused:
        assert "in the cluster as node-1, and nodes cannot be renamed; call it node-1 in" in ended.msg


def test_a_machine_of_another_cluster_is_refused(plugin: Any, machine: Looks) -> None:
    machine.node["kubernetes"]["foreign"] = True
    ended = look(plugin)
    assert ended.failed
    assert "kubeadm reset" in ended.msg


def test_an_address_that_no_interface_holds_is_named_with_those_that_are_there(plugin: Any, machine: Looks) -> None:
    machine.node["interface"] = ""
    ended = look(plugin, address="198.51.100.7")
    assert ended.failed
    assert "no interface holds 198.51.100.7" in ended.msg
    assert "it has 127.0.0.1, 192.0.2.101" in ended.msg


def test_a_machine_without_ip_is_told_what_it_lacks(plugin: Any, machine: Looks) -> None:
    machine.links = (127, "", "ip: not found\n")
    ended = look(plugin)
    assert ended.failed
    assert "the package iproute2 has to be on the machine" in ended.msg


def test_only_a_machine_that_is_in_is_asked_for_at_its_cluster(plugin: Any, machine: Looks) -> None:
    look(plugin)
    assert machine.asked == []
    machine.node["kubernetes"]["joined"] = True
    machine.found = None
    facts = look(plugin).result["ansible_facts"]["slipway_node"]["kubernetes"]
    assert machine.asked == ["node-1"]
    assert (facts["registered"], facts["marked"], facts["moved"]) == (None, None, None)


def test_name_servers_that_no_pod_can_use_are_named(
    plugin: Any, machine: Looks, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.node |= {"nameservers": ["192.0.2.1"], "nameservers_useless": ["fe80::1%eth0"]}
    ended = look(plugin)
    assert not ended.failed
    warning = capsys.readouterr().err
    assert "node-1 names no name server that pods can use (fe80::1%eth0" in warning
    assert "192.0.2.1" in warning


def test_a_machine_with_name_servers_for_pods_is_not_warned_of(plugin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert not look(plugin).failed
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "joined", "found"),
    [
        ("api.example.org", False, {"api.example.org": ["192.0.2.50"]}),
        ("api.example.org", True, {}),
        ("", False, {}),
    ],
)
def test_the_endpoint_is_looked_up_where_a_machine_is_to_use_it(
    plugin: Any, machine: Looks, monkeypatch: pytest.MonkeyPatch, name: str, joined: bool, found: dict[str, list[str]]
) -> None:
    monkeypatch.setattr(plugin, "resolve", lambda _name: ["192.0.2.50"])
    machine.node["kubernetes"]["joined"] = joined
    assert look(plugin, endpoint=name).result["ansible_facts"]["slipway_node"]["endpoint"] == found


@pytest.mark.parametrize("packages", [[], ["nginx-light"]])
def test_who_has_not_asked_for_packages_is_known(plugin: Any, packages: list[str]) -> None:
    """Role host looks again then: it would take none for missing."""
    looked = look(plugin, packages=packages)
    assert looked.result["ansible_facts"]["slipway_node"]["packages_asked"] is bool(packages)


def test_files_that_are_asked_for_are_told(plugin: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/bundle.json").touch()
    looked = look(plugin, paths=[f"{tmp_path}/*/bundle.json"])
    assert looked.result["ansible_facts"]["slipway_node"]["present"] == [f"{tmp_path}/a/bundle.json"]


@pytest.mark.parametrize(
    ("ranges", "answers", "found"),
    [
        ([], {"192.0.2.90": ["02:42:c0:00:02:65"]}, None),
        (["192.0.2.90-192.0.2.91"], {}, {}),
        (["192.0.2.90-192.0.2.91"], {"192.0.2.90": ["02:42:c0:00:02:65"]}, {"192.0.2.90": ["02:42:c0:00:02:65"]}),
        (["192.0.2.90-192.0.2.91"], OSError("Operation not permitted"), None),
    ],
    ids=["not asked", "free", "a stranger", "may not ask"],
)
def test_addresses_are_asked_for_meanwhile(
    plugin: Any, monkeypatch: pytest.MonkeyPatch, ranges: list[str], answers: Any, found: Any
) -> None:
    def ask(*_arguments: Any) -> Any:
        if isinstance(answers, OSError):
            raise answers
        return answers

    arp = sys.modules[plugin.strangers_at.__module__]
    monkeypatch.setattr(arp, "ask", ask)
    monkeypatch.setattr(arp, "read", lambda _path: "02:00:00:00:00:01\n")
    looked = look(plugin, ask=ranges, members=["192.0.2.101"])
    assert looked.result["ansible_facts"]["slipway_node"]["strangers"] == found


ANSWER = {"192.0.2.90": ["02:42:c0:00:02:65"]}


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Any:
    loaded = load("modules", "address_probe")
    monkeypatch.setattr(sys.modules[loaded.strangers_at.__module__], "read", lambda _path: "02:00:00:00:00:01\n")
    return loaded


def ask(plugin: Any) -> Ended:
    return run_module(
        plugin, {"interface": "eth1", "ranges": ["192.0.2.90-192.0.2.91"], "members": ["192.0.2.101"]}, check=True
    )


def test_addresses_that_nobody_has_are_free(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def nobody(*arguments: Any) -> dict[str, list[str]]:
        asked.append(arguments)
        return {}

    monkeypatch.setattr(sys.modules[probe.strangers_at.__module__], "ask", nobody)
    assert not ask(probe).failed
    assert asked == [("eth1", ["192.0.2.101", "192.0.2.90", "192.0.2.91"], 0.6)]


def test_an_address_of_a_stranger_is_named_with_who_has_it(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[probe.strangers_at.__module__], "ask", lambda *_arguments: ANSWER)
    ended = ask(probe)
    assert ended.failed
    assert "192.0.2.90 is answered by 02:42:c0:00:02:65" in ended.msg
    assert "cluster_metallb_addresses" in ended.msg


def test_an_address_that_one_of_us_answers_for_is_ours(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """MetalLB answers with the card of the node that announces the address."""
    monkeypatch.setattr(
        sys.modules[probe.strangers_at.__module__],
        "ask",
        lambda *_arguments: {**ANSWER, "192.0.2.101": ["02:42:c0:00:02:65"]},
    )
    assert not ask(probe).failed
    monkeypatch.setattr(
        sys.modules[probe.strangers_at.__module__], "ask", lambda *_arguments: {"192.0.2.90": ["02:00:00:00:00:01"]}
    )
    assert not ask(probe).failed


def test_a_card_that_cannot_be_asked_is_named(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any) -> None:
        raise OSError("No such device")

    monkeypatch.setattr(sys.modules[probe.strangers_at.__module__], "ask", broken)
    ended = ask(probe)
    assert ended.failed
    assert "on eth1: No such device" in ended.msg


@pytest.mark.parametrize(("sudo", "user"), [("debian", "debian"), (None, "root")])
def test_who_logged_in_is_known_though_root_looks(
    sudo: str | None, user: str, plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    if sudo:
        monkeypatch.setenv("SUDO_USER", sudo)
    assert look(plugin).result["ansible_facts"]["slipway_node"]["user"] == user
