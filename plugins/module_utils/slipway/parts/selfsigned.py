"""Certificates by which a server inside the cluster is known to the API server alone, each its own authority.

Only for the Ansible machine: it needs the package cryptography, which comes with Ansible.
"""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A machine whose clock is behind takes it all the same.
EARLIER = dt.timedelta(hours=1)


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
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + lasting)
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
