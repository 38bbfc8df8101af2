"""Which settings an istioctl knows, read out of the program itself.

istioctl refuses an unknown key of ``values`` and says nothing of one in ``meshConfig``. It holds the description of
both as serialised protobuf file descriptors, as every Go program with protobuf messages does; this is the little of
that format that names of fields need (google/protobuf/descriptor.proto).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SlipwayError

# Where MeshConfig, ProxyConfig and what they are made of are described, and the charts' values.
FILES = (
    "mesh/v1alpha1/config.proto",
    "mesh/v1alpha1/network.proto",
    "mesh/v1alpha1/proxy.proto",
    "networking/v1alpha3/destination_rule.proto",
    "networking/v1alpha3/virtual_service.proto",
    "networking/v1beta1/proxy_config.proto",
    "pkg/apis/values_types.proto",
)
ROOTS = {
    "MeshConfig": "istio.mesh.v1alpha1.MeshConfig",
    "ProxyConfig": "istio.mesh.v1alpha1.ProxyConfig",
    "Values": "istio.operator.v1alpha1.Values",
}

# Numbers of fields in descriptor.proto.
FILE_PACKAGE, FILE_MESSAGE, FILE_SYNTAX = 2, 4, 12
MESSAGE_NAME, MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_OPTIONS = 1, 2, 3, 7
FIELD_NAME, FIELD_TYPE, FIELD_JSON = 1, 6, 10
OPTIONS_MAP_ENTRY = 7
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Message:
    """A message: its fields with the name of the message that each holds (empty: a plain value).

    ``fields`` has every spelling that is read, ``shown`` the usual one; ``entry`` is the message of a map's values.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    entry: str | None = None


def read(program: Path) -> dict[str, Message]:
    """Read the messages that ``program`` (istioctl) knows, by full name; those of ``ROOTS`` also by their short one.

    Raises SlipwayError when the program cannot be read or does not hold them.
    """
    try:
        with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found: dict[str, Message] = {}
            for name in FILES:
                found |= described(data, name)
    except (OSError, ValueError) as exc:
        raise SlipwayError(
            "program-missing", f"{program} cannot be read ({exc}); install it with playbooks/tools.yml."
        ) from exc
    for short, full in ROOTS.items():
        if full not in found:
            raise SlipwayError(
                "program-failed",
                f"{program} does not say which settings of {short} it knows, so istio_values cannot be checked; "
                "take the istioctl of the bundle.",
            )
        found[short] = found[full]
    return found


def described(data: bytes | mmap.mmap, file: str) -> dict[str, Message]:
    """Find the descriptor of ``file`` in ``data`` and read its messages; empty when it is not there."""
    name = file.encode()
    start = b"\n" + bytes([len(name)]) + name
    at = data.find(start)
    while at >= 0:
        messages = _file(data, at)
        if messages:
            return messages
        at = data.find(start, at + 1)
    return {}


def _file(data: bytes | mmap.mmap, at: int) -> dict[str, Message]:
    package, messages = "", list[bytes]()
    try:
        # Nothing says how long it is; the syntax comes after all messages.
        for number, value in _fields(data, at, len(data)):
            if number == FILE_PACKAGE:
                package = _text(value)
            elif number == FILE_MESSAGE and isinstance(value, bytes):
                messages.append(value)
            elif number == FILE_SYNTAX:
                break
        found: dict[str, Message] = {}
        for message in messages:
            _message(message, package, found)
    except (ValueError, IndexError):
        return {}
    return found


def _message(data: bytes, scope: str, found: dict[str, Message]) -> None:
    """Read one message and those inside it into ``found``."""
    parts = list(_fields(data, 0, len(data)))
    name = f"{scope}.{_text(next(value for number, value in parts if number == MESSAGE_NAME))}"
    fields: dict[str, str] = {}
    shown: list[str] = []
    is_map = False
    for number, value in parts:
        if not isinstance(value, bytes):
            continue
        if number == MESSAGE_NESTED:
            _message(value, name, found)
        elif number == MESSAGE_OPTIONS:
            is_map = any(option == OPTIONS_MAP_ENTRY and on for option, on in _fields(value, 0, len(value)))
        elif number == MESSAGE_FIELD:
            about = {n: _text(v) for n, v in _fields(value, 0, len(value)) if n in (FIELD_NAME, FIELD_TYPE, FIELD_JSON)}
            kind = about.get(FIELD_TYPE, "").removeprefix(".")
            spelling = about.get(FIELD_JSON, about[FIELD_NAME])
            shown.append(spelling)
            fields |= {about[FIELD_NAME]: kind, spelling: kind}
    found[name] = Message(fields, tuple(shown), fields.get("value", "") if is_map else None)


def _fields(data: bytes | mmap.mmap, at: int, end: int) -> Iterator[tuple[int, bytes | int]]:
    """Walk over a message: number and value of each field. Raises ValueError or IndexError where it is none."""
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif kind == BYTES:
            length, at = _varint(data, at)
            if at + length > end:
                raise ValueError(f"field {number} is cut off")
            yield number, bytes(data[at : at + length])
            at += length
        elif kind in (FIXED32, FIXED64):
            at += 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"no such wire type: {kind}")


def _varint(data: bytes | mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number that does not end")


def _text(value: bytes | int) -> str:
    if isinstance(value, int):
        raise ValueError("a number where a name should be")  # noqa: TRY004 - means: this is no descriptor
    return value.decode()
