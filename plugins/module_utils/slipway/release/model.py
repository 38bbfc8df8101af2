"""The language of a release: the model of the page ``releases/<name>.yml``.

A key is added in one place: a field of ``Release`` (or of the map it belongs to) with its default, description, unit,
example and limits. The JSON schema, the messages and the tables of ``docs/release.md`` follow. What concerns more than
one key is in ``checks.py``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from ..page.form import Map, setting
from .values import (
    LABEL,
    CookieName,
    CookieValue,
    Cpu,
    Duration,
    Folder,
    HeaderName,
    HeaderValue,
    Host,
    Hosts,
    Image,
    Mailboxes,
    Memory,
    Percent,
    Rate,
    Text,
    Texts,
    UrlPath,
    WholePercent,
)

_LABEL_RULE = "must be lower-case letters, digits and hyphens, at most 63 of them"
_NAME_RULE = "must start with a letter and have only lower-case letters, digits and hyphens, at most 63"
_PATTERN_RULE = "must be lower-case letters, digits, hyphens and placeholders such as {service}"
_ADDRESS_RULE = "must be service.namespace:port"

Label = Annotated[str, Field(pattern=rf"^{LABEL}$", max_length=63)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
Version = Annotated[str, Field(pattern=rf"^{LABEL}$", max_length=63)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$", max_length=200)]
HttpReason = Literal["5xx", "gateway-error", "reset", "connect-failure", "refused-stream", "retriable-4xx"]
GrpcReason = Literal["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"]
MetricName = Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]


def _name(about: str, example: str) -> Any:
    """Declare the name of an object, or a pattern for names."""
    return setting(None, about, example=example, pattern=r"^[a-z0-9{}-]+$", rule=_PATTERN_RULE)


class Short(Map):
    """A map that may be written as the value of its one usual key, ``short``, alone."""

    short: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _written_short(cls, value: Any) -> Any:
        return value if isinstance(value, (dict, Map)) else {cls.short: value}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say in the schema too that both ways work."""
        written = handler(core_schema)
        resolved = handler.resolve_ref_schema(written)
        whole = dict(resolved)
        short = {key: item for key, item in whole["properties"][cls.short].items() if key != "default"}
        resolved.clear()
        resolved.update(anyOf=[short, whole])
        return written


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
        None, "Name of an entry of secrets.", example="api-token", rule=_LABEL_RULE, names="Secret"
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


class Names(Map):
    """Names of the objects of one version; placeholders: {release} {namespace} {service} {version} {label}."""

    deployment: str | None = _name("Deployment.", "{service}-{version}")
    service_account: str | None = _name("ServiceAccount.", "{service}-{version}")
    config: str | None = _name("ConfigMap of config.", "{service}-{version}")
    version_service: str | None = _name("Service of one version alone (service_per_version).", "{service}-{version}")
    policy: str | None = _name("AuthorizationPolicy.", "{service}-{version}")


class ServiceNames(Names):
    """Names of the objects of one service; placeholders: {release} {namespace} {service}."""

    service: str | None = _name("Service.", "{service}")
    virtual_service: str | None = _name("VirtualService for calls inside the mesh.", "{service}-vs")
    destination_rule: str | None = _name("DestinationRule.", "{service}-dr")
    monitor: str | None = _name("ServiceMonitor; services that name the same one share it.", "{service}")


class ReleaseNames(ServiceNames):
    """Names of the objects of the whole release, and patterns for those of its services and versions.

    {unique} is {release}, followed by the namespace where that is neither ``default`` nor called like the release.
    """

    gateway: str | None = _name("Gateway.", "{release}")
    entry: str | None = _name("VirtualService of the hosts.", "{release}-entry")
    tool: str | None = _name("VirtualService of a tool; {tool}.", "{tool}-vs")
    rate_limit: str | None = _name("EnvoyFilter of the limits, in the gateway's namespace.", "{unique}-rate-limit")
    hash: str | None = _name("EnvoyFilter of hash stickiness, in the gateway's namespace.", "{unique}-hash")
    rules: str | None = _name("PrometheusRule.", "{release}")
    mail: str | None = _name("AlertmanagerConfig.", "{release}")
    dashboards: str | None = _name(
        "ConfigMap of the dashboards; with {dashboard} one for each.", "{release}-dashboards"
    )
    mtls: str | None = _name("PeerAuthentication.", "{release}")
    tracing: str | None = _name("Telemetry.", "{release}")


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
        rule=_LABEL_RULE,
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


