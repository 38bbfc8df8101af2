"""When the gateway's certificate is made anew, and whether one of the user's own can serve."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from slipway.mesh import certificate as mesh_tls
from slipway.release.certificate import AUTHORITY, CERTIFIED

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
HOSTS = ["team8.local", "*.lab.local", "192.0.2.1"]


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    days: int,
    *,
    hosts: list[str],
    issuer: str,
    by: ec.EllipticCurvePrivateKey,
) -> bytes:
    """A certificate that began a year ago and ends in ``days`` days."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=365))
        .not_valid_after(NOW + dt.timedelta(days=days))
    )
    if hosts:
        names: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM)


class Folder:
    """A folder with an authority and a certificate that are in order, and ways to spoil them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.authority_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.authority()
        self.gateway()

    def authority(self, days: int = 3000) -> None:
        (self.path / "ca.key").write_bytes(pem(self.authority_key))
        made = certificate("ca", self.authority_key, days, hosts=[], issuer="ca", by=self.authority_key)
        (self.path / "ca.crt").write_bytes(made)

    def gateway(self, days: int = 300, hosts: list[str] | None = None) -> None:
        (self.path / "gateway.key").write_bytes(pem(self.key))
        made = certificate(
            "gw", self.key, days, hosts=HOSTS if hosts is None else hosts, issuer="ca", by=self.authority_key
        )
        (self.path / "gateway.crt").write_bytes(made)

    def due(self, hosts: list[str] | None = None) -> list[str]:
        return mesh_tls.due(self.path, HOSTS if hosts is None else hosts, NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_names_say_of_which_kind_they_are() -> None:
    assert mesh_tls.alternative_names([*HOSTS, "Team8.local", "::1"]) == [
        "DNS:team8.local",
        "DNS:*.lab.local",
        "IP:192.0.2.1",
        "IP:::1",
    ]


def test_what_is_in_order_stays(folder: Folder) -> None:
    assert folder.due() == []
    assert folder.due([*reversed(HOSTS)]) == []


def test_a_first_run_makes_both(tmp_path: Path) -> None:
    assert mesh_tls.due(tmp_path / "none", HOSTS, NOW) == ["ca", "gateway"]


@pytest.mark.parametrize(("days", "answer"), [(31, []), (29, ["gateway"]), (-1, ["gateway"])])
def test_a_certificate_is_renewed_a_month_before_its_end(folder: Folder, days: int, answer: list[str]) -> None:
    folder.gateway(days)
    assert folder.due() == answer


@pytest.mark.parametrize(("days", "answer"), [(401, []), (399, ["ca", "gateway"])])
def test_an_authority_outlives_what_it_signs(folder: Folder, days: int, answer: list[str]) -> None:
    folder.authority(days)
    assert folder.due() == answer


@pytest.mark.parametrize(("hosts", "answer"), [(["team8.local"], []), ([*HOSTS, "new.local"], ["gateway"])])
def test_more_names_mean_another_certificate_and_fewer_do_not(
    folder: Folder, hosts: list[str], answer: list[str]
) -> None:
    assert folder.due(hosts) == answer


def certified(folder: Path) -> list[str]:
    return mesh_tls.told(folder / "gateway.crt", folder)[CERTIFIED].split(",")


def test_names_that_were_added_outlive_runs_that_do_not_know_them(tmp_path: Path) -> None:
    mesh_tls.renew(tmp_path, HOSTS, "Authority", NOW)
    assert mesh_tls.renew(tmp_path, ["shop.local"], "Authority", NOW) == ["gateway"]
    assert mesh_tls.renew(tmp_path, HOSTS, "Authority", NOW) == []
    later = NOW + dt.timedelta(days=mesh_tls.GATEWAY_DAYS)
    assert mesh_tls.renew(tmp_path, HOSTS, "Authority", later) == ["gateway"]
    assert sorted(certified(tmp_path)) == sorted([*HOSTS, "shop.local"])


def test_two_runs_at_once_lose_no_name(tmp_path: Path) -> None:
    mesh_tls.renew(tmp_path, HOSTS, "Authority", NOW)
    added = [f"shop{number}.local" for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda host: mesh_tls.renew(tmp_path, [host], "Authority", NOW), added))
    assert {*HOSTS, *added} == set(certified(tmp_path))


def test_a_secret_tells_whom_its_certificate_is_for_and_of_which_authority(folder: Folder, tmp_path: Path) -> None:
    said = mesh_tls.told(folder.path / "gateway.crt", folder.path)
    assert said == {CERTIFIED: ",".join(HOSTS), AUTHORITY: mesh_tls.authority_of(folder.path)}
    other = tmp_path / "other"
    mesh_tls.renew(other, HOSTS, "Authority", NOW)
    assert mesh_tls.authority_of(other) not in ("", said[AUTHORITY])
    assert mesh_tls.told(folder.path / "gateway.crt", other) == {CERTIFIED: ",".join(HOSTS)}
    assert mesh_tls.told(folder.path / "none.crt", other) == {}
    # Without the key nothing more can be signed.
    (folder.path / "ca.key").unlink()
    assert mesh_tls.authority_of(folder.path) == ""


def test_a_certificate_without_names_is_replaced(folder: Folder) -> None:
    folder.gateway(hosts=[])
    assert folder.due() == ["gateway"]


@pytest.mark.parametrize("name", ["gateway.key", "gateway.crt"])
@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_what_is_lost_or_broken_is_replaced(folder: Folder, name: str, content: bytes | None) -> None:
    path = folder.path / name
    path.unlink() if content is None else path.write_bytes(content)
    assert folder.due() == ["gateway"]


@pytest.mark.parametrize("name", ["ca.key", "ca.crt"])
def test_a_lost_authority_takes_its_certificate_along(folder: Folder, name: str) -> None:
    (folder.path / name).unlink()
    assert folder.due() == ["ca", "gateway"]


def test_a_certificate_of_another_authority_is_replaced(folder: Folder) -> None:
    folder.authority_key = ec.generate_private_key(ec.SECP256R1())
    folder.authority()
    assert folder.due() == ["gateway"]


def test_a_key_of_another_certificate_is_noticed(folder: Folder) -> None:
    (folder.path / "gateway.key").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    assert folder.due() == ["gateway"]


def test_a_first_certificate_can_serve_and_stays(tmp_path: Path) -> None:
    place = tmp_path / "state/ca"
    assert mesh_tls.renew(place, HOSTS, "Authority of the cluster lab", NOW) == ["ca", "gateway"]
    assert mesh_tls.renew(place, HOSTS, "Authority of the cluster lab", NOW) == []
    assert not mesh_tls.faults(place / "gateway.crt", place / "gateway.key", NOW)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (place, *place.iterdir())}
    assert modes == {"ca": 0o700, "ca.key": 0o600, "ca.crt": 0o644, "gateway.key": 0o600, "gateway.crt": 0o644}


def test_clients_that_trust_the_authority_take_it(tmp_path: Path) -> None:
    """As OpenSSL judges it, by the names that it is for and no others."""
    now = dt.datetime.now(dt.UTC)
    mesh_tls.renew(tmp_path, [*HOSTS, "127.0.0.1"], "Authority", now)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "gateway.crt", tmp_path / "gateway.key")
    client = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for name, good in (("team8.local", True), ("a.lab.local", True), ("192.0.2.1", True), ("other.local", False)):
        with contextlib.nullcontext() if good else pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(client, server, name)


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    ends = [ssl.MemoryBIO() for _ in range(2)]
    here = client.wrap_bio(ends[0], ends[1], server_hostname=name)
    there = server.wrap_bio(ends[1], ends[0], server_side=True)
    for _ in range(4):
        for end in (here, there):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    assert here.getpeercert()


def test_keys_outlive_their_certificates(tmp_path: Path) -> None:
    mesh_tls.renew(tmp_path, HOSTS, "Authority", NOW)
    keys = {path: path.read_bytes() for path in tmp_path.glob("*.key")}
    authority = (tmp_path / "ca.crt").read_bytes()
    assert mesh_tls.renew(tmp_path, ["other.local"], "Authority", NOW) == ["gateway"]
    assert (tmp_path / "ca.crt").read_bytes() == authority
    later = NOW + dt.timedelta(days=mesh_tls.AUTHORITY_DAYS - mesh_tls.RENEW_AUTHORITY_BEFORE)
    assert mesh_tls.renew(tmp_path, ["other.local"], "Authority", later) == ["ca", "gateway"]
    assert {path: path.read_bytes() for path in keys} == keys
    (tmp_path / "gateway.key").write_text("broken")
    assert mesh_tls.renew(tmp_path, ["other.local"], "Authority", later) == ["gateway"]
    assert not mesh_tls.faults(tmp_path / "gateway.crt", tmp_path / "gateway.key", later)


def test_a_certificate_of_the_users_own_may_serve(folder: Folder) -> None:
    assert mesh_tls.faults(folder.path / "gateway.crt", folder.path / "gateway.key", NOW) == []


def test_a_certificate_of_the_users_own_is_refused_by_name(folder: Folder) -> None:
    cert, key, other = (folder.path / name for name in ("gateway.crt", "gateway.key", "ca.key"))
    none = folder.path / "none.pem"
    assert mesh_tls.faults(none, none, NOW) == [
        f"istio_certificate.cert: there is no file {none}; give the path of a PEM file.",
        f"istio_certificate.key: there is no file {none}; give the path of a PEM file.",
    ]
    assert "holds no certificate" in mesh_tls.faults(key, key, NOW)[0]
    assert mesh_tls.faults(cert, other, NOW) == [
        f"istio_certificate.key: {other} is not the (unencrypted PEM) key of {cert}."
    ]
    folder.gateway(-1)
    assert mesh_tls.faults(cert, key, NOW) == [f"istio_certificate.cert: {cert} ended on 2026-05-31."]
