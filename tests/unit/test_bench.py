"""What the bench makes of its rounds: how sure a ratio is, and when what happened."""

from __future__ import annotations

from typing import Any

import pytest

from bench import ratios, timeline
from bench.report import compared

STEADY = [1.0, 1.01, 0.99, 1.0, 1.02]
NOISY = [0.8, 1.5, 1.0, 1.3, 0.9]


def test_steady_rounds_are_enough_and_noisy_ones_are_not() -> None:
    low, high = ratios.interval(STEADY)
    assert 0.99 <= low <= 1.0 <= high <= 1.02
    assert list(ratios.wide({"steady": STEADY, "noisy": NOISY})) == ["noisy"]


def test_the_same_rounds_give_the_same_interval() -> None:
    assert ratios.interval(NOISY) == ratios.interval(NOISY)


def test_one_slow_round_of_ten_shows_in_the_spread() -> None:
    assert ratios.spread([1.0] * 8 + [1.5, 1.5]) == pytest.approx(1.5)
    assert ratios.spread([1.0] * 10) == 1.0
    assert ratios.spread([2.0]) == 1.0


def test_a_stretch_that_was_not_played_by_hand_has_no_ratio() -> None:
    hand = [{"cluster": 40.0, "gateway": 20.0}]
    ours = [{"cluster": 32.0, "plain": 44.0, "gateway": 30.0}]
    assert compared(hand, ours) == {"cluster": [0.8], "plain": [1.1], "gateway": [1.5]}


def node(name: str, made: str, ready: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": made},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ready}]},
    }


def pod(name: str, started: str, scheduled: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": scheduled},
        {"type": "Ready", "status": "True", "lastTransitionTime": started},
    ]
    running = [{"state": {"running": {"startedAt": started}}}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions, "containerStatuses": running}}


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}Z"


def test_moments_of_a_cluster() -> None:
    nodes = [node("ctrl", at(10), at(21)), node("node-1", at(15), at(22))]
    pods: list[dict[str, Any]] = [
        pod("kube-apiserver-ctrl", at(8)),
        pod("kube-flannel-ds-a", at(18)),
        pod("kube-flannel-ds-b", at(20)),
        pod("coredns-a", at(25), at(21)),
        pod("coredns-b", at(27), at(22)),
        # On its way, and not even seen by a kubelet.
        {
            "metadata": {"name": "coredns-c"},
            "status": {
                "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": at(6)}],
                "containerStatuses": [{"state": {"waiting": {}}}],
            },
        },
        {"metadata": {"name": "coredns-d"}, "status": {}},
    ]
    found = timeline.moments(nodes, pods, timeline.seconds(at(5)))
    assert list(found.values()) == [3, 5, 10, 15, 17, 16, 20, 20]
    first, *_, last = timeline.rows([[found, {**found, "CoreDNS is Ready": 30}], [found]])
    assert first == ("the API server runs", "3 (3 to 3)", "3")
    assert last == ("CoreDNS is Ready", "25 (20 to 30)", "20")
