"""Exact tails against brute force, and the chances that the rules promise."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from slipway.prove import stats


def brute(n: int, p: Fraction) -> list[Fraction]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


@pytest.mark.parametrize(("n", "p"), [(1, "1/2"), (17, "1/10"), (40, "9/10"), (60, "1/3"), (120, "1/50")])
def test_tails_are_those_of_brute_force(n: int, p: str) -> None:
    chances = brute(n, Fraction(p))
    for k in range(-1, n + 2):
        low, high = sum(chances[: max(0, k + 1)]), sum(chances[max(0, k) :])
        assert stats.at_most(k, n, float(Fraction(p))) == pytest.approx(float(low), rel=1e-10, abs=1e-300)
        assert stats.at_least(k, n, float(Fraction(p))) == pytest.approx(float(high), rel=1e-10, abs=1e-300)


@pytest.mark.parametrize(("p", "k", "least", "most"), [(0.0, 0, 1, 1), (0.0, 1, 1, 0), (1.0, 9, 0, 1), (1.0, 10, 1, 1)])
def test_what_is_certain_is_certain(p: float, k: int, least: float, most: float) -> None:
    assert stats.at_most(k, 10, p) == least
    assert stats.at_least(k, 10, p) == most


@pytest.mark.parametrize("chance", [0.3, 1e-2, 1e-5])
@pytest.mark.parametrize(("n", "p"), [(50, "1/10"), (80, "1/2"), (40, "19/20"), (20, "1/100")])
def test_the_accepted_interval_is_the_narrowest(n: int, p: str, chance: float) -> None:
    chances = brute(n, Fraction(p))
    found = stats.accepted(n, float(Fraction(p)), chance)
    assert sum(chances[: found.low]) <= chance / 2 < sum(chances[: found.low + 1])
    assert sum(chances[found.high + 1 :]) <= chance / 2 < sum(chances[found.high :])


SHARES = [
    {"v1": 90, "v2": 10},
    {"v1": 50, "v2": 50},
    {"v1": 95, "v2": 5},
    {"v1": 99, "v2": 1},
    {"v1": 80, "v2": 15, "v3": 5},
]


@pytest.mark.parametrize("together", [1, 4, 12])
@pytest.mark.parametrize("shares", SHARES)
def test_the_rule_keeps_both_promises_and_is_the_smallest(shares: dict[str, float], together: int) -> None:
    rule = stats.design(shares, together)
    assert rule.n >= 400
    assert rule.false_alarm <= 1e-4 / together * stats.intervals(shares)
    assert rule.miss <= 1e-2
    for name, share in shares.items():
        for shifted in (share - 10, share + 10):
            if 0 <= shifted <= 100:
                assert stats.passing(rule.accepted[name], rule.n, shifted / 100) <= 1e-2
    if rule.n > 400:
        smaller = {name: stats.accepted(rule.n - 1, share / 100, 1e-4 / together) for name, share in shares.items()}
        missed = [
            stats.passing(smaller[name], rule.n - 1, (share + shift) / 100)
            for name, share in shares.items()
            for shift in (-10, 10)
            if 0 <= share + shift <= 100
        ]
        assert max(missed) > 1e-2


def test_ten_in_a_hundred_takes_some_more_than_the_least() -> None:
    rule = stats.design({"v1": 90, "v2": 10}, 1)
    assert 400 < rule.n < 500
    assert rule.accepted["v2"].low == rule.n - rule.accepted["v1"].high


def test_simulated_runs_alarm_and_miss_no_more_often_than_promised() -> None:
    draw = random.Random(7)
    rule = stats.design({"v1": 90, "v2": 10}, 1)

    def rate(share: float, runs: int) -> float:
        seen = (sum(draw.random() < share for _ in range(rule.n)) for _ in range(runs))
        return sum(count in rule.accepted["v2"] for count in seen) / runs

    assert rate(0.10, 1500) == 1.0
    assert rate(0.20, 1500) <= 0.02


@pytest.mark.parametrize("shares", [{"v1": 100, "v2": 0}, {"v1": 100}])
def test_what_is_not_random_has_no_rule(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="more than 0 %"):
        stats.design(shares, 1)


def test_a_rule_that_would_take_too_many_requests_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "MOST", 410)
    with pytest.raises(ValueError, match="410 requests do not tell"):
        stats.design({"v1": 51, "v2": 49}, 3)


@pytest.mark.parametrize(("share", "count"), [(90, 44), (10, 10), (100, 10), (0, 10), (99, 60)])
def test_how_many_requests_show_that_something_does_not_hold(share: float, count: int) -> None:
    assert stats.needed(share) == count


@pytest.mark.parametrize(("share", "count"), [(10, 88), (50, 14), (90, 10), (100, 10), (0, 10), (1, 300)])
def test_how_many_requests_show_a_version_that_few_get(share: float, count: int) -> None:
    assert stats.until_seen(share) == count
    if 10 < count < 300:
        assert (1 - share / 100) ** count <= stats.FALSE_ALARM < (1 - share / 100) ** (count - 1)


# Published values of the Clopper-Pearson interval at 95 %.
@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (1, 10, 0.0025, 0.4450), (5, 10, 0.1871, 0.8129), (0, 0, 0.0, 1.0)],
)
def test_intervals_of_the_report(k: int, n: int, low: float, high: float) -> None:
    assert stats.clopper_pearson(k, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("share", "value"), [(0.5, 2), (0.9, 4), (0.0, 1), (1.0, 4)])
def test_quantiles(share: float, value: float) -> None:
    assert stats.quantile([4, 1, 3, 2], share) == value
    assert stats.quantile([], share) == 0
