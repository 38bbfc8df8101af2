"""The consoles, web pages on which people see the cluster: which of them are wanted, and which the bundle can give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Each is a part of the page and a role, and needs these images of artifacts/catalog.yml.
IMAGES: dict[str, tuple[str, ...]] = {
    "grafana": ("grafana", "grafana-sidecar"),
    "kiali": ("kiali",),
    "headlamp": ("headlamp",),
    "tracing": ("zipkin",),
}


def wanted(parts: Mapping[str, Any]) -> list[str]:
    """Give the consoles that ``parts``, the page's cluster_parts, switches on."""
    return [name for name in IMAGES if parts.get(name)]


def on(parts: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """Give those of them whose images the bundle has: these are installed."""
    left = left_out(parts, manifest)
    return [name for name in wanted(parts) if name not in left]


def hosts(names: Iterable[str], cluster: str) -> dict[str, str]:
    """Give the host of each console behind the gateway of ``cluster``."""
    return {name: f"{name}.{cluster}.local" for name in names}


def left_out(parts: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, str]:
    """Give those that the page wants and the bundle cannot have, each with the reason."""
    held = manifest.get("images") or {}
    reasons = {item["name"]: item["reason"] for item in manifest.get("missing") or []}
    left = {}
    for name in wanted(parts):
        absent = [image for image in IMAGES[name] if image not in held]
        if absent:
            why = next((reasons[image] for image in absent if image in reasons), "`make bundle` gets it")
            left[name] = f"the bundle has no {' and no '.join(absent)}: {why}"
    return left


def told(parts: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Say in one line what is left out; empty when nothing is."""
    left = left_out(parts, manifest)
    if not left:
        return ""
    why = "; ".join(f"{name} ({reason})" for name, reason in left.items())
    text = f"Left out, though cluster_parts wants them: {why}. With cluster_artifacts_from: upstream they are there."
    return f"{text} Until then `make status` and `make graph` show objects." if "headlamp" in left else text
