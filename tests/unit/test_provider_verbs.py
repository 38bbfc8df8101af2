"""What the Vagrantfile and make call of the provider: preparing, looking, stopping, removing; Docker is a stand-in."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.errors import SlipwayError
from slipway.lab import computer, container, daemons, docker, libvirt, obstacles, provider, purge, sizes
from slipway.lab.daemons import DAEMONS
from slipway.lab.docker import Thing
from slipway.lab.libvirt import EMULATED, Driver
from slipway.lab.obstacles import Findings, Seen

from tests.support.errors import refused
from tests.unit.test_provider import Docker, make_plan, record

INFO = {"ServerVersion": "27.0", "NCPU": 2, "MemoryLimit": True, "CpuCfsQuota": True}
NETWORK = {
    "Name": "sun",
    "Id": "n1",
    "Labels": {"io.slipway.cluster": "sun", "io.slipway.vagrant": "/v"},
    "IPAM": {"Config": [{"Subnet": "192.168.57.0/24"}, {}]},
}
BRIDGE = {"Name": "bridge", "Id": "n0", "Labels": None, "IPAM": {"Config": None}}


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    """A plan with folders of the test; tests make other plans of it."""
    return {**make_plan(str(tmp_path / "vagrant")), "cache": str(tmp_path / "cache"), "state": str(tmp_path / "state")}


def of(plan: Any, kind: str) -> Any:
    """The same plan with another provider."""
    return {**plan, "provider": kind}


def verb(name: str, plan: Any, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(plan)))
    return provider.main([name, *more])


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
    assert provider.prepare(of(plan, "virtualbox"), Path(), lambda _: None) == {"arguments": {}, "libvirt": None}
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
    monkeypatch.setattr(provider, "taken_in", lambda box: box == "known")
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


# --- sizes


def sized(plan: Any, provider_name: str = "docker") -> Any:
    """The plan, whose machines Vagrant has under ids like c-ctrl."""
    for machine in plan["machines"]:
        place = Path(plan["vagrant"], "machines", machine["name"], provider_name)
        place.mkdir(parents=True)
        (place / "id").write_text(f"c-{machine['name']}")
    return of(plan, provider_name)


def answers(monkeypatch: pytest.MonkeyPatch, **by_program: list[str]) -> list[str]:
    """Have programs answer with lines, by the word that tells the call; gives what was asked."""
    asked: list[str] = []

    def lines(*command: str) -> list[str]:
        asked.append(" ".join(command))
        return next((found for word, found in by_program.items() if word in command), [])

    monkeypatch.setattr(computer, "lines", lines)
    host = container.Host(bounding=0, server="27", cpus=4, limits_memory=True, limits_cpus=True)
    monkeypatch.setattr(container, "this_host", lambda: host)
    return asked


def test_container_nodes_get_the_size_of_the_page_while_they_run(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Docker(monkeypatch, {})
    inspected = [f"c-mirror-1 {1024 << 20} {2 * 10**9}", f"c-ctrl {512 << 20} {2 * 10**9}", f"c-node-1 {1024 << 20} 0"]
    answers(monkeypatch, inspect=inspected, exec=[f"anon {100 << 20}"])
    plan = sized(plan)
    assert sizes.wrong_sizes(plan) == {
        "ctrl": ["memory of ctrl is 512 MiB and the page says 1024 MiB"],
        "node-1": ["cpus of node-1 is 4 and the page says 2"],
    }
    told = sizes.resize(plan)
    assert docker.asked == [
        "update --memory=1024m --memory-swap=1024m sun-ctrl",
        "update --cpus=2 sun-node-1",
    ]
    assert told[0] == "memory of ctrl is 512 MiB and the page says 1024 MiB: it has that now"


def test_a_container_node_that_uses_more_than_that_keeps_its_size(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Docker(monkeypatch, {})
    answers(monkeypatch, inspect=[f"c-ctrl {2048 << 20} {2 * 10**9}"], exec=["file 7", f"anon {1000 << 20}"])
    (left,) = sizes.resize(sized(plan))
    assert left == (
        "memory of ctrl is 2048 MiB and the page says 1024 MiB, but 1000 MiB are in use there: "
        "take pods off ctrl first (kubectl drain ctrl)"
    )
    assert docker.asked == []


def test_where_docker_cannot_limit_nothing_is_said(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, inspect=["c-ctrl 0 0"])
    host = container.Host(bounding=0, server="27", cpus=4, limits_memory=False, limits_cpus=False)
    monkeypatch.setattr(container, "this_host", lambda: host)
    assert sizes.wrong_sizes(sized(plan)) == {}


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


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("virtualbox", {"showvminfo": ['name="sun-ctrl"', "memory=1024", "cpus=3"]}),
        ("libvirt", {"dominfo": ["CPU(s):         3", "Max memory:     1048576 KiB", "Used memory:    7 KiB"]}),
    ],
)
def test_of_virtual_machines_it_is_said_what_restarts_them(
    name: str, lines: dict[str, list[str]], plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch, **lines)
    left = sizes.resize(sized(plan, name))
    assert left[0] == (
        "cpus of mirror-1 is 3 and the page says 2: `vagrant reload --no-provision mirror-1` restarts it with that"
    )
    assert len(left) == 3
    assert "c-mirror-1" in asked[0]


def test_sizes_are_given_by_a_verb(
    plan: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, inspect=[f"c-ctrl {2048 << 20} {2 * 10**9}"], exec=[f"anon {2000 << 20}"])
    assert verb("resize", sized(plan), monkeypatch) == 0
    assert "2000 MiB are in use there" in capsys.readouterr().out


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


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like Docker's, noted as the one that setup started."""
    (tmp_path / "state").mkdir()
    with subprocess.Popen(["bash", "-c", "exec -a dockerd sleep 60"]) as process:
        until = time.monotonic() + 20
        while b"dockerd" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            assert time.monotonic() < until, "bash did not become a process named dockerd"
            time.sleep(0.01)
        (tmp_path / "state/dockerd.pid").write_text(f"{process.pid}\n")
        # Nobody but the test is there to bury it.
        reaper = threading.Thread(target=process.wait)
        reaper.start()
        yield process
        process.kill()
        reaper.join()


