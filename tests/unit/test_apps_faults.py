"""The test header: what it says, whom it befalls, and its bounds."""

from __future__ import annotations

import pytest

from apps.textcheck.faults import Fault, Faults, parse


@pytest.mark.parametrize(
    ("header", "faults"),
    [
        ("", []),
        ("delay=200ms", [Fault(seconds=0.2)]),
        ("delay=200ms;service", [Fault(seconds=0.2, at=frozenset({"service"}))]),
        ("delay=1.5s;at=model;at=v2", [Fault(seconds=1.5, at=frozenset({"model", "v2"}))]),
        ("status=503;p=0.25", [Fault(status=503, share=0.25)]),
        ("status=503;p=1.0;at=model", [Fault(status=503, at=frozenset({"model"}))]),
        ("status=503;first=2, delay=10s", [Fault(status=503, first=2), Fault(seconds=10)]),
    ],
)
def test_directives_are_read(header: str, faults: list[Fault]) -> None:
    assert parse(header) == faults


@pytest.mark.parametrize(
    "header",
    ["nothing", "at=model", "delay=11s", "delay=10001ms", "delay=-1s", "status=200", "status=999", "status=503;p=2",
     "status=503;first=0", "delay=1", "status=503;when=later", "delay=1s;;", "delay=1s, at=model"],
)  # fmt: skip
def test_what_is_no_directive_is_refused_with_an_example(header: str) -> None:
    with pytest.raises(ValueError, match=r"e\.g\. x-slipway-test: delay=200ms;at=service"):
        parse(header)


@pytest.mark.parametrize(
    ("header", "hit"),
    [
        ("delay=200ms;status=500", (0.2, 500)),
        ("delay=200ms;at=model", (0.2, 0)),
        ("delay=200ms;at=model;at=v2", (0.2, 0)),
        ("delay=200ms;at=model;at=v1", (0.0, 0)),
        ("status=503;at=service", (0.0, 0)),
        ("status=503;p=0", (0.0, 0)),
        ("delay=9s, delay=9s", (10.0, 0)),
        ("status=503;at=pod-1, status=500", (0.0, 503)),
    ],
)
def test_a_fault_befalls_the_hop_that_it_names(header: str, hit: tuple[float, int]) -> None:
    assert Faults("model", "v2", "pod-1").hit(header, "id") == hit


def test_a_share_of_the_requests_fails() -> None:
    faults = Faults("model")
    failed = sum(faults.hit("status=503;p=0.3", "id")[1] == 503 for _ in range(2000))
    assert 480 < failed < 720  # 5.9 standard deviations


def test_a_retry_gets_past_the_first_failures() -> None:
    faults = Faults("model")
    assert [faults.hit("status=503;first=2", "one")[1] for _ in range(4)] == [503, 503, 0, 0]
    assert faults.hit("status=503;first=2", "another")[1] == 503


def test_what_is_remembered_is_bounded() -> None:
    faults = Faults("model")
    for number in range(3000):
        faults.hit("status=503;first=1", str(number))
    assert len(faults.seen) == 1000
    assert faults.hit("status=503;first=1", "2999")[1] == 0
