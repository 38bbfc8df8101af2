"""When a server's certificate has to be made anew, and what a new one is good for."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest
from slipway.parts.selfsigned import fault, make

NAME = "metrics-server.kube-system.svc"
NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def made() -> tuple[bytes, bytes]:
    return make(NAME, NOW, 3650 * DAY)


@pytest.mark.parametrize(
    ("days", "said"), [(0, ""), (3284, ""), (3285, "it ends on 2036-11-18"), (4000, "it ends on 2036-11-18")]
)
def test_a_certificate_goes_on_until_it_is_near_its_end(made: tuple[bytes, bytes], days: int, said: str) -> None:
    assert fault(made[0], NAME, NOW + days * DAY, 365 * DAY) == said


@pytest.mark.parametrize(
    ("certificate", "said"),
    [(b"", "there is none"), (b" \n", "there is none"), (b"-----BEGIN CERTIFICATE-----\n", "it cannot be read")],
)
def test_what_is_no_certificate_is_replaced(certificate: bytes, said: str) -> None:
    assert fault(certificate, NAME, NOW, DAY).startswith(said)


def test_a_certificate_for_another_name_is_replaced(made: tuple[bytes, bytes]) -> None:
    assert fault(made[0], "other.svc", NOW, DAY) == f"it is for {NAME}"


def handshake(server: ssl.SSLContext, trusted: bytes, name: str) -> str | None:
    """Let a client that trusts one certificate alone call ``name``; the version they agree on."""
    client = ssl.create_default_context(cadata=trusted.decode("ascii"))
    out, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(back, out, server_hostname=name),
        server.wrap_bio(out, back, server_side=True),
    )
    for side in sides * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return sides[0].version()


def test_who_trusts_it_is_served_under_its_name_alone(tmp_path: Path) -> None:
    certificate, key = make(NAME, dt.datetime.now(dt.UTC), DAY)
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "tls.key").write_bytes(key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    assert handshake(server, certificate, NAME) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, certificate, "kubernetes.default.svc")
    other, _ = make(NAME, dt.datetime.now(dt.UTC), DAY)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, other, NAME)
