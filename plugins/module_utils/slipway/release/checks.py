"""Checks of a release that concern more than one key: which there are, and in which order their faults are told.

The checks are in the files ``*_checks.py``, by subject. Those of ``cluster_checks.py`` need a cluster: the planner asks
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..page.form import Fault
from . import (
    call_checks,
    monitoring_checks,
    names,
    output_checks,
    outside_checks,
    pod_checks,
    receivers,
    registries,
    route_checks,
    routing_checks,
    stateful_checks,
    storage_checks,
    version_checks,
    workload_checks,
)
from .model import Release
from .names import Naming
from .shape import Shape

Rule = Callable[[Shape], Iterator[Fault]]


def examine(release: Release) -> list[Fault]:
    """Hold a release against itself. What is built on versions and calls is looked at once those are right."""
    shape = Shape(release)
    faults = [fault for rule in (*_VERSIONS, *_CALLS) for fault in rule(shape)]
    if not any(not fault.warning for fault in faults):
        faults += [fault for rule in _DETAILS for fault in rule(shape)]
    return faults


def _names_are_good(shape: Shape) -> Iterator[Fault]:
    yield from names.faults(Naming(shape))


_VERSIONS: tuple[Rule, ...] = (
    version_checks.versions_answer,
    version_checks.weights_fit,
    version_checks.versions_have_weights,
    version_checks.labels_differ,
    workload_checks.images_are_there,
)
_CALLS: tuple[Rule, ...] = (
    call_checks.calls_lead_somewhere,
    routing_checks.routes_lead_somewhere,
    route_checks.entries_lead_somewhere,
    route_checks.cases_lead_somewhere,
)
_DETAILS: tuple[Rule, ...] = (
    call_checks.everything_is_reached,
    version_checks.carriers_forward,
    version_checks.shadows_have_someone,
    call_checks.plain_callers_are_known,
    storage_checks.storage_is_known,
    storage_checks.folders_are_apart,
    workload_checks.writers_have_the_right,
    workload_checks.pods_add_up,
    workload_checks.weights_have_pods,
    workload_checks.limits_are_above,
    workload_checks.ports_are_free,
    stateful_checks.pods_can_be_stateful,
    stateful_checks.claims_are_of_one_pod,
    pod_checks.containers_are_known,
    pod_checks.containers_are_apart,
    pod_checks.more_ports_are_free,
    routing_checks.sticky_can_tell,
    routing_checks.overrides_can_tell,
    route_checks.weights_of_paths_fit,
    route_checks.websockets_last,
    route_checks.wildcards_are_known,
    routing_checks.hosts_are_apart,
    routing_checks.hash_is_one,
    routing_checks.headers_are_free,
    monitoring_checks.monitors_agree,
    routing_checks.gateway_is_one,
    monitoring_checks.alerts_can_fire,
    monitoring_checks.panels_ask,
    monitoring_checks.mail_can_go,
    receivers.receivers_can_be_told,
    call_checks.times_fit,
    call_checks.reasons_fit,
    storage_checks.secrets_are_used,
    outside_checks.hosts_are_outside,
    outside_checks.ports_are_of_one_kind,
    outside_checks.nothing_leaves_unseen,
    outside_checks.nobody_is_the_proxy,
    outside_checks.authorities_can_be_mounted,
    outside_checks.tokens_are_checked,
    outside_checks.tokens_are_for_some,
    outside_checks.tokens_arrive,
    registries.keys_fit,
    registries.pulls_fit,
    _names_are_good,
    output_checks.output_says_it,
)
