"""The JSON schema of the page, made from the model, for editors.

``python -m slipway.schema --write`` writes ``schema/cluster.schema.json``; without ``--write`` it is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .settings import ROOT, Settings

SCHEMA = ROOT / "schema" / "cluster.schema.json"


def cluster_schema() -> dict[str, Any]:
    """Make the schema: without references (editors differ in what they make of them) and without invented titles."""
    schema = Settings.model_json_schema()
    definitions = schema.pop("$defs")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **_inlined(schema, definitions),
        "title": "Slipway cluster",
    }


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    merged = dict(node)
    if "$ref" in merged:
        merged = {**definitions[merged.pop("$ref").rpartition("/")[2]], **merged}
    return {
        key: {name: _inlined(item, definitions) for name, item in value.items()}
        if key == "properties"
        else _inlined(value, definitions)
        for key, value in merged.items()
        if key != "title"
    }


def text() -> str:
    """Write the schema as the file holds it."""
    return json.dumps(cluster_schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the schema, or write it to its file."""
    parser = argparse.ArgumentParser(prog="slipway.schema", description="Make the JSON schema of the page of settings.")
    parser.add_argument("--write", action="store_true", help="write schema/cluster.schema.json")
    parser.add_argument("--to", type=Path, default=SCHEMA, help="another file to write")
    options = parser.parse_args(arguments)
    if options.write:
        options.to.write_text(text(), encoding="utf-8")
    else:
        sys.stdout.write(text())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
