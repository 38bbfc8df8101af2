"""The gateway's certificate: when it has to be made anew, and whether one of the user's own can serve."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

# Days before its end that a certificate is made anew; an authority ends with everything it has signed.
RENEW_BEFORE = 30
RENEW_AUTHORITY_BEFORE = 400


def alternative_names(hosts: Iterable[str]) -> list[str]:
    """Turn names and addresses into entries of subjectAltName: ``DNS:team8.local``, ``IP:192.0.2.1``; each once."""
    return list(dict.fromkeys(f"{'IP' if _address(host) else 'DNS'}:{host.lower()}" for host in hosts))


def due(folder: Path, hosts: Iterable[str], now: dt.datetime) -> list[str]:
    """Say which certificates below ``folder`` have to be made: ``ca``, ``gateway``, both or none.

    ``ca.crt`` is due when it or its key is missing, or it ends within ``RENEW_AUTHORITY_BEFORE`` days; ``gateway.crt``
    when that holds, when it ends within ``RENEW_BEFORE`` days, is for other names, another key or of another authority.
    """
    authority, certificate = _read(folder / "ca.crt"), _read(folder / "gateway.crt")
    if authority is None or not (folder / "ca.key").exists() or _ends(authority, now, RENEW_AUTHORITY_BEFORE):
        return ["ca", "gateway"]
    if certificate is None or _ends(certificate, now, RENEW_BEFORE):
        return ["gateway"]
    if set(_names(certificate)) != set(alternative_names(hosts)) or not _fits(folder / "gateway.key", certificate):
        return ["gateway"]
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return ["gateway"]
    return []


def faults(certificate: Path, key: Path, now: dt.datetime) -> list[str]:
    """Say why a user's own certificate (PEM, the chain behind it) and its key cannot serve; empty when they can."""
    found = []
    for path, what in ((certificate, "cert"), (key, "key")):
        if not path.is_file():
            found.append(f"istio_certificate.{what}: there is no file {path}; give the path of a PEM file.")
    if found:
        return found
    read = _read(certificate)
    if read is None:
        return [
            f"istio_certificate.cert: {certificate} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)."
        ]
    if _ends(read, now, 0):
        found.append(f"istio_certificate.cert: {certificate} ended on {read.not_valid_after_utc:%Y-%m-%d}.")
    if not _fits(key, read):
        found.append(f"istio_certificate.key: {key} is not the (unencrypted PEM) key of {certificate}.")
    return found


def _read(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def _ends(certificate: x509.Certificate, now: dt.datetime, days: int) -> bool:
    return certificate.not_valid_after_utc <= now + dt.timedelta(days=days)


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return alternative_names(
        [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    )


def _fits(key: Path, certificate: x509.Certificate) -> bool:
    try:
        private = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        return False
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return private.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def _address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
