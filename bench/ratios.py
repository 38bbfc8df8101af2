"""Whether rounds are enough: how sure the median of ratios is, and how far they are apart. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median, quantiles

# How many times the rounds are drawn anew, with repeats, and which share of the medians the interval holds.
DRAWS, SHARE = 2000, 0.9
# An interval narrower than this needs no more rounds.
NARROW = 0.1


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Give the bootstrap interval of the median that holds ``SHARE`` of all draws; the same for the same ratios."""
    draw = random.Random(0)
    medians = sorted(median(draw.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    out = round(DRAWS * (1 - SHARE) / 2)
    return medians[out], medians[-1 - out]


def wide(ratios: dict[str, list[float]]) -> dict[str, float]:
    """Give the width of each interval that is not narrow yet."""
    widths = {key: interval(found)[1] - interval(found)[0] for key, found in ratios.items()}
    return {key: width for key, width in widths.items() if width >= NARROW}


def ninth(ratios: Sequence[float]) -> float:
    """Give the 90th percentile, between the two ratios nearest to it."""
    return quantiles(ratios, n=10, method="inclusive")[8] if len(ratios) > 1 else ratios[0]


def spread(ratios: Sequence[float]) -> float:
    """Give the 90th percentile in the unit of the median."""
    return ninth(ratios) / median(ratios)
