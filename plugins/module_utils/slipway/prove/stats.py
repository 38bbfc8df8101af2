"""How many requests a random claim needs, and which counts are still what was promised. Exact binomial tails.

All chances are probabilities from 0 to 1. docs/explanation/how-a-proof-works.md derives the rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

# At most so often may a run in which everything is as promised raise an alarm, all its random claims together,
FALSE_ALARM = 1e-4
# and at most so often may a share that is wrong by SHIFT pass.
MISS = 1e-2
SHIFT = 0.10
LEAST = 400
# Beyond that many requests a claim is not worth the load that it makes.
MOST = 5000


@dataclass(frozen=True)
class Interval:
    """Counts of one version that are accepted, both ends included."""

    low: int
    high: int

    def __contains__(self, count: object) -> bool:
        return isinstance(count, int) and self.low <= count <= self.high


@dataclass(frozen=True)
class Rule:
    """``n`` independent draws, and for each outcome the counts that are accepted; chances are those of one claim."""

    n: int
    accepted: dict[str, Interval]
    false_alarm: float
    miss: float


def log_chance(k: int, n: int, p: float) -> float:
    """Give the natural logarithm of P(X = k) for X ~ Binomial(n, p), 0 < p < 1."""
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return ways + k * math.log(p) + (n - k) * math.log1p(-p)


def at_most(k: int, n: int, p: float) -> float:
    """Give P(X <= k) for X ~ Binomial(n, p), to the precision of a double."""
    if k < 0:
        return 0.0
    if k >= n or p <= 0:
        return 1.0
    if p >= 1:
        return 0.0
    if k > n * p:
        # The longer tail is the rest of the shorter one, whose terms shrink from the start.
        return 1.0 - _outwards(n - k - 1, n, 1.0 - p)
    return _outwards(k, n, p)


def at_least(k: int, n: int, p: float) -> float:
    """Give P(X >= k) for X ~ Binomial(n, p)."""
    return at_most(n - k, n, 1.0 - p)


def _outwards(k: int, n: int, p: float) -> float:
    """Sum P(X = k) + P(X = k - 1) + …, for a k below the mean or just above it."""
    term = math.exp(log_chance(k, n, p))
    terms, total, odds = [term], term, (1.0 - p) / p
    while k > 0 and term > total * 1e-18:
        term *= k / (n - k + 1) * odds
        k -= 1
        terms.append(term)
        total += term
    return math.fsum(terms)


def accepted(n: int, p: float, chance: float) -> Interval:
    """Give the narrowest interval each of whose outer tails has at most half of ``chance``."""
    half = chance / 2
    # The normal distribution says where to begin looking.
    spread = -NormalDist().inv_cdf(half) * math.sqrt(n * p * (1 - p))
    low = max(0, int(n * p - spread))
    while low > 0 and at_most(low - 1, n, p) > half:
        low -= 1
    while at_most(low, n, p) <= half:
        low += 1
    high = min(n, int(n * p + spread) + 1)
    while high < n and at_least(high + 1, n, p) > half:
        high += 1
    while at_least(high, n, p) <= half:
        high -= 1
    return Interval(low, high)


def passing(interval: Interval, n: int, p: float) -> float:
    """Give P(low <= X <= high) for X ~ Binomial(n, p)."""
    if p <= 0:
        return float(interval.low == 0)
    if p >= 1:
        return float(interval.high == n)
    return max(0.0, 1.0 - at_most(interval.low - 1, n, p) - at_least(interval.high + 1, n, p))


def intervals(shares: Mapping[str, float]) -> int:
    """Give how many intervals a claim is judged by: of two outcomes the second says nothing new."""
    return 1 if len(shares) <= 2 else len(shares)


def design(shares: Mapping[str, float], together: int, least: int = LEAST) -> Rule:
    """Give the smallest rule for outcomes that come with ``shares`` (per cent, more than 0 and less than 100).

    ``together`` is the number of intervals in the whole run (``intervals`` of each random claim, summed). Raises
    ``ValueError`` when ``MOST`` draws are not enough.
    """
    return _design(tuple(shares.items()), max(1, together), least)


@lru_cache(maxsize=256)
def _design(shares: tuple[tuple[str, float], ...], together: int, least: int) -> Rule:
    judged = [(name, share / 100) for name, share in shares]
    if any(not 0 < p < 1 for _, p in judged):
        raise ValueError(f"shares have to be more than 0 % and less than 100 %: {dict(shares)}")
    first = judged[:1] if len(judged) <= 2 else judged
    for n in range(least, MOST + 1):
        miss, bounds = 0.0, {}
        for name, p in first:
            bounds[name] = accepted(n, p, FALSE_ALARM / together)
            shifted = [q for q in (p - SHIFT, p + SHIFT) if -1e-9 <= q <= 1 + 1e-9]
            miss = max([miss, *(passing(bounds[name], n, q) for q in shifted)])
            if miss > MISS:
                break
        if miss <= MISS:
            if len(judged) == 2:
                one = bounds[judged[0][0]]
                bounds[judged[1][0]] = Interval(n - one.high, n - one.low)
            alarm = sum(1.0 - passing(bounds[name], n, p) for name, p in first)
            return Rule(n, bounds, alarm, miss)
    raise ValueError(f"{MOST} requests do not tell {dict(shares)} from a shift of {SHIFT:.0%}")


def needed(share: float, miss: float = MISS, least: int = 10, most: int = 60) -> int:
    """Give how many requests show that something does *not* hold, when by chance each would fit with ``share`` %."""
    p = share / 100
    if not 0 < p < 1:
        return least
    return min(most, max(least, math.ceil(math.log(miss) / math.log(p))))


def until_seen(share: float, miss: float = FALSE_ALARM, least: int = 10, most: int = 300) -> int:
    """Give how many requests show at least one of those that have ``share`` %, but for a probability of ``miss``."""
    p = share / 100
    if not 0 < p < 1:
        return least
    return min(most, max(least, math.ceil(math.log(miss) / math.log1p(-p))))


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Give the exact confidence interval of a share of which ``k`` of ``n`` were seen (0 to 1)."""
    if n == 0:
        return 0.0, 1.0
    half = (1 - confidence) / 2
    low = 0.0 if k == 0 else _crossing(lambda p: at_least(k, n, p) >= half)
    high = 1.0 if k == n else _crossing(lambda p: at_most(k, n, p) < half)
    return low, high


def _crossing(beyond: Callable[[float], bool]) -> float:
    """Find the smallest share at which ``beyond`` becomes true."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return (low + high) / 2


def quantile(values: Sequence[float], share: float) -> float:
    """Give the value that ``share`` (0 to 1) of the values do not exceed; 0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))] if ordered else 0.0
