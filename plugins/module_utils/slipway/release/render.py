"""Make objects of the templates in ``roles/release/templates``, which look like the manifests they make."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import jinja2
import yaml

from ..paths import ROOT

TEMPLATES = ROOT / "roles" / "release" / "templates"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What JSON may hold as it is and YAML may not.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_JSON = json.JSONEncoder(ensure_ascii=False)

Object = dict[str, Any]


def to_json(value: Any) -> str:
    """Write a value so that it stands in YAML for itself, whatever is in it."""
    text = _JSON.encode(value)
    if text.isascii() and "\x7f" not in text:
        return text
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


@lru_cache
def templates() -> jinja2.Environment:
    """Give the templates, with what they use: a name that is not set stops everything."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701, these are manifests; to_json quotes every value
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["to_json"] = to_json
    return made


def render(template: str, **values: Any) -> list[Object]:
    """Give the objects of ``roles/release/templates/<template>.yml.j2``."""
    text = templates().get_template(f"{template}.yml.j2").render(values)
    return [item for item in yaml.load_all(text, Loader=_Loader) if item]
