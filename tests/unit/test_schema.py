"""The JSON schema of the page: fresh, and of the same mind as the model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from slipway.page import schema
from slipway.page.model import PAGE, Settings

SCHEMA = json.loads(schema.SCHEMA.read_text(encoding="utf-8"))


def errors(values: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(values)]


def test_the_file_is_fresh() -> None:
    assert schema.SCHEMA.read_text(encoding="utf-8") == schema.text(), "run: python -m slipway.page.schema --write"


def test_the_schema_is_one_and_needs_no_other_file() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    references = re.findall(r'"\$ref": "([^"]*)"', schema.text())
    assert references
    assert {reference.rpartition("/")[0] for reference in references} == {"#/$defs"}


def test_every_key_of_the_model_is_described() -> None:
    assert list(SCHEMA["properties"]) == list(Settings.model_fields)
    assert all(entry["description"] and entry["examples"] for entry in SCHEMA["properties"].values())


def test_the_page_as_shipped_is_valid() -> None:
    assert errors(yaml.safe_load(PAGE.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "values",
    [
        {"cluster_nmae": "x"},
        {"cluster_name": "A"},
        {"cluster_provider": "vmware"},
        {"cluster_workers": {"count": 1, "cpus": 1, "memory": 699}},
        {"cluster_workers": {"count": 1, "cpus": 1}},
        {"cluster_workers": {"count": 1, "cpus": 1, "memory": 700, "disk": 1}},
        {"cluster_hosts": [{"name": "a"}]},
        {"cluster_mirror": "yes"},
        {"cluster_gateway": {"address": "", "ports": []}},
        {"cluster_parts": {"metalb": True}},
    ],
)
def test_an_editor_marks_what_is_wrong(values: dict[str, Any]) -> None:
    assert len(errors(values)) >= 1


def test_the_command_prints_or_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.main([]) == 0
    assert capsys.readouterr().out == schema.text()
    assert schema.main(["--write", "--to", str(tmp_path / "s.json")]) == 0
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == schema.text()
