"""What stands in the way of machines, what is cleared away, and what makes a container one."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from slipway.lab import computer, container, daemons, obstacles, provider, removal, vagrant
from slipway.lab.daemons import DAEMONS
from slipway.lab.docker import Thing
from slipway.lab.obstacles import Seen, free_network
from slipway.node.state import name_servers

from tests.support.provider import CIDR, OWN, Docker, make_plan, record

if TYPE_CHECKING:
    from slipway.lab.plan import LabPlan


def seen(*containers: Thing, records: dict[str, str] | None = None, **things: list[Thing]) -> Seen:
    def named(found: Iterable[Thing]) -> dict[str, Thing]:
        return {thing.name: thing for thing in found}

    volumes, networks = named(things.get("volumes", [])), named(things.get("networks", []))
    return Seen(records=records or {}, containers=named(containers), volumes=volumes, networks=networks)


def network(name: str = "sun", owner: str = OWN, *subnets: str, attached: int = 0) -> Thing:
    return Thing(name, "sun" if owner else "", owner, subnets=subnets or (CIDR,), attached=attached)


@pytest.mark.parametrize(
    "around",
    [
        pytest.param(seen(), id="nothing yet"),
        pytest.param(
            seen(
                Thing("sun-ctrl", "sun", OWN, id="c1"),
                records={"ctrl": "c1"},
                volumes=[Thing("sun-ctrl-var", "sun", OWN), Thing("sun-shared", "sun", OWN)],
                networks=[network()],
            ),
            id="ours run",
        ),
        pytest.param(seen(Thing("moon-ctrl", "moon", "/elsewhere", id="c1")), id="another cluster"),
        pytest.param(seen(networks=[network("moon", "/elsewhere", "192.168.58.0/24")]), id="another network"),
        pytest.param(seen(networks=[network("v6", "", "fd00::/64")]), id="an IPv6 network"),
    ],
)
def test_nothing_stands_in_the_way(around: Seen) -> None:
    assert obstacles.judge(make_plan(), around) == obstacles.Findings()


@pytest.mark.parametrize(
    ("around", "said"),
    [
        pytest.param(
            seen(Thing("sun-ctrl", "sun", OWN, id="c1")),
            ["name-taken", "container sun-ctrl", "`make down` removes it"],
            id="ours, forgotten by Vagrant",
        ),
        pytest.param(
            seen(Thing("sun-ctrl", "sun", OWN, id="c2"), records={"ctrl": "c1"}),
            ["name-taken", "container sun-ctrl", "`make down` removes it"],
            id="ours, not the one that Vagrant made",
        ),
        pytest.param(
            seen(Thing("sun-ctrl", "", "", id="c1")),
            ["name-taken", "not Slipway's", "another cluster_name than 'sun'"],
            id="a stranger's",
        ),
        pytest.param(
            seen(Thing("sun-ctrl", "sun", "/", id="c1")),
            ["name-taken", "belongs to the cluster 'sun' whose records are in /", "run `make down` there"],
            id="another checkout's",
        ),
        pytest.param(
            seen(Thing("sun-ctrl", "sun", "/gone", id="c1")),
            ["name-taken", "records (/gone) are gone", "slipway.lab.provider remove --cluster sun"],
            id="of a checkout that is gone",
        ),
        pytest.param(
            seen(volumes=[Thing("sun-ctrl-var", "", "")]), ["name-taken", "volume sun-ctrl-var"], id="a volume"
        ),
        pytest.param(
            seen(volumes=[Thing("sun-shared", "sun", "/elsewhere")]),
            ["name-taken", "volume sun-shared", "slipway.lab.provider remove --cluster sun"],
            id="another's shared folder",
        ),
        pytest.param(
            seen(networks=[network("sun", "")]), ["name-taken", "Docker network sun"], id="our network's name"
        ),
        pytest.param(
            seen(networks=[network("moon", "/elsewhere", "192.168.57.0/25")]),
            ["network-in-use", "192.168.57.0/24", "Docker network moon of the cluster sun (/elsewhere)",
             "such as 192.168.58.0/24"],
            id="our addresses, another cluster",
        ),
        pytest.param(
            Seen(
                networks={"moon": network("moon", "/elsewhere", "192.168.57.0/25")},
                interfaces=[("the network interface eth0", "192.168.58.7/23")],
            ),
            ["network-in-use", "Docker network moon", "such as 192.168.60.0/24"],
            id="the next one is taken as well",
        ),
        pytest.param(
            seen(networks=[network("bridge", "", "192.168.0.0/16")]),
            ["network-in-use", "Docker network bridge of somebody else", "such as 172.24.0.0/24"],
            id="Docker's own",
        ),
        pytest.param(
            seen(networks=[network("sun", OWN, "192.168.60.0/24", attached=2)]),
            ["node-cidr-changed", "192.168.60.0/24", "cluster_node_cidr is now 192.168.57.0/24"],
            id="the page moved on",
        ),
        pytest.param(
            Seen(interfaces=[("the network interface vpn0", "192.168.0.0/16")]),
            ["network-in-use", "network interface vpn0 has 192.168.0.0/16"],
            id="an interface",
        ),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_named_and_not_touched(around: Seen, said: list[str]) -> None:
    findings = obstacles.judge(make_plan(), around)
    assert len(findings.refusals) == 1
    error_id, *facts = said
    assert findings.refusals[0].id == error_id
    assert [text for text in facts if text not in findings.refusals[0].text] == []
    assert (findings.containers, findings.volumes, findings.networks) == ([], [], [])


@pytest.mark.parametrize(
    ("around", "cleared"),
    [
        pytest.param(
            seen(
                Thing("sun-ctrl", "sun", OWN, id="c1"),
                records={"ctrl": "preparing"},
                volumes=[Thing("sun-ctrl-var", "sun", OWN)],
            ),
            (["sun-ctrl"], ["sun-ctrl-var"], []),
            id="killed before Vagrant knew it",
        ),
        pytest.param(
            seen(volumes=[Thing("sun-node-1-var", "sun", OWN)], records={"node-1": "c9"}),
            ([], ["sun-node-1-var"], []),
            id="the volume of a machine that is gone",
        ),
        pytest.param(
            seen(volumes=[Thing("sun-shared", "sun", OWN)]),
            ([], ["sun-shared"], []),
            id="the shared folder of machines that are gone",
        ),
        pytest.param(
            seen(networks=[network("sun", OWN, "192.168.60.0/24")]), ([], [], ["sun"]), id="an empty network of before"
        ),
    ],
)
def test_what_a_killed_run_of_ours_left_is_cleared(around: Seen, cleared: tuple[list[str], ...]) -> None:
    findings = obstacles.judge(make_plan(), around)
    assert findings.refusals == []
    assert (findings.containers, findings.volumes, findings.networks) == cleared


def test_the_bridge_of_our_own_network_is_not_in_the_way() -> None:
    around = seen(networks=[network()])
    around.interfaces = [("the network interface br-0123", CIDR)]
    assert obstacles.judge(make_plan(), around).refusals == []


@pytest.mark.parametrize(
    ("bounding", "server", "there", "absent"),
    [
        (
            0x1FFFFFFFFFF,
            "20.10.24+dfsg1",
            {"SYS_ADMIN", "AUDIT_READ", "CHOWN"},
            {"BPF", "PERFMON", "CHECKPOINT_RESTORE"},
        ),
        (0x1FFFFFFFFFF, "26.1.5", {"BPF", "PERFMON", "CHECKPOINT_RESTORE"}, set()),
        (0x1FFFEFFFFFF, "26.1.5", {"SYS_ADMIN"}, {"SYS_RESOURCE"}),
        (0, "26.1.5", set(), {"CHOWN"}),
        (1, "a version of their own", {"CHOWN"}, {"BPF"}),
    ],
)
def test_a_node_gets_what_this_computer_has_and_docker_knows(
    bounding: int, server: str, there: set[str], absent: set[str]
) -> None:
    given = set(container.capabilities(bounding, server))
    assert there <= given
    assert not absent & given


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["nameserver 10.0.0.1\nsearch x\nnameserver 10.0.0.2\n"], ["10.0.0.1", "10.0.0.2"]),
        (["nameserver 127.0.0.53\noptions edns0\n", "nameserver 10.0.0.3\n"], ["10.0.0.3"]),
        (["nameserver 127.0.0.1\n", ""], []),
        (["nameserver fd00::1\nnameserver 10.0.0.4\n"], ["10.0.0.4"]),
        ([], []),
    ],
)
def test_nodes_get_name_servers_that_they_can_reach(texts: list[str], expected: list[str]) -> None:
    assert name_servers(*texts) == expected


def arguments(machine: int = 1, plan: LabPlan | None = None, **host: Any) -> list[str]:
    plan = plan or make_plan()
    known = {"bounding": 1, "server": "20.10.24", "cpus": 4, "limits_memory": True, "limits_cpus": True, **host}
    return container.run_arguments(plan, plan["machines"][machine], container.Host(**known), "ecdsa KEY")


@pytest.mark.parametrize(
    ("host", "there", "absent"),
    [
        ({}, ["--memory=1024m", "--memory-swap=1024m", "--cpus=2"], []),
        ({"cpus": 2}, [], ["--cpus"]),
        ({"limits_cpus": False}, [], ["--cpus"]),
        ({"limits_memory": False}, [], ["--memory"]),
        ({"resolvers": ("10.0.0.1", "10.0.0.2")}, ["--env=NODE_RESOLVERS=10.0.0.1 10.0.0.2"], []),
        (
            {},
            ["--cgroupns=private", "--stop-signal=SIGRTMIN+3", "--env=NODE_KEY=ecdsa KEY"],
            ["NODE_RESOLVERS", "modules"],
        ),
        ({"modules": True}, ["--volume=/lib/modules:/lib/modules:ro"], []),
    ],
)
def test_a_container_gets_what_makes_it_a_machine(host: dict[str, Any], there: list[str], absent: list[str]) -> None:
    given = arguments(**host)
    assert [argument for argument in there if argument not in given] == []
    assert [argument for argument in given for word in absent if word in argument] == []
    assert "--privileged" not in given


def test_only_the_mirror_sees_the_bundles() -> None:
    mount = "--mount=type=bind,src=/cache/bundles,dst=/srv/slipway/bundles,readonly"
    assert [mount in arguments(machine) for machine in range(3)] == [True, False, False]


def test_all_nodes_and_no_mirror_share_a_folder() -> None:
    start = "--mount=type=volume,src=sun-shared,dst=/mnt/shared,volume-label=io.slipway.cluster=sun"
    assert [sum(word.startswith(start) for word in arguments(machine)) for machine in range(3)] == [0, 1, 1]


def test_a_folder_with_a_comma_survives_dockers_way_of_writing() -> None:
    plan = make_plan("/srv/a, b/.vagrant")
    value = next(word for word in arguments(plan=plan) if "volume-label" in word).removeprefix("--mount=")
    assert "volume-label=io.slipway.vagrant=/srv/a, b/.vagrant" in next(csv.reader([value]))


def test_a_machine_runs_when_its_container_runs_in_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, ctrl="c1", mirror_1="preparing", node_1="c3")
    Docker(monkeypatch, {"ps": "c1\nc9\n"})
    assert provider.missing(make_plan(str(tmp_path))) == ["mirror-1", "node-1"]


def test_without_records_docker_is_not_even_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Docker(monkeypatch, {}).asked
    assert provider.missing(make_plan(str(tmp_path))) == ["mirror-1", "ctrl", "node-1"]
    assert asked == []


def test_a_machine_that_runs_outside_its_network_is_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Docker(
        monkeypatch, {"ps --no-trunc --quiet --filter=network=sun": "c2\n", "ps --no-trunc --quiet": "c1\nc2\nc9\n"}
    ).asked
    provider.connect(make_plan(str(tmp_path)), Seen(records={"ctrl": "c1", "node-1": "c2", "mirror-1": "c5"}))
    assert asked[2:] == ["network connect --ip=192.168.57.100 sun c1"]


def test_removing_a_cluster_touches_only_what_carries_its_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path, ctrl="c1")
    asked = Docker(
        monkeypatch, {"ps": f"sun-ctrl\tc1\tsun\t{tmp_path}\n", "volume ls": f"sun-ctrl-var\tsun\t{tmp_path}\n"}
    ).asked
    removal.remove_cluster(make_plan(str(tmp_path)), lambda _: None)
    label = f"--filter=label=io.slipway.vagrant={tmp_path}"
    assert all(label in words for words in asked if words.split()[1] == "ls" or words.startswith("ps"))
    assert [words for words in asked if " rm " in words] == [
        "container rm --force --volumes sun-ctrl",
        "volume rm --force sun-ctrl-var",
    ]
    assert vagrant.ids(tmp_path, "docker") == {}


def test_after_a_destroy_only_what_no_machine_uses_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Docker(
        monkeypatch,
        {
            "ps": f"sun-ctrl\tc1\tsun\t{tmp_path}\n",
            "volume ls": f"sun-ctrl-var\tsun\t{tmp_path}\nsun-node-1-var\tsun\t{tmp_path}\n",
        },
    ).asked
    removal.sweep(make_plan(str(tmp_path)), lambda _: None)
    assert [words for words in asked if " rm " in words] == ["volume rm --force sun-node-1-var"]


@pytest.mark.parametrize(("left", "kept"), [("sun-node-1\tc2\tsun\t/v\n", True), ("", False)])
def test_the_shared_folder_stays_as_long_as_a_machine_does(
    left: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Docker(monkeypatch, {"ps": left, "volume ls": "sun-shared\tsun\t/v\n"}).asked
    removal.sweep(make_plan("/v"), lambda _: None)
    assert ("volume rm --force sun-shared" not in asked) == kept


def test_docker_is_only_stopped_when_setup_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Docker(monkeypatch, {}).asked
    daemons.stop(DAEMONS["docker"], tmp_path, lambda _: None)
    (tmp_path / "dockerd.pid").write_text("1\n")
    daemons.stop(DAEMONS["docker"], tmp_path, lambda _: None)
    assert asked == []
    assert not (tmp_path / "dockerd.pid").exists()


def test_docker_keeps_running_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Docker(monkeypatch, {"ps": "moon-ctrl\n"})
    monkeypatch.setattr(daemons, "is_program", lambda pid, program: (pid, program) == ("77", "dockerd"))
    (tmp_path / "dockerd.pid").write_text("77\n")
    said: list[str] = []
    daemons.stop(DAEMONS["docker"], tmp_path, said.append)
    assert said == ["Docker keeps running for moon-ctrl"]
    assert (tmp_path / "dockerd.pid").exists()


def test_the_key_of_the_nodes_is_made_once(tmp_path: Path) -> None:
    first = vagrant.make_key(tmp_path / "records")
    assert first.startswith("ecdsa-sha2-nistp256 ")
    assert vagrant.make_key(tmp_path / "records") == first
    assert (tmp_path / "records/key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (tmp_path / "records").iterdir()) == ["key", "key.pub"]


ROUTES = """\
default via 10.0.0.1 dev eth0
10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.5
10.9.0.7 dev tun0 scope link
unreachable 10.8.0.0/16 metric 1024
192.168.56.0/24 dev vboxnet0 proto kernel scope link src 192.168.56.1
192.168.121.0/24 dev virbr1 proto kernel scope link src 192.168.121.1
"""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("docker", ["10.0.0.0/24", "10.9.0.7/32", "192.168.56.0/24", "192.168.121.0/24"]),
        ("virtualbox", ["10.0.0.0/24", "10.9.0.7/32", "192.168.121.0/24"]),
        ("libvirt", ["10.0.0.0/24", "10.9.0.7/32", "192.168.56.0/24"]),
    ],
)
def test_what_this_computer_reaches_by_itself(kind: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computer, "lines", lambda *_: ROUTES.splitlines())
    assert [found for _, found in obstacles.interfaces(kind)] == expected


def test_an_address_that_answers_is_somebodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstacles, "_answers", lambda address: address.endswith(".100"))
    assert obstacles.answering(make_plan(), Seen(records={"ctrl": "c1"})) == []
    refusals = obstacles.answering(make_plan(), Seen())
    assert len(refusals) == 1
    assert refusals[0].text.startswith("192.168.57.100, the address for ctrl, answers already")


@pytest.mark.parametrize(
    ("cidr", "used", "free"),
    [
        ("192.168.57.0/24", [], "192.168.58.0/24"),
        ("192.168.57.0/24", ["192.168.58.0/23", "fd00::/64"], "192.168.60.0/24"),
        ("192.168.255.0/24", [], "192.168.56.0/24"),
        ("255.255.255.0/24", [], "192.168.56.0/24"),
        ("10.243.0.0/16", ["10.244.0.0/16"], "10.245.0.0/16"),
        ("10.0.0.0/8", [], "another one"),
        ("192.168.56.0/24", ["192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8"], "another one"),
    ],
)
def test_a_network_that_is_proposed_is_free_and_apart_from_the_pages_others(
    cidr: str, used: list[str], free: str
) -> None:
    assert free_network(cidr, used) == free
