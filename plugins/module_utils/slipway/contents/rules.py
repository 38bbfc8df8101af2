"""Understand a VirtualService at the gateway: paths with their shares, and what asks for a version. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
# Host of a destination, and its subset.
Target = tuple[str, str]

_META = re.compile(r"[\^$*+?{}\[\]|()\\]")
_PAIR = re.compile(r"([\w.-]+)=([\w.-]+)")
# Of what a rule does beside leading somewhere.
_NOT_ASKED = ("timeout", "retries", "headers", "corsPolicy", "rewrite")
_PLAIN_KEYS = {"name", "gateways", "port", "scheme", "uri", "ignoreUriCase"}


@dataclass(frozen=True)
class Way:
    """A path and where its requests go, with the share of each in per cent. ``exact``: this path alone."""

    path: str
    exact: bool
    shares: dict[Target, float]
    timeout: str = ""
    mirrors: tuple[tuple[Target, float], ...] = ()
    cookies: dict[Target, str] = field(default_factory=dict)
    faults: dict[str, Any] | None = None


@dataclass(frozen=True)
class Choice:
    """What makes a request meet one version: ``by`` header, cookie or host; ``place``: which rule of all it is."""

    by: str
    name: str
    value: str
    target: Target
    path: str
    place: int


@dataclass
class Understood:
    """A VirtualService as far as it is understood; ``left`` says of each rule that is not why."""

    ways: list[Way] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    # Path, status and target of what answers by itself.
    redirects: list[tuple[str, int, str]] = field(default_factory=list)


def understand(item: Mapping[str, Any]) -> Understood:
    """Read the rules of a VirtualService."""
    made = Understood()
    closed: dict[str, int] = {}
    for place, rule in enumerate((item.get("spec") or {}).get("http") or []):
        called = f"rule {rule.get('name') or place + 1}"
        for match in rule.get("match") or [{}]:
            path, exact, why = _path(match.get("uri"))
            above = next((number for known, number in closed.items() if covers(known, path)), None)
            if above is not None and not why:
                made.unreached.append(
                    f"{called} is never reached: rule {above + 1} before it takes all requests for {path}"
                )
            elif why:
                made.left.append(f"{called}: {why}")
            else:
                _one(made, rule, match, (path, exact), place, called)
                if not set(match) - _PLAIN_KEYS and not exact:
                    closed.setdefault(path, place)
    return made


def _one(
    made: Understood, rule: Mapping[str, Any], match: Mapping[str, Any], at: tuple[str, bool], place: int, called: str
) -> None:
    path, _ = at
    if rule.get("redirect") and not set(match) - _PLAIN_KEYS and (to := _sent_to(rule["redirect"])):
        made.redirects += [] if any(path == known for known, _, _ in made.redirects) else [(path, *to)]
        return
    if rule.get("redirect") or rule.get("directResponse"):
        made.left.append(f"{called}: answers by itself ({'redirect' if rule.get('redirect') else 'directResponse'})")
        return
    if rule.get("delegate"):
        made.left.append(f"{called}: leaves it to another VirtualService (delegate)")
        return
    shares = shares_of(rule)
    asking = set(match) - _PLAIN_KEYS
    if not shares:
        made.left.append(f"{called}: leads nowhere")
    elif not asking:
        _way(made, rule, at, shares, called)
    elif len(shares) > 1:
        made.left.append(f"{called}: shares requests that ask for something")
    elif asking == {"headers"} and len(match["headers"]) == 1:
        ((name, wanted),) = match["headers"].items()
        value = value_of(wanted)
        if name.lower() == "cookie":
            pair = pair_of(wanted)
            if pair:
                _choose(made, Choice("cookie", *pair, next(iter(shares)), path, place))
            else:
                made.left.append(f"{called}: which cookie it asks for is not understood")
        elif value:
            _choose(made, Choice("header", name, value, next(iter(shares)), path, place))
        else:
            made.left.append(f"{called}: which value of {name} it asks for is not understood")
    elif asking == {"authority"} and value_of(match["authority"]):
        host = value_of(match["authority"])
        _choose(made, Choice("host", host, host, next(iter(shares)), path, place))
    else:
        made.left.append(f"{called}: asks for {', '.join(sorted(asking))}")


def _choose(made: Understood, choice: Choice) -> None:
    # A path and what is below it are two matches of one rule.
    if choice not in made.choices:
        made.choices.append(choice)


def _way(
    made: Understood, rule: Mapping[str, Any], at: tuple[str, bool], shares: dict[Target, float], called: str
) -> None:
    path, exact = at
    if any(way.path == path for way in made.ways):
        return
    timeout, mirrors = str(rule.get("timeout") or ""), tuple(_mirrors(rule))
    made.ways.append(Way(path, exact, shares, timeout, mirrors, dict(_cookies(rule)), faults_of(rule)))
    if more := [key for key in _NOT_ASKED if rule.get(key)]:
        made.left.append(f"{called}: nothing asks about its {' and '.join(more)}")


def _sent_to(redirect: Mapping[str, Any]) -> tuple[int, str] | None:
    """Give the status of a redirect, and where it leads; None: that is not understood."""
    uri, authority = str(redirect.get("uri") or ""), str(redirect.get("authority") or "")
    # What is left of a path, or another port of the host, would have to be put together as the mesh does.
    if set(redirect) - {"uri", "authority", "scheme", "redirectCode"} or not (uri or authority):
        return None
    host = f"{redirect.get('scheme', '')}{':' if redirect.get('scheme') else ''}//{authority}" if authority else ""
    return int(redirect.get("redirectCode") or 301), f"{host}{uri}"


def _path(uri: Any) -> tuple[str, bool, str]:
    """Give the path of a rule, whether it is this one alone, and why it is not understood."""
    if not uri:
        return "/", False, ""
    if uri.get("exact"):
        return str(uri["exact"]), True, ""
    if uri.get("prefix"):
        return str(uri["prefix"]).rstrip("/") or "/", False, ""
    plain = str(uri.get("regex", "")).removeprefix("^").removesuffix("$").removesuffix(".*")
    if plain and not _META.search(plain.replace(".", "")):
        return plain.rstrip("/") or "/", False, ""
    return "/", False, f"goes by the expression {uri.get('regex')}"


def covers(known: str, path: str) -> bool:
    """Tell whether a path begins with another one."""
    return known == "/" or f"{path}/".startswith(f"{known}/")


def shares_of(rule: Mapping[str, Any]) -> dict[Target, float]:
    """Give the shares of the destinations of a rule, in per cent of all; those without weight too."""
    routes = rule.get("route") or []
    weights = [float(one.get("weight") or (100 if len(routes) == 1 else 0)) for one in routes]
    total = sum(weights)
    made: dict[Target, float] = {}
    for one, weight in zip(routes, weights, strict=True):
        to = target(one.get("destination") or {})
        share = 100 * weight / total if total else 0
        made[to] = made.get(to, 0) + (int(share) if share == int(share) else share)
    return made


def target(destination: Mapping[str, Any]) -> Target:
    """Give a destination's host and subset."""
    return str(destination.get("host", "")), str(destination.get("subset") or "")


