"""TLS is put on and taken off a release while its users ask without."""

from __future__ import annotations

import datetime as dt
import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from slipway.parts import selfsigned

from tests.support.changing import GATEWAYS, Place, placed, release_name
from tests.support.kube import Kube
from tests.support.releases import Stage
from tests.support.transitions import CERTIFICATE, TLS_OFF, TLS_ON, Row, host


@contextmanager
def certificate(kube: Kube, name: str, folder: Path) -> Iterator[Path]:
    """A certificate for a host, which the gateway can read; gone at the end."""
    cert, key = folder / "tls.crt", folder / "tls.key"
    for path, made in zip(
        (cert, key), selfsigned.make(name, dt.datetime.now(dt.UTC), dt.timedelta(days=1)), strict=True
    ):
        path.write_bytes(made)
    where = f"--namespace={GATEWAYS}"
    kube.text("delete", "secret", CERTIFICATE, where, "--ignore-not-found")
    kube.text("create", "secret", "tls", CERTIFICATE, f"--cert={cert}", f"--key={key}", where)
    try:
        yield cert
    finally:
        kube.text("delete", "secret", CERTIFICATE, where, "--ignore-not-found")


def over_tls(place: Place, cert: Path) -> str:
    """What a client says that verifies who answers: a status, or the kind of error."""
    name = host(place.name)
    try:
        with socket.create_connection((place.address, 443), timeout=5) as plain:
            context = ssl.create_default_context(cafile=str(cert))
            connection = http.client.HTTPSConnection(name)
            connection.sock = context.wrap_socket(plain, server_hostname=name)
            connection.request("GET", place.load.door.path)
            answer = connection.getresponse()
            answer.read()
            connection.close()
            return str(answer.status)
    except (OSError, http.client.HTTPException) as exc:
        return type(exc).__name__


@pytest.mark.parametrize(("row", "before", "after"), [(TLS_ON, False, True), (TLS_OFF, True, False)], ids=["on", "off"])
def test_nobody_notices(stage: Stage, tmp_path: Path, row: Row, before: bool, after: bool) -> None:
    name = host(release_name(row.name))
    with certificate(stage.kube, name, tmp_path) as cert, placed(stage, row, tmp_path) as place:
        assert (over_tls(place, cert) == "200") is before
        with place.changing():
            run = place.apply(row.after)
        assert place.faults(row) == []
        assert run.expect().total("changed") > 0
        assert (over_tls(place, cert) == "200") is after
