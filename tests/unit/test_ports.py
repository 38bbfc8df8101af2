"""Machines ask each other's ports before anything of the cluster listens there."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from slipway.node import ports
from slipway.node.ports import answer, bind, in_background, unreached

HERE, OTHER = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two ports that nobody has, one of each protocol."""
    monkeypatch.setattr(ports, "_ANSWER", 0.5)
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        stream.bind((HERE, 0))
        datagrams.bind((HERE, 0))
        return [f"{stream.getsockname()[1]}/tcp", f"{datagrams.getsockname()[1]}/udp"]


def test_ports_that_are_open_answer_until_everybody_has_asked(free: list[str]) -> None:
    opened, taken = bind(HERE, free)
    assert (list(opened), taken) == (free, [])
    answering = threading.Thread(target=answer, args=(opened, 2, 20))
    answering.start()
    peers = {"ctrl": {"address": HERE, "ports": free}}
    assert unreached(OTHER, peers) == {}
    assert answering.is_alive()
    assert unreached(HERE, peers) == {}
    answering.join(5)
    assert not answering.is_alive()
    # They are free again at once, for what is to have them.
    again, taken = bind(HERE, free)
    assert taken == []
    answer(again, 1, 0)


def test_a_port_that_does_not_answer_is_named_with_how(free: list[str]) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind((HERE, 0))
        port = f"{silent.getsockname()[1]}/udp"
        found = unreached(
            HERE, {"ctrl": {"address": HERE, "ports": [free[0], port]}, "none": {"address": HERE, "ports": []}}
        )
    assert found == {"ctrl": {free[0]: "connection refused", port: "no answer"}}


def test_a_port_that_another_program_has_is_told_apart(free: list[str]) -> None:
    with ExitStack() as stack:
        for port in free:
            number, _, protocol = port.partition("/")
            kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
            other = stack.enter_context(socket.socket(socket.AF_INET, kind))
            other.bind((HERE, int(number)))
            if protocol == "tcp":
                other.listen()
        assert bind(HERE, free) == ({}, free)
    with pytest.raises(OSError, match="assign"):
        bind("192.0.2.1", free)


def test_a_listener_of_the_run_before_is_ended(free: list[str], tmp_path: Path) -> None:
    place = str(tmp_path / "listener")
    ports.end(place)
    in_background(bind(HERE, free)[0], 9, 60, place)
    until = time.monotonic() + 20
    while not Path(place).exists() or not Path(place).read_text():
        assert time.monotonic() < until, "the listener did not write its number"
        time.sleep(0.01)
    assert bind(HERE, free) == ({}, free)
    ports.end(place)
    opened, taken = bind(HERE, free)
    assert (list(opened), taken) == (free, [])
    answer(opened, 1, 0)
    # Nobody holds the file any more: whoever has that number now is left alone.
    Path(place).write_text(str(os.getpid()))
    ports.end(place)


def test_the_port_of_a_flannel_of_before_is_not_taken(
    free: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = next(one for one in free if one.endswith("udp"))
    monkeypatch.setattr(ports, "POD_PORT", port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((HERE, int(port.partition("/")[0])))
        monkeypatch.setattr(ports, "POD_LINK", str(tmp_path / "flannel.1"))
        assert bind(HERE, [port]) == ({}, [port])
        (tmp_path / "flannel.1").touch()
        assert bind(HERE, [port]) == ({}, [])


def test_whoever_opened_them_does_not_wait(free: list[str], tmp_path: Path) -> None:
    opened, _ = bind(HERE, free)
    began = time.monotonic()
    in_background(opened, 1, 20, str(tmp_path / "listener"))
    assert time.monotonic() - began < 1
    assert unreached(HERE, {"ctrl": {"address": HERE, "ports": free}}) == {}
