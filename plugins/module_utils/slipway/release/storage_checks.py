"""Checks of secrets and volumes, and of the folders where pods see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..page.form import Fault
from ..page.read import Key, names_a_secret
from .form import near
from .model import Release
from .registries import DOCKER_KEY, pulling
from .shape import Shape
from .workload_checks import workloads


def storage_is_known(shape: Shape) -> Iterator[Fault]:
    """Refuse what is mounted or read and stands neither in secrets nor in volumes."""
    release = shape.release
    for key, workload in workloads(shape):
        for index, name in enumerate(workload.secrets):
            if name not in release.secrets:
                yield no_secret((*key, "secrets", index), name, release)
        for name, value in workload.env.items():
            if value.secret is not None and value.secret not in release.secrets:
                yield no_secret((*key, "env", name, "secret"), value.secret, release)
            if value.secret in release.secrets:
                yield from key_is_there((*key, "env", name, "key"), value.secret, value.key, release)
            if value.value is not None and names_a_secret(name):
                fix = f"{name}: {{secret: {_first(release.secrets, 'api-token')}, key: {name}}}"
                yield Fault(
                    "secret-in-env",
                    (*key, "env", name),
                    "looks like a secret, and this page is committed",
                    fix,
                    warning=True,
                )
        for name in workload.config:
            if name in workload.env:
                yield Fault("keys-contradict", (*key, "config", name), "is in env too", "one of the two")
        for name, mount in workload.mounts.items():
            folder = mount.path
            if name not in release.volumes and name not in release.secrets:
                known = [*release.volumes, *release.secrets]
                what = "is neither an entry of volumes nor of secrets"
                fix = f"{near(name, known)}: {folder}" if known else f"volumes: {{{name}: {{size: 1Gi}}}}"
                yield Fault("unknown-mount", (*key, "mounts", name), what, fix)


def folders_are_apart(shape: Shape) -> Iterator[Fault]:
    """Refuse two things in one folder, and a folder for a config that does not exist."""
    for service, declared in shape.services.items():
        for version, own in declared.versions.items():
            mounts = {**declared.mounts, **own.mounts}
            config = own.config_mount or declared.config_mount
            if config and not (declared.config or own.config):
                key: Key = ("services", service, *(("versions", version) if own.config_mount else ()), "config_mount")
                yield Fault("needs-key", key, "has no config to show there", "config: {LOG_LEVEL: debug}")
            folders = [(name, mount.path, "mounts") for name, mount in mounts.items()]
            folders += [("config", config, "config_mount")] if config else []
            for index, (name, folder, word) in enumerate(folders):
                for other, taken, _ in folders[:index]:
                    if folder == taken:
                        mine = name in own.mounts if word == "mounts" else bool(own.config_mount)
                        at: Key = ("services", service, *(("versions", version) if mine else ()), word)
                        at = (*at, name) if word == "mounts" else at
                        free = f"{folder.rstrip('/')}/{name}"
                        while free in [each for _, each, _ in folders]:
                            free += "-2"
                        yield Fault("duplicate-value", at, f"is {folder}, where {other} is", f"{at[-1]}: {free}")


def secrets_are_used(shape: Shape) -> Iterator[Fault]:
    """Warn of secrets and volumes that nobody uses."""
    release = shape.release
    used = {name for _, workload in workloads(shape) for name in (*workload.secrets, *workload.mounts)}
    used |= {str(value.secret) for _, workload in workloads(shape) for value in workload.env.values()}
    if release.mail and release.mail.password:
        used.add(release.mail.password.secret)
    used |= beside(shape)
    used |= {receiver.key.secret for receiver in release.receivers.values() if receiver.key}
    used |= set(pulling(release))
    for section, known in (("secrets", release.secrets), ("volumes", release.volumes)):
        for name in known:
            if name not in used:
                yield Fault(
                    "unused-entry", (section, name), "is used by nobody", f"mounts: {{{name}: /{name}}}", warning=True
                )


def _first(known: Iterable[str], otherwise: str) -> str:
    return next(iter(known), otherwise)


def no_secret(key: Key, name: str | None, release: Release) -> Fault:
    """Say that a name is no entry of secrets."""
    fix = f"secrets: {{{name}: {{existing: true}}}}"
    if release.secrets:
        fix = f"{near(str(name), release.secrets)}, or {fix}"
    return Fault("unknown-secret", key, "is no entry of secrets", fix)


def key_is_there(key: Key, secret: str | None, wanted: str | None, release: Release) -> Iterator[Fault]:
    """Refuse a key that an entry of secrets does not have."""
    declared = release.secrets[str(secret)]
    known = [DOCKER_KEY] if declared.registry else list(declared.keys)
    if not declared.existing and wanted not in known:
        yield Fault("unknown-secret", key, f"is no key of {secret}", f"key: {near(str(wanted), known)}")


def beside(shape: Shape) -> set[str]:
    """Name what containers beside the applications, and jobs, mount and read."""
    others = [each for _, workload in workloads(shape) for each in (*workload.init.values(), *workload.beside.values())]
    every = [*others, *shape.release.jobs.values()]
    found = {name for each in every for name in each.mounts}
    return found | {str(value.secret) for each in every for value in each.env.values()}
