"""What was found out about a cluster, before anybody judges it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..parts.pod_network import Question

Object = dict[str, Any]


@dataclass
class Facts:
    """Objects as the API gives them. ``missing`` says what could not be asked, by name, and why.

    ``instances`` are Prometheuses and Alertmanagers that somebody has asked an operator for, each with its kind.
    ``targets`` are Prometheus' active targets, ``alerts`` what fires in Prometheus, ``received`` what Alertmanager has;
    None where there is no monitoring. ``mail_failures`` are the last errors of Alertmanager by receiver, passwords
    taken out. ``certificates``: name to the time at which it ends, in seconds since 1970. ``bundle``: the manifest,
    empty where there is none. ``now``: seconds since 1970. ``questions`` and ``answers``: what nodes were asked of the
    pod network, and said, by node; ``unasked`` says why one could not be. ``listed``: the nodes
    of the page, None when it is not known; ``machines_left``: what only Vagrant still has; ``own_hosts``: whether
    the machines are the user's own; ``savers``: the controllers that are to make backups by themselves, and
    ``backups`` what they tell of them.
    """

    now: float
    cluster: str = ""
    server: str = ""
    version: str = ""
    pod_cidr: str = ""
    parts: dict[str, bool] = field(default_factory=dict)
    nodes: list[Object] = field(default_factory=list)
    pods: list[Object] = field(default_factory=list)
    services: list[Object] = field(default_factory=list)
    gateways: list[Object] = field(default_factory=list)
    virtual_services: list[Object] = field(default_factory=list)
    http_routes: list[Object] = field(default_factory=list)
    ingresses: list[Object] = field(default_factory=list)
    ingress_classes: list[Object] = field(default_factory=list)
    instances: list[Object] = field(default_factory=list)
    targets: list[Object] | None = None
    alerts: list[Object] | None = None
    received: list[Object] | None = None
    mail_failures: dict[str, str] = field(default_factory=dict)
    certificates: dict[str, float] = field(default_factory=dict)
    bundle: Object = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)
    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    unasked: dict[str, str] = field(default_factory=dict)
    listed: list[str] | None = None
    machines_left: list[str] = field(default_factory=list)
    own_hosts: bool = False
    savers: list[str] = field(default_factory=list)
    backups: list[Object] = field(default_factory=list)
    deployments: list[Object] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
