"""The last lines of a container's log, cut, and without what the pod's Secrets hold. Pure: texts in, lines out."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]

LINES = 10
BYTES = 2048
# More than is shown, because the API server cuts at the end and not at the beginning.
ASKED = 64 * 1024
HIDDEN = "…"
_LINE = 300
# Shorter ones would take letters out of other words.
_LONG = 4
_URL_PASSWORD = re.compile(r"(://[^/@\s:]*:)[^/@\s]+@")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[^\t -~\u00a0-\U0010ffff]")


def secrets_of(pod: Object) -> list[str]:
    """Name the Secrets that a pod's containers get, as variables or files, or its image is pulled with."""
    spec = pod.get("spec") or {}
    names: list[Any] = [one.get("name") for one in spec.get("imagePullSecrets") or []]
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or []:
            names += [(one.get("secretRef") or {}).get("name") for one in container.get("envFrom") or []]
            sources = [one.get("valueFrom") or {} for one in container.get("env") or []]
            names += [(one.get("secretKeyRef") or {}).get("name") for one in sources]
    for volume in spec.get("volumes") or []:
        names.append((volume.get("secret") or {}).get("secretName"))
        projected = (volume.get("projected") or {}).get("sources") or []
        names += [(one.get("secret") or {}).get("name") for one in projected]
    return list(dict.fromkeys(str(name) for name in names if name))


def values_of(secret: Object) -> list[str]:
    """Give what a Secret holds, as texts."""
    return [base64.b64decode(value).decode(errors="replace") for value in (secret.get("data") or {}).values() if value]


def masked(text: str, secrets: Iterable[str]) -> str:
    """Take every value, the ways in which programs write it, and passwords in URLs out of a text."""
    # Thousands of forms come of one bundle of certificates: an expression of all of them would take minutes.
    for form in sorted({form for value in secrets for form in _forms(value)}, key=len, reverse=True):
        text = text.replace(form, HIDDEN) if len(form) >= _LONG else re.sub(_word(form), HIDDEN, text)
    return _URL_PASSWORD.sub(rf"\1{HIDDEN}@", text)


def _word(form: str) -> str:
    return rf"(?<!\w){re.escape(form)}(?!\w)"


def _forms(value: str) -> Iterator[str]:
    for piece in _pieces(value):
        if not piece.strip():
            continue
        yield piece
        if len(piece) >= _LONG:
            yield json.dumps(piece)[1:-1]
            yield json.dumps(piece, ensure_ascii=False)[1:-1]
            yield repr(piece)[1:-1]
            yield urllib.parse.quote(piece, safe="")
            yield urllib.parse.quote_plus(piece)
            yield base64.b64encode(piece.encode()).decode().rstrip("=")


def _pieces(value: str) -> Iterator[str]:
    """Give a value, and what a program may take out of it: its lines, what is behind an equals sign, JSON's texts."""
    yield value
    yield value.strip()
    for line in value.splitlines():
        for piece in (line, line.partition("=")[2], line.partition(":")[2]):
            piece = piece.strip().strip("\"'")  # noqa: PLW2901, the same without what is around it
            if len(piece) >= _LONG:
                yield piece
    for password in re.findall(r"://[^/@\s:]*:([^/@\s]+)@", value):
        yield password
        yield urllib.parse.unquote(password)
    try:
        yield from _texts(json.loads(value))
    except (ValueError, RecursionError):
        return


def _texts(found: Any) -> Iterator[str]:
    if isinstance(found, dict):
        for item in found.values():
            yield from _texts(item)
    elif isinstance(found, list):
        for item in found:
            yield from _texts(item)
    elif isinstance(found, str) and len(found) >= _LONG:
        yield found


def shown(log: str, secrets: Iterable[str]) -> list[str]:
    """Give the last lines of a log: at most ``LINES``, and ``BYTES`` together."""
    whole = log if len(log.encode()) < ASKED else log.rpartition("\n")[0]
    lines = [_CONTROL.sub("", line).rstrip() for line in masked(whole, secrets).splitlines()]
    lines = [line if len(line) <= _LINE else line[: _LINE - 1] + HIDDEN for line in lines if line][-LINES:]
    while lines and sum(len(line.encode()) + 1 for line in lines) > BYTES:
        lines = lines[1:]
    return lines
