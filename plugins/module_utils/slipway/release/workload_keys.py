"""The keys that say what runs: image, pods, environment, probes, resources."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from ..page.form import Map, setting
from .keys import LABEL_RULE, Label, Short, Variable
from .name_keys import Names
from .values import Cpu, Duration, Folder, Image, Memory, Percent, Text, Texts, UrlPath, WholePercent


class Probe(Short):
    """A question that the kubelet asks a container."""

    short = "path"

    path: UrlPath = setting(..., "Path that answers 200 when all is well.", example="/healthz")
    port: int | None = setting(
        None, "Port to ask; without it the service's.", unit="port number", example=8080, ge=1, le=65535
    )
    period: Duration = setting("5s", "Time between two questions.", example="5s")
    timeout: Duration = setting("2s", "Time an answer may take.", example="2s")
    failures: int = setting(3, "Wrong answers in a row that count.", unit="answers", example=3, ge=1)


class Probes(Map):
    """When a pod gets requests, and when it is restarted."""

    ready: Probe | None = setting(None, "Requests go to the pod while this answers.", example="/readyz")
    live: Probe | None = setting(None, "The container is restarted when this does not answer.", example="/healthz")
    start: Probe | None = setting(None, "The other two wait until this has answered once.", example="/healthz")


class Resources(Map):
    """What a container asks for, and may use at most."""

    cpu: Cpu = setting("50m", "CPUs it asks for; by itself no more than the limit.", example="50m")
    memory: Memory = setting("64Mi", "Memory it asks for; by itself no more than the limit.", example="64Mi")
    cpu_limit: Cpu | None = setting(None, "CPUs it may use at most.", example="500m")
    memory_limit: Memory | None = setting(None, "Memory it may use at most.", example="256Mi")


class Autoscaling(Map):
    """As many pods as the load needs."""

    min: int = setting(1, "Pods at least.", unit="pods", example=1, ge=1)
    max: int = setting(..., "Pods at most.", unit="pods", example=5, ge=1)
    cpu: WholePercent = setting(80.0, "Use of the CPU asked for that it aims at.", example="80%")


class EnvValue(Short):
    """The value of an environment variable: a text, or where it comes from."""

    short = "value"

    value: Text | None = setting(None, "The value itself.", example="debug")
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
            raise ValueError("must have a value, or a secret with its key, or a field: one of them")
        return self


class Workload(Map):
    """What runs. Written at a service it holds for all its versions; a version may say otherwise.

    Maps (env, config, mounts) are taken together key by key, anything else is replaced.
    """

    image: Image | None = setting(None, "Image of the container.", example="ghcr.io/example/frontend:1.0")
    replicas: int | None = setting(None, "Pods, 1 when nobody says.", unit="pods", example=2, ge=0)
    command: list[str] | None = setting(None, "Program instead of the image's.", example=["/bin/app"])
    args: list[str] | None = setting(None, "Its arguments.", example=["--verbose"])
    env: dict[Variable, EnvValue] = setting(
        {},
        "Environment variables: a text each, or {secret, key}, or {field}.",
        example={"LOG_LEVEL": "debug"},
        rule="must be letters, digits and underscores",
    )
    config: dict[Variable, Text] = setting(
        {},
        "Kept in a ConfigMap, and given to the container as environment variables. A change restarts the pods.",
        example={"APP_MODE": "prod"},
        rule="must be letters, digits, underscores, dots and hyphens",
    )
    config_mount: Folder | None = setting(
        None, "Folder in which the ConfigMap also appears as files.", example="/etc/app"
    )
    secrets: Texts = setting(
        [], "Entries of secrets whose keys become environment variables.", example=["api-token"], names="Secret"
    )
    mounts: dict[Label, Folder] = setting(
        {},
        "Entries of volumes or secrets, and the folder where each appears.",
        example={"cache": "/var/cache/app"},
        rule=LABEL_RULE,
    )
    probes: Probes | None = setting(
        None,
        "Questions of the kubelet. Without ready it asks whether the port is open.",
        example={"ready": "/readyz", "live": "/healthz"},
    )
    resources: Resources | None = setting(
        None, "What the container asks for, and may use.", example={"cpu": "50m", "memory": "64Mi"}
    )
    autoscaling: Autoscaling | None = setting(
        None, "As many pods as the load needs, instead of replicas.", example={"min": 1, "max": 5, "cpu": "80%"}
    )
    min_available: int | None = setting(None, "Pods that stay when nodes are drained.", unit="pods", example=1, ge=1)
    user: int | None = setting(
        None, "User that the container runs as, 65532 when nobody says.", unit="user ID", example=65532, ge=1
    )
    writable: bool | None = setting(
        None, "May the container write everywhere? Without it: to /tmp and to what is mounted.", example=False
    )
    sidecar: bool | None = setting(
        None, "Has the pod the mesh's proxy? Without it there is no routing, mTLS or access control.", example=True
    )
    drain: Duration | None = setting(
        None, "Time between leaving the Service and being stopped, 3s when nobody says.", example="3s"
    )


class VersionOf(Workload, Short):
    """One version of a service; a text alone is its image."""

    short = "image"

    shadow: Percent | None = setting(
        None,
        "Makes it a shadow: it gets a copy of that share of the requests, no user sees its answers, and its own calls "
        "only reach services that have this version too.",
        example="100%",
    )
    names: Names = setting(Names(), "Names of its objects.", example={"deployment": "frontend-canary"})

    @model_validator(mode="before")
    @classmethod
    def _nothing_of_its_own(cls, value: Any) -> Any:
        return {} if value is None else value
