"""A release on a live cluster whose page is changed while ordinary clients ask it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from .checkout import Run, kill
from .kube import Kube, eventually
from .lab import ROOT
from .load import Door, Load, figures, judge, rehashed
from .mesh import gateway_address, own_address
from .releases import Stage
from .traffic import asked
from .transitions import Json, Row, allowed, cookie, host, named

GATEWAYS = "istio-system"
# Seconds of load before a change and after it.
BEFORE, AFTER = 2.5, 3.0
# Kinds by which the end of one run is compared with that of another.
KINDS = (
    "deployments,services,configmaps,serviceaccounts,persistentvolumeclaims,horizontalpodautoscalers,virtualservices,"
    "destinationrules,gateways,authorizationpolicies,peerauthentications,envoyfilters"
)
TASK = "TASK ["


def release_name(row: str, root: Path = ROOT) -> str:
    """Name of a row's release: another one for each checkout, as several may use one cluster."""
    return f"t{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:4]}-{row}"[:40].rstrip("-")


@dataclass
class Place:
    """A release, the pages that it has had, and the load on it."""

    stage: Stage
    name: str
    folder: Path
    ended: float = 0.0
    """When the change was done, in the load's time."""
    began: float = 0.0
    runs: int = 0

    def __post_init__(self) -> None:
        self.address = gateway_address(self.kube)
        # Fails unless the address is on a network of this machine's own.
        own_address(self.address)
        self.load = self.loaded()

    @property
    def kube(self) -> Kube:
        return self.stage.kube

    @property
    def where(self) -> str:
        """Its namespace, for kubectl."""
        return f"--namespace={self.name}"

    def loaded(self, **how: Any) -> Load:
        """A load at its door that has not begun."""
        self.load = Load(Door(self.address, host(self.name), cookie(self.name)), **how)
        return self.load

    def write(self, page: Json) -> str:
        """Write a page for this release; the same page has the same path."""
        text = yaml.safe_dump(named(page, self.name), sort_keys=False)
        path = self.folder / f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}.yml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    def apply(self, page: Json, *arguments: str, **given: Any) -> Run:
        """Release a page and say in the load's marks what the run was at."""

        def on_line(line: str, _process: subprocess.Popen[str]) -> None:
            self._note(line)

        return self._play(page, *arguments, on_line=on_line, **given)

    def cut(self, page: Json, *, task: str = "", after: float) -> Run:
        """Release a page, and ``kill -9`` the run some seconds after it began, or after it came to a task."""
        timers: list[threading.Timer] = []

        def on_line(line: str, process: subprocess.Popen[str]) -> None:
            self._note(line)
            if not timers and (line.startswith(TASK) and task in line if task else True):
                timers.append(threading.Timer(after, self._kill, [process]))
                timers[0].start()

        try:
            return self._play(page, on_line=on_line)
        finally:
            for timer in timers:
                timer.cancel()

    def _kill(self, process: subprocess.Popen[str]) -> None:
        kill(process)
        self.load.mark("nothing: the run was killed")

    def _play(self, page: Json, *arguments: str, **given: Any) -> Run:
        self.runs += 1
        run = self.stage.release(self.write(page), *arguments, **{"prove": "never", **given})
        self.load.mark("nothing: the run has ended")
        return run

    def _note(self, line: str) -> None:
        if line.startswith(TASK):
            self.load.mark(line[len(TASK) :].partition("]")[0].rpartition(" : ")[2])

    def answers(self, page: Json) -> None:
        """Wait until the door leads to what a page says, and to nothing else."""
        users = allowed(page).users

        def good() -> bool:
            said = [asked(self.address, host(self.name), self.load.door.path) for _ in range(5)]
            return all(each.status == "200" and each.version.rpartition("-")[2] in users for each in said)

        eventually(lambda: good() and good(), seconds=60, what=f"{host(self.name)} answers by its page")

    def faults(self, row: Row, *, between: bool = True) -> list[str]:
        """What is wrong with what clients got, before, while and after one page became the other.

        ``between``: whether all of the load was between the two; else both pages allow what they allow at any time.
        """
        answers, marks = list(self.load.answers), self.load.marks
        print(f"{row.name}: {figures(answers)}", flush=True)
        early = [each for each in answers if each.at < self.began]
        late = [each for each in answers if each.at > self.ended]
        assert early, "no request before the change"
        assert late, "no request after the change"
        leaves = frozenset(row.leaves.split())
        found = judge(answers, row.calls, leaves, marks)
        if between:
            found += [f"before: {fault}" for fault in judge(early, allowed(row.before))]
            found += [f"after: {fault}" for fault in judge(late, allowed(row.after), leaves, marks)]
        if row.header:
            found += rehashed(answers, row.before["weights"], row.after["weights"])
        for fault in found:
            # In full: pytest shortens what it compares.
            print(f"  {fault}", flush=True)
        return found

    @contextmanager
    def changing(self) -> Iterator[Load]:
        """Load, with a page that holds at its beginning; what happens within is the change."""
        with self.load as load:
            load.steady(BEFORE)
            self.began = load.now
            yield load
            self.ended = load.now
            load.steady(AFTER)

    def objects(self) -> set[str]:
        """Kind and name of all that is the release's."""
        found = self.kube("get", KINDS, "--all-namespaces", f"--selector=slipway.io/release={self.name}")["items"]
        return {f"{item['kind']}/{item['metadata']['namespace']}/{item['metadata']['name']}" for item in found}

    def take_away(self) -> None:
        """Remove it faster than a run would: these tests do not test the removal."""
        of = f"--selector=slipway.io/release={self.name}"
        self.kube.text("delete", "namespace", self.name, "--ignore-not-found", "--wait=false")
        self.kube.text("delete", "envoyfilters,virtualservices,gateways", f"--namespace={GATEWAYS}", of)
        (self.stage.checkout.state / f"unproved-{self.name}.{self.name}").unlink(missing_ok=True)


