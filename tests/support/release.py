"""What tests of releases share: pages made in a folder, plans, and what Istio would do with the rules of a plan."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from slipway.page.read import Problem, SettingsError
from slipway.release.environment import Environment
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

RELEASES = Path(__file__).parents[2] / "releases"
Object = dict[str, Any]


def page(folder: Path, text: str | dict[str, Any]) -> Path:
    """Write a page, given as text or as values."""
    path = folder / "page.yml"
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False), encoding="utf-8")
    return path


def shipped(release: str, environment: Environment | None = None, **overrides: Any) -> Plan:
    """Plan a release that is part of the repository."""
    return plan(load(RELEASES / f"{release}.yml", overrides), environment)


def problems(path: Path, overrides: dict[str, Any] | None = None) -> list[Problem]:
    """Give what is wrong with a page; empty when it can be planned."""
    try:
        plan(load(path, overrides))
    except SettingsError as exc:
        return exc.problems
    return []


def one(made: Plan, kind: str, name: str) -> Object:
    """Find the object of that kind and name."""
    found = [item for item in made.objects if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    assert found, f"no {kind} {name}; there are {sorted(names(made, kind))}"
    return found[0]


def names(made: Plan, kind: str) -> set[str]:
    """Give the names of all objects of a kind."""
    return {item["metadata"]["name"] for item in made.objects if item["kind"] == kind}


def at(node: Any, path: str) -> list[Any]:
    """Give every value at a path such as ``spec/servers/*/port/number``; ``[name=v1]`` picks from a list of maps."""
    found = [node]
    for part in path.split("/"):
        found = [inner for item in found for inner in _step(item, part.replace("|", "/"))]
    return found


def _step(item: Any, part: str) -> Iterator[Any]:
    picked = re.fullmatch(r"\[(.+?)=(.*)\]", part)
    if part == "*":
        yield from item.values() if isinstance(item, dict) else item
    elif picked:
        yield from (entry for entry in item if str(entry.get(picked[1])) == picked[2])
    elif isinstance(item, list):
        if part.isdigit() and int(part) < len(item):
            yield item[int(part)]
    elif isinstance(item, dict) and part in item:
        yield item[part]


@dataclass(frozen=True)
class Answer:
    """Where a rule sends a request.

    ``shares`` gives destinations (``service:subset``) with their per cent, ``cookies`` what is set on the way back, one
    for each destination, ``stamps`` the values of request headers set on the way there with their per cent, ``copies``
    the mirrors, ``retries`` what is asked again, ``status`` what the proxy answers itself. ``services``: a version
    is told by a Service, and not by a subset.
    """

    rule: str
    shares: dict[str, int]
    cookies: tuple[str, ...] = ()
    stamps: dict[str, int] = field(default_factory=dict)
    copies: dict[str, float] = field(default_factory=dict)
    status: int = 0
    retries: Object = field(default_factory=dict)
    services: bool = False


def ask(made: Plan, url: str, **headers: str) -> Answer:
    """Say what the gateway would do with a request for ``host[:port]/path``, by GET unless ``method`` is given."""
    authority, _, path = url.partition("/")
    host = authority.partition(":")[0]
    for item in made.objects:
        if item["kind"] == "VirtualService" and host in item["spec"]["hosts"]:
            given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
            return answered(item, authority, f"/{path}", {"method": "GET"} | given, {})
    raise AssertionError(f"no VirtualService for {host}")


def call(made: Plan, caller: str, version: str, service: str, **headers: str) -> Answer:
    """Say what a pod's proxy would do with a call to a service; ``version`` is the pod's label."""
    host = made.facts["services"][service]["host"]
    for item in made.objects:
        if item["kind"] == "VirtualService" and item["spec"]["hosts"] == [host]:
            given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
            return answered(item, host, "/", {"method": "GET"} | given, {"app": caller, "version": version})
    return Answer("", {service: 100})


def answered(item: Object, authority: str, path: str, headers: dict[str, str], labels: dict[str, str]) -> Answer:
    """Say what a VirtualService does with a request from a pod with these labels."""
    for rule in item["spec"]["http"]:
        matches = rule.get("match", [{}])
        if any(_matches(match, authority, path, headers, labels) for match in matches):
            if "redirect" in rule:
                return Answer(rule["name"], {}, status=rule["redirect"]["redirectCode"])
            if "directResponse" in rule:
                return Answer(rule["name"], {}, status=rule["directResponse"]["status"])
            return _sent(rule)
    return Answer("", {}, status=404)


def _sent(rule: Object) -> Answer:
    shares: dict[str, int] = {}
    stamps: dict[str, int] = {}
    cookies: list[str] = []
    for to in rule["route"]:
        name, share = _named(to["destination"]), to.get("weight", 100)
        shares[name] = shares.get(name, 0) + share
        headers = to.get("headers", {})
        cookies += headers.get("response", {}).get("add", {}).values()
        stamps |= dict.fromkeys(headers.get("request", {}).get("set", {}).values(), share)
    copies = {_named(mirror["destination"]): mirror["percentage"]["value"] for mirror in rule.get("mirrors", [])}
    return Answer(rule["name"], shares, tuple(cookies), stamps, copies, retries=rule.get("retries", {}))


def _named(destination: Object) -> str:
    """Write a destination as ``service`` or ``service:subset``."""
    host = destination["host"].partition(".")[0]
    return f"{host}:{destination['subset']}" if "subset" in destination else str(host)


def _fits(wanted: Object, value: str) -> bool:
    if "exact" in wanted:
        return bool(value == wanted["exact"])
    return value.startswith(wanted["prefix"]) if "prefix" in wanted else bool(re.fullmatch(wanted["regex"], value))


def _matches(match: Object, authority: str, path: str, headers: dict[str, str], labels: dict[str, str]) -> bool:
    if "port" in match:
        # Asked for is the port that a service is called by.
        return False
    path, _, query = path.partition("?")
    fits = _fits(match.get("uri", {"prefix": "/"}), path)
    asked = dict(urllib.parse.parse_qsl(query))
    for name, wanted in match.get("queryParams", {}).items():
        fits = fits and name in asked and _fits(wanted, asked[name])
    if "authority" in match:
        fits = fits and re.fullmatch(match["authority"]["regex"], authority) is not None
    for name, wanted in match.get("headers", {}).items():
        value = headers.get(name)
        if value is None:
            return False
        fits = fits and _fits(wanted, value)
    fits = fits and re.fullmatch(match.get("method", {"regex": ".*"})["regex"], headers["method"]) is not None
    return fits and match.get("sourceLabels", {}).items() <= labels.items()
