"""Carry out one stage of a release's transition, and wait until every proxy has learned of it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..cluster import rollout, workloads
from ..cluster.apply import Applier
from ..cluster.client import BusyError, Cluster, Object
from ..cluster.holdups import hints
from ..cluster.objects import identity
from ..cluster.rollout import NotRolledOutError
from ..contents import waits as jobs_and_sets
from ..contents.waits import FOLLOWED, NotDoneError
from ..errors import SlipwayError
from . import backends, job_runs
from .judge import OF_RELEASE, goes
from .live import WORKLOADS

# Owns the number of pods from the moment that a page leaves it to an autoscaler, which then writes it.
HANDED_OVER = "slipway-autoscaling"
# Counted by istiod: what it was told, and what it has sent on.
_COUNTED = re.compile(
    r"^(pilot_(?:inbound_updates|debounce_time_count|proxy_convergence_time_count|xds_pushes))\b.* (\S+)$",
    re.MULTILINE,
)
_PAUSE = 0.4
# Looks in a row at which istiod has nothing new: longer than it gathers changes (100 ms), and takes to send them.
_QUIET = 3
# Seconds at most until istiod says of an HTTPRoute that it has taken it.
_TAKEN = 60.0
# Seconds beyond its own that a pod may take to go; one on a node that is away goes never, and serves nobody.
_GRACE = 10.0


@dataclass
class Rollout:
    """Carries out stages for the release ``name`` in ``namespace``.

    ``timeout``: seconds until pods are Ready, or gone. ``settle``: seconds at most until every proxy has what istiod
    was told last; where istiod cannot be asked all of them are waited.
    """

    cluster: Cluster
    name: str
    namespace: str
    timeout: float
    settle: float
    mesh: str = "istio-system"
    patience: float = 10.0

    def carry_out(self, stage: Mapping[str, Any], waits: Iterable[Mapping[str, str]] = ()) -> list[str]:
        """Do what a stage says (see ``release/transition.py``), and name the objects that this has changed."""
        waits = list(waits)
        if stage.get("settle"):
            self.settled()
        applier = Applier(self.cluster, patience=self.patience)
        changed = [one.name for one in applier.remove(stage.get("remove_first", [])) if one.changed]
        handed = Applier(self.cluster, patience=self.patience, manager=HANDED_OVER).apply(stage.get("hand_over", []))
        changed += [one.name for one in handed if one.changed]
        changed += self._removed(applier, stage.get("take_over", []), "Orphan")
        wanted = stage.get("apply", [])
        # What an interrupted run has told to go takes with it what is applied to it.
        applier.gone(
            [item for item in wanted if item["kind"] in (*WORKLOADS, "Job") and self._goes(item)], self.timeout
        )
        # Jobs that nobody waits for are those of a page of services: they end before pods change.
        followed = {(one.get("kind"), one["name"]) for one in waits}
        jobs = [i for i in wanted if i["kind"] == "Job" and ("Job", i["metadata"]["name"]) not in followed]
        changed += [one.name for one in applier.apply([i for i in wanted if i not in jobs]) if one.changed]
        changed += [identity(item) for item in jobs if job_runs.run(self.cluster, applier, item)]
        self._wait(waits)
        self._accepted([*(item for item in wanted if item["kind"] == backends.KIND), *stage.get("taken", [])])
        changed += [one.name for one in applier.remove(stage.get("remove", [])) if one.changed]
        if stage.get("orphans"):
            changed += self._removed(applier, self._orphans(), "Foreground")
        for turn in stage.get("in_turn", []):
            changed += self._removed(applier, turn, "Foreground")
        return changed

    def _orphans(self) -> list[Object]:
        """Give the ReplicaSets whose Deployment was taken over."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/replicasets"
        listed = self.cluster.items(path, f"{OF_RELEASE}={self.name}") or []
        kind = {"apiVersion": "apps/v1", "kind": "ReplicaSet"}
        return [{**item, **kind} for item in listed if not item["metadata"].get("ownerReferences")]

    def _goes(self, item: Object) -> bool:
        there = self.cluster.read(item["apiVersion"], item["kind"], self.namespace, item["metadata"]["name"])
        return there is not None and goes(there)

    def _removed(self, applier: Applier, items: list[Object], how: str) -> list[str]:
        """Take away what has pods: ``Orphan`` leaves them, ``Foreground`` is done when they answer nobody any more."""
        if not items:
            return []
        removed = applier.remove(items, how)
        until = time.monotonic() + self.timeout
        leaving: dict[str, float] = {}
        while left := applier.left(items):
            now = time.monotonic()
            # Pods on a node that is away stay until it is back, or is taken out of the cluster.
            if leaving and how == "Foreground" and not self._leaving(leaving, now):
                break
            self._leaving(leaving, now)
            if now >= until:
                applier.gone(left, 0)
            time.sleep(_PAUSE)
        return [one.name for one in removed if one.changed]

    def _wait(self, waits: Iterable[Mapping[str, str]]) -> None:
        waits = [{"kind": "Deployment", "namespace": self.namespace, **one} for one in waits]
        wanted = [
            {
                "apiVersion": "apps/v1",
                "kind": one["kind"],
                "metadata": {"name": one["name"], "namespace": one["namespace"]},
            }
            for one in waits
            if one["kind"] not in FOLLOWED
        ]
        if wanted:
            self._pull_again()
        try:
            rollout.wait(self.cluster, wanted, self.timeout)
            jobs_and_sets.wait(self.cluster, [one for one in waits if one["kind"] in FOLLOWED], self.timeout)
        except (NotRolledOutError, NotDoneError) as exc:
            works = "".join(f"\n    would work: {hint}" for hint in hints(exc.text, self.namespace))
            raise SlipwayError(
                exc.id,
                f"{exc.text}{works}\nThe routes are as they were: what served before serves on.\n"
                f"look at: kubectl --namespace {self.namespace} get pods,events",
            ) from exc

    def _accepted(self, routes: Iterable[Object]) -> None:
        """Wait until istiod has taken HTTPRoutes: what they take the place of goes after that."""
        until = time.monotonic() + min(self.timeout, _TAKEN)
        for item in routes:
            name = item["metadata"]["name"]
            while True:
                there = self.cluster.read(item["apiVersion"], item["kind"], self.namespace, name)
                why = backends.unaccepted(there) if there else "it is gone"
                if not why:
                    break
                if time.monotonic() >= until:
                    raise SlipwayError(
                        "route-not-accepted",
                        f"{identity(item)} is not taken by istiod: {why}\n"
                        "Other routes are as they were.\n"
                        f"look at: kubectl --namespace {self.namespace} describe httproutes {name}",
                    )
                time.sleep(_PAUSE)

    def _pull_again(self) -> None:
        """Make pods anew that an earlier run left without their image: what kept it away may be mended by now."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        for pod in self.cluster.items(path, f"{OF_RELEASE}={self.name}") or []:
            if workloads.waits_for_image(pod, time.time()):
                name = pod["metadata"]["name"]
                self.cluster.ask(f"{path}/{name}", method="DELETE", body={"propagationPolicy": "Background"})

    def settled(self) -> None:
        """Wait until pods that go are gone, and istiod has sent on to every proxy what it was told."""
        began = time.monotonic()
        leaving: dict[str, float] = {}
        last, quiet = None, 0
        while True:
            now = time.monotonic()
            counted = self._counted()
            quiet = quiet + 1 if counted and counted == last else 0
            last = counted
            learned = quiet >= _QUIET or now - began >= self.settle
            if now - began >= self.timeout or (learned and not self._leaving(leaving, now)):
                return
            time.sleep(_PAUSE)

    def _leaving(self, since: dict[str, float], now: float) -> bool:
        """Tell whether pods of the release still answer what they were asked before they were told to go."""
        listed = self.cluster.items(
            f"/api/v1/namespaces/{self.namespace}/pods", f"{OF_RELEASE}={self.name}", metadata=True
        )
        found = False
        for pod in listed or []:
            metadata = pod["metadata"]
            if metadata.get("deletionTimestamp"):
                first = since.setdefault(metadata["name"], now)
                found = found or now - first < float(metadata.get("deletionGracePeriodSeconds") or 0) + _GRACE
        return found

    def _counted(self) -> dict[str, float]:
        """Sum up what each istiod has counted; empty where one of them does not say."""
        found: dict[str, float] = {}
        try:
            pods = self.cluster.items(f"/api/v1/namespaces/{self.mesh}/pods", "app=istiod", metadata=True) or []
            for pod in pods:
                name = pod["metadata"]["name"]
                text = self.cluster.text(f"/api/v1/namespaces/{self.mesh}/pods/{name}:15014/proxy/metrics")
                for what, number in _COUNTED.findall(text):
                    found[f"{name}/{what}"] = found.get(f"{name}/{what}", 0.0) + float(number)
        except (BusyError, SlipwayError):
            return {}
        return found