class Retries(Short):
    """How often the mesh asks again."""

    short = "attempts"

    attempts: int = setting(..., "Times it asks again; 0: never.", unit="times", example=2, ge=0, le=10)
    per_try: Duration | None = setting(None, "Time that each may take.", example="2s")
    reasons: list[Literal[HttpReason, GrpcReason]] | None = setting(
        None,
        "What it asks again after; without it connect-failure, refused-stream and gateway-error, for grpc "
        "connect-failure, refused-stream, cancelled and unavailable.",
        example=["gateway-error"],
        min_length=1,
    )
    methods: Literal["safe", "idempotent", "all"] = setting(
        "safe",
        "Which requests it repeats after an answer or a broken connection. safe: GET, HEAD, OPTIONS, TRACE; "
        "idempotent: PUT and DELETE too; all: others too, which may then be done twice. Else while nothing was sent.",
        example="idempotent",
    )


class CircuitBreaking(Map):
    """When the mesh stops asking a pod, or a service."""

    connections: int = setting(100, "Connections to the service.", unit="connections", example=100, ge=1)
    pending: int = setting(100, "Requests that may wait for one.", unit="requests", example=100, ge=1)
    errors: int = setting(5, "Answers 5xx in a row that take a pod out.", unit="answers", example=5, ge=1)
    interval: Duration = setting("10s", "Time between two looks.", example="10s")
    out_for: Duration = setting("30s", "Time that a pod is out, times how often it was.", example="30s")
    most_out: Percent = setting(50.0, "Share of the pods that may be out.", example="50%")


class HashKey(Map):
    """What of a request decides where it goes: one of them."""

    header: HeaderName | None = setting(None, "A header that clients send already.", example="x-user-id")
    cookie: CookieName | None = setting(None, "A cookie.", example="session")
    ttl: Duration | None = setting(
        None, "The mesh sets the cookie, for that long, when a client has none.", example="1h"
    )
    address: bool = setting(False, "The client's address.", example=True)

    @model_validator(mode="after")
    def _one_key(self) -> HashKey:
        if sum((self.header is not None, self.cookie is not None, self.address)) != 1:
            raise ValueError("must have one of header, cookie and address")
        if self.ttl and not self.cookie:
            raise ValueError("has a ttl, which only a cookie can have")
        return self


class LoadBalancing(Short):
    """How the pods of a version share the requests."""

    short = "algorithm"

    algorithm: Literal["round-robin", "least-requests", "random"] | None = setting(
        None, "round-robin, least-requests or random.", example="least-requests"
    )
    hash: HashKey | None = setting(
        None, "The same pod for the same header, cookie or address.", example={"cookie": "session", "ttl": "1h"}
    )

    @model_validator(mode="after")
    def _one_way(self) -> LoadBalancing:
        if (self.algorithm is None) == (self.hash is None):
            raise ValueError("must have either an algorithm or a hash")
        return self


class Delay(Map):
    """Requests made slow."""

    time: Duration = setting(..., "By how much.", example="2s")
    share: Percent = setting(..., "Share of the requests.", example="5%")


class Abort(Map):
    """Requests answered with an error."""

    status: int = setting(..., "Status of the answer.", unit="HTTP status", example=503, ge=400, le=599)
    share: Percent = setting(..., "Share of the requests.", example="1%")


class Faults(Map):
    """Faults put in on purpose, to see what happens."""

    delay: Delay | None = setting(None, "Requests made slow.", example={"time": "2s", "share": "5%"})
    abort: Abort | None = setting(None, "Requests answered with an error.", example={"status": 503, "share": "1%"})

    @model_validator(mode="after")
    def _something(self) -> Faults:
        if self.delay is None and self.abort is None:
            raise ValueError("must have a delay, an abort, or both")
        return self


class Metrics(Short):
    """Where Prometheus reads a service's metrics."""

    short = "path"

    path: UrlPath = setting("/metrics", "Path.", example="/metrics")
    port: int | None = setting(
        None, "Port; without it the service's.", unit="port number", example=9090, ge=1, le=65535
    )
    interval: Duration = setting("15s", "Time between two readings.", example="15s")
    labels: dict[Variable, Text] = setting(
        {},
        "Labels of the ServiceMonitor, for a Prometheus that asks for some.",
        example={"release": "myprom"},
        rule="must be the name of a label",
    )
    exports: list[MetricName] = setting(
        [], "Names of its metrics. When they are listed, an alert on another one is refused.", example=["app_up"]
    )


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
        rule=_LABEL_RULE,
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


