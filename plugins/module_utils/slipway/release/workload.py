"""What one version of a service runs as: the service's own words, and the version's over them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from . import authorities, containers, registries
from .model import Service
from .names import Naming
from .resource_keys import Resources
from .shape import Shape
from .storage_keys import Volume
from .values import IMAGE_USER, milliseconds, whole
from .workload_keys import Probe, Probes, VersionOf

# On pods: the version by its name on the page, whatever their label "version" says, and the Deployment.
VERSION = "slipway.io/version"
WORKLOAD = "slipway.io/workload"
# What holds where neither a version nor its service says it.
USUAL: Mapping[str, Any] = {"replicas": 1, "user": 65532, "writable": False, "sidecar": True, "drain": "3s"}
# Where the folders that a pod makes on its node appear while they are made. One that is empty and root's is new.
_MADE = "/made"
_GIVE = (
    'for folder in "$@"; do mkdir -p "$folder" && if [ -O "$folder" ] && [ -z "$(ls -A "$folder")" ]; '
    'then chown USER:USER "$folder"; fi || exit 1; done'
)
_PROTOCOLS = {"http": "http", "http2": "http2", "grpc": "grpc"}


def ports(declared: Service, known: Mapping[int, str] | None = None) -> list[dict[str, Any]]:
    """List the ports of a Service: ``name`` and ``number`` (the Service's), ``target`` (the name and) ``container``
    (the number of the container's), ``protocol``.

    A Service leads to a port of the container by its name, so that pods with another number serve it too. ``known``:
    names of ports by number, as the cluster has them; endpoints go by the name, so a port keeps it.
    """
    protocol = _PROTOCOLS[declared.protocol]
    wanted = [(protocol, declared.service_port or declared.port, declared.port, protocol)]
    for name, port in declared.ports.items():
        wanted.append((f"{port.protocol}-{name}", port.service_port or port.port, port.port, port.protocol))
    if declared.metrics and declared.metrics.port not in (None, declared.port):
        # The last one: by that it is found.
        wanted.append(("http-metrics", declared.metrics.port, declared.metrics.port, "http"))
    known = known or {}
    found = []
    for target, number, container, spoken in wanted:
        name = known.get(number, "")
        if name not in (target, f"{target}-{number}"):
            name = target if target not in known.values() else f"{target}-{number}"
        found.append({"name": name, "number": number, "target": target, "container": container, "protocol": spoken})
    return found


def config(declared: Service, version: str) -> dict[str, str]:
    """Give the data of a version's ConfigMap; empty: there is none."""
    return {**declared.config, **declared.versions[version].config}


def has_sidecar(declared: Service, version: str) -> bool:
    """Tell whether a version's pods have the mesh's proxy."""
    return bool(_chosen(declared, version, "sidecar"))


def runs_as_image(declared: Service, version: str) -> bool:
    """Tell whether a version's container runs as the user that its image names."""
    return bool(_chosen(declared, version, "user") == IMAGE_USER)


def _chosen(declared: Service, version: str, name: str) -> Any:
    for place in (declared.versions[version], declared):
        value = getattr(place, name)
        if value is not None:
            return value
    return USUAL.get(name)


def pods(shape: Shape, service: str, version: str = "") -> dict[str, str]:
    """Give the labels by which pods of a service, or of one version, are told from those of any other release."""
    of_version = {"version": shape.label(version)} if version else {}
    return {"app": service, **of_version, "slipway.io/release": shape.release.name}


def deployment(
    naming: Naming, service: str, version: str, labels: dict[str, str], revisions: Mapping[str, str]
) -> dict[str, Any]:
    """Give the values of the template ``deployment``; ``revisions`` are those of Secrets, by name."""
    shape = naming.shape
    declared = shape.services[service]
    own = declared.versions[version]

    def chosen(name: str) -> Any:
        return _chosen(declared, version, name)

    own_pods = pods(shape, service, version)
    name = naming.of("deployment", service, version)
    marks = {VERSION: version, WORKLOAD: name}
    # It cannot be changed on a cluster, so there is nothing in it that a page may change.
    selector = {"app": service, **marks}
    data = config(declared, version)
    scaling = autoscaling(declared, version)
    replicas = chosen("replicas")
    mounts, volumes = _storage(naming, declared, own, service, version)
    of_pods = per_pod(naming, declared, version)
    image = chosen("image")
    user = None if runs_as_image(declared, version) else chosen("user")
    apart = containers.users_apart(declared, version, user)
    return {
        "name": name,
        "namespace": shape.namespace,
        "labels": {**labels, "app": service, "version": shape.label(version)},
        "selector": selector,
        "pod_labels": {
            **declared.labels,
            **own.labels,
            **own_pods,
            **marks,
            "traffic": "user" if own.shadow is None else "shadow",
            "sidecar.istio.io/inject": "true" if has_sidecar(declared, version) else "false",
        },
        "annotations": {
            **declared.annotations,
            **own.annotations,
            **_authorities(naming, declared, version),
            **_annotations(
                data, {name: revisions[name] for name in used_secrets(declared, version) if name in revisions}
            ),
        },
        # A field that the autoscaler sets is not ours.
        "replicas": None if scaling else replicas,
        "spread": own_pods if scaling is not None or replicas > 1 else None,
        "service_account": naming.of("service_account", service, version),
        "token": chosen("service_account") is not None,
        "placed": placed(declared, version),
        **{
            where: [
                containers.container(
                    each, given, shape.release, user if apart else None, drops=not runs_as_image(declared, version)
                )
                for each, given in containers.of_version(declared, version, where).items()
            ]
            for where in ("init", "beside")
        },
        "image_pull_secrets": [{"name": name} for name in registries.pulling(shape.release)],
        # None: as the image says.
        "user": user,
        # A pod that says whom it runs as says it of all of its containers.
        "pod_user": None if apart else user,
        "container": service,
        "image": image,
        "pull": "IfNotPresent" if "@" in image or _is_tagged(image) else "Always",
        "command": chosen("command"),
        "args": chosen("args"),
        "ports": ports(declared),
        "env_from": list(_sources(naming, declared, own, service, version)),
        "env": [containers.variable(name, value) for name, value in {**declared.env, **own.env}.items()],
        "resources": containers.resources(chosen("resources") or Resources()),
        "writable": chosen("writable"),
        "drain": -(-milliseconds(chosen("drain")) // 1000),
        "probes": list(_probes(chosen("probes") or Probes(), declared.port)),
        "mounts": mounts,
        # Each pod of a StatefulSet has a volume of the name of its claim's template.
        "volumes": [volume for volume in volumes if volume["name"] not in of_pods],
        "claims": [
            {"name": each, "size": volume.size, "access": volume.access, "storage_class": volume.storage_class}
            for each, volume in of_pods.items()
        ],
        "headless": naming.of("pods", service),
        "made": made_folders(naming, declared, version),
        "made_by": _GIVE.replace("USER", str(chosen("user"))),
    }


def per_pod(naming: Naming, declared: Service, version: str) -> dict[str, Volume]:
    """Give the volumes of which each pod of a version has a claim of its own."""
    release = naming.shape.release
    names = [*declared.mounts, *declared.versions[version].mounts]
    names += [name for each in containers.every(declared, version) for name in each.mounts]
    return {name: release.volumes[name] for name in names if name in release.volumes and release.volumes[name].per_pod}


def _authorities(naming: Naming, declared: Service, version: str) -> dict[str, str]:
    """Give the annotations by which the proxy has the authorities of hosts outside."""
    known = authorities.files(naming.shape.release.outside) and has_sidecar(declared, version)
    return authorities.mounting(naming.of("authorities")) if known else {}


def _annotations(data: dict[str, str], revisions: dict[str, str]) -> dict[str, str]:
    """What changes with a version's ConfigMap and Secrets, and with nothing else: pods are made anew when it does."""
    said = {"slipway.io/config": data, "slipway.io/secrets": revisions}
    return {name: _digest(value) for name, value in said.items() if value}


def used_secrets(declared: Service, version: str) -> list[str]:
    """Name the entries of ``secrets`` that a version's container gets, as variables or files."""
    own = declared.versions[version]
    single = [value.secret for value in {**declared.env, **own.env}.values() if value.secret is not None]
    for each in containers.every(declared, version):
        single += [*(value.secret for value in each.env.values() if value.secret is not None), *each.mounts]
    # What is mounted and is no volume is a Secret.
    return sorted({*declared.secrets, *own.secrets, *single, *declared.mounts, *own.mounts})


def placed(declared: Service, version: str) -> dict[str, Any]:
    """Say on which nodes the pods of a version may run, as a pod has it."""
    made: dict[str, Any] = {}
    if selector := _chosen_map(declared, version, "node_selector"):
        made["nodeSelector"] = dict(selector)
    if tolerations := _chosen_map(declared, version, "tolerations"):
        made["tolerations"] = [
            {
                "key": each.key,
                "operator": "Exists" if each.value is None else "Equal",
                **({"value": each.value} if each.value is not None else {}),
                **({"effect": each.effect} if each.effect else {}),
            }
            for each in tolerations
        ]
    if affinity := _chosen(declared, version, "affinity"):
        made["affinity"] = affinity
    return made


def _chosen_map(declared: Service, version: str, name: str) -> Any:
    """Give the version's own where it has some, else the service's."""
    return getattr(declared.versions[version], name) or getattr(declared, name)


def autoscaling(declared: Service, version: str) -> Any:
    """Give a version's autoscaling: its own, the service's where it does not fix its number of pods, or None."""
    own = declared.versions[version]
    return own.autoscaling or (declared.autoscaling if own.replicas is None else None)


def least_pods(declared: Service, version: str) -> int:
    """Give the number of pods that a version has at least; a parked one has none."""
    scaling = autoscaling(declared, version)
    return int(scaling.min if scaling else _chosen(declared, version, "replicas"))


def most_pods(declared: Service, version: str) -> int:
    """Give the number of pods that a version has at most."""
    scaling = autoscaling(declared, version)
    return int(scaling.max if scaling else _chosen(declared, version, "replicas"))


def min_available(declared: Service, version: str) -> int | None:
    """Give the number of pods that stay when nodes are drained."""
    found: int | None = _chosen(declared, version, "min_available")
    return found


def _is_tagged(image: str) -> bool:
    name = image.rpartition("/")[2]
    return ":" in name and not name.endswith(":latest")


def _digest(data: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _sources(naming: Naming, declared: Service, own: VersionOf, service: str, version: str) -> Iterator[dict[str, str]]:
    if config(declared, version):
        yield {"kind": "configMapRef", "name": naming.of("config", service, version)}
    for name in dict.fromkeys([*declared.secrets, *own.secrets]):
        yield {"kind": "secretRef", "name": name}


def _probes(given: Probes, port: int) -> Iterator[dict[str, Any]]:
    kinds = (("startupProbe", given.start), ("livenessProbe", given.live), ("readinessProbe", given.ready))
    if given.ready is None:
        # Nobody said when it is ready, so the port being open has to do.
        yield {"kind": "readinessProbe", "path": "", "port": port, "period": 5, "timeout": 2, "failures": 3}
    for kind, probe in kinds:
        if isinstance(probe, Probe):
            yield {
                "kind": kind,
                "path": probe.path,
                "port": probe.port or port,
                "period": max(1, milliseconds(probe.period) // 1000),
                "timeout": max(1, milliseconds(probe.timeout) // 1000),
                "failures": probe.failures,
            }


def _storage(
    naming: Naming, declared: Service, own: VersionOf, service: str, version: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give volumeMounts and volumes: what the page mounts, its config as files, and /tmp to write to."""
    release = naming.shape.release
    mounts: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    mine = {**declared.mounts, **own.mounts}
    mounts += [containers.mount(name, mount, release) for name, mount in mine.items()]
    others = [name for each in containers.every(declared, version) for name in each.mounts]
    volumes += containers.volumes([*mine, *others], release)
    folder = own.config_mount or declared.config_mount or ""
    if folder:
        mounts.append({"name": "slipway-config", "mountPath": folder, "readOnly": True})
        volumes.append({"name": "slipway-config", "configMap": {"name": naming.of("config", service, version)}})
    if not _chosen(declared, version, "writable") and "/tmp" not in {mount["mountPath"] for mount in mounts}:  # noqa: S108, in a container
        mounts.append({"name": "slipway-tmp", "mountPath": "/tmp"})  # noqa: S108
        volumes.append({"name": "slipway-tmp", "emptyDir": {}})
    return mounts, volumes


def made_folders(naming: Naming, declared: Service, version: str) -> list[dict[str, str]]:
    """List the folders of the node that a pod makes and gives to its user: ``name`` of the volume, and ``folder``.

    A container that runs as its image says is given none: nobody knows whose they would be.
    """
    volumes = naming.shape.release.volumes
    if runs_as_image(declared, version):
        return []
    mounts = {**declared.mounts, **declared.versions[version].mounts}
    made = {name: mount for name, mount in mounts.items() if name in volumes and volumes[name].create}
    return [
        {"name": name, "folder": f"{_MADE}/{name}" + (f"/{mount.sub_path}" if mount.sub_path else "")}
        for name, mount in made.items()
        if not (mount.read_only or volumes[name].read_only)
    ]


def scaling_values(found: Any) -> dict[str, Any]:
    """Give what the template ``autoscaler`` needs of a version's autoscaling."""
    return {"least": found.min, "most": found.max, "cpu": whole(found.cpu)}