@contextmanager
def placed(stage: Stage, row: Row, folder: Path) -> Iterator[Place]:
    """A release by a row's page A; it is gone at the end."""
    place = Place(stage, release_name(row.name), folder)
    place.loaded(header=row.header, users=120 if row.header else 40)
    try:
        eventually(lambda: _free(place), seconds=90, what=f"what was called {place.name} is gone")
        place.apply(row.before).expect()
        place.answers(row.before)
        yield place
    finally:
        place.take_away()


def _free(place: Place) -> bool:
    return not place.kube.text("get", "namespace", place.name, "--ignore-not-found", "--output=name").strip()


@dataclass
class Pods:
    """How many Ready pods a Deployment has, every time that this changes."""

    kube: Kube
    namespace: str
    deployment: str
    seen: list[tuple[float, int]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [
                str(self.kube.program),
                f"--kubeconfig={self.kube.config}",
                *("get", "deployment", self.deployment, f"--namespace={self.namespace}", "--watch"),
                '--output=jsonpath={.status.readyReplicas}{"\\n"}',
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        return self

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append((time.monotonic(), int(line.strip() or 0)))

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)
        self.thread.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def fewest(self) -> int:
        """The smallest number."""
        assert self.seen, f"nobody said how many pods {self.deployment} has"
        return min(number for _, number in self.seen)


def _names(tasks: list[dict[str, Any]]) -> Iterator[str]:
    """Names of tasks in a file, those in blocks included."""
    for task in tasks:
        if "block" in task:
            yield from _names(task["block"])
        elif "name" in task:
            yield str(task["name"])


def steps(root: Path = ROOT) -> list[str]:
    """Names of the role's tasks that put a release there, in the order of the files."""
    files = sorted((root / "roles/release/tasks").glob("*.yml"), key=lambda path: (path.stem != "main", path.stem))
    return [name for path in files if path.stem != "absent" for name in _names(yaml.safe_load(path.read_text()) or [])]


def source_of_model(place: Place) -> str:
    """Where the newest pod of the model has its model from: made, or found where one before had left it."""
    pods = place.kube("get", "pods", place.where, "--selector=app=api")["items"]
    metadata = [pod["metadata"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    newest = max(metadata, key=lambda one: str(one["creationTimestamp"]))["name"]
    text = place.kube.text("logs", newest, place.where, "--container=api", "--tail=-1")
    events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return str([each["model"] for each in events if each.get("event") == "ready"][-1])
