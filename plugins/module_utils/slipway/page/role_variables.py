"""Variables of roles that somebody sets beside the page: what each may be, and what it is by default.

Phases do not check them again in each role and on each machine: that is a tenth of the tasks of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Json = dict[str, Any]


def options(roles: Path) -> dict[str, Json]:
    """Give the options of all roles by the name of the variable, as Ansible's argument specs have them; none required.

    Entry points of a role that have the same option say the same of it.
    """
    found: dict[str, Json] = {}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        for entry in _read(path).get("argument_specs", {}).values():
            for name, option in entry.get("options", {}).items():
                found.setdefault(name, {key: value for key, value in option.items() if key != "required"})
    return found


def literals(names: Mapping[str, Any], variables: Mapping[str, Any]) -> Json:
    """Give those of the named variables that are set and have no template in them; templates are worked out later."""
    return {name: variables[name] for name in names if name in variables and not _templated(variables[name])}


def usual(roles: Path, name: str) -> Any:
    """Give the default of a variable of a role, None where it has none of its own."""
    for path in sorted(roles.glob("*/defaults/main.yml")):
        known = _read(path)
        if name in known:
            return None if _templated(known[name]) else known[name]
    return None


def _read(path: Path) -> Json:
    return yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}  # noqa: S506  a safe loader, in C where there is one


def _templated(value: Any) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(map(_templated, (*value.keys(), *value.values())))
    return isinstance(value, list) and any(map(_templated, value))