def value_of(wanted: Any) -> str:
    """Give a value that a match takes; empty: none is known."""
    if not isinstance(wanted, Mapping):
        return ""
    if wanted.get("exact") or wanted.get("prefix"):
        return str(wanted.get("exact") or wanted.get("prefix"))
    text = str(wanted.get("regex") or "").removeprefix("(?i)").removeprefix("^").removesuffix("$")
    text = text.removeprefix(".*").removesuffix(".*")
    return "" if _META.search(text) else text.replace("\\", "")


def pair_of(wanted: Any) -> tuple[str, str] | None:
    """Give the name and the value of the cookie that a match asks for; None: that is not understood."""
    if not isinstance(wanted, Mapping):
        return None
    text = str(wanted.get("exact") or wanted.get("prefix") or wanted.get("regex") or "").replace("\\", "")
    found = list(dict.fromkeys(_PAIR.findall(text)))
    return (found[0][0], found[0][1]) if len(found) == 1 else None


def _cookies(rule: Mapping[str, Any]) -> Iterator[tuple[Target, str]]:
    """Give the cookie that each destination's answers set."""
    for one in rule.get("route") or []:
        response = (one.get("headers") or {}).get("response") or {}
        for how in ("add", "set"):
            for name, value in (response.get(how) or {}).items():
                if str(name).lower() == "set-cookie":
                    yield target(one.get("destination") or {}), str(value)


def faults_of(rule: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the faults that a rule injects, as claims have them; None: there are none that are understood."""
    fault = rule.get("fault") or {}
    delay, abort = fault.get("delay") or {}, fault.get("abort") or {}
    share = {name: float((one.get("percentage") or {}).get("value", 100)) for name, one in fault.items() if one}
    made = {
        "delay": {"time": str(delay["fixedDelay"]), "share": share["delay"]} if delay.get("fixedDelay") else None,
        "abort": {"status": int(abort["httpStatus"]), "share": share["abort"]} if abort.get("httpStatus") else None,
    }
    return made if any(made.values()) else None


def _mirrors(rule: Mapping[str, Any]) -> Iterator[tuple[Target, float]]:
    if rule.get("mirror"):
        percent = (rule.get("mirrorPercentage") or {}).get("value", rule.get("mirrorPercent", 100))
        yield target(rule["mirror"]), float(percent)
    for one in rule.get("mirrors") or []:
        yield target(one.get("destination") or {}), float((one.get("percentage") or {}).get("value", 100))
