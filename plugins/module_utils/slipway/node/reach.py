"""Ask cluster DNS and pods on other nodes, from a node.

Runs on the nodes (stdlib only). Nothing is started for it: it asks what is there, and a pod that refuses a connection
has been reached as well as one that takes it.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

# Seconds for one answer. A datagram may be lost, so DNS is asked more than once in a look.
ANSWER = 1.5
TRIES = 2
PAUSE = 0.5
# More than a segment holds, so that a path that lets only small packets through is told from one that is whole.
LARGE = 4096
# Of DNS, and where CoreDNS serves more than a segment holds.
DNS = 53
DNS_METRICS = 9153
WORKERS = 16
RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}


class NoAnswerError(Exception):
    """What was asked did not answer; the text says how it failed."""


def query(name: str, number: int) -> bytes:
    """Write a DNS query for the A records of ``name`` (RFC 1035, 4.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def verdict(answer: bytes, number: int) -> str | None:
    """Read an answer to query ``number``: ``""`` it names an address, None it is of another query, else the fault."""
    if len(answer) < 12:
        return None
    got, flags, _, records, _, _ = struct.unpack("!6H", answer[:12])
    if got != number or not flags & 0x8000:
        return None
    code = flags & 0xF
    if code:
        return f"answers {RCODES.get(code, f'code {code}')}"
    return "" if records else "answers without an address"


def resolve(server: str, name: str, seconds: float = ANSWER, tries: int = TRIES) -> None:
    """Ask ``server`` (UDP port 53) for ``name``. Raises NoAnswerError, also where the answer is no address."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    for _ in range(tries):
        number = int.from_bytes(os.urandom(2), "big")
        end = time.monotonic() + seconds
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((server, DNS))
                sock.send(query(name, number))
                while (left := end - time.monotonic()) > 0:
                    sock.settimeout(left)
                    said = verdict(sock.recv(4096), number)
                    if said == "":
                        return
                    if said:
                        raise NoAnswerError(said)
        except TimeoutError:
            continue
        except OSError as exc:
            raise NoAnswerError(exc.strerror or str(exc)) from exc
    raise NoAnswerError("no answer")


def touch(address: str, port: int, seconds: float = ANSWER) -> None:
    """Reach ``address`` by TCP: connected or refused. Raises NoAnswerError."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except ConnectionRefusedError:
        return
    except TimeoutError:
        raise NoAnswerError("no answer") from None
    except OSError as exc:
        raise NoAnswerError(exc.strerror or str(exc)) from exc


def fetch(address: str, port: int, path: str, seconds: float = ANSWER) -> None:
    """Read ``LARGE`` bytes, or all there is, of an HTTP answer. Raises NoAnswerError."""
    end = time.monotonic() + seconds
    got = 0
    try:
        with socket.create_connection((address, port), timeout=seconds) as sock:
            sock.sendall(f"GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
            while got < LARGE and (left := end - time.monotonic()) > 0:
                sock.settimeout(left)
                part = sock.recv(LARGE)
                if not part:
                    return
                got += len(part)
    except ConnectionRefusedError:
        # The pod is reached; that it serves nothing large there is no fault of the network.
        return
    except TimeoutError:
        pass
    except OSError as exc:
        raise NoAnswerError(exc.strerror or str(exc)) from exc
    if got < LARGE:
        raise NoAnswerError("no answer" if not got else f"the answer stops after {got} bytes")


def questions(asked: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], None]]]:
    """Give what is to be asked, each under the name by which its answer is known.

    ``asked``: ``name`` to resolve, ``service`` (address of cluster DNS, empty for none), ``pods`` as mappings of
    ``name``, ``address``, ``port``, and ``dns`` (whether it is one of CoreDNS: then there are three answers, ``pod``,
    ``dns`` and ``large``).
    """
    if asked["service"]:
        yield "service", partial(resolve, asked["service"], asked["name"])
    for pod in asked["pods"]:
        name, address = pod["name"], pod["address"]
        yield f"pod {name}", partial(touch, address, pod["port"])
        if pod["dns"]:
            yield f"dns {name}", partial(resolve, address, asked["name"])
            yield f"large {name}", partial(fetch, address, DNS_METRICS, "/metrics")


def ask(asked: Mapping[str, Any], patience: float) -> dict[str, str]:
    """Ask all of it side by side; what does not answer is asked again for ``patience`` seconds.

    Returns the name of each question and ``""``, or how it failed the last time.
    """
    left = dict(questions(asked))
    found: dict[str, str] = {}
    end = time.monotonic() + patience
    with ThreadPoolExecutor(WORKERS) as pool:
        while left:
            running = {name: pool.submit(question) for name, question in left.items()}
            for name, future in running.items():
                try:
                    future.result()
                    found[name] = ""
                    del left[name]
                except NoAnswerError as exc:
                    found[name] = str(exc)
            if not left or time.monotonic() >= end:
                break
            time.sleep(PAUSE)
    return found
