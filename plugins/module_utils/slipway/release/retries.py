"""What the mesh sends again, and after what: not what may have been carried out, unless the page says so.

By RFC 9110, 9.2.2, a proxy must not repeat a request that is not idempotent by itself. What was never sent may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .model import Service
from .outside_keys import Outside
from .values import seconds_text

# After these nothing has reached the service.
UNSENT = ("connect-failure", "refused-stream")
HTTP = ("5xx", "gateway-error", "retriable-4xx")
# Statuses of gRPC, as the service or the proxy beside it answers them.
GRPC = ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")
# What Istio does by itself, so that the key takes nothing away; of HTTP it repeats nothing that was answered.
_USUAL = {"http": (*UNSENT, "gateway-error"), "grpc": (*UNSENT, "cancelled", "unavailable")}
# Envoy counts a broken connection as one of these, a refused one too.
_BROKEN = ("5xx", "gateway-error", "reset")
SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
_METHODS = {"safe": SAFE, "idempotent": (*SAFE, "PUT", "DELETE"), "all": ()}
# Ends the name of the rule for those methods; the rule for all others keeps the name.
AGAIN = ":again"


def usual(protocol: str) -> tuple[str, ...]:
    """List what it is repeated after where the page does not say."""
    return _USUAL["grpc" if protocol == "grpc" else "http"]


def reasons(service: Service | Outside) -> list[str]:
    """List what requests to a service are repeated after."""
    declared = service.retries.reasons if service.retries else None
    return list(declared or usual(service.protocol))


def methods(service: Service | Outside) -> list[str]:
    """List the methods that are repeated after these reasons; empty: all. Every call of gRPC is a POST."""
    if service.retries is None or service.protocol == "grpc" or set(reasons(service)) <= set(UNSENT):
        return []
    return list(_METHODS[service.retries.methods])


def others(service: Service | Outside) -> list[str]:
    """List what the other methods are repeated after: what tells that nothing was sent."""
    given = reasons(service)
    return [reason for reason in UNSENT if reason in given or set(given) & set(_BROKEN)]


def policy(service: Service | Outside, after: list[str]) -> dict[str, Any]:
    """Write the policy of a rule, as a VirtualService has it."""
    declared = service.retries
    if declared is None or not declared.attempts or not after:
        return {"attempts": 0}
    made: dict[str, Any] = {"attempts": declared.attempts, "retryOn": ",".join(after)}
    if declared.per_try:
        made["perTryTimeout"] = seconds_text(declared.per_try)
    return made


def common(service: Service | Outside) -> dict[str, Any]:
    """Say what the rules of a service have to hold; ``by_method`` makes two of a rule where that goes by the method."""
    if service.retries is None:
        return {}
    made: dict[str, Any] = {"retries": policy(service, reasons(service))}
    if service.retries.attempts and methods(service):
        made |= {"methods": methods(service), "retries_of_others": policy(service, others(service))}
    return made


def names(service: Service | Outside) -> tuple[str, ...]:
    """Give what the names of the rules end with that ``by_method`` makes of one."""
    return (AGAIN, "") if "methods" in common(service) else ("",)


def by_method(rules: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield rules, two of one where what is repeated goes by the method: for those, and then for all others."""
    for rule in rules:
        kept = {key: value for key, value in rule.items() if key not in ("methods", "retries_of_others")}
        if "methods" not in rule:
            yield kept
            continue
        match = [each for each in (_narrowed(one, rule["methods"]) for one in rule["match"] or [{}]) if each]
        if match:
            yield {**kept, "name": f"{rule['name']}{AGAIN}", "match": match}
        yield {**kept, "retries": rule["retries_of_others"]}


def _narrowed(match: dict[str, Any], methods: list[str]) -> dict[str, Any]:
    """Match requests of these methods alone; empty: it is for none of them."""
    own = match["method"]["regex"].split("|") if "method" in match else methods
    both = [method for method in own if method in methods]
    return {**match, "method": {"regex": "|".join(both)}} if both else {}


def facts(service: Service | Outside) -> dict[str, Any] | None:
    """Say what is promised: ``methods`` are repeated after ``reasons`` (empty: all are), others after ``others``."""
    if service.retries is None:
        return None
    held = {"reasons": reasons(service), "methods": methods(service)}
    return {**service.retries.model_dump(mode="json"), **held, "others": others(service)}
