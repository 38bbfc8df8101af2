"""Apply lists of objects to a cluster, server-side, several at once, or take them away, and tell what that has changed.

The API server merges and judges; here is only the order, and the comparison of what was there with what is there then.
kubernetes.core.k8s does the same one object after the other in a process that loads a large library first: some three
seconds for the objects of a part when nothing changes, against half a second.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import yaml

from ..errors import SlipwayError
from ..status.judge import node_trouble
from . import last_words, webhooks, workloads
from .client import MANAGER, BusyError, Cluster, Object, stripped
from .holdups import NONE, Signs, finds_no_node

try:
    from yaml import CSafeLoader as Loader
except ImportError:
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

_FIRST = ("Namespace", "CustomResourceDefinition", "PriorityClass")
_WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "Job", "CronJob", "Pod")
# A webhook whose pods start, a kind that the API server has just been told of, and an etcd that elects its leader.
_NOT_YET = re.compile(r"failed calling webhook|the server could not find the requested resource|etcdserver: ")
_PAUSE = 0.5
# Seconds between two looks at the events of a namespace in which something is waited for.
_SIGNS = 3.0
_LISTED = ("replicasets", "pods")
_FOLLOWED = ("Deployment", "DaemonSet", "Pod")
# On a definition: the sum of what was applied.
_SUM = "slipway.io/definition"

T = TypeVar("T")


class NotRolledOutError(SlipwayError):
    """A workload's pods do not come to serve; the text names each with what keeps it."""


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


def identity(item: Mapping[str, Any]) -> str:
    """Write ``Kind/namespace/name``, or ``Kind/name`` where there is no namespace."""
    metadata = item["metadata"]
    return "/".join(part for part in (item["kind"], metadata.get("namespace", ""), metadata["name"]) if part)


def read(given: Any) -> list[Object]:
    """Give the objects of what a task was given: documents as YAML text, or objects and lists of them."""
    if not isinstance(given, str):
        return list(flat(given))
    try:
        # Ansible's text is a kind of its own, which the reader in C does not know.
        return list(flat(yaml.load_all(str(given), Loader=Loader)))
    except yaml.YAMLError as exc:
        raise SlipwayError(f"not YAML: {exc}") from exc


def flat(given: Any) -> Iterator[Object]:
    """Give the objects of documents, lists of them and Lists; empty documents are none."""
    if isinstance(given, Mapping):
        if str(given.get("kind", "")).endswith("List") and isinstance(given.get("items"), list):
            yield from flat(given["items"])
        elif given.get("kind") and given.get("apiVersion") and (given.get("metadata") or {}).get("name"):
            yield dict(given)
        else:
            raise SlipwayError(f"not an object with apiVersion, kind and metadata.name: {str(dict(given))[:200]}")
    elif isinstance(given, Iterable) and not isinstance(given, str):
        for item in given:
            yield from flat(item)
    elif given is not None:
        raise SlipwayError(f"not an object: {str(given)[:200]}")


def stages(objects: Iterable[Object]) -> list[list[Object]]:
    """Sort objects into lists that can each be applied in any order, one list after the other.

    What others live in or are described by comes first; pods after what they mount and run as; objects of kinds that
    are defined in the same list last.
    """
    objects = list(objects)
    own = {item["spec"]["group"] for item in objects if item["kind"] == "CustomResourceDefinition"}
    sorted_out: list[list[Object]] = [[], [], [], []]
    for item in objects:
        if item["kind"] in _FIRST:
            place = 0
        elif item["apiVersion"].partition("/")[0] in own:
            place = 3
        else:
            place = 2 if item["kind"] in _WORKLOADS else 1
        sorted_out[place].append(item)
    return [stage for stage in sorted_out if stage]


@dataclass
class _Behind:
    """What has been seen so far of what stands behind webhooks: since when workloads are held up, and pods Ready."""

    followed: dict[tuple[str, str], workloads.Rollouts] = field(default_factory=dict)
    looked: float | None = None
    ready: dict[tuple[str, str], float] = field(default_factory=dict)


