"""Checks of containers beside the application, of jobs, and of more ports."""

from __future__ import annotations

from collections.abc import Iterator

from ..page.form import Fault
from ..page.read import Key, flow
from . import containers
from .form import near
from .pod_keys import Container, Port
from .shape import Shape
from .storage_checks import key_is_there, no_secret
from .workload_checks import PROXY_PORTS, image_that_changes, workloads

_TAKEN = ("istio-proxy", "istio-init", "istio-validation", "slipway-folders")


def every(shape: Shape) -> Iterator[tuple[Key, Container]]:
    """Yield all containers that a page names beside its applications, each with its key."""
    for key, workload in workloads(shape):
        for where in ("init", "beside"):
            yield from (((*key, where, name), each) for name, each in getattr(workload, where).items())
    yield from ((("jobs", name), job) for name, job in shape.release.jobs.items())


def containers_are_known(shape: Shape) -> Iterator[Fault]:
    """Refuse what containers mount or read and the page does not have, and warn of images that change."""
    release = shape.release
    for key, each in every(shape):
        if (changing := image_that_changes((*key, "image"), each.image)) is not None:
            yield changing
        for name, value in each.env.items():
            if value.secret is not None and value.secret not in release.secrets:
                yield no_secret((*key, "env", name, "secret"), value.secret, release)
            elif value.secret is not None:
                yield from key_is_there((*key, "env", name, "key"), value.secret, value.key, release)
        known = [*release.volumes, *release.secrets]
        for name, mount in each.mounts.items():
            if name not in known:
                fix = f"{near(name, known)}: {mount.path}" if known else f"volumes: {{{name}: {{size: 1Gi}}}}"
                yield Fault(
                    "unknown-mount", (*key, "mounts", name), "is neither an entry of volumes nor of secrets", fix
                )


def containers_are_apart(shape: Shape) -> Iterator[Fault]:
    """Refuse two containers of one pod with one name."""
    for service, declared in shape.services.items():
        for version, own in declared.versions.items():
            init = containers.of_version(declared, version, "init")
            beside = containers.of_version(declared, version, "beside")
            for where, names in (("init", init), ("beside", beside)):
                for name in names:
                    if name in (service, *_TAKEN) or (where == "beside" and name in init):
                        mine = name in getattr(own, where)
                        key: Key = ("services", service, *(("versions", version) if mine else ()), where, name)
                        what = "is the name of another container of the pod"
                        known = {service, *_TAKEN, *init, *beside}
                        free = next(each for n in range(2, 99) if (each := f"{name[:60]}-{n}") not in known)
                        yield Fault("duplicate-value", key, what, free)


def more_ports_are_free(shape: Shape) -> Iterator[Fault]:
    """Refuse ports that the service has already, and those of the mesh's proxy."""
    for service, declared in shape.services.items():
        held = {declared.port: "port"}
        numbers = {declared.service_port or declared.port: "service_port" if declared.service_port else "port"}
        if declared.metrics and declared.metrics.port:
            held[declared.metrics.port] = numbers[declared.metrics.port] = "metrics"
        every = {*held, *numbers, *PROXY_PORTS}
        every |= {number for each in declared.ports.values() for number in (each.port, each.service_port or 0)}
        free = next(number for number in range(9000, 65536) if number not in every)
        for name, port in declared.ports.items():
            key: Key = ("services", service, "ports", name)
            number = port.service_port or port.port
            if port.port in PROXY_PORTS:
                what = "is a port of the mesh's own proxy in every pod"
                yield Fault("port-taken", key, what, _moved(name, port, "port", free))
            elif taken := held.get(port.port):
                yield Fault("port-taken", key, f"is the port of {taken} too", _moved(name, port, "port", free))
            elif taken := numbers.get(number):
                what = f"is, in the Service, the port of {taken} too"
                yield Fault("port-taken", key, what, _moved(name, port, "service_port", free))
            held.setdefault(port.port, f"ports.{name}")
            numbers.setdefault(number, f"ports.{name}")


def _moved(name: str, port: Port, which: str, free: int) -> str:
    """Write the port as it is, with another number."""
    given = {**port.model_dump(exclude_defaults=True), which: free}
    if which == "port":
        given.pop("service_port", None)
    return f"{name}: {flow(given if len(given) > 1 else free)}"