def test_the_docker_that_setup_started_is_stopped(
    plan: Any, dockerd: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Docker(monkeypatch, {"ps": ""})
    real = subprocess.run

    def run(command: list[str], **more: Any) -> Any:
        return real(command[2:] if command[:2] == ["sudo", "--non-interactive"] else command, **more)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert verb("stop-daemon", plan, monkeypatch) == 0
    assert "stopping Docker" in capsys.readouterr().err
    assert not Path(plan["state"], "dockerd.pid").exists()
    # It is gone for the verb from its end on, for the test once it is buried.
    assert dockerd.wait(20) == -signal.SIGTERM


def test_a_docker_that_sudo_may_not_stop_is_told_with_the_command_for_it(
    plan: Any, dockerd: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Docker(monkeypatch, {"ps": ""})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    asked = sudo_asks(monkeypatch)
    assert verb("stop-daemon", plan, monkeypatch) == 1
    said = capsys.readouterr().err
    assert said.endswith(
        f"a password is required [not-removed]\nStop it yourself, then run this again: {typed(dockerd.pid)}\n"
    )
    assert asked == [["sudo", "--non-interactive", "sh", "-c", f"kill {dockerd.pid}"]]
    assert Path(plan["state"], "dockerd.pid").exists()


def test_the_libvirt_that_setup_started_is_stopped_unless_a_machine_runs_in_it(
    plan: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[int] = []
    alive = {"11": "libvirtd", "12": "virtlogd"}
    monkeypatch.setattr(daemons, "is_program", lambda pid, program: alive.get(pid) == program)
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def kill(pid: int, _signal: int) -> None:
        ended.append(pid)
        del alive[str(pid)]

    monkeypatch.setattr(os, "kill", kill)
    domains = ["moon-ctrl"]
    monkeypatch.setitem(DAEMONS, "libvirt", dataclasses.replace(DAEMONS["libvirt"], users=lambda: domains))
    state = Path(plan["state"])
    state.mkdir()
    for pid, name in alive.items():
        (state / f"{name}.pid").write_text(f"{pid}\n")
    assert verb("stop-daemon", of(plan, "libvirt"), monkeypatch) == 0
    assert "libvirt keeps running for moon-ctrl" in capsys.readouterr().err
    assert ended == []
    domains.clear()
    assert verb("stop-daemon", of(plan, "libvirt"), monkeypatch) == 0
    assert "stopping libvirt, which `make setup` started" in capsys.readouterr().err
    assert ended == [11, 12]
    assert list(state.iterdir()) == []
    assert verb("stop-daemon", of(plan, "virtualbox"), monkeypatch) == 0
    assert capsys.readouterr().err == ""


def typed(pid: int) -> str:
    return f"sudo sh -c 'kill {pid}'"


def sudo_asks(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stand in for the sudo of somebody who has to type a password; gives what it was called with."""
    asked: list[list[str]] = []

    def run(command: list[str], *, check: bool, **_: Any) -> subprocess.CompletedProcess[str]:
        if command[0] != "sudo":
            names = command[command.index("remove") + 1 :]
            return subprocess.CompletedProcess(command, 0, "".join(f"Remv {name} [1.0]\n" for name in names), "")
        asked.append(command)
        if check:
            raise subprocess.CalledProcessError(1, command)
        return subprocess.CompletedProcess(command, 1, "", "sudo: a password is required\n")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_a_docker_that_does_not_stop_is_told_and_stays_noted(
    plan: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Docker(monkeypatch, {})
    Path(plan["state"]).mkdir()
    Path(plan["state"], "dockerd.pid").write_text("77")
    monkeypatch.setattr(daemons, "is_program", lambda *_: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "kill", lambda *_: None)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert verb("stop-daemon", plan, monkeypatch) == 1
    assert capsys.readouterr().err.endswith("Docker (process 77) did not stop within 15 s. [not-removed]\n")
    assert Path(plan["state"], "dockerd.pid").exists()


# --- what purge asks Docker and apt -------------------------------------------------------------------------


def purging(name: str, plan: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.delenv("SLIPWAY_CACHE", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(plan)))
    return purge.main([name])


@pytest.fixture
def left(plan: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    # Not the boxes of whoever runs the tests.
    monkeypatch.setenv("VAGRANT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(libvirt, "unused_copies", list)
    Path(plan["cache"]).mkdir()
    Path(plan["state"]).mkdir()
    Path(plan["state"], "packages").write_text("vagrant\nuidmap\n")
    return plan


def programs(monkeypatch: pytest.MonkeyPatch, code: int = 0) -> list[list[str]]:
    """Stand in for apt, which would take along just what it is asked for; gives what it was called with."""
    called: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        called.append(command)
        names = command[command.index("remove") + 1 :]
        told = "".join(f"Remv {name} [1.0]\n" for name in names)
        return subprocess.CompletedProcess(command, code, told, "E: dpkg was interrupted\n")

    monkeypatch.setattr(subprocess, "run", run)
    return called


def test_purge_names_folders_images_and_packages(
    left: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs(monkeypatch)
    monkeypatch.setattr(docker, "is_there", lambda: True)
    monkeypatch.setattr(docker, "run", lambda *_: "slipway-node:1\nslipway-node:2\n")
    assert purging("list", left, monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"  {left['cache']}  (")
    assert lines[2:] == [
        "  the image slipway-node:1",
        "  the image slipway-node:2",
        "  the Debian packages that setup installed: uidmap vagrant",
    ]


def test_an_image_that_another_clusters_machines_use_stays(
    left: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> str:
        if arguments == ("rmi", "slipway-node:2"):
            raise SlipwayError("program-failed", "image is being used")
        return "slipway-node:1\nslipway-node:2\n"

    monkeypatch.setattr(docker, "is_there", lambda: True)
    monkeypatch.setattr(docker, "run", run)
    assert purging("images", left, monkeypatch) == 0
    assert capsys.readouterr().err.splitlines() == [
        "slipway: removing the image slipway-node:1",
        "slipway: the image slipway-node:2 stays: the machines of another cluster use it",
    ]


def test_without_docker_there_are_no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "is_there", lambda: False)
    assert purge.images() == []


def test_boxes_that_were_built_go_from_vagrant_and_libvirt(
    left: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    boxes = [f"slipway-debian-{release}-libvirt-0123456789ab" for release in (12, 13)]
    for name in (*boxes, "bento-VAGRANTSLASH-x"):
        (tmp_path / "home/boxes" / name).mkdir(parents=True)
    monkeypatch.setattr(docker, "is_there", lambda: False)
    removed: list[str] = []
    monkeypatch.setattr(libvirt, "unused_copies", lambda: ["copy.img"])
    monkeypatch.setattr(libvirt, "remove_copy", removed.append)

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert "--force" not in command
        return subprocess.CompletedProcess(command, int(command[-1] == boxes[1]), "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert purging("images", left, monkeypatch) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"slipway: removing the Vagrant box {boxes[0]}",
        f"slipway: the Vagrant box {boxes[1]} stays",
        "slipway: removing libvirt's copy of a box, copy.img",
    ]
    assert removed == ["copy.img"]


def test_packages_go_before_the_list_of_them(
    left: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called = programs(monkeypatch)
    assert purging("rest", left, monkeypatch) == 0
    assert called[-1][-4:] == ["remove", "--yes", "uidmap", "vagrant"]
    assert "removing 2 Debian packages" in capsys.readouterr().err
    assert not Path(left["state"]).exists()


def test_packages_that_cannot_go_keep_the_list_of_them(
    left: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs(monkeypatch, code=100)
    assert purging("rest", left, monkeypatch) == 1
    assert "failed: [not-removed]\nE: dpkg was interrupted" in capsys.readouterr().err
    assert Path(left["state"], "packages").exists()


def test_where_sudo_asks_for_a_password_all_but_the_packages_and_their_list_goes(
    left: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    asked = sudo_asks(monkeypatch)
    Path(left["state"], "log").mkdir()
    Path(left["state"], "kubeconfig").touch()
    for _ in range(2):
        assert purging("rest", left, monkeypatch) == 1
        assert "yourself: sudo apt-get remove --yes uidmap vagrant\n" in capsys.readouterr().err
        assert asked.pop() == ["sudo", "--non-interactive", "apt-get", "remove", "--yes", "uidmap", "vagrant"]
        assert not Path(left["cache"]).exists()
        assert [path.name for path in Path(left["state"]).iterdir()] == ["packages"]
    programs(monkeypatch)
    assert purging("rest", left, monkeypatch) == 0
    assert not Path(left["state"]).exists()


def test_a_file_in_a_cache_elsewhere_goes_too(left: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(left["cache"], "bundles.lock").touch()
    monkeypatch.setenv("SLIPWAY_CACHE", left["cache"])
    Path(left["state"], "packages").unlink()
    purge.remove_rest(left, lambda _: None)
    assert list(Path(left["cache"]).iterdir()) == []
