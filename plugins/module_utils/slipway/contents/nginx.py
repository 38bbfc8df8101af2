"""What annotations of ingress-nginx mean to the mesh, and what of them is not understood. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..release.routing import literal

PREFIX = "nginx.ingress.kubernetes.io/"
# What nginx does by itself, and the gateway in its own way: said, but nothing has to be done.
NEEDLESS = {
    "backend-protocol": "the name or appProtocol of the Service's port says it (grpc-…, https-…)",
    "client-body-buffer-size": "the gateway passes bodies on as they come",
    "proxy-body-size": "the gateway has no limit for bodies",
    "proxy-buffer-size": "the gateway passes answers on as they come",
    "proxy-buffering": "the gateway passes answers on as they come",
    "proxy-buffers-number": "the gateway passes answers on as they come",
    "proxy-connect-timeout": "the mesh waits 2 s for a connection, and tries another pod",
    "proxy-http-version": "the gateway speaks the HTTP of the Service's port",
    "proxy-max-temp-file-size": "the gateway passes answers on as they come",
    "proxy-next-upstream": "the mesh tries another pod if a connection fails",
    "proxy-request-buffering": "the gateway passes bodies on as they come",
    "proxy-send-timeout": "the gateway has no limit for it",
    "service-upstream": "the mesh shares requests among pods itself",
}
# Logs and the like, of which nobody misses anything.
_OF_NGINX = frozenset(("enable-access-log", "enable-rewrite-log", "enable-opentelemetry", "ssl-prefer-server-ciphers"))
# Without these, something is open that was closed: no release of that.
CLOSING = ("auth-", "enable-global-auth", "satisfy", "enable-modsecurity", "modsecurity-", "enable-owasp-")
_METHODS = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
_HEADERS = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"
_TRUE = {"true": True, "false": False}
# Perl's expressions, which the mesh's (RE2) do not have.
_OF_PERL = re.compile(r"\(\?[=!<>]|\\[1-9]")
# nginx gives up on a pod that is silent for so long; the gateway never does.
_PATIENCE = 60


@dataclass(frozen=True)
class Canary:
    """What leads a request to a canary: header, cookie, share; in this order."""

    header: str = ""
    value: str = ""
    pattern: str = ""
    cookie: str = ""
    weight: int = 0
    total: int = 100


@dataclass(frozen=True)
class Meaning:
    """What the annotations of an Ingress ask for; empty: nothing."""

    rewrite: str = ""
    regex: bool = False
    root: str = ""
    redirect: Mapping[str, Any] = field(default_factory=dict)
    https: bool | None = None
    canary: Canary | None = None
    # Rates per client, each with what it may have at once.
    limits: tuple[tuple[str, int], ...] = ()
    timeout: str = ""
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    cors: Mapping[str, Any] = field(default_factory=dict)
    cookie: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wrong:
    """An annotation that cannot be taken: the id of the rule, what is wrong, what would work."""

    id: str
    what: str
    works: str


def said(item: Mapping[str, Any]) -> dict[str, str]:
    """Give nginx's annotations of an Ingress, without their prefix."""
    given = item["metadata"].get("annotations") or {}
    return {key.removeprefix(PREFIX): str(value) for key, value in given.items() if key.startswith(PREFIX)}


def read(item: Mapping[str, Any]) -> tuple[Meaning, list[str], list[Wrong]]:
    """Read the annotations of an Ingress: what they mean, what of them does nothing here, what is refused."""
    reader = _Reader(said(item))
    meaning = reader.meaning()
    return meaning, list(reader.told()), reader.wrong


