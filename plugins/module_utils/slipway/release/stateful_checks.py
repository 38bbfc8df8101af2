"""Checks of stateful services: what pods with stable names cannot have, and claims that more than one pod would use."""

from __future__ import annotations

from collections.abc import Iterator

from ..page.form import Fault
from ..page.read import Key, flow
from . import containers
from .shape import Shape
from .workload import autoscaling, least_pods, most_pods


def pods_can_be_stateful(shape: Shape) -> Iterator[Fault]:
    """Refuse what needs pods without names: other numbers of them by load, none at all, copies of requests."""
    for service, declared in shape.services.items():
        for version, own in declared.versions.items() if declared.stateful else ():
            key: Key = ("services", service, "versions", version)
            scaling = autoscaling(declared, version)
            if scaling:
                at: Key = (*(key if own.autoscaling else key[:2]), "autoscaling")
                what = (
                    f"takes pods of {service} away by load, which is stateful: a pod's claim has its part of the data"
                )
                yield Fault("not-for-stateful", at, what, f"replicas: {scaling.max}")
            elif least_pods(declared, version) == 0:
                at = (*(key if own.replicas is not None else key[:2]), "replicas")
                what = f"leaves nobody who has the name {service} {version} stands for, and a stateful service has one"
                yield Fault("not-for-stateful", at, what, "replicas: 1")
            if own.shadow is not None:
                what = f"gives {version} copies of requests, and a stateful one would keep what they write in claims"
                yield Fault(
                    "not-for-stateful", (*key, "shadow"), what, f"no shadow here, or stateful: false at {service}"
                )


def claims_are_of_one_pod(shape: Shape) -> Iterator[Fault]:
    """Refuse claims that the pods of a stateful service share, and those of each pod where pods have no names."""
    release = shape.release
    for service, declared in shape.services.items():
        users: dict[str, int] = {}
        for version in declared.versions:
            own = declared.versions[version]
            names = {*declared.mounts, *own.mounts}
            names |= {name for each in containers.every(declared, version) for name in each.mounts}
            for name in names & set(release.volumes):
                users[name] = users.get(name, 0) + most_pods(declared, version)
        for name, pods in users.items():
            volume = release.volumes[name]
            alone = volume.access not in ("ReadWriteMany", "ReadOnlyMany") and not volume.read_only
            if declared.stateful and pods > 1 and volume.size and not volume.per_pod and alone:
                what = f"is one claim for {pods} pods of {service}, which is stateful: they would write over each other"
                given = {**volume.model_dump(exclude_unset=True), "per_pod": True}
                yield Fault("claim-not-per-pod", ("volumes", name), what, f"{name}: {flow(given)}")
            elif volume.per_pod and not declared.stateful:
                what = f"is a claim for each pod, and pods of {service} have no names of their own"
                yield Fault("claim-not-per-pod", ("services", service, "mounts", name), what, "stateful: true")
    for job, work in release.jobs.items():
        for name in work.mounts:
            if name in release.volumes and release.volumes[name].per_pod:
                what = "is a claim for each pod of a service, and a job has none of them"
                yield Fault("claim-not-per-pod", ("jobs", job, "mounts", name), what, "another volume, without per_pod")
