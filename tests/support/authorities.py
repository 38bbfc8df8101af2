"""CAs and certificates as kubeadm makes them, for tests: two CAs have one name, and differ by their keys alone."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Usage = x509.ObjectIdentifier
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True)
class Pair:
    """A certificate with its key."""

    certificate: x509.Certificate
    private: ec.EllipticCurvePrivateKey

    @property
    def crt(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key(self) -> str:
        return key_of(self.private)


def key_of(private: ec.EllipticCurvePrivateKey) -> str:
    kind = serialization.PrivateFormat.PKCS8
    return private.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


def public_of(private: ec.EllipticCurvePrivateKey) -> str:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()


def signed(name: str, issuer: Pair | None = None, *usages: Usage) -> Pair:
    """Make a CA, or what ``issuer`` signs."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    above = issuer.private if issuer else private
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False)
    )
    if issuer:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
    return Pair(builder.sign(above, hashes.SHA256()), private)


@cache
def authorities(which: str) -> dict[str, str]:
    """Give a set of CAs and a key of service accounts, by the paths of a controller; ``which`` tells sets apart."""
    assert which
    found: dict[str, str] = {}
    for path, name in (("pki/ca", "kubernetes"), ("pki/front-proxy-ca", "front-proxy-ca"), ("pki/etcd/ca", "etcd-ca")):
        made = pair(which, name)
        found |= {f"{path}.crt": made.crt, f"{path}.key": made.key}
    private = pair(which, "accounts").private
    return found | {"pki/sa.key": key_of(private), "pki/sa.pub": public_of(private)}


@cache
def pair(which: str, name: str) -> Pair:
    """Give a CA of a set."""
    assert which
    return signed(name)
