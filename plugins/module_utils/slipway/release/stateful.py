"""StatefulSets on a cluster: the claims of their pods, and what of them cannot be changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..page.form import Fault
from ..page.read import flow
from .render import Object
from .storage_keys import Volume

_SET = "StatefulSet"


def claims(planned: Iterable[Object]) -> Iterator[str]:
    """Give the identities of the claims that pods of StatefulSets have; a pod that goes for good leaves its own."""
    for item in planned:
        for claim in _templates(item):
            for number in range(int(item["spec"].get("replicas") or 0)):
                yield _identity(item, f"{claim}-{item['metadata']['name']}-{number}")


def refusals(planned: Iterable[Object], live: Mapping[str, Object], volumes: Mapping[str, Volume]) -> Iterator[Fault]:
    """Find what would leave data behind unseen, and what a StatefulSet keeps as it was made.

    ``live``: objects of the release on the cluster, by identity. ``volumes``: those of the page.
    """
    kept = {claim for item in live.values() if item["kind"] == _SET for claim in _templates(item)}
    shared = {item["metadata"]["name"] for item in live.values() if item["kind"] == "PersistentVolumeClaim"}
    moved = set()
    for name, volume in volumes.items():
        if volume.per_pod and name in shared:
            what = "is one claim on the cluster, and the claims of pods begin empty; what it holds stays there"
        elif volume.size and not volume.per_pod and name in kept:
            what = "is a claim of each pod on the cluster, and one for all begins empty; what they hold stays there"
        else:
            continue
        moved.add(name)
        other = f"{name}-2: {flow(volume.model_dump(exclude_unset=True))}, which begins empty, with mounts of {name}-2"
        fix = f"per_pod: {flow(not volume.per_pod)}, or {other}"
        yield Fault("claim-changed", ("volumes", name, "per_pod"), what, fix)
    for item in planned:
        there = live.get(_identity(item, item["metadata"]["name"], _SET))
        if item["kind"] == _SET and there is not None:
            yield from _templates_refused(item, there, moved)
            yield from _set_refused(item, there)


def costs(planned: Iterable[Object], live: Mapping[str, Object]) -> Iterator[str]:
    """Say which changes take the only pod of a StatefulSet away before the next one is there."""
    for item in planned:
        there = live.get(_identity(item, item["metadata"]["name"], _SET))
        if item["kind"] != _SET or there is None or int(item["spec"].get("replicas") or 0) > 1:
            continue
        if not _within(item["spec"]["template"], there["spec"].get("template") or {}):
            name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
            yield (
                f"StatefulSet/{name} has one pod, which goes before the new one comes, because both have one name: "
                f"requests fail meanwhile; works: replicas: 2"
            )


def _templates_refused(item: Object, there: Object, moved: set[str]) -> Iterator[Fault]:
    before, wanted = _templates(there), _templates(item)
    name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
    anew = (
        f"for new pods alone: kubectl delete statefulset {name} -n {namespace} --cascade=orphan, then run again (pods "
        "and their claims stay as they are)"
    )
    for volume in dict.fromkeys([*wanted, *before]):
        if volume in moved or before.get(volume) == wanted.get(volume):
            continue
        keeps = f"of StatefulSet {name}, which keeps the templates of its claims"
        if volume not in wanted:
            path = next((f"{{{volume}: {path}}}" for path in _paths(there, volume)), volume)
            yield Fault(
                "claim-changed", ("volumes",), f"has no {volume} for pods {keeps}", f"mounts: {path}, or {anew}"
            )
        elif volume not in before:
            fix = f"a version of another name, or {anew}"
            yield Fault("claim-changed", ("volumes", volume), f"is new to the pods {keeps}", fix)
        else:
            for key, value in before[volume].items():
                if value != wanted[volume][key]:
                    had = f"{key}: {value}" if value else f"no {key} here"
                    what = f"is {value or 'the default'} for pods {keeps}"
                    yield Fault("claim-changed", ("volumes", volume, key), what, f"{had}, or {anew}")


def _paths(item: Object, volume: str) -> Iterator[str]:
    for container in item["spec"]["template"]["spec"].get("containers") or []:
        yield from (each["mountPath"] for each in container.get("volumeMounts") or [] if each["name"] == volume)


def _set_refused(item: Object, there: Object) -> Iterator[Fault]:
    name = item["metadata"]["name"]
    spec, before = item["spec"], there["spec"]
    if spec["serviceName"] != before.get("serviceName"):
        what = f"makes another headless Service than StatefulSet {name} has, whose pods are named by it"
        yield Fault("stateful-set-changed", ("names",), what, f"names: {{pods: {before.get('serviceName')}}}")
    if spec["selector"] != before.get("selector"):
        what = f"gives StatefulSet {name} other pods than it has"
        yield Fault("stateful-set-changed", ("names",), what, "deployment in names: another name")


def _templates(item: Object) -> dict[str, dict[str, str]]:
    """Give the templates of a StatefulSet's claims by name: what of each a page says."""
    return {
        each["metadata"]["name"]: {
            "size": str(each["spec"]["resources"]["requests"]["storage"]),
            "access": str(each["spec"]["accessModes"][0]),
            "storage_class": str(each["spec"].get("storageClassName") or ""),
        }
        for each in item["spec"].get("volumeClaimTemplates") or []
    }


def _within(wanted: object, there: object) -> bool:
    """Tell whether something is as it is wanted, as far as the wanted one says something."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(_within(value, there.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(there, list) and len(wanted) == len(there) and all(map(_within, wanted, there))
    return wanted == there


def _identity(item: Object, name: str, kind: str = "PersistentVolumeClaim") -> str:
    return f"{kind}/{item['metadata'].get('namespace', '')}/{name}"
