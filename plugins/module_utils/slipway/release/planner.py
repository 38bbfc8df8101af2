"""From a release's page to the objects it needs, in the order in which they are applied. Pure: no cluster is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cluster.objects import identity
from ..page.read import Key
from . import (
    certificate,
    cluster_checks,
    facts,
    mesh_objects,
    monitoring_objects,
    outside_objects,
    registries,
    workload_objects,
)
from .environment import Environment
from .maker import Maker
from .model import Release
from .names import Naming
from .objects import KINDS
from .render import Object
from .shape import Shape
from .spec import Spec
from .storage_keys import Volume


@dataclass(frozen=True)
class Step:
    """Objects that are applied together, and what has to be waited for before the next step.

    ``wait`` lists ``apiVersion``, ``kind``, ``namespace``, ``name`` and ``condition``.
    """

    name: str
    objects: list[Object]
    wait: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What a release comes to.

    ``secrets``: what the role makes itself, because a plan holds no secret value: ``name``, ``keys`` (each with
    ``environment`` or ``variable``), ``existing``. ``selector``: labels of everything of this release, and nothing
    else. ``facts``: see ``facts.py``. ``warnings``: sentences with file and line. ``places``: the key of the page that
    each object's name comes from, by identity. ``certificate``: hosts that the gateway's certificate has to get.
    ``used``: identities of what is there already, and that the release uses as it is. ``volumes``: those of the page.
    """

    release: str
    namespace: str
    steps: list[Step]
    secrets: list[dict[str, Any]]
    selector: dict[str, str]
    facts: dict[str, Any]
    warnings: list[str]
    labels: dict[str, str]
    places: dict[str, Key] = field(default_factory=dict)
    certificate: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    volumes: Mapping[str, Volume] = field(default_factory=dict)

    @property
    def objects(self) -> list[Object]:
        """Every object in its final form, each once."""
        return list({identity(item): item for step in self.steps for item in step.objects}.values())

    @property
    def keep(self) -> list[str]:
        """Identities of all that pruning leaves alone: objects, Secrets that the role makes, and what is used."""
        made = [f"Secret/{self.namespace}/{secret['name']}" for secret in self.secrets if not secret["existing"]]
        return [*map(identity, self.objects), *made, *self.used]

    def as_dict(self) -> dict[str, Any]:
        """Give the plan as plain values, for JSON."""
        return {
            "release": self.release,
            "namespace": self.namespace,
            "steps": [{"name": step.name, "objects": step.objects, "wait": step.wait} for step in self.steps],
            "secrets": self.secrets,
            "selector": self.selector,
            "labels": self.labels,
            "keep": self.keep,
            "kinds": [{"apiVersion": version, "kind": kind} for version, kind in KINDS],
            "facts": self.facts,
            "warnings": self.warnings,
        }


def plan(spec: Spec, environment: Environment | None = None) -> Plan:
    """Plan a release. Raises ``SettingsError`` when the cluster, as far as it is known, has something against it."""
    found = environment or Environment()
    maker = Maker(Naming(Shape(spec.release)), found, spec.files)
    steps = [step for step in _steps(maker) if step.objects]
    places = _places(maker, steps)
    spec.refuse(cluster_checks.faults(maker, places))
    release = spec.release
    return Plan(
        release=release.name,
        namespace=maker.namespace,
        steps=steps,
        secrets=declared_secrets(release),
        selector=maker.selector,
        facts=facts.facts(maker.rules, maker.access, found, monitoring_objects.shown(maker)),
        warnings=[
            *(problem.sentence for problem in spec.warnings),
            *cluster_checks.warnings(maker),
        ],
        labels=maker.labels,
        places=places,
        used=[f"PersistentVolumeClaim/{maker.namespace}/{v.claim}" for v in release.volumes.values() if v.claim],
        volumes=release.volumes,
        certificate=certificate.due(maker.shape, found, maker.hosts()),
    )


def declared_secrets(release: Release) -> list[dict[str, Any]]:
    """List a release's Secrets and where each value is, as a plan has them."""
    return [
        {
            "name": name,
            "existing": secret.existing,
            **registries.planned(secret),
            "keys": {
                key: source.model_dump(exclude_defaults=True)
                for key, source in (*secret.keys.items(), *([("password", secret.password)] if secret.password else []))
            },
        }
        for name, secret in release.secrets.items()
    ]


def _steps(maker: Maker) -> list[Step]:
    """Put everything in order; ``transition.py`` says what is in between where something is there already."""
    deployments = list(workload_objects.deployments(maker))
    waits = [
        {
            "apiVersion": "apps/v1",
            "kind": item["kind"],
            "namespace": maker.namespace,
            "name": item["metadata"]["name"],
            "condition": "Available",
        }
        for item in deployments
    ]
    return [
        Step("namespace", workload_objects.namespace(maker)),
        Step("foundation", list(workload_objects.foundation(maker))),
        Step("services", list(workload_objects.services(maker))),
        Step("policies", [*mesh_objects.destination_rules(maker), *mesh_objects.policies(maker)]),
        Step("outside", list(outside_objects.outside(maker))),
        Step("jobs", list(workload_objects.jobs(maker))),
        Step("workloads", [*deployments, *workload_objects.around(maker)], waits),
        Step("routes", list(mesh_objects.routes(maker))),
        Step("monitoring", [*monitoring_objects.monitoring(maker), *workload_objects.cron_jobs(maker)]),
    ]


def _places(maker: Maker, steps: list[Step]) -> dict[str, Key]:
    """Give for each object the key of the page that its name comes from."""
    keys = {(kind, name): key for kind, _, name, key in maker.naming.all()}
    return {
        identity(item): keys.get((item["kind"], item["metadata"]["name"]), ("name",))
        for step in steps
        for item in step.objects
    }
