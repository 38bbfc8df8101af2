"""Apply lists of objects to a cluster, server-side, several at once, or take them away, and tell what that has changed.

The API server merges and judges. Here is the order, and the comparison of what was there with what is there then. The
client is kubernetes.core's. Its module k8s does the same for one object after the other in a process of its own: some
three seconds for the objects of a part when nothing changes, against half a second.
"""

from __future__ import annotations

import functools
import itertools
import re
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import SlipwayError
from . import rollout
from .client import MANAGER, BusyError, Cluster, Object, stripped
from .objects import holds, identity, marked, stages, without_status

# A webhook whose pods start, a kind that the API server has just been told of, and an etcd that elects its leader.
_NOT_YET = re.compile(
    r"failed calling webhook|the server could not find the requested resource|404 page not found|etcdserver: "
)
_FOLLOWED = ("Deployment", "DaemonSet", "Pod")

T = TypeVar("T")


@dataclass(frozen=True)
class Applied:
    """An object after an apply. ``before`` is what was there, None when nothing was; both without the server's own."""

    name: str
    before: Object | None
    after: Object
    live: Object

    @property
    def changed(self) -> bool:
        """Whether the apply made a difference."""
        return self.before != self.after


@dataclass(frozen=True)
class Removed:
    """An object that was to go. ``before`` is what was there, None when nothing was, or it was going already."""

    name: str
    before: Object | None

    @property
    def changed(self) -> bool:
        """Whether there was anything to take away."""
        return self.before is not None


