"""The keys of a path's headers, and of who may read its answers in a browser (CORS)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ..page.form import Map, WrongError, setting
from .keys import Short
from .values import LABEL, Duration, is_token, one_or_many, written_text

# What Envoy and HTTP keep for themselves: the framing, and what the gateway writes after the rules of a page.
_RESERVED = (
    *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer"),
    *("cookie", "server", "date"),
)
_ORIGIN = re.compile(rf"https?://(\*\.)?{LABEL}(\.{LABEL})*(:\d{{1,5}})?")
SET_COOKIE = "set-cookie"
ALL = "*"


def _name(text: str) -> str:
    name = text.lower()
    if not is_token(text):
        raise WrongError("not-a-header", "must be the name of a header: letters, digits and hyphens")
    if name.replace("_", "-") in _RESERVED:
        raise WrongError("reserved-header", "is a header that the gateway or HTTP itself writes")
    return name


def _value(text: str) -> str:
    if not re.fullmatch(r"[!-~]([ -~]{0,3998}[!-~])?", text):
        what = "must be a value that a header can have: printable letters, no space at its ends"
        raise WrongError("not-a-header", what, re.sub(r"[^ -~]+", " ", text).strip() or "nosniff")
    return text


def _origin(text: str) -> str:
    if text != ALL and not _ORIGIN.fullmatch(text):
        what = "must be *, or scheme://host with its port as a browser sends it: lower case, no path, no / at its end"
        raise WrongError("not-an-origin", what)
    return text


def _token(text: str) -> str:
    if not is_token(text):
        raise WrongError("not-a-header", "must be the name of a header: letters, digits and hyphens")
    return text.lower()


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


_LIST = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
Header = Annotated[str, AfterValidator(_name)]
HeaderText = Annotated[str, AfterValidator(_value), BeforeValidator(written_text)]
Origins = Annotated[
    list[Annotated[str, AfterValidator(_origin)]],
    Field(min_length=1),
    BeforeValidator(one_or_many),
    WithJsonSchema(_LIST),
]
Method = Annotated[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], BeforeValidator(_upper)]
Named = Annotated[str, AfterValidator(_token)]


class HeaderChange(Map):
    """What is done to the headers of a request, or of its answer."""

    set: dict[Header, HeaderText] = setting(
        {}, "Headers that get exactly this value, whatever it was.", example={"x-frame-options": "DENY"}
    )
    add: dict[Header, HeaderText] = setting(
        {}, "Headers that get this value beside those that are there.", example={"vary": "Accept-Language"}
    )
    remove: list[Header] = setting([], "Headers that are taken away.", example=["x-powered-by"])

    @model_validator(mode="after")
    def _one_change(self) -> HeaderChange:
        named = [*self.set, *self.add, *self.remove]
        twice = next((name for index, name in enumerate(named) if name in named[:index]), None)
        if twice:
            raise WrongError("keys-contradict", f"has {twice} twice; a header is set, added or removed")
        if SET_COOKIE in {*self.set, *self.remove}:
            what = "must not set or remove set-cookie: the cookies of the app and of its version are there; add works"
            raise WrongError("reserved-header", what)
        return self


class Headers(Map):
    """Headers that the gateway changes for a path."""

    request: HeaderChange = setting(
        HeaderChange(), "Headers of the request, as the service gets it.", example={"set": {"x-from": "gateway"}}
    )
    response: HeaderChange = setting(
        HeaderChange(), "Headers of the answer, as the client gets it.", example={"set": {"x-frame-options": "DENY"}}
    )

    @model_validator(mode="after")
    def _cookies_are_set_by_answers(self) -> Headers:
        if SET_COOKIE in self.request.add:
            raise WrongError("reserved-header", "must not add set-cookie to a request, because only an answer has it")
        return self


class Cors(Short):
    """Which pages of other origins may ask a path and read its answers; the gateway answers their preflights."""

    short = "origins"

    origins: Origins = setting(
        ...,
        "Origins: scheme://host with its port, if it is not the usual one. https://*.example.org means all hosts "
        "below that domain; * means everybody.",
        example=["https://app.example.org"],
    )
    methods: list[Method] = setting(
        ["GET", "HEAD", "POST"], "Methods that these pages may use.", example=["GET", "POST", "PUT"], min_length=1
    )
    headers: list[Named] = setting(
        ["content-type"], "Headers that their requests may have.", example=["content-type", "authorization"]
    )
    expose: list[Named] = setting([], "Headers of answers that their scripts may read.", example=["x-request-id"])
    max_age: Duration = setting("10m", "How long a browser may remember the answer to a preflight.", example="10m")
    credentials: bool = setting(False, "May their requests carry cookies and passwords?", example=True)

    @model_validator(mode="after")
    def _credentials_are_for_somebody(self) -> Cors:
        if self.credentials and ALL in {*self.origins, *self.headers, *self.expose}:
            what = "must not have * with credentials: true, which would show every user's data to every page"
            raise WrongError("keys-contradict", what)
        return self
