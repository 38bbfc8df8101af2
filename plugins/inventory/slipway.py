# SPDX-License-Identifier: Apache-2.0
"""Inventory plugin: the machines of a page of settings."""

from __future__ import annotations

DOCUMENTATION = r"""
name: slipway
short_description: Machines of a Slipway cluster
description:
  - Reads a page of settings and gives the groups C(controllers), C(workers), C(mirror), and C(nodes), the first two.
  - The group C(existing) is empty. C(playbooks/add-nodes.yml) fills it with the workers that a run leaves as they are.
  - The groups C(upgraded_controllers) and C(upgraded_workers) are empty, too. C(playbooks/upgrade.yml) fills them.
  - Each host has C(ansible_host) and C(node_address), its address on the node network, before the machine exists.
  - SSH settings of Vagrant machines come from one call of C(vagrant ssh-config), remembered until a machine changes.
  - The settings of the page, with their defaults, are variables of all hosts, and so are C(slipway_page),
    C(slipway_state), C(slipway_provider) and C(slipway_patience), the factor of waits.
  - A list of addresses in the place of a file (C(-i 192.168.56.100,)) names the cluster of the checkout when they are
    all of its machines. The whole cluster is the inventory then, under the names of the page, with C(group_vars).
options:
  plugin:
    description: Marks the file as one for this plugin.
    type: str
    required: true
    choices: [slipway]
  page:
    description: Page of settings, relative to the inventory file.
    type: str
    default: ../group_vars/all/cluster.yml
  state:
    description:
      - Folder of what runs leave on this computer, relative to the inventory file.
      - Vagrant's records are in C(.vagrant) of the checkout for C(.slipway), in C(vagrant) below any other folder.
    type: str
    default: ../.slipway
"""

EXAMPLES = r"""
# inventory/cluster.slipway.yml
plugin: slipway
page: ../group_vars/all/cluster.yml
state: ../.slipway

# Without a file, from the checkout: ansible-playbook -u vagrant -i 192.168.56.100, finalization.yml
"""

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

# Ansible's own status for input that cannot be parsed.
PARSER_ERROR = 4


class InventoryModule(BaseInventoryPlugin):
    """Hand what the library knows to Ansible."""

    NAME = "slipway"
    # The values are the user's own. Without it ansible-inventory wraps every text, which testinfra cannot read.
    trusted_by_default = True

    def verify_file(self, path: str) -> bool:
        """Take files that end in slipway.yml, and lists of addresses of the machines that the page has."""
        if _is_a_list(path):
            return self._are_ours({part.strip() for part in path.split(",")} - {""})
        return super().verify_file(path) and path.endswith(("slipway.yml", "slipway.yaml"))

    def _are_ours(self, asked: set[str]) -> bool:
        # What is wrong with the library or the page is said where files are read.
        try:
            from slipway.errors import SlipwayError
            from slipway.lab.inventory import addresses
        except ImportError:
            return True
        try:
            return bool(asked) and asked <= addresses()
        except SlipwayError:
            return True

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Read the page and add its machines."""
        super().parse(inventory, loader, path, cache)
        try:
            from slipway.errors import SlipwayError
            from slipway.lab.inventory import read_inventory
            from slipway.lab.plan import page_file
            from slipway.paths import ROOT, state_folder
        except ImportError as exc:
            raise AnsibleParserError(
                f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
                "[library-missing]"
            ) from exc
        folder = None if _is_a_list(path) else Path(os.path.abspath(path)).parent
        if folder:
            self._read_config_data(path)
            page, state = (Path(os.path.normpath(folder / self.get_option(name))) for name in ("page", "state"))
        else:
            page, state = page_file(), state_folder()
        try:
            found = read_inventory(page, state, folder=folder, warn=self.display.warning)
        except SlipwayError as exc:
            # An AnsibleParserError would be buried: Ansible then tries the file as YAML and INI and reports that too.
            self.display.error(exc.message, wrap_text=False)
            raise SystemExit(PARSER_ERROR) from exc
        _fill(inventory, found)
        if folder:
            return
        try:
            _add_group_vars(inventory, loader, ROOT / "group_vars")
        except AnsibleError as exc:
            # As above: Ansible would go on with the list as hosts of their own, and not say why.
            self.display.error(f"{exc}", wrap_text=False)
            raise SystemExit(PARSER_ERROR) from exc


def _fill(inventory: Any, found: Any) -> None:
    for group, hosts in found.groups.items():
        inventory.add_group(group)
        for host, variables in hosts.items():
            inventory.add_host(host, group=group)
            for key, value in variables.items():
                inventory.set_variable(host, key, value)
    inventory.add_group("nodes")
    for group in ("controllers", "workers"):
        inventory.add_child("nodes", group)
    # For workers that a run leaves alone (playbooks/add-nodes.yml); a pattern may name no group that there is not.
    # Those of upgrades are for nodes that a run has to take to another release (playbooks/upgrade.yml).
    for group in ("existing", "upgraded_controllers", "upgraded_workers"):
        inventory.add_group(group)
    for key, value in found.variables.items():
        inventory.set_variable("all", key, value)


def _add_group_vars(inventory: Any, loader: Any, folder: Path) -> None:
    """Add what Ansible reads beside an inventory that is a file, but for the page: ``slipway_settings`` has that."""
    page = os.path.join(folder, "all", "cluster.yml")
    for group in inventory.groups:
        for file in loader.find_vars_files(str(folder), group):
            if os.fsdecode(file) != page:
                for key, value in (loader.load_from_file(os.fsdecode(file), trusted_as_template=True) or {}).items():
                    inventory.set_variable(group, key, value)


def _is_a_list(path: str) -> bool:
    """Tell whether what -i names is a list of hosts."""
    return "," in path and not os.path.exists(path)
