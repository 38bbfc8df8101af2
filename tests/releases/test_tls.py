"""Two releases on one certificate: a browser that uses one connection for both is told so, and trusts what it sees."""

from __future__ import annotations

import http.client
import ssl
from contextlib import closing
from pathlib import Path

from tests.support.mesh import gateway_address
from tests.support.releases import Stage

REDIRECT = str(Path(__file__).parent / "pages/redirect.yml")
OTHER = {"release_name": "other", "release_namespace": "other", "release_hosts": ["other.redirect.local"]}


def asked(stage: Stage, server: str, host: str) -> int:
    """Ask for ``host`` on a connection that was made for ``server``, as a client does that trusts the authority."""
    trust = ssl.create_default_context(cafile=str(stage.checkout.state / "ca/ca.crt"))
    with closing(http.client.HTTPConnection(gateway_address(stage.kube), 443, timeout=10)) as connection:
        connection.connect()
        connection.sock = trust.wrap_socket(connection.sock, server_hostname=server)
        connection.request("GET", "/", headers={"Host": host})
        return connection.getresponse().status


def test_hosts_get_into_the_certificate_and_connections_for_others_are_misdirected(empty: Stage) -> None:
    try:
        empty.release(REDIRECT, prove="never").expect()
        empty.release(REDIRECT, prove="never", **OTHER).expect()
        assert empty.release(REDIRECT, prove="never").expect().total("changed") == 0
        for one, another in (("redirect.local", "other.redirect.local"), ("other.redirect.local", "redirect.local")):
            assert asked(empty, one, one) == 200
            assert asked(empty, one, another) == 421
        # Of one Gateway, so there is no wrong connection.
        assert asked(empty, "redirect.local", "also.redirect.local") == 200
        empty.prove(REDIRECT).expect()
        empty.prove(REDIRECT, **OTHER).expect()
        for name in ("redirect", "other"):
            assert "tls" in empty.kinds(name, "passed")
        # Neither the mesh nor the next run of a release takes a name out again.
        empty.play("playbooks/phases/mesh.yml", REDIRECT).expect()
        assert asked(empty, "other.redirect.local", "other.redirect.local") == 200
    finally:
        empty.release(REDIRECT, release_state="absent", **OTHER)
        empty.take_away((REDIRECT,))
