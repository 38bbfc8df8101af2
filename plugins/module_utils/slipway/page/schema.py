"""The JSON schemas of the pages, made from their models, for editors.

``python -m slipway.page.schema --write`` writes ``schema/*.schema.json``; with ``release`` in place of ``--write`` it
prints one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..paths import ROOT
from ..release.model import Release
from .model import Settings

FOLDER = ROOT / "schema"
SCHEMA = FOLDER / "cluster.schema.json"
PAGES: dict[str, tuple[str, type[BaseModel]]] = {
    "cluster": ("Slipway cluster", Settings),
    "release": ("Slipway release", Release),
}
# Values, in which a key called title is one of the page's.
_VALUES = ("default", "examples", "const", "enum")


def schema(page: str = "cluster") -> dict[str, Any]:
    """Make the schema: without references (editors differ in what they make of them) and without invented titles."""
    title, model = PAGES[page]
    made = model.model_json_schema()
    definitions = made.pop("$defs")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **_inlined(made, definitions),
        "title": title,
    }


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    merged = dict(node)
    if "$ref" in merged:
        merged = {**definitions[merged.pop("$ref").rpartition("/")[2]], **merged}
    if "patternProperties" in merged:
        merged.setdefault("additionalProperties", False)
    return {
        key: value
        if key in _VALUES
        else {name: _inlined(item, definitions) for name, item in value.items()}
        if key == "properties"
        else _inlined(value, definitions)
        for key, value in merged.items()
        if key != "title"
    }


def text(page: str = "cluster") -> str:
    """Write a schema as its file holds it."""
    return json.dumps(schema(page), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a schema, or write all of them, or one to another file."""
    parser = argparse.ArgumentParser(prog="slipway.page.schema", description="Make the JSON schemas of the pages.")
    parser.add_argument("page", nargs="?", choices=list(PAGES), default="cluster", help="which page")
    parser.add_argument("--write", action="store_true", help="write schema/*.schema.json")
    parser.add_argument("--to", type=Path, help="write this page's schema to another file")
    options = parser.parse_args(arguments)
    if options.to:
        options.to.write_text(text(options.page), encoding="utf-8")
    elif options.write:
        for page in PAGES:
            (FOLDER / f"{page}.schema.json").write_text(text(page), encoding="utf-8")
    else:
        sys.stdout.write(text(options.page))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
