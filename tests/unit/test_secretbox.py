"""What Kubernetes has sealed opens with its key, and with no other one: by published vectors, and a library's."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.poly1305 import Poly1305
from slipway.node import secretbox
from slipway.node.secretbox import WrongKeyError

from tests.support.sealed import KEY, seal

# "Cryptography in NaCl" (Bernstein, 2009), section 10: secretbox with the first key of its examples.
FIRST_KEY = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
NONCE = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
PLAIN = bytes.fromhex(
    "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f4"
    "1db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52"
    "f0a089bc76897040e082f937763848645e0705"
)
BOX = bytes.fromhex(
    "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b"
    "4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da"
    "99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5"
)
# RFC 8439, section 2.5.2.
MAC_KEY = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")


def test_the_published_box_opens() -> None:
    assert secretbox.opened(NONCE + BOX, FIRST_KEY) == PLAIN
    assert seal(PLAIN, FIRST_KEY, NONCE) == NONCE + BOX


def test_the_published_tag_is_made() -> None:
    text = b"Cryptographic Forum Research Group"
    assert secretbox.tag(MAC_KEY, text).hex() == "a8061dc1305136c6c22b8baf0c0127a9"


def test_tags_are_those_of_a_library() -> None:
    chance = random.Random(7)
    for size in (0, 1, 15, 16, 17, 63, 64, 65, 1000):
        key, text = chance.randbytes(32), chance.randbytes(size)
        assert secretbox.tag(key, text) == Poly1305.generate_tag(key, text)
    # All ones: the sums are longest.
    assert secretbox.tag(b"\xff" * 32, b"\xff" * 64) == Poly1305.generate_tag(b"\xff" * 32, b"\xff" * 64)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 64, 300])
def test_what_was_sealed_opens(size: int) -> None:
    text = random.Random(size).randbytes(size)
    assert secretbox.opened(seal(text), KEY) == text


@pytest.mark.parametrize("place", [0, 23, 24, 39, 40, -1])
def test_one_bit_is_noticed(place: int) -> None:
    sealed = bytearray(seal(b"a secret"))
    sealed[place] ^= 1
    with pytest.raises(WrongKeyError, match="does not fit"):
        secretbox.opened(bytes(sealed), KEY)


def test_another_key_half_of_one_and_half_of_a_box_are_refused() -> None:
    sealed = seal(b"a secret")
    for wrong, text, why in (
        (KEY[::-1], sealed, "does not fit"),
        (KEY[:16], sealed, "32 bytes, and this one 16"),
        (KEY, sealed[:39], "cut off"),
        (KEY, b"", "cut off"),
        (KEY, sealed[:-1], "does not fit"),
    ):
        with pytest.raises(WrongKeyError, match=why):
            secretbox.opened(text, wrong)
