"""The provider looks, prepares, sweeps and removes as the Vagrantfile and make ask it to; Docker is a stand-in."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from slipway.errors import SlipwayError
from slipway.lab import computer, container, docker, obstacles, provider
from slipway.lab.docker import Thing
from slipway.lab.libvirt import EMULATED, Driver
from slipway.lab.obstacles import Findings, Seen

from tests.support.errors import refused
from tests.support.provider import INFO, Docker, of, plan_in, record, verb

NETWORK = {
    "Name": "sun",
    "Id": "n1",
    "Labels": {"io.slipway.cluster": "sun", "io.slipway.vagrant": "/v"},
    "IPAM": {"Config": [{"Subnet": "192.168.57.0/24"}, {}]},
}
BRIDGE = {"Name": "bridge", "Id": "n0", "Labels": None, "IPAM": {"Config": None}}


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    return plan_in(tmp_path)


# --- looking ------------------------------------------------------------------------------------------------


def test_a_look_brings_what_docker_and_vagrant_hold(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record(Path(plan["vagrant"]), ctrl="c1")
    Docker(
        monkeypatch,
        {
            "ps --all --no-trunc --filter=network=n1": "sun-ctrl\tc1\tsun\t/v\n",
            "ps": "sun-ctrl\tc1\tsun\t/v\nother\tc2\t\t\n",
            "volume ls": "sun-ctrl-var\tsun\t/v\n",
            "network ls": "n0\nn1\n",
            "network inspect": json.dumps([BRIDGE, NETWORK]),
        },
    )
    monkeypatch.setattr(obstacles, "interfaces", lambda _: [("eth0", "10.0.0.0/24")])
    seen = obstacles.look(plan)
    assert (seen.records, seen.interfaces) == ({"ctrl": "c1"}, [("eth0", "10.0.0.0/24")])
    assert {name: (thing.id, thing.owner) for name, thing in seen.containers.items()} == {
        "sun-ctrl": ("c1", "/v"),
        "other": ("c2", ""),
    }
    assert list(seen.volumes) == ["sun-ctrl-var"]
    ours, theirs = seen.networks["sun"], seen.networks["bridge"]
    assert (ours.subnets, ours.attached, ours.owner) == (("192.168.57.0/24",), 1, "/v")
    assert (theirs.subnets, theirs.attached) == ((), 0)


def test_where_there_is_no_docker_it_is_not_asked(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Docker(monkeypatch, {}).asked
    monkeypatch.setattr(obstacles, "interfaces", lambda _: [])
    assert obstacles.look(of(plan, "libvirt")).containers == {}
    assert asked == []


def test_a_computer_without_ip_reaches_nothing_that_we_know_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert list(obstacles.interfaces("docker")) == []


@pytest.mark.parametrize(("greeting", "somebody"), [(b"SSH-2.0-x\r\n", True), (b"HTTP", False), (None, False)])
def test_only_an_ssh_servers_greeting_is_an_answer(greeting: bytes | None, somebody: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(greeting or b"")

        thread = threading.Thread(target=greet)
        thread.start()
        real = socket.create_connection
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "create_connection", lambda _where, timeout: real(("127.0.0.1", port), timeout))
            assert obstacles._answers("192.0.2.1") is somebody  # noqa: SLF001 - the rest of answering() has a test
        thread.join()


@pytest.mark.parametrize(
    ("said", "there"), [(json.dumps(INFO), True), (json.dumps({"ServerErrors": ["no daemon"]}), False), (None, False)]
)
def test_docker_is_there_when_its_server_answers(
    said: str | None, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: str) -> str:
        if said is None:
            raise SlipwayError("program-missing", "Docker's client is not installed; run `make setup`.")
        return said

    monkeypatch.setattr(docker, "run", run)
    assert docker.is_there() is there


def test_what_this_computer_can_do_is_docker_and_linux_together(monkeypatch: pytest.MonkeyPatch) -> None:
    Docker(monkeypatch, {"info": json.dumps(INFO)})
    host = container.this_host()
    assert (host.server, host.cpus, host.limits_memory, host.limits_cpus) == ("27.0", 2, True, True)
    assert host.bounding > 0
    Docker(monkeypatch, {"info": json.dumps({"ServerErrors": ["no daemon"]})})
    with refused("docker-silent: (no daemon); run `make setup`"):
        container.this_host()


@pytest.mark.parametrize(
    ("texts", "given"),
    [
        (["nameserver 127.0.0.53\n", "nameserver 10.0.0.3\n"], ("10.0.0.3",)),
        # Not the ones that no machine can ask, and no more than a resolver reads.
        (["nameserver 0.0.0.0\nnameserver 10.0.0.1 # home\n", ""], ("10.0.0.1",)),
        (["".join(f"nameserver 10.0.0.{n}\n" for n in range(1, 6))], ("10.0.0.1", "10.0.0.2", "10.0.0.3")),
        (["nameserver 127.0.0.1\n"], ()),
    ],
)
def test_container_nodes_ask_the_name_servers_that_pods_can_use(
    texts: list[str], given: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / str(number) for number, _ in enumerate(texts)]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    monkeypatch.setattr(computer, "RESOLVERS", (*map(str, files), str(tmp_path / "none")))
    Docker(monkeypatch, {"info": json.dumps(INFO)})
    assert container.this_host().resolvers == given


@pytest.mark.parametrize("known", [(), ("ctrl", "mirror_1"), ("ctrl", "mirror_1", "node_1")])
def test_of_virtual_machines_vagrant_says_which_run(
    known: tuple[str, ...], plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in known:
        place = Path(plan["vagrant"], "machines", name.replace("_", "-"), "libvirt")
        place.mkdir(parents=True)
        (place / "id").write_text("1")
    lines = ["1,ctrl,state,running", "1,mirror-1,state,shutoff", "1,node-1,state,running", "1,,ui,info"]
    monkeypatch.setattr(computer, "lines", lambda *_: lines)
    names = [machine["name"] for machine in plan["machines"]]
    expected = ["mirror-1"] if len(known) == 3 else [name for name in names if name.replace("-", "_") not in known]
    assert provider.missing(of(plan, "libvirt")) == expected


# --- preparing ----------------------------------------------------------------------------------------------


@pytest.fixture
def ready(plan: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Docker, Seen]:
    docker, seen = Docker(monkeypatch, {"info": json.dumps(INFO)}), Seen()
    monkeypatch.setattr(provider, "look", lambda _: seen)
    monkeypatch.setattr(provider, "answering", lambda *_: [])
    monkeypatch.setattr(provider, "ensure_node_image", lambda *_: "slipway-node:1")
    return plan, docker, seen


def test_preparing_makes_the_network_and_gives_each_machine_its_arguments(
    ready: tuple[Any, Docker, Seen], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, docker, _ = ready
    assert verb("prepare", plan, monkeypatch) == 0
    made = json.loads(capsys.readouterr().out)["arguments"]
    assert list(made) == [machine["name"] for machine in plan["machines"]]
    assert all(isinstance(word, str) for words in made.values() for word in words)
    (created,) = [words for words in docker.asked if words.startswith("network create")]
    assert "--subnet=192.168.57.0/24" in created
    assert created.endswith(" sun")
    assert Path(plan["cache"], "bundles").is_dir()


def test_each_system_of_a_machine_gets_its_image_once(
    ready: tuple[Any, Docker, Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _, _ = ready
    made: list[str] = []
    monkeypatch.setattr(provider, "ensure_node_image", lambda *arguments: made.append(arguments[-1]))
    plan["machines"][-1]["system"] = "debian-13"
    provider.prepare(plan, Path(), lambda _: None)
    assert made == ["debian-12", "debian-13"]


def test_a_network_that_is_there_is_kept_and_machines_outside_are_put_in(ready: tuple[Any, Docker, Seen]) -> None:
    plan, docker, seen = ready
    seen.networks["sun"] = Thing("sun", "sun", plan["vagrant"], subnets=("192.168.57.0/24",))
    seen.records["ctrl"] = "c1"
    seen.containers["sun-ctrl"] = Thing("sun-ctrl", "sun", plan["vagrant"], id="c1")
    docker.answers |= {"ps --no-trunc --quiet --filter=network=sun": "", "ps --no-trunc --quiet": "c1\n"}
    provider.prepare(plan, Path(), lambda _: None)
    assert [words for words in docker.asked if words.startswith("network")] == [
        "network connect --ip=192.168.57.100 sun c1"
    ]


def test_what_stands_in_the_way_ends_it_before_anything_is_made(
    ready: tuple[Any, Docker, Seen], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, docker, _ = ready
    taken = SlipwayError("network-in-use", "192.168.57.0/24 is taken")
    answers = SlipwayError("address-answers", "192.168.57.100 answers already")
    monkeypatch.setattr(provider, "judge", lambda *_: Findings(refusals=[taken]))
    monkeypatch.setattr(provider, "answering", lambda *_: [answers])
    assert verb("prepare", plan, monkeypatch) == 1
    assert capsys.readouterr().err == (
        "192.168.57.0/24 is taken [network-in-use]\n192.168.57.100 answers already [address-answers]\n"
    )
    assert docker.asked == []


def test_virtual_machines_need_nothing_of_docker(ready: tuple[Any, Docker, Seen]) -> None:
    plan, docker, _ = ready
    assert provider.prepare(of(plan, "virtualbox"), Path(), lambda _: None) == {
        "arguments": {},
        "images": {},
        "libvirt": None,
    }
    assert docker.asked == []


def test_boxes_that_are_built_are_made_and_one_is_booted_for_libvirt(
    ready: tuple[Any, Docker, Seen], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = of(ready[0], "libvirt")
    made: list[Any] = []
    booted: list[Any] = []
    monkeypatch.setattr(provider, "ensure_box", lambda _root, _cache, *which: made.append(which[:2]))

    def driver(_state: Path, _say: object, kernel: Path | None, *, machines: bool) -> Driver:
        assert not machines
        booted.append(kernel)
        return EMULATED

    monkeypatch.setattr(provider, "driver", driver)
    monkeypatch.setattr(provider, "in_the_way", lambda *_: [])
    monkeypatch.setattr(provider, "clear_half_made", lambda *_: None)
    monkeypatch.setattr(provider, "taken_in", lambda box, *_: box == "known")
    assert provider.prepare(plan, Path(), lambda _: None)["libvirt"] == EMULATED
    for machine, system in zip(plan["machines"], ("debian-12", "debian-13", "debian-12"), strict=False):
        machine |= {"system": system, "box_file": f"{tmp_path}/{system}.box"}
    assert provider.prepare(plan, Path(), lambda _: None)["libvirt"] == EMULATED
    assert made == [("debian-12", "libvirt"), ("debian-13", "libvirt")]
    assert booted == [None, tmp_path / "debian-12.kernel"]


# --- the other verbs ----------------------------------------------------------------------------------------


def test_missing_machines_are_printed_for_make(
    plan: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Docker(monkeypatch, {})
    assert verb("missing", plan, monkeypatch) == 0
    assert json.loads(capsys.readouterr().out) == {"missing": ["mirror-1", "ctrl", "node-1"], "sizes": {}}


def test_a_cluster_whose_controllers_are_destroyed_may_be_founded_otherwise(
    plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Docker(monkeypatch, {"info": json.dumps(INFO)})
    kept = Path(plan["state"], "founded.json")
    kept.parent.mkdir()
    kept.touch()
    record(Path(plan["vagrant"]), ctrl="c1")
    assert verb("sweep", plan, monkeypatch) == 0
    assert kept.exists()
    (Path(plan["vagrant"]) / "machines/ctrl/docker/id").unlink()
    assert verb("sweep", plan, monkeypatch) == 0
    assert not kept.exists()


def test_a_container_that_has_ended_is_told_with_its_last_words(
    plan: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Docker(monkeypatch, {"ps --all": "sun-node-1\nsun-away\n", "inspect": "255\n"})
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho Welcome\necho 'Failed to allocate manager object' >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert verb("fallen", plan, monkeypatch) == 0
    words = "Welcome / Failed to allocate manager object"
    assert capsys.readouterr().out == f"node-1 has ended with 255 (docker logs sun-node-1): {words}\n"
    assert verb("fallen", of(plan, "libvirt"), monkeypatch) == 0
    assert capsys.readouterr().out == "\n"


@pytest.mark.parametrize(
    ("name", "asked"),
    [("remove", "--filter=label=io.slipway.vagrant="), ("sweep", "--filter=label=io.slipway.vagrant=")],
)
def test_a_verb_asks_only_for_what_is_ours(name: str, asked: str, plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Docker(monkeypatch, {"info": json.dumps(INFO)})
    assert verb(name, plan, monkeypatch) == 0
    listing = [words for words in docker.asked if words.startswith(("ps", "volume ls", "network ls"))]
    assert len(listing) >= 3
    assert all(asked + plan["vagrant"] in words for words in listing)


def test_without_docker_there_is_nothing_to_remove(
    plan: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docker = Docker(monkeypatch, {"info": json.dumps({"ServerErrors": ["no daemon"]})})
    assert verb("remove", plan, monkeypatch) == 0
    assert "nothing of this cluster to remove" in capsys.readouterr().err
    assert [words for words in docker.asked if not words.startswith("info")] == []


def test_for_virtual_machines_docker_is_left_alone(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Docker(monkeypatch, {})
    for name in ("sweep", "remove", "stop-daemon"):
        assert verb(name, of(plan, "libvirt"), monkeypatch) == 0
    assert docker.asked == []


def test_a_cluster_can_be_removed_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Docker(monkeypatch, {})
    monkeypatch.setattr(sys, "stdin", None)
    assert provider.main(["remove", "--cluster", "slipway-test-1"]) == 0
    assert all("--filter=label=io.slipway.cluster=slipway-test-1" in words for words in docker.asked)
