"""Limits of requests: the configuration that a release gives the gateway's rate-limit filter, for its own hosts."""

from __future__ import annotations

from typing import Any

from .alerts import Scope
from .limit_classes import classes, on_paths
from .limit_keys import Limit
from .names import Naming
from .routing import expired_cookie
from .values import bucket

# Only used by requests that no limit is about, so it has to be there and must never be empty.
_ROOMY = {"max_tokens": 1_000_000, "tokens_per_fill": 1_000_000, "fill_interval": "1s"}
_ALL = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def declared(naming: Naming) -> list[dict[str, Any]]:
    """List the limits: ``path`` ("" for all), ``per`` (client or total), ``rate`` as written, and its token bucket.

    Those of a class have its name, ``by``, ``paths``, and ``when``: what a request has that they count.
    """
    shape = naming.shape
    found = []
    sections = [("", shape.release.limits), *((path, route.limits) for path, route in shape.routes.items())]
    for path, section in sections:
        for per, limit in (("client", section.per_client), ("total", section.total)):
            if isinstance(limit, Limit):
                found.append({"path": path, "per": per, "rate": limit.rate, "bucket": bucket(limit.rate, limit.burst)})
    return [*found, *(each.as_dict() for each in classes(shape.release.limits))]


def configuration(naming: Naming) -> dict[str, Any]:
    """Write the LocalRateLimit of a virtual host. It inherits nothing, so it is whole."""
    release = naming.shape.release
    actions, descriptors = [], []
    for limit in declared(naming):
        if "by" in limit:
            continue
        wanted: list[dict[str, Any]] = []
        entries: list[dict[str, str]] = []
        if limit["per"] == "client":
            wanted.append({"remote_address": {}})
            # Without a value: one bucket for each that is seen.
            entries.append({"key": "remote_address"})
        if limit["path"] not in ("", "/"):
            wanted.append(on_paths("path", limit["path"], [limit["path"]]))
            entries.append({"key": "path", "value": limit["path"]})
        if not entries or (limit["per"], limit["path"]) == ("client", "/"):
            key = f"{limit['per']}{limit['path']}"
            wanted.append({"generic_key": {"descriptor_value": key}})
            entries.append({"key": "generic_key", "value": key})
        actions.append({"actions": wanted})
        descriptors.append({"entries": entries, "token_bucket": limit["bucket"]})
    for each in classes(release.limits):
        actions.append({"actions": each.actions})
        descriptors.append({"entries": each.entries, "token_bucket": each.bucket})
    made = {
        "stat_prefix": Scope(naming).limiter,
        "token_bucket": _ROOMY,
        "filter_enabled": _ALL,
        "filter_enforced": _ALL,
        "always_consume_default_token_bucket": False,
        "max_dynamic_descriptors": release.limits.clients,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "rate_limits": actions,
        "descriptors": descriptors,
    }
    if release.sticky.by == "cookie" and release.sticky.set_by == "mesh":
        # A refused first request must not decide the client's version; only what the mesh added is there to overwrite.
        header = {"key": "set-cookie", "value": expired_cookie(naming)}
        made["response_headers_to_add"] = [{"header": header, "append_action": "OVERWRITE_IF_EXISTS"}]
    return made
