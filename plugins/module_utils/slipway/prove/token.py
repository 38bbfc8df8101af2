"""Tokens (JWT) that a proof sends: one that it is given, one that it signs with a key for tests, and worthless ones."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import SlipwayError

Json = dict[str, Any]

# Seconds that a token for a proof is good for.
LIFE = 3600
HINT = "SLIPWAY_PROVE_TOKEN, or prove_jwt_key with the private key of an issuer for tests"


def _part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def _unsigned(algorithm: str, claims: Mapping[str, Any]) -> str:
    header = {"alg": algorithm, "typ": "JWT"}
    return ".".join(_part(json.dumps(each, separators=(",", ":")).encode()) for each in (header, claims))


def without_key(algorithm: str, claims: Mapping[str, Any]) -> str:
    """Make a token that has everything but a signature by anybody's key."""
    size = 64 if algorithm == "ES256" else 256
    return f"{_unsigned(algorithm, claims)}.{_part(bytes(range(1, 65)) * (size // 64))}"


def claims_for(jwt: Json, now: float) -> Json:
    """Say what a token for a proof claims: the first issuer of the page, and its first audience."""
    issuer = jwt["issuers"][0]
    made: Json = {"iss": issuer["issuer"], "sub": "slipway-prove", "iat": int(now), "exp": int(now) + LIFE}
    return made | ({"aud": issuer["audiences"][0]} if issuer["audiences"] else {})


def signed(claims: Mapping[str, Any], key: Path) -> str:
    """Sign a token with the private key (PEM) in a file: RS256, or ES256 for a key on P-256. Raises SlipwayError."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as exc:
        raise SlipwayError(
            "unusable-key", f"prove_jwt_key: {key} is no private key in PEM that can be read ({type(exc).__name__})"
        ) from exc
    if isinstance(private, rsa.RSAPrivateKey):
        text = _unsigned("RS256", claims)
        return f"{text}.{_part(private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name == "secp256r1":
        text = _unsigned("ES256", claims)
        one, two = decode_dss_signature(private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_part(one.to_bytes(32, 'big') + two.to_bytes(32, 'big'))}"
    raise SlipwayError("unusable-key", f"prove_jwt_key: {key} is neither an RSA key nor one on the curve P-256")


def given(jwt: Json | None, token: str, key: str) -> str:
    """Give the token that a proof sends; empty: none. Raises SlipwayError where the key cannot be used."""
    if jwt is None:
        return ""
    return token or (signed(claims_for(jwt, time.time()), Path(key)) if key else "")
