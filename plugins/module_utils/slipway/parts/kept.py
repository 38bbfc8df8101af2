"""Values of a Secret that are made once, at random, and stay: passwords and keys that nobody has to think of."""

from __future__ import annotations

import base64
import hashlib
import secrets
import string
from collections.abc import Callable, Mapping

ALPHABET = string.ascii_letters + string.digits


def token(length: int) -> str:
    """Make up letters and digits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def completed(
    present: Mapping[str, str],
    fixed: Mapping[str, str],
    random: Mapping[str, int],
    make: Callable[[int], str] = token,
) -> tuple[dict[str, str], list[str]]:
    """Give the data of a Secret (base64 by key), and the keys that are new or another value now.

    ``present`` is the data it has. What is there under a key of ``random`` stays, whatever it is; what is not is made
    with that many characters. ``fixed`` are values that it is to have.
    """
    data = {key: base64.b64encode(value.encode()).decode() for key, value in fixed.items()}
    for key, length in random.items():
        data[key] = present.get(key) or base64.b64encode(make(length).encode()).decode()
    return data, [key for key, value in data.items() if present.get(key) != value]


def sha1(data: Mapping[str, str], keys: Mapping[str, int]) -> dict[str, str]:
    """Give base64 of the SHA-1 sums of values, as files of htpasswd have them.

    Envoy's filter knows no other sum. Of 32 random letters and digits it tells nobody anything.
    """
    sums = {key: hashlib.sha1(base64.b64decode(data[key]), usedforsecurity=False).digest() for key in keys}
    return {key: base64.b64encode(value).decode() for key, value in sums.items()}
