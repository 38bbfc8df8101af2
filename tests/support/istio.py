"""What role istio applies: its templates with its defaults, in Ansible's own templating."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from .lab import ROOT

ROLE = ROOT / "roles/istio"
GIVEN = {
    "istio_pilot_image": "docker.io/istio/pilot:1.31.0",
    "istio_proxy_image": "docker.io/istio/proxyv2:1.31.0",
}
_plugins = cache(init_plugin_loader)


def value(name: str, **settings: Any) -> Any:
    """A variable of the role, with its defaults and ``settings``."""
    return _templar(**settings).template(trust_as_template(f"{{{{ {name} }}}}"))


def rendered(template: str = "operator.yml.j2", **settings: Any) -> list[dict[str, Any]]:
    """The documents that ``template`` makes of the role's defaults and ``settings``."""
    text = _templar(**settings).template(trust_as_template((ROLE / "templates" / template).read_text()))
    return list(yaml.safe_load_all(text))


def _templar(**settings: Any) -> Templar:
    _plugins()
    loader = DataLoader()
    variables: dict[str, Any] = {}
    for name in ("defaults/main.yml", "vars/main.yml"):
        variables |= loader.load_from_file(str(ROLE / name), trusted_as_template=True)
    return Templar(loader=loader, variables={**variables, **GIVEN, **settings})
