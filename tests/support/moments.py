"""A release on its way from one page to another, looked at whenever something could go wrong. No cluster, no time.

A cluster is what a plan has applied. The stages of the next page's transition are gone through one by one. Within a
stage nothing is assumed about time: each proxy may have learned any of the states in it, and pods of the old and of the
new template may be Ready, or only the old ones. Between stages everything is learned, as ``settle`` sees to.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.cluster.objects import identity
from slipway.release.environment import Environment
from slipway.release.judge import Found, environment
from slipway.release.live import WORKLOADS, labels_of
from slipway.release.planner import Plan, plan
from slipway.release.spec import load
from slipway.release.transition import Stage, transition

from . import http_routes
from .release import Answer, answered, page

Object = dict[str, Any]
Page = dict[str, Any]


@dataclass(frozen=True)
class Pods:
    """Pods of one template: whose pages they are of (``before``, ``after``), and whether some are Ready for sure."""

    name: str
    template: Object
    of: frozenset[str]
    sure: bool = True

    @property
    def labels(self) -> dict[str, str]:
        return labels_of(self.template)

    @property
    def service(self) -> str:
        return self.labels["app"]

    @property
    def version(self) -> str:
        return self.labels["slipway.io/version"]

    @property
    def account(self) -> str:
        spec = self.template["spec"]["template"]["spec"]
        return f"cluster.local/ns/{self.template['metadata']['namespace']}/sa/{spec['serviceAccountName']}"


@dataclass
class There:
    """What is there: objects by identity, and ReplicaSets without an owner."""

    objects: dict[str, Object] = field(default_factory=dict)
    orphans: list[Object] = field(default_factory=list)

    def copy(self) -> There:
        return There(dict(self.objects), list(self.orphans))

    def environment(self, name: str, namespace: str) -> Environment:
        spaces = [item for item in self.objects.values() if item["kind"] == "Namespace"]
        found = Found(
            name,
            namespace,
            list(self.objects.values()),
            namespaces=spaces,
            orphans=self.orphans,
            storage_classes=["fast"],
            gateway_of_routes={
                "spec": {"listeners": [{"name": "http-80", "port": 80}, {"name": "https-443", "port": 443}]}
            },
        )
        return environment(found)

    def micro(self, stage: Stage) -> Iterator[There]:
        """Go through a stage, and give what is there after each part of it."""
        yield self.copy()
        for item in stage.remove_first:
            self.objects.pop(identity(item), None)
        for item in stage.take_over:
            gone = self.objects.pop(identity(item))
            self.orphans.append({**gone, "kind": "ReplicaSet"})
        if stage.remove_first or stage.take_over:
            yield self.copy()
        self.objects |= {identity(item): item for item in stage.apply}
        yield self.copy()
        for item in stage.remove:
            self.objects.pop(identity(item), None)
            yield self.copy()
        if stage.orphans:
            self.orphans = []
            yield self.copy()
        for turn in stage.in_turn:
            for item in turn:
                self.objects.pop(identity(item), None)
            yield self.copy()


def planned(folder: Path, given: Page, cluster: There | None = None) -> Plan:
    """Plan a page, for a cluster where one is given."""
    spec = load(page(folder, given))
    name, namespace = spec.release.name, spec.release.namespace or spec.release.name
    return plan(spec, cluster.environment(name, namespace) if cluster else None)


def released(folder: Path, given: Page) -> tuple[There, Plan]:
    """Give a cluster with a page on it, and nothing else."""
    made = planned(folder, given)
    return There({identity(item): item for item in made.objects}), made


@dataclass
class Change:
    """The way from the page ``before`` to the page ``after``; ``wrong`` is what was seen on it."""

    before: Plan
    after: Plan
    start: There
    stages: list[Stage]
    wrong: list[str] = field(default_factory=list)

    def walk(self, *, until: int | None = None) -> There:
        """Go through the stages, and look at every moment of each. ``until``: stop, as a run that is killed."""
        there = self.start.copy()
        for stage in self.stages[:until]:
            first = there.copy()
            moments = list(there.micro(stage))
            # What goes in turn is waited for, each time.
            for moment in moments if stage.in_turn or stage.orphans else ():
                self._look(stage.name, first, [first, moment])
                first = moment
            if not (stage.in_turn or stage.orphans):
                self._look(stage.name, first, moments)
        return there

    # What users and pods see.

    def _look(self, name: str, first: There, moments: list[There]) -> None:
        pods = list(self._pods(first, moments))
        seen: set[tuple[str, str]] = set()
        for moment in moments:
            for told, headers, host, path in self._requests():
                for answer in _routed(moment, host, path, headers):
                    self._users(name, moment, pods, told, answer, headers, (host, path))
                    seen |= {tuple(to.split(":")) for to in answer.shares if ":" in to}  # type: ignore[misc]
        self._calls(name, moments, pods, seen)

    def _pods(self, first: There, moments: list[There]) -> Iterator[Pods]:
        """Give the pods that may be there during a stage; those of a Deployment that is new are not Ready for sure."""
        last = moments[-1]
        of_before = self._templates(self.before)
        for item in [*first.objects.values(), *first.orphans]:
            if item["kind"] in (*WORKLOADS, "ReplicaSet"):
                new = last.objects.get(identity(item)) or item
                same = labels_of(new) == labels_of(item) and _runs(new) == _runs(item)
                of = {"before"} if _runs(item) in of_before else set()
                of |= {"after"} if _runs(item) in self._templates(self.after) else set()
                stays = identity(item) in {identity(one) for one in [*last.objects.values(), *last.orphans]}
                taken = identity(item).replace("Deployment", "ReplicaSet", 1) in map(identity, last.orphans)
                # While it is rolled out either the old pods are there or the new ones: both have to do.
                yield Pods(item["metadata"]["name"], item, frozenset(of), (same and stays) or taken)
                if not same and not taken:
                    yield Pods(item["metadata"]["name"], new, frozenset({"after"}), sure=False)
        for item in last.objects.values():
            if item["kind"] in WORKLOADS and identity(item) not in first.objects:
                yield Pods(item["metadata"]["name"], item, frozenset({"after"}), sure=False)

    @staticmethod
    def _templates(made: Plan) -> list[Object]:
        return [_runs(item) for item in made.objects if item["kind"] in WORKLOADS]

    def _requests(self) -> Iterator[tuple[str, dict[str, str], str, str]]:
        """Give what users ask: without a cookie, with one of each version, and with each override."""
        for host in [host for host in self.before.facts["hosts"] if host in self.after.facts["hosts"]]:
            for route in self.before.facts["routes"]:
                path = route["path"]
                yield "new", {}, host, path
                for made in (self.before, self.after):
                    sticky = made.facts["sticky"]
                    for version, value in (sticky.get("values") or {}).items():
                        yield f"cookie {version}", {"cookie": f"{sticky['cookie']}={value}"}, host, path
                    for override in made.facts["overrides"]:
                        if override["by"] == "header":
                            yield "override", {override["name"].lower(): override["value"]}, host, path

    def _users(
        self,
        name: str,
        moment: There,
        pods: list[Pods],
        told: str,
        answer: Answer,
        headers: dict[str, str],
        asked: tuple[str, str],
    ) -> None:
        allowed: set[str] = set()
        steady = []
        for made in (self.before, self.after):
            there = There({identity(item): item for item in made.objects})
            found = next(iter(_routed(there, asked[0], asked[1], headers)), None)
            if found is None or found.status:
                return
            steady.append(found)
            allowed |= set(found.shares)
        where = f"{name}: {told} at {asked[0]}{asked[1]}"
        if answer.status:
            self.wrong.append(f"{where} is answered {answer.status}")
        for to in answer.shares:
            if to not in allowed:
                self.wrong.append(f"{where} may get {to}, which neither page gives")
            self._serves(where, moment, pods, to, services=answer.services)
        if len(steady[0].shares) == 1 and steady[0].shares == steady[1].shares and answer.shares != steady[0].shares:
            self.wrong.append(f"{where} is moved from {steady[0].shares} to {answer.shares} without need")

    def _serves(self, where: str, moment: There, pods: Iterable[Pods], to: str, *, services: bool = False) -> None:
        """See that a destination has pods that are Ready, of its own version alone. ``services``: one for each."""
        service, _, subset = to.partition(":")
        told = _behind if services else _in_subset
        selected = [pod for pod in pods if told(moment, service, subset, pod.labels)]
        # During a rollout the selector must match both templates, because pods of only one of them may exist.
        names = {pod.name for pod in selected if pod.sure}
        rolling = {pod.name for pod in pods if not pod.sure}
        for name in rolling:
            parts = [pod for pod in pods if pod.name == name]
            if len(parts) > 1 and all(pod in selected for pod in parts):
                names.add(name)
        if not names:
            self.wrong.append(f"{where} leads to {to}, where no pod is Ready for sure")
        for pod in selected:
            if subset and pod.version != subset:
                self.wrong.append(f"{where} leads to {to}, and finds pods of {pod.version}")

    def _calls(self, name: str, moments: list[There], pods: list[Pods], users: set[tuple[str, str]]) -> None:
        """Follow users down the chain: no call that its page makes is refused, and none meets another version."""
        reached, waiting = set(users), list(users)
        while waiting:
            service, version = waiting.pop()
            for pod in [pod for pod in pods if (pod.service, pod.version) == (service, version)]:
                for callee in self._called(pod):
                    for moment in moments:
                        for to in self._call(name, moment, moments, pods, pod, callee):
                            if to not in reached:
                                reached.add(to)
                                waiting.append(to)
        self._copies(name, moments, pods, reached)

    def _called(self, pod: Pods) -> list[str]:
        pages = {"before": self.before, "after": self.after}
        calls = [set(pages[of].facts["services"].get(pod.service, {"calls": []})["calls"]) for of in pod.of]
        return sorted(set.intersection(*calls)) if calls else []

    def _call(
        self, name: str, moment: There, moments: list[There], pods: list[Pods], pod: Pods, callee: str
    ) -> Iterator[tuple[str, str]]:
        where = f"{name}: {pod.service} {pod.version} ({', '.join(sorted(pod.of))}) calls {callee}"
        answer = self._routed_call(moment, pod.labels, callee)
        if answer is None:
            self.wrong.append(f"{where} without a route")
            return
        if answer.status:
            self.wrong.append(f"{where} and is answered {answer.status}")
            return
        allowed: set[str] = set()
        for made in (self.before, self.after):
            there = There({identity(item): item for item in made.objects})
            for item in made.objects:
                labels = labels_of(item) if item["kind"] in WORKLOADS else {}
                if (labels.get("app"), labels.get("slipway.io/version")) == (pod.service, pod.version):
                    found = self._routed_call(there, labels, callee)
                    allowed |= set(found.shares) if found else set()
        for to in answer.shares:
            self._serves(where, moment, pods, to)
            service, _, subset = to.partition(":")
            if to not in allowed:
                self.wrong.append(f"{where} and may get {to}, which neither page gives")
            for other in [one for one in pods if _in_subset(moment, service, subset, one.labels)]:
                for rules in moments:
                    if not _let_in(rules, other.labels, pod.account):
                        self.wrong.append(f"{where}, and {other.service} {other.version} refuses it")
            yield service, subset

    def _routed_call(self, moment: There, labels: dict[str, str], callee: str) -> Answer | None:
        hosts = {made.facts["services"][callee]["host"] for made in (self.before, self.after)
                 if callee in made.facts["services"]}  # fmt: skip
        for item in moment.objects.values():
            of_mesh = item["kind"] == "VirtualService" and item["spec"]["gateways"] == ["mesh"]
            if of_mesh and item["spec"]["hosts"][0] in hosts:
                return answered(item, item["spec"]["hosts"][0], "/", {"method": "GET"}, labels)
        return None

    def _copies(self, name: str, moments: list[There], pods: list[Pods], users: set[tuple[str, str]]) -> None:
        """See that what gets only copies reaches nothing that answers users."""
        copied = {to for moment in moments for item in moment.objects.values() for to in _mirrored(item, users)}
        for pod in [pod for pod in pods if (pod.service, pod.version) in copied - users]:
            for callee in self._called(pod):
                for moment in moments:
                    answer = self._routed_call(moment, pod.labels, callee)
                    for to in answer.shares if answer and not answer.status else {}:
                        if tuple(to.split(":")) in users:
                            self.wrong.append(f"{name}: copies to {pod.service} {pod.version} are passed on to {to}")


def change(folder: Path, before: Page, after: Page, cluster: There | None = None) -> Change:
    """Plan the way from one page to another. ``cluster``: what a run that was killed has left."""
    start, first = released(folder, before)
    start = cluster or start
    second = planned(folder, after, start)
    return Change(first, second, start, transition(second, start.objects.values(), start.orphans))


def _mirrored(item: Object, users: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Give where a route sends copies, of requests that anybody sends."""
    if item["kind"] == "VirtualService" and _asked(item, users):
        for to in (one["destination"] for rule in item["spec"]["http"] for one in rule.get("mirrors", [])):
            yield to["host"].partition(".")[0], to.get("subset", "")
    if item["kind"] == "HTTPRoute":
        for to in (one["backendRef"] for rule in item["spec"]["rules"] for one in http_routes.mirrors(rule)):
            service, _, version = to["name"].partition("--")
            yield service, version


