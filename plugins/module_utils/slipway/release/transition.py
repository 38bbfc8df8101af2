"""From what a release has on a cluster to what its plan wants, in stages between which nothing is lost. Pure.

Every stage may last for ever, or be the last one: at any moment a request reaches only versions that the page before or
the page now gives it, and a call that both allow is let in. So what is let in grows before new pods are there, and
shrinks after old pods are gone; routes name a subset, always; what a route leads to is there before it and after it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..form import Fault
from ..page import Key
from .planner import KINDS, Plan, identity
from .render import Object
from .retries import AGAIN
from .values import amount
from .workload import VERSION

# A policy beside the one whose place it takes while both the page before and the page now hold.
MEANWHILE = "-meanwhile"
_OF_USERS = ("Gateway", "VirtualService", "EnvoyFilter")
# Rules for callers of all versions.
_FOR_ALL = ("default", "weights", "pinned")
_AROUND = ("HorizontalPodAutoscaler", "PodDisruptionBudget")


@dataclass(frozen=True)
class Stage:
    """What is done at once, in this order.

    ``remove_first``: before the rest. ``hand_over``: Deployments, each with the number of pods that an autoscaler
    takes over. ``take_over``: Deployments that go while their pods stay. ``apply``. ``remove``. ``in_turn``:
    Deployments, those of one list when the pods of the list before are gone; ``orphans``: with the first of them all
    ReplicaSets whose Deployment was taken over.
    """

    name: str
    apply: list[Object] = field(default_factory=list)
    remove: list[Object] = field(default_factory=list)
    remove_first: list[Object] = field(default_factory=list)
    hand_over: list[Object] = field(default_factory=list)
    take_over: list[Object] = field(default_factory=list)
    in_turn: list[list[Object]] = field(default_factory=list)
    orphans: bool = False

    @property
    def removed(self) -> list[Object]:
        """All that is taken away by name."""
        return [*self.remove_first, *self.remove, *(item for turn in self.in_turn for item in turn)]


def transition(
    planned: Plan, live: Iterable[Object], orphans: Iterable[Object] = (), delete_claims: Iterable[str] = ()
) -> list[Stage]:
    """Give the stages, in order. ``live``: objects of the release on the cluster. ``orphans``: ReplicaSets of
    Deployments that were taken over. ``delete_claims``: names of claims that may go with their data; ``*``: all.
    """
    return list(_Transition(planned, live, orphans, frozenset(delete_claims)).stages())


def refusals(planned: Plan, live: Iterable[Object], orphans: Iterable[Object] = ()) -> list[Fault]:
    """Find what cannot be changed on a cluster, before it is tried."""
    made = _Transition(planned, live, orphans, frozenset())
    return [*made.claims_refused(), *made.labels_refused()]


def kept_claims(planned: Plan, live: Iterable[Object], delete_claims: Iterable[str] = ()) -> list[str]:
    """Name the claims of the release that its page no longer names, and that stay."""
    made = _Transition(planned, live, (), frozenset(delete_claims))
    return [item["metadata"]["name"] for item in made.rest() if made.stays(item)]


def stays(item: Mapping[str, Any], delete_claims: Iterable[str]) -> bool:
    """Tell whether an object is a claim that nobody has said may go."""
    return item["kind"] == "PersistentVolumeClaim" and not {"*", item["metadata"]["name"]} & set(delete_claims)


class _Transition:
    def __init__(
        self, planned: Plan, live: Iterable[Object], orphans: Iterable[Object], delete_claims: frozenset[str]
    ) -> None:
        self.planned, self.orphans, self.delete_claims = planned, list(orphans), delete_claims
        self.steps = {step.name: step.objects for step in planned.steps}
        self.final = {identity(item): item for item in planned.objects}
        order = [kind for _, kind in KINDS]
        known = sorted((i for i in live if i["kind"] in order), key=lambda i: (order.index(i["kind"]), identity(i)))
        self.live = {identity(item): item for item in known}
        self.services: dict[str, Any] = planned.facts["services"]
        self.hosts = {service["host"]: name for name, service in self.services.items()}

    # What there is, and what is wanted.

    def there(self, kind: str) -> list[Object]:
        """Give the live objects of a kind."""
        return [item for item in self.live.values() if item["kind"] == kind]

    def wanted(self, kind: str) -> list[Object]:
        """Give the planned objects of a kind."""
        return [item for item in self.final.values() if item["kind"] == kind]

    @cached_property
    def pods(self) -> list[dict[str, str]]:
        """Labels of the pods that the release has, one entry for each Deployment."""
        return [labels_of(item) for item in [*self.there("Deployment"), *self.orphans]]

    @cached_property
    def names(self) -> dict[str, str]:
        """Names of versions by their label, for pods that do not say their name themselves."""
        planned = {
            own["label"]: version for service in self.services.values() for version, own in service["versions"].items()
        }
        return {**planned, **versions_by_label(self.live.values())}

    def version_of(self, labels: Mapping[str, str]) -> str:
        """Give the name of the version that pods are of."""
        label = labels.get("version", "")
        return labels.get(VERSION) or self.names.get(label, label)

    def running(self, service: str) -> dict[str, str]:
        """Give the versions of a service that have a Deployment now, each with its label."""
        return {
            self.version_of(labels): labels.get("version", "") for labels in self.pods if labels.get("app") == service
        }

    def unmarked(self, service: str) -> list[str]:
        """List the versions of a service whose pods do not say its name: an older Slipway made them."""
        return [self.version_of(one) for one in self.pods if one.get("app") == service and VERSION not in one]

    def label(self, service: str, version: str) -> str | None:
        """Give the label that pods of a version are to have; None: there is none."""
        own = self.services.get(service, {}).get("versions", {}).get(version)
        return own["label"] if own else None

    def moved(self, service: str) -> bool:
        """Tell whether a label changes from one version of a service to another, or a version's label does."""
        if service not in self.services:
            return False
        wanted = {own["label"]: version for version, own in self.services[service]["versions"].items()}
        return any(
            wanted.get(label, version) != version or (self.label(service, version) or label) != label
            for version, label in self.running(service).items()
        )

    def users(self, service: str) -> set[str]:
        """Give the versions of a service that users may reach now, by the routes that are there."""
        found: set[str] = set()
        for item in self.there("VirtualService"):
            for rule in item["spec"].get("http") or []:
                if ":shadow:" in rule.get("name", ""):
                    continue
                for to in rule.get("route") or []:
                    if self.hosts.get(to["destination"]["host"]) == service:
                        subset = to["destination"].get("subset")
                        found |= {subset} if subset else set(self.running(service))
        return found

    @cached_property
    def copied(self) -> set[tuple[str, str]]:
        """Versions that get copies now: (service, version)."""
        return {
            (self.hosts.get(mirror["destination"]["host"], ""), mirror["destination"].get("subset", ""))
            for item in self.there("VirtualService")
            for rule in item["spec"].get("http") or []
            for mirror in rule.get("mirrors") or []
        }

    def _copied_last(self, service: str, version: str) -> bool:
        """Tell whether copies to a version begin when all that it calls refuses it: users, or nobody, have it now."""
        return has_users(self.live.values()) and (
            (service, version) not in self.copied or version in self.users(service)
        )

    def without_new_copies(self, item: Object) -> Object:
        """Give a VirtualService without the copies that begin last."""
        rules = copy.deepcopy(item["spec"]["http"])
        for rule in rules:
            self._drop_mirrors(rule, self._copied_last)
        return item if rules == item["spec"]["http"] else {**item, "spec": {**item["spec"], "http": rules}}

    def answers_users(self, service: str, version: str) -> bool:
        """Tell whether a version is to answer users."""
        own = self.services.get(service, {}).get("versions", {}).get(version)
        return bool(own) and own["shadow"] is None

    def of_mesh(self, kind: Iterable[Object]) -> dict[str, Object]:
        """Give the VirtualServices for calls inside the mesh by their host."""
        return {item["spec"]["hosts"][0]: item for item in kind if _in_mesh(item)}

    # The stages.

    def stages(self) -> Iterator[Stage]:
        now, later, opened = self.policies()
        peers_now, peers_later = self.peers()
        services = [self.grown_service(item) for item in self.steps.get("services", [])]
        rules = self.wanted("DestinationRule")
        calls, users = self.calls(), self.entries()
        others = [item for item in self.steps.get("policies", []) if item["kind"] == "Telemetry"]
        yield Stage("namespace", self.steps.get("namespace", []))
        yield Stage(
            "prepare",
            [
                *self.steps.get("foundation", []),
                *services,
                *map(self.grown_rule, rules),
                *self.renamed_rules(),
                *now,
                *peers_now,
                *others,
                *map(self.grown_patches, self.patches_of_routes()),
            ],
            opened,
        )
        yield Stage("pin", list(self.pins()))
        workloads = self.workloads()
        late = [item for item in workloads.apply if self.waits_for_what_it_calls(item)]
        yield replace(workloads, apply=[item for item in workloads.apply if item not in late])
        yield Stage(
            "reach",
            [self.without_new_copies(item) for item in self.wanted_calls() if self.is_new(item)] if late else [],
        )
        yield Stage("callers", late)
        yield Stage("calls", calls, list(self.renamed_calls()))
        yield Stage("users", [*self.beside_entries(), *users], [i for i in self.rest() if self.leads_users(i)])
        around, in_turn = self.retired()
        yield Stage("retire", [], around, in_turn=in_turn, orphans=bool(self.orphans or workloads.take_over))
        quiet = map(self.without_new_copies, self.wanted_calls())
        patches = self.patches_of_routes()
        yield Stage("close", [*quiet, *rules, *patches, *later, *peers_later, *self.steps.get("services", [])])
        yield Stage("copies", self.wanted("VirtualService"))
        yield Stage("tidy", self.steps.get("monitoring", []), self.left())

    def rest(self) -> list[Object]:
        """Give the live objects that the plan does not have; the order is that of taking them away."""
        kept = set(self.planned.keep)
        return [item for name, item in self.live.items() if name not in kept and item["kind"] != "Namespace"]

    def stays(self, item: Object) -> bool:
        """Tell whether an object is a claim that stays though the page does not name it."""
        return stays(item, self.delete_claims)

    def leads_users(self, item: Object) -> bool:
        """Tell whether an object is part of how users are routed."""
        return item["kind"] in _OF_USERS and not _in_mesh(item)

    def retired(self) -> tuple[list[Object], list[list[Object]]]:
        """Give what is around the Deployments that go, and these: callers before what they call."""
        around = [i for i in self.rest() if i["kind"] in _AROUND and not self.scales_what_stays(i)]
        turns: dict[int, list[Object]] = {}
        for item in self.rest():
            if item["kind"] == "Deployment":
                turns.setdefault(self.depth(labels_of(item).get("app", "")), []).append(item)
        return around, [turns[depth] for depth in sorted(turns)]

    def depth(self, service: str) -> int:
        """Give how many calls lead to a service at most; services that the plan does not have come after all others."""
        if service not in self.services:
            return len(self.services)
        callers = [name for name, other in self.services.items() if service in other["calls"]]
        return 1 + max(map(self.depth, callers)) if callers else 0

    def scales_what_stays(self, item: Object) -> bool:
        """Tell whether an object is the autoscaler of a Deployment that the plan has."""
        if item["kind"] != "HorizontalPodAutoscaler":
            return False
        target = item["spec"]["scaleTargetRef"]["name"]
        return any(one["metadata"]["name"] == target for one in self.wanted("Deployment"))

    def left(self) -> list[Object]:
        """Give what is taken away last."""
        now, _, opened = self.policies()
        around, in_turn = self.retired()
        retired = [item for turn in in_turn for item in turn]
        before = {identity(item) for item in [*around, *retired, *self.renamed_calls(), *opened]}
        rest = [
            item
            for item in self.rest()
            if not self.leads_users(item)
            and not self.stays(item)
            and not self.scales_what_stays(item)
            and identity(item) not in before
        ]
        known = set(map(identity, rest))
        return [*(item for item in now if _meanwhile(item) and identity(item) not in known), *rest]

    # Services and subsets.

    def grown_service(self, item: Object) -> Object:
        """Give a Service with the ports that the present routes lead to; those of one version by its name."""
        live, spec = self.live.get(identity(item)), item["spec"]
        if live is None or not spec.get("selector") or not live["spec"].get("selector"):
            return item
        main = spec["ports"][0]["targetPort"]
        numbers, names = {port["port"] for port in spec["ports"]}, {port["name"] for port in spec["ports"]}
        kept: list[Object] = []
        for port in live["spec"].get("ports") or []:
            if port["port"] not in numbers and port.get("name") not in names:
                metrics = str(port.get("name", "")).startswith("http-metrics")
                target = port.get("targetPort")
                named = target if isinstance(target, str) else "http-metrics" if metrics else main
                kept.append({**{k: port[k] for k in ("name", "appProtocol", "port") if k in port}, "targetPort": named})
                kept[-1]["protocol"] = "TCP"
        selector = self.by_name(spec["selector"])
        if not kept and selector == spec["selector"]:
            return item
        return {**item, "spec": {**spec, "selector": selector, "ports": [*spec["ports"], *kept]}}

    def by_name(self, labels: dict[str, str]) -> dict[str, str]:
        """Tell pods by the name of their version, where the label "version" means another one before than after."""
        service = labels.get("app", "")
        if "version" not in labels or not self.moved(service):
            return labels
        versions = self.services[service]["versions"]
        version = next((name for name, own in versions.items() if own["label"] == labels["version"]), "")
        return {**{key: value for key, value in labels.items() if key != "version"}, VERSION: version}

    def grown_rule(self, rule: Object) -> Object:
        """Give a DestinationRule with the subsets that the present routes lead to."""
        host = rule["spec"]["host"]
        service = self.hosts[host]
        wanted = {subset["name"]: subset["labels"] for subset in rule["spec"]["subsets"]}
        there = {
            subset["name"]: subset["labels"]
            for live in self.there("DestinationRule")
            if live["spec"]["host"] == host
            for subset in live["spec"].get("subsets") or []
        }
        for version, label in self.running(service).items():
            there.setdefault(version, {"version": label})
        subsets = {**wanted, **{name: labels for name, labels in there.items() if name not in wanted}}
        if self.moved(service):
            subsets = {name: {VERSION: name} for name in subsets}
        if subsets == wanted:
            return rule
        listed = [{"name": name, "labels": dict(labels)} for name, labels in subsets.items()]
        return {**rule, "spec": {**rule["spec"], "subsets": listed}}

    def renamed_rules(self) -> Iterator[Object]:
        """Tell pods by name also where a DestinationRule by another name is there: of two the older one counts."""
        for item in self.there("DestinationRule"):
            service = self.hosts.get(item["spec"]["host"], "")
            if identity(item) not in self.final and self.moved(service):
                subsets = [{**one, "labels": {VERSION: one["name"]}} for one in item["spec"].get("subsets") or []]
                if subsets != item["spec"].get("subsets"):
                    yield _applied(item, {**item["spec"], "subsets": subsets})

    # Who is let in.

    def policies(self) -> tuple[list[Object], list[Object], list[Object]]:
        """Sort policies: applied before new pods, after old ones are gone, and taken away before new pods.

        Several policies let in what any of them does, so one beside what is there only ever adds.
        """
        live = [item for item in self.there("AuthorizationPolicy") if not _meanwhile(item)]
        now: list[Object] = []
        later: list[Object] = []
        for item in self.wanted("AuthorizationPolicy"):
            before = self.live.get(identity(item))
            if before and before["spec"] == item["spec"]:
                later.append(item)
                continue
            meanwhile = self.meanwhile(item)
            runs = [pods for pods in self.pods if _selects(meanwhile, pods)]
            if not runs and before is None and meanwhile["spec"] == item["spec"]:
                now.append(item)
                continue
            later.append(item)
            if before or not runs or any(_selects(one, pods) for one in live for pods in runs):
                now.append(meanwhile)
        opened = [item for item in live if identity(item) not in self.final and self.is_opened(item)]
        now += self.before([item for item in live if item not in opened])
        return now, later, opened

    def is_opened(self, item: Object) -> bool:
        """Tell whether pods that a policy is about are to let in everybody."""
        wanted = self.wanted("AuthorizationPolicy")
        selected = {(one.get("app", ""), self.version_of(one)) for one in self.pods if _selects(item, one)}
        return any(
            (labels["app"], labels[VERSION]) in selected and not any(_selects(one, labels) for one in wanted)
            for labels in map(labels_of, self.wanted("Deployment"))
        )

    def meanwhile(self, item: Object) -> Object:
        """Give a policy for as long as old and new pods of its version are there."""
        metadata = {**item["metadata"], "name": item["metadata"]["name"] + MEANWHILE}
        selector = {"matchLabels": self.by_name(item["spec"]["selector"]["matchLabels"])}
        return {**item, "metadata": metadata, "spec": {**item["spec"], "selector": selector}}

    def before(self, live: Iterable[Object]) -> Iterator[Object]:
        """Give present policies for the pods that are to have another label, too."""
        for item in live:
            labels = (item["spec"].get("selector") or {}).get("matchLabels") or {}
            version = self._name_before(labels.get("app", ""), labels.get("version", ""))
            if version and identity(item) in self.live:
                told = {**{key: value for key, value in labels.items() if key != "version"}, VERSION: version}
                made = _applied(item, {**item["spec"], "selector": {"matchLabels": told}})
                made["metadata"]["name"] += f"-before{MEANWHILE}"
                yield made

    def peers(self) -> tuple[list[Object], list[Object]]:
        """Sort what says whether pods take plain requests: laxer now, stricter later."""
        now: list[Object] = []
        later: list[Object] = []
        for item in self.wanted("PeerAuthentication"):
            before = self.live.get(identity(item))
            stricter = before is not None and before["spec"].get("mtls", {}).get("mode") == "PERMISSIVE"
            (later if stricter else now).append(item)
        return now, later

    # Routes.

    def pins(self) -> Iterator[Object]:
        """Hold the present routes to the versions that they lead to now, before others have pods."""
        for item in self.there("VirtualService"):
            pinned = self.pinned(item)
            if pinned["http"] != item["spec"].get("http"):
                yield _applied(item, pinned)
        there = self.of_mesh(self.there("VirtualService"))
        for host, item in self.of_mesh(self.wanted("VirtualService")).items():
            running = list(self.running(self.hosts[host]))
            if host in there or not running:
                continue
            if self.services[self.hosts[host]]["versions"].keys() <= set(running):
                yield self.without_new_copies(item)
                continue
            default = item["spec"]["http"][-1]["route"][0]["destination"]["subset"]
            version = default if default in running else running[0]
            # Without a port it is the one that was asked.
            to = {"destination": {"host": host, "subset": version}}
            yield _applied(item, {**item["spec"], "http": [{"name": f"{host}:pinned", "route": [to]}]})

    def is_new(self, item: Object) -> bool:
        """Tell whether the planned route for calls leads to a service of which nothing is there yet."""
        host = item["spec"]["hosts"][0]
        return host not in self.of_mesh(self.there("VirtualService")) and not self.running(self.hosts[host])

    def waits_for_what_it_calls(self, item: Object) -> bool:
        """Tell whether a Deployment gets users as soon as its pods are Ready, and calls a service that is new."""
        labels = labels_of(item) if item["kind"] == "Deployment" else {}
        service = labels.get("app", "")
        ready = {labels_of(one)["app"] for one in self.there("Deployment") if _answers(one)}
        new = set(self.services.get(service, {"calls": []})["calls"]) - ready
        return bool(new) and labels[VERSION] in self.users(service)

    def only_version(self, service: str) -> str:
        """Give the version that a service has now, where it is one and another is to come; else nothing."""
        running = list(self.running(service))
        wanted = set(self.services.get(service, {}).get("versions", {}))
        return running[0] if len(running) == 1 and wanted - set(running) else ""

    def pinned(self, item: Object) -> Object:
        """Give the spec of a VirtualService, pinned: subsets named, no copies to what is to answer users."""
        spec: Object = copy.deepcopy(item["spec"])
        for rule in spec.get("http") or []:
            self._pin(rule)
        return spec

    def _pin(self, rule: Object) -> Object:
        for to in rule.get("route") or []:
            version = self.only_version(self.hosts.get(to["destination"]["host"], ""))
            if "subset" not in to["destination"] and version:
                to["destination"]["subset"] = version
        self._drop_mirrors(rule, self.answers_users)
        _by_names(rule, self._name_before)
        return rule

    def _drop_mirrors(self, rule: Object, unwanted: Callable[[str, str], bool]) -> None:
        mirrors = rule.get("mirrors")
        if mirrors is None:
            return
        kept: list[Object] = []
        for mirror in mirrors:
            service, version = self.hosts.get(mirror["destination"]["host"], ""), mirror["destination"].get("subset")
            if not (version and unwanted(service, version)):
                kept.append(mirror)
        if kept:
            rule["mirrors"] = kept
        else:
            del rule["mirrors"]

    def _name_before(self, service: str, label: str) -> str:
        """Give the version that a label of a caller means on pods of before; empty: the label will do."""
        if not self.moved(service):
            return ""
        return next((version for version, known in self.running(service).items() if known == label), "")

    def _name_after(self, service: str, label: str) -> str:
        if not self.moved(service):
            return ""
        versions = self.services[service]["versions"]
        return next((version for version, own in versions.items() if own["label"] == label), "")

    def wanted_calls(self) -> list[Object]:
        """Give the planned routes for calls."""
        return [item for item in self.wanted("VirtualService") if _in_mesh(item)]

    def wanted_entries(self) -> list[Object]:
        """Give the planned routes for users."""
        return [item for item in self.wanted("VirtualService") if not _in_mesh(item)]

    def beside_entries(self) -> list[Object]:
        """Give what belongs to the routes of users beside the routes."""
        before = self.patches_of_routes()
        return [
            item for item in self.steps.get("routes", []) if item["kind"] != "VirtualService" and item not in before
        ]

    def patches_of_routes(self) -> list[Object]:
        """Give the EnvoyFilters that go by the names of routes: they do nothing until these are there."""
        return [
            item
            for item in self.wanted("EnvoyFilter")
            if all(patch["applyTo"] == "HTTP_ROUTE" for patch in item["spec"]["configPatches"])
        ]

    def grown_patches(self, item: Object) -> Object:
        """Give an EnvoyFilter that patches the present routes too."""
        live, patches = self.live.get(identity(item)), item["spec"]["configPatches"]
        matched = [patch["match"] for patch in patches]
        more = [one for one in live["spec"]["configPatches"] if one["match"] not in matched] if live else []
        return {**item, "spec": {**item["spec"], "configPatches": [*patches, *more]}} if more else item

    def calls(self) -> list[Object]:
        """Give the routes for calls with what callers need whose version users may still have."""
        there = {**self.of_mesh(self.there("VirtualService")), **self.of_mesh(self.pins())}
        return [self.grown_calls(item, there.get(item["spec"]["hosts"][0])) for item in self.wanted_calls()]

    def grown_calls(self, item: Object, live: Object | None) -> Object:
        """Give the route of one service: of callers whose version goes, or gets only copies, the present rules."""
        rules = copy.deepcopy(item["spec"]["http"])
        rules = [rule for rule in rules if not self._refuses_users(rule["name"])]
        for rule in rules:
            self._drop_mirrors(rule, self._copied_last)
            _by_names(rule, self._name_after)
        kept: list[Object] = []
        stay = {name for service in self.services for name in self._user_versions(service)}
        for rule in copy.deepcopy(live["spec"].get("http") or []) if live else []:
            how = last_of(rule)
            if how in _FOR_ALL:
                kept += self._for_leaving(self._pin(rule))
            elif how not in {*stay, "metrics"} and rule.get("name") not in {one["name"] for one in rules}:
                kept.append(self._pin(rule))
        grown = [*kept, *rules]
        return item if grown == item["spec"]["http"] else {**item, "spec": {**item["spec"], "http": grown}}

    def _leaving(self) -> Iterator[dict[str, str]]:
        """Give the pods, by their labels, whose version answers users and is not to any more."""
        for labels in self.pods:
            service, version = labels.get("app", ""), self.version_of(labels)
            if not self.answers_users(service, version) and (service not in self.services or self.reached(labels)):
                yield labels

    def reached(self, labels: Mapping[str, str]) -> bool:
        """Tell whether users may reach these pods now."""
        return self.version_of(labels) in self.users(labels.get("app", ""))

    def _for_leaving(self, rule: Object) -> Iterator[Object]:
        """Make of a rule for all callers one for each version that goes."""
        for labels in self._leaving():
            service, version = labels.get("app", ""), self.version_of(labels)
            told = {VERSION: version} if self.moved(service) else {"version": labels.get("version", "")}
            match = [{**one, "sourceLabels": {"app": service, **told}} for one in rule.get("match") or [{}]]
            yield {**rule, "name": f"{rule.get('name', '')}:{service}:{version}", "match": match}

    def _refuses_users(self, name: str) -> bool:
        """Tell whether a rule is for calls of copies by a version that users may still have."""
        _, shadow, rest = name.partition(":shadow:")
        caller, _, version = rest.rpartition(":")
        return bool(shadow) and version in self.users(caller)

    def _user_versions(self, service: str) -> list[str]:
        return [version for version in self.services[service]["versions"] if self.answers_users(service, version)]

    def renamed_calls(self) -> Iterator[Object]:
        """Give the present routes for calls that another object takes the place of: of two the older one counts."""
        wanted = self.of_mesh(self.wanted("VirtualService"))
        for host, item in self.of_mesh(self.there("VirtualService")).items():
            if host in wanted and identity(item) not in self.final:
                yield item

    def entries(self) -> list[Object]:
        """Give the routes of users: without copies to versions that have users, and at the present Gateways too."""
        gone = {item["metadata"]["name"] for item in self.there("Gateway") if identity(item) not in self.final}
        made = []
        for item in self.wanted_entries():
            spec = copy.deepcopy(self.without_new_copies(item)["spec"])
            for live in self.there("VirtualService"):
                if not _in_mesh(live) and set(live["spec"]["hosts"]) & set(spec["hosts"]):
                    more = [name for name in live["spec"].get("gateways") or [] if name in gone]
                    spec["gateways"] = list(dict.fromkeys([*spec["gateways"], *more]))
            made.append(item if spec == item["spec"] else {**item, "spec": spec})
        return made

    # Pods.

    def workloads(self) -> Stage:
        """Give what makes pods: numbers of pods change hands first, Deployments that cannot be changed go."""
        hand_over, take_over = [], []
        for item in self.wanted("Deployment"):
            live = self.live.get(identity(item))
            if live is None:
                continue
            if live["spec"]["selector"] != item["spec"]["selector"]:
                take_over.append(live)
            elif "replicas" not in item["spec"] and _owns_replicas(live):
                number = {"spec": {"replicas": live["spec"].get("replicas", 1)}}
                metadata = {key: item["metadata"][key] for key in ("name", "namespace")}
                hand_over.append(
                    {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata, **number}
                )
        scalers = [item for item in self.rest() if self.scales_what_stays(item)]
        return Stage(
            "workloads",
            self.steps.get("workloads", []),
            remove_first=scalers,
            hand_over=hand_over,
            take_over=take_over,
        )

    # What cannot be.

    def claims_refused(self) -> Iterator[Fault]:
        """Find what of a claim cannot be changed."""
        for item in self.wanted("PersistentVolumeClaim"):
            live = self.live.get(identity(item))
            if live is None:
                continue
            name, spec, before = item["metadata"]["name"], item["spec"], live["spec"]
            key: Key = ("volumes", name)
            of_class = before.get("storageClassName", "")
            if spec.get("storageClassName", of_class) != of_class:
                what = f"is {of_class} on the cluster, and a claim keeps its StorageClass"
                yield Fault((*key, "storage_class"), what, f"storage_class: {of_class}, or a volume of another name")
            if spec["accessModes"] != before["accessModes"]:
                what = f"is {', '.join(before['accessModes'])} on the cluster, and a claim keeps it"
                yield Fault((*key, "access"), what, f"access: {before['accessModes'][0]}, or a volume of another name")
            size, had = (one["resources"]["requests"]["storage"] for one in (spec, before))
            if amount(str(size)) < amount(str(had)):
                what = f"is smaller than the {had} on the cluster, and no claim shrinks"
                yield Fault((*key, "size"), what, f"size: {had}, or a volume of another name")

    def labels_refused(self) -> Iterator[Fault]:
        """Find labels that change hands between pods that do not say which version they are."""
        for service in self.services:
            if self.moved(service) and self.unmarked(service):
                yield Fault(
                    ("version_labels",),
                    f"moves labels of {service} between pods that an older Slipway made, which cannot be told apart",
                    "first release this page with the labels as they were, then with these",
                )
                return