class _Reader:
    def __init__(self, given: dict[str, str]) -> None:
        self.given = given
        self.wrong: list[Wrong] = []
        self.used: set[str] = set()

    def meaning(self) -> Meaning:
        given = Meaning(
            rewrite=self.rewrite(),
            regex=bool(self.flag("use-regex")),
            root=self.path("app-root"),
            redirect=self.redirect(),
            https=self.https(),
            canary=self.canary(),
            limits=tuple(self.limits()),
            timeout=self.timeout(),
            allowed=(*self.ranges("whitelist-source-range"), *self.ranges("allowlist-source-range")),
            denied=tuple(self.ranges("denylist-source-range")),
            cors=self.cors(),
            cookie=self.cookie(),
            headers=self.headers(),
            aliases=tuple(self.several("server-alias")),
        )
        # A canary is led to as its main Ingress says; nginx takes nothing else of it.
        return Meaning(canary=given.canary, cookie=given.cookie) if given.canary else given

    def told(self) -> Iterator[str]:
        for name in self.given:
            if name in self.used or name in _OF_NGINX:
                continue
            if name.startswith(CLOSING) and self.given[name].lower() not in ("false", "off", ""):
                what = f"{PREFIX}{name} lets only some in, and the mesh's gateway cannot do that in nginx's way"
                works = "an AuthorizationPolicy or RequestAuthentication in istio-system, in the place of it"
                self.wrong.append(Wrong("annotation-refused", what, works))
            elif name in NEEDLESS:
                yield f"{PREFIX}{name} is not needed: {NEEDLESS[name]}"
            elif not name.startswith(CLOSING):
                yield f"{PREFIX}{name} is not understood, and does nothing"

    # Values.

    def take(self, name: str) -> str:
        self.used.add(name)
        return self.given.get(name, "").strip()

    def refuse(self, name: str, what: str, works: str) -> None:
        said = f"{PREFIX}{name} is {self.given[name]!r}, which {what}"
        self.wrong.append(Wrong("annotation-unreadable", said, f'{PREFIX}{name}: "{works}"'))

    def flag(self, name: str) -> bool | None:
        text = self.take(name)
        if text and text.lower() not in _TRUE:
            self.refuse(name, "is neither true nor false", "true")
        return _TRUE.get(text.lower())

    def number(self, name: str, default: int, works: str, least: int = 0) -> int:
        text = self.take(name)
        if not text:
            return default
        if not text.isdecimal() or int(text) < least:
            self.refuse(name, f"is no whole number from {least} up", works)
            return default
        return int(text)

    def several(self, name: str) -> list[str]:
        return [part.strip() for part in self.take(name).split(",") if part.strip()]

    def path(self, name: str) -> str:
        text = self.take(name)
        if text and not text.startswith("/"):
            self.refuse(name, "does not begin with /", f"/{text}")
            return ""
        return text

    # One by one.

    def rewrite(self) -> str:
        text = self.path("rewrite-target")
        if re.search(r"\$[^1-9]", text):
            self.refuse("rewrite-target", "has a variable of nginx; only $1 to $9 are known", "/$2")
        return text

    def redirect(self) -> Mapping[str, Any]:
        code = self.number("permanent-redirect-code", 301, "308", 300)
        for name, status in (("permanent-redirect", code), ("temporal-redirect", 302)):
            text = self.take(name)
            if not text:
                continue
            if "$" in text:
                self.refuse(name, "has a variable of nginx", "https://example.org/new")
                continue
            parts = urlsplit(text)
            query = f"?{parts.query}" if parts.query else ""
            to = {"scheme": parts.scheme, "authority": parts.netloc, "uri": f"{parts.path or '/'}{query}"}
            return {**{key: value for key, value in to.items() if value}, "redirectCode": status}
        return {}

    def https(self) -> bool | None:
        forced, wanted = self.flag("force-ssl-redirect"), self.flag("ssl-redirect")
        return True if forced else wanted

    def canary(self) -> Canary | None:
        wanted = self.flag("canary")
        header, cookie = self.take("canary-by-header"), self.take("canary-by-cookie")
        value, pattern = self.take("canary-by-header-value"), self.take("canary-by-header-pattern")
        total = self.number("canary-weight-total", 100, "100", 1)
        weight = self.number("canary-weight", 0, "10")
        if weight > total:
            self.refuse("canary-weight", f"is more than {total}", str(total))
        if _OF_PERL.search(pattern):
            self.refuse("canary-by-header-pattern", "the mesh cannot match: it has no look-around", "beta-.*")
        return Canary(header, value, pattern, cookie, min(weight, total), total) if wanted else None

    def limits(self) -> Iterator[tuple[str, int]]:
        times = self.number("limit-burst-multiplier", 5, "5", 1)
        for name, unit in (("limit-rps", "second"), ("limit-rpm", "minute")):
            count = self.number(name, 0, "10")
            if count:
                yield f"{count}/{unit}", count * times

    def timeout(self) -> str:
        text = self.given.get("proxy-read-timeout", "").strip().removesuffix("s")
        self.used.add("proxy-read-timeout")
        if not text:
            return ""
        if not text.isdecimal() or not int(text):
            self.refuse("proxy-read-timeout", "is no number of seconds", "30")
            return ""
        return f"{text}s" if int(text) < _PATIENCE else ""

    def ranges(self, name: str) -> list[str]:
        found = self.several(name)
        for one in found:
            try:
                ipaddress.ip_network(one)
            except ValueError:
                self.refuse(name, f"has {one}, which is no network", "192.168.56.0/24")
                return []
        return found

    def cors(self) -> Mapping[str, Any]:
        names = ("origin", "methods", "headers", "credentials")
        default = {"origin": "*", "methods": _METHODS, "headers": _HEADERS, "credentials": "true"}
        given = {name: self.several(f"cors-allow-{name}") for name in names}
        expose = self.several("cors-expose-headers")
        age = self.number("cors-max-age", 1728000, "600")
        if not self.flag("enable-cors"):
            return {}
        listed = {name: given[name] or [part.strip() for part in default[name].split(",")] for name in names}
        made: dict[str, Any] = {
            "allowOrigins": [_origin(origin) for origin in listed["origin"]],
            "allowMethods": listed["methods"],
            "allowHeaders": listed["headers"],
            "exposeHeaders": expose,
            "maxAge": f"{age}s",
            "allowCredentials": listed["credentials"] == ["true"],
            # Else the service answers the preflights of those who may not ask.
            "unmatchedPreflights": "IGNORE",
        }
        return {key: value for key, value in made.items() if value != []}

    def cookie(self) -> Mapping[str, Any]:
        sort, name = self.take("affinity"), self.take("session-cookie-name") or "INGRESSCOOKIE"
        path = self.path("session-cookie-path") or "/"
        age = self.number("session-cookie-max-age", 0, "3600")
        if sort and sort != "cookie":
            self.refuse("affinity", "nginx does not know", "cookie")
        return {"name": name, "path": path, "ttl": f"{age}s"} if sort == "cookie" else {}

    def headers(self) -> Mapping[str, str]:
        made = {"X-Forwarded-Prefix": self.take("x-forwarded-prefix"), "Host": self.take("upstream-vhost")}
        for name, value in (("x-forwarded-prefix", made["X-Forwarded-Prefix"]), ("upstream-vhost", made["Host"])):
            if "$" in value:
                self.refuse(name, "has a variable of nginx", "/shop" if value.startswith("/") else "shop.local")
        return {name: value.replace("%", "%%") for name, value in made.items() if value}


def _origin(origin: str) -> dict[str, str]:
    if origin == "*":
        return {"regex": ".*"}
    scheme, wildcard, domain = origin.partition("*.")
    return {"regex": rf"{literal(scheme)}[^.]+\.{literal(domain)}"} if wildcard else {"exact": origin}


def pattern(path: str) -> str:
    """Write a path that is an expression of nginx as one of the mesh, which has to match the whole path.

    nginx takes no notice of the case of letters where a host has expressions, and asks only how a path begins.
    """
    return f"(?i){path}" if path.endswith((".*", ".*)", "$")) else f"(?i){path}.*"


def unmatchable(path: str) -> str:
    """Say why the mesh cannot match an expression; empty: it can."""
    if _OF_PERL.search(path):
        return "has a look-around or a back reference, which the mesh's expressions (RE2) do not have"
    try:
        re.compile(path)
    except re.error as exc:
        return f"is no regular expression: {exc}"
    return ""
