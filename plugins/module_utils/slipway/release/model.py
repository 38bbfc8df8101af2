"""The language of a release: the model of the page ``releases/<name>.yml``.

A key is added in one place: a field of ``Release``, of ``Service``, or of the map it belongs to. The maps are in the
files ``*_keys.py``, by subject. A field has its default, description, unit, example and limits. The JSON schema, the
messages and the tables of ``docs/reference/release.md`` follow. What concerns more than one key is in ``checks.py``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..page.form import Map, setting
from .call_keys import CircuitBreaking, Faults, LoadBalancing, Retries
from .dashboard_keys import Dashboard
from .header_keys import Header
from .keys import LABEL_RULE, NAME_RULE, Label, ObjectName, Version
from .limit_keys import Limits
from .match_keys import Redirect
from .monitoring_keys import Alert, Mail, Metrics, OwnAlertmanager
from .name_keys import ReleaseNames, ServiceNames
from .outside_keys import Jwt, Outside, OutsideHost
from .pod_keys import Job, Port, PortName
from .receiver_keys import Receiver
from .routing_keys import Entry, Gateway, Override, Route, Sticky, Tool
from .storage_keys import Secret, Volume
from .values import LABEL, AnyHost, Duration, HeaderName, Hosts, Percent, Texts, UrlPath
from .workload_keys import VersionOf, Workload


class Service(Workload):
    """A service: what runs, in which versions, and how others reach it."""

    port: int = setting(8080, "Port that the container listens on.", unit="port number", example=8080, ge=1, le=65535)
    service_port: int | None = setting(
        None, "Port of the Service, if it is not the same as port.", unit="port number", example=80, ge=1, le=65535
    )
    protocol: Literal["http", "http2", "grpc"] = setting(
        "http", "Protocol: http, http2 or grpc. The mesh can route and limit only these.", example="http"
    )
    ports: dict[PortName, Port] = setting(
        {},
        "More ports, by name. The short form is port.",
        example={"admin": {"port": 9000, "protocol": "grpc"}},
        rule="must start with a letter and have only lower-case letters, digits and hyphens, at most 9",
    )
    versions: dict[Version, VersionOf] = setting(
        ...,
        "Its versions, by name. The short form is the image.",
        example={"v1": "ghcr.io/example/frontend:1.0", "v2": "ghcr.io/example/frontend:1.1"},
        rule=LABEL_RULE,
        min_length=1,
    )
    stateful: bool = setting(
        False,
        "Pods with stable names (StatefulSet, headless Service), each with claims of its own for volumes with per_pod?",
        example=True,
    )
    calls: Texts = setting([], "Services that it calls.", example=["model"])
    callers: list[Annotated[str, Field(pattern=rf"^(({LABEL}|\{{namespace\}})/({LABEL}|\*)|plain)$")]] = setting(
        [],
        "Other callers that may call it. namespace/serviceaccount: this ServiceAccount; namespace/*: every "
        "ServiceAccount there; plain (needs mtls: permissive): every client without a sidecar, from anywhere. "
        "{namespace} stands for the namespace of the release.",
        example=["batch/reporter"],
        rule="must be namespace/serviceaccount, namespace/*, or plain",
    )
    follows: Literal["caller", "weights"] = setting(
        "caller",
        "Which version a call from another service reaches. caller: that of the caller; weights: one by the weights.",
        example="caller",
    )
    timeout: Duration | None = setting(None, "Longest time for an answer, with all retries.", example="10s")
    retries: Retries | None = setting(
        None, "How often the mesh sends a failed request again.", example={"attempts": 2, "per_try": "2s"}
    )
    circuit_breaking: CircuitBreaking | None = setting(
        None, "Circuit breaker and outlier detection. {} takes the defaults.", example={"connections": 100, "errors": 5}
    )
    load_balancing: LoadBalancing | None = setting(
        None, "How its pods share the requests (load balancing).", example="least-requests"
    )
    faults: Faults | None = setting(
        None, "Faults that the mesh injects on purpose.", example={"delay": {"time": "2s", "share": "5%"}}
    )
    metrics: Metrics | None = setting(None, "Where Prometheus scrapes its metrics.", example="/metrics")
    service_per_version: bool = setting(
        False, "Make one more Service for each version, beside the Service for all versions?", example=True
    )
    names: ServiceNames = setting(ServiceNames(), "Names of its objects.", example={"service": "frontend-service"})


class Release(Map):
    """A release of an application (releases/<name>.yml)."""

    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40)] = setting(
        ...,
        "Name of the release. All its objects have it as a label.",
        example="hello",
        rule="must start with a letter and have only lower-case letters, digits and hyphens, at most 40",
    )
    namespace: Label | None = setting(
        None, "Namespace. By default it has the name of the release.", example="hello", rule=LABEL_RULE
    )
    hosts: Hosts = setting(
        ...,
        "Host names on which the release answers. *.hello.local: all hosts below; *: all that nobody else answers on.",
        example=["hello.local"],
    )
    weights: dict[Version, Annotated[int, Field(ge=0, le=100)]] = setting(
        {},
        "Weight of each version: its share of the clients. The sum must be 100.",
        unit="per cent",
        example={"v1": 90, "v2": 10},
        rule=LABEL_RULE,
    )
    sticky: Sticky = setting(Sticky(), "How a client stays with its version (sticky sessions).", example="cookie")
    override: Override = setting(Override(), "How a client can ask for a version.", example={"header": "x-version"})
    routes: dict[UrlPath, Route] = setting(
        {},
        "Paths, each with its service. By default all paths lead to the first service.",
        example={"/": "frontend"},
    )
    entries: dict[AnyHost, Entry] = setting(
        {},
        "More hosts, each with routes of its own. The short form is the service of all its paths.",
        example={"admin.hello.local": "frontend"},
    )
    redirects: dict[UrlPath, Redirect] = setting(
        {},
        "Paths, with all below them, that send clients somewhere else. The short form is to.",
        example={"/old": "/new"},
    )
    services: dict[ObjectName, Service] = setting(
        ...,
        "The services by name.",
        example={"frontend": {"versions": {"v1": "ghcr.io/example/frontend:1.0"}}},
        rule=NAME_RULE,
        min_length=1,
    )
    output: Literal["istio", "gateway-api"] = setting(
        "istio",
        "How routes of users are written. istio: Gateway, VirtualService, DestinationRule; gateway-api: HTTPRoute, at "
        "the Gateway of cluster_gateway_api. What an HTTPRoute cannot say is refused.",
        example="gateway-api",
    )
    gateway: Gateway = setting(
        Gateway(), "Ports, certificate and selector of the Istio Gateway.", example={"ports": [80]}
    )
    limits: Limits = setting(Limits(), "Rate limits.", example={"per_client": "10/minute"})
    access: Literal["calls", "open"] = setting(
        "calls",
        "Who may call a service. calls: services whose calls list it; open: every client in the cluster.",
        example="calls",
    )
    mtls: Literal["strict", "permissive"] = setting(
        "strict",
        "strict: pods accept mutual TLS only; permissive: pods accept plain text too, from clients that access allows.",
        example="strict",
    )
    outside: dict[OutsideHost, Outside] = setting(
        {},
        "Hosts outside the mesh that the release calls. The short form is tls. *.example.org: all hosts below.",
        example={"api.example.org": {"tls": "mesh", "timeout": "5s"}},
    )
    egress: Literal["open", "named"] = setting(
        "open",
        "What the release may call outside the cluster. open: everything; named: only the hosts in outside.",
        example="named",
    )
    jwt: Jwt | None = setting(
        None,
        "Tokens (JWT) that requests need that come in through the gateway.",
        example={
            "issuers": {"https://id.example.org": "https://id.example.org/.well-known/jwks.json"},
            "free": ["/login"],
        },
    )
    tracing: Percent | None = setting(
        None, "Share of the requests to trace. By default the setting of the mesh counts.", example="10%"
    )
    secrets: dict[Label, Secret] = setting(
        {},
        "Secrets, by name. Their values come from the environment or from a vault file.",
        example={"api-token": {"keys": {"TOKEN": {"environment": "API_TOKEN"}}}},
        rule=LABEL_RULE,
    )
    volumes: dict[Label, Volume] = setting({}, "Volumes, by name.", example={"cache": {"size": "1Gi"}}, rule=LABEL_RULE)
    delete_claims: list[Annotated[str, Field(pattern=rf"^({LABEL}|\*)$", max_length=63)]] = setting(
        [],
        "PersistentVolumeClaims to delete, with data, once volumes no longer names them. * means all. Others are kept.",
        example=["old-cache"],
        rule="must be the name of a claim, or *",
    )
    jobs: dict[Label, Job] = setting(
        {},
        "Jobs, by name. Without schedule they run in this order before pods change. If one fails, the release stops.",
        example={"migrate": {"image": "ghcr.io/example/shop:1.1", "command": ["/app/migrate"]}},
        rule=LABEL_RULE,
    )
    alerts: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=63)], Alert] = setting(
        {},
        "Alerts, by name. The short form is when.",
        example={"Errors": "errors > 5%"},
        rule="must be letters, digits and underscores",
    )
    mail: Mail | None = setting(
        None, "Mail for the alerts.", example={"to": "team@example.org", "server": "smtp.example.org:587"}
    )
    receivers: dict[Label, Receiver] = setting(
        {},
        "Others who are told about the alerts, by name: Slack, Discord, Teams, PagerDuty, webhooks.",
        example={"chat": {"slack": {"secret": "hooks", "key": "SLACK"}, "severities": ["critical"]}},
        rule=LABEL_RULE,
    )
    alertmanager: OwnAlertmanager | None = setting(
        None, "A separate Alertmanager for this release, instead of the cluster's.", example="email-alert"
    )
    dashboards: dict[Label, Dashboard] = setting(
        {
            "operation": Dashboard(shows=["traffic", "limits"]),
            "versions": Dashboard(shows=["versions"]),
        },
        "Dashboards, by name. {} means none.",
        example={"operation": {"shows": ["traffic"]}},
        rule=LABEL_RULE,
    )
    tools: dict[Label, Tool] = setting(
        {},
        "Host names for tools of the cluster, such as Grafana.",
        example={"grafana": "grafana", "prometheus": "prometheus"},
        rule=LABEL_RULE,
    )
    image_pull_secrets: list[Label] = setting(
        [],
        "Secrets for private registries, in the namespace of the release.",
        example=["registry"],
        rule=LABEL_RULE,
        names="Secret",
    )
    chain_header: HeaderName = setting(
        "x-version",
        "Header that carries the version through a service with only one version. That service must forward it.",
        example="x-version",
    )
    version_header: Header | None = setting(
        None,
        "Response header in which the gateway tells the client which version answered.",
        example="x-served-by-version",
    )
    version_labels: dict[Version, Label] = setting(
        {},
        "Value of the label version on pods, if it is not the name of the version.",
        example={"v1": "stable", "v2": "canary"},
        rule=LABEL_RULE,
    )
    adopt: bool = setting(
        False,
        "Take over existing objects of another owner? If false, the run refuses them, each by name.",
        example=True,
    )
    names: ReleaseNames = setting(
        ReleaseNames(), "Names of the objects, if the default names do not fit.", example={"gateway": "my-gateway"}
    )
