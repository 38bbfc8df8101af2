"""What is in the database of etcd now, read off its file: pages of bbolt, in whose bucket ``key`` each revision is.

The file also has revisions of before, and pages that are free; a search through its bytes would find these, too. Runs
on the nodes (stdlib only).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_PAGE = struct.Struct("<QHHI")  # id, flags, count, overflow
_META = struct.Struct(
    "<IIIIQQQQQQ"
)  # magic, version, page size, flags, root, sequence, freelist, pages, transaction, sum
_LEAF = struct.Struct("<IIII")  # flags, position, size of the key, size of the value
_BRANCH = struct.Struct("<IIQ")  # position, size of the key, page
_BUCKET = struct.Struct("<QQ")  # page, sequence
_MAGIC = 0xED0CDAED
_IS_BRANCH, _IS_LEAF, _IS_BUCKET = 1, 2, 1
# Trees of etcd have a few levels.
_DEEPEST = 32
_REVISION = 17  # bytes of a key; one more marks a deletion

Content = Any  # bytes, or a file in memory (mmap)


class NoBoltError(Exception):
    """This is no database of bbolt, or a damaged one."""


def _root(content: Content) -> tuple[int, int]:
    """Give the size of pages and the page of the root, of the newer of two pages about them."""
    found = []
    # The second one is behind the first, whose size is that of a page of memory.
    for place in (0, 4096, 8192, 16384, 65536):
        if place + _PAGE.size + _META.size > len(content):
            break
        magic, _, page, _, root, _, _, _, transaction, _ = _META.unpack_from(content, place + _PAGE.size)
        if magic == _MAGIC and page and place in (0, page):
            found.append((transaction, page, root))
    if not found:
        raise NoBoltError("it has no page of bbolt that says what is in it")
    _, size, root = max(found)
    return size, root


def _entries(content: Content, place: int, size: int, depth: int = 0) -> Iterator[tuple[int, int, int, int, int]]:
    """Give the entries of a tree in their order: flags, and where key and value begin and how long they are."""
    _, flags, count, _ = _PAGE.unpack_from(content, place)
    if depth > _DEEPEST or not flags & (_IS_BRANCH | _IS_LEAF):
        raise NoBoltError("a page of it is none of a tree")
    for number in range(count):
        at = place + _PAGE.size + 16 * number
        if flags & _IS_LEAF:
            what, where, key, value = _LEAF.unpack_from(content, at)
            yield what, at + where, key, at + where + key, value
        else:
            _, _, page = _BRANCH.unpack_from(content, at)
            yield from _entries(content, page * size, size, depth + 1)


def _number(content: Content, place: int) -> tuple[int, int]:
    """Read a varint, and give where it ends."""
    found = shift = 0
    while True:
        byte = content[place]
        found |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return found, place


def _key_value(content: Content, place: int, end: int) -> tuple[bytes, int, int]:
    """Read the key of an entry of etcd, and where its value begins and ends."""
    key, begins, ends = b"", end, end
    while place < end:
        mark, place = _number(content, place)
        length, place = _number(content, place)
        if mark & 7 == 2:
            if mark >> 3 == 1:
                key = bytes(content[place : place + length])
            elif mark >> 3 == 5:
                begins, ends = place, place + length
            place += length
        elif mark & 7:
            raise NoBoltError("an entry of it is none of etcd")
    if place != end or ends > end:
        raise NoBoltError("an entry of it is none of etcd")
    return key, begins, ends


def current(content: Content) -> dict[bytes, tuple[int, int]]:
    """Give, by its key, where the value of each object begins and ends. Raises NoBoltError."""
    found: dict[bytes, tuple[int, int]] = {}
    try:
        size, root = _root(content)
        for flags, at, name, value, _ in _entries(content, root * size, size):
            if not flags & _IS_BUCKET or bytes(content[at : at + name]) != b"key":
                continue
            page, _ = _BUCKET.unpack_from(content, value)
            # A small bucket is a page inside of its entry.
            tree = page * size if page else value + _BUCKET.size
            for _, _, length, begins, width in _entries(content, tree, size):
                key, start, end = _key_value(content, begins, begins + width)
                if length > _REVISION:
                    found.pop(key, None)
                else:
                    found[key] = (start, end)
            return found
    except (struct.error, IndexError) as exc:
        raise NoBoltError(f"it is cut off: {exc}") from exc
    raise NoBoltError("it has no bucket of keys")
