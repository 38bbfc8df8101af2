"""Variables of the wiring, in Ansible's own templating."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).parents[2]
WIRING = ROOT / "group_vars/all/wiring.yml"
GROUPS = {"controllers": ["ctrl", "ctrl-2"], "workers": ["node-1"], "mirror": ["mirror-1"]}
ADDRESSES = {"ctrl": "192.0.2.100", "ctrl-2": "192.0.2.12", "node-1": "192.0.2.101", "mirror-1": "192.0.2.10"}


def wired(name: str, facts: dict[str, dict[str, Any]] | None = None, **values: Any) -> Any:
    """Give a variable of the wiring; ``facts`` are those of machines that were looked at, and of localhost."""
    loader = DataLoader()
    hostvars = {
        host: {"inventory_hostname": host, "node_address": address, **(facts or {}).get(host, {})}
        for host, address in ADDRESSES.items()
    }
    hostvars["localhost"] = (facts or {}).get("localhost", {})
    variables = {
        **loader.load_from_file(str(WIRING), trusted_as_template=True),
        "groups": GROUPS,
        "hostvars": hostvars,
        **values,
    }
    return Templar(loader=loader, variables=variables).template(trust_as_template(f"{{{{ {name} }}}}"))
