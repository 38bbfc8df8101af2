"""PromQL: what is none is named, and what is some tells which series it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.release import promql, series

ROOT = Path(__file__).parents[2]

GOOD: list[tuple[str, list[str]]] = [
    ("up", ["up"]),
    ("up == 0", ["up"]),
    ("sum(rate(a_total[1m])) * 60 > 15", ["a_total"]),
    ('sum by (x) (rate(a{b=~"c",d!="e"}[5m])) / on (x) group_left (y) sum(b) by (x) > 0.05', ["a", "b"]),
    ("-a + +b", ["a", "b"]),
    ("a offset 5m", ["a"]),
    ("a offset -5m", ["a"]),
    ("a[5m:1m]", ["a"]),
    ("rate(a[5m:])", ["a"]),
    ("a @ 1609746000 > a @ end()", ["a"]),
    ("a @ -1", ["a"]),
    ('absent(up{job="x"})', ["up"]),
    ("a and on (b) c unless d or ignoring (f) e", ["a", "c", "d", "e"]),
    ("a * ignoring (b) group_right c", ["a", "c"]),
    ("topk(3, a)", ["a"]),
    ("sum without(x)(a)", ["a"]),
    ('label_replace(a, "b", "$1", "c", "(.*)")', ["a"]),
    ("vector(1)", []),
    ("1 + 2 * 3 ^ 4 atan2 5", []),
    ('{__name__=~"a.*",b="c"}', ["a.*"]),
    ('{"a.b",c="d"}', ["a.b"]),
    ("a > bool 1", ["a"]),
    ("a # comment\n > 1", ["a"]),
    ("Inf > a != NaN", ["a"]),
    ("1e3 > a > 0x1F > .5", ["a"]),
    ("sum(a) > 1d", ["a"]),
    ("a{}", ["a"]),
    ("a + a", ["a"]),
    ("slipway:requests:rate1m{namespace='x'}", ["slipway:requests:rate1m"]),
]
BAD = [
    ("", "at its end"),
    ("a >", "at its end"),
    ("sum(", "expected a series"),
    ("sum(a", "expected ,"),
    ("rat(a[5m])", "the nearest one is rate"),
    ("qqqqqq(a)", "qqqqqq is no function"),
    ("a[5m", "expected ]"),
    ("a{b=c}", "expected a string where 'c' stands"),
    ("a b", "expected an operator or the end where 'b' stands"),
    ("a)", "where ')' stands"),
    ("5 >> 3", "where '>' stands"),
    ("a{b}", "expected =, !=, =~ or !~"),
    ("sum by x (a)", "expected ( where 'x' stands"),
    ("a[x]", "expected a duration or number"),
    ("a offset b", "expected a duration or number"),
    ("a @ b", "expected a number"),
    ("'abc", "cannot read on"),
    ("{}", "needs a name or a label"),
    ('a{b="c" d="e"}', "expected ,"),
    ("(" * 100 + "a" + ")" * 100, "more than 60 levels"),
    ("errors > 5%", "at its end"),
    ("💥", "cannot read on"),
    ("sum by (a b) (c)", "expected ,"),
]


@pytest.mark.parametrize(("text", "names"), GOOD)
def test_an_expression_tells_its_series(text: str, names: list[str]) -> None:
    assert promql.metrics(text) == names


@pytest.mark.parametrize(("text", "why"), BAD)
def test_what_is_no_expression_is_told_where_it_ends(text: str, why: str) -> None:
    with pytest.raises(promql.PromqlError) as caught:
        promql.metrics(text)
    assert why in str(caught.value)


def rules() -> list[Any]:
    return [
        rule
        for path in sorted(ROOT.glob("roles/monitoring/files/rules/*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def test_every_rule_of_the_cluster_is_read_without_complaint() -> None:
    for rule in rules():
        assert promql.metrics(rule["expr"]) or "vector(" in rule["expr"], rule


def test_what_releases_read_is_recorded() -> None:
    assert {item.name for item in series.ALL} <= {rule.get("record") for rule in rules()}