@dataclass
class Applier:
    """Applies objects to ``cluster``; with ``dry_run`` the API server only says what it would do.

    What may pass by itself, as a webhook that does not answer yet, is asked again for ``patience`` seconds.
    """

    cluster: Cluster
    dry_run: bool = False
    patience: float = 0.0
    manager: str = MANAGER
    _kinds: dict[str, dict[str, tuple[str, bool]]] = field(default_factory=dict)

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
        seen = _Behind()
        while True:
            try:
                return what(*arguments)
            except BusyError as exc:
                late = time.monotonic() >= until
                if told := self._unanswered(exc.message, seen, late=late):
                    raise (BusyError if late else SlipwayError)(told) from exc
                if late:
                    raise
                time.sleep(_PAUSE)

    def _unanswered(self, said: str, seen: _Behind, *, late: bool) -> str:
        """Say why webhooks that ``said`` names will never answer, or when it is ``late``, do not; empty: they may."""
        calls, now = webhooks.calls(said), time.monotonic()
        if not calls or (not late and seen.looked is not None and now - seen.looked < _SIGNS):
            return ""
        seen.looked = now
        places = {(call.namespace, call.service): call.lost for call in calls}
        try:
            faults = [
                fault
                for place, lost in places.items()
                for fault in self._behind(place, seen, now, lost=lost, late=late)
            ]
            nodes = self.cluster.items("/api/v1/nodes") or [] if faults else []
        except SlipwayError:
            # It only tells more.
            faults, nodes = [], []
        if not faults and not late:
            return ""
        troubles = {node["metadata"]["name"]: node_trouble(node) for node in nodes}
        faults += [f"node {name}: {trouble}" for name, trouble in sorted(troubles.items()) if trouble]
        return "\n".join([webhooks.summary(said), *faults])

    def _behind(self, place: tuple[str, str], seen: _Behind, now: float, *, lost: bool, late: bool) -> list[str]:
        """Say what keeps a Service (namespace and name) from answering: Deployments, DaemonSets, pods, nodes."""
        space, name = place
        service = next(iter(self.look("v1", "Service", space, name)), None)
        if service is None:
            return [f"there is no Service {space}/{name}"] if late else []
        selector = (service.get("spec") or {}).get("selector") or {}
        sets, pods = (self._of(kind, space) for kind in _LISTED)
        nodes = tuple(self.cluster.items("/api/v1/nodes") or [])
        signs = replace(self._signs(space, pods, late=late), nodes=nodes, now=time.time())
        own = [pod for pod in pods if webhooks.selects(selector, pod["metadata"].get("labels"))]
        items = [
            item
            for kind in ("Deployment", "DaemonSet")
            for item in self.look("apps/v1", kind, space)
            if webhooks.selects(selector, item["spec"]["template"]["metadata"].get("labels"))
        ]
        serving = [pod for pod in own if workloads.rolled_out({**pod, "kind": "Pod"})]
        held = {
            identity(item): workloads.stuck(item, sets, pods, signs) or webhooks.on_lost_nodes(own, signs)
            for item in items
            if not serving
        }
        faults = seen.followed.setdefault(place, workloads.Rollouts(workloads.PATIENCE)).hopeless(now, held)
        if late and not faults and not serving:
            reasons = {identity(item): workloads.reason(item["metadata"]["name"], pods, signs) for item in items}
            faults = [f"{item}: {held[item].removeprefix('!') or reason}" for item, reason in reasons.items()]
        faults = self._with_last_words(faults, items, {space: sets}, {space: pods})
        if not serving:
            seen.ready.pop(place, None)
        elif lost and (now - seen.ready.setdefault(place, now) >= webhooks.REACHED or late):
            faults.append(webhooks.not_reached(serving, f"Service {space}/{name}"))
        return faults

    def _take_all_away(self, stage: list[Object], take_away: Callable[[Object], Removed]) -> list[Removed]:
        self._learn({item["apiVersion"] for item in stage})
        return self._each(take_away, stage)

    def _take_away(self, item: Object, propagation: str) -> Removed:
        name = identity(item)
        if item["kind"] not in self._kinds.get(item["apiVersion"], {}):
            # Of a kind that nobody knows there is nothing. Perhaps it will be known later.
            self._kinds.pop(item["apiVersion"], None)
            return Removed(name, None)
        path = self.path(item)
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
                raise SlipwayError("\n".join(f"{identity(item)} is still there{_kept(item)}" for item in found))
            waiting = found
            time.sleep(_PAUSE)

    def left(self, objects: Iterable[Object]) -> list[Object]:
        """Give those of the objects that are there."""
        objects = list(objects)
        self._learn({item["apiVersion"] for item in objects})
        known = [item for item in objects if item["kind"] in self._kinds.get(item["apiVersion"], {})]
        return [one for one in self.cluster.many(lambda item: self.cluster.get(self.path(item)), known) if one]

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
            raise kind("\n".join(dict.fromkeys(one.message for one in refused)))
        return [result for result in results if not isinstance(result, SlipwayError)]

    def _stage(self, stage: list[Object], new: set[str]) -> list[Applied]:
        known = [item for item in stage if not self._is_new(item, new)]
        self._learn({item["apiVersion"] for item in known})

        def one(item: Object) -> Applied:
            return Applied(identity(item), None, item, item) if self._is_new(item, new) else self._one(item)

        return self._each(one, stage)

    def _is_new(self, item: Object, new: set[str]) -> bool:
        return item["metadata"].get("namespace", "") in new or item["apiVersion"].partition("/")[0] in new

    def _one(self, item: Object) -> Applied:
        path = self.path(item)
        item = marked(item)
        before = self.cluster.get(path)
        if before and item["kind"] == "CustomResourceDefinition" and holds(before, without_status(item)):
            return Applied(identity(item), stripped(before), stripped(before), before)
        query = f"?fieldManager={self.manager}&force=true" + ("&dryRun=All" if self.dry_run else "")
        status, after = self.cluster.ask(path + query, method="PATCH", body=item)
        if status not in (200, 201):
            raise _refusal(identity(item), status, after)
        return Applied(identity(item), stripped(before) if before else None, stripped(after), after)

    def path(self, item: Mapping[str, Any]) -> str:
        """Give the path of an object in the API; its ``apiVersion`` has been learnt."""
        version, kind, metadata = item["apiVersion"], item["kind"], item["metadata"]
        if kind not in self._kinds.get(version, {}):
            self._kinds.pop(version, None)
            raise BusyError(f"{identity(item)}: this cluster does not know the kind {kind} of {version}")
        plural, namespaced = self._kinds[version][kind]
        place = f"/namespaces/{metadata.get('namespace') or 'default'}" if namespaced else ""
        return f"{_root(version)}{place}/{plural}/{metadata['name']}"

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
        self._learn([version])
        if kind not in self._kinds.get(version, {}):
            self._kinds.pop(version, None)
            return []
        plural, namespaced = self._kinds[version][kind]
        place = f"{_root(version)}{f'/namespaces/{namespace}' if namespaced and namespace else ''}/{plural}"
        if name:
            one = self.cluster.get(f"{place}/{name}")
            return [one] if one else []
        asked = {"fieldSelector": ",".join(fields), "labelSelector": ",".join(labels)}
        query = urllib.parse.urlencode({key: value for key, value in asked.items() if value})
        # Lists say kind and apiVersion once, for all of their items.
        listed = self.cluster.items(f"{place}?{query}" if query else place)
        return [{"apiVersion": version, "kind": kind, **item} for item in listed or []]

    def _learn(self, versions: Iterable[str]) -> None:
        """Ask which kinds there are, and where."""
        unknown = sorted(set(versions) - set(self._kinds))
        answers = self.cluster.many(lambda version: self.cluster.get(_root(version)), unknown)
        for version, answer in zip(unknown, answers, strict=True):
            if answer is not None:
                self._kinds[version] = {
                    entry["kind"]: (entry["name"], entry["namespaced"])
                    for entry in answer["resources"]
                    if "/" not in entry["name"]
                }

    def _served(self, definitions: list[Object], seconds: float = 30.0) -> None:
        """Wait until the API server serves the kinds that it has been told of."""
        until = time.monotonic() + seconds
        waiting = [item for item in definitions if not _established(item)]
        while waiting:
            if time.monotonic() >= until:
                raise SlipwayError(f"the API server does not serve {', '.join(map(identity, waiting))} yet")
            time.sleep(0.1)
            found = self.cluster.many(lambda item: self.cluster.get(self.path(item)) or item, waiting)
            waiting = [item for item in found if not _established(item)]

    def wait(self, applied: Iterable[Applied], seconds: float) -> None:
        """Wait until Deployments, DaemonSets and Pods among them can serve. Raises SlipwayError with the reasons."""
        self.rolled_out([one.live for one in applied if one.live["kind"] in _FOLLOWED], seconds)

    def rolled_out(
        self, items: Iterable[Object], seconds: float, patience: float | None = None, enough: int | None = None
    ) -> None:
        """Wait until Deployments and DaemonSets are rolled out and Pods Ready; of each its name and place are enough.

        ``enough``: so many pods of each DaemonSet do.

        Raises NotRolledOutError as soon as pods of the newest template have been held up for ``patience`` seconds (by
        their image, a node, volumes, a quota), or for good, and when time is up.
        """
        items = list(items)
        self._learn({item["apiVersion"] for item in items})
        began = looked = time.monotonic()
        followed = workloads.Rollouts(workloads.PATIENCE if patience is None else patience)
        signs: dict[str, Signs] = {}
        waiting = [item for item in items if not self._there(item, enough)]
        while waiting:
            waiting = [item for item in self.cluster.many(self._present, waiting) if not self._there(item, enough)]
            if not waiting:
                return
            sets, pods = ({space: self._of(kind, space) for space in _spaces(waiting)} for kind in _LISTED)
            now = time.monotonic()
            late = now - began >= seconds
            if late or now - looked >= _SIGNS:
                signs = {space: self._signs(space, pods[space], late=late) for space in _spaces(waiting)}
                looked = now
            held = {
                identity(item): workloads.stuck(item, sets[space], pods[space], signs.get(space, NONE))
                for item in waiting
                if "status" in item
                for space in _spaces([item])
            }
            if faults := followed.hopeless(now, held):
                raise NotRolledOutError("\n".join(self._with_last_words(faults, waiting, sets, pods)))
            if late:
                faults = [
                    f"{identity(item)}: {held.get(identity(item), '').removeprefix('!') or reason}"
                    for item in waiting
                    for reason in [self._reason(item, pods, signs)]
                ]
                faults = self._with_last_words(faults, waiting, sets, pods)
                raise NotRolledOutError("\n".join([f"not rolled out within {seconds:g} s:", *faults]))
            time.sleep(_PAUSE)

    def _signs(self, namespace: str, pods: Iterable[Object], *, late: bool) -> Signs:
        """Read the warnings of a namespace, its claims where one is warned of, and the nodes where a pod finds none."""
        place = f"/api/v1/namespaces/{namespace}"
        try:
            signs = Signs(tuple(self.cluster.items(f"{place}/events?fieldSelector=type%3DWarning") or []))
            claims = self.cluster.items(f"{place}/persistentvolumeclaims") if signs.names_claims() else []
            nodes = self.cluster.items("/api/v1/nodes") if any(map(finds_no_node, pods)) else []
        except SlipwayError:
            # They only tell more; what is waited for is asked anew in a moment.
            return Signs(late=late)
        return Signs(signs.events, tuple(claims or []), tuple(nodes or []), time.time(), late)

    def _with_last_words(
        self,
        faults: Iterable[str],
        items: Iterable[Object],
        sets: Mapping[str, list[Object]],
        pods: Mapping[str, list[Object]],
    ) -> list[str]:
        """Add to what is told of each workload the last lines of its container that has failed."""
        names = {identity(item): item for item in items}
        told = []
        for fault in faults:
            item = names[next(name for name in names if fault.startswith((f"{name}:", f"{name} ")))]
            (space,) = _spaces([item])
            failed = workloads.crashed(item, sets[space], pods[space])
            found = next((one for one in failed if one[0]["metadata"]["name"] in fault), None)
            told.append(self._last_words(fault, space, *found) if found else fault)
        return told

    def _last_words(self, fault: str, namespace: str, pod: Mapping[str, Any], container: str, previous: bool) -> str:
        """Give what is told, without what the pod's Secrets hold, and the last lines of a container's log after it."""
        name = pod["metadata"]["name"]
        place = f"/api/v1/namespaces/{namespace}"
        asked = {"container": container, "tailLines": last_words.LINES, "limitBytes": last_words.ASKED}
        query = urllib.parse.urlencode({**asked, **({"previous": "true"} if previous else {})})
        where = (
            f"kubectl --namespace {namespace} logs{' --previous' if previous else ''} {name} --container {container}"
        )
        try:
            secrets = [self.cluster.get(f"{place}/secrets/{secret}") for secret in last_words.secrets_of(pod)]
        except SlipwayError:
            return f"{fault}\n    its log is not shown, as its Secrets cannot be read to take them out: {where}"
        hidden = [value for secret in secrets if secret for value in last_words.values_of(secret)]
        try:
            lines = last_words.shown(self.cluster.text(f"{place}/pods/{name}/log?{query}"), hidden)
        except SlipwayError:
            lines = []
        shown = [f"    its last lines ({where}):", *(f"    | {line}" for line in lines)] if lines else []
        return "\n".join([last_words.masked(fault, hidden), *shown])

    def _present(self, item: Object) -> Object:
        """Read a workload anew; one that is not there yet stays what it was, without a state."""
        return self.cluster.get(self.path(item)) or without_status(item)

    def _there(self, item: Object, enough: int | None) -> bool:
        return "status" in item and workloads.rolled_out(item, enough)

    def _of(self, kind: str, namespace: str) -> list[Object]:
        root = "/apis/apps/v1" if kind == "replicasets" else "/api/v1"
        return self.cluster.items(f"{root}/namespaces/{namespace}/{kind}") or []

    def _reason(self, item: Object, pods: Mapping[str, list[Object]], signs: Mapping[str, Signs]) -> str:
        if "status" not in item:
            return "it is not there"
        (space,) = _spaces([item])
        name = item["metadata"]["name"]
        return workloads.reason(name, [item] if item["kind"] == "Pod" else pods[space], signs.get(space, NONE))


