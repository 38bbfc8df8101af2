# SPDX-License-Identifier: Apache-2.0
"""Inventory plugin: the machines of a page of settings."""

from __future__ import annotations

DOCUMENTATION = r"""
name: slipway
short_description: Machines of a Slipway cluster
description:
  - Reads a page of settings and gives the groups C(controllers), C(workers), C(mirror), and C(nodes), the first two.
  - Each host has C(ansible_host) and C(node_address), its address on the node network, before the machine exists.
  - SSH settings of Vagrant machines come from one call of C(vagrant ssh-config), remembered until a machine changes.
  - The settings of the page, with their defaults, are variables of all hosts, and so are C(slipway_page),
    C(slipway_state) and C(slipway_provider).
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
"""

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

# Ansible's own status for input that cannot be parsed.
PARSER_ERROR = 4


class InventoryModule(BaseInventoryPlugin):
    """Hand what the library knows to Ansible."""

    NAME = "slipway"
    # The values are the user's own. Without it ansible-inventory wraps every text, which testinfra cannot read.
    trusted_by_default = True

    def verify_file(self, path: str) -> bool:
        """Take files that end in slipway.yml."""
        return super().verify_file(path) and path.endswith(("slipway.yml", "slipway.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Read the page and add its machines."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        try:
            from slipway.errors import SlipwayError
            from slipway.lab.inventory import read_inventory
        except ImportError as exc:
            raise AnsibleParserError(
                f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook."
            ) from exc
        folder = Path(os.path.abspath(path)).parent
        try:
            found = read_inventory(
                Path(os.path.normpath(folder / self.get_option("page"))),
                Path(os.path.normpath(folder / self.get_option("state"))),
                folder=folder,
                warn=self.display.warning,
            )
        except SlipwayError as exc:
            # An AnsibleParserError would be buried: Ansible then tries the file as YAML and INI and reports that too.
            self.display.error(exc.message, wrap_text=False)
            raise SystemExit(PARSER_ERROR) from exc
        for group, hosts in found.groups.items():
            inventory.add_group(group)
            for host, variables in hosts.items():
                inventory.add_host(host, group=group)
                for key, value in variables.items():
                    inventory.set_variable(host, key, value)
        inventory.add_group("nodes")
        for group in ("controllers", "workers"):
            inventory.add_child("nodes", group)
        for key, value in found.variables.items():
            inventory.set_variable("all", key, value)
