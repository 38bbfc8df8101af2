"""The keys of what is outside: hosts that the application calls, and tokens (JWT) that its clients bring."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ..page.form import Map, WrongError, setting
from ..page.read import PRIVATE_PARTS, Respelt
from .call_keys import Retries
from .keys import Short
from .values import LABEL, CookieName, Duration, HeaderName, Texts, UrlPath, one_or_many

HTTP = ("http", "http2", "grpc")
_CERTIFICATE = re.compile(
    r"(-----BEGIN CERTIFICATE-----\s+[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+", re.MULTILINE
)
# What a public key of each kind must have.
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
# Bytes of a coordinate, by curve; and those that RFC 7518 asks of a modulus at least.
_CURVES = {"P-256": 32, "P-384": 48, "P-521": 66, "Ed25519": 32}
_LEAST = 256
# Its private half is nowhere, so no token that anybody makes is taken.
_EXAMPLE = {
    "kty": "EC",
    "crv": "P-256",
    "x": "euugiZtW9tnDGy4URlRn4-UcaugN9QMOFn9zs3l0FZg",
    "y": "96jCVyDEhGN0HwfFes85ZeAcCcfOMGZT6MSDjQMdkrE",
}
_EXAMPLE_KEYS = {"keys": [_EXAMPLE]}


def _outside_host(text: str) -> str:
    bare = text.removeprefix("*.")
    named = re.fullmatch(rf"{LABEL}(\.{LABEL})+", bare) and len(text) <= 253
    if not named or re.fullmatch(r"[0-9.]+", bare):
        found = re.sub(r"^[a-z0-9+]+://", "", text.lower()).partition("/")[0].partition(":")[0].lstrip("*.")
        works = found if re.fullmatch(rf"{LABEL}(\.{LABEL})*\.[a-z][a-z0-9-]*", found) else "api.example.org"
        what = "must be a host name with a dot, in lower case, without scheme, port and path; * is its first label only"
        raise WrongError("not-a-host-name", what, works)
    return text


def _address(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise WrongError(
            "not-an-address", "must be an IP address, or a network with its length", "192.0.2.10"
        ) from None
    tidy = str(network.network_address) if network.num_addresses == 1 and "/" not in text else str(network)
    if tidy != text:
        raise WrongError("not-an-address", "must be written as a network is", tidy)
    return text


def _authority(text: str) -> str:
    if not _CERTIFICATE.fullmatch(text.strip() + "\n"):
        what = "must be certificates in PEM, from -----BEGIN CERTIFICATE----- on"
        raise WrongError("not-a-certificate", what, "|, and below it the lines of ca.pem, indented")
    return text.strip() + "\n"


def _web(text: str) -> str:
    if not re.fullmatch(r"https?://[a-z0-9.-]+(:[1-9]\d{0,4})?(/[^\s?#]*)?(\?[^\s#]*)?", text):
        what = "must be http(s)://host, with the path of the key set"
        raise WrongError("not-a-url", what, "https://id.example.org/.well-known/jwks.json")
    return text


def _cut(key: Mapping[str, Any]) -> str:
    """Name the part of a public key that cannot be whole; empty: none."""
    for name in ("n", "x", "y") if key["kty"] != "OKP" else ("x",):
        text = key.get(name)
        if text is None:
            continue
        try:
            size = len(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) if text.isascii() else 0
        except ValueError:
            return name
        wanted = _CURVES.get(str(key.get("crv")), size)
        if (name == "n" and size < _LEAST) or (name != "n" and size != wanted):
            return name
    return ""


def _key_set(value: Any) -> Any:
    """Take a JSON Web Key Set as a map, or as its JSON; give it as JSON that is always written the same."""
    read = value
    if isinstance(value, str):
        try:
            read = json.loads(value)
        except ValueError:
            read = None
    keys = read.get("keys") if isinstance(read, Mapping) else None
    if not isinstance(keys, list) or not keys or not all(isinstance(each, Mapping) for each in keys):
        raise WrongError("not-a-key-set", "must be a JSON Web Key Set: keys, with at least one key", _EXAMPLE_KEYS)
    for each in keys:
        if any(name in each for name in PRIVATE_PARTS) or each.get("kty") == "oct":
            what = "holds a private key, or a shared secret; a page has public keys only"
            raise WrongError("private-key-on-page", what, _EXAMPLE_KEYS)
        needs = _PUBLIC.get(str(each.get("kty")))
        if needs is None:
            what = f"has a key of the kind (kty) {each.get('kty')}; there are {', '.join(_PUBLIC)}"
            raise WrongError("not-a-key-set", what, _EXAMPLE_KEYS)
        absent = [name for name in needs if not isinstance(each.get(name), str) or not each[name]]
        if absent:
            what = f"has a key of the kind {each['kty']} without {', '.join(absent)}, as texts"
            raise WrongError("not-a-key-set", what, _EXAMPLE_KEYS)
        if cut := _cut(each):
            what = f"has a key of the kind {each['kty']} whose {cut} is not as long as its kind has it, or no base64url"
            raise WrongError("not-a-key-set", what, _EXAMPLE_KEYS)
        numbers = [name for name, item in each.items() if isinstance(item, (Respelt, int, float))]
        if numbers:
            raise WrongError("not-a-key-set", f"has {numbers[0]} that is no text; write it in quotes", _EXAMPLE_KEYS)
    return json.dumps(read, sort_keys=True, separators=(",", ":"))


_ADDRESSES = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_KEYS = {"anyOf": [{"type": "string"}, {"type": "object", "required": ["keys"]}]}
OutsideHost = Annotated[str, AfterValidator(_outside_host)]
Addresses = Annotated[
    list[Annotated[str, AfterValidator(_address)]], BeforeValidator(one_or_many), WithJsonSchema(_ADDRESSES)
]
Authority = Annotated[str, AfterValidator(_authority)]
Web = Annotated[str, AfterValidator(_web)]
KeySet = Annotated[str, BeforeValidator(_key_set), WithJsonSchema(_KEYS)]
IssuerName = Annotated[str, Field(pattern=r"^[!-)+-~]+$", max_length=300)]


def _like(given: Map, **other: Any) -> dict[str, Any]:
    """Write a map as it is given, but for some keys; None: without that key."""
    made = {**given.model_dump(mode="json", exclude_unset=True), **other}
    return {key: value for key, value in made.items() if value is not None}


class Outside(Short):
    """A host outside the mesh that the application calls."""

    short = "tls"

    tls: Literal["app", "mesh", "none"] = setting(
        "app",
        "Who encrypts. app: the program calls https, and the mesh sees only the name of the host; mesh: the program "
        "calls http, and the mesh encrypts (TLS origination); none: nobody.",
        example="mesh",
    )
    protocol: Literal["http", "http2", "grpc", "tcp"] = setting(
        "http", "Protocol. tcp: any other one, which needs addresses.", example="grpc"
    )
    port: int | None = setting(
        None,
        "Port of the host. By default 443, and 80 with tls: none; tcp has no default.",
        unit="port number",
        example=8443,
        ge=1,
        le=65535,
    )
    call_port: int | None = setting(
        None,
        "Port that the program calls, with tls: mesh. By default 80.",
        unit="port number",
        example=8080,
        ge=1,
        le=65535,
    )
    addresses: Addresses = setting(
        [],
        "IP addresses where the host is, instead of those that DNS gives. For tcp networks too.",
        example=["192.0.2.10"],
    )
    ca: Authority | None = setting(
        None,
        "Certificates (PEM) of the authorities that the mesh trusts for this host, with tls: mesh. By default those of "
        "the proxy's image, which are the public ones.",
        example="-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----",
    )
    timeout: Duration | None = setting(None, "Longest time for an answer, with all retries.", example="5s")
    retries: Retries | None = setting(None, "How often the mesh sends a failed request again.", example=2)

    @model_validator(mode="after")
    def _fits(self) -> Outside:
        seen = self.tls != "app" and self.protocol in HTTP
        known = {"port": self.port or 5432, "addresses": self.addresses or ["192.0.2.10"]}
        for name in ("timeout", "retries"):
            if getattr(self, name) is not None and not seen:
                hidden = "tcp has no requests" if self.protocol == "tcp" else "with tls: app the mesh sees no requests"
                works = _like(self, **({name: None, **known} if self.protocol == "tcp" else {"tls": "mesh"}))
                raise WrongError("keys-contradict", f"has {name}, and {hidden}; tls: mesh shows those of http", works)
        if self.protocol == "tcp" and self.tls == "mesh":
            what = "has tls: mesh for tcp; the mesh encrypts http, http2 and grpc"
            raise WrongError("keys-contradict", what, _like(self, tls="none", **known))
        if self.protocol == "tcp" and (self.port is None or not self.addresses):
            what = "is tcp, which shows no name of a host: needs port and addresses, by which the mesh knows it"
            raise WrongError("needs-one-of", what, _like(self, **known))
        for name in ("call_port", "ca"):
            if getattr(self, name) is not None and self.tls != "mesh":
                raise WrongError("keys-contradict", f"has {name}, which only tls: mesh uses", _like(self, tls="mesh"))
        networks = [each for each in self.addresses if "/" in each]
        if self.protocol != "tcp" and networks:
            first = networks[0].partition("/")[0]
            what = "has a network in addresses, which only tcp can have"
            raise WrongError("keys-contradict", what, _like(self, addresses=[first]))
        return self

    @property
    def number(self) -> int:
        """Port of the host."""
        return self.port or (80 if self.tls == "none" else 443)

    @property
    def called(self) -> int:
        """Port that programs call."""
        return (self.call_port or 80) if self.tls == "mesh" else self.number


class Issuer(Short):
    """Who signs tokens, and by which keys that is known."""

    short = "jwks_uri"

    jwks_uri: Web | None = setting(
        None,
        "Where the issuer's public keys are. istiod fetches them, so it must reach this address.",
        example="https://id.example.org/.well-known/jwks.json",
    )
    jwks: KeySet | None = setting(
        None, "The public keys themselves (JSON Web Key Set), as a map or as JSON.", example=_EXAMPLE_KEYS
    )
    audiences: Texts = setting([], "Audiences (aud) of which a token must have one. By default any.", example=["shop"])

    @model_validator(mode="after")
    def _one_way(self) -> Issuer:
        if (self.jwks_uri is None) == (self.jwks is None):
            works = _like(self, jwks=None, jwks_uri=self.jwks_uri or "https://id.example.org/.well-known/jwks.json")
            raise WrongError("needs-one-of", "must have either jwks_uri or jwks", works)
        return self


class Jwt(Map):
    """Tokens (JWT) without which requests from outside are refused."""

    issuers: dict[IssuerName, Issuer] = setting(
        ...,
        "Issuers (iss), each with its keys. The short form is jwks_uri.",
        example={"https://id.example.org": "https://id.example.org/.well-known/jwks.json"},
        rule="must be the issuer as tokens have it: printable letters, without * and space",
        min_length=1,
    )
    free: list[UrlPath] = setting([], "Paths, with all below them, that need no token.", example=["/login", "/healthz"])
    header: HeaderName | None = setting(
        None, "Header that has the token, and nothing else. By default authorization: Bearer.", example="x-id-token"
    )
    cookie: CookieName | None = setting(None, "Cookie that has the token, instead of a header.", example="id-token")
    forward: bool = setting(True, "Does the program get the token, too?", example=False)

    @model_validator(mode="after")
    def _one_place(self) -> Jwt:
        if self.header and self.cookie:
            what = "has a header and a cookie; a token is in one of them"
            raise WrongError("keys-contradict", what, _like(self, cookie=None))
        if "/" in self.free:
            what = "has / in free, so no request would need a token"
            raise WrongError("keys-contradict", what, _like(self, free=[path for path in self.free if path != "/"]))
        return self