def _spaces(items: Iterable[Object]) -> set[str]:
    return {item["metadata"].get("namespace") or "default" for item in items}


def shown(item: Object | None) -> Object | None:
    """Give what may be seen of an object: of a Secret which keys it has, and nothing of what they hold."""
    if item is None or item["kind"] != "Secret":
        return item
    return {
        key: dict.fromkeys(value or {}, "(not shown)") if key in ("data", "stringData") else value
        for key, value in item.items()
    }


def marked(item: Object) -> Object:
    """Give a definition with the sum of itself as an annotation; anything else as it is.

    The API server takes up to half a second for each definition, whether it changes or not. One that carries the sum
    of what is to be applied and still holds all of it need not be sent: what an earlier version had and this one has
    not any more would have had another sum.
    """
    if item["kind"] != "CustomResourceDefinition":
        return item
    metadata = item["metadata"]
    own = hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()
    return {**item, "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), _SUM: own}}}


def without_status(item: Object) -> Object:
    """Give an object without its status: it is the server's own, though generators of definitions leave one."""
    return {key: value for key, value in item.items() if key != "status"}


def holds(there: Any, wanted: Any) -> bool:
    """Tell whether all of ``wanted`` is ``there``, which may have more; empty and not there are the same."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(
            holds(there[key], value) if key in there else not value for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(there, list) and len(there) == len(wanted) and all(map(holds, there, wanted))
    return bool(there == wanted)


def without(item: Object, hidden: Iterable[str] = ()) -> Object:
    """Give an object without what nobody reads, and without these keys of its data."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    data = {key: value for key, value in (item.get("data") or {}).items() if key not in set(hidden)}
    return {**item, "metadata": metadata, **({"data": data} if "data" in item else {})}


def _refusal(name: str, status: int, answer: Mapping[str, Any]) -> SlipwayError:
    """Say that the API server refuses something; a BusyError where that may pass by itself."""
    said = str(answer.get("message", ""))
    kind = BusyError if status in (429, 503, 504) or _NOT_YET.search(said) else SlipwayError
    return kind(f"{name}: the API server refuses it ({status}): {said}")


def _kept(item: Object) -> str:
    """Say what keeps an object that is to go, as far as it says so itself."""
    conditions = item.get("status", {}).get("conditions") or []
    told = [one["message"] for one in conditions if one.get("status") == "True" and one.get("message")]
    waits = [str(name) for name in item["metadata"].get("finalizers") or []]
    whys = [*told, *([f"it waits for {', '.join(waits)}"] if waits else [])]
    return f": {'; '.join(whys)}" if whys else ""


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _established(definition: Object) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