def due(stages: Iterable[Stage], differs: Callable[[Object], bool], *, busy: bool) -> dict[str, dict[str, Any]]:
    """Leave out of each stage what need not be done, and stages of which nothing is left; as plain values, by name.

    ``differs``: whether an object is another one on the cluster. ``busy``: users have routes. ``settle``: every proxy
    has to have learned what was changed before, and pods that go have to be gone.
    """
    made: dict[str, dict[str, Any]] = {}
    last: dict[str, Object] = {}
    for stage in stages:
        apply = [i for i in stage.apply if (last[identity(i)] != i if identity(i) in last else differs(i))]
        last.update((identity(item), item) for item in apply)
        parts: dict[str, list[Object]] = {
            "remove_first": [reference(item) for item in stage.remove_first],
            "hand_over": stage.hand_over,
            "take_over": [reference(item) for item in stage.take_over],
            "apply": apply,
            "remove": [reference(item) for item in stage.remove],
        }
        in_turn = [[reference(item) for item in turn] for turn in stage.in_turn]
        if any(parts.values()) or in_turn or stage.orphans:
            shrinks = stage.name in ("retire", "close", "copies") or (stage.name == "tidy" and bool(stage.remove))
            after = set(made) - {"namespace"} and stage.name not in ("prepare", "tidy")
            more = {"in_turn": in_turn, "orphans": stage.orphans}
            made[stage.name] = {**parts, **more, "settle": busy and bool(shrinks or after)}
    return made


