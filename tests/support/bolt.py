"""A database of bbolt as etcd's, of a few pages, as small as such a file can be."""

from __future__ import annotations

import struct
from collections.abc import Sequence

SIZE = 4096
MAGIC = 0xED0CDAED
Entry = tuple[bytes, bytes]


def revision(main: int) -> bytes:
    """A key of etcd's bucket."""
    return struct.pack(">Q", main) + b"_" + struct.pack(">Q", 0)


def page(number: int, flags: int, elements: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Elements (head without its position, what it points at) behind the heads, on as many pages as it takes."""
    heads, body = b"", b""
    for place, (head, content) in enumerate(elements):
        where = 16 * (len(elements) - place) + len(body)
        heads += head[:4] + struct.pack("<I", where) + head[4:] if flags == 2 else struct.pack("<I", where) + head
        body += content
    whole = 16 + len(heads) + len(body)
    more = -(-whole // SIZE) - 1
    return (struct.pack("<QHHI", number, flags, len(elements), more) + heads + body).ljust((more + 1) * SIZE, b"\0")


def leaf(number: int, entries: Sequence[Entry], kind: int = 0) -> bytes:
    return page(number, 2, [(struct.pack("<III", kind, len(key), len(value)), key + value) for key, value in entries])


def branch(number: int, children: Sequence[tuple[bytes, int]]) -> bytes:
    return page(number, 1, [(struct.pack("<IQ", len(key), child), key) for key, child in children])


def meta(number: int, transaction: int, root: int) -> bytes:
    body = struct.pack("<IIIIQQQQQQ", MAGIC, 2, SIZE, 0, root, 0, 2, 9, transaction, 0)
    return (struct.pack("<QHHI", number, 4, 0, 0) + body).ljust(SIZE, b"\0")


def database(entries: Sequence[Entry], *, split: int = 2) -> bytes:
    """Two pages about it, of which the second is newer, a root with two buckets, and a tree of two levels."""
    halves = [list(entries[:split]), list(entries[split:])]
    root = leaf(3, [(b"alarm", struct.pack("<QQ", 9, 0)), (b"key", struct.pack("<QQ", 4, 0))], kind=1)
    start, pages, children = 5, [], []
    for half in halves:
        made = leaf(start, half)
        children.append((half[0][0] if half else b"", start))
        pages.append(made)
        start += len(made) // SIZE
    tree = branch(4, children)
    return b"".join([meta(0, 6, 8), meta(1, 7, 3), bytes(SIZE), root, tree, *pages])
