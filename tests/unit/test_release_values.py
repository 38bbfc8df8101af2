"""Values as people write them, and as Kubernetes, Envoy and Prometheus take them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from slipway.release import values


@pytest.mark.parametrize(
    ("text", "number", "seconds", "prometheus"),
    [
        ("500ms", 500, "0.5s", "500ms"),
        ("1.5s", 1500, "1.5s", "1500ms"),
        ("10s", 10_000, "10s", "10s"),
        ("90s", 90_000, "90s", "90s"),
        ("120s", 120_000, "120s", "2m"),
        ("1h", 3_600_000, "3600s", "1h"),
        ("1d", 86_400_000, "86400s", "1d"),
    ],
)
def test_a_length_of_time(text: str, number: int, seconds: str, prometheus: str) -> None:
    assert values.milliseconds(text) == number
    assert values.seconds_text(text) == seconds
    assert values.prometheus_time(text) == prometheus


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "1e3s", "5w", "0s", "0.0001ms"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(values.Duration).validate_python(text)


def test_a_length_of_time_that_nobody_checked_is_refused_too() -> None:
    with pytest.raises(ValueError, match="no length of time"):
        values.milliseconds("soon")


@pytest.mark.parametrize(
    ("text", "burst", "tokens", "fill", "interval"),
    [
        ("10/minute", None, 10, 1, "6s"),
        ("10 per minute", None, 10, 1, "6s"),
        ("10/min", 20, 20, 1, "6s"),
        ("1/s", None, 1, 1, "1s"),
        ("7/minute", None, 7, 1, "8.571428571s"),
        ("20/second", None, 20, 1, "0.05s"),
        ("21/second", None, 21, 2, "0.095238095s"),
        ("1000/second", None, 1000, 50, "0.05s"),
        ("1000/second", 10, 50, 50, "0.05s"),
        ("5/day", None, 5, 1, "17280s"),
        ("10 per d", None, 10, 1, "8640s"),
        ("60/m", None, 60, 1, "1s"),
        ("60/sec", None, 60, 3, "0.05s"),
        ("2/h", None, 2, 1, "1800s"),
        ("100/hour", None, 100, 1, "36s"),
        ("999999999/second", None, 999999999, 50000000, "0.05s"),
    ],
)
def test_a_rate_is_a_bucket_that_fills_evenly(
    text: str, burst: int | None, tokens: int, fill: int, interval: str
) -> None:
    assert values.bucket(text, burst) == {"max_tokens": tokens, "tokens_per_fill": fill, "fill_interval": interval}


@pytest.mark.parametrize(
    ("kind", "given", "canonical"),
    [
        (values.Cpu, "0.05", "50m"),
        (values.Cpu, 0.5, "500m"),
        (values.Cpu, 2, "2"),
        (values.Cpu, "1000m", "1"),
        (values.Cpu, "1500m", "1500m"),
        (values.Memory, "1024Mi", "1Gi"),
        (values.Memory, "1.5Gi", "1536Mi"),
        (values.Memory, "64Mi", "64Mi"),
        (values.Memory, "1000M", "1G"),
        (values.Memory, "2000k", "2M"),
        (values.Memory, 1024, "1024"),
        (values.Memory, "1Ti", "1Ti"),
    ],
)
def test_an_amount_has_the_form_that_the_server_gives_it(kind: Any, given: Any, canonical: str) -> None:
    assert TypeAdapter(kind).validate_python(given) == canonical


def test_amounts_can_be_compared() -> None:
    assert values.amount("500m") < values.amount("1") == values.amount("1000m")
    assert values.amount("1M") < values.amount("1Mi") == values.amount("1048576")
    with pytest.raises(ValueError, match="no amount"):
        values.amount("much")


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (values.Cpu, "0"),
        (values.Cpu, "0.0001"),
        (values.Cpu, "1k"),
        (values.Cpu, True),
        (values.Memory, "1m"),
        (values.Memory, "0.3"),
        (values.Memory, "1 Gi"),
        (values.Percent, "101%"),
        (values.Percent, "5 %"),
        (values.Percent, -1),
        (values.Percent, float("inf")),
        (values.WholePercent, "12.5%"),
        (values.WholePercent, 0),
        (values.WholePercent, "101%"),
        (values.Rate, "10"),
        (values.Rate, "10/month"),
        (values.Rate, "0/minute"),
        (values.Text, True),
        (values.Text, 1.5),
        (values.HeaderName, "a b"),
        (values.HeaderName, ":path"),
        (values.HeaderName, "Host"),
        (values.CookieName, "a=b"),
        (values.CookieValue, "a b"),
        (values.CookieValue, 'a"b'),
        (values.Image, "Example/app"),
        (values.Image, "app:"),
        (values.Image, "a//b"),
        (values.Image, "app@sha256:abc"),
        (values.Host, "a_b.local"),
        (values.Host, "a.local/"),
        (values.Host, "x" * 254),
        (values.UrlPath, "a"),
        (values.UrlPath, "/a b"),
        (values.UrlPath, "//a"),
        (values.Folder, "/a/../b"),
        (values.Folder, "/"),
        (values.Mailboxes, "a"),
        (values.Mailboxes, []),
    ],
)
def test_what_cannot_be(kind: Any, given: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(given)


@pytest.mark.parametrize(
    ("kind", "given", "meant"),
    [
        (values.Percent, "0.5%", 0.5),
        (values.Percent, 5, 5.0),
        (values.WholePercent, "12%", 12.0),
        (values.Text, 5, "5"),
        (values.HeaderName, "X-Version", "x-version"),
        (values.CookieValue, 1, "1"),
        (values.UrlPath, "/a/b-c.d/", "/a/b-c.d/"),
        (values.Texts, "a", ["a"]),
        (values.Hosts, "a-b.c.local", ["a-b.c.local"]),
        (values.Image, "registry:5000/a/b_c:1.0", "registry:5000/a/b_c:1.0"),
        (values.Mailboxes, "a@b", ["a@b"]),
    ],
)
def test_what_can_be(kind: Any, given: Any, meant: Any) -> None:
    assert TypeAdapter(kind).validate_python(given) == meant


def test_long_texts_are_judged_quickly() -> None:
    for kind in (values.Image, values.UrlPath, values.Folder, values.Host):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python("/" + "a" * 5000 + "!\n")


def test_a_number_without_a_fraction_is_written_without() -> None:
    assert [values.whole(5.0), values.whole(0.5)] == [5, 0.5]
    assert str(values.whole(5.0)) == "5"
