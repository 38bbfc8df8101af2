"""Bands of a hash: a new weight moves the clients of the share that changed, and nobody else."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from slipway.release.bands import SLOTS, Band, bands

VERSIONS = ("v1", "v2", "v3", "v4")


def slots(made: list[Band]) -> list[str]:
    return [version for version, weight in made for _ in range(weight)]


def moved(before: list[Band], after: list[Band]) -> int:
    return sum(one != other for one, other in zip(slots(before), slots(after), strict=True))


def lost(before: dict[str, int], after: dict[str, int]) -> int:
    return sum(max(0, weight - after.get(version, 0)) for version, weight in before.items())


def right(made: list[Band], weights: dict[str, int]) -> bool:
    return all(slots(made).count(version) == weights.get(version, 0) for version in VERSIONS) and all(
        one[0] != other[0] for one, other in itertools.pairwise(made)
    )


def test_a_first_release_has_a_band_for_each_version_in_the_order_of_the_page() -> None:
    assert bands({"v1": 20, "v2": 50, "v3": 30}) == [("v1", 20), ("v2", 50), ("v3", 30)]


def test_two_weights_that_change_rank_move_the_share_between_them() -> None:
    before = bands({"v1": 55, "v2": 45})
    after = bands({"v1": 45, "v2": 55}, before)
    assert after == [("v1", 45), ("v2", 55)]
    assert moved(before, after) == 10
    # And back, to who they were.
    assert bands({"v1": 55, "v2": 45}, after) == before


def test_every_pair_of_weights_of_two_versions_moves_the_difference() -> None:
    for one, other in itertools.product(range(SLOTS + 1), repeat=2):
        before = bands({"v1": one, "v2": SLOTS - one})
        after = bands({"v1": other, "v2": SLOTS - other}, before)
        assert moved(before, after) == abs(one - other)


WEIGHTS = st.lists(st.integers(0, SLOTS), min_size=1, max_size=3).map(
    lambda cuts: dict(zip(VERSIONS, (b - a for a, b in itertools.pairwise([0, *sorted(cuts), SLOTS])), strict=False))
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(WEIGHTS, st.permutations(VERSIONS)), min_size=2, max_size=5))
def test_any_row_of_weights_moves_only_what_versions_lose(row: list[tuple[dict[str, int], list[str]]]) -> None:
    """Whatever the page's order is, and however often the weights have changed before."""
    pages = [{version: weights.get(version, 0) for version in order} for weights, order in row]
    made = bands(pages[0])
    for before, after in itertools.pairwise(pages):
        again = bands(after, made)
        assert right(again, after)
        assert moved(made, again) == lost(before, after)
        assert bands(after, again) == again
        made = again


def test_a_version_that_goes_gives_its_clients_to_the_others_and_nobody_else_moves() -> None:
    before = bands({"v1": 50, "v2": 30, "v3": 20})
    after = bands({"v1": 60, "v3": 40}, before)
    assert (right(after, {"v1": 60, "v3": 40}), moved(before, after)) == (True, 30)
    # What is there is not of a hundred, as with another Slipway: as a first release.
    assert bands({"v1": 60, "v3": 40}, [("v1", 50)]) == [("v1", 60), ("v3", 40)]