def _asked(item: Object, reached: set[tuple[str, str]]) -> bool:
    """Tell whether anybody meets a route: users, or pods that call a service which users reach."""
    service = item["spec"]["hosts"][0].partition(".")[0]
    return item["spec"]["gateways"] != ["mesh"] or service in {name for name, _ in reached}


def _runs(item: Object) -> Object:
    """Give what makes pods other pods."""
    spec: Object = item["spec"]["template"]
    return spec


def _routed(moment: There, host: str, path: str, headers: dict[str, str]) -> list[Answer]:
    """Give what the gateway may do with a request: two APIs' routes for a host are joined in an order nobody knows."""
    asked = {"method": "GET", **headers}
    found = [_by_istio(moment, host, path, asked), http_routes.asked(moment.objects.values(), host, path, asked)]
    return [one for one in found if one and one.status != 404] or [one for one in found if one][:1]


def _by_istio(moment: There, host: str, path: str, headers: dict[str, str]) -> Answer | None:
    found = [
        item
        for item in moment.objects.values()
        if item["kind"] == "VirtualService" and host in item["spec"]["hosts"] and item["spec"]["gateways"] != ["mesh"]
    ]
    # Of two Gateways for a host the older one counts.
    gateways = [
        item["metadata"]["name"]
        for item in moment.objects.values()
        if item["kind"] == "Gateway" and any(host in server["hosts"] for server in item["spec"]["servers"])
    ]
    found = [
        item for item in found if gateways[:1] == [name for name in item["spec"]["gateways"] if name in gateways[:1]]
    ]
    answers = [answered(item, host, path, headers, {}) for item in found]
    served = [answer for answer in answers if answer.status != 404]
    if not found and host:
        return Answer("", {}, status=404)
    return served[0] if served else (answers[0] if answers else None)


