"""The routes of users as HTTPRoutes of the Gateway API: ``output: gateway-api``. Pure.

They are written from the very rules that a VirtualService gets (``routing.py``), so both outputs mean the same. Calls
between services stay VirtualServices and DestinationRules: the Gateway API does not know the version of a caller. What
the standard channel cannot say of users is refused by the name of its key (``output_checks.py``), and a field that is
not known here is an error: none is left out in silence.

Of rules that fit, the Gateway API takes the most exact one and not the first. So rules that would change places are
found (``misplaced``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from .backends import backend, versioned
from .routing import Rule, Rules, authority, literal
from .values import milliseconds

# Most rules of one HTTPRoute, and most of its hosts; changes of several ones are not at once.
MOST_RULES, MOST_HOSTS = 16, 16
_RULE = {
    "name", "match", "route", "redirect", "rewrite", "rewrite_to", "headers", "cors", "origins", "mirrors", "timeout",
    "case",
}  # fmt: skip
_DESTINATION = {"host", "port", "subset", "weight", "percent", "request_set", "response_set"}
_MATCH = {"uri", "headers", "queryParams", "method"}
Values = dict[str, Any]


# Hosts, each with its rules.


def sets(rules: Rules) -> Iterator[tuple[str, list[str], list[Rule]]]:
    """Give the HTTPRoutes: the host that one is named by (empty: the release), its hosts, and its rules, in order.

    A host that shows one version has a route of its own, because rules cannot ask for a host.
    """
    shape = rules.naming.shape
    shown = shape.override_hosts
    entry = rules.entry()
    own = [host for host in shape.hosts if host not in shown]
    if own:
        yield "", own, list(_for_host(entry, ""))
    for host in shown:
        yield host, [host], list(_for_host(entry, host))
    for host in shape.host_routes:
        yield host, [host], list(_for_host(rules.entry(host), ""))


def _for_host(rules: Iterable[Rule], host: str) -> Iterator[Rule]:
    """Give the rules that are for a host (empty: for one that shows no version), without what never gets a request."""
    before: list[Values] = []
    for rule in rules:
        kept = []
        for match in rule["match"]:
            bare = {key: value for key, value in match.items() if key != "authority"}
            asked = match.get("authority", authority(host) if host else None)
            if asked == (authority(host) if host else None) and not any(_takes(one, bare) for one in before):
                kept.append(bare)
        before += kept
        if kept:
            yield {**rule, "match": kept}


def _takes(one: Values, other: Values) -> bool:
    """Tell whether all that fits ``other`` fits ``one``, which asks for no more."""
    return (
        one.get("uri") == other.get("uri")
        and one.get("method") in (None, other.get("method"))
        and all(one.get(key, {}).items() <= other.get(key, {}).items() for key in ("headers", "queryParams"))
    )


# Their order.


def misplaced(rules: list[Rule]) -> Iterator[tuple[Rule, Rule]]:
    """Give the pairs of rules that an HTTPRoute would try the other way round, and that lead elsewhere."""
    listed = [(rule, match) for rule in rules for match in _matches(rule)]
    for (first, one), (later, other) in itertools.combinations(listed, 2):
        if _rank(other) < _rank(one) and not _apart(one, other) and _does(first) != _does(later):
            yield first, later


def _rank(match: Values) -> tuple[Any, ...]:
    named = (len(match.get("headers", [])), len(match.get("queryParams", [])))
    return -len(match["path"]["value"]), "method" not in match, -named[0], -named[1]


def _apart(one: Values, other: Values) -> bool:
    """Tell whether no request fits both: paths of different length were in order before."""
    if one["path"] != other["path"] or one.get("method", other.get("method")) != other.get("method", one.get("method")):
        return True
    for key in ("headers", "queryParams"):
        exact = [
            {each["name"]: each["value"] for each in m.get(key, []) if each["type"] == "Exact"} for m in (one, other)
        ]
        if any(exact[1].get(name, value) != value for name, value in exact[0].items()):
            return True
    return False


def _does(rule: Rule) -> Rule:
    return {key: value for key, value in rule.items() if key not in ("name", "match", "case")}


def path_of(rule: Rule) -> str:
    """Give the path of the page that a rule is for."""
    path: str = next(_matches(rule))["path"]["value"]
    return path


# What a rule becomes.


def written(rules: Iterable[Rule], namespace: str) -> list[Values]:
    """Write rules as those of an HTTPRoute: ``name``, ``matches``, ``filters``, ``backends``, ``timeout``."""
    made = [each for rule in rules for each in _rules(rule)]
    return [{**each, "name": f"{each['name']}.{namespace}.slipway-{index + 1}"} for index, each in enumerate(made)]


def to_https() -> Values:
    """Write the rule that sends clients to https, as a Gateway with ``httpsRedirect`` does."""
    redirect = {"scheme": "https", "statusCode": 301}
    found = {"type": "RequestRedirect", "requestRedirect": redirect}
    return {"name": "https", "matches": [{"path": _path("/")}], "filters": [found], "backends": [], "timeout": ""}


def _rules(rule: Rule) -> Iterator[Values]:
    _known(rule, _RULE)
    backends = [_backend(to) for to in rule.get("route", [])]
    filters, matches = list(_filters(rule)), list(_matches(rule))
    # The API server takes a rule that replaces a prefix with one match alone.
    alone = any(one["type"] == "URLRewrite" for one in filters)
    for part in ([match] for match in matches) if alone else [matches]:
        yield {
            # By the name a request is counted that finds no cluster, as one to that service.
            "name": versioned(backends[0]["name"])[0] if backends else "redirect",
            "matches": part,
            "filters": filters,
            "backends": backends,
            "timeout": _duration(rule["timeout"]) if "timeout" in rule else "",
        }


def _known(given: Mapping[str, Any], fields: set[str]) -> None:
    if unknown := sorted(given.keys() - fields):
        raise ValueError(f"an HTTPRoute cannot say {unknown[0]}: {given}")


def _duration(text: str) -> str:
    """Write a length of time as the Gateway API takes it: five digits at most of each unit, and no fraction."""
    number = milliseconds(text)
    parts = (
        (number // 3_600_000, "h"),
        (number // 60_000 % 60, "m"),
        (number // 1000 % 60, "s"),
        (number % 1000, "ms"),
    )
    return "".join(f"{value}{unit}" for value, unit in parts if value)


def _path(value: str) -> Values:
    return {"type": "PathPrefix", "value": value}


def _matches(rule: Rule) -> Iterator[Values]:
    for match in rule["match"]:
        _known(match, _MATCH)
        uri = match["uri"]
        if "exact" in uri and {**match, "uri": {"prefix": f"{uri['exact']}/"}} in rule["match"]:
            # A PathPrefix is a path with all below it.
            continue
        made: Values = {"path": _path(uri["prefix"].rstrip("/") or "/")}
        for key in ("headers", "queryParams"):
            if match.get(key):
                made[key] = [{"name": name, **_value(wanted)} for name, wanted in match[key].items()]
        methods = match["method"]["regex"].split("|") if "method" in match else []
        yield from ({**made, "method": method} for method in methods)
        if not methods:
            yield made


def _value(wanted: Mapping[str, str]) -> Values:
    if "exact" in wanted:
        return {"type": "Exact", "value": wanted["exact"]}
    pattern = f"{literal(wanted['prefix'])}.*" if "prefix" in wanted else wanted["regex"]
    return {"type": "RegularExpression", "value": pattern}


def _backend(to: Mapping[str, Any]) -> Values:
    filters = list(_changes({"set": to["request_set"]}, {"set": to.get("response_set", {})}))
    weight = {"weight": to["weight"]} if "weight" in to else {}
    return {**_reference(to), **weight, **({"filters": filters} if filters else {})}


def _reference(to: Mapping[str, Any]) -> Values:
    _known(to, _DESTINATION)
    return {"name": backend(to["host"].partition(".")[0], to["subset"]), "port": to["port"]}


def _filters(rule: Rule) -> Iterator[Values]:
    headers = rule.get("headers", {})
    yield from _changes(headers.get("request", {}), headers.get("response", {}))
    if "rewrite" in rule and (rule["rewrite_to"], rule["match"][0]["uri"]) != ("/", {"prefix": "/"}):
        path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": rule["rewrite_to"].rstrip("/") or "/"}
        yield {"type": "URLRewrite", "urlRewrite": {"path": path}}
    if "cors" in rule:
        yield {"type": "CORS", "cors": _cors(rule["cors"], rule["origins"])}
    for to in rule.get("mirrors", []):
        yield {"type": "RequestMirror", "requestMirror": {"backendRef": _reference(to), **_share(to["percent"])}}
    if "redirect" in rule:
        yield {"type": "RequestRedirect", "requestRedirect": _redirect(rule["redirect"])}


def _changes(request: Mapping[str, Any], response: Mapping[str, Any]) -> Iterator[Values]:
    for side, given in (("request", request), ("response", response)):
        made: Values = {
            how: [{"name": name, "value": value} for name, value in given[how].items()]
            for how in ("set", "add")
            if given.get(how)
        }
        made |= {"remove": given["remove"]} if given.get("remove") else {}
        if made:
            yield {"type": f"{side.title()}HeaderModifier", f"{side}HeaderModifier": made}


def _share(percent: float) -> Values:
    whole = Fraction(str(percent))
    if whole.denominator == 1:
        return {"percent": int(whole)}
    share = whole / 100
    return {"fraction": {"numerator": share.numerator, "denominator": share.denominator}}


def _redirect(given: Mapping[str, Any]) -> Values:
    made: Values = {"statusCode": given["redirectCode"]}
    if "uri" in given:
        made["path"] = {"type": "ReplaceFullPath", "replaceFullPath": given["uri"]}
    if "authority" in given:
        made |= {"scheme": given["scheme"], "hostname": given["authority"]}
    return made | ({"port": given["port"]} if "port" in given else {})


def _cors(given: Mapping[str, Any], origins: list[str]) -> Values:
    made = {key: given[key] for key in ("allowMethods", "allowHeaders", "exposeHeaders") if key in given}
    more = {"allowCredentials": True} if given["allowCredentials"] else {}
    return {"allowOrigins": origins, **made, "maxAge": milliseconds(given["maxAge"]) // 1000, **more}
