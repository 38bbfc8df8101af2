"""The gateway's certificate: made anew when it has to be, or one of the user's own that can serve.

Only for the Ansible machine: it needs the package cryptography, which comes with Ansible.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import ipaddress
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..parts.selfsigned import EARLIER
from ..release.certificate import AUTHORITY, CERTIFIED

# Days before its end that a certificate is made anew; an authority ends with everything it has signed.
RENEW_BEFORE = 30
RENEW_AUTHORITY_BEFORE = 400
# Days for which they are made.
AUTHORITY_DAYS = 3650
GATEWAY_DAYS = 365


def alternative_names(hosts: Iterable[str]) -> list[str]:
    """Turn names and addresses into entries of subjectAltName: ``DNS:team8.local``, ``IP:192.0.2.1``; each once."""
    return list(dict.fromkeys(f"{'IP' if _address(host) else 'DNS'}:{host.lower()}" for host in hosts))


def due(folder: Path, hosts: Iterable[str], now: dt.datetime) -> list[str]:
    """Say which certificates below ``folder`` have to be made: ``ca``, ``gateway``, both or none.

    ``ca.crt`` is due when it or its key is missing, or it ends within ``RENEW_AUTHORITY_BEFORE`` days; ``gateway.crt``
    when that holds, when it ends within ``RENEW_BEFORE`` days, lacks a name, or is of another key or authority. Names
    beyond ``hosts`` stay: releases have asked for them since.
    """
    authority, certificate = _read(folder / "ca.crt"), _read(folder / "gateway.crt")
    if authority is None or not (folder / "ca.key").exists() or _ends(authority, now, RENEW_AUTHORITY_BEFORE):
        return ["ca", "gateway"]
    if certificate is None or _ends(certificate, now, RENEW_BEFORE):
        return ["gateway"]
    wanted, held = set(alternative_names(hosts)), set(_names(certificate))
    if not wanted or not wanted <= held or not _fits(folder / "gateway.key", certificate):
        return ["gateway"]
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return ["gateway"]
    return []


def renew(folder: Path, hosts: list[str], authority: str, now: dt.datetime) -> list[str]:
    """Make what is due below ``folder``, and say what that was; ``authority`` is the name that the authority bears.

    Keys that are there go on being used, and a new certificate has the names of the old one too. A certificate is
    complete or the old one, whenever this is cut off.
    """
    if not due(folder, hosts, now):
        return []
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    with _alone(folder):
        return _renewed(folder, hosts, authority, now)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other runs out meanwhile: of two that add names, each would lose those of the other."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _renewed(folder: Path, hosts: list[str], authority: str, now: dt.datetime) -> list[str]:
    made = due(folder, hosts, now)
    if not made:
        return []
    before = _read(folder / "gateway.crt")
    kept = [name.partition(":")[2] for name in _names(before)] if before else []
    signer = _key(folder / "ca.key")
    issuer = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, authority[:64]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Slipway"),
        ]
    )
    if "ca" in made:
        builder = _builder(issuer, issuer, signer.public_key(), now, AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        _write(folder / "ca.crt", builder.sign(signer, SHA256()).public_bytes(Encoding.PEM), 0o644)
    own, present = _key(folder / "gateway.key"), _read(folder / "ca.crt")
    subject = before.subject if before else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    names: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(host)) if _address(host) else x509.DNSName(host.lower())
        for host in [*hosts, *kept]
    ]
    builder = _builder(subject, present.subject if present else issuer, own.public_key(), now, GATEWAY_DAYS)
    builder = (
        builder.add_extension(x509.SubjectAlternativeName(list(dict.fromkeys(names))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    _write(folder / "gateway.crt", builder.sign(signer, SHA256()).public_bytes(Encoding.PEM), 0o644)
    return made


def authority_of(folder: Path) -> str:
    """Give what tells the authority in ``folder`` from every other; empty: this machine has not all of it."""
    found = _read(folder / "ca.crt")
    return found.fingerprint(SHA256()).hex() if found and _fits(folder / "ca.key", found) else ""


def told(certificate: Path, folder: Path) -> dict[str, str]:
    """Give annotations that say whom a certificate (PEM) is for, and of which authority, the one in ``folder``.

    So that nobody has to read a Secret, with the key in it, to know.
    """
    read, authority = _read(certificate), _read(folder / "ca.crt")
    if read is None:
        return {}
    said = {CERTIFIED: ",".join(name.partition(":")[2] for name in _names(read))}
    try:
        if authority:
            read.verify_directly_issued_by(authority)
            said[AUTHORITY] = authority.fingerprint(SHA256()).hex()
    except (ValueError, TypeError, InvalidSignature):
        pass
    return said


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(**given: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: given.get(name, False) for name in names})


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a key, or make one where none can be read."""
    try:
        found = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        found = None
    if isinstance(found, ec.EllipticCurvePrivateKey):
        return found
    made = ec.generate_private_key(ec.SECP256R1())
    _write(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    return made


def _write(path: Path, content: bytes, mode: int) -> None:
    # A temporary file is its owner's alone from the first byte on.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    Path(temporary).replace(path)


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
