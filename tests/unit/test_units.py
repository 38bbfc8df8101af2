"""Managed blocks and the decision what systemctl has to do."""

from __future__ import annotations

import pytest
from slipway.node import units

BLOCK = "# BEGIN slipway\nx 1\n# END slipway\n"


@pytest.mark.parametrize(
    ("before", "block", "after"),
    [
        ("", "x 1\n", BLOCK),
        ("a\n", "x 1\n", "a\n" + BLOCK),
        ("a", "x 1", "a\n" + BLOCK),
        ("a\n# BEGIN slipway\nold\n# END slipway\nb\n", "x 1", "a\n" + BLOCK + "b\n"),
        ("a\n" + BLOCK + "b\n", "", "a\nb\n"),
        (BLOCK, "", ""),
        ("# BEGIN slipway\nlost its end\n", "x 1", "# BEGIN slipway\nlost its end\n" + BLOCK),
    ],
)
def test_a_block_leaves_every_other_line_alone(before: str, block: str, after: str) -> None:
    assert units.with_block(before, block) == after
    if block:
        assert units.with_block(after, block) == after or before.startswith("# BEGIN slipway\nlost")


OWN = {r"^127\.0\.1\.1(?=\s)": "192.0.2.101"}


@pytest.mark.parametrize("end", ["", BLOCK, "# BEGIN slipway\n127.0.1.1 in the block\n# END slipway\n"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("127.0.0.1 localhost\n127.0.1.1\tnode-1.example.org node-1\n", "192.0.2.101\tnode-1.example.org node-1"),
        ("## template:jinja\n127.0.1.1 {{fqdn}} {{hostname}}\n", "192.0.2.101 {{fqdn}} {{hostname}}"),
        ("127.0.1.10 other\n# 127.0.1.1 node-1\n", "# 127.0.1.1 node-1"),
    ],
)
def test_lines_outside_of_a_block_can_get_another_word(before: str, after: str, end: str) -> None:
    text = units.with_block(before + end, "x 1", OWN)
    lines = text.splitlines()
    assert lines[0] == before.splitlines()[0]
    assert lines[1] == after
    assert text.endswith(BLOCK)
    assert units.with_block(text, "x 1", OWN) == text


def test_a_difference_shows_no_secret() -> None:
    shown = units.difference("/f", "old word", "new word", secret=True)
    assert (shown["before"], shown["after"]) == ("(secret)\n", "(secret, another one)\n")
    shown = units.difference("/f", "", "new word", secret=True)
    assert (shown["before"], shown["after"]) == ("", "(secret)\n")
    assert units.difference("/f", "a\n", "b\n", secret=False) == {
        "before_header": "/f",
        "after_header": "/f",
        "before": "a\n",
        "after": "b\n",
    }


def test_a_difference_shows_no_password_of_a_url() -> None:
    line = "Environment=HTTP_PROXY=http://me:se+cret@proxy.example.org:3128\n"
    shown = units.difference("/f", line, "plain http://proxy.example.org:3128/a:b@c\n", secret=False)
    assert shown["before"] == "Environment=HTTP_PROXY=http://me:********@proxy.example.org:3128\n"
    assert shown["after"] == "plain http://proxy.example.org:3128/a:b@c\n"


def test_systemctl_show_is_read_line_by_line() -> None:
    assert units.parse_show("A=b=c\nnothing\nD=\n") == {"A": "b=c", "D": ""}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("Thu 1970-01-01 00:01:00.500000 UTC", 60.5), ("", 0.0), ("n/a", 0.0)],
)
def test_a_timestamp_is_seconds_since_the_epoch(text: str, seconds: float) -> None:
    assert units.entered(text) == seconds


ACTIVE = {
    "ActiveState": "active",
    "UnitFileState": "enabled",
    "ActiveEnterTimestamp": "Thu 1970-01-01 00:01:00.000000 UTC",
}
DEAD = {"ActiveState": "inactive", "UnitFileState": "disabled", "ActiveEnterTimestamp": ""}
ON = {"enabled": True, "state": "started"}


@pytest.mark.parametrize(
    ("wanted", "shown", "changed_at", "written", "verbs"),
    [
        (ON, DEAD, [], False, ["enable", "start"]),
        (ON, ACTIVE, [], False, []),
        (ON, ACTIVE, [59.9], False, []),
        (ON, ACTIVE, [59.9, 60.1], False, ["restart"]),
        (ON, ACTIVE, [], True, ["restart"]),
        (ON, {**DEAD, "UnitFileState": "static"}, [], False, ["start"]),
        (ON, {**ACTIVE, "ActiveState": "failed"}, [], False, ["start"]),
        ({"enabled": False, "state": "stopped"}, ACTIVE, [99.0], True, ["disable", "stop"]),
        ({"enabled": False, "state": "stopped"}, DEAD, [], False, []),
        ({"enabled": None, "state": "started"}, DEAD, [], False, ["start"]),
        ({"enabled": True, "state": "restarted"}, ACTIVE, [], False, ["restart"]),
        ({"enabled": True, "state": "restarted"}, DEAD, [99.0], True, ["enable", "restart"]),
        (
            {"enabled": True, "state": None},
            {**ACTIVE, "UnitFileState": "disabled"},
            [99.0],
            False,
            ["enable"],
        ),
    ],
)
def test_what_systemctl_has_to_do(
    wanted: dict[str, object], shown: dict[str, str], changed_at: list[float], written: bool, verbs: list[str]
) -> None:
    assert units.steps(wanted, shown, changed_at, written) == verbs
