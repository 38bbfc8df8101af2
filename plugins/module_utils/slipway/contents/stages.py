"""From what a release of contents has on a cluster to what it is to have: stages, in order. Pure.

What routes lead to is there before them and after them; hooks are Jobs, each run to its end before what comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cluster.objects import identity
from ..release.transition import Stage, due, reference, stays
from . import kinds
from .plan import RUN_FOR, Made

Object = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """A stage, and what has to have come to its end when the stage is over."""

    stage: Stage
    waits: list[dict[str, str]] = field(default_factory=list)
    # Without a difference there is nothing to do, but what was started has to be there.
    always: bool = False


def turns(made: Made, live: Iterable[Object], delete_claims: Iterable[str] = ()) -> list[Turn]:
    """Give the stages. ``live``: objects of the release on the cluster."""
    return list(_Turns(made, list(live), frozenset(delete_claims)).all())


class _Turns:
    def __init__(self, made: Made, live: list[Object], delete_claims: frozenset[str]) -> None:
        self.made, self.delete_claims = made, delete_claims
        self.live = {identity(item): item for item in live}
        self.steps = {step.name: step for step in made.planned.steps}

    def all(self) -> Iterator[Turn]:
        rules = [item for item in self.of("foundation") if item["kind"] == "DestinationRule"]
        rest = self.left()
        yield Turn(Stage("namespace", self.of("namespace")))
        foundation = [item for item in self.of("foundation") if item["kind"] != "DestinationRule"]
        yield Turn(Stage("foundation", [*foundation, *map(self.grown, rules)]))
        yield from self.hooks(before=True)
        workloads = self.steps.get("workloads")
        jobs = [item for item in self.of("workloads") if item["kind"] == "Job" and self.is_anew(item)]
        gone = [self.live[identity(item)] for item in jobs if identity(item) in self.live]
        yield Turn(
            Stage("workloads", self.of("workloads"), remove_first=gone),
            workloads.wait if workloads else [],
            always=True,
        )
        yield Turn(Stage("routes", self.of("routes"), [item for item in rest if item["kind"] in kinds.ROUTES]))
        yield from self.hooks(before=False)
        tidy = [*rules, *self.of("monitoring"), *self.of("record")]
        yield Turn(Stage("tidy", tidy, [item for item in rest if item["kind"] not in kinds.ROUTES]))

    def of(self, step: str) -> list[Object]:
        found = self.steps.get(step)
        return found.objects if found else []

    def hooks(self, *, before: bool) -> Iterator[Turn]:
        for index, hook in enumerate(hook for hook in self.made.due if hook.before == before):
            there = self.live.get(identity(hook.item))
            if there is not None and not self.is_anew(hook.item) and succeeded(there):
                continue
            name = f"{'before' if before else 'after'}-{index + 1}"
            first = [there] if there is not None else []
            goes = [hook.item] if hook.goes else []
            yield Turn(Stage(name, [hook.item], goes, remove_first=first), [_wait(hook.item)])

    def is_anew(self, item: Object) -> bool:
        """Tell whether a Job was run for something else, and has to be made anew: none can be changed."""
        there = self.live.get(identity(item))
        return there is None or _run_for(there) != _run_for(item)

    def anew(self) -> list[str]:
        """Give the identities of the Jobs that are made anew whatever is there."""
        jobs = [item for item in self.of("workloads") if item["kind"] == "Job" and self.is_anew(item)]
        return [*map(identity, jobs), *(identity(hook.item) for hook in self.made.due)]

    def grown(self, rule: Object) -> Object:
        """Give a DestinationRule with the subsets that present routes may lead to, beside its own."""
        there = self.live.get(identity(rule))
        subsets = list(rule["spec"].get("subsets") or [])
        names = {subset["name"] for subset in subsets}
        more = [one for one in ((there or {}).get("spec") or {}).get("subsets") or [] if one["name"] not in names]
        return {**rule, "spec": {**rule["spec"], "subsets": [*subsets, *more]}} if more else rule

    def left(self) -> list[Object]:
        """Give what is there and no longer named, in the order in which it goes."""
        kept = set(self.made.planned.keep)
        return ordered(
            item
            for name, item in self.live.items()
            if name not in kept
            and item["kind"] not in ("Namespace", *kinds.KEPT)
            and not stays(item, self.delete_claims)
        )


def kept(made: Made, live: Iterable[Object], delete_claims: Iterable[str] = ()) -> list[str]:
    """Name the claims that are no longer named, and stay."""
    named, claims = set(made.planned.keep), set(delete_claims)
    return sorted(item["metadata"]["name"] for item in live if identity(item) not in named and stays(item, claims))


def anew(made: Made, live: Iterable[Object]) -> list[str]:
    """Give the identities of the Jobs that are made anew whatever is there."""
    return _Turns(made, list(live), frozenset()).anew()


def ordered(items: Iterable[Object]) -> list[Object]:
    """Sort objects as they are taken away: routes before what they lead to, what others need last."""
    order = {key: index for index, key in enumerate((kinds.group(version), kind) for version, kind in kinds.listed())}
    return sorted(
        items, key=lambda item: (order.get((kinds.group(item["apiVersion"]), item["kind"]), -1), identity(item))
    )


def removal(live: Iterable[Object], delete_claims: Iterable[str] = ()) -> tuple[list[Object], list[str]]:
    """List everything of a release as it is taken away, its namespace last; and the claims that stay."""
    live, claims = list(live), set(delete_claims)
    kept = sorted(item["metadata"]["name"] for item in live if stays(item, claims))
    gone = [
        item
        for item in live
        if not stays(item, claims) and item["kind"] not in kinds.KEPT and not (kept and item["kind"] == "Namespace")
    ]
    return ordered(gone), kept


def due_turns(found: Iterable[Turn], differs: Callable[[Object], bool], *, busy: bool) -> list[dict[str, Any]]:
    """Leave out what need not be done; as plain values: ``name``, ``stage``, ``waits``."""
    found = list(found)
    left = due([turn.stage for turn in found], differs, busy=busy)
    made = []
    for turn in found:
        stage = left.get(turn.stage.name)
        if stage is None and not (turn.always and turn.waits):
            continue
        if stage is not None and turn.stage.name.startswith(("before-", "after-")):
            # What goes again when it has ended is there only in between.
            stage["remove"] = [reference(item) for item in turn.stage.remove]
        made.append({"name": turn.stage.name, "stage": stage or {}, "waits": turn.waits})
    return made


def succeeded(job: Mapping[str, Any]) -> bool:
    """Tell whether a Job has come to a good end."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Complete" and one.get("status") == "True" for one in conditions)


def _run_for(item: Mapping[str, Any]) -> str:
    return str((item["metadata"].get("annotations") or {}).get(RUN_FOR, ""))


def _wait(item: Object) -> dict[str, str]:
    metadata = item["metadata"]
    return {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "condition": "Complete",
    }
