"""The reference of the language: its tables are those of the model, and every key is in one of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from slipway.page.form import keys_of
from slipway.release import reference
from slipway.release.fields import FIELDS
from slipway.release.model import Release, Service
from slipway.release.planner import plan
from slipway.release.spec import load
from slipway.release.workload import USUAL
from slipway.release.workload_keys import VersionOf, Workload

TEXT = reference.DOCUMENT.read_text(encoding="utf-8")


def test_the_tables_are_fresh() -> None:
    assert reference.renewed(TEXT) == TEXT, "run: python -m slipway.release.reference --write"


def test_every_table_is_shown() -> None:
    shown = {line.split()[2] for line in TEXT.splitlines() if line.startswith("<!-- table: ")}
    assert set(reference.tables()) - shown == {"Short"}


def test_every_key_is_in_a_table_once() -> None:
    made = reference.tables()
    assert [row[0] for row in made["Release"][1:]] == [f"`{key}`" for key in keys_of(Release)]
    workload = {row[0] for row in made["Workload"]}
    for kind in (Service, VersionOf):
        own = {row[0] for row in made[kind.__name__]} - {"Key"}
        assert own | workload - {"Key"} == {f"`{key}`" for key in keys_of(kind)}
        assert not own & workload


def test_defaults_are_written_as_a_page_writes_them() -> None:
    made = reference.tables()
    known = {
        (name, row[0].strip("`")): row[2]
        for name in ("Workload", "Autoscaling", "CircuitBreaking")
        for row in made[name]
    }
    assert known["Autoscaling", "cpu"] == "`80%`"
    assert known["CircuitBreaking", "most_out"] == "`50%`"
    assert known["Workload", "writable"] == "`false`"
    assert known["Workload", "drain"] == "`3s`"
    assert set(USUAL) <= set(keys_of(Workload))


def test_what_a_key_becomes_is_said_of_keys_that_there_are() -> None:
    made = reference.tables()
    for name, becomes in FIELDS.items():
        assert set(becomes) <= {row[0].strip("`") for row in made[name][1:]}, name


def test_pages_in_the_document_can_be_planned(tmp_path: Path) -> None:
    blocks = [block.partition("```")[0] for block in TEXT.split("```yaml\n")[1:]]
    pages = [block for block in blocks if "services:" in block]
    assert pages
    for text in pages:
        (tmp_path / "page.yml").write_text(text, encoding="utf-8")
        assert plan(load(tmp_path / "page.yml")).objects
    for block in blocks:
        yaml.safe_load(block)


def test_the_command_prints_or_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "a.md"
    document.write_text("x\n<!-- table: Measures -->\nold\n<!-- end -->\ny\n", encoding="utf-8")
    assert reference.main(["--document", str(document)]) == 0
    printed = capsys.readouterr().out
    assert "old" not in printed
    assert "| `p95` | time within which 95 of 100 requests are answered | `p95 > 500ms` |" in printed
    assert reference.main(["--write", "--document", str(document)]) == 0
    assert document.read_text(encoding="utf-8") == printed
    document.write_text("<!-- table: Wibble -->\n<!-- end -->\n", encoding="utf-8")
    with pytest.raises(KeyError):
        reference.main(["--document", str(document)])
