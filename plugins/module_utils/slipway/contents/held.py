"""Hold a release of contents against its cluster, and give what the role ``release`` carries out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..cluster.access import UnansweredError
from ..cluster.client import stripped
from ..cluster.objects import identity, shown
from ..difference import written
from ..page.form import Fault
from ..release.judge import Found, owner, secret_values, strangers
from ..release.live import has_users
from ..release.look import RefusedError, ReleaseClient
from ..release.transition import reference
from . import claims, kinds, stages, told, walk
from .ingresses import Entrance, entrance
from .plan import RECORD, Known, Made, origin, plan, record_of, recorded_kinds
from .source import ChartError, Programs, Source, source
from .spec import Spec, load

Object = dict[str, Any]
PENDING = "there is no cluster yet that this could be held against: all of it would be made"
_FOREIGN = frozenset(
    ("default", "kube-system", "kube-public", "kube-node-lease", "istio-system", "monitoring", "metallb-system")
)


class Held:
    """A page against ``cluster``, None where there is none yet. ``arguments``: those of the module release_plan."""

    def __init__(self, page: Path, arguments: Mapping[str, Any], cluster: ReleaseClient | None) -> None:
        self.arguments, self.cluster = arguments, cluster
        self.spec: Spec = load(
            page, {key: arguments.get(key) for key in ("name", "namespace", "hosts", "weights", "adopt")}
        )
        self.release = self.spec.release
        self.namespace = self.release.namespace or self.release.name
        self.found, self.record = self._look()

    def _look(self) -> tuple[Found, Mapping[str, str] | None]:
        """Look at the cluster, at the kinds that an earlier run has noted too."""
        name, namespace = self.release.name, self.namespace
        if self.cluster is None:
            return Found(name, namespace), None
        there = self.cluster.read("v1", "ConfigMap", namespace, RECORD.format(name))
        record = (there.get("data") or {}) if there and owner(there) == f"{namespace}/{name}" else None
        return self.cluster.look(name, namespace, kinds=kinds.listed(recorded_kinds(record))), record

    def _scope(self, version: str, kind: str) -> bool | None:
        known = self.cluster.kind(version, kind) if self.cluster else None
        if known is not None:
            return known.namespaced
        # Where the cluster, or its mesh, is still to be made, nobody can be asked.
        pending = self.cluster is None or self.arguments.get("pending") is True
        return kind not in kinds.OF_NO_NAMESPACE if pending else None

    def _source(self) -> Source:
        given = self.arguments.get("programs") or {}
        helm, kubectl = (Path(str(given.get(name) or name)) for name in ("helm", "kubectl"))
        kubernetes, versions = self._capabilities()
        try:
            return source(self.release, self.spec.folder, Programs(helm, kubectl), kubernetes, versions)
        except ChartError as exc:
            self.spec.refuse([exc.fault])
            raise

    def _capabilities(self) -> tuple[str, list[str]]:
        """Give the version of the cluster, and what it serves, as charts ask for it."""
        if self.cluster is None:
            return "", []
        try:
            version = str((self.cluster.get("/version") or {}).get("gitVersion", ""))
            groups = (self.cluster.get("/apis") or {}).get("groups") or []
        except UnansweredError:
            return "", []
        served = [str(each["groupVersion"]) for group in groups for each in group.get("versions") or []]
        known = [f"{api}/{kind}" for api, kind in kinds.listed() if kind not in self.found.missing_kinds]
        return version, sorted({"v1", *served, *known})

    def made(self) -> Made:
        """Plan the release. Raises SettingsError, SlipwayError."""
        foreign = {item["metadata"]["name"] for item in self.found.namespaces if owner(item) != self.found.whose}
        rendered = self.rendered = self._source()
        definitions = set()
        if self.cluster is not None:
            for name in {one.item["metadata"]["name"] for one in rendered.read if one.item["kind"] in kinds.KEPT}:
                there = self.cluster.read("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name)
                if there and owner(there) != self.found.whose:
                    definitions.add(name)
        others = {walk.place(item) for item in self.found.services if owner(item) != self.found.whose}
        known = Known(
            frozenset(foreign | _FOREIGN),
            frozenset(definitions),
            self.record,
            entrance=self._entrance(rendered),
            services=frozenset(others) if self.cluster else None,
            domain=told.domain(self.arguments.get("cluster") or {}),
        )
        return plan(self.release, rendered, self._scope, known)

    def _entrance(self, rendered: Source) -> Entrance:
        """Ask what Ingresses the gateway serves, if there are any."""
        if self.cluster is None or not any(one.item["kind"] == "Ingress" for one in rendered.read):
            return Entrance()
        classes = self.cluster.listed("networking.k8s.io/v1", "IngressClass") or []
        return entrance(
            classes,
            ports=told.ports(self.found.gateway_service),
            secrets=frozenset(self.found.certificates),
            domain=told.domain(self.arguments.get("cluster") or {}),
        )

    def present(self, variables: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> dict[str, Any]:
        """Say what has to be done. ``variables``: gives those that Secrets of the page name."""
        made = self.made()
        self.spec.refuse(made.faults)
        planned = made.planned
        declared = planned.secrets
        own = [secret["name"] for secret in declared if not secret["existing"]]
        present = (
            self.cluster.present_secrets(self.namespace, own)
            if self.cluster and own and self.found.has_namespace
            else {}
        )
        secrets, faults = secret_values(declared, present, self.found.whose, os.environ, variables(declared))
        self.spec.refuse(faults)
        world = told.look(self.cluster, self.found, made, self.arguments.get("cluster") or {})
        self.spec.refuse(told.faults(made, world, origin(self.release)))
        claims_kept = [*self.release.delete_claims, *(self.arguments.get("delete_claims") or [])]
        turns = stages.turns(made, self.found.own, claims_kept)
        objects = list({id(item): item for turn in turns for item in turn.stage.apply}.values())
        anew = stages.anew(made, self.found.own)
        changes = self._changes([*objects, *made.secrets], anew, made)
        faults, adopted = strangers(
            [(item, before) for item, before, _ in changes],
            self.found.whose,
            planned.places,
            adopt=self.release.adopt,
        )
        self.spec.refuse(_sourced(faults))
        touched = {id(item) for item, _, _ in changes}
        left = stages.due_turns(turns, lambda item: id(item) in touched, busy=has_users(self.found.own))
        live = set(map(identity, self.found.own))
        gone = [item for turn in turns for item in turn.stage.remove if identity(item) in live]
        final = {id(item) for item in [*planned.objects, *made.secrets, *(hook.item for hook in made.hooks)]}
        differences = [
            _difference(item, stripped(before) if before else None, stripped(after))
            for item, before, after in changes
            if id(item) in final
        ]
        for secret in secrets:
            text = "".join(f"+ {key}: from {start}\n" for key, start in secret.said.items()) or "made anew\n"
            differences.append({"prepared": f"Secret/{self.namespace}/{secret.name}\n{text}"})
        differences += [_difference(item, stripped(item), None) for item in gone]
        due_secrets = [item["metadata"]["name"] for item in made.secrets if id(item) in touched]
        return {
            "differences": differences,
            "differs": bool([turn for turn in left if turn["stage"]] or secrets or due_secrets),
            "release": planned.release,
            "namespace": self.namespace,
            "labels": planned.labels,
            "stages": {},
            "turns": left,
            "waits": {},
            "secrets": declared,
            "secrets_due": [secret.name for secret in secrets],
            "secret_revisions": {secret.name: secret.revision for secret in secrets},
            "rendered_secrets_due": due_secrets,
            "certificate": [],
            "facts": claims.facts(self.release, made, world),
            "warnings": [
                *planned.warnings,
                *told.warnings(made, world),
                *told.switched_off(self.rendered.off),
                *adopted,
                *_kept(stages.kept(made, self.found.own, claims_kept), self.namespace),
                *([] if self.cluster else [PENDING]),
            ],
        }

    def absent(self) -> dict[str, Any]:
        """Say what goes."""
        given = [*self.release.delete_claims, *(self.arguments.get("delete_claims") or [])]
        gone, kept = stages.removal(self.found.own, given)
        return {
            "differs": bool(gone),
            "warnings": _kept(kept, self.namespace),
            "differences": [_difference(item, stripped(item), None) for item in gone],
            "release": self.release.name,
            "namespace": self.namespace,
            "prune": [reference(item) for item in gone],
        }

    def _changes(self, objects: list[Object], anew: list[str], made: Made) -> Any:
        if self.cluster is None:
            return [(item, None, item) for item in objects]
        try:
            return self.cluster.changes(self.found, objects, anew)
        except RefusedError as exc:
            key = (origin(self.release),)
            self.spec.refuse(
                Fault(
                    "refused-by-api",
                    key,
                    f"has {name}{_from(made, name)}, which the API server refuses ({status}): {' '.join(said.split())}",
                    "the field as the message asks for it",
                )
                for name, (status, said) in exc.refused.items()
            )
            raise


def looked(cluster: ReleaseClient, name: str, namespace: str) -> Found:
    """Look at a release of services; where it was one of contents, at the kinds that are left of that, too."""
    found = cluster.look(name, namespace)
    record = record_of(found.own, name)
    return found if record is None else cluster.look(name, namespace, kinds=kinds.listed(recorded_kinds(record)))


def _sourced(faults: list[Fault]) -> list[Fault]:
    """Put other words for what would work: names are in the contents, not on the page."""
    works = "another name in it, another namespace, or adopt: true (-e release_adopt=true), which takes it over"
    return [Fault(fault.id, fault.key, fault.what, works) for fault in faults]


def _from(made: Made, name: str) -> str:
    source_of = made.sources.get(name, "")
    return f" ({source_of})" if source_of else ""


def _kept(names: list[str], namespace: str) -> list[str]:
    return [
        f"PersistentVolumeClaim {namespace}/{name} is no longer named and is kept, with its data; "
        f"delete_claims: [{name}] on the page, or -e '{json.dumps({'release_delete_claims': [name]})}', takes both away"
        for name in names
    ]


def _difference(item: Object, before: Object | None, after: Object | None) -> dict[str, str]:
    name = identity(item)
    return {
        "before": written(shown(before)),
        "after": written(shown(after)),
        "before_header": name,
        "after_header": name,
    }
