"""From objects as they are to a plan: whose they are, in which namespace, in which order. Pure: no cluster is asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cluster.objects import identity
from ..page.form import Fault
from ..release.objects import OF_NAMESPACE
from ..release.planner import Plan, Step
from ..release.render import render
from . import aliases, gateway_api, ingresses, kinds, oci
from .hooks import Hook, sort
from .ingresses import Entrance
from .keys import ORIGINS, Contents
from .reading import Read
from .source import Source

Object = dict[str, Any]
# (apiVersion, kind) → is it of a namespace? None: nobody knows the kind.
Scope = Callable[[str, str], bool | None]

OF_RELEASE, MANAGED = "slipway.io/release", "app.kubernetes.io/managed-by"
# On a Job: the sum of all that it was run for.
RUN_FOR = "slipway.io/run-for"
RECORD = "slipway-contents-{}"
_LEVEL = "pod-security.kubernetes.io/"


@dataclass(frozen=True)
class Known:
    """What has to be known of the cluster.

    ``foreign``: namespaces of others. ``definitions``: CustomResourceDefinitions that are there and somebody else's.
    ``record``: data of what an earlier run has noted; None: there is none.
    """

    foreign: frozenset[str] = frozenset()
    definitions: frozenset[str] = frozenset()
    record: Mapping[str, str] | None = None
    # Who sees to Alertmanagers, as namespace/serviceaccount.
    operator: str = "monitoring/prometheus-operator"
    entrance: Entrance = field(default_factory=Entrance)
    # Services of others, by namespace and name; None: nobody was asked.
    services: frozenset[tuple[str, str]] | None = None
    domain: str = "cluster.local"


@dataclass(frozen=True)
class Made:
    """A plan, and what is done beside it.

    ``hooks``: those of this release; ``due``: those that this change has to run. ``secrets``: applied apart, so that
    nobody sees what they hold. ``sources``: file of each object, by identity. ``beside``: what the mesh itself makes of
    Ingresses that are applied as they are.
    """

    planned: Plan
    hooks: list[Hook]
    due: list[Hook]
    secrets: list[Object]
    sources: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    sum: str = ""
    beside: list[Object] = field(default_factory=list)

    @property
    def objects(self) -> list[Object]:
        """Everything that the contents have, Secrets and hooks too."""
        return [*self.planned.objects, *self.secrets, *(hook.item for hook in self.hooks)]


def origin(page: Contents) -> str:
    """Name the key that the objects come from."""
    return next(key for key in ORIGINS if getattr(page, key))


def plan(page: Contents, source: Source, scope: Scope, known: Known | None = None) -> Made:
    """Plan the release of ``source``."""
    return _Planner(page, source, scope, known or Known()).made()


class _Planner:
    def __init__(self, page: Contents, source: Source, scope: Scope, known: Known) -> None:
        self.page, self.source, self.scope, self.known = page, source, scope, known
        self.namespace = page.namespace or page.name
        self.key = (origin(page),)
        self.faults: list[Fault] = []
        self.warnings: list[str] = list(source.warnings)
        self.sources: dict[str, str] = {}
        self.own_scopes = kinds.scopes(read.item for read in source.read)
        self.selector = {OF_RELEASE: page.name, OF_NAMESPACE: self.namespace}
        self.labels = {MANAGED: "slipway", **self.selector}

    def made(self) -> Made:
        self.faults += self.moved()
        sorted_out = sort(self.source.read)
        self.faults += sorted_out.faults
        if sorted_out.tests:
            self.warnings.append(f"left out, because only `helm test` runs it: {', '.join(sorted_out.tests)}")
        entered = self.entered(list(self.placed(sorted_out.plain)))
        plain = entered.objects
        hooks = [
            Hook(**{**vars(hook), "item": item})
            for hook in sorted_out.hooks
            for item in self.placed([Read(hook.item, hook.source)])
        ]
        summed = digest([*plain, *(hook.item for hook in hooks)])
        hooks = [Hook(**{**vars(hook), "item": self.noted(hook.item, summed)}) for hook in hooks]
        plain = [self.noted(item, digest([item])) if item["kind"] == "Job" else item for item in plain]
        secrets = [item for item in plain if item["kind"] == "Secret"]
        # What these lead to comes and goes without the contents, and runs no hook.
        applied = [item for item in plain if item["kind"] != "Secret"] + self.aliases([*plain, *entered.beside])
        steps = self.steps(applied, summed, [*plain, *hooks])
        made = {identity(item) for step in steps for item in step.objects}
        used = [identity(item) for item in [*secrets, *(hook.item for hook in hooks)]]
        planned = Plan(
            release=self.page.name,
            namespace=self.namespace,
            steps=steps,
            secrets=self.declared(),
            selector=self.selector,
            facts={},
            warnings=self.warnings,
            labels=self.labels,
            places=dict.fromkeys({*made, *used}, self.key),
            used=used,
        )
        return Made(planned, hooks, self.due(hooks, summed), secrets, self.sources, self.faults, summed, entered.beside)

    def entered(self, items: list[Object]) -> ingresses.Entered:
        """Give the objects with what becomes of their Ingresses."""
        entered = ingresses.enter(items, self.known.entrance, self.page.name, self.namespace, self.labels)
        self.warnings += entered.told
        self.faults += ingresses.faults(entered, self.sources, self.key[0])
        for item, ingress in entered.made:
            name = identity(item)
            if name in self.sources:
                what = f"has {name}, which {identity(ingress)} becomes, too"
                self.faults.append(Fault("duplicate-object", self.key, what, "another name for one of the two"))
            self.sources[name] = self.sources.get(identity(ingress), "")
        return entered

    def moved(self) -> Iterator[Fault]:
        """Refuse a tag that was another chart when it was released, by whomever, unless the page says which it is."""
        name, _, digest = self.source.reference.partition("@")
        before = str((self.known.record or {}).get("chart", "")).partition("@")
        pinned = self.page.chart is not None and "@" in self.page.chart.path
        if digest and before[0] == name and before[2] not in ("", digest) and not pinned:
            yield oci.changed(name, before[2], digest)

    def aliases(self, items: list[Object]) -> list[Object]:
        """Make the Services that routes expect of subcharts that are off."""
        if self.known.services is None:
            return []
        own = {item["metadata"]["name"] for item in items if item["kind"] == "Namespace"} - self.known.foreign
        found = aliases.find(items, self.known.services, own | {self.namespace}, self.known.domain)
        self.warnings += [text for alias in found for text in alias.told]
        return list(aliases.objects(found, self.labels, self.known.domain))

    def declared(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "existing": secret.existing,
                "keys": {key: one.model_dump(exclude_defaults=True) for key, one in secret.keys.items()},
            }
            for name, secret in self.page.secrets.items()
        ]

    def placed(self, read: list[Read]) -> Iterator[Object]:
        """Give objects with their namespace and whose they are; what cannot be is a fault."""
        elsewhere: dict[str, list[str]] = {}
        for one in read:
            item = one.item
            version, kind, metadata = item["apiVersion"], item["kind"], item["metadata"]
            inside = self.own_scopes.get((kinds.group(version), kind))
            inside = self.scope(version, kind) if inside is None else inside
            if inside is None:
                where = f" ({one.source})" if one.source else ""
                what = f"has {kind} {metadata['name']}{where}, and this cluster does not know {kind} of {version}"
                works = "a chart that brings its definition in crds/, or the part of the cluster that has it"
                works = "cluster_gateway_api: true on the page of the cluster" if gateway_api.is_of(item) else works
                self.faults.append(Fault("unknown-kind", self.key, what, works))
                continue
            namespace = {"namespace": metadata.get("namespace") or self.namespace} if inside else {}
            if inside and namespace["namespace"] != self.namespace:
                elsewhere.setdefault(namespace["namespace"], []).append(f"{kind} {metadata['name']}")
            labels = {**(metadata.get("labels") or {}), **self.labels}
            rest = {key: value for key, value in metadata.items() if key not in ("labels", "namespace")}
            made = {**item, "metadata": {**rest, **namespace, "labels": labels}}
            name = identity(made)
            if name in self.sources:
                what = f"has {name} twice: in {self.sources[name] or 'one file'} and in {one.source or 'another'}"
                self.faults.append(Fault("duplicate-object", self.key, what, "one of the two"))
                continue
            self.sources[name] = one.source
            yield made
        for space, names in elsewhere.items():
            self.warnings.append(
                f"{', '.join(names)}: named for namespace {space}, and made there, not in {self.namespace}"
            )

    def noted(self, item: Object, summed: str) -> Object:
        metadata = item["metadata"]
        return {
            **item,
            "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), RUN_FOR: summed}},
        }

    def due(self, hooks: list[Hook], summed: str) -> list[Hook]:
        """Give the hooks to run: where anything of the release is another one than the last time."""
        record = self.known.record
        if record is not None and record.get("sum") == summed:
            return []
        return [hook for hook in hooks if (hook.installs if record is None else hook.upgrades)]

    def steps(self, items: list[Object], summed: str, all_of_it: list[Any]) -> list[Step]:
        sorted_out: dict[str, list[Object]] = {
            name: [] for name in ("namespace", "foundation", "workloads", "routes", "monitoring")
        }
        for item in items:
            if item["kind"] == "CustomResourceDefinition" and item["metadata"]["name"] in self.known.definitions:
                self.warnings.append(f"{identity(item)} is there already and somebody else's: it stays as it is")
            elif item["kind"] != "Namespace" or item["metadata"]["name"] not in self.known.foreign:
                sorted_out[_step(item)].append(item)
        sorted_out["foundation"] += list(self.rights(items))
        spaces = sorted_out["namespace"]
        own = [item for item in spaces if item["kind"] == "Namespace" and item["metadata"]["name"] == self.namespace]
        if not own and self.namespace not in self.known.foreign:
            spaces.insert(0, self.space())
        used = [hook.item if isinstance(hook, Hook) else hook for hook in all_of_it]
        sorted_out["record"] = [self.record(used, summed)]
        waits = [
            {"apiVersion": item["apiVersion"], "kind": item["kind"], **_place(item), "condition": "Available"}
            for item in sorted_out["workloads"]
            if item["kind"] in kinds.WORKLOADS
        ]
        return [Step(name, found, waits if name == "workloads" else []) for name, found in sorted_out.items() if found]

    def rights(self, items: list[Object]) -> Iterator[Object]:
        """Let the cluster's operator see to an Alertmanager, which it may only where it is told so."""
        spaces = {item["metadata"]["namespace"] for item in items if item["kind"] == "Alertmanager"}
        namespace, _, account = self.known.operator.partition("/")
        for space in sorted(spaces):
            operator = {"namespace": namespace, "account": account}
            name = f"{self.page.name}-alertmanager"
            given = {"name": name, "namespace": space, "labels": self.labels, "operator": operator}
            yield from render("alertmanager-rights", **given)

    def space(self) -> Object:
        labels = {**self.labels, f"{_LEVEL}enforce": "privileged", f"{_LEVEL}warn": "baseline"}
        labels |= {f"{_LEVEL}audit": "baseline", **({"istio-injection": "enabled"} if self.page.sidecars else {})}
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}

    def record(self, items: list[Object], summed: str) -> Object:
        """Note what was applied: a later run finds kinds by it that nothing else knows of."""
        known = {(kinds.group(version), kind) for version, kind in kinds.listed()}
        more = sorted(
            {
                f"{item['apiVersion']} {item['kind']}"
                for item in items
                if (kinds.group(item["apiVersion"]), item["kind"]) not in known and item["kind"] not in kinds.KEPT
            }
        )
        data = {"sum": summed, "source": self.source.about or self.key[0], "kinds": "\n".join(more)}
        data |= {"chart": self.source.reference} if self.source.reference else {}
        metadata = {"name": RECORD.format(self.page.name), "namespace": self.namespace, "labels": self.labels}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def record_of(live: Iterable[Object], name: str) -> Mapping[str, str] | None:
    """Give what an earlier run has noted, of the objects of a release; None: it was none of contents."""
    wanted = ("ConfigMap", RECORD.format(name))
    found = (item for item in live if (item["kind"], item["metadata"]["name"]) == wanted)
    return next((item.get("data") or {} for item in found), None)


def recorded_kinds(record: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Give the kinds that an earlier run has noted."""
    found = []
    for line in str((record or {}).get("kinds", "")).splitlines():
        version, _, kind = line.partition(" ")
        if kind:
            found.append((version, kind))
    return found


def digest(items: Any) -> str:
    """Sum up objects."""
    return hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()[:32]


def _place(item: Object) -> dict[str, str]:
    return {"namespace": item["metadata"]["namespace"], "name": item["metadata"]["name"]}


def _step(item: Object) -> str:
    kind = item["kind"]
    if kind in ("Namespace", "CustomResourceDefinition", "PriorityClass"):
        return "namespace"
    if kind in kinds.PODS:
        return "workloads"
    if kind in kinds.ROUTES:
        return "routes"
    return "monitoring" if kind in kinds.MONITORING else "foundation"
