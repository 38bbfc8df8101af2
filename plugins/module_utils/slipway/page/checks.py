"""All rules about the settings, in the order in which their faults are told.

``on_the_page`` holds the settings against each other. ``on_this_computer`` also holds them against what is known of
this computer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import computer_rules, endpoint_rules, kept_rules, machine_rules, network_rules, part_rules
from .examine import Check
from .form import Fault
from .model import Settings
from .rules import LocalRule, Rule, Surroundings

RULES: tuple[Rule, ...] = (
    machine_rules.controllers_are_odd,
    network_rules.networks_are_apart,
    network_rules.services_have_a_size,
    network_rules.nodes_have_addresses,
    network_rules.pods_have_addresses,
    network_rules.balancer_addresses_are_free,
    part_rules.parts_have_what_they_need,
    part_rules.gateway_can_answer,
    part_rules.backups_can_be_read,
    part_rules.gateway_api_has_a_gateway,
    part_rules.ingresses_are_served,
    machine_rules.hosts_are_there,
    machine_rules.hosts_are_distinct,
    machine_rules.hosts_are_on_the_node_network,
    machine_rules.mirror_has_a_host,
    machine_rules.what_is_built_has_a_mirror,
    endpoint_rules.endpoint_reaches_controllers,
    machine_rules.systems_are_of_machines,
    machine_rules.nodes_are_of_machines,
)
LOCAL_RULES: tuple[LocalRule, ...] = (
    part_rules.releases_can_be_made,
    endpoint_rules.endpoint_is_found,
    computer_rules.ssh_keys_are_public_keys,
    computer_rules.audit_policy_is_one,
    computer_rules.systems_are_of_what_is_made,
    computer_rules.machines_are_of_this_computer,
    computer_rules.host_keys_exist,
    computer_rules.kubernetes_is_known,
    kept_rules.kubernetes_stays,
    kept_rules.founding_stays,
    kept_rules.controllers_keep_their_addresses,
    computer_rules.networks_are_free_here,
    computer_rules.nodes_are_apart_from_the_providers_network,
    computer_rules.virtualbox_allows_the_network,
    computer_rules.memory_is_there,
    computer_rules.disk_is_there,
)


def on_the_page(settings: Settings, wrong: frozenset[str]) -> Iterator[Fault]:
    """Hold the settings against each other; a rule about a key that is wrong in itself is left out."""
    for rule in RULES:
        if wrong.isdisjoint(rule.keys):
            yield from rule.faults(settings)


def on_this_computer(look: Callable[[Settings], Surroundings]) -> Check:
    """Make a check of the settings against each other and against what ``look`` finds."""

    def check(settings: Settings, wrong: frozenset[str]) -> Iterator[Fault]:
        yield from on_the_page(settings, wrong)
        around = look(settings)
        for rule in LOCAL_RULES:
            if wrong.isdisjoint(rule.keys):
                yield from rule.faults(settings, around)

    return check
