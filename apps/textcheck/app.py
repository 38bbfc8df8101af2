"""What one hop does with a text: ask the model or the next hop, keep answers, and say which versions took part."""

from __future__ import annotations

import http.client
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .faults import HEADER, Faults
from .metrics import Metrics
from .model import Model, download, obtain, patiently
from .settings import Settings

MOST_ANSWER = 64 * 1024


class Answer(NamedTuple):
    """``body`` always has ``chain``, this hop first: list of {role, version, pod}."""

    status: int
    body: dict[str, Any]


class App:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(settings.role, settings.version)
        self.faults = Faults(settings.role, settings.version, settings.pod)
        self.hop = {"role": settings.role, "version": settings.version, "pod": settings.pod}
        self.model: Model | None = None
        self.source = ""
        """Where the model came from: made, downloaded, cache or memory; empty without one."""
        self.kept: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()
        self.lock = threading.Lock()

    @property
    def loaded(self) -> bool:
        return self.settings.role != "model" or self.model is not None

    def load(self) -> None:
        """Get the model, where one is needed; raises ModelError."""
        if self.settings.role == "model":
            settings = self.settings
            fetch = partial(download, settings.model_from, settings.token) if settings.model_from else None
            model, self.source = patiently(lambda: obtain(settings.model, settings.features, fetch))
            for task, share in model.accuracy.items():
                self.metrics.accuracy.set(f"/{task}", value=share)
            self.model = model

    def about(self) -> dict[str, Any]:
        model = self.model
        own = {"features": model.features, "source": self.source, "accuracy": model.accuracy} if model else {}
        return {**self.hop, **own}

    def failed(self, status: int, error: str, chain: list[dict[str, str]] | None = None) -> Answer:
        return Answer(status, {"error": error, "chain": [self.hop, *(chain or [])]})

    def answer(self, task: str, text: str, headers: Mapping[str, str]) -> Answer:
        """Classify ``text``; ``headers`` are those that go on, by lower-case name."""
        tested = HEADER in headers  # a cache would hide from the test what happens behind it
        if self.settings.cache and not tested and (kept := self.recall(task, text)):
            return Answer(200, {**kept, "cached": True, "chain": [self.hop]})
        answer = self.classified(task, text) if self.settings.role == "model" else self.asked(task, text, headers)
        if answer.status == 200:
            self.metrics.results.add(f"/{task}", answer.body["result"])
            if self.settings.cache and not tested:
                self.keep(task, text, answer.body)
        return answer

    def classified(self, task: str, text: str) -> Answer:
        if self.model is None:
            return self.failed(503, "the model is not loaded yet")
        result, confidence = self.model.classify(task, text)
        self.metrics.confidence.observe(f"/{task}", result, value=confidence)
        found = {"task": task, "result": result, "confidence": round(confidence, 4), "features": self.model.features}
        return Answer(200, {**found, "cached": False, "chain": [self.hop]})

    def asked(self, task: str, text: str, headers: Mapping[str, str]) -> Answer:
        """Ask the next hop, on a connection of its own: never stale, and without a mesh the load still spreads."""
        base = urlsplit(self.settings.next_hop)
        connection = http.client.HTTPConnection(base.hostname or "", base.port or 80, timeout=self.settings.timeout)
        try:
            body = json.dumps({"text": text}).encode()
            connection.request("POST", f"{base.path}/{task}", body, {**headers, "content-type": "application/json"})
            response = connection.getresponse()
            data = response.read(MOST_ANSWER)
        except TimeoutError:
            return self.failed(504, f"{base.netloc} did not answer within {self.settings.timeout:g} s")
        except (OSError, http.client.HTTPException) as exc:
            return self.failed(502, f"{base.netloc} cannot be asked: {exc}")
        finally:
            connection.close()
        return self.passed_on(base.netloc, response.status, data)

    def passed_on(self, name: str, status: int, data: bytes) -> Answer:
        """The next hop's answer with this hop put before its chain. A proxy between them answers in its own words."""
        try:
            body = json.loads(data)
            chain = [{key: str(hop[key]) for key in ("role", "version", "pod")} for hop in body["chain"]]
        except (ValueError, TypeError, KeyError):
            body, chain = {"error": f"{name} answered {status}: {data[:200].decode(errors='replace')}"}, []
        if status == 200 and chain:
            return Answer(200, {**body, "chain": [self.hop, *chain]})
        return self.failed(status if 400 <= status <= 599 else 502, str(body.get("error", "")), chain)

    def recall(self, task: str, text: str) -> dict[str, Any] | None:
        with self.lock:
            if found := self.kept.get((task, text)):
                self.kept.move_to_end((task, text))
        self.metrics.lookups.add("hit" if found else "miss")
        return found

    def keep(self, task: str, text: str, body: dict[str, Any]) -> None:
        with self.lock:
            self.kept[task, text] = body
            if len(self.kept) > self.settings.cache:
                self.kept.popitem(last=False)
            self.metrics.entries.set(value=len(self.kept))
