"""Reading a page: values, lines, and what is wrong with it as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.page.read import Page, Sort, dotted, flow, read_page, shown

from tests.support.errors import refused, tells


def write(folder: Path, text: str) -> Path:
    path = folder / "page.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_are_read_as_ansible_reads_them(tmp_path: Path) -> None:
    page = read_page(write(tmp_path, "---\na: yes\nb: 1.37\nc: [x, 'y']\nd: {e: ~}\n"))
    assert page.values == {"a": True, "b": 1.37, "c": ["x", "y"], "d": {"e": None}}
    assert page.problems == []


def test_a_number_keeps_its_text_where_that_is_another(tmp_path: Path) -> None:
    values = read_page(write(tmp_path, "a: 0755\nb: 755\nc: &c {d: 1_0}\ne: {<<: *c}\n")).values
    assert values == {"a": 0o755, "b": 755, "c": {"d": 10}, "e": {"d": 10}}
    assert flow(values) == "{a: 0755, b: 755, c: {d: 1_0}, e: {d: 1_0}}"
    assert type(values["b"]) is int


def test_every_key_knows_its_line(tmp_path: Path) -> None:
    page = read_page(write(tmp_path, "# top\na: 1\nb:\n  - {c: 1}\n  - c: 2\n    d: 3\n"))
    assert page.lines == {
        ("a",): 2,
        ("b",): 3,
        ("b", 0): 4,
        ("b", 0, "c"): 4,
        ("b", 1): 5,
        ("b", 1, "c"): 5,
        ("b", 1, "d"): 6,
    }


def test_a_missing_key_stands_where_its_parent_stands(tmp_path: Path) -> None:
    page = read_page(write(tmp_path, "a: 1\nb:\n  c: 1\n"))
    assert page.line(("b", "d", "e")) == 2
    assert page.line(("z",)) == 0
    assert page.where(("b", "d")).endswith("page.yml:2")
    assert page.where(("z",)).endswith("page.yml")


def test_a_path_is_shown_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "a: 1\n")
    monkeypatch.chdir(tmp_path)
    assert read_page(path).where(("a",)) == "page.yml:1"
    monkeypatch.chdir("/")
    assert Page(Path("/nowhere/page.yml")).where(()) == "nowhere/page.yml"


@pytest.mark.parametrize("text", ["", "---\n", "# only a comment\n"])
def test_an_empty_page_has_no_values(tmp_path: Path, text: str) -> None:
    page = read_page(write(tmp_path, text))
    assert (page.values, page.problems) == ({}, [])


def test_keys_are_texts_as_written(tmp_path: Path) -> None:
    assert read_page(write(tmp_path, "no: 1\n7: 2\n")).values == {"no": 1, "7": 2}


def test_a_merge_key_is_no_duplicate(tmp_path: Path) -> None:
    page = read_page(write(tmp_path, "a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a\n"))
    assert page.problems == []
    assert page.values["b"] == {"x": 1, "y": 2}


BROKEN: list[tuple[str, str, int, str]] = [
    ("a: 1\nb: 2\na: 3\n", "a", 3, "duplicate-key: 1"),
    ("a:\n  b: 1\n  b: 2\n", "a.b", 3, "duplicate-key: 2"),
    ("a: 1\n b: 2\n", "the page", 2, "yaml-syntax"),
    ("a: [1\nb: 2\n", "the page", 2, "yaml-syntax"),
    ("a: {{ name }}\n", "the page", 1, "template-on-page"),
    ("[x]: 1\n", "the page", 1, "template-on-page"),
    ("a: !vault |\n  abc\n", "the page", 1, "secret-on-page"),
    ("a: !thing 1\n", "the page", 1, "yaml-syntax"),
    ("a: &x [*x]\n", "a[0]", 1, "yaml-alias"),
    ("a: &x {b: *x, c: 1}\n", "a.b", 1, "yaml-alias"),
    ("- a\n- b\n", "the page", 1, "not-a-map"),
    ("cluster\n", "the page", 1, "not-a-map"),
    ("a: 1\nb:\u00a02\nc: 3\n", "the page", 2, "odd-blank: (U+00A0)"),
    ("a:\n\u00a0 b: 1\n  c: 2\n", "the page", 2, "odd-blank: (U+00A0)"),
    ("a: 1 # x\u00a0y\nb: [\n", "the page", 3, "yaml-syntax"),
    ("a: 1\nb\u200b: 2\n", "b\u200b", 2, "odd-blank: zero width … (U+200B)"),
    ("a: {b:\u00a02, c: 1}\n", "a.b:\u00a02", 1, "odd-blank: (U+00A0)"),
    ("a: 1\nb\nc: 3\n", "the page", 2, "yaml-syntax"),
    ('a: "1\nb: 2\nc: 3\n', "the page", 1, "yaml-syntax"),
    ("a: &a {x: 1}\nb:\n  <<: *a\n  x: 2\n", "b.x", 4, "duplicate-key: <<"),
    ("a: &a {x: 1}\nb: &b {x: 2}\nc:\n  <<: [*a, *b]\n", "c.x", 4, "duplicate-key: <<"),
    ("a: 1\n---\nb: 2\n", "the page", 2, "yaml-syntax"),
    ("a: 1\nb: \x07\n", "the page", 2, "yaml-syntax"),
    ("a: 1\nb: 2026-02-30\n", "b", 2, "unreadable-value"),
    (f"a: {'9' * 5000}\n", "a", 1, "unreadable-value"),
    ("a: !!timestamp x\n", "a", 1, "unreadable-value"),
    ("a: !!bool x\n", "a", 1, "unreadable-value"),
    ("a: " + "{b: " * 2000 + "}" * 2000, "the page", 1, "too-deep"),
]


@pytest.mark.parametrize(("text", "key", "line", "what"), BROKEN)
def test_a_broken_page_says_what_and_where(tmp_path: Path, text: str, key: str, line: int, what: str) -> None:
    (problem,) = read_page(write(tmp_path, text)).problems
    assert (problem.key, problem.line) == (key, line)
    tells(problem, what)
    assert problem.works
    assert problem.where.endswith(f"page.yml:{line}" if line else "page.yml")


def test_aliases_of_aliases_come_to_an_end(tmp_path: Path) -> None:
    rows = [f"k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * 9)}]" for n in range(1, 9)]
    (problem,) = read_page(write(tmp_path, "\n".join(["k0: &k0 [x]", *rows]))).problems
    tells(problem, "yaml-alias: 200000")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\na: 3\n", "3"),
        ("a: 1\na: [3]\n", ""),
        ("a_token: 1\na_token: abc\n", ""),
        ("a: 1\n b: 2\n", "b: 2"),
        ("a: 1\n smtp_password: abc\n", ""),
        ("a: 1\n b: c2VjcmV0c2VjcmV0c2VjcmV0: 1\n", ""),
        ("password: 2026-02-30\n", "(not shown)"),
    ],
)
def test_what_stands_there_is_shown_unless_it_may_be_secret(tmp_path: Path, text: str, value: str) -> None:
    assert read_page(write(tmp_path, text)).problems[0].value == value


def test_another_sort_of_page_says_so(tmp_path: Path) -> None:
    sort = Sort("the release", "-e release=releases/hello.yml", "name: hello", "a template does not work here")
    with refused("unreadable-page: the release … -e release=releases/hello.yml"):
        read_page(tmp_path / "none.yml", sort)
    assert read_page(write(tmp_path, "- a\n"), sort).problems[0].works == "name: hello"
    assert read_page(write(tmp_path, "a: {{ b }}\n"), sort).problems[0].id == "template-on-page"


def test_what_only_ansible_takes_for_twice_is_fine_on_other_pages(tmp_path: Path) -> None:
    text = "a: &a {x: 1}\nb: {<<: *a, x: 2}\n"
    assert read_page(write(tmp_path, text), Sort("a", "b", "c", "d")).values["b"] == {"x": 2}


def test_merged_maps_of_merged_maps_come_to_an_end(tmp_path: Path) -> None:
    rows = [f"k{n}: &k{n} {{<<: [{', '.join([f'*k{n - 1}'] * 9)}]}}" for n in range(1, 12)]
    assert read_page(write(tmp_path, "\n".join(["k0: &k0 {x: 1}", *rows]))).problems


@pytest.mark.parametrize("text", ["a: &x [*x, 1]\nb: 1\n", "b: 1\na: &x {c: *x, d: 1}\n"])
def test_values_without_an_end_are_not_given_out(tmp_path: Path, text: str) -> None:
    assert read_page(write(tmp_path, text)).values == {}


@pytest.mark.parametrize(
    "make", [lambda _: None, lambda path: path.mkdir(), lambda path: path.write_bytes(b"\xff\xfe\xff")]
)
def test_a_page_that_cannot_be_read_is_named(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "page.yml"
    make(path)
    with refused("unreadable-page: page.yml: the page of settings") as caught:
        read_page(path)
    assert "SLIPWAY_PAGE=" in caught.value.message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (True, "true"),
        (None, "null"),
        ("plain-text", "plain-text"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("1.37", '"1.37"'),
        ("yes", '"yes"'),
        ("", '""'),
        ("a b", '"a b"'),
        ("2026-01-32", '"2026-01-32"'),
        ("a:", '"a:"'),
        ("@", '"@"'),
        ("a\u00a0b\u200b\U0001f600", '"a\\u00a0b\\u200b\U0001f600"'),
        ({"a": [1, "x"], "b": {}}, "{a: [1, x], b: {}}"),
    ],
)
def test_a_value_is_written_as_it_could_stand_on_the_page(value: Any, text: str) -> None:
    assert flow(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("http://me:secret@proxy:3128", '"http://…@proxy:3128"'),
        ({"password": "secret"}, '{password: "(not shown)"}'),
        (["-----BEGIN OPENSSH PRIVATE KEY-----"], '["(not shown)"]'),
        ("$ANSIBLE_VAULT;1.1;AES256 123", '"(not shown)"'),
    ],
)
def test_secrets_are_not_shown(value: Any, text: str) -> None:
    assert shown(value) == text


def test_a_long_value_is_cut() -> None:
    assert len(shown("x" * 500)) == 100


def test_keys_are_written_with_dots_and_indices() -> None:
    assert dotted(("cluster_hosts", 1, "name")) == "cluster_hosts[1].name"
    assert dotted(("", "a", "")) == '"".a.""'
