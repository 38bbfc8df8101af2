"""Values as people write them on a release's page (``10/minute``, ``5%``, ``1.5Gi``), and as machines read them."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from ..page.form import WrongError
from ..page.read import Respelt
from ..page.repairs import plain_part

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)")
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# Each way to write the time of a rate, by itself: a unit that is added here is never taken for another one.
_SECONDS = {
    **dict.fromkeys(("s", "sec", "second"), 1),
    **dict.fromkeys(("m", "min", "minute"), 60),
    **dict.fromkeys(("h", "hour"), 3600),
    **dict.fromkeys(("d", "day"), 86400),
}
_RATE = re.compile(rf"(\d{{1,9}})\s*(?:/|per )\s*({'|'.join(_SECONDS)})")
_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_BINARY = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4}
_DECIMAL = {"k": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]{1,200}")
_PART = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
_IMAGE = re.compile(rf"([a-z0-9.-]+(:\d{{1,5}})?/)?{_PART}(/{_PART})*(:\w[\w.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?")

# In the place of a user ID: whoever the image says, root too.
IMAGE_USER = "image"
LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"


def _duration(text: str) -> str:
    if not _DURATION.fullmatch(text) or milliseconds(text) < 1:
        raise WrongError("not-a-duration", "must be a length of time with its unit: ms, s, m, h or d")
    return text


def _wait(text: str) -> str:
    return "0s" if re.fullmatch(r"0(ms|s|m|h|d)", text) else _duration(text)


def milliseconds(text: str) -> int:
    """Read a length of time (``500ms``, ``10s``, ``1.5m``) as milliseconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no length of time")
    return int(Decimal(match[1]) * _MILLISECONDS[match[2]])


def seconds_text(text: str) -> str:
    """Write a length of time in seconds, as Envoy and Istio take it: ``0.5s``, ``90s``."""
    return _plain_number(Fraction(milliseconds(text), 1000)) + "s"


def prometheus_time(text: str) -> str:
    """Write a length of time in the largest unit that Prometheus takes without a fraction: ``2m``, ``1500ms``."""
    number = milliseconds(text)
    if not number:
        return "0s"
    unit, size = next((unit, size) for unit, size in reversed(_MILLISECONDS.items()) if number % size == 0)
    return f"{number // size}{unit}"


def _plain_number(value: Fraction) -> str:
    """Write a fraction with at most nine decimals, and no more than needed."""
    text = f"{Decimal(value.numerator) / Decimal(value.denominator):.9f}"
    return text.rstrip("0").rstrip(".")


def rate(text: str) -> tuple[int, int]:
    """Read ``10/minute`` as how many in how many seconds."""
    match = _RATE.fullmatch(text)
    if match is None or not int(match[1]):
        raise WrongError("not-a-rate", "must be a number per second, minute, hour or day")
    return int(match[1]), _SECONDS[match[2]]


def _rate(text: str) -> str:
    rate(text)
    return text


def bucket(text: str, burst: int | None = None) -> dict[str, Any]:
    """Make Envoy's token bucket of a rate.

    It is full with ``burst`` (default: the rate's number) and gains one at a time: 10/minute gains one every 6 s. Envoy
    takes no fill more often than every 50 ms, so faster buckets gain several at once.
    """
    count, seconds = rate(text)
    fill = max(1, math.ceil(Fraction(count, 20 * seconds)))
    interval = Fraction(seconds * fill, count)
    return {
        "max_tokens": max(burst or count, fill),
        "tokens_per_fill": fill,
        "fill_interval": _plain_number(interval) + "s",
    }


def _percent(value: Any) -> Any:
    if isinstance(value, str):
        if not re.fullmatch(r"\d{1,3}(\.\d{1,4})?%", value):
            raise WrongError("not-a-share", "must be a share of 0% to 100%")
        return float(value[:-1])
    return value


def _whole_percent(value: float) -> float:
    if value != int(value):
        raise WrongError("not-a-share", "must be a whole share of 1% to 100%")
    return value


def whole(value: float) -> int | float:
    """Give a number without a fraction as the whole number it is, so that it is written as one."""
    return int(value) if value == int(value) else value


def _to_text(value: Any) -> Any:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _cpu(text: str) -> str:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in (None, "m"):
        raise WrongError("not-an-amount", "must be a number of CPUs, or of thousandths of one with m")
    thousandths = Decimal(match[1]) * (1 if match[2] else 1000)
    if thousandths != int(thousandths) or thousandths < 1:
        raise WrongError("not-an-amount", "must be at least 1m, and whole thousandths of a CPU")
    return f"{int(thousandths) // 1000}" if thousandths % 1000 == 0 else f"{int(thousandths)}m"


