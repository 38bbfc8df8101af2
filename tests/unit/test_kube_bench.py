"""What kube-bench finds is held against docs/security.md: a failure or a warning without an answer is one too many."""

from __future__ import annotations

import json

import pytest

from tests.support.kube_bench import FAILING, WARNING, Result, answered, results, unanswered

DOCUMENT = f"""\
# Security

## {FAILING}

| Check | What | Why it stays |
|---|---|---|
| 1.2.5 | one | because |

## {WARNING}

| Check | What | Answer |
|---|---|---|
| 1.2.1 | two | so |

## More

| 4.1.9 | not an answer | |
"""


@pytest.mark.parametrize(
    ("check", "status", "open_"),
    [
        ("1.1.1", "PASS", False),
        ("1.1.1", "INFO", False),
        ("1.2.5", "FAIL", False),
        ("1.2.1", "FAIL", True),
        ("4.1.9", "FAIL", True),
        ("1.2.1", "WARN", False),
        ("1.2.5", "WARN", True),
        ("1.2", "WARN", True),
    ],
)
def test_only_what_its_own_table_answers_is_answered(check: str, status: str, open_: bool) -> None:
    assert bool(unanswered([Result(check, status, "text", "reason")], DOCUMENT)) is open_


def test_what_it_prints_is_read() -> None:
    one = {"test_number": "1.1.12", "test_desc": "etcd", "status": "FAIL", "actual_value": "root:root", "reason": ""}
    said = {"Controls": [{"id": "1", "tests": [{"section": "1.1", "results": [one]}]}], "Totals": {}}
    assert list(results(json.dumps(said))) == [Result("1.1.12", "FAIL", "etcd", "root:root")]


def test_the_document_has_both_tables() -> None:
    assert answered(FAILING) == set()
    assert len(answered(WARNING)) > 30
