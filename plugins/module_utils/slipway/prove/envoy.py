"""Read what a proxy really has: its counts, and of its configuration who may call and how calls are treated.

Pure: texts and configuration dumps of Envoy's administration interface in, plain values out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]

# What came in at a pod, by the code of the answer.
_INBOUND = re.compile(
    r'^envoy_cluster_upstream_rq\{(?=[^}]*cluster_name="inbound\|(\d+)\|)(?=[^}]*response_code=)[^}]*\} (\S+)', re.M
)
_APP = re.compile(r"^app_requests_total\{[^}]*\} (\S+)", re.M)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def inbound(text: str, port: int | None = None) -> float:
    """Count the requests that a pod's proxy let in, from its metrics; of one port of the pod where it is named."""
    return sum(float(value) for found, value in _INBOUND.findall(text) if port in (None, int(found)))


def counted(text: str) -> float | None:
    """Count the requests of users and other hops that the app itself tells of; None when it does not."""
    found = _APP.findall(text)
    return sum(map(float, found)) if found else None


def walk(node: Any) -> Iterator[Json]:
    """Give every map in a tree, the outer ones first; without listeners that drain: those serve no new connection."""
    if isinstance(node, dict):
        yield node
        for name, each in node.items():
            if name != "draining_state":
                yield from walk(each)
    elif isinstance(node, list):
        for each in node:
            yield from walk(each)


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, (dict, list)):
        for each in node.values() if isinstance(node, dict) else node:
            yield from _texts(each)


def principals(listeners: Any) -> list[str]:
    """List the accounts (``…/ns/<namespace>/sa/<account>``) that the access rules among listeners name."""
    found = (text for each in walk(listeners) for text in _texts(each.get("principals")) if "/sa/" in text)
    return sorted(set(found))


def routes_to(routes: Any, *hosts: str) -> list[Json]:
    """List the routes that lead to a service of one of these full hosts, in any version."""
    found = []
    for each in walk(routes):
        action = each.get("route")
        if "match" in each and isinstance(action, dict):
            weighted = (action.get("weighted_clusters") or {}).get("clusters") or []
            names = [action.get("cluster"), *(one.get("name") for one in weighted)]
            if any(str(name).rpartition("|")[2] in hosts for name in names if name):
                found.append(each)
    return found


def clusters_of(clusters: Any, host: str) -> list[Json]:
    """List the clusters of a service of that full host, one for each version and one for all."""
    found = (each for each in walk(clusters) if str(each.get("name", "")).startswith("outbound|") and "type" in each)
    return [each for each in found if each["name"].endswith(f"|{host}")]


def seconds(text: str) -> float | None:
    """Read ``500ms``, ``2s`` or Envoy's ``0.500s``; None for what is no length of time."""
    match = re.fullmatch(r"([\d.]+)(ms|s|m|h|d)", text)
    return float(match[1]) * _UNITS[match[2]] if match else None


def policy(kind: str, wanted: Any, routes: list[Json], clusters: list[Json]) -> Json:
    """Hold a policy of a service against the routes and clusters by which it is called: ``found`` and ``detail``."""
    judge = _JUDGES[kind]
    held = clusters if kind == "circuit-breaking" else routes
    if not held:
        return {"found": False, "detail": "no way leads there"}
    # Calls of shadows have rules of their own, which no policy is for.
    ours = [each for each in held if ":shadow:" not in str(each.get("name", ""))] or held
    details = [judge(wanted, each) for each in ours]
    wrong = [text for good, text in details if not good]
    if kind == "faults":
        # The rules of a service that are not for its users, such as refusals, have none.
        good = [text for fits, text in details if fits]
        return {"found": bool(good), "detail": (good or wrong)[0]}
    return {"found": not wrong, "detail": (wrong or [text for _, text in details])[0]}


def _timeout(wanted: str, route: Json) -> tuple[bool, str]:
    has = str(route["route"].get("timeout", "none"))
    held, given = seconds(has), seconds(str(wanted))
    # 9 ms is 0.009 s, but not to the last digit of a float.
    same = held is not None and given is not None and math.isclose(held, given)
    return same, f"a timeout of {has}"