@dataclass
class Applier:
    """Applies objects to ``cluster``; with ``dry_run`` the API server only says what it would do.

    What may pass by itself, as a webhook that does not answer yet, is asked again for ``patience`` seconds.
    """

    cluster: Cluster
    dry_run: bool = False
    patience: float = 0.0
    manager: str = MANAGER

    def apply(self, objects: Iterable[Object]) -> list[Applied]:
        """Apply everything and give what came of each. Raises SlipwayError that names all that was refused."""
        done: list[Applied] = []
        objects = list(objects)
        until = time.monotonic() + self.patience
        new = set[str]()
        for stage in stages(objects):
            made = self._patiently(until, self._stage, stage, new)
            done += made
            if self.dry_run:
                # What is not there yet cannot be asked about what is to be in it, or of its kind.
                new |= {
                    one.after["metadata"]["name"] for one in made if not one.before and one.after["kind"] == "Namespace"
                }
                new |= {
                    one.after["spec"]["group"]
                    for one in made
                    if not one.before and one.after["kind"] == "CustomResourceDefinition"
                }
            else:
                self._served([one.live for one in made if one.live["kind"] == "CustomResourceDefinition"])
        return done

    def remove(self, objects: Iterable[Object], propagation: str = "Background") -> list[Removed]:
        """Take objects away, neighbours of one kind at once, and give what was there of each.

        ``propagation``: what they own goes after them (``Background``), before them (``Foreground``), or stays
        (``Orphan``). Raises SlipwayError that names all that was refused.
        """
        take_away = functools.partial(self._take_away, propagation=propagation)
        gone: list[Removed] = []
        until = time.monotonic() + self.patience
        for _, same in itertools.groupby(objects, lambda item: (item["apiVersion"], item["kind"])):
            gone += self._patiently(until, self._take_all_away, list(same), take_away)
        return gone

    def _patiently(self, until: float, what: Callable[..., list[T]], *arguments: Any) -> list[T]:
        """Do something, and again until the time ``until`` where the cluster says: not now.

        Raises BusyError when time is up, and SlipwayError as soon as a webhook that is waited for will not answer.
        """
        webhook = rollout.Webhooks(self.cluster)
        while True:
            try:
                return what(*arguments)
            except BusyError as exc:
                late = time.monotonic() >= until
                if told := webhook.unanswered(exc.text, late=late):
                    raise (BusyError if late else SlipwayError)("webhook-silent", told) from exc
                if late:
                    raise
                time.sleep(rollout.PAUSE)

    def _take_all_away(self, stage: list[Object], take_away: Callable[[Object], Removed]) -> list[Removed]:
        return self._each(take_away, stage)

    def _take_away(self, item: Object, propagation: str) -> Removed:
        name = identity(item)
        if self.cluster.kind(item["apiVersion"], item["kind"]) is None:
            # Of a kind that nobody knows there is nothing.
            return Removed(name, None)
        path = self.cluster.path(item)
        before = self.cluster.get(path)
        if before is None or before["metadata"].get("deletionTimestamp"):
            return Removed(name, None)
        # Where there is a body, the API server reads nothing of the query.
        options = {"propagationPolicy": propagation, **({"dryRun": ["All"]} if self.dry_run else {})}
        status, said = self.cluster.ask(path, method="DELETE", body=options)
        if status == 404:
            return Removed(name, None)
        if status not in (200, 202):
            raise _refusal(name, status, said)
        return Removed(name, stripped(before))

    def gone(self, objects: Iterable[Object], seconds: float) -> None:
        """Wait until none of them is there any more. Raises SlipwayError that says what keeps the others."""
        until = time.monotonic() + seconds
        waiting = list(objects)
        while found := self.left(waiting):
            if time.monotonic() >= until:
                raise SlipwayError(
                    "still-there", "\n".join(f"{identity(item)} is still there{_kept(item)}" for item in found)
                )
            waiting = found
            time.sleep(rollout.PAUSE)

    def left(self, objects: Iterable[Object]) -> list[Object]:
        """Give those of the objects that are there."""
        known = [item for item in objects if self.cluster.kind(item["apiVersion"], item["kind"])]
        return [one for one in self.cluster.many(lambda item: self.cluster.get(self.cluster.path(item)), known) if one]

    def _each(self, what: Callable[[Object], T], stage: list[Object]) -> list[T]:
        """Do something with each object, several at once; all that was refused is one error."""

        def one(item: Object) -> T | SlipwayError:
            try:
                return what(item)
            except SlipwayError as exc:
                return exc

        results = self.cluster.many(one, stage)
        refused = [result for result in results if isinstance(result, SlipwayError)]
        if refused:
            kind = BusyError if all(isinstance(one, BusyError) for one in refused) else SlipwayError
            raise kind(refused[0].id, "\n".join(dict.fromkeys(one.text for one in refused)))
        return [result for result in results if not isinstance(result, SlipwayError)]

    def _stage(self, stage: list[Object], new: set[str]) -> list[Applied]:
        def one(item: Object) -> Applied:
            return Applied(identity(item), None, item, item) if self._is_new(item, new) else self._one(item)

        return self._each(one, stage)

    def _is_new(self, item: Object, new: set[str]) -> bool:
        return item["metadata"].get("namespace", "") in new or item["apiVersion"].partition("/")[0] in new

    def _one(self, item: Object) -> Applied:
        path = self.cluster.path(item)
        item = marked(item)
        before = self.cluster.get(path)
        if before and item["kind"] == "CustomResourceDefinition" and holds(before, without_status(item)):
            return Applied(identity(item), stripped(before), stripped(before), before)
        query = f"?fieldManager={self.manager}&force=true" + ("&dryRun=All" if self.dry_run else "")
        status, after = self.cluster.ask(path + query, method="PATCH", body=item)
        if status not in (200, 201):
            if status == 404:
                self.cluster.forget()
            raise _refusal(identity(item), status, after)
        return Applied(identity(item), stripped(before) if before else None, stripped(after), after)

    def look(
        self,
        version: str,
        kind: str,
        namespace: str = "",
        name: str = "",
        fields: Iterable[str] = (),
        labels: Iterable[str] = (),
    ) -> list[Object]:
        """Give the objects of a kind: all, those of a namespace, or the one that is named; none where it is unknown.

        ``fields`` are field selectors, as ``involvedObject.kind=Service``, ``labels`` those of labels, as ``app=web``.
        """
        known = self.cluster.kind(version, kind)
        if known is None:
            return []
        if name:
            one = self.cluster.get(known.path(namespace, name))
            return [one] if one else []
        asked = {"fieldSelector": ",".join(fields), "labelSelector": ",".join(labels)}
        query = urllib.parse.urlencode({key: value for key, value in asked.items() if value})
        # Lists say kind and apiVersion once, for all of their items.
        listed = self.cluster.items(f"{known.path(namespace)}?{query}" if query else known.path(namespace))
        return [{"apiVersion": version, "kind": kind, **item} for item in listed or []]

    def _served(self, definitions: list[Object], seconds: float = 30.0) -> None:
        """Wait until the API server serves the kinds that it has been told of."""
        until = time.monotonic() + seconds
        waiting = [item for item in definitions if not _established(item)]
        while waiting:
            if time.monotonic() >= until:
                raise SlipwayError(
                    "unknown-kind", f"the API server does not serve {', '.join(map(identity, waiting))} yet"
                )
            time.sleep(0.1)
            found = self.cluster.many(lambda item: self.cluster.get(self.cluster.path(item)) or item, waiting)
            waiting = [item for item in found if not _established(item)]

    def wait(self, applied: Iterable[Applied], seconds: float) -> None:
        """Wait until Deployments, DaemonSets and Pods among them can serve. Raises NotRolledOutError."""
        rollout.wait(self.cluster, [one.live for one in applied if one.live["kind"] in _FOLLOWED], seconds)


def _refusal(name: str, status: int, answer: Mapping[str, Any]) -> SlipwayError:
    """Say that the API server refuses something; a BusyError where that may pass by itself."""
    said = str(answer.get("message", ""))
    kind = BusyError if status in (429, 503, 504) or _NOT_YET.search(said) else SlipwayError
    return kind("refused-by-api", f"{name}: the API server refuses it ({status}): {said}")


def _kept(item: Object) -> str:
    """Say what keeps an object that is to go, as far as it says so itself."""
    conditions = item.get("status", {}).get("conditions") or []
    told = [one["message"] for one in conditions if one.get("status") == "True" and one.get("message")]
    waits = [str(name) for name in item["metadata"].get("finalizers") or []]
    whys = [*told, *([f"it waits for {', '.join(waits)}"] if waits else [])]
    return f": {'; '.join(whys)}" if whys else ""


def _established(definition: Object) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
