"""The keys that say what runs: image, pods, environment, probes, resources."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from ..page.form import Map, WrongError, setting
from .keys import LABEL_RULE, Label, Short, Variable
from .name_keys import Names
from .values import Below, Cpu, Duration, Folder, Image, Memory, Percent, Text, Texts, UrlPath, User, WholePercent


class Probe(Short):
    """A question that the kubelet asks a container."""

    short = "path"

    path: UrlPath = setting(..., "Path that answers 200 if the container is healthy.", example="/healthz")
    port: int | None = setting(
        None,
        "Port of the probe. By default it is the port of the service.",
        unit="port number",
        example=8080,
        ge=1,
        le=65535,
    )
    period: Duration = setting("5s", "Time between two probes.", example="5s")
    timeout: Duration = setting("2s", "Longest time for an answer.", example="2s")
    failures: int = setting(
        3, "Failed answers in a row until the probe counts as failed.", unit="answers", example=3, ge=1
    )


class Probes(Map):
    """When a pod gets requests, and when it is restarted."""

    ready: Probe | None = setting(
        None, "Readiness probe: the pod gets requests only while this succeeds.", example="/readyz"
    )
    live: Probe | None = setting(
        None, "Liveness probe: the kubelet restarts the container if this fails.", example="/healthz"
    )
    start: Probe | None = setting(
        None, "Startup probe: the other two probes wait until this has succeeded once.", example="/healthz"
    )


class Resources(Map):
    """What a container asks for, and may use at most."""

    cpu: Cpu = setting("50m", "CPU request. The default is never above cpu_limit.", example="50m")
    memory: Memory = setting("64Mi", "Memory request. The default is never above memory_limit.", example="64Mi")
    cpu_limit: Cpu | None = setting(None, "CPU limit.", example="500m")
    memory_limit: Memory | None = setting(None, "Memory limit.", example="256Mi")


class Autoscaling(Map):
    """As many pods as the load needs."""

    min: int = setting(1, "Smallest number of pods.", unit="pods", example=1, ge=1)
    max: int = setting(..., "Largest number of pods.", unit="pods", example=5, ge=1)
    cpu: WholePercent = setting(80.0, "Target use of the CPU request, in per cent.", example="80%")


class EnvValue(Short):
    """The value of an environment variable: a text, or where it comes from."""

    short = "value"

    value: Text | None = setting(None, "The value, as text.", example="debug")
    secret: Label | None = setting(
        None, "Name of an entry of secrets.", example="api-token", rule=LABEL_RULE, names="Secret"
    )
    key: Variable | None = setting(None, "Key in that Secret.", example="TOKEN", rule="must be the key of a Secret")
    field: str | None = setting(
        None,
        "Field of the pod.",
        example="metadata.name",
        pattern=r"^(metadata|spec|status)\.[\w.\[\]'/-]+$",
        rule="must be a field of the pod, such as metadata.name",
    )

    @model_validator(mode="after")
    def _one_source(self) -> EnvValue:
        given = [item is not None for item in (self.value, self.secret, self.field)]
        if sum(given) != 1 or (self.key is None) != (self.secret is None):
            raise WrongError("needs-one-of", "must have a value, or a secret with its key, or a field: one of them")
        return self


class Mount(Short):
    """Where an entry of volumes or secrets appears."""

    short = "path"

    path: Folder = setting(..., "Folder of the container.", example="/var/cache/app")
    sub_path: Below | None = setting(None, "A folder or file of the volume, instead of all of it.", example="models")
    read_only: bool = setting(False, "May the container only read it?", example=True)


class Workload(Map):
    """What runs. Written at a service it holds for all its versions; a version may say otherwise.

    Its env, config and mounts are merged with those of the service, its secrets are added, anything else is replaced.
    """

    image: Image | None = setting(None, "Image of the container.", example="ghcr.io/example/frontend:1.0")
    replicas: int | None = setting(None, "Number of pods. By default 1.", unit="pods", example=2, ge=0)
    command: list[str] | None = setting(
        None, "Program that runs instead of the image's entrypoint.", example=["/bin/app"]
    )
    args: list[str] | None = setting(None, "Its arguments.", example=["--verbose"])
    env: dict[Variable, EnvValue] = setting(
        {},
        "Environment variables. Each is a text, {secret, key} or {field}.",
        example={"LOG_LEVEL": "debug"},
        rule="must be letters, digits and underscores",
    )
    config: dict[Variable, Text] = setting(
        {},
        "Values of a ConfigMap. The container gets them as environment variables. A change restarts the pods.",
        example={"APP_MODE": "prod"},
        rule="must be letters, digits, underscores, dots and hyphens",
    )
    config_mount: Folder | None = setting(
        None, "Folder where the ConfigMap is also mounted as files.", example="/etc/app"
    )
    secrets: Texts = setting(
        [], "Entries of secrets whose keys become environment variables.", example=["api-token"], names="Secret"
    )
    mounts: dict[Label, Mount] = setting(
        {},
        "Entries of volumes or secrets, and the folder where each appears. The short form is path.",
        example={"cache": "/var/cache/app"},
        rule=LABEL_RULE,
    )
    probes: Probes | None = setting(
        None,
        "Probes of the kubelet. Without ready, the kubelet checks that the port is open.",
        example={"ready": "/readyz", "live": "/healthz"},
    )
    resources: Resources | None = setting(
        None, "CPU and memory: requests and limits.", example={"cpu": "50m", "memory": "64Mi"}
    )
    autoscaling: Autoscaling | None = setting(
        None, "HorizontalPodAutoscaler, instead of replicas.", example={"min": 1, "max": 5, "cpu": "80%"}
    )
    min_available: int | None = setting(
        None, "Pods that must stay available during a drain of nodes.", unit="pods", example=1, ge=1
    )
    user: User | None = setting(
        None,
        "User ID of the container. By default 65532. image: the user that the image names, root too, with the rights "
        "that a container has by default.",
        example=65532,
    )
    writable: bool | None = setting(
        None,
        "May the container write to its whole file system? If false: only to /tmp and to volumes. Folders that root "
        "owns need user: image, too.",
        example=False,
    )
    sidecar: bool | None = setting(
        None, "Does the pod have the sidecar? Without it there is no routing, mTLS or access control.", example=True
    )
    drain: Duration | None = setting(
        None,
        "Time that a pod still answers after it was removed from the Service. (Not the drain of a node.) By default "
        "3s.",
        example="3s",
    )


class VersionOf(Workload, Short):
    """One version of a service; a text alone is its image."""

    short = "image"

    shadow: Percent | None = setting(
        None,
        "Makes the version a shadow: it gets a copy of this share of the requests. No user sees its answers. Its own "
        "calls reach only services that have this version too.",
        example="100%",
    )
    names: Names = setting(Names(), "Names of its objects.", example={"deployment": "frontend-canary"})

    @model_validator(mode="before")
    @classmethod
    def _nothing_of_its_own(cls, value: Any) -> Any:
        return {} if value is None else value
