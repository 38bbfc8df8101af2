"""What a proof has to know beside the release: of the app, of the cluster, of the machine that asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Circumstances:
    """What the plan has to know beside the release.

    ``tells``: answers say which versions took part, as those of the example app do in x-chain and in their JSON.
    ``test_header``: the app obeys x-slipway-test. ``roles``: what the app calls itself in a service. ``paths``: for a
    route the path to ask, for an app with others than /sms and /analyze. ``neighbours``: hosts of other releases on
    this gateway: ``host``, ``port``. ``elsewhere``: hosts that have TLS connections of their own there. ``mail_sink``:
    mail goes to a server of our own, where it can be read. ``away``: why the user's machine may not ask the gateway,
    empty when it may; None when that is no claim. ``past``: there is a way past the limits for all. ``token``: there is
    one (JWT) that the release takes. ``skip``: kinds of claims that nobody wants to have looked at.
    """

    tells: bool = True
    test_header: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    neighbours: tuple[Mapping[str, Any], ...] = ()
    elsewhere: tuple[str, ...] = ()
    missing_tools: frozenset[str] = frozenset()
    monitoring: bool = True
    mail_sink: bool = False
    away: str | None = None
    past: bool = False
    token: bool = False
    sources: int = 2040
    skip: frozenset[str] = frozenset()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Circumstances:
        """Make one of plain values; an unknown name is a ``TypeError``."""
        known = {item.name for item in fields(cls)}
        if unknown := set(values) - known:
            raise TypeError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
        made = dict(values)
        made["neighbours"] = tuple(values.get("neighbours", ()))
        made["elsewhere"] = tuple(values.get("elsewhere", ()))
        made["missing_tools"] = frozenset(values.get("missing_tools", ()))
        made["skip"] = frozenset(values.get("skip", ()))
        return cls(**made)