class Limit(Short):
    """A rate of requests, and how many may come at once."""

    short = "rate"

    rate: Rate = setting(..., "How many in which time.", example="10/minute")
    burst: int | None = setting(
        None, "How many may come at once; without it the rate's number.", unit="requests", example=20, ge=1, le=10**6
    )


class PathLimits(Map):
    """Limits of one path."""

    per_client: Limit | None = setting(None, "For each client address.", example="10/minute")
    total: Limit | None = setting(None, "For all clients together.", example="100/second")


class Limits(PathLimits):
    """Limits of the release's hosts. What is above is answered 429 by the gateway."""

    clients: int = setting(
        10000,
        "Client addresses to remember; the one unseen for longest is forgotten first.",
        unit="addresses",
        example=10000,
        ge=1,
        le=10**6,
    )


class Route(Short):
    """What a path leads to."""

    short = "to"

    to: Label = setting(..., "The service.", example="frontend", rule=_LABEL_RULE)
    version: Version | None = setting(
        None,
        "Version for requests that neither override nor cookie decide; without it the weights do.",
        example="v1",
        rule=_LABEL_RULE,
    )
    rewrite: UrlPath | None = setting(None, "What the path becomes.", example="/")
    limits: PathLimits = setting(PathLimits(), "Limits of this path.", example={"total": "100/second"})


class Sticky(Short):
    """How a client stays with the version it got."""

    short = "by"

    by: Literal["cookie", "hash", "none"] = setting(
        "cookie", "cookie: it carries the version; hash: of something it sends already; none: each request anew.",
        example="cookie",
    )  # fmt: skip
    cookie: CookieName | None = setting(
        None, "Name of the cookie; without it <release>-version.", example="canary-user"
    )
    set_by: Literal["mesh", "app"] = setting("mesh", "Who sets it.", example="app")
    values: dict[Version, CookieValue] = setting(
        {},
        "Its value for each version; without it the version's name.",
        example={"v1": "false", "v2": "true"},
        rule=_LABEL_RULE,
    )
    max_age: Duration = setting("1d", "How long the mesh's cookie lasts.", example="1d")
    hash: HashKey | None = setting(None, "What is hashed, for by: hash.", example={"header": "x-user-id"})

    @model_validator(mode="before")
    @classmethod
    def _hash_says_it(cls, value: Any) -> Any:
        return {"by": "hash", **value} if isinstance(value, dict) and "hash" in value else value

    @model_validator(mode="after")
    def _fits(self) -> Sticky:
        if (self.by == "hash") != (self.hash is not None):
            raise ValueError("must have a hash with by: hash, and only then")
        if self.hash and self.hash.ttl:
            raise ValueError("must not have a ttl: a version is picked before the mesh could set a cookie")
        return self


class Choice(Short):
    """A header or cookie by which a client asks for a version."""

    short = "name"

    name: HeaderName = setting(..., "Its name.", example="x-version")
    values: dict[Version, HeaderValue] = setting(
        {}, "Its value for each version; without it the version's name.", example={"v2": "B"}, rule=_LABEL_RULE
    )


class CookieChoice(Short):
    """A cookie by which a client asks for a version."""

    short = "name"

    name: CookieName = setting(..., "Its name.", example="use-version")
    values: dict[Version, CookieValue] = setting(
        {}, "Its value for each version; without it the version's name.", example={"v2": "B"}, rule=_LABEL_RULE
    )


class Override(Map):
    """Ways for a client to ask for a version. They come before stickiness and weights."""

    hosts: dict[Host, Version] = setting(
        {},
        "Hosts, each with the version it shows; a name without a dot stands before the first of hosts.",
        example={"canary": "v2"},
    )
    header: Choice | None = setting(None, "A header.", example="x-version")
    cookie: CookieChoice | None = setting(None, "A cookie.", example="use-version")


class Tls(Map):
    """HTTPS at the gateway."""

    secret: Label = setting(
        "slipway-gateway-tls",
        "Secret with the certificate, in the gateway's namespace.",
        example="slipway-gateway-tls",
        rule=_LABEL_RULE,
        names="Secret",
    )
    redirect: bool = setting(False, "Are clients of http sent to https?", example=True)


class Gateway(Map):
    """The door in the mesh's gateway."""

    ports: list[Annotated[int, Field(ge=1, le=65535)]] = setting(
        [80], "Ports for http.", example=[80, 8080], min_length=1
    )
    selector: dict[str, Text] = setting(
        {"istio": "ingressgateway"}, "Labels of the gateway's pods.", example={"istio": "ingressgateway"}, min_length=1
    )
    tls: Tls | None = setting(None, "HTTPS on port 443 too; {} for the gateway's own certificate.", example={})
    use: Annotated[str, Field(pattern=rf"^{LABEL}/{LABEL}$")] | None = setting(
        None,
        "A Gateway that exists, namespace/name, instead of one of the release.",
        example="istio-system/shared",
        rule="must be namespace/name",
    )


