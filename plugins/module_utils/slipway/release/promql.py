"""A reader of PromQL, good enough to name what is no PromQL and which series an expression asks for.

promtool knows more, and the role asks it too; this one needs no program, and says where it stopped.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<comment>\#[^\n]*)
    | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    | (?P<duration>(?:\d+(?:ms|[smhdwy]))+)(?![\w.])
    | (?P<number>0x[0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
    | (?P<name>[a-zA-Z_][\w:]*)
    | (?P<operator>=~|!~|==|!=|<=|>=|[-+*/%^<>=@(){}\[\],:])
    )""",
    re.VERBOSE,
)
_AGGREGATIONS = {
    "avg", "bottomk", "count", "count_values", "group", "limit_ratio", "limitk", "max", "min", "quantile", "stddev",
    "stdvar", "sum", "topk",
}  # fmt: skip
_FUNCTIONS = {
    "abs", "absent", "absent_over_time", "acos", "acosh", "asin", "asinh", "atan", "atanh", "avg_over_time", "ceil",
    "changes", "clamp", "clamp_max", "clamp_min", "cos", "cosh", "count_over_time", "day_of_month", "day_of_week",
    "day_of_year", "days_in_month", "deg", "delta", "deriv", "double_exponential_smoothing", "exp", "floor",
    "histogram_avg", "histogram_count", "histogram_fraction", "histogram_quantile", "histogram_stddev",
    "histogram_stdvar", "histogram_sum", "hour", "idelta", "increase", "info", "irate", "label_join", "label_replace",
    "last_over_time", "ln", "log10", "log2", "mad_over_time", "max_over_time", "min_over_time", "minute", "month", "pi",
    "predict_linear", "present_over_time", "quantile_over_time", "rad", "rate", "resets", "round", "scalar", "sgn",
    "sin", "sinh", "sort", "sort_by_label", "sort_by_label_desc", "sort_desc", "sqrt", "stddev_over_time",
    "stdvar_over_time", "sum_over_time", "tan", "tanh", "time", "timestamp", "vector", "year",
}  # fmt: skip
_LOWEST = 1
_PRECEDENCE = {
    "or": 1, "and": 2, "unless": 2, "==": 3, "!=": 3, "<=": 3, "<": 3, ">=": 3, ">": 3, "+": 4, "-": 4, "*": 5, "/": 5,
    "%": 5, "atan2": 5, "^": 6,
}  # fmt: skip
_DEEPEST = 60


class PromqlError(ValueError):
    """What is wrong with an expression."""


@dataclass
class _Reader:
    tokens: list[tuple[str, str]]
    at: int = 0
    depth: int = 0
    metrics: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.tokens[self.at][0]

    @property
    def text(self) -> str:
        return self.tokens[self.at][1]

    def take(self) -> str:
        text = self.text
        self.at += 1
        return text

    def accept(self, text: str) -> bool:
        if self.kind in ("operator", "name") and self.text == text:
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise PromqlError(f"expected {text} {self.here()}")

    def here(self) -> str:
        before = "".join(text for _, text in self.tokens[max(0, self.at - 3) : self.at])
        return f"at its end, after {before!r}" if self.kind == "end" else f"where {self.text!r} stands"

    def expression(self, least: int = _LOWEST) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise PromqlError(f"more than {_DEEPEST} levels of brackets")
        self.operand()
        while (rank := _PRECEDENCE.get(self.text.lower(), 0)) >= least and self.kind in ("operator", "name"):
            self.at += 1
            self.accept("bool")
            if self.accept("on") or self.accept("ignoring"):
                self.labels()
                if (self.accept("group_left") or self.accept("group_right")) and self.text == "(":
                    self.labels()
            self.expression(rank + 1)
        self.depth -= 1

    def operand(self) -> None:
        while self.accept("-") or self.accept("+"):
            pass
        self.primary()
        while True:
            if self.accept("["):
                self.range()
            elif self.accept("offset"):
                self.accept("-")
                self.one_of("duration", "number")
            elif self.accept("@"):
                self.moment()
            else:
                return

    def moment(self) -> None:
        if self.kind == "name" and self.text in ("start", "end"):
            self.take()
            self.expect("(")
            self.expect(")")
        else:
            self.accept("-")
            self.one_of("number")

    def range(self) -> None:
        self.one_of("duration", "number")
        if self.accept(":") and self.text != "]":
            self.one_of("duration", "number")
        self.expect("]")

    def one_of(self, *kinds: str) -> None:
        if self.kind not in kinds:
            raise PromqlError(f"expected a {' or '.join(kinds)} {self.here()}")
        self.at += 1

    def primary(self) -> None:
        if self.kind in ("number", "string", "duration"):
            self.at += 1
        elif self.accept("("):
            self.expression()
            self.expect(")")
        elif self.text == "{":
            self.matchers()
        elif self.kind == "name":
            self.named()
        else:
            raise PromqlError(f"expected a series, a number or a function {self.here()}")

    def named(self) -> None:
        name = self.take()
        lower = name.lower()
        if lower in ("inf", "nan"):
            return
        if lower in _AGGREGATIONS and self.text in ("(", "by", "without"):
            self.grouping()
            self.arguments()
            self.grouping()
        elif self.text == "(":
            if name not in _FUNCTIONS:
                near = difflib.get_close_matches(name, _FUNCTIONS | _AGGREGATIONS, n=1)
                raise PromqlError(f"{name} is no function" + (f"; the nearest one is {near[0]}" if near else ""))
            self.arguments()
        else:
            self.metrics.append(name)
            if self.text == "{":
                self.matchers()

    def grouping(self) -> None:
        if self.accept("by") or self.accept("without"):
            self.labels()

    def arguments(self) -> None:
        self.expect("(")
        while not self.accept(")"):
            self.expression()
            if self.text != ")":
                self.expect(",")

    def labels(self) -> None:
        self.expect("(")
        while not self.accept(")"):
            self.one_of("name", "string")
            if self.text != ")":
                self.expect(",")

    def matchers(self) -> None:
        self.expect("{")
        count = 0
        while not self.accept("}"):
            count += 1
            kind, label = self.kind, self.text
            self.one_of("name", "string")
            if kind == "string" and self.text in (",", "}"):
                self.metrics.append(label[1:-1])
            elif self.text in ("=", "!=", "=~", "!~"):
                self.at += 1
                value = self.text
                self.one_of("string")
                if label == "__name__":
                    self.metrics.append(value[1:-1])
            else:
                raise PromqlError(f"expected =, !=, =~ or !~ {self.here()}")
            if self.text != "}":
                self.expect(",")
        if not count and not self.metrics:
            raise PromqlError("a selector needs a name or a label")


def metrics(expression: str) -> list[str]:
    """List the series that ``expression`` asks for; ``PromqlError`` when it is no PromQL."""
    reader = _Reader(_tokens(expression))
    reader.expression()
    if reader.kind != "end":
        raise PromqlError(f"expected an operator or the end {reader.here()}")
    return list(dict.fromkeys(reader.metrics))


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.end() == at:
            raise PromqlError(f"cannot read on at {text[at:].strip()[:20]!r}")
        at = match.end()
        kind = match.lastgroup or ""
        if kind != "comment":
            tokens.append((kind, match[kind]))
    return [*tokens, ("end", "")]
