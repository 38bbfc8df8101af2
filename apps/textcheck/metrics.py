"""Counters, gauges and histograms in Prometheus' text format 0.0.4; every sample carries the role and the version."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator

from .settings import TASKS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class Metric:
    """Label values are given in the order of ``labels``; ``bounds`` are the upper ends of a histogram's buckets."""

    def __init__(
        self, kind: str, name: str, text: str, labels: tuple[str, ...] = (), bounds: tuple[float, ...] = ()
    ) -> None:
        self.kind, self.name, self.text, self.labels, self.bounds = kind, name, text, labels, bounds
        self.lock = threading.Lock()
        # The number (of a histogram: the sum), then how many fell into each bucket.
        self.values: dict[tuple[str, ...], list[float]] = {} if labels else {(): [0.0]}

    def add(self, *labels: str, value: float = 1) -> None:
        with self.lock:
            self.values.setdefault(labels, [0.0])[0] += float(value)

    def set(self, *labels: str, value: float) -> None:
        with self.lock:
            self.values[labels] = [float(value)]

    def observe(self, *labels: str, value: float) -> None:
        with self.lock:
            numbers = self.values.setdefault(labels, [0.0] * (len(self.bounds) + 2))
            numbers[0] += value
            numbers[bisect.bisect_left(self.bounds, value) + 1] += 1

    def lines(self, constant: dict[str, str]) -> Iterator[str]:
        yield f"# HELP {self.name} {self.text}"
        yield f"# TYPE {self.name} {self.kind}"
        with self.lock:
            values = {labels: list(numbers) for labels, numbers in sorted(self.values.items())}
        for labels, (number, *buckets) in values.items():
            named = constant | dict(zip(self.labels, labels, strict=True))
            if not self.bounds:
                yield sample(self.name, named, number)
                continue
            for index, bound in enumerate([*map(str, self.bounds), "+Inf"]):
                yield sample(f"{self.name}_bucket", named | {"le": bound}, sum(buckets[: index + 1]))
            yield sample(f"{self.name}_sum", named, number)
            yield sample(f"{self.name}_count", named, sum(buckets))


def sample(name: str, labels: dict[str, str], value: float) -> str:
    shown = ",".join(f'{key}="{text}"' for key, text in labels.items())  # nothing to escape: users choose none of them
    return f"{name}{{{shown}}} {value}"


class Metrics:
    """Everything that one process tells Prometheus."""

    def __init__(self, role: str, version: str) -> None:
        self.constant = {"role": role, "version": version}
        ends, found = ("route", "outcome"), ("route", "result")
        self.requests = Metric("counter", "app_requests_total", "Requests of users, by how they ended.", ends)
        self.seconds = Metric("histogram", "app_request_duration_seconds", "Time to answer.", ends, SECONDS)
        self.running = Metric("gauge", "app_requests_in_progress", "Requests being answered now.")
        self.results = Metric("counter", "app_results_total", "Texts, by what they were found to be.", found)
        self.lookups = Metric("counter", "app_cache_lookups_total", "Questions to the answer cache.", ("outcome",))
        self.entries = Metric("gauge", "app_cache_entries", "Answers in the cache.")
        self.confidence = Metric("histogram", "app_model_confidence_ratio", "How sure the model was.", found, SHARES)
        self.accuracy = Metric("gauge", "app_model_accuracy_ratio", "Share of held-out lines found right.", ("route",))
        for route in ("/", *(f"/{task}" for task in TASKS)):
            for outcome in ("ok", "refused", "failed"):  # else the first request is no increase that anyone sees
                self.requests.add(route, outcome, value=0)
        self.ready = Metric("gauge", "app_ready", "1 when requests are welcome.")

    def text(self) -> str:
        metrics = [value for value in vars(self).values() if isinstance(value, Metric)]
        return "\n".join(line for metric in metrics for line in metric.lines(self.constant)) + "\n"
