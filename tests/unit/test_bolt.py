"""What is in a database of etcd now is read off its pages: the last revision of each object, and nothing deleted."""

from __future__ import annotations

import struct

import pytest
from slipway.node import bolt
from slipway.node.bolt import NoBoltError

from tests.support.bolt import SIZE, database, leaf, meta, revision
from tests.support.sealed import varint


def stored(key: bytes, value: bytes) -> bytes:
    """As etcd writes it: key, create_revision, mod_revision, version, value, lease."""
    head = b"\x0a" + varint(len(key)) + key + b"\x10\x80\x01\x18\x09\x20\x01\x2a" + varint(len(value))
    return head + value + b"\x30\x00"


def values(content: bytes) -> dict[bytes, bytes]:
    return {key: content[begin:end] for key, (begin, end) in bolt.current(content).items()}


def test_the_last_revision_of_each_object_counts() -> None:
    entries = [
        (revision(2), stored(b"/a", b"old")),
        (revision(3), stored(b"/b", b"b" * 9000)),
        (revision(4), stored(b"/a", b"new")),
        (revision(300), stored(b"/empty", b"")),
        (revision(301), stored(b"/c", b"goes")),
        (revision(302) + b"t", b"\x0a\x02/c"),
    ]
    assert values(database(entries)) == {b"/a": b"new", b"/b": b"b" * 9000, b"/empty": b""}
    assert values(database([])) == {}


def test_one_that_was_deleted_and_made_again_is_there() -> None:
    entries = [
        (revision(2), stored(b"/a", b"1")),
        (revision(3) + b"t", b"\x0a\x02/a"),
        (revision(4), stored(b"/a", b"2")),
    ]
    assert values(database(entries)) == {b"/a": b"2"}


def test_a_small_bucket_lies_inside_of_its_entry() -> None:
    inside = leaf(0, [(revision(2), stored(b"/a", b"1"))])[:200]
    root = leaf(2, [(b"key", struct.pack("<QQ", 0, 0) + inside)], kind=1)
    assert values(meta(0, 1, 2) + meta(1, 0, 2) + root) == {b"/a": b"1"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "says what is in it"),
        (b"k8s" * SIZE, "says what is in it"),
        (database([(revision(2), stored(b"/a", b"1"))])[: 4 * SIZE], "cut off"),
        (meta(0, 1, 2) + meta(1, 0, 2) + leaf(2, [(b"alarm", struct.pack("<QQ", 0, 0))], kind=1), "no bucket of keys"),
        (meta(0, 1, 2) + meta(1, 0, 2) + bytes(SIZE), "none of a tree"),
        (database([(revision(2), b"\x0d\x01\x02\x03\x04")]), "none of etcd"),
        (database([(revision(2), b"\x2a\x7fabc")]), "none of etcd"),
    ],
)
def test_what_is_no_database_is_told(content: bytes, why: str) -> None:
    with pytest.raises(NoBoltError, match=why):
        bolt.current(content)


def test_a_tree_that_leads_back_to_itself_ends() -> None:
    content = bytearray(database([(revision(2), stored(b"/a", b"1")), (revision(3), stored(b"/b", b"1"))]))
    # The first child of the branch is the branch.
    struct.pack_into("<Q", content, 4 * SIZE + 16 + 8, 4)
    with pytest.raises(NoBoltError, match="none of a tree"):
        bolt.current(bytes(content))