def _memory(text: str) -> str:
    """Bring a size into the form that the API server gives it, so that applying it again changes nothing."""
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] == "m":
        raise WrongError("not-an-amount", "must be a size in bytes, with Ki, Mi, Gi or Ti")
    units = _BINARY if match[2] in _BINARY else _DECIMAL
    size = Decimal(match[1]) * (units[match[2]] if match[2] else 1)
    if size != int(size) or size < 1:
        raise WrongError("not-an-amount", "must be whole bytes, and more than none")
    unit = next((unit for unit, factor in reversed(units.items()) if match[2] and int(size) % factor == 0), "")
    return f"{int(size) // units.get(unit, 1)}{unit}"


def amount(text: str) -> Decimal:
    """Read an amount of CPUs or bytes (``50m``, ``64Mi``) as a number, to compare it with another."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no amount")
    units: dict[str, Decimal | int] = {"m": Decimal("0.001"), **_DECIMAL, **_BINARY}
    return Decimal(match[1]) * (units[match[2]] if match[2] else 1)


def written_text(value: Any) -> Any:
    """Take a whole number for the text it is written as; ``yes``, ``1.10`` and ``0755`` would become another text."""
    if isinstance(value, (Respelt, bool, float)):
        # Of the others the text that they were written as is not known.
        written = value.text if isinstance(value, Respelt) else None
        raise WrongError("needs-quotes", "must be a text, in quotes", written)
    return str(value) if isinstance(value, int) else value


def one_or_many(value: Any) -> Any:
    """Take one text for a list of one."""
    return [value] if isinstance(value, str) else value


def is_token(text: str) -> bool:
    """Tell whether a text can be the name of a header or a cookie."""
    return bool(_TOKEN.fullmatch(text))


def is_cookie_value(text: str) -> bool:
    """Tell whether a text can be the value of a cookie without quotes."""
    return bool(_COOKIE_VALUE.fullmatch(text))


def _header(text: str) -> str:
    if not is_token(text) or text.startswith(":") or text.lower() in ("host", "cookie", "set-cookie", "content-length"):
        raise WrongError("not-a-header", "must be the name of a request header of its own: letters, digits and hyphens")
    return text.lower()


# What stands in expressions, and hardly ever in a value: an anchor, a wildcard, a class, a choice.
_EXPRESSION = re.compile(
    r"^\^|(?<!\\)\$$|\.[*+?]|\\[dwsDWSb.]|\[[^\]]*(\w-\w|\^)[^\]]*\]|\[[^\]]+\][*+?{]|\([^()]*\|[^()]*\)|\(\?[a-zA-Z:=!<]"
)


def _no_expression(text: str) -> str:
    if _EXPRESSION.search(text):
        what = "looks like a regular expression, and is compared as text: letter by letter, the whole value"
        raise WrongError("regular-expression", what, plain_part(text) or "B")
    return text


def header_value(text: str) -> str:
    """Check the value of a header that is compared as text."""
    _no_expression(text)
    if not re.fullmatch(r"[!-~]([ -~]{0,198}[!-~])?", text):
        raise WrongError(
            "not-a-header", "must be a value that a header can have: printable letters, no space at its ends"
        )
    return text


def _cookie(text: str) -> str:
    if not is_token(text):
        raise WrongError(
            "not-a-cookie",
            "must be the name of a cookie: letters, digits, hyphens and underscores, no space, = or ;",
        )
    return text


def _cookie_value(text: str) -> str:
    _no_expression(text)
    if not is_cookie_value(text):
        raise WrongError("not-a-cookie", 'must be the value of a cookie: no space, comma, semicolon or "')
    return text


def _image(text: str) -> str:
    if not _IMAGE.fullmatch(text):
        raise WrongError(
            "not-an-image", "must be an image: name:tag in lower-case letters, with its registry before it"
        )
    return text


def repository(image: str) -> str:
    """Give an image's name without tag and digest."""
    name = image.partition("@")[0]
    before, colon, after = name.rpartition(":")
    return before if colon and "/" not in after else name


def _registry(text: str) -> str:
    if not re.fullmatch(rf"{LABEL}(\.{LABEL})*(:[1-9]\d{{0,4}})?", text) or not re.search(r"[.:]|^localhost$", text):
        host = re.sub(r"^[a-z]+://", "", text.lower()).partition("/")[0]
        works = host if re.fullmatch(rf"{LABEL}(\.{LABEL})+(:[1-9]\d{{0,4}})?", host) else "ghcr.io"
        raise WrongError(
            "not-a-registry", "must be the host of a registry as images name it: no https://, no path", works
        )
    return text


def _host(text: str) -> str:
    if len(text) > 253 or not re.fullmatch(rf"{LABEL}(\.{LABEL})*", text):
        raise WrongError("not-a-host-name", "must be a host name in lower case, without port or path")
    return text


def _any_host(text: str) -> str:
    if text == "*" or re.fullmatch(rf"\*(\.{LABEL})+", text):
        return text
    if "*" in text:
        rest = text.rpartition("*")[2].strip(".")
        works = f"*.{rest}" if re.fullmatch(rf"{LABEL}(\.{LABEL})*", rest) else "*"
        raise WrongError("not-a-host-name", "must have * alone or as its first label: *.example.org", works)
    return _host(text)


