"""What the environment says, read once and checked."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

TASKS = ("sms", "analyze")
FEATURES = ("words", "pairs")
# What belongs to a request's journey and not to one hop. Cookies are the user's own secrets and stay out unless
# APP_FORWARD names them: inner hops follow the version of their caller, or x-version.
FORWARDED = (
    "baggage", "b3", "traceparent", "tracestate", "user-agent", "x-b3-flags", "x-b3-parentspanid", "x-b3-sampled",
    "x-b3-spanid", "x-b3-traceid", "x-version",
)  # fmt: skip
# What each hop says for itself.
OWN = "connection|content-.*|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade|x-request-id|x-slipway-test"
NAME = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
COOKIE_VALUE = r"[!#-+\--:<-\[\]-~]*"  # RFC 6265, cookie-octet


class SettingsError(ValueError):
    """A variable that cannot be used; the message names it, its value, and a value that would work."""


class Settings(NamedTuple):
    role: str
    version: str
    pod: str
    host: str
    """Address to listen on, empty for all."""
    port: int
    next_hop: str
    """Where the next hop answers, empty for the model."""
    cache: int
    """How many answers are kept."""
    cookie: tuple[str, str] | None
    model: Path | None
    """Folder of the model's file; None keeps the model in memory."""
    model_from: str
    """Address of a store to take the model from; empty makes it here."""
    token: str
    """What a store asks for; never shown."""
    features: str
    forward: tuple[str, ...]
    task: str
    """What the page offers first."""
    test_header: bool
    log: bool
    timeout: float
    """Seconds that the next hop may take."""
    linger: float
    """Seconds after SIGTERM in which new requests are still answered."""


def from_env(env: Mapping[str, str]) -> Settings:
    """Read the variables ``APP_*``; raises SettingsError."""

    def matching(name: str, default: str, pattern: str, expected: str) -> str:
        value = env.get(name, default)
        if not re.fullmatch(pattern, value):
            raise SettingsError(f"{name} is {value!r}; expected {expected}")
        return value

    def choice(name: str, *choices: str) -> str:
        return matching(name, choices[0], "|".join(choices), " or ".join(choices))

    def number(name: str, default: float, least: float, most: float) -> float:
        value = matching(name, f"{default:g}", r"\d{1,6}(\.\d{1,3})?|tcp://.*", f"{least:g} to {most:g}")
        if value.startswith("tcp:"):  # Kubernetes sets APP_PORT for a Service called app
            return default
        if not least <= float(value) <= most:
            raise SettingsError(f"{name} is {value}; expected {least:g} to {most:g}, e.g. {name}={default:g}")
        return float(value)

    role = matching("APP_ROLE", "", "frontend|service|model|store", "frontend, service, model or store")
    cookie = matching("APP_COOKIE_NAME", "", f"({NAME})?", "a cookie's name, e.g. canary-user")
    value = matching("APP_COOKIE_VALUE", "", COOKIE_VALUE, "a cookie's value, e.g. true")
    return Settings(
        role=role,
        version=matching("APP_VERSION", "v1", "[0-9A-Za-z._-]+", "a version, e.g. v1"),
        pod=socket.gethostname(),
        host=env.get("APP_HOST", ""),
        port=int(number("APP_PORT", 8080, 0, 65535)),
        next_hop=next_hop(role, env.get("APP_NEXT", "")),
        cache=int(number("APP_CACHE", 0, 0, 100_000)),
        cookie=(cookie, value) if cookie else None,
        model=Path(env["APP_MODEL"]) if env.get("APP_MODEL") else None,
        model_from=store(role, env.get("APP_MODEL_FROM", "")),
        token=token(role, env),
        features=choice("APP_FEATURES", *FEATURES),
        forward=forwarded(env.get("APP_FORWARD", "")),
        task=choice("APP_TASK", *TASKS),
        test_header=choice("APP_TEST_HEADER", "0", "1") == "1",
        log=choice("APP_LOG", "json", "off") == "json",
        timeout=number("APP_TIMEOUT", 15, 0.1, 60),
        linger=number("APP_LINGER", 3, 0, 20),
    )


def next_hop(role: str, address: str) -> str:
    if role in ("model", "store"):
        if address:
            raise SettingsError(f"APP_NEXT is {address!r}; a {role} asks nobody: leave it out")
        return ""
    try:
        parts = urlsplit(address)
        if parts.scheme == "http" and parts.hostname and parts.port != 0 and not (parts.query or parts.fragment):
            return address.rstrip("/")
    except ValueError:
        pass
    example = "http://app-service:8080" if role == "frontend" else "http://model-service:8080"
    raise SettingsError(f"APP_NEXT is {address!r}; a {role} needs its next hop, e.g. APP_NEXT={example}")


def store(role: str, address: str) -> str:
    """Address of the store, for a model that has one."""
    if not address:
        return ""
    try:
        parts = urlsplit(address)
        good = parts.scheme == "http" and parts.hostname and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:
        good = False
    if not good or role != "model":
        example = "APP_MODEL_FROM=http://model-store:8080"
        raise SettingsError(f"APP_MODEL_FROM is {address!r}; it is for a model, and an address, e.g. {example}")
    return address.rstrip("/")


def token(role: str, env: Mapping[str, str]) -> str:
    """The token of a store and of those who ask it."""
    found = env.get("GITHUB_TOKEN", "").strip()
    if not found and (role == "store" or env.get("APP_MODEL_FROM")):
        raise SettingsError(
            "GITHUB_TOKEN is not set; a store hands out models for a token alone, so both sides need it"
        )
    if found and not re.fullmatch("[!-~]{1,500}", found):
        raise SettingsError("GITHUB_TOKEN cannot be used (not shown); expected visible characters, at most 500")
    return found


def forwarded(text: str) -> tuple[str, ...]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if not re.fullmatch(NAME, name) or re.fullmatch(OWN, name):
            example = "APP_FORWARD=x-user-experiment,cookie"
            raise SettingsError(f"APP_FORWARD names {name!r}, which is not forwarded as it is; e.g. {example}")
    return tuple(dict.fromkeys([*FORWARDED, *names]))
