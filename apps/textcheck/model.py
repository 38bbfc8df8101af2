"""A naive Bayes classifier of short texts, made from the lines in ``data/`` within milliseconds, always the same."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import math
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .settings import TASKS

DATA = Path(__file__).parent / "data"
LOCK_SECONDS = 20
# How long a store is asked for, and how long one answer of it may take; no model is larger.
STORE_SECONDS, ANSWER_SECONDS, MOST_MODEL = 60.0, 5.0, 2**24
# What stands for a whole class of words: addresses, sums, numbers to call.
CLASSES = (("<link>", r"(?:https?://|www\.)\S+"), ("<money>", r"[$£€]\s?\d[\d.,]*"), ("<phone>", r"\d{5,}"))
WORD = re.compile(r"<\w+>|[^\W\d_]+|\d+|!")

Line = tuple[str, str]


class ModelError(Exception):
    """The model cannot be had; the message says what to change."""


class NotYetError(Exception):
    """The store cannot be asked now; it may be there in a moment."""


class Model(NamedTuple):
    """``tasks``: task → label → {"lines": their number, "words": how often each word is in them}."""

    features: str
    tasks: dict[str, dict[str, dict[str, Any]]]
    accuracy: dict[str, float]
    """Share of the held-out lines that are classified right, by task."""

    def classify(self, task: str, text: str) -> tuple[str, float]:
        """The likeliest label, and how sure that is (0.5 to 1)."""
        labels = self.tasks[task]
        known = {word for label in labels.values() for word in label["words"]}
        words = [word for word in tokens(text, self.features) if word in known]
        lines = sum(label["lines"] for label in labels.values())
        logs: dict[str, float] = {}
        for name, label in labels.items():
            total = sum(label["words"].values()) + len(known)
            logs[name] = math.log(label["lines"] / lines)
            logs[name] += math.fsum(math.log((label["words"].get(word, 0) + 1) / total) for word in words)
        best = max(sorted(logs), key=lambda name: logs[name])
        return best, 1 / math.fsum(math.exp(value - logs[best]) for value in logs.values())


def tokens(text: str, features: str) -> list[str]:
    """Words of a text; with ``pairs`` also every two neighbours."""
    text = text.lower()
    for name, pattern in CLASSES:
        text = re.sub(pattern, f" {name} ", text)
    words = WORD.findall(text)
    return words + [" ".join(pair) for pair in pairwise(words)] if features == "pairs" else words


def read(path: Path) -> list[Line]:
    """Lines ``label<TAB>text``."""
    rows = (row.partition("\t") for row in path.read_text(encoding="utf-8").splitlines())
    return [(label, text) for label, _tab, text in rows]


def train(lines: Iterable[Line], features: str) -> dict[str, dict[str, Any]]:
    count: Counter[str] = Counter()
    words: dict[str, Counter[str]] = {}
    for label, text in lines:
        count[label] += 1
        words.setdefault(label, Counter()).update(tokens(text, features))
    return {label: {"lines": count[label], "words": dict(words[label])} for label in sorted(count)}


def make(features: str) -> Model:
    """Train on ``data/*.train.tsv`` and measure on ``data/*.test.tsv``."""
    model = Model(features, {task: train(read(DATA / f"{task}.train.tsv"), features) for task in TASKS}, {})
    for task in TASKS:
        lines = read(DATA / f"{task}.test.tsv")
        model.accuracy[task] = sum(model.classify(task, text)[0] == label for label, text in lines) / len(lines)
    return model


def obtain(folder: Path | None, features: str, fetch: Callable[[str], Model] | None = None) -> tuple[Model, str]:
    """The model and where it comes from: ``memory`` (no folder), ``made`` (now, for all who share it), ``cache``.

    Many processes may share ``folder``: one makes the file, whole or not at all, and the others wait for it.
    Another state of the lines or of this file is another name there, so versions do not meet. With ``fetch`` it is not
    made but ``downloaded``; raises what that raises.
    """
    if folder is None:
        return (fetch(features), "downloaded") if fetch else (make(features), "memory")
    sources = [Path(__file__), *sorted(DATA.glob("*.tsv"))]
    state = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    file = folder / f"textcheck-{features}-{state}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "textcheck.lock"):
            if found := load(file):
                return found, "cache"
            made = fetch(features) if fetch else make(features)
            save(file, made)
            return made, "downloaded" if fetch else "made"
    except OSError as exc:
        raise ModelError(
            f"APP_MODEL={folder}: {exc}. User {os.getuid()} has to be able to write there (fsGroup: {os.getgid()}, or "
            f"the folder's owner on a hostPath); without APP_MODEL the model stays in memory"
        ) from exc


def load(file: Path) -> Model | None:
    """The model in ``file``; None when there is none, or when its sum says that it is damaged."""
    try:
        return unpacked(file.read_bytes())
    except FileNotFoundError:
        return None


def unpacked(data: bytes) -> Model | None:
    """The model in what ``packed`` made; None when its sum says that it is damaged."""
    head, _newline, body = data.partition(b"\n")
    return Model(**json.loads(body)) if hashlib.sha256(body).hexdigest().encode() == head else None


def packed(model: Model) -> bytes:
    """A model as files and stores have it: the sum of what follows, and that."""
    body = json.dumps(model._asdict(), sort_keys=True).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def download(address: str, token: str, features: str) -> Model:
    """Take the model from the store at ``address``, asking once.

    Raises ModelError where the store refuses the token or has something else, NotYetError where it does not answer.
    """
    base = urlsplit(address)
    connection = http.client.HTTPConnection(base.hostname or "", base.port or 80, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", f"{base.path}/models/{features}", headers={"authorization": f"Bearer {token}"})
        response = connection.getresponse()
        data = response.read(MOST_MODEL)
    except (OSError, http.client.HTTPException) as exc:
        raise NotYetError(f"{base.netloc} cannot be asked: {exc}") from exc
    finally:
        connection.close()
    if response.status == 401:
        raise ModelError(f"{base.netloc} refuses the token in GITHUB_TOKEN (not shown); both have to have the same one")
    if response.status != 200:
        # A proxy in between may not know the way, or who this is, yet.
        raise NotYetError(f"{base.netloc} answered {response.status} to /models/{features}")
    found = unpacked(data)
    if found is None or found.features != features:
        raise NotYetError(f"what {base.netloc} gave for /models/{features} is damaged")
    return found


def patiently(get: Callable[[], tuple[Model, str]], seconds: float = STORE_SECONDS) -> tuple[Model, str]:
    """Try until the store is there. Raises ModelError when time is up."""
    end = time.monotonic() + seconds
    while True:
        try:
            return get()
        except NotYetError as exc:
            if time.monotonic() > end:
                raise ModelError(f"no model within {seconds:g} s: {exc}") from exc
        time.sleep(0.5)


def save(file: Path, model: Model) -> None:
    part = file.with_suffix(".part")
    with part.open("wb") as out:
        out.write(packed(model))
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock; the kernel gives it back when its holder is killed."""
    end = time.monotonic() + LOCK_SECONDS
    with path.open("ab") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > end:
                    raise OSError(f"{path.name} was not free within {LOCK_SECONDS} s") from exc
                time.sleep(0.02)
        yield
