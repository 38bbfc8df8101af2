"""Hooks of Helm: which are run, as Jobs, in which order, and which cannot be. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..page.form import Fault
from .reading import Read

Object = dict[str, Any]

HOOK = "helm.sh/hook"
WEIGHT = "helm.sh/hook-weight"
POLICY = "helm.sh/hook-delete-policy"
_BEFORE = ("pre-install", "pre-upgrade")
_AFTER = ("post-install", "post-upgrade")
_UPGRADES = ("pre-upgrade", "post-upgrade")
_INSTALLS = ("pre-install", "post-install")
# Never done: a release goes back by being released as it was.
_NEVER = ("pre-rollback", "post-rollback")
_TESTS = ("test", "test-success", "test-failure")


@dataclass(frozen=True)
class Hook:
    """A Job that is run before or after a release changes. ``installs``, ``upgrades``: at which changes it is run."""

    item: Object
    source: str
    weight: int
    before: bool
    installs: bool
    upgrades: bool
    goes: bool

    @property
    def order(self) -> tuple[int, str]:
        """Give its place among the others."""
        return self.weight, self.item["metadata"]["name"]


@dataclass
class Sorted:
    """Objects without their hooks. ``tests``: the names of what is run by ``helm test`` alone."""

    plain: list[Read] = field(default_factory=list)
    hooks: list[Hook] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def sort(read: Iterable[Read]) -> Sorted:
    """Tell hooks from other objects. What a hook needs that is no Job is applied before all hooks."""
    made = Sorted()
    for one in read:
        annotations = one.item["metadata"].get("annotations") or {}
        events = [event.strip() for event in str(annotations.get(HOOK, "")).split(",") if event.strip()]
        if not events:
            made.plain.append(one)
        elif any(event in _TESTS for event in events):
            made.tests.append(f"{one.item['kind']} {one.item['metadata']['name']}")
        elif unknown := [event for event in events if event not in (*_BEFORE, *_AFTER, *_NEVER)]:
            what = "nothing is run when a release is removed" if unknown[0].endswith("-delete") else "nobody runs it"
            made.faults.append(_refused(one, unknown[0], what, "the chart without it, or a Job as pre-upgrade hook"))
        elif all(event in _NEVER for event in events):
            made.faults.append(
                _refused(one, events[0], "a release goes back by being released as it was", "the hook as pre-upgrade")
            )
        elif one.item["kind"] == "Job":
            made.hooks.append(_hook(one, events, annotations))
        elif one.item["kind"] in ("Pod", "Deployment", "StatefulSet", "DaemonSet", "CronJob"):
            made.faults.append(
                _refused(one, events[0], f"a {one.item['kind']} does not end as a Job does", "kind: Job")
            )
        else:
            made.plain.append(one)
    made.hooks.sort(key=lambda hook: (not hook.before, *hook.order))
    return made


def _hook(one: Read, events: list[str], annotations: dict[str, Any]) -> Hook:
    try:
        weight = int(str(annotations.get(WEIGHT, "0")))
    except ValueError:
        weight = 0
    return Hook(
        item=one.item,
        source=one.source,
        weight=weight,
        before=any(event in _BEFORE for event in events),
        installs=any(event in _INSTALLS for event in events),
        upgrades=any(event in _UPGRADES for event in events),
        goes="hook-succeeded" in str(annotations.get(POLICY, "")),
    )


def _refused(one: Read, event: str, why: str, works: str) -> Fault:
    item = one.item
    where = f" ({one.source})" if one.source else ""
    what = f"has the {event} hook {item['kind']} {item['metadata']['name']}{where}, which cannot be run: {why}"
    return Fault("hook-refused", ("chart",), what, works)
