"""Whether machines reach each other's ports, before anything listens there that belongs to the cluster.

Runs on the nodes (stdlib only). A port is written ``number/protocol``, as ``10250/tcp``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from .pod_network import USED

# That of the pods' packets.
POD_PORT = USED["port"]
# What nodes ask of each other: the API, kubelets, and the pods' packets.
PORTS = {"controller": ("6443/tcp", "10250/tcp", POD_PORT), "worker": ("10250/tcp", POD_PORT)}
# The kernel keeps the port for it, also when `kubeadm reset` has run.
POD_LINK = f"/sys/class/net/{USED['link']}"
# Held by whoever listens; its number stands in it.
LISTENER = "/run/slipway-ports"
# Seconds for one try, and how many there are.
_ANSWER, _TRIES = 1.0, 3
_AT_ONCE = 16
_WORD = b"slipway"

Open = dict[str, socket.socket]


def bind(address: str, ports: Iterable[str]) -> tuple[Open, list[str]]:
    """Open ports on an address: those that could be, and those that another program has. Raises OSError."""
    opened: Open = {}
    taken: list[str] = []
    for port in ports:
        number, _, protocol = port.partition("/")
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        listener = socket.socket(socket.AF_INET, kind)
        try:
            if kind == socket.SOCK_STREAM:
                # What is left of a connection is nobody's any more.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, int(number)))
            if kind == socket.SOCK_STREAM:
                listener.listen(128)
        except OSError as exc:
            listener.close()
            if exc.errno != errno.EADDRINUSE:
                raise
            # A pod network of before has left its link, and takes that up again.
            if port != POD_PORT or not os.path.exists(POD_LINK):
                taken.append(port)
        else:
            listener.setblocking(False)
            opened[port] = listener
    return opened, taken


def answer(opened: Open, askers: int, seconds: float) -> None:
    """Answer on open ports until ``askers`` addresses have asked on each of them, or time is up; then close them."""
    until = time.monotonic() + seconds
    seen: dict[str, set[str]] = {port: set() for port in opened}
    with selectors.DefaultSelector() as selector:
        for port, listener in opened.items():
            selector.register(listener, selectors.EVENT_READ, port)
        while any(len(who) < askers for who in seen.values()) and (left := until - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                with contextlib.suppress(OSError):
                    seen[key.data].add(_answered(opened[key.data]))
    for listener in opened.values():
        listener.close()


def _answered(listener: socket.socket) -> str:
    if listener.type == socket.SOCK_DGRAM:
        word, sender = listener.recvfrom(64)
        listener.sendto(word, sender)
        return str(sender[0])
    connection, sender = listener.accept()
    connection.close()
    return str(sender[0])


def end(path: str = LISTENER) -> None:
    """End a listener that is still there; kubeadm, and the next run, want its ports."""
    try:
        file = open(path, encoding="ascii")  # noqa: SIM115  closed below
    except OSError:
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            # Whoever holds the lock has written its number before.
            with contextlib.suppress(ProcessLookupError, ValueError):
                number = int(file.read())
                os.kill(number, signal.SIGKILL)
                _wait_for_the_end_of(number)
            fcntl.flock(file, fcntl.LOCK_SH)


def _wait_for_the_end_of(process: int, seconds: float = 5.0) -> None:
    """Wait until a process has nothing open any more: it is gone, or waits for somebody to bury it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
                state = file.read().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state in ("Z", "X"):
            return
        time.sleep(0.01)


def _held(path: str) -> IO[str]:
    """Write which process listens, into a file that it holds for as long as it lives."""
    file = open(path, "a+", encoding="ascii")  # noqa: SIM115  held to the end
    fcntl.flock(file, fcntl.LOCK_EX)
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def in_background(opened: Open, askers: int, seconds: float, path: str = LISTENER) -> None:
    """Answer in a process of its own, and come back at once."""
    if child := os.fork():
        os.waitpid(child, 0)
        for listener in opened.values():
            listener.close()
        return
    # This is the child: whoever waits for the end of its parent's output is not to wait for it.
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(nothing, standard)
        if not os.fork():
            _file = _held(path)
            answer(opened, askers, seconds)
    finally:
        os._exit(0)


def unreached(source: str, peers: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, str]]:
    """Ask machines from the address ``source``; give by name which ports do not answer, and how.

    ``peers`` is by name: ``address``, and ``ports``, a list.
    """
    asked = [(name, str(peer["address"]), port) for name, peer in peers.items() for port in _listed(peer["ports"])]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        faults = list(pool.map(lambda one: _fault(source, one[1], one[2]), asked))
    found: dict[str, dict[str, str]] = {}
    for (name, _, port), fault in zip(asked, faults, strict=True):
        if fault:
            found.setdefault(name, {})[port] = fault
    return found


def _listed(given: object) -> list[str]:
    return [str(one) for one in given] if isinstance(given, list) else []


def _fault(source: str, address: str, port: str) -> str:
    """Say why a port does not answer; empty: it does."""
    number, _, protocol = port.partition("/")
    fault = "no answer"
    for _ in range(_TRIES):
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as asking:
            asking.settimeout(_ANSWER)
            try:
                asking.bind((source, 0))
                asking.connect((address, int(number)))
                if kind == socket.SOCK_DGRAM:
                    asking.send(_WORD)
                    asking.recv(64)
            except TimeoutError:
                fault = "no answer"
            except OSError as exc:
                fault = (exc.strerror or str(exc)).lower()
                time.sleep(_ANSWER / 4)
            else:
                return ""
    return fault
