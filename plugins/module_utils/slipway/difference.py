"""How an object is written where a difference is shown: in lines that people can read and that ``diff`` can compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def written(item: Mapping[str, Any] | None) -> str:
    """Write an object as YAML; empty: there is none. JSON in it, as of dashboards, has a line for each value."""
    if item is None:
        return ""
    return yaml.dump(_opened(item), Dumper=_Dumper, sort_keys=True, width=10**6, allow_unicode=True)


def _opened(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _opened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_opened(item) for item in value]
    return _lines(str(value)) if isinstance(value, str) else value


def _lines(text: str) -> str:
    """Give JSON of some length with its parts on lines of their own, other texts as they are."""
    if len(text) > 120 and text.strip()[:1] + text.strip()[-1:] in ("{}", "[]"):
        try:
            return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
        except ValueError:
            pass
    # Where a line ends with a blank, YAML would write all of it on one.
    return "\n".join(line.rstrip() for line in text.split("\n")) if "\n" in text else text
