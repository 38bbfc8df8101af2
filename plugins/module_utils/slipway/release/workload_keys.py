"""The keys that say what runs: image, pods, environment, probes, resources."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from ..page.form import Map, setting
from .keys import LABEL_RULE, Label, Short, Variable
from .name_keys import Names
from .pod_keys import Affinity, Container, LabelValue, MarkName, Toleration
from .resource_keys import EnvValue, Mount, Resources
from .values import Duration, Folder, Image, Percent, Text, Texts, UrlPath, User, WholePercent


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


class Autoscaling(Map):
    """As many pods as the load needs."""

    min: int = setting(1, "Smallest number of pods.", unit="pods", example=1, ge=1)
    max: int = setting(..., "Largest number of pods.", unit="pods", example=5, ge=1)
    cpu: WholePercent = setting(80.0, "Target use of the CPU request, in per cent.", example="80%")


class Workload(Map):
    """What runs. Written at a service it holds for all its versions; a version may say otherwise.

    Its env, config, mounts, labels, annotations, init and beside are merged with those of the service, its secrets are
    added, anything else is replaced.
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
    init: dict[Label, Container] = setting(
        {},
        "Init containers: each must end well before the next one and the application start. The short form is image.",
        example={"wait": {"image": "docker.io/library/busybox:1.35.0", "command": ["/bin/true"]}},
        rule=LABEL_RULE,
    )
    beside: dict[Label, Container] = setting(
        {},
        "More containers of the pod, beside the application. The short form is image.",
        example={"exporter": "ghcr.io/example/exporter:1.0"},
        rule=LABEL_RULE,
    )
    labels: dict[MarkName, LabelValue] = setting(
        {}, "More labels of the pods.", example={"team": "shop"}, rule="must be the name of a label"
    )
    annotations: dict[MarkName, Text] = setting(
        {}, "Annotations of the pods.", example={"example.org/owner": "shop team"}, rule="must be the name of a label"
    )
    service_account: Label | None = setting(
        None,
        "Existing ServiceAccount of the pods, with its token. By default each version has its own, without rights.",
        example="reader",
        rule=LABEL_RULE,
    )
    node_selector: dict[str, Text] = setting(
        {}, "Labels that a node must have.", example={"kubernetes.io/arch": "amd64"}
    )
    tolerations: list[Toleration] = setting(
        [], "Taints of nodes that the pods put up with. The short form is key.", example=[{"key": "gpu"}]
    )
    affinity: Affinity | None = setting(
        None,
        "Affinity of the pods, as Kubernetes writes it.",
        example={"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
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