def _path(text: str) -> str:
    if re.search(r"\*$|\.[*+]|^\^|\$$", text):
        what = "must be a path without wildcards (a route is for what is below its path, too)"
        raise WrongError("not-a-path", what, re.split(r"/?(\(|\[|\.?[*+])", text.strip("^$"))[0] or "/")
    if not re.fullmatch(r"/|(/[\w.~!$&'()*+,;=:@%-]+)+/?", text):
        raise WrongError("not-a-path", "must be a path that starts with / and has no space, ? or #")
    return text


def _folder(text: str) -> str:
    if not re.fullmatch(r"(/[\w.@+-]+)+", text) or "/../" in f"{text}/":
        raise WrongError("not-a-path", "must be the absolute path of a folder")
    return text


def _user(value: Any) -> Any:
    whole_number = isinstance(value, int) and not isinstance(value, bool)
    if value == IMAGE_USER or (whole_number and 1 <= value < 2**31):
        return int(value) if whole_number else str(value)
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else 0
    what = f"must be a user ID from 1 to 2147483647, or {IMAGE_USER}: the user that the image names, also root"
    raise WrongError("not-a-user", what, number or IMAGE_USER)


def _below(text: str) -> str:
    tidy = "/".join(part for part in text.split("/") if part not in ("", ".", ".."))
    if text != tidy or not re.fullmatch(r"[\w.@+-]+(/[\w.@+-]+)*", text):
        raise WrongError(
            "not-a-path", "must be a path in the volume: no / at its beginning or end, no ..", tidy or "data"
        )
    return text


_DURATION_SCHEMA = {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$"}
_PERCENT_SCHEMA = {
    "anyOf": [{"type": "number", "minimum": 0, "maximum": 100}, {"type": "string", "pattern": r"^\d+(\.\d+)?%$"}]
}
_WHOLE_PERCENT_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1, "maximum": 100}, {"type": "string", "pattern": r"^\d+%$"}]
}
_SIZE_SCHEMA = {"type": ["string", "number"]}
_TEXTS_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_TEXT_SCHEMA = {"type": ["string", "integer"]}

Duration = Annotated[str, AfterValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
# A length of time that may be none.
Wait = Annotated[str, AfterValidator(_wait), WithJsonSchema(_DURATION_SCHEMA)]
Rate = Annotated[str, AfterValidator(_rate), WithJsonSchema({"type": "string", "pattern": r"^\d+ ?(/|per ) ?[a-z]+$"})]
# Marks a number that a page writes as a share, 5%.
SHARE = BeforeValidator(_percent)
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), SHARE, WithJsonSchema(_PERCENT_SCHEMA)]
WholePercent = Annotated[
    float,
    Field(ge=1, le=100, allow_inf_nan=False),
    AfterValidator(_whole_percent),
    SHARE,
    WithJsonSchema(_WHOLE_PERCENT_SCHEMA),
]
Cpu = Annotated[str, AfterValidator(_cpu), BeforeValidator(_to_text), WithJsonSchema(_SIZE_SCHEMA)]
Memory = Annotated[str, AfterValidator(_memory), BeforeValidator(_to_text), WithJsonSchema(_SIZE_SCHEMA)]
Text = Annotated[str, BeforeValidator(written_text), WithJsonSchema(_TEXT_SCHEMA)]
Texts = Annotated[list[str], BeforeValidator(one_or_many), WithJsonSchema(_TEXTS_SCHEMA)]
HeaderName = Annotated[str, AfterValidator(_header)]
HeaderValue = Annotated[str, AfterValidator(header_value), BeforeValidator(written_text)]
CookieName = Annotated[str, AfterValidator(_cookie)]
CookieValue = Annotated[str, AfterValidator(_cookie_value), BeforeValidator(written_text), WithJsonSchema(_TEXT_SCHEMA)]
_USER_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 2**31 - 1}, {"const": IMAGE_USER}]}
User = Annotated[Any, BeforeValidator(_user), WithJsonSchema(_USER_SCHEMA)]
Image = Annotated[str, AfterValidator(_image)]
Registry = Annotated[str, AfterValidator(_registry)]
Host = Annotated[str, AfterValidator(_host)]
AnyHost = Annotated[str, AfterValidator(_any_host)]
Hosts = Annotated[list[AnyHost], Field(min_length=1), BeforeValidator(one_or_many), WithJsonSchema(_TEXTS_SCHEMA)]
Mailboxes = Annotated[
    list[Annotated[str, Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$", max_length=254)]],
    Field(min_length=1),
    BeforeValidator(one_or_many),
    WithJsonSchema(_TEXTS_SCHEMA),
]
UrlPath = Annotated[str, AfterValidator(_path)]
Folder = Annotated[str, AfterValidator(_folder)]
# A folder or file below another one.
Below = Annotated[str, AfterValidator(_below)]
