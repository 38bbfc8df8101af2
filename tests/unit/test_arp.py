"""Who has an address: frames, ranges, and whose answers count as ours."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from slipway.node.arp import MOST, ROUNDS, answer, ask, each, request, strangers

NODE, OTHER, PRINTER = "02:42:c0:a8:38:65", "02:42:c0:a8:38:66", "00:1b:a9:01:02:03"


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        (["192.0.2.9-192.0.2.11"], ["192.0.2.9", "192.0.2.10", "192.0.2.11"]),
        (["192.0.2.8/31", "192.0.2.90 - 192.0.2.90"], ["192.0.2.8", "192.0.2.9", "192.0.2.90"]),
        ([], []),
    ],
)
def test_each_address_of_a_range_is_asked_for(ranges: list[str], expected: list[str]) -> None:
    assert list(each(ranges)) == expected


def test_a_large_network_is_asked_for_its_first_addresses() -> None:
    asked = list(each(["10.0.0.0/8"]))
    assert (len(asked), asked[0], asked[-1]) == (MOST, "10.0.0.0", "10.0.15.255")


def test_a_request_is_a_probe_that_changes_nobodys_neighbours() -> None:
    frame = request(bytes.fromhex(NODE.replace(":", "")), "192.0.2.90")
    assert frame[:6] == b"\xff" * 6, "to everybody"
    assert frame[28:32] == b"\x00" * 4, "from nobody"
    assert frame[38:42] == bytes([192, 0, 2, 90])
    assert answer(frame) is None, "a question is no answer"


def reply(address: str, mac: str) -> bytes:
    """What a machine with ``mac`` sends back: a request turned around."""
    own = bytes.fromhex(mac.replace(":", ""))
    frame = bytearray(request(own, address))
    frame[20:22] = b"\x00\x02"
    frame[28:32] = frame[38:42]
    return bytes(frame)


def test_an_answer_tells_address_and_machine() -> None:
    assert answer(reply("192.0.2.90", PRINTER) + b"\x00" * 18) == ("192.0.2.90", PRINTER)


@pytest.mark.parametrize("frame", [b"", reply("192.0.2.90", PRINTER)[:41], b"\x00" * 60])
def test_what_is_no_answer_is_passed_over(frame: bytes) -> None:
    assert answer(frame) is None


MEMBERS = ["192.0.2.100", "192.0.2.101"]


@pytest.mark.parametrize(
    ("answers", "foreign"),
    [
        pytest.param({}, {}, id="nobody answers"),
        pytest.param({"192.0.2.101": [NODE]}, {}, id="only the nodes for themselves"),
        pytest.param({"192.0.2.101": [NODE], "192.0.2.90": [NODE]}, {}, id="MetalLB on a node that answered"),
        pytest.param({"192.0.2.90": [OTHER]}, {}, id="MetalLB on the node that asked"),
        pytest.param({"192.0.2.101": [NODE], "192.0.2.90": [PRINTER]}, {"192.0.2.90": [PRINTER]}, id="somebody else"),
        pytest.param({"192.0.2.101": [NODE], "192.0.2.90": [NODE, PRINTER]}, {"192.0.2.90": [PRINTER]}, id="both"),
        pytest.param({"192.0.2.90": [NODE]}, {"192.0.2.90": [NODE]}, id="a node of another cluster"),
    ],
)
def test_only_answers_of_strangers_are_in_the_way(answers: dict[str, list[str]], foreign: dict[str, list[str]]) -> None:
    assert strangers(answers, MEMBERS, [OTHER]) == foreign


class Wire(socket.socket):
    """The end of a network that a machine has: it has a MAC, and may be bound to the interface eth1 alone."""

    def bind(self, where: object) -> None:
        if where != ("eth1", 0x0806):
            raise OSError("No such device")

    def getsockname(self) -> tuple[object, ...]:
        return ("eth1", 0x0806, 0, 1, bytes.fromhex(OTHER.replace(":", "")))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A network with a printer that answers each request for its address; gives the frames that were sent."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sent: list[bytes] = []

    def printer() -> None:
        while frame := far.recv(2048):
            sent.append(frame)
            if frame == request(bytes.fromhex(OTHER.replace(":", "")), "192.0.2.90"):
                far.send(b"noise")
                far.send(reply("192.0.2.77", NODE))
                far.send(reply("192.0.2.90", PRINTER))

    listening = threading.Thread(target=printer)
    listening.start()
    real = socket.socket

    def opened(family: int, kind: int, protocol: int) -> socket.socket:
        assert (family, kind, socket.ntohs(protocol)) == (socket.AF_PACKET, socket.SOCK_RAW, 0x0806)
        return Wire(fileno=near.detach())

    monkeypatch.setattr(socket, "socket", opened)
    yield sent
    monkeypatch.setattr(socket, "socket", real)
    near.close()
    far.shutdown(socket.SHUT_RDWR)
    listening.join()
    far.close()


def test_each_address_is_asked_for_twice_and_answers_for_others_are_passed_over(network: list[bytes]) -> None:
    assert ask("eth1", ["192.0.2.90", "192.0.2.91", "192.0.2.90"], 0.2) == {"192.0.2.90": [PRINTER]}
    assert len(network) == 2 * ROUNDS


def test_an_interface_that_is_not_there_is_told(network: list[bytes]) -> None:
    with pytest.raises(OSError, match="No such device"):
        ask("eth9", ["192.0.2.90"], 0.2)
    assert network == []
