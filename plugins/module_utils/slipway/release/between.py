"""What two pages of a release have in common on a cluster, and what leads requests from one to the other. Pure.

While old and new pods are there, a Service has the ports, a DestinationRule the subsets, and a VirtualService the rules
that either of the pages needs; pods are told by the name of their version where the label "version" changes hands.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from ..cluster.objects import identity
from . import backends
from .live import (
    WORKLOADS,
    answers,
    applied,
    by_names,
    has_users,
    in_mesh,
    labels_of,
    last_of,
    told_by_name,
    versions_by_label,
)
from .objects import KINDS
from .planner import Plan
from .render import Object
from .workload import VERSION

# Rules for callers of all versions.
_FOR_ALL = ("default", "weights", "pinned")


class Between:
    """A plan, and the objects of its release that are there. ``orphans``: ReplicaSets that were taken over."""

    def __init__(self, planned: Plan, live: Iterable[Object], orphans: Iterable[Object] = ()) -> None:
        self.planned, self.orphans = planned, list(orphans)
        self.steps = {step.name: step.objects for step in planned.steps}
        self.final = {identity(item): item for item in planned.objects}
        # They have an order of their own.
        self.apart = set(map(identity, self.steps.get("outside", [])))
        order = [kind for _, kind in KINDS]
        known = sorted((i for i in live if i["kind"] in order), key=lambda i: (order.index(i["kind"]), identity(i)))
        self.live = {identity(item): item for item in known}
        self.services: dict[str, Any] = planned.facts["services"]
        self.hosts = {service["host"]: name for name, service in self.services.items()}
        self.domain = next(iter(self.hosts), "").partition(".svc.")[2]

    # What there is, and what is wanted.

    def there(self, *kinds: str) -> list[Object]:
        """Give the live objects of these kinds."""
        return [item for item in self.live.values() if item["kind"] in kinds]

    def wanted(self, *kinds: str) -> list[Object]:
        """Give the planned objects of these kinds, without those of what is outside."""
        return [item for name, item in self.final.items() if item["kind"] in kinds and name not in self.apart]

    @cached_property
    def pods(self) -> list[dict[str, str]]:
        """Labels of the pods that the release has, one entry for each Deployment or StatefulSet."""
        return [labels_of(item) for item in [*self.there(*WORKLOADS), *self.orphans]]

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
        for item in self.routes:
            for rule in item["spec"].get("http") or []:
                if ":shadow:" in rule.get("name", ""):
                    continue
                for to in rule.get("route") or []:
                    if self.hosts.get(to["destination"]["host"]) == service:
                        subset = to["destination"].get("subset")
                        found |= {subset} if subset else set(self.running(service))
        return found

    @cached_property
    def routes(self) -> list[Object]:
        """Give the routes that are there, those of the Gateway API as VirtualServices."""
        more = [backends.seen(item, self.domain) for item in self.there(backends.KIND)]
        return [*self.there("VirtualService"), *more]

    @cached_property
    def copied(self) -> set[tuple[str, str]]:
        """Versions that get copies now: (service, version)."""
        return {
            (self.hosts.get(mirror["destination"]["host"], ""), mirror["destination"].get("subset", ""))
            for item in self.routes
            for rule in item["spec"].get("http") or []
            for mirror in rule.get("mirrors") or []
        }

    def _copied_last(self, service: str, version: str) -> bool:
        """Tell whether copies to a version begin when all that it calls refuses it: users, or nobody, have it now."""
        return has_users(self.live.values()) and (
            (service, version) not in self.copied or version in self.users(service)
        )

    def without_new_copies(self, item: Object) -> Object:
        """Give a route without the copies that begin last."""
        if item["kind"] == backends.KIND:
            return backends.without_mirrors(item, self._leads_to(self._copied_last))
        rules = copy.deepcopy(item["spec"]["http"])
        for rule in rules:
            self._drop_mirrors(rule, self._copied_last)
        return item if rules == item["spec"]["http"] else {**item, "spec": {**item["spec"], "http": rules}}

    def _leads_to(self, unwanted: Callable[[str, str], bool]) -> Callable[[str, str], bool]:
        """Ask the same of the name of a Service, as routes of the Gateway API have it, and a version."""
        services = {host.partition(".")[0]: service for host, service in self.hosts.items()}
        return lambda name, version: unwanted(services.get(name, ""), version)

    def answers_users(self, service: str, version: str) -> bool:
        """Tell whether a version is to answer users."""
        own = self.services.get(service, {}).get("versions", {}).get(version)
        return bool(own) and own["shadow"] is None

    def of_mesh(self, kind: Iterable[Object]) -> dict[str, Object]:
        """Give the VirtualServices for calls inside the mesh by their host."""
        return {item["spec"]["hosts"][0]: item for item in kind if in_mesh(item)}

    # Services and subsets.

    def grown_service(self, item: Object) -> Object:
        """Give a Service with the ports that the present routes lead to; those of one version by its name."""
        live, spec = self.live.get(identity(item), item), item["spec"]
        if not spec.get("selector") or not live["spec"].get("selector"):
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
        return told_by_name(labels, version)

    def renamed_backends(self) -> Iterator[Object]:
        """Tell pods by name behind Services of versions that go: present routes lead there until they are gone."""
        for item in self.there("Service"):
            labels = item["spec"].get("selector") or {}
            version = self.name_before(labels.get("app", ""), labels.get("version", ""))
            if backends.is_one(item) and identity(item) not in self.final and version:
                yield applied(item, {"selector": told_by_name(labels, version), "ports": backends.own_ports(item)})

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
                    yield applied(item, {**item["spec"], "subsets": subsets})

    # Routes.

    def pins(self) -> Iterator[Object]:
        """Hold the present routes to the versions that they lead to now, before others have pods."""
        for item in self.there("VirtualService"):
            pinned = self.pinned(item)
            if pinned["http"] != item["spec"].get("http"):
                yield applied(item, pinned)
        for item in self.there(backends.KIND):
            without = backends.without_mirrors(item, self._leads_to(self.answers_users))
            if without != item:
                yield applied(item, without["spec"])
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
            yield applied(item, {**item["spec"], "http": [{"name": f"{host}:pinned", "route": [to]}]})

    def waits_for_what_it_calls(self, item: Object) -> bool:
        """Tell whether a Deployment gets users as soon as its pods are Ready, and calls what is not as it is to be."""
        labels = labels_of(item) if item["kind"] in WORKLOADS else {}
        service, version = labels.get("app", ""), labels.get(VERSION, "")
        if version not in self.users(service):
            return False
        there = [labels_of(one) for one in self.there(*WORKLOADS) if answers(one)]
        ready = {(one["app"], self.version_of(one)) for one in there}
        return any(
            callee in self.rerouted or (callee, self.serving(callee, version)) not in ready
            for callee in self.called_by(service)
        )

    def called_by(self, service: str) -> set[str]:
        """Give the services that a service calls, and that these call."""
        direct = set(self.services[service]["calls"])
        return direct.union(*map(self.called_by, direct))

    @cached_property
    def rerouted(self) -> set[str]:
        """Services whose routes for calls are others than they are to be."""
        there = self.of_mesh(self.there("VirtualService"))
        wanted = self.of_mesh(self.wanted("VirtualService"))
        nothing: Object = {"spec": {"http": []}}
        return {
            self.hosts[host]
            for host, item in wanted.items()
            if there.get(host, nothing)["spec"].get("http") != item["spec"]["http"]
        }

    def is_demoted(self, item: Object) -> bool:
        """Tell whether a Deployment has users now, and is to get copies alone."""
        labels = labels_of(item) if item["kind"] in WORKLOADS else {}
        service, version = labels.get("app", ""), labels.get(VERSION, "")
        return version in self.users(service) and not self.answers_users(service, version)

    def serving(self, service: str, version: str) -> str:
        """Give the version of a service that is to answer calls of a version."""
        users = self._user_versions(service)
        return version if version in users else users[0]

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
        by_names(rule, self.name_before)
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

    def name_before(self, service: str, label: str) -> str:
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
        return [item for item in self.wanted("VirtualService") if in_mesh(item)]

    def wanted_entries(self) -> list[Object]:
        """Give the planned routes for users."""
        return [item for item in self.wanted("VirtualService") if not in_mesh(item)]

    def beside_entries(self) -> list[Object]:
        """Give what belongs to the routes of users beside the routes."""
        before = self.patches_of_routes()
        routes = ("VirtualService", backends.KIND)
        return [item for item in self.steps.get("routes", []) if item["kind"] not in routes and item not in before]

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
            by_names(rule, self._name_after)
        kept: list[Object] = []
        for rule in copy.deepcopy(live["spec"].get("http") or []) if live else []:
            how = last_of(rule)
            if how in _FOR_ALL:
                kept += self._for_leaving(self._pin(rule))
            elif self._still_needed(rule) and rule.get("name") not in {one["name"] for one in rules}:
                kept.append(self._pin(rule))
        grown = [*kept, *rules]
        return item if grown == item["spec"]["http"] else {**item, "spec": {**item["spec"], "http": grown}}

    def _still_needed(self, rule: Object) -> bool:
        """Tell whether a present rule is for callers that are not to answer users."""
        _, shadow, caller = str(rule.get("name", "")).partition(":shadow:")
        if shadow:
            service, _, version = caller.rpartition(":")
            return not self.answers_users(service, version)
        stay = {name for service in self.services for name in self._user_versions(service)}
        return last_of(rule) not in {*stay, "metrics"}

    def _leaving(self) -> Iterator[dict[str, str]]:
        """Give the pods, by their labels, whose version answers users and is not to any more."""
        for labels in self.pods:
            service, version = labels.get("app", ""), self.version_of(labels)
            has = self.reached(labels) if service in self.services else labels.get("traffic") != "shadow"
            if has and not self.answers_users(service, version):
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
        made = [self.without_new_copies(item) for item in self.wanted(backends.KIND)]
        for item in self.wanted_entries():
            spec = copy.deepcopy(self.without_new_copies(item)["spec"])
            for live in self.there("VirtualService"):
                if not in_mesh(live) and set(live["spec"]["hosts"]) & set(spec["hosts"]):
                    more = [name for name in live["spec"].get("gateways") or [] if name in gone]
                    spec["gateways"] = list(dict.fromkeys([*spec["gateways"], *more]))
            made.append(item if spec == item["spec"] else {**item, "spec": spec})
        return made
