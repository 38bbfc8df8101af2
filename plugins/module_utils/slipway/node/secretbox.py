"""NaCl's secretbox (XSalsa20 and Poly1305), with which Secrets rest in etcd: opened, to see that a key fits.

In Python alone, as nodes have nothing else; slow, and for a single Secret fast enough. Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import hmac
import struct

NONCE, TAG, KEY = 24, 16, 32
_SIGMA = struct.unpack("<4I", b"expand 32-byte k")
_MASK = 0xFFFFFFFF
# Which words a quarter of a round works on: columns, then rows.
_QUARTERS = (
    *((0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11)),
    *((0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14)),
)
_PRIME = (1 << 130) - 5
_CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF


class WrongKeyError(Exception):
    """What was sealed does not open with this key, or is damaged."""


def _state(key: bytes, place: bytes) -> list[int]:
    """Lay out the key and 16 bytes of nonce or nonce and counter."""
    half, four = struct.unpack("<8I", key), struct.unpack("<4I", place)
    return [_SIGMA[0], *half[:4], _SIGMA[1], *four, _SIGMA[2], *half[4:], _SIGMA[3]]


def _rounds(state: list[int]) -> list[int]:
    """Mix the words in 20 rounds."""
    x = list(state)
    for _ in range(10):
        for a, b, c, d in _QUARTERS:
            for to, one, other, by in ((b, a, d, 7), (c, b, a, 9), (d, c, b, 13), (a, d, c, 18)):
                word = (x[one] + x[other]) & _MASK
                x[to] ^= ((word << by) | (word >> (32 - by))) & _MASK
    return x


def _subkey(key: bytes, nonce: bytes) -> bytes:
    """Derive the key of Salsa20 of the first 16 bytes of a nonce (HSalsa20)."""
    x = _rounds(_state(key, nonce[:16]))
    return struct.pack("<8I", *(x[place] for place in (0, 5, 10, 15, 6, 7, 8, 9)))


def stream(key: bytes, nonce: bytes, size: int) -> bytes:
    """Give the first bytes of the key stream of XSalsa20."""
    subkey, found = _subkey(key, nonce), bytearray()
    for block in range((size + 63) // 64):
        state = _state(subkey, nonce[16:] + struct.pack("<Q", block))
        found += struct.pack("<16I", *((a + b) & _MASK for a, b in zip(state, _rounds(state), strict=True)))
    return bytes(found[:size])


def tag(key: bytes, text: bytes) -> bytes:
    """Give the Poly1305 of a text."""
    r, s = int.from_bytes(key[:16], "little") & _CLAMP, int.from_bytes(key[16:32], "little")
    total = 0
    for place in range(0, len(text), 16):
        total = (total + int.from_bytes(text[place : place + 16] + b"\x01", "little")) * r % _PRIME
    return ((total + s) & ((1 << 128) - 1)).to_bytes(16, "little")


def opened(sealed: bytes, key: bytes) -> bytes:
    """Open what Kubernetes has sealed: a nonce, a tag, and what is encrypted. Raises WrongKeyError."""
    nonce, mark, box = sealed[:NONCE], sealed[NONCE : NONCE + TAG], sealed[NONCE + TAG :]
    if len(key) != KEY or len(mark) != TAG:
        raise WrongKeyError(f"a key has {KEY} bytes, and this one {len(key)}" if len(key) != KEY else "it is cut off")
    # The tag says it, at the cost of one block; so a key that is wrong is cheap.
    if not hmac.compare_digest(tag(stream(key, nonce, KEY), box), mark):
        raise WrongKeyError("the key does not fit, or it is damaged")
    pad = stream(key, nonce, KEY + len(box))[KEY:]
    return bytes(one ^ other for one, other in zip(box, pad, strict=True))
