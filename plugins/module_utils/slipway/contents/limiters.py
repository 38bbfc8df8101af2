"""Read limits of requests out of EnvoyFilters. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
_TYPE = "LocalRateLimit"


def limits(
    item: Mapping[str, Any],
    gateway: Mapping[str, str],
    pods: Sequence[Mapping[str, str]],
    ports: Mapping[int, int],
) -> Iterator[Json]:
    """Give the limits for all clients, and for each, that count for a release: ``per``, ``rate``, ``bucket``.

    ``gateway``: labels of its pods; ``pods``: labels of those of the entry. ``ports``: of the gateway, each with that
    on which Envoy listens; a filter for another one changes nothing.
    """
    spec = item.get("spec") or {}
    labels = (spec.get("workloadSelector") or {}).get("labels") or {}
    at_gateway = (
        bool(gateway)
        and labels.items() <= dict(gateway).items()
        and item["metadata"].get("namespace") == ("istio-system")
    )
    at_pods = bool(labels) and any(labels.items() <= dict(each).items() for each in pods)
    known: list[Json] = []
    for patch in spec.get("configPatches") or []:
        match = patch.get("match") or {}
        context = match.get("context", "ANY")
        if not ((at_gateway and context in ("GATEWAY", "ANY")) or (at_pods and context in ("SIDECAR_INBOUND", "ANY"))):
            continue
        port = (match.get("listener") or match.get("routeConfiguration") or {}).get("portNumber")
        if at_gateway and port and ports and int(port) not in ports.values():
            continue
        for found in _found((patch.get("patch") or {}).get("value")):
            # The same for each virtual host of a host, one for each of its ports.
            for limit in _limits(found):
                if limit not in known:
                    known.append(limit)
                    yield limit


def _found(node: Any) -> Iterator[Json]:
    """Find configurations of the filter, however deep they are."""
    if isinstance(node, Mapping):
        value = node.get("value")
        of_type = str(node.get("type_url") or node.get("@type") or "")
        if _TYPE in of_type:
            yield dict(value) if isinstance(value, Mapping) else dict(node)
            return
        for each in node.values():
            yield from _found(each)
    elif isinstance(node, list):
        for each in node:
            yield from _found(each)


def _limits(found: Json) -> Iterator[Json]:
    enforced = ((found.get("filter_enforced") or {}).get("default_value") or {}).get("numerator", 0)
    if not enforced:
        return
    own = found.get("descriptors") or []
    for descriptor in own:
        entries = descriptor.get("entries") or []
        if len(entries) == 1 and entries[0].get("key") == "remote_address" and not entries[0].get("value"):
            yield from _one("client", descriptor.get("token_bucket"))
    if found.get("always_consume_default_token_bucket", True) or not own:
        yield from _one("total", found.get("token_bucket"))


def _one(per: str, bucket: Any) -> Iterator[Json]:
    if not isinstance(bucket, Mapping) or not str(bucket.get("fill_interval", "")).endswith("s"):
        return
    most = int(bucket.get("max_tokens") or 0)
    fill = int(bucket.get("tokens_per_fill") or 1)
    interval = str(bucket["fill_interval"])
    if most:
        made = {"max_tokens": most, "tokens_per_fill": fill, "fill_interval": interval}
        yield {"per": per, "rate": f"{fill}/{interval}", "bucket": made}