class Source(Map):
    """Where a secret value comes from; it is never on the page."""

    environment: Variable | None = setting(
        None, "An environment variable of the machine that runs Ansible.", example="API_TOKEN", rule="must be a name"
    )
    variable: Variable | None = setting(
        None, "A variable of Ansible, from a vault file (-e @secrets.yml).", example="api_token", rule="must be a name"
    )
    random: bool = setting(False, "Where nothing gives a value: make one up, once, and keep it.", example=True)

    @model_validator(mode="after")
    def _somewhere(self) -> Source:
        if self.environment and self.variable:
            raise ValueError("must have one of environment and variable")
        if not (self.environment or self.variable or self.random):
            raise ValueError("must have environment, variable or random: true")
        return self


class Secret(Map):
    """A Secret: made of values from elsewhere, or there already."""

    keys: dict[Variable, Source] = setting(
        {}, "Its keys, and where each value comes from.", example={"TOKEN": {"environment": "API_TOKEN"}},
        rule="must be the key of a Secret",
    )  # fmt: skip
    existing: bool = setting(False, "Is it in the namespace already, made by somebody else?", example=True)

    @model_validator(mode="after")
    def _one_origin(self) -> Secret:
        if self.existing == bool(self.keys):
            raise ValueError("must have either keys or existing: true")
        return self


class Volume(Map):
    """Storage that services can mount: a claim, a folder of the node, or room that goes with the pod."""

    size: Memory | None = setting(None, "A claim of this size, kept when pods go.", example="1Gi")
    storage_class: Label | None = setting(
        None, "StorageClass of the claim; without it the cluster's default.", example="local-path", rule=_LABEL_RULE
    )
    access: Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"] = setting(
        "ReadWriteOnce", "Who may mount the claim at once.", example="ReadWriteOnce"
    )
    host_path: Folder | None = setting(None, "A folder of the node.", example="/mnt/shared")
    temporary: Memory | None = setting(None, "Room that goes with the pod.", example="64Mi")

    @model_validator(mode="after")
    def _one_kind(self) -> Volume:
        if sum(item is not None for item in (self.size, self.host_path, self.temporary)) != 1:
            raise ValueError("must have one of size, host_path and temporary")
        return self


class Alert(Short):
    """When somebody has to know."""

    short = "when"

    when: str | None = setting(
        None,
        "errors, refused, limited, requests or p50 to p99, above or below a value.",
        example="errors > 5%",
    )
    promql: str | None = setting(None, "The same in PromQL.", example="sum(rate(app_requests_total[1m])) > 5")
    lasting: Duration = setting("5m", "How long before it fires.", example="5m", alias="for")
    service: Label | None = setting(
        None, "A service, calls from inside included; without it what comes in at the hosts.", example="model",
        rule=_LABEL_RULE,
    )  # fmt: skip
    version: Version | None = setting(None, "One of its versions.", example="v2", rule=_LABEL_RULE)
    severity: Literal["info", "warning", "critical"] = setting("warning", "How bad it is.", example="warning")
    summary: str | None = setting(None, "What the mail says.", example="Users see errors")

    @model_validator(mode="after")
    def _one_rule(self) -> Alert:
        if (self.when is None) == (self.promql is None):
            raise ValueError("must have either when or promql")
        return self


class SecretKey(Map):
    """A value in a Secret."""

    secret: Label = setting(..., "Name of an entry of secrets.", example="smtp", rule=_LABEL_RULE, names="Secret")
    key: Variable = setting(..., "Key in it.", example="password", rule="must be the key of a Secret")


