"""The language of a release: the model of the page ``releases/<name>.yml``.

A key is added in one place: a field of ``Release``, of ``Service``, or of the map it belongs to. The maps are in the
files ``*_keys.py``, by subject. A field has its default, description, unit, example and limits. The JSON schema, the
messages and the tables of ``docs/release.md`` follow. What concerns more than one key is in ``checks.py``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..page.form import Map, setting
from .call_keys import CircuitBreaking, Faults, LoadBalancing, Retries
from .keys import LABEL_RULE, NAME_RULE, Label, ObjectName, Version
from .monitoring_keys import Alert, Dashboard, Mail, Metrics, OwnAlertmanager
from .name_keys import ReleaseNames, ServiceNames
from .routing_keys import Gateway, Limits, Override, Route, Sticky, Tool
from .storage_keys import Secret, Volume
from .values import LABEL, Duration, HeaderName, Hosts, Percent, Texts, UrlPath
from .workload_keys import VersionOf, Workload


class Service(Workload):
    """A service: what runs, in which versions, and how others reach it."""

    port: int = setting(8080, "Port that it listens on.", unit="port number", example=8080, ge=1, le=65535)
    service_port: int | None = setting(
        None, "Port of the Service, when it is another one.", unit="port number", example=80, ge=1, le=65535
    )
    protocol: Literal["http", "http2", "grpc"] = setting(
        "http", "What it speaks. The mesh can only route and limit these.", example="http"
    )
    versions: dict[Version, VersionOf] = setting(
        ...,
        "Its versions by name; a text alone is the image.",
        example={"v1": "ghcr.io/example/frontend:1.0", "v2": "ghcr.io/example/frontend:1.1"},
        rule=LABEL_RULE,
        min_length=1,
    )
    calls: Texts = setting([], "Services that it calls.", example=["model"])
    callers: list[Annotated[str, Field(pattern=rf"^(({LABEL}|\{{namespace\}})/({LABEL}|\*)|plain)$")]] = setting(
        [],
        "Who else may call it: namespace/serviceaccount, or namespace/* for all; {namespace} is the release's own. "
        "plain, with mtls: permissive: everybody who comes without the mesh's proxy, from wherever that is.",
        example=["batch/reporter"],
        rule="must be namespace/serviceaccount, namespace/*, or plain",
    )
    follows: Literal["caller", "weights"] = setting(
        "caller",
        "Which version calls from other services reach. caller: the caller's own; weights: any, by the weights.",
        example="caller",
    )
    timeout: Duration | None = setting(None, "Time that an answer may take, retries included.", example="10s")
    retries: Retries | None = setting(None, "How often the mesh asks again.", example={"attempts": 2, "per_try": "2s"})
    circuit_breaking: CircuitBreaking | None = setting(
        None, "When the mesh stops asking; {} for the usual numbers.", example={"connections": 100, "errors": 5}
    )
    load_balancing: LoadBalancing | None = setting(None, "How its pods share the requests.", example="least-requests")
    faults: Faults | None = setting(None, "Faults put in on purpose.", example={"delay": {"time": "2s", "share": "5%"}})
    metrics: Metrics | None = setting(None, "Where Prometheus reads its metrics.", example="/metrics")
    service_per_version: bool = setting(
        False, "Has each version a Service of its own, beside the one for all?", example=True
    )
    names: ServiceNames = setting(ServiceNames(), "Names of its objects.", example={"service": "frontend-service"})


class Release(Map):
    """A release of an application (releases/<name>.yml)."""

    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40)] = setting(
        ...,
        "Name of the release; its objects carry it as a label.",
        example="hello",
        rule="must start with a letter and have only lower-case letters, digits and hyphens, at most 40",
    )
    namespace: Label | None = setting(
        None, "Namespace; without it one with the release's name.", example="hello", rule=LABEL_RULE
    )
    hosts: Hosts = setting(..., "Hosts that it answers on.", example=["hello.local"])
    weights: dict[Version, Annotated[int, Field(ge=0, le=100)]] = setting(
        {},
        "Share of the clients that each version gets; together 100.",
        unit="per cent",
        example={"v1": 90, "v2": 10},
        rule=LABEL_RULE,
    )
    sticky: Sticky = setting(Sticky(), "How a client stays with the version it got.", example="cookie")
    override: Override = setting(Override(), "Ways for a client to ask for a version.", example={"header": "x-version"})
    routes: dict[UrlPath, Route] = setting(
        {},
        "Paths, each with the service it leads to; without any all go to the first service.",
        example={"/": "frontend"},
    )
    services: dict[ObjectName, Service] = setting(
        ...,
        "The services by name.",
        example={"frontend": {"versions": {"v1": "ghcr.io/example/frontend:1.0"}}},
        rule=NAME_RULE,
        min_length=1,
    )
    gateway: Gateway = setting(Gateway(), "The door in the mesh's gateway.", example={"ports": [80]})
    limits: Limits = setting(Limits(), "Limits of requests.", example={"per_client": "10/minute"})
    access: Literal["calls", "open"] = setting(
        "calls", "Who may call a service. calls: whose calls name it; open: everybody in the cluster.", example="calls"
    )
    mtls: Literal["strict", "permissive"] = setting(
        "strict",
        "strict: pods take nothing that is not encrypted by the mesh; permissive: that too, from whom access lets in.",
        example="strict",
    )
    tracing: Percent | None = setting(
        None, "Share of the requests to trace; without it what the mesh says.", example="10%"
    )
    secrets: dict[Label, Secret] = setting(
        {},
        "Secrets by name; their values come from the environment or a vault file.",
        example={"api-token": {"keys": {"TOKEN": {"environment": "API_TOKEN"}}}},
        rule=LABEL_RULE,
    )
    volumes: dict[Label, Volume] = setting({}, "Storage by name.", example={"cache": {"size": "1Gi"}}, rule=LABEL_RULE)
    delete_claims: list[Annotated[str, Field(pattern=rf"^({LABEL}|\*)$", max_length=63)]] = setting(
        [],
        "Claims of volumes that the page no longer names, which go with their data; * stands for all. Others are kept.",
        example=["old-cache"],
        rule="must be the name of a claim, or *",
    )
    alerts: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=63)], Alert] = setting(
        {},
        "Alerts by name; a text alone is when.",
        example={"Errors": "errors > 5%"},
        rule="must be letters, digits and underscores",
    )
    mail: Mail | None = setting(
        None, "Mail for the alerts.", example={"to": "team@example.org", "server": "smtp.example.org:587"}
    )
    alertmanager: OwnAlertmanager | None = setting(
        None, "An Alertmanager of its own, instead of the cluster's.", example="email-alert"
    )
    dashboards: dict[Label, Dashboard] = setting(
        {
            "operation": Dashboard(shows=["traffic", "limits"]),
            "versions": Dashboard(shows=["versions"]),
        },
        "Dashboards by name; {} for none.",
        example={"operation": {"shows": ["traffic"]}},
        rule=LABEL_RULE,
    )
    tools: dict[Label, Tool] = setting(
        {}, "Hosts for tools of the cluster.", example={"grafana": "grafana", "prometheus": "prometheus"},
        rule=LABEL_RULE,
    )  # fmt: skip
    image_pull_secrets: list[Label] = setting(
        [],
        "Secrets that registries ask for, in the namespace.",
        example=["registry"],
        rule=LABEL_RULE,
        names="Secret",
    )
    chain_header: HeaderName = setting(
        "x-version",
        "Header that carries the version past a service that has only one; that service has to forward it.",
        example="x-version",
    )
    version_labels: dict[Version, Label] = setting(
        {},
        "Value of the label version on pods, where it is not the version's name.",
        example={"v1": "stable", "v2": "canary"},
        rule=LABEL_RULE,
    )
    adopt: bool = setting(
        False,
        "Take over objects that are there already and somebody else's? Without it they are refused, each by name.",
        example=True,
    )
    names: ReleaseNames = setting(
        ReleaseNames(), "Names of the objects, where they have to be others.", example={"gateway": "my-gateway"}
    )
