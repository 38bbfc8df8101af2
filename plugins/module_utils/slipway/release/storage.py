"""Volumes of a release against its cluster: classes, claims that are there, and nodes that would share one."""

from __future__ import annotations

from collections.abc import Iterator

from ..page.form import Fault
from . import workload
from .form import near
from .maker import Maker

# What these make is on one node, and the scheduler puts all pods that use it there.
_ON_ONE_NODE = ("rancher.io/local-path", "kubernetes.io/no-provisioner", "openebs.io/local")


def faults(maker: Maker) -> Iterator[Fault]:
    """Refuse StorageClasses and claims that are not there."""
    environment = maker.environment
    classes, claims = environment.storage_classes, environment.claims
    for name, volume in maker.shape.release.volumes.items():
        wanted = volume.storage_class
        if classes is not None and wanted is not None and wanted not in classes:
            fix = f"storage_class: {near(wanted, sorted(classes))}" if classes else "cluster_parts: {storage: true}"
            yield Fault(
                "unknown-storage-class", ("volumes", name, "storage_class"), "is no StorageClass of this cluster", fix
            )
        if claims is not None and volume.claim and volume.claim not in claims:
            known = f"claim: {near(volume.claim, sorted(claims))}, or " if claims else ""
            what = f"is no PersistentVolumeClaim of namespace {maker.namespace}"
            fix = f"{known}{name}: {{size: 1Gi}}, which makes one"
            yield Fault("claim-not-in-cluster", ("volumes", name, "claim"), what, fix)


def warnings(maker: Maker) -> Iterator[str]:
    """Name claims for one node that pods of several nodes would share."""
    if maker.environment.workers < 2:
        return
    for name, volume in maker.shape.release.volumes.items():
        if volume.per_pod or not (volume.size or volume.claim):
            continue
        users = _users(maker, name)
        modes, of_class = _held(maker, name)
        alone = modes == ["ReadWriteOncePod"]
        if not (modes == ["ReadWriteOnce"] or alone) or sum(pods for _, pods in users) < 2:
            continue
        provisioner = maker.environment.provisioners.get(of_class, "")
        if provisioner in _ON_ONE_NODE and not alone:
            continue
        who = ", ".join(f"{who} ({pods} pods)" if pods > 1 else who for who, pods in users)
        where = "pod that comes second" if alone else "pod that another node gets"
        yield (
            f"volumes.{name} is {modes[0]}, and {who} share it: a {where} waits for ever; "
            f"works: access: ReadWriteMany with a storage_class that can do it, or a volume for each version"
        )


def _held(maker: Maker, name: str) -> tuple[list[str], str]:
    """Give access modes and StorageClass of a volume's claim: as it is there, else as the page says."""
    volume = maker.shape.release.volumes[name]
    there = (maker.environment.claims or {}).get(volume.claim or name)
    if there:
        return list(there["access"]), str(there["class"])
    return [volume.access], volume.storage_class or maker.environment.default_class


def _users(maker: Maker, name: str) -> list[tuple[str, int]]:
    """List the versions that mount a volume, each with its most pods."""
    found = []
    for service, declared, version in maker.versions():
        if name in {**declared.mounts, **declared.versions[version].mounts}:
            found.append((f"{service} {version}", workload.most_pods(declared, version)))
    return found
