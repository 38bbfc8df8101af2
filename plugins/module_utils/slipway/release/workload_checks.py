"""Checks of what runs: images, numbers of pods, resources and ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..page.form import Fault
from ..page.read import Key
from .shape import Shape
from .values import amount
from .workload import USUAL, autoscaling, least_pods

# Ports of the mesh's proxy in every pod.
PROXY_PORTS = (15000, 15001, 15004, 15006, 15008, 15009, 15020, 15021, 15053, 15090)


def workloads(shape: Shape) -> Iterator[tuple[Key, Any]]:
    """Give all that says what runs, with its key: each service, then each of its versions."""
    for service, declared in shape.services.items():
        yield ("services", service), declared
        for version, own in declared.versions.items():
            yield ("services", service, "versions", version), own


def images_are_there(shape: Shape) -> Iterator[Fault]:
    """Refuse versions without an image, and warn of images that change."""
    for service, declared in shape.services.items():
        for version, own in declared.versions.items():
            image = own.image or declared.image
            key: Key = ("services", service, "versions", version)
            if image is None:
                yield Fault(
                    "no-image",
                    key,
                    "has no image, and its service has none either",
                    f"image: example.org/{service}:1.0",
                )
            else:
                at: Key = (*key, "image") if own.image else ("services", service, "image")
                if (changing := image_that_changes(at, image)) is not None:
                    yield changing


def image_that_changes(key: Key, image: str) -> Fault | None:
    """Warn of an image that is another one tomorrow; None: it is one for all time."""
    if "@" in image or (":" in image.rpartition("/")[2] and not image.endswith(":latest")):
        return None
    what = f"{image} is not one image for all time, so nodes may run different ones"
    return Fault("image-may-change", key, what, f"image: {image.removesuffix(':latest')}:1.0", warning=True)


def writers_have_the_right(shape: Shape) -> Iterator[Fault]:
    """Warn of a container that may write everywhere, and as the usual user cannot where root owns the folder."""
    for service, declared in shape.services.items():
        for version, own in declared.versions.items():
            writable = own.writable if own.writable is not None else declared.writable
            if writable and own.user is None and declared.user is None:
                at: Key = ("services", service, *(("versions", version) if own.writable else ()), "writable")
                what = f"does not open folders that root owns: {version} runs as user {USUAL['user']}"
                fix = "user: image, which is whoever the image names, or user with the ID of who owns the folders"
                yield Fault("writes-as-nobody", at, what, fix, warning=True)
                if not own.writable:
                    break


def pods_add_up(shape: Shape) -> Iterator[Fault]:
    """Refuse numbers of pods that contradict each other."""
    for service, declared in shape.services.items():
        for version, own in declared.versions.items():
            key: Key = ("services", service, "versions", version)
            scaling = autoscaling(declared, version)
            stays = own.min_available or declared.min_available
            pods = own.replicas if own.replicas is not None else declared.replicas
            if scaling and pods is not None:
                yield Fault(
                    "keys-contradict",
                    key,
                    "has replicas and autoscaling, and both would set the number",
                    "one of the two",
                )
            if scaling and scaling.min > scaling.max:
                what = f"scales from {scaling.min} to {scaling.max}, which is fewer"
                yield Fault(
                    "autoscaling-backwards", key, what, f"autoscaling: {{min: {scaling.max}, max: {scaling.min}}}"
                )
            least = least_pods(declared, version)
            if stays and stays >= least:
                what = f"keeps {stays} of {least} pods, so a node with one of them could never be drained"
                fix = f"min_available: {least - 1}" if least > 1 else f"replicas: {stays + 1}"
                yield Fault("cannot-drain", key, what, fix)


def weights_have_pods(shape: Shape) -> Iterator[Fault]:
    """Refuse a version that gets clients and has no pods."""
    for service, declared in shape.services.items():
        for version in shape.users(service):
            weight = shape.release.weights.get(version, 0)
            if weight and least_pods(declared, version) == 0:
                own = declared.versions[version].replicas is not None
                key: Key = ("services", service, *(("versions", version) if own else ()))
                what = f"leaves {version} without pods, and its {weight}% of the clients would be answered 503"
                yield Fault("weight-without-pods", (*key, "replicas"), what, f"replicas: 1, or {version}: 0 in weights")


def limits_are_above(shape: Shape) -> Iterator[Fault]:
    """Refuse resources that are asked for and above their limit."""
    for key, workload in workloads(shape):
        given = workload.resources
        for name in ("cpu", "memory") if given else ():
            asked, most = getattr(given, name), getattr(given, f"{name}_limit")
            if most is not None and name in given.model_fields_set and amount(asked) > amount(most):
                what = f"is more than {name}_limit {most}, and no pod may ask for more than it may use"
                yield Fault("request-above-limit", (*key, "resources", name), what, f"{name}: {most}")


def ports_are_free(shape: Shape) -> Iterator[Fault]:
    """Refuse ports that something else in the pod, or in the Service, has."""
    for service, declared in shape.services.items():
        ports: list[tuple[str, int | None]] = [("port", declared.port)]
        if declared.metrics:
            ports.append(("metrics", declared.metrics.port))
        for name, port in ports:
            if port in PROXY_PORTS:
                what = "is a port of the mesh's own proxy in every pod"
                yield Fault("port-taken", ("services", service, name), what, "port: 8080")
        beside = declared.metrics.port if declared.metrics else None
        if beside not in (None, declared.port) and beside == declared.service_port:
            what = "is the port of metrics too, and a Service has each port once"
            yield Fault("port-taken", ("services", service, "service_port"), what, f"service_port: {declared.port}")