def _in_subset(moment: There, service: str, subset: str, labels: dict[str, str]) -> bool:
    if labels.get("app") != service:
        return False
    if not subset:
        return True
    for item in moment.objects.values():
        if item["kind"] == "DestinationRule" and item["spec"]["host"].partition(".")[0] == service:
            for one in item["spec"].get("subsets", []):
                if one["name"] == subset:
                    return bool(one["labels"].items() <= labels.items())
    return False


def _behind(moment: There, service: str, version: str, labels: dict[str, str]) -> bool:
    """Tell whether pods are behind the Service of a version."""
    for item in moment.objects.values():
        if item["kind"] == "Service" and item["metadata"]["name"] == f"{service}--{version}":
            return bool(item["spec"]["selector"].items() <= labels.items())
    return False


def _let_in(moment: There, labels: dict[str, str], account: str) -> bool:
    policies = [
        item
        for item in moment.objects.values()
        if item["kind"] == "AuthorizationPolicy"
        and item["spec"]["action"] == "ALLOW"
        and item["spec"]["selector"]["matchLabels"].items() <= labels.items()
    ]
    principals = itertools.chain.from_iterable(
        source["source"].get("principals", [])
        for item in policies
        for rule in item["spec"].get("rules", [])
        for source in rule["from"]
        if "to" not in rule
    )
    return not policies or account in principals
