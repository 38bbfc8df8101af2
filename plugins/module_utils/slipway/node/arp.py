"""Ask a network by ARP who has which address.

Runs on the nodes (stdlib only). What is asked is a probe in the sense of RFC 5227: its sender has no address, so nobody
takes it into a neighbour table.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from .state import read

ETHERNET_ARP = 0x0806
BROADCAST = b"\xff" * 6
NOBODY = b"\x00" * 6
REQUEST, REPLY = 1, 2
# hardware type Ethernet, protocol IPv4, lengths 6 and 4; operation; sender's and target's hardware and IPv4 address
PACKET = struct.Struct("!6s6sHHHBBH6s4s6s4s")
# A range is asked for its first addresses only beyond this many: a frame each, twice.
MOST = 4096
# Some are lost, and a machine that is busy may not see the first one in time.
ROUNDS = 2
# Seconds to listen.
SECONDS = 0.6
# Seconds for reading what came in time; on a network that never falls silent there is always more.
LATE = 5


def each(ranges: Iterable[str]) -> Iterator[str]:
    """Give the addresses of ``first-last`` ranges and networks, at most ``MOST``; ``ValueError`` for other texts."""

    def numbers() -> Iterator[str]:
        for text in ranges:
            first, dash, last = (part.strip() for part in text.partition("-"))
            if dash:
                start, end = int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last))
            else:
                network = ipaddress.IPv4Network(first)
                start, end = int(network[0]), int(network[-1])
            yield from (str(ipaddress.IPv4Address(number)) for number in range(start, end + 1))

    return islice(numbers(), MOST)


def request(mac: bytes, address: str) -> bytes:
    """Write the frame by which the interface with ``mac`` asks everybody for ``address``."""
    target = ipaddress.IPv4Address(address).packed
    return PACKET.pack(BROADCAST, mac, ETHERNET_ARP, 1, 0x0800, 6, 4, REQUEST, mac, b"\x00" * 4, NOBODY, target)


def answer(frame: bytes) -> tuple[str, str] | None:
    """Read who answers in a frame: address and MAC; None when it is no answer to an ARP request."""
    if len(frame) < PACKET.size:
        return None
    _, _, kind, hardware, protocol, _, _, operation, sender, address, _, _ = PACKET.unpack_from(frame)
    if (kind, hardware, protocol, operation) != (ETHERNET_ARP, 1, 0x0800, REPLY):
        return None
    return str(ipaddress.IPv4Address(address)), sender.hex(":")


def ask(interface: str, addresses: Iterable[str], seconds: float) -> dict[str, list[str]]:
    """Ask for ``addresses`` on ``interface``: who answered within ``seconds``, MACs by address.

    Needs CAP_NET_RAW; ``OSError`` when the interface is not there or may not be used.
    """
    wanted = list(dict.fromkeys(addresses))
    found: dict[str, set[str]] = {}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERNET_ARP)) as wire:
        wire.bind((interface, ETHERNET_ARP))
        mac: bytes = wire.getsockname()[4]
        for _ in range(ROUNDS):
            for address in wanted:
                wire.send(request(mac, address))
            _listen(wire, time.monotonic() + seconds / ROUNDS, set(wanted), found)
    return {address: sorted(macs) for address, macs in sorted(found.items())}


def strangers_at(
    interface: str, ranges: Iterable[str], members: Sequence[str], seconds: float = SECONDS
) -> dict[str, list[str]]:
    """Ask on ``interface`` for every address of ``ranges``: who answers and is none of ``members``, MACs by address.

    ``OSError`` or ``ValueError`` when that cannot be asked.
    """
    answers = ask(interface, [*members, *each(ranges)], seconds)
    return strangers(answers, members, [read(f"/sys/class/net/{interface}/address").strip()])


def _listen(wire: socket.socket, until: float, wanted: set[str], found: dict[str, set[str]]) -> None:
    """Read answers until then, and what has come by then: a busy machine may let us look late."""
    while select.select([wire], [], [], max(0.0, until - time.monotonic()))[0]:
        told = answer(wire.recv(2048))
        if told and told[0] in wanted:
            found.setdefault(told[0], set()).add(told[1])
        if time.monotonic() > until + LATE:
            return


def conflict(found: Mapping[str, Iterable[str]]) -> str:
    """Say what strangers mean for addresses that are to be handed out."""
    who = "\n".join(f"{address} is answered by {', '.join(macs)}" for address, macs in found.items())
    return (
        f"{who}\nThat is no machine of this cluster, so MetalLB cannot hand these addresses out. Leave them out of "
        "cluster_metallb_addresses in group_vars/all/cluster.yml, or shut that machine down."
    )


def strangers(
    answers: Mapping[str, Iterable[str]], members: Iterable[str], own: Iterable[str] = ()
) -> dict[str, list[str]]:
    """Keep the answers for addresses of others that came from none of the machines ``members``.

    ``own`` are MACs of the machine that asked, which does not answer itself. Where a machine of ours answers for an
    address that it does not have, a speaker of MetalLB is at work.
    """
    ours = {mac for member in members for mac in answers.get(member, ())} | set(own)
    foreign = {address: sorted(set(macs) - ours) for address, macs in answers.items() if address not in set(members)}
    return {address: macs for address, macs in foreign.items() if macs}
