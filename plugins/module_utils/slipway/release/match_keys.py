"""The keys by which a path tells requests apart: methods, query, headers, patterns; and paths that lead elsewhere."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..page.form import Map, WrongError, setting
from .header_keys import Method
from .keys import LABEL_RULE, Label, Short, Version
from .values import HeaderName, UrlPath, header_value, written_text

# What RE2, the engine of the mesh, does not have.
_NOT_RE2 = re.compile(r"\(\?(=|!|<=|<!|P=|>)|\\[1-9]|[*+?}]\+")


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as exc:
        raise WrongError("not-a-pattern", f"is no regular expression: {exc}", re.escape(text)) from exc
    if _NOT_RE2.search(text):
        what = "has a look-around, a back-reference or a possessive quantifier, which the mesh (RE2) does not know"
        raise WrongError("not-a-pattern", what, _NOT_RE2.split(text)[0] + ".*")
    return text


def _location(text: str) -> str:
    if not re.fullmatch(r"(https?://[a-z0-9.-]+(:\d{1,5})?)?(/[\w.~!$&'()*+,;=:@%/-]*)?", text) or not text:
        raise WrongError("not-a-path", "must be a path, or http(s)://host with or without a path", "/new")
    return text


Regex = Annotated[str, AfterValidator(_regex), Field(min_length=1, max_length=400)]
QueryName = Annotated[str, Field(pattern=r"^[\w.~\[\]-]+$", max_length=100)]
_QUERY_RULE = "must be the name of a query parameter"


class Match(Short):
    """A value as text, by how it begins, or by a regular expression."""

    short = "text"

    text: Annotated[str, BeforeValidator(written_text)] | None = setting(
        None, "Exactly this value.", example="B", min_length=1, max_length=200
    )
    prefix: str | None = setting(None, "Values that begin so.", example="beta-", min_length=1, max_length=200)
    regex: Regex | None = setting(
        None, "Values that match as a whole. RE2, without look-around.", example="beta-[0-9]+"
    )
    example: str | None = setting(
        None, "A value that matches the regex. A proof sends it.", example="beta-7", min_length=1, max_length=200
    )

    @model_validator(mode="after")
    def _one_way(self) -> Match:
        if sum(each is not None for each in (self.text, self.prefix, self.regex)) != 1:
            raise WrongError("needs-one-of", "must have one of text, prefix and regex")
        if (self.regex is None) != (self.example is None):
            raise WrongError("needs-one-of", "must have an example with its regex: a proof sends it")
        if self.regex and not re.fullmatch(self.regex, str(self.example)):
            raise WrongError("pattern-misses-example", f"does not match its own example {self.example!r} as a whole")
        shown = self.sample
        if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", shown):
            raise WrongError("not-a-header", "must be printable letters, with no space at its ends")
        return self

    @property
    def sample(self) -> str:
        """Give a value that matches."""
        return self.text or self.example or str(self.prefix)

    @property
    def of_mesh(self) -> dict[str, str]:
        """Give it as a VirtualService has it."""
        if self.text is not None:
            return {"exact": self.text}
        return {"prefix": self.prefix} if self.prefix is not None else {"regex": str(self.regex)}


class ChoiceValue(Match):
    """The value of a header for a version: a plain text is what it is, and no expression is taken for one."""

    @model_validator(mode="after")
    def _no_hidden_pattern(self) -> ChoiceValue:
        if self.text is not None:
            header_value(self.text)
        return self


class PathMatch(Map):
    """Paths by a regular expression."""

    regex: Regex = setting(..., "Paths that match as a whole, without the query. RE2.", example="/items/[0-9]+")
    example: UrlPath = setting(..., "A path that matches. A proof asks for it.", example="/items/7")

    @model_validator(mode="after")
    def _fits(self) -> PathMatch:
        if not re.fullmatch(self.regex, self.example):
            raise WrongError("pattern-misses-example", f"does not match its own example {self.example!r} as a whole")
        return self


class Case(Map):
    """Requests of a path that go elsewhere: all that is said of them must hold."""

    methods: list[Method] = setting([], "Methods.", example=["POST"])
    query: dict[QueryName, Match] = setting(
        {}, "Query parameters. Each is a text, or regex with an example.", example={"beta": "1"}, rule=_QUERY_RULE
    )
    headers: dict[HeaderName, Match] = setting(
        {},
        "Headers of the request. Each is a text, prefix, or regex with an example.",
        example={"x-user": {"regex": "beta-.*", "example": "beta-7"}},
    )
    path: PathMatch | None = setting(
        None,
        "Paths below this one, by a regular expression.",
        example={"regex": "/items/[0-9]+", "example": "/items/7"},
    )
    to: Label | None = setting(None, "The service. By default that of the path.", example="writer", rule=LABEL_RULE)
    version: Version | None = setting(
        None,
        "Its version, whatever cookie, header and weights say. By default they decide, as for the path.",
        example="v2",
        rule=LABEL_RULE,
    )

    @model_validator(mode="after")
    def _something(self) -> Case:
        if not (self.methods or self.query or self.headers or self.path):
            raise WrongError("needs-one-of", "must say which requests: methods, query, headers or path")
        if self.to is None and self.version is None:
            raise WrongError("needs-one-of", "must say where they go: to, version, or both")
        if any(match.prefix is not None for match in self.query.values()):
            raise WrongError("keys-contradict", "has a prefix for a query parameter; write regex: prefix.*")
        return self


class Redirect(Short):
    """A path whose requests are sent somewhere else."""

    short = "to"

    to: Annotated[str, AfterValidator(_location)] = setting(
        ..., "Where to: a path, or http(s)://host with or without a path. The path is replaced as a whole.",
        example="/new",
    )  # fmt: skip
    code: Literal[301, 302, 303, 307, 308] = setting(
        301, "HTTP status: 301 and 308 for ever, 302, 303 and 307 for now.", unit="HTTP status", example=302
    )

    @property
    def of_mesh(self) -> dict[str, Any]:
        """Give it as a VirtualService has it."""
        found = re.fullmatch(r"(?:(https?)://([^/:]+)(?::(\d+))?)?(/.*)?", self.to)
        scheme, host, port, path = found.groups() if found else (None, None, None, self.to)
        made: dict[str, Any] = {"redirectCode": self.code}
        made |= {"uri": path} if path else {}
        made |= {"scheme": scheme, "authority": host} if host else {}
        if port:
            made["port"] = int(port)
        elif host:
            made["derivePort"] = "FROM_PROTOCOL_DEFAULT"
        return made
