"""A connection for one host that is used for another, in the artifact's own Envoy: 421, and nothing else changes."""

from __future__ import annotations

import datetime as dt
import http.client
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from slipway.mesh import certificate as mesh_tls

from tests.support.envoy import clear, free, running, secure

HOSTS = ["a.lab.local", "b.lab.local"]


class Ways:
    """Where the gateway is asked, with TLS and without."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tls, self.plain = folder, free(), free()
        self.trust = ssl.create_default_context(cafile=str(folder / "ca.crt"))

    def ask(self, server: str, host: str, path: str = "/app") -> int:
        """Ask for ``host`` on a connection for ``server``; empty: on one without TLS."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.tls if server else self.plain, timeout=10)) as made:
            made.connect()
            if server:
                made.sock = self.trust.wrap_socket(made.sock, server_hostname=server)
            made.request("GET", path, headers={"Host": host})
            return made.getresponse().status


@pytest.fixture(scope="module")
def ways(envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    folder = tmp_path_factory.mktemp("envoy")
    mesh_tls.renew(folder, HOSTS, "Authority", dt.datetime.now(dt.UTC))
    made = Ways(folder)
    with running(envoy, folder, [secure(made.tls, HOSTS, folder), clear(made.plain, HOSTS[0])]):
        yield made


@pytest.mark.parametrize(
    ("server", "host", "path", "status"),
    [
        (HOSTS[0], HOSTS[0], "/app", 200),
        (HOSTS[0], f"{HOSTS[0]}:443", "/app", 200),
        (HOSTS[0], HOSTS[1], "/app", 421),
        (HOSTS[1], HOSTS[0], "/elsewhere", 421),
        # What is its own host's, and what comes without TLS, is not found as ever.
        (HOSTS[0], HOSTS[0], "/elsewhere", 404),
        (HOSTS[0], f"{HOSTS[0]}:443", "/elsewhere", 404),
        ("", HOSTS[0], "/app", 200),
        ("", HOSTS[1], "/app", 404),
    ],
)
def test_only_a_request_on_the_wrong_connection_is_misdirected(
    ways: Ways, server: str, host: str, path: str, status: int
) -> None:
    assert ways.ask(server, host, path) == status


def test_a_client_of_http2_that_keeps_its_connection_is_told(ways: Ways) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not on this machine")
    # Both names lead to one address, so curl would open a second connection; the header makes it stay on the first.
    command = ["curl", "--silent", "--http2", "--cacert", str(ways.folder / "ca.crt"), "--output", "/dev/null"]
    command += [
        "--write-out",
        "%{http_version} %{http_code} %{num_connects}\n",
        "--connect-to",
        f"::127.0.0.1:{ways.tls}",
    ]
    first, second = f"https://{HOSTS[0]}/app", ["--header", f"Host: {HOSTS[1]}", f"https://{HOSTS[0]}/app"]
    said = subprocess.run(
        [*command, first, "--next", *command[1:], *second], capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines() == ["2 200 1", "2 421 0"]