Mailbox = Annotated[str, Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$", max_length=254)]


class Mail(Map):
    """Mail for the release's alerts."""

    to: Mailboxes = setting(..., "Who gets it.", example="team@example.org", rule="must be a mail address")
    sender: Mailbox | None = setting(
        None,
        "Who it is from; without it the first of to.",
        example="alerts@example.org",
        rule="must be a mail address",
        alias="from",
    )
    server: str = setting(
        ...,
        "SMTP server with its port.",
        example="smtp.example.org:587",
        pattern=rf"^{LABEL}(\.{LABEL})*:[1-9][0-9]{{0,4}}$",
        rule="must be host:port",
    )
    user: str | None = setting(None, "User there.", example="alerts@example.org", min_length=1)
    password: SecretKey | None = setting(None, "Where the password is.", example={"secret": "smtp", "key": "password"})
    tls: bool = setting(True, "Refuse a server without TLS?", example=True)
    repeat: Duration = setting("4h", "Time until mail of an alert that goes on is sent again.", example="4h")


class OwnAlertmanager(Short):
    """An Alertmanager of the release's own."""

    short = "name"

    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40)] = setting(
        ..., "Its name.", example="email-alert", rule="must be at most 40 lower-case letters, digits and hyphens"
    )
    replicas: int = setting(1, "Pods.", unit="pods", example=1, ge=1, le=5)


class Panel(Map):
    """A picture on a dashboard."""

    title: str = setting(..., "What it is called.", example="Cache hits", min_length=1, max_length=100)
    query: str = setting(
        ..., "What it shows, in PromQL.", example="sum by (version) (rate(app_cache_lookups_total[1m]))"
    )
    unit: str = setting(
        "short", "Grafana's name of the unit.", example="reqps", pattern=r"^\w+$", rule="must be a word"
    )
    legend: str = setting("", "Legend of a line, with labels as {{version}}.", example="{{version}}")


class Dashboard(Map):
    """A dashboard for Grafana."""

    title: str | None = setting(None, "What it is called.", example="SMS checker: operation", max_length=100)
    shows: list[Literal["traffic", "versions", "limits"]] = setting(
        [], "Panels that need no query.", example=["traffic", "versions"]
    )
    panels: list[Panel] = setting(
        [], "More panels.", example=[{"title": "Cache", "query": "sum(rate(app_cache_lookups_total[1m]))"}]
    )

    @model_validator(mode="after")
    def _something(self) -> Dashboard:
        if not self.shows and not self.panels:
            raise ValueError("must have something to show: shows, panels, or both")
        return self


class Tool(Short):
    """A host that leads to a tool of the cluster."""

    short = "host"

    host: Host = setting(..., "The host; a name without a dot stands before the first of hosts.", example="grafana")
    service: str | None = setting(
        None,
        "Where the tool answers; without it where this cluster has it.",
        example="grafana.monitoring:80",
        pattern=rf"^{LABEL}\.{LABEL}:[1-9][0-9]{{0,4}}$",
        rule=_ADDRESS_RULE,
    )
    alias: ObjectName | None = setting(
        None, "A Service of this name, in the release's namespace, that leads to it.", example="my-grafana",
        rule=_NAME_RULE,
    )  # fmt: skip
    name: Label | None = setting(None, "Name of the VirtualService.", example="grafana-vs", rule=_LABEL_RULE)


class Release(Map):
    """A release of an application (releases/<name>.yml)."""

    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40)] = setting(
        ...,
        "Name of the release; its objects carry it as a label.",
        example="hello",
        rule="must start with a letter and have only lower-case letters, digits and hyphens, at most 40",
    )
    namespace: Label | None = setting(
        None, "Namespace; without it one with the release's name.", example="hello", rule=_LABEL_RULE
    )
    hosts: Hosts = setting(..., "Hosts that it answers on.", example=["hello.local"])
    weights: dict[Version, Annotated[int, Field(ge=0, le=100)]] = setting(
        {},
        "Share of the clients that each version gets; together 100.",
        unit="per cent",
        example={"v1": 90, "v2": 10},
        rule=_LABEL_RULE,
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
        rule=_NAME_RULE,
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
        rule=_LABEL_RULE,
    )
    volumes: dict[Label, Volume] = setting({}, "Storage by name.", example={"cache": {"size": "1Gi"}}, rule=_LABEL_RULE)
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
        rule=_LABEL_RULE,
    )
    tools: dict[Label, Tool] = setting(
        {}, "Hosts for tools of the cluster.", example={"grafana": "grafana", "prometheus": "prometheus"},
        rule=_LABEL_RULE,
    )  # fmt: skip
    image_pull_secrets: list[Label] = setting(
        [],
        "Secrets that registries ask for, in the namespace.",
        example=["registry"],
        rule=_LABEL_RULE,
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
        rule=_LABEL_RULE,
    )
    adopt: bool = setting(
        False,
        "Take over objects that are there already and somebody else's? Without it they are refused, each by name.",
        example=True,
    )
    names: ReleaseNames = setting(
        ReleaseNames(), "Names of the objects, where they have to be others.", example={"gateway": "my-gateway"}
    )
