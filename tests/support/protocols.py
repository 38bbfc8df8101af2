"""Clients of what is spoken beside plain requests: a connection of WebSocket, and calls of gRPC by HTTP/2."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from slipway.prove.protocol_claims import accepted

# Seconds until an answer has to be there.
PATIENCE = 10
_TEXT, _LAST, _MASKED = 1, 128, 128


class WebSocket:
    """One connection through the gateway; ``headers`` are those of the answer to its upgrade."""

    def __init__(self, address: str, host: str, path: str = "/", *, port: int = 80, **headers: str) -> None:
        self.socket = socket.create_connection((address, port), timeout=PATIENCE)
        self.file = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        own = {"Host": host, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        sent = {**own, "Sec-WebSocket-Key": key, **{name.replace("_", "-"): text for name, text in headers.items()}}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {text}" for name, text in sent.items()), "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        self.status = int((self.file.readline().decode().split() or ["", "0"])[1])
        self.headers: dict[str, str] = {}
        while line := self.file.readline().decode().strip():
            name, _, text = line.partition(":")
            self.headers[name.lower()] = text.strip()
        assert self.status == 101, f"{host}{path} is answered {self.status}, and not upgraded"
        assert self.headers["sec-websocket-accept"] == accepted(key)

    def said(self, text: str) -> str:
        """Send a short text, and give the one that comes back."""
        data, mask = text.encode(), os.urandom(4)
        assert len(data) < 126
        hidden = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        self.socket.sendall(bytes([_LAST | _TEXT, _MASKED | len(data)]) + mask + hidden)
        head = self.file.read(2)
        assert len(head) == 2, "the connection has ended"
        assert head[0] == _LAST | _TEXT, f"a frame that is no text came: {head!r}"
        return self.file.read(head[1]).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()


@dataclass(frozen=True)
class Called:
    """What a call of gRPC came to: ``status`` of gRPC, empty where there was none, the message, and all headers."""

    status: str
    message: bytes
    headers: dict[str, str]


def called(
    folder: Path,
    address: str,
    host: str,
    method: str,
    message: bytes = b"",
    *,
    port: int = 80,
    headers: Mapping[str, str] | None = None,
) -> Called:
    """Call a method once, by HTTP/2 without TLS as clients of gRPC do (prior knowledge); curl frames it."""
    sent, body, head = (folder / f"grpc-{name}" for name in ("sent", "body", "head"))
    sent.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    body.write_bytes(b"")
    more = {"host": host, "content-type": "application/grpc", "te": "trailers", **(headers or {})}
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--http2-prior-knowledge", "--output", str(body)]
    command += ["--max-time", str(PATIENCE), "--dump-header", str(head), "--data-binary", f"@{sent}"]
    for name, text in more.items():
        command += ["--header", f"{name}: {text}"]
    done = subprocess.run(
        [*command, f"http://{address}:{port}/{method}"], check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, f"{host} {method}: {done.stderr.strip()}"
    lines = [line.partition(":") for line in head.read_text().splitlines() if ":" in line]
    found = {name.strip().lower(): text.strip() for name, _, text in lines}
    came = body.read_bytes()
    # A byte that says whether it is compressed, and its length.
    assert not came or (came[0] == 0 and int.from_bytes(came[1:5], "big") == len(came) - 5), came[:80]
    return Called(found.get("grpc-status", ""), came[5:], found)


def field(number: int, value: bytes) -> bytes:
    """Write a short field of a message (Protocol Buffers): bytes or a text."""
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value
