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
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from ..contents.keys import ORIGINS, Contents
from ..paths import ROOT
from ..release.model import Release
from .model import Settings

FOLDER = ROOT / "schema"
SCHEMA = FOLDER / "cluster.schema.json"
PAGES: dict[str, tuple[str, type[BaseModel]]] = {
    "cluster": ("Slipway cluster", Settings),
    "release": ("Slipway release", Release),
}


class _Generator(GenerateJsonSchema):
    """pydantic's own, without titles that it makes up of names, and with maps that take no other keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """Leave titles out: editors would show them in the place of the key."""
        return False

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """Describe a map of the page."""
        made = super().model_schema(schema)
        made.pop("title", None)
        return made

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        """Describe a map whose keys have a pattern."""
        made = super().dict_schema(schema)
        return {"additionalProperties": False, **made} if "patternProperties" in made else made


def schema(page: str = "cluster") -> dict[str, Any]:
    """Make the schema of a page."""
    title, model = PAGES[page]
    made = model.model_json_schema(schema_generator=_Generator)
    if model is Release:
        made = _of_services_or_contents(made)
    return {"$schema": _Generator.schema_dialect, **made, "title": title}


def _of_services_or_contents(services: dict[str, Any]) -> dict[str, Any]:
    """Let a page of a release be one of contents, by the key that says where these come from."""
    contents = Contents.model_json_schema(schema_generator=_Generator)
    definitions = {**contents.pop("$defs", {}), **services.pop("$defs", {})}
    origins = [{"required": [key]} for key in ORIGINS]
    return {"$defs": definitions, "if": {"anyOf": origins}, "then": contents, "else": services}


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