def reference(item: Mapping[str, Any]) -> Object:
    """Give the part of an object that names it."""
    metadata = {key: item["metadata"][key] for key in ("name", "namespace") if item["metadata"].get(key)}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata}


def has_users(live: Iterable[Object]) -> bool:
    """Tell whether the release has routes for users on the cluster."""
    return any(item["kind"] == "VirtualService" and not _in_mesh(item) for item in live)


def versions_by_label(live: Iterable[Object]) -> dict[str, str]:
    """Give the names of versions by their label, as the subsets of DestinationRules say them."""
    return {
        subset["labels"]["version"]: subset["name"]
        for rule in live
        if rule["kind"] == "DestinationRule"
        for subset in rule["spec"].get("subsets") or []
        if "version" in (subset.get("labels") or {})
    }


def last_of(rule: Mapping[str, Any]) -> str:
    """Give the last part of a rule's name: a version, or how one is found."""
    return str(rule.get("name", "")).removesuffix(AGAIN).rpartition(":")[2]


def labels_of(item: Mapping[str, Any]) -> dict[str, str]:
    """Give the labels of a workload's pods."""
    return dict(item["spec"]["template"]["metadata"].get("labels") or {})


def _in_mesh(item: Mapping[str, Any]) -> bool:
    return item["kind"] == "VirtualService" and (item["spec"].get("gateways") or ["mesh"]) == ["mesh"]


