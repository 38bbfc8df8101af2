"""The keys of what is in pods beside the application, of where pods run, and of jobs."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from ..page.form import WrongError, setting
from .keys import LABEL_RULE, Label, Short, Variable
from .resource_keys import EnvValue, Mount, Resources
from .values import LABEL, Duration, Image, Text, User

# Labels and annotations that say whose pods are, and what the mesh and the Services go by.
_OWN = ("app", "version", "traffic", "sidecar.istio.io/inject")
_PREFIX = "slipway.io/"
_CRON = re.compile(r"@(yearly|monthly|weekly|daily|hourly)|(\S+\s+){4}\S+")


def _mark(text: str) -> str:
    if text in _OWN or text.startswith(_PREFIX):
        raise WrongError(
            "wrong-name", "is a label that the release sets itself", f"example.org/{text.rpartition('/')[2]}"
        )
    if not re.fullmatch(rf"({LABEL}(\.{LABEL})*/)?[A-Za-z0-9]([\w.-]{{0,61}}[A-Za-z0-9])?", text):
        raise WrongError("wrong-name", "must be the name of a label: letters, digits, - _ . and one /")
    return text


def _value(text: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", text):
        raise WrongError("wrong-form", "must be the value of a label: at most 63 letters, digits, - _ and .")
    return text


def _schedule(text: str) -> str:
    if not _CRON.fullmatch(text):
        raise WrongError("not-a-schedule", "must be a schedule of cron: five fields, or @daily", "0 3 * * *")
    return text


MarkName = Annotated[str, AfterValidator(_mark)]
LabelValue = Annotated[Text, AfterValidator(_value)]
Affinity = dict[Literal["nodeAffinity", "podAffinity", "podAntiAffinity"], dict[str, Any]]


class Toleration(Short):
    """A taint of nodes that pods put up with."""

    short = "key"

    key: str = setting(..., "Key of the taint.", example="gpu", min_length=1, max_length=253)
    value: Text | None = setting(None, "Its value. By default any.", example="true")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = setting(
        None, "Its effect. By default all.", example="NoSchedule"
    )


class Container(Short):
    """A container beside the application, with the user of the pod."""

    short = "image"

    image: Image = setting(..., "Image.", example="ghcr.io/example/exporter:1.0")
    command: list[str] | None = setting(None, "Program that runs instead of the entrypoint.", example=["/bin/sh", "-c"])
    args: list[str] | None = setting(None, "Its arguments.", example=["until nc -z db 5432; do sleep 1; done"])
    env: dict[Variable, EnvValue] = setting(
        {}, "Environment variables. Each is a text, {secret, key} or {field}.", example={"LEVEL": "debug"},
        rule="must be letters, digits and underscores",
    )  # fmt: skip
    mounts: dict[Label, Mount] = setting(
        {}, "Entries of volumes or secrets, and the folder where each appears.", example={"cache": "/cache"},
        rule=LABEL_RULE,
    )  # fmt: skip
    resources: Resources = setting(Resources(), "CPU and memory.", example={"cpu": "10m", "memory": "32Mi"})
    user: User | None = setting(
        None,
        "User ID. By default the one of the pod; of a job 65532. image: the user that the image names, root too, with "
        "the rights that a container has by default.",
        example=1000,
    )
    writable: bool = setting(False, "May it write to its whole file system?", example=True)


class Job(Container):
    """Work that ends: once before pods change, or by a schedule."""

    schedule: Annotated[str, AfterValidator(_schedule)] | None = setting(
        None, "When it runs, as cron writes it. Without a schedule it runs before the pods of the release change.",
        example="0 3 * * *",
    )  # fmt: skip
    retries: int = setting(0, "How often it is tried again if it fails.", unit="times", example=2, ge=0, le=20)
    timeout: Duration = setting("10m", "Longest time that it may take, with all tries.", example="10m")
    service_account: Label | None = setting(
        None, "Existing ServiceAccount of its pods. By default one without rights.", example="migrator", rule=LABEL_RULE
    )


class Port(Short):
    """One more port of a service."""

    short = "port"

    port: int = setting(..., "Port that the container listens on.", unit="port number", example=9000, ge=1, le=65535)
    service_port: int | None = setting(
        None, "Port of the Service, if it is not the same.", unit="port number", example=9000, ge=1, le=65535
    )
    protocol: Literal["http", "http2", "grpc", "tcp"] = setting(
        "http", "http (WebSocket too), http2, grpc or tcp. The mesh cannot split, retry or limit tcp.", example="grpc"
    )


PortName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=9)]
