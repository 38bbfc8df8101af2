"""The page gives machines a name, an address, a size, a system and an architecture, and the checks know the limits."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.node.architecture import of_this_computer
from slipway.page.examine import examine
from slipway.page.machines import architecture_of, members

from tests.support.errors import tells
from tests.support.settings import CTRL, MIRROR, NODE, controllers, here, hosts, page, workers


@pytest.mark.parametrize(
    ("values", "with_mirror", "expected"),
    [
        (
            {},
            True,
            [
                ("mirror-1", "mirror", ".10", 1, 1024),
                ("ctrl", "controller", ".100", 2, 4096),
                ("node-1", "worker", ".101", 2, 6144),
                ("node-2", "worker", ".102", 2, 6144),
            ],
        ),
        (
            {**controllers(3, 2000), **workers(1, 800)},
            False,
            [
                ("ctrl", "controller", ".100", 2, 2000),
                ("ctrl-2", "controller", ".12", 2, 2000),
                ("ctrl-3", "controller", ".13", 2, 2000),
                ("node-1", "worker", ".101", 2, 800),
            ],
        ),
        (hosts(CTRL, NODE), True, [("ctrl", "controller", ".100", 0, 0), ("node-1", "worker", ".101", 0, 0)]),
    ],
)
def test_machines_have_names_addresses_and_sizes(
    values: dict[str, Any], with_mirror: bool, expected: list[Any]
) -> None:
    found = members(examine(values).accepted(), with_mirror=with_mirror)
    assert [(m.name, m.role, m.address.removeprefix("192.168.56"), m.cpus, m.memory) for m in found] == expected


def test_the_last_address_of_a_network_is_nobodys() -> None:
    small = {"cluster_node_cidr": "192.168.56.0/25", **workers(27)}
    assert members(examine(small).accepted(), with_mirror=False)[-1].address == "192.168.56.126"
    (problem,) = page(**small).problems
    assert (problem.key, problem.works) == ("cluster_workers.count", "count: 26")
    assert page(**{**small, **workers(26)}).problems == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({**controllers(1), **workers(3)}, {**controllers(3), **workers(3)}),
        ({**controllers(3), **workers(2)}, {**controllers(5), **workers(4)}),
        ({**controllers(3), **workers(0)}, {**controllers(1), **workers(2)}),
    ],
)
def test_a_machine_keeps_its_address_when_others_come_or_go(before: dict[str, Any], after: dict[str, Any]) -> None:
    first, second = (
        {m.name: m.address for m in members(examine(values).accepted(), with_mirror=True)} for values in (before, after)
    )
    both = first.keys() & second.keys()
    assert len(both) >= 2
    assert {name: first[name] for name in both} == {name: second[name] for name in both}
    assert len(set(second.values())) == len(second)


def test_a_large_network_counts_on() -> None:
    settings = examine({"cluster_node_cidr": "10.0.0.0/16", **workers(200)}).accepted()
    assert members(settings, with_mirror=False)[-1].address == "10.0.1.44"


def test_a_single_node_may_have_another_size() -> None:
    values = {"cluster_nodes": {"node-2": {"memory": 8192}, "ctrl": {"cpus": 4}}}
    sizes = {one.name: (one.cpus, one.memory) for one in members(examine(values).accepted(), with_mirror=False)}
    plain = {one.name: (one.cpus, one.memory) for one in members(examine({}).accepted(), with_mirror=False)}
    assert sizes == {**plain, "node-2": (plain["node-2"][0], 8192), "ctrl": (4, plain["ctrl"][1])}


def test_the_size_of_a_host_is_its_own() -> None:
    hosts = [{"name": "box", "address": "192.168.56.100", "role": "controller"}]
    values = {"cluster_provider": "hosts", "cluster_hosts": hosts, "cluster_nodes": {"box": {"memory": 4096}}}
    (problem,) = [one for one in page(**values).problems if one.key == "cluster_nodes.box.memory"]
    tells(problem, "size-of-host")


@pytest.mark.parametrize(
    ("provider", "box", "system", "key", "works"),
    [
        ("docker", "auto", "debian-13", "", ""),
        ("hosts", "built", "debian-13", "cluster_systems", "cluster_systems: {}"),
        ("libvirt", "auto", "debian-13", "cluster_systems", "cluster_systems: {}, or cluster_box: built"),
        (
            "virtualbox",
            "debian/bookworm64",
            "debian-13",
            "cluster_systems",
            "cluster_systems: {}, or cluster_box: built",
        ),
        ("libvirt", "built", "debian-13", "", ""),
        ("libvirt", "built", "ubuntu-24.04", "cluster_systems.node-2", "node-2: debian-13"),
    ],
)
def test_only_what_is_built_here_has_a_system_of_the_page(
    provider: str, box: str, system: str, key: str, works: str
) -> None:
    values = {"cluster_systems": {"node-2": system}, "cluster_box": box, "cluster_provider": "docker"}
    problems = here(values, provider=provider).problems
    assert [(problem.key, problem.works) for problem in problems] == ([(key, works)] if key else [])
    error_id = "system-not-of-page" if key == "cluster_systems" else "no-box-of-system"
    assert all(problem.id == error_id for problem in problems)


@pytest.mark.parametrize(
    ("provider", "said", "computer", "works"),
    [
        ("docker", "auto", "arm64", ""),
        ("docker", "arm64", "arm64", ""),
        ("docker", "amd64", "amd64", ""),
        ("docker", "arm64", "amd64", "cluster_architecture: amd64, or cluster_provider: hosts with such machines"),
        ("virtualbox", "amd64", "arm64", "cluster_architecture: arm64, or cluster_provider: hosts with such machines"),
        ("hosts", "arm64", "amd64", ""),
        ("hosts", "amd64", "arm64", ""),
    ],
)
def test_machines_that_are_made_here_have_the_architecture_of_this_computer(
    provider: str, said: str, computer: str, works: str
) -> None:
    values = {"cluster_architecture": said, **(hosts(CTRL) if provider == "hosts" else {"cluster_provider": "docker"})}
    problems = here(values, provider=provider, architecture=computer).problems
    found = [(problem.key, problem.id, problem.value, problem.works) for problem in problems]
    assert found == ([("cluster_architecture", "architecture-not-here", said, works)] if works else [])


@pytest.mark.parametrize(
    ("provider", "box", "computer", "wrong"),
    [
        ("libvirt", "built", "arm64", True),
        ("libvirt", "built", "amd64", False),
        ("virtualbox", "auto", "arm64", False),
        ("docker", "built", "arm64", False),
    ],
)
def test_a_box_is_built_for_amd64_alone(provider: str, box: str, computer: str, wrong: bool) -> None:
    problems = here({"cluster_box": box}, provider=provider, architecture=computer).problems
    assert [(problem.id, problem.works) for problem in problems] == (
        [("no-box-for-architecture", "cluster_box: auto")] if wrong else []
    )


def test_a_host_may_have_another_architecture_than_the_others() -> None:
    entries = [CTRL, {**NODE, "architecture": "arm64"}, {**MIRROR, "architecture": "auto"}]
    settings = examine(hosts(*entries, cluster_architecture="amd64")).accepted().as_values()
    found = [
        architecture_of(one["name"], settings["cluster_architecture"], settings["cluster_hosts"]) for one in entries
    ]
    assert found == ["amd64", "arm64", "amd64"]
    # The page may leave it out, and what is no host of it is as the page says.
    assert architecture_of("node-7", "arm64", entries) == "arm64"
    assert architecture_of("ctrl", "auto", [CTRL]) == of_this_computer()
    assert architecture_of("ctrl", "auto", [{**CTRL, "architecture": "arm64"}]) == "arm64"