def _meanwhile(item: Mapping[str, Any]) -> bool:
    return str(item["metadata"]["name"]).endswith(MEANWHILE)


def _selects(item: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    wanted = (item["spec"].get("selector") or {}).get("matchLabels") or {}
    return bool(wanted.items() <= labels.items())


def _answers(item: Mapping[str, Any]) -> bool:
    """Tell whether a Deployment has pods that are Ready; one that says nothing of them has."""
    return "status" not in item or bool(item["status"].get("availableReplicas"))


def _owns_replicas(live: Mapping[str, Any]) -> bool:
    """Tell whether the number of pods is what this toolkit applied."""
    return any(
        entry.get("manager") == "slipway" and "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
        for entry in live["metadata"].get("managedFields") or []
        if not entry.get("subresource")
    )


def _by_names(rule: Object, name: Callable[[str, str], str]) -> None:
    """Tell callers by the name of their version, where ``name`` knows one for their label."""
    for match in rule.get("match") or []:
        labels = match.get("sourceLabels") or {}
        found = name(labels.get("app", ""), labels["version"]) if "version" in labels else ""
        if found:
            match["sourceLabels"] = {**{k: v for k, v in labels.items() if k != "version"}, VERSION: found}


def _applied(item: Object, spec: Object) -> Object:
    """Give an object as it is applied, with another spec."""
    metadata = {key: item["metadata"][key] for key in ("name", "namespace", "labels") if key in item["metadata"]}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata, "spec": spec}
