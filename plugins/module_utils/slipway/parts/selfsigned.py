"""Certificates by which a server inside the cluster is known to the API server alone.

Only for the Ansible machine: it needs the package cryptography, which comes with Ansible.
"""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A machine whose clock is behind takes it all the same.
EARLIER = dt.timedelta(hours=1)
# How long those of a webhook last; its controller renews them 90 days before their end.
AUTHORITY, SERVER = dt.timedelta(days=3650), dt.timedelta(days=365)


def fault(certificate: bytes, name: str, now: dt.datetime, renew: dt.timedelta) -> str:
    """Say why a certificate (PEM) cannot go on serving ``name``; empty when it can.

    ``renew`` is how long before its end it counts as over.
    """
    if not certificate.strip():
        return "there is none"
    try:
        read = x509.load_pem_x509_certificate(certificate)
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        known = names.get_values_for_type(x509.DNSName)
    except (ValueError, x509.ExtensionNotFound):
        return "it cannot be read, or is for no name"
    if name not in known:
        return f"it is for {', '.join(known)}"
    if read.not_valid_after_utc - renew <= now:
        return f"it ends on {read.not_valid_after_utc:%Y-%m-%d}"
    return ""


def make(name: str, now: dt.datetime, lasting: dt.timedelta) -> tuple[bytes, bytes]:
    """Make a certificate for the DNS name ``name``, signed by itself, and its key; both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    builder = (
        _begun(subject, subject, key.public_key(), now, lasting)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        # An authority for itself and no other: it signs nothing else.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, SHA256())
    return (
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def make_pair(authority: str, name: str, now: dt.datetime) -> dict[str, bytes]:
    """Make an authority, and a certificate of it for the DNS name ``name``, as cert-controller keeps them: PEM by key.

    cert-controller reads keys in PKCS #1 alone, and knows its own authority by ``authority`` among its DNS names.
    """
    ca_key, key = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, authority)])

    def builder(subject: str, lasting: dt.timedelta, public: rsa.RSAPublicKey, *, ca: bool) -> x509.CertificateBuilder:
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])])
        return (
            _begun(named, issuer, public, now, lasting)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(_usage(ca=ca), critical=True)
        )

    server = builder(name, SERVER, key.public_key(), ca=False).add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
    )
    return {
        "ca.crt": builder(authority, AUTHORITY, ca_key.public_key(), ca=True)
        .sign(ca_key, SHA256())
        .public_bytes(Encoding.PEM),
        "ca.key": _pem(ca_key),
        "tls.crt": server.sign(ca_key, SHA256()).public_bytes(Encoding.PEM),
        "tls.key": _pem(key),
    }


def make_authority(organization: str, now: dt.datetime) -> tuple[bytes, bytes]:
    """Make an authority and its key, both PEM, as istiod makes its own."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)])
    builder = (
        _begun(subject, subject, key.public_key(), now, AUTHORITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_usage(ca=True), critical=True)
    )
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM), _pem(key)


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    now: dt.datetime,
    lasting: dt.timedelta,
) -> x509.CertificateBuilder:
    """Begin a certificate with what each has."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + lasting)
    )


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        key_cert_sign=ca,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
