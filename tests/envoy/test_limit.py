"""What a plan tells the gateway about limits, in the artifact's own Envoy: who is let through, and what it costs."""

from __future__ import annotations

import http.client
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from slipway.prove import past
from slipway.release.planner import plan
from slipway.release.spec import load

from tests.support.envoy import free, inert, listener, running
from tests.support.release import one, page

CLIENTS, REQUESTS, TOKENS = 500, 14, 10
PAIRS = 4000
# Milliseconds that the filters may add to the median.
MOST_ADDED = 0.1


def told(folder: Path, limit: str) -> dict[str, Any]:
    """What the plan says about a virtual host of the release."""
    values = {
        "name": "shop",
        "hosts": ["shop.local"],
        "weights": {"v1": 90, "v2": 10},
        "limits": {"per_client": limit},
        "services": {"web": {"versions": {"v1": "example.org/web:1", "v2": "example.org/web:2"}}},
    }
    patches = one(plan(load(page(folder, values))), "EnvoyFilter", "shop-rate-limit")["spec"]["configPatches"]
    found: dict[str, Any] = patches[0]["patch"]["value"]
    return found


def client(number: int) -> str:
    """An address of this machine for each client."""
    return f"127.77.{number // 250}.{number % 250 + 1}"


def statuses(port: int, number: int, count: int) -> list[int]:
    """Requests of one client, one after the other."""
    found = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(client(number), 0))
    with closing(connection):
        for _ in range(count):
            # What somebody says of himself changes nothing.
            forged = {"Host": "shop.local", "X-Forwarded-For": f"203.0.113.{number % 200}"}
            connection.request("GET", "/", headers=forged)
            answer = connection.getresponse()
            answer.read()
            found.append(answer.status)
            if answer.status == 429:
                assert answer.getheader("x-ratelimit-limit")
    return found


def test_each_of_500_addresses_gets_its_ten_and_no_more(envoy: Path, tmp_path: Path) -> None:
    port = free()
    with running(envoy, tmp_path, [listener(port, [inert()], told(tmp_path, "10/minute"))]):
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            # All of them half, then all of them the other half: whose bucket was forgotten meanwhile gets a new one.
            halves = [
                list(pool.map(lambda number: statuses(port, number, REQUESTS // 2), range(CLIENTS))) for _ in range(2)
            ]
            seen = [first + second for first, second in zip(*halves, strict=True)]
        seconds = time.monotonic() - began
    let = Counter(answers.count(200) for answers in seen)
    print(f"{CLIENTS} addresses, {REQUESTS} requests each, in {seconds:.1f} s: let through {dict(let)}")
    assert {status for answers in seen for status in answers} == {200, 429}
    assert set(let) <= {TOKENS - 1, TOKENS, TOKENS + 1}
    # The first that is refused is the eleventh, for all but those who gained one meanwhile.
    assert all(answers[:TOKENS] == [200] * TOKENS for answers in seen)


def test_a_proof_passes_by_the_limit_for_all_and_everybody_else_does_not(envoy: Path, tmp_path: Path) -> None:
    values = {
        "name": "shop",
        "hosts": ["shop.local"],
        "limits": {"per_client": "10/minute", "total": "20/minute"},
        "services": {"web": {"versions": {"v1": "example.org/web:1"}}},
    }
    held = one(plan(load(page(tmp_path, values))), "EnvoyFilter", "shop-rate-limit")
    laid = past.overlay(held, "value", {"name": "job", "uid": "uid"})
    port = free()

    def ask(number: int, value: str) -> int:
        address = (client(number), 0)
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=address)) as connection:
            connection.request("GET", "/", headers={"Host": "shop.local", past.HEADER: value})
            return connection.getresponse().status

    with running(envoy, tmp_path, [listener(port, [inert()], laid["spec"]["configPatches"][0]["patch"]["value"])]):
        assert {ask(number, "value") for number in range(60)} == {200}
        # Each address has its limit all the same.
        assert Counter(ask(200, "value") for _ in range(14)) == {200: 10, 429: 4}
        others = Counter(ask(300 + number, "another value") for number in range(30))
        assert others[200] in (20, 21)
        assert {ask(number, "value") for number in range(60, 90)} == {200}


@pytest.fixture
def pairs(envoy: Path, tmp_path: Path) -> Iterator[list[tuple[float, float]]]:
    """Milliseconds of requests with and without the filters, one after the other, which of them first by turns."""
    limited, plain = free(), free()
    ways = [listener(limited, [inert()], told(tmp_path, "1000000/second")), listener(plain, [], {})]
    with running(envoy, tmp_path, ways):
        connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=10) for port in (limited, plain)]

        def ask(which: int) -> float:
            started = time.perf_counter()
            connections[which].request("GET", "/", headers={"Host": "shop.local"})
            answer = connections[which].getresponse()
            answer.read()
            assert answer.status == 200
            return (time.perf_counter() - started) * 1000

        for _ in range(200):
            ask(0), ask(1)
        made = []
        for number in range(PAIRS):
            first = number % 2
            times = {first: ask(first)}
            times[1 - first] = ask(1 - first)
            made.append((times[0], times[1]))
        for connection in connections:
            connection.close()
        yield made


def middle(values: list[float]) -> tuple[float, float, float]:
    """The median and its 99 % interval, by ranks: nothing is assumed of how the values lie."""
    ordered = sorted(values)
    spread = 2.576 * math.sqrt(len(ordered)) / 2
    low, high = (int(len(ordered) / 2 - spread), math.ceil(len(ordered) / 2 + spread))
    return statistics.median(ordered), ordered[low], ordered[high]


def test_the_filters_add_no_tenth_of_a_millisecond(pairs: list[tuple[float, float]]) -> None:
    medians = [statistics.median(values) for values in zip(*pairs, strict=True)]
    added, low, high = middle([with_filters - without for with_filters, without in pairs])
    print(
        f"{len(pairs)} pairs: median {medians[0]:.4f} ms with, {medians[1]:.4f} ms without; difference of medians "
        f"{medians[0] - medians[1]:.4f} ms, median of differences {added:.4f} ms (99 %: {low:.4f} to {high:.4f})"
    )
    assert medians[0] - medians[1] <= MOST_ADDED
    assert high <= MOST_ADDED
