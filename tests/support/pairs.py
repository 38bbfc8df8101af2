"""Pairs of pages of a release: what was seen to go wrong between them on live clusters, and its kin."""

from __future__ import annotations

from typing import Any

from .moments import Page

IMAGE = "example.org/app:1.0"


def shop(**services: Any) -> Page:
    """A page of services; ``weights`` and other keys of the page are told from services by what they hold."""
    keys = {
        key: services.pop(key) for key in list(services) if key not in ("web", "api", "model", "old_api", "new_api")
    }
    made = {name.replace("_", "-"): value for name, value in services.items()}
    return {"name": "shop", "hosts": ["shop.local"], "dashboards": {}, "services": made, **keys}


def of(*versions: str, **more: Any) -> dict[str, Any]:
    shadows = more.pop("shadows", {})
    listed: dict[str, Any] = dict.fromkeys(versions, IMAGE)
    listed |= {version: {"image": IMAGE, "shadow": share} for version, share in shadows.items()}
    return {"versions": listed, **more}


ONE = shop(web=of("v1"))
CANARY = {"weights": {"v1": 90, "v2": 10}}
CHAIN = shop(web=of("v1", "v2", calls=["api"]), api=of("v1"), **CANARY)
LABELS = {"v1": "stable", "v2": "canary"}
MOVED = {"v2": "stable", "v3": "canary"}

# What was seen to go wrong on live clusters, and its kin.
PAIRS: dict[str, tuple[Page, Page]] = {
    "a version that nobody is to get": (ONE, shop(web=of("v1", "v2"), weights={"v1": 100, "v2": 0})),
    "first canary": (ONE, shop(web=of("v1", "v2"), **CANARY)),
    "last canary goes": (shop(web=of("v1", "v2"), **CANARY), ONE),
    "the canary stays alone": (shop(web=of("v1", "v2"), **CANARY), shop(web=of("v2"))),
    "first shadow": (ONE, shop(web=of("v1", shadows={"v2": "100%"}))),
    "last shadow goes": (shop(web=of("v1", shadows={"v2": "100%"})), ONE),
    "a version is renamed": (ONE, shop(web=of("a"))),
    "a callee gets its own canary": (CHAIN, shop(web=of("v1", "v2", calls=["api"]), api=of("v1", "v2"), **CANARY)),
    "a callee loses its canary": (shop(web=of("v1", "v2", calls=["api"]), api=of("v1", "v2"), **CANARY), CHAIN),
    "a first canary of a whole chain": (
        shop(web=of("v1", calls=["api"]), api=of("v1", calls=["model"]), model=of("v1")),
        shop(web=of("v1", "v2", calls=["api"]), api=of("v1", "v2", calls=["model"]), model=of("v1", "v2"), **CANARY),
    ),
    "pods get stable names": (CHAIN, shop(web=of("v1", "v2", calls=["api"]), api=of("v1", stateful=True), **CANARY)),
    "pods lose their stable names": (shop(web=of("v1", stateful=True)), ONE),
    "another service is called": (
        shop(web=of("v1", calls=["old-api"]), old_api=of("v1")),
        shop(web=of("v1", calls=["new-api"], env={"API": "new-api"}), new_api=of("v1")),
    ),
    "a new service is called": (ONE, shop(web=of("v1", calls=["api"], env={"API": "api"}), api=of("v1"))),
    "a port changes": (ONE, shop(web=of("v1", port=9090))),
    "a port changes behind a fixed one": (
        shop(web=of("v1", port=8080, service_port=80)),
        shop(web=of("v1", port=9090, service_port=80)),
    ),
    "a promotion moves labels": (
        shop(web=of("v1", "v2"), version_labels=LABELS, **CANARY),
        shop(web=of("v2", "v3"), version_labels=MOVED, weights={"v2": 90, "v3": 10}),
    ),
    "a promotion moves labels along a chain": (
        shop(web=of("v1", "v2", calls=["api"]), api=of("v1", "v2"), version_labels=LABELS, **CANARY),
        shop(web=of("v2", "v3", calls=["api"]), api=of("v2", "v3"), version_labels=MOVED, weights={"v2": 90, "v3": 10}),
    ),
    "a promotion moves the names of objects": (
        shop(web=of("v1", "v2"), version_labels=LABELS, names={"deployment": "{service}-{label}"}, **CANARY),
        shop(
            web=of("v2", "v3"),
            version_labels=MOVED,
            names={"deployment": "{service}-{label}"},
            weights={"v2": 90, "v3": 10},
        ),
    ),
    "a shadow becomes a canary": (
        shop(web=of("v1", calls=["api"], shadows={"v2": "100%"}), api=of("v1")),
        shop(web=of("v1", "v2", calls=["api"]), api=of("v1"), **CANARY),
    ),
    "a canary becomes a shadow": (
        shop(web=of("v1", "v2", calls=["api"]), api=of("v1"), **CANARY),
        shop(web=of("v1", calls=["api"], shadows={"v2": "100%"}), api=of("v1")),
    ),
    "a called service goes, and its shadow with it": (
        shop(
            web=of("v1", calls=["api"], shadows={"v2": "100%"}),
            api=of("v1", calls=["model"], shadows={"v2": "100%"}),
            model=of("v1"),
        ),
        shop(web=of("v2", calls=["model"], env={"API": "model"}), model=of("v2")),
    ),
    "access is closed": (shop(web=of("v1", calls=["api"]), api=of("v1"), access="open"),
                         shop(web=of("v1", calls=["api"]), api=of("v1"))),
    "access is opened, for a new call": (
        shop(web=of("v1"), api=of("v1")),
        shop(web=of("v1", calls=["api"], env={"API": "api"}), api=of("v1"), access="open"),
    ),
    "objects are renamed": (
        CHAIN,
        {
            **CHAIN,
            "names": {
                "deployment": "{service}-{version}-x",
                "service_account": "{service}-{version}-x",
                "policy": "{service}-{version}-x",
                "entry": "other-entry",
                "virtual_service": "{service}-x",
                "destination_rule": "{service}-x",
                "gateway": "other",
            },
        },
    ),
    "a version is renamed along a chain": (
        shop(web=of("v1", calls=["api"]), api=of("v1")),
        shop(web=of("v2", calls=["api"]), api=of("v2")),
    ),
    "a renamed Deployment, and a call that goes": (
        shop(web=of("v1", calls=["api"]), api=of("v1"), names={"deployment": "{service}-{version}-x"}),
        shop(web=of("v1", env={"API": "none"})),
    ),
    "a call to what is there": (
        shop(web=of("v1"), api=of("v1")),
        shop(web=of("v1", calls=["api"], env={"API": "api"}), api=of("v1")),
    ),
    "accounts change with versions": (
        CHAIN,
        {**CHAIN, "names": {"service_account": "{service}-{version}-2"}},
    ),
}  # fmt: skip
