"""Secrets as they rest in etcd: sealed as Kubernetes does it, in an entry of etcd's database."""

from __future__ import annotations

from slipway.node import secretbox

NONCE = bytes(range(24))
# As role control_plane makes it: 32 characters.
KEY = b"0123456789abcdefghijklmnopqrstuv"


def seal(text: bytes, key: bytes = KEY, nonce: bytes = NONCE) -> bytes:
    """Seal a text: the nonce, the tag, what is encrypted."""
    pad = secretbox.stream(key, nonce, secretbox.KEY + len(text))
    box = bytes(one ^ other for one, other in zip(text, pad[secretbox.KEY :], strict=True))
    return nonce + secretbox.tag(pad[: secretbox.KEY], box) + box


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def entry(name: str, text: bytes, key: bytes = KEY, path: bytes = b"/registry/secrets/default/kept") -> bytes:
    """An entry of etcd: a KeyValue whose value is a Secret that a key called ``name`` has sealed."""
    value = f"k8s:enc:secretbox:v1:{name}:".encode() + seal(text, key)
    # key, create_revision, mod_revision, version, value, lease
    return (
        b"\x0a" + varint(len(path)) + path + b"\x10\x07\x18\x09\x20\x01\x2a" + varint(len(value)) + value + b"\x30\x00"
    )