def _retries(wanted: Json, route: Json) -> tuple[bool, str]:
    held = route["route"].get("retry_policy") or {}
    has = int(held.get("num_retries", 1)) if held else 0
    after = str(held.get("retry_on", ""))
    matched = any(header.get("name") == ":method" for header in route["match"].get("headers", []))
    # Without methods of its own a rule is for those that are not asked again.
    limited = bool(wanted.get("methods")) and not matched
    reasons = wanted.get("others" if limited else "reasons")
    attempts = int(wanted["attempts"]) if reasons is None or reasons else 0
    same = not attempts or reasons is None or set(after.split(",")) == set(reasons)
    text = f"{has} more tries" + (f" after {after}" if after else "")
    return has == attempts and same, text + (" for methods that are not safe to repeat" if limited else "")


def _breaking(wanted: Json, cluster: Json) -> tuple[bool, str]:
    has = (cluster.get("outlier_detection") or {}).get("consecutive_5xx")
    fits = has is not None and int(has) == int(wanted["errors"])
    return fits, "no pod is ever taken out" if has is None else f"a pod is taken out after {has} errors"


def _faults(wanted: Json, route: Json) -> tuple[bool, str]:
    held = (route.get("typed_per_filter_config") or {}).get("envoy.filters.http.fault") or {}
    absent = [name for name in ("delay", "abort") if wanted.get(name) and name not in held]
    made = " and ".join(f"{name}s" for name in ("delay", "abort") if name in held)
    return not absent, f"{absent[0]}s are not made" if absent else made


_JUDGES: dict[str, Callable[[Any, Json], tuple[bool, str]]] = {
    "timeout": _timeout,
    "retries": _retries,
    "circuit-breaking": _breaking,
    "faults": _faults,
}


# What a proxy sends on to wherever a program wanted, and what it drops.
_PASSES, _DROPS = "PassthroughCluster", "BlackHoleCluster"
# How the key begins that istiod hands out where it could not fetch any: nobody has its private half.
_NO_KEYS = "0xObjM0UvS_oaazj"


def held_back(listeners: Any, routes: Any) -> Json:
    """Tell whether a proxy drops what goes to hosts that the mesh does not know: ``found`` and ``detail``."""
    named = [str(each["cluster"]) for node in (listeners, routes) for each in walk(node) if "cluster" in each]
    if _PASSES in named:
        return {"found": False, "detail": "what is not named is let through"}
    dropped = _DROPS in named
    return {"found": dropped, "detail": "proxies drop what is not named" if dropped else "no way out is known"}


def known_outside(wanted: Json, clusters: Any, routes: Any) -> Json:
    """Hold a host outside against what a proxy knows of it: ``found`` and ``detail``."""
    held = [each for each in clusters_of(clusters, wanted["host"]) if each["name"].split("|")[1] == str(wanted["port"])]
    if not held:
        return {"found": False, "detail": f"no proxy knows {wanted['host']} at port {wanted['port']}"}
    # Of the sockets some are for pods of the mesh, and no name of a host outside is told to these.
    names = {str(each.get("sni")) for each in walk(held) if "sni" in each}
    if wanted["tls"] == "mesh" and wanted["host"] not in names:
        return {"found": False, "detail": f"nothing encrypts what goes to {wanted['host']}"}
    if wanted["timeout"]:
        for route in routes_to(routes, wanted["host"]):
            good, detail = _timeout(wanted["timeout"], route)
            if not good:
                return {"found": False, "detail": detail}
    return {"found": True, "detail": f"port {wanted['port']}" + (", encrypted" if wanted["tls"] == "mesh" else "")}


def keys(listeners: Any) -> Json:
    """Tell whether a proxy has the keys of all issuers: ``found`` and ``detail``."""
    providers = [item for each in walk(listeners) for item in (each.get("providers") or {}).values()]
    if not providers:
        return {"found": False, "detail": "a proxy checks no tokens"}
    without = [str(each.get("issuer")) for each in providers if _NO_KEYS in str(each.get("local_jwks"))]
    if without:
        return {"found": False, "detail": f"istiod could not fetch the keys of {without[0]}, so no token is taken"}
    issuers = {str(each.get("issuer")) for each in providers}
    return {"found": True, "detail": f"keys of {', '.join(sorted(issuers))}"}
