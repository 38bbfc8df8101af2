"""Containers beside the application, and jobs, as Kubernetes has them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from . import registries
from .model import Release, Service
from .names import Naming
from .pod_keys import Container, Job
from .resource_keys import EnvValue, Mount, Resources
from .storage_keys import Volume
from .values import IMAGE_USER, amount, milliseconds

Object = dict[str, Any]
# Whoever runs jobs, where the page does not say it.
USER = 65532


def of_version(declared: Service, version: str, where: str) -> dict[str, Container]:
    """Give the containers of a version: ``init`` or ``beside``."""
    return {**getattr(declared, where), **getattr(declared.versions[version], where)}


def every(declared: Service, version: str) -> list[Container]:
    """List all containers of a version's pods beside the application."""
    return [*of_version(declared, version, "init").values(), *of_version(declared, version, "beside").values()]


def as_image(given: Container) -> bool:
    """Tell whether a container says that it runs as the user that its image names."""
    return bool(given.user == IMAGE_USER)


def users_apart(declared: Service, version: str, user: int | None) -> bool:
    """Tell whether a pod of one user has a container that runs as its image says, so that each says its own."""
    return user is not None and any(map(as_image, every(declared, version)))


def runs_as(user: int) -> Object:
    """Write whom a container, or a pod, runs as."""
    return {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user}


def container(name: str, given: Container, release: Release, user: int | None = None, *, drops: bool = True) -> Object:
    """Write a container. ``user``: whom it runs as where the pod does not say it. ``drops``: no rights of its image."""
    secured: Object = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": not given.writable}
    if drops and not as_image(given):
        secured["capabilities"] = {"drop": ["ALL"]}
    own = user if given.user is None else given.user
    if own is not None and not as_image(given):
        secured |= runs_as(own)
    tagged = ":" in given.image.rpartition("/")[2] and not given.image.endswith(":latest")
    made: Object = {
        "name": name,
        "image": given.image,
        "imagePullPolicy": "IfNotPresent" if tagged or "@" in given.image else "Always",
        "resources": resources(given.resources),
        "securityContext": secured,
    }
    for key in ("command", "args"):
        if getattr(given, key):
            made[key] = list(getattr(given, key))
    if given.env:
        made["env"] = [variable(key, value) for key, value in given.env.items()]
    if given.mounts:
        made["volumeMounts"] = [mount(key, value, release) for key, value in given.mounts.items()]
    return made


def variable(name: str, given: EnvValue) -> Object:
    """Write an environment variable."""
    if given.secret is not None:
        return {"name": name, "valueFrom": {"secretKeyRef": {"name": given.secret, "key": given.key}}}
    if given.field is not None:
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": given.field}}}
    return {"name": name, "value": given.value}


def mount(name: str, given: Mount, release: Release) -> Object:
    """Write a volumeMount."""
    volume = release.volumes.get(name)
    read_only = given.read_only or volume is None or volume.read_only
    made = {"name": name, "mountPath": given.path, **({"readOnly": True} if read_only else {})}
    return {**made, **({"subPath": given.sub_path} if given.sub_path else {})}


def volumes(names: Iterable[str], release: Release) -> Iterator[Object]:
    """Write the volumes of a pod: entries of the page's volumes, else of its secrets."""
    for name in dict.fromkeys(names):
        volume = release.volumes.get(name)
        yield {"name": name, **(source(name, volume) if volume else {"secret": {"secretName": name}})}


def source(name: str, volume: Volume) -> Object:
    """Say where a volume of a pod comes from."""
    if volume.host_path:
        return {"hostPath": {"path": volume.host_path, "type": "DirectoryOrCreate" if volume.create else "Directory"}}
    if volume.temporary:
        return {"emptyDir": {"sizeLimit": volume.temporary}}
    return {"persistentVolumeClaim": {"claimName": volume.claim or name}}


def resources(given: Resources) -> Object:
    """Write what a container asks for, and may use."""
    limits = {"cpu": given.cpu_limit, "memory": given.memory_limit}
    kept = {name: value for name, value in limits.items() if value is not None}
    # The API server refuses a pod that asks for more than its limit; on a page only a default can be that.
    asked = {
        name: min(value, kept.get(name, value), key=amount)
        for name, value in (("cpu", given.cpu), ("memory", given.memory))
    }
    return {"requests": asked, **({"limits": kept} if kept else {})}


def job(naming: Naming, name: str, given: Job) -> Object:
    """Give the values of the templates ``job`` and ``cron-job``."""
    release = naming.shape.release
    seconds = -(-milliseconds(given.timeout) // 1000)
    user = None if as_image(given) else given.user or USER
    pod = {
        "container": container(name, given, release),
        "volumes": list(volumes(given.mounts, release)),
        "service_account": given.service_account or "default",
        "token": given.service_account is not None,
        "pull": [{"name": secret} for secret in registries.pulling(release)],
        "user": user,
    }
    told = hashlib.sha256(json.dumps([pod, given.retries, seconds], sort_keys=True).encode()).hexdigest()[:8]
    made = {"retries": given.retries, "seconds": seconds, "pod": pod, "job": name, "schedule": given.schedule}
    # A Job cannot be changed: another one has another name, and one that is done is not done again.
    return {**made, "name": named(release, name) if given.schedule else f"{named(release, name)[:54]}-{told}"}


def named(release: Release, name: str) -> str:
    """Name the object of a job; those of CronJobs leave room for what their Jobs add."""
    return f"{release.name}-{name}"[:52].rstrip("-")
