"""The last lines of a log: few, short, and without what the pod's Secrets hold."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slipway.cluster import last_words


def test_the_secrets_of_a_pod_are_those_of_variables_files_and_registries() -> None:
    pod: dict[str, Any] = {
        "spec": {
            "imagePullSecrets": [{"name": "registry"}],
            "initContainers": [{"name": "init", "envFrom": [{"secretRef": {"name": "all"}}, {"configMapRef": {}}]}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "one"}}}, {"name": "A", "value": "b"}]}],
            "volumes": [
                {"secret": {"secretName": "files"}},
                {"projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {}}]}},
                {"emptyDir": {}},
            ],
        }
    }
    assert last_words.secrets_of(pod) == ["registry", "all", "one", "files", "projected"]
    assert last_words.secrets_of({}) == []
    assert last_words.values_of({"data": {"a": base64.b64encode(b"x").decode(), "empty": ""}}) == ["x"]


@pytest.mark.parametrize(
    ("line", "secret", "shown"),
    [
        ("key is s3cr3t!", "s3cr3t!", "key is …"),
        ("key is s3cr3t", "s3cr3t\n", "key is …"),
        ("Basic czNjcjN0IQ==", "s3cr3t!", "Basic …=="),
        ("GET /?k=s%2Fcr%26t", "s/cr&t", "GET /?k=…"),
        (json.dumps({"k": 'a"b\\c'}), 'a"b\\c', '{"k": "…"}'),
        # A Secret may hold a whole file, of which a program prints a part.
        ("got hunter2", "user = me\npassword = hunter2\n", "got …"),
        ("got hunter2", '{"password": "hunter2", "n": 1}', "got …"),
        ("got hunter2 for db", "postgres://me:hunter2@db/x", "got … for db"),
        # One letter is a letter, unless it stands alone.
        ("a=1 and 21 apples", "1", "a=… and 21 apples"),
        # Not of any Secret, but a password all the same.
        ("postgres://me:hunter2@db", "", "postgres://me:…@db"),
    ],
)
def test_secrets_are_taken_out_in_every_form(line: str, secret: str, shown: str) -> None:
    assert last_words.shown(line + "\n", [secret] if secret else []) == [shown]


@settings(max_examples=60)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=30), st.integers(0, 3000))
def test_no_secret_is_shown_wherever_the_log_is_cut(secret: str, before: int) -> None:
    log = "~" * before + "\n" + "~" * before + secret + "\n" + secret + "~" * before
    assert secret not in "\n".join(last_words.shown(log, [secret]))


def test_few_lines_are_shown_and_the_last_of_them() -> None:
    log = "".join(f"line {number}\n\n" for number in range(30))
    assert last_words.shown(log, []) == [f"line {number}" for number in range(20, 30)]
    wide = [f"{number} " + "é" * 250 for number in range(10)]
    shown = last_words.shown("\n".join(wide), [])
    assert shown == wide[-4:]
    assert len("\n".join(shown).encode()) <= last_words.BYTES
    (long,) = last_words.shown("x" * 5000, [])
    assert (len(long), long[-1]) == (300, "…")


def test_a_line_that_the_api_server_has_cut_is_left_out() -> None:
    log = "first\n" + "x" * last_words.ASKED
    assert last_words.shown(log[: last_words.ASKED], []) == ["first"]


def test_terminals_get_no_orders() -> None:
    assert last_words.shown("\x1b[31mred\x1b[0m\a\ttab ü\r\n", []) == ["red\ttab ü"]


def test_a_bundle_of_certificates_takes_no_minutes() -> None:
    bundle = "\n".join(f"{number:064x}" for number in range(3000))
    assert last_words.shown("y" * 60_000 + "\n" + f"{7:064x}", [bundle])[-1] == "…"
