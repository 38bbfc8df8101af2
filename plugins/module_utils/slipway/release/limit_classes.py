"""Limits for classes of requests, as actions and descriptors of Envoy.

Each request falls into at most one bucket of a class: a named value, any other value, or no value at all. That is said
to Envoy in the actions, so nothing depends on which of several descriptors it would take.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .limit_keys import Limit, LimitClass, Limits
from .routing import cookie_pattern, literal
from .values import bucket

Action = dict[str, Any]
# Keys of descriptors begin so; only requests that say something of themselves are counted by those with the first.
BY, OTHERWISE = "by:", "without:"


@dataclass(frozen=True)
class Bucket:
    """A bucket of a class. ``when``: header or cookie with its value; ``without``: a name that must not be there."""

    by: str
    per: str
    paths: list[str]
    rate: str
    bucket: dict[str, Any]
    when: dict[str, Any]
    actions: list[Action]
    entries: list[dict[str, str]]

    def as_dict(self) -> dict[str, Any]:
        """Give what those want to know who are not Envoy."""
        path = self.paths[0] if self.paths else ""
        about = {"path": path, "per": self.per, "rate": self.rate, "bucket": self.bucket}
        return {**about, "by": self.by, "paths": self.paths, "when": self.when}


def classes(limits: Limits) -> list[Bucket]:
    """List the buckets of all classes."""
    return [made for name, given in limits.by.items() for made in _Class(name, given).buckets()]


@dataclass(frozen=True)
class _Class:
    name: str
    given: LimitClass

    def buckets(self) -> Iterator[Bucket]:
        given = self.given
        if given.rate:
            yield self._bucket(given.rate, {}, [])
        sort, key = ("header", given.header) if given.header else ("cookie", given.cookie)
        for value, limit in given.values.items():
            action = _matched(f"{BY}{self.name}", value, [self._has(value)])
            yield self._bucket(limit, {sort: key, "value": value}, [action])
        if given.each:
            others = [self._named()] if given.values else []
            asked = {"request_headers": {"header_name": given.header, "descriptor_key": f"{BY}{self.name}"}}
            yield self._bucket(given.each, {sort: key, "value": None}, [*others, asked])
        if given.without:
            there = self._there()
            action = _matched(f"{OTHERWISE}{self.name}", "none", [there], there=False)
            yield self._bucket(given.without, {"without": key, "sort": sort}, [action])

    def _bucket(self, limit: Limit, when: dict[str, Any], about: list[Action]) -> Bucket:
        given = self.given
        actions: list[Action] = [{"remote_address": {}}] if given.per == "client" else []
        actions += [on_paths(f"paths:{self.name}", "these", given.paths)] if given.paths else []
        actions += about
        return Bucket(
            by=self.name,
            per="client" if given.per == "client" else "total",
            paths=[path.rstrip("/") or "/" for path in given.paths],
            rate=limit.rate,
            bucket=bucket(limit.rate, limit.burst),
            when=when,
            actions=actions,
            entries=[_entry(action) for action in actions],
        )

    def _has(self, value: str) -> dict[str, Any]:
        if self.given.header:
            return {"name": self.given.header, "string_match": {"exact": value}}
        return _regex("cookie", cookie_pattern(str(self.given.cookie), value))

    def _there(self) -> dict[str, Any]:
        if self.given.header:
            return {"name": self.given.header, "present_match": True}
        return _regex("cookie", rf"^(.*;\s*)?{literal(str(self.given.cookie))}=.*$")

    def _named(self) -> Action:
        """Leave out the values that have a bucket of their own."""
        names = "|".join(map(literal, self.given.values))
        return _matched(f"{OTHERWISE}{self.name}", "named", [_regex(str(self.given.header), names)], there=False)


def on_paths(key: str, value: str, paths: list[str]) -> Action:
    """Count requests for paths, and for what is below them."""
    tidy = [path.rstrip("/") for path in paths]
    pattern = rf"({'|'.join(map(literal, tidy))})([/?].*)?" if len(tidy) > 1 else rf"{literal(tidy[0])}([/?].*)?"
    return _matched(key, value, [_regex(":path", pattern)])


def _matched(key: str, value: str, headers: list[dict[str, Any]], *, there: bool = True) -> Action:
    held = {"descriptor_key": key, "descriptor_value": value, "headers": headers}
    return {"header_value_match": held if there else {**held, "expect_match": False}}


def _regex(name: str, pattern: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"safe_regex": {"regex": pattern}}}


def _entry(action: Action) -> dict[str, str]:
    """Give the entry of a descriptor that an action makes; without a value it is one bucket for each."""
    if "remote_address" in action:
        return {"key": "remote_address"}
    if "request_headers" in action:
        return {"key": action["request_headers"]["descriptor_key"]}
    held = action["header_value_match"]
    return {"key": held["descriptor_key"], "value": held["descriptor_value"]}
