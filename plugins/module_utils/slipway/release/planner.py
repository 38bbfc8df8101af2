"""From a release's page to the objects it needs, in the order in which they are applied. Pure: no cluster is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..page.form import Fault
from ..page.read import Key
from . import alerts, certificate, dashboards, facts, limits, workload
from .access import Access
from .environment import OWN_REGISTRY, Environment
from .form import near, works
from .model import Release, Service
from .monitoring_keys import Metrics
from .names import Naming
from .render import Object, render
from .routing import Rules, fqdn
from .routing_keys import HashKey
from .shape import Shape
from .spec import Spec
from .values import milliseconds, prometheus_time, repository, seconds_text, whole

# Everything a release can consist of, in the order in which it is taken away.
KINDS = (
    ("monitoring.coreos.com/v1alpha1", "AlertmanagerConfig"),
    ("monitoring.coreos.com/v1", "Alertmanager"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("networking.istio.io/v1alpha3", "EnvoyFilter"),
    ("networking.istio.io/v1", "VirtualService"),
    ("networking.istio.io/v1", "Gateway"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("telemetry.istio.io/v1", "Telemetry"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("apps/v1", "Deployment"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("security.istio.io/v1", "PeerAuthentication"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "ServiceAccount"),
    ("v1", "Namespace"),
)
# In the way of a second release by the same name in another namespace, where both have objects beside the gateway.
OF_NAMESPACE = "slipway.io/namespace"
_ALGORITHMS = {"round-robin": "ROUND_ROBIN", "least-requests": "LEAST_REQUEST", "random": "RANDOM"}
_POD_SECURITY = {
    # istio-init sets up the pod's network, which is no business of a restricted pod; the app's own container is one.
    "pod-security.kubernetes.io/enforce": "privileged",
    "pod-security.kubernetes.io/warn": "restricted",
    "pod-security.kubernetes.io/audit": "restricted",
}


@dataclass(frozen=True)
class Step:
    """Objects that are applied together, and what has to be waited for before the next step.

    ``wait`` lists ``apiVersion``, ``kind``, ``namespace``, ``name`` and ``condition``.
    """

    name: str
    objects: list[Object]
    wait: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What a release comes to.

    ``secrets``: what the role makes itself, because a plan holds no secret value: ``name``, ``keys`` (each with
    ``environment`` or ``variable``), ``existing``. ``selector``: labels of everything of this release, and nothing
    else. ``facts``: see ``facts.py``. ``warnings``: sentences with file and line. ``places``: the key of the page that
    each object's name comes from, by identity. ``certificate``: hosts that the gateway's certificate has to get.
    """

    release: str
    namespace: str
    steps: list[Step]
    secrets: list[dict[str, Any]]
    selector: dict[str, str]
    facts: dict[str, Any]
    warnings: list[str]
    labels: dict[str, str]
    places: dict[str, Key] = field(default_factory=dict)
    certificate: list[str] = field(default_factory=list)

    @property
    def objects(self) -> list[Object]:
        """Every object in its final form, each once."""
        return list({identity(item): item for step in self.steps for item in step.objects}.values())

    @property
    def keep(self) -> list[str]:
        """Identities of all that pruning leaves alone: the objects, and the Secrets that the role makes."""
        made = [f"Secret/{self.namespace}/{secret['name']}" for secret in self.secrets if not secret["existing"]]
        return [*map(identity, self.objects), *made]

    def as_dict(self) -> dict[str, Any]:
        """Give the plan as plain values, for JSON."""
        return {
            "release": self.release,
            "namespace": self.namespace,
            "steps": [{"name": step.name, "objects": step.objects, "wait": step.wait} for step in self.steps],
            "secrets": self.secrets,
            "selector": self.selector,
            "labels": self.labels,
            "keep": self.keep,
            "kinds": [{"apiVersion": version, "kind": kind} for version, kind in KINDS],
            "facts": self.facts,
            "warnings": self.warnings,
        }


def identity(item: Object) -> str:
    """Write ``Kind/namespace/name``; no two objects of a plan have the same."""
    return f"{item['kind']}/{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"


def plan(spec: Spec, environment: Environment | None = None) -> Plan:
    """Plan a release. Raises ``SettingsError`` when the cluster, as far as it is known, has something against it."""
    found = environment or Environment()
    maker = _Planner(Naming(Shape(spec.release)), found)
    steps = [step for step in maker.steps() if step.objects]
    spec.refuse(maker.faults(steps))
    release = spec.release
    return Plan(
        release=release.name,
        namespace=maker.namespace,
        steps=steps,
        secrets=declared_secrets(release),
        selector=maker.selector,
        facts=facts.facts(maker.rules, maker.access, found),
        warnings=[*(f"{problem.where}: {problem.key} {problem.what}" for problem in spec.warnings), *maker.warnings()],
        labels=maker.labels,
        places=maker.places(steps),
        certificate=certificate.due(maker.shape, found, maker.hosts()),
    )


def declared_secrets(release: Release) -> list[dict[str, Any]]:
    """List a release's Secrets and where each value is, as a plan has them."""
    return [
        {
            "name": name,
            "existing": secret.existing,
            "keys": {key: source.model_dump(exclude_defaults=True) for key, source in secret.keys.items()},
        }
        for name, secret in release.secrets.items()
    ]


@dataclass(frozen=True)
class _Planner:
    naming: Naming
    environment: Environment

    @property
    def shape(self) -> Shape:
        return self.naming.shape

    @property
    def namespace(self) -> str:
        return self.shape.namespace

    @property
    def rules(self) -> Rules:
        return Rules(self.naming, self.environment.cluster_domain, self.environment.bands)

    @property
    def access(self) -> Access:
        return Access(self.naming, self.environment)

    @property
    def scope(self) -> alerts.Scope:
        return alerts.Scope(self.naming, self.environment.gateway_app)

    @property
    def selector(self) -> dict[str, str]:
        return {"slipway.io/release": self.shape.release.name, OF_NAMESPACE: self.namespace}

    @property
    def labels(self) -> dict[str, str]:
        return {"app.kubernetes.io/managed-by": "slipway", **self.selector}

    def make(self, template: str, name: str, **values: Any) -> list[Object]:
        """Render a template with what all objects have."""
        given = {"namespace": self.namespace, "labels": self.labels, **values}
        return render(template, name=name, **given)

    def steps(self) -> list[Step]:
        """Put everything in order; ``transition.py`` says what is in between where something is there already."""
        deployments = list(self._deployments())
        waits = [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "namespace": self.namespace,
                "name": item["metadata"]["name"],
                "condition": "Available",
            }
            for item in deployments
        ]
        return [
            Step("namespace", self._namespace()),
            Step("foundation", list(self._foundation())),
            Step("services", list(self._services())),
            Step("policies", [*self._destination_rules(), *self._policies()]),
            Step("workloads", [*deployments, *self._around_workloads()], waits),
            Step("routes", list(self._routes())),
            Step("monitoring", list(self._monitoring())),
        ]

    def _namespace(self) -> list[Object]:
        if self.namespace in self.environment.foreign_namespaces:
            return []
        return self.make("namespace", self.namespace, labels={**self.labels, **_POD_SECURITY})

    def _versions(self) -> Iterator[tuple[str, Service, str]]:
        for service, declared in self.shape.services.items():
            for version in declared.versions:
                yield service, declared, version

    def _foundation(self) -> Iterator[Object]:
        configs: dict[str, dict[str, str]] = {}
        for service, declared, version in self._versions():
            yield from self.make("service-account", self.naming.of("service_account", service, version))
            if data := workload.config(declared, version):
                configs[self.naming.of("config", service, version)] = data
        for name, data in configs.items():
            yield from self.make("config-map", name, data=data)
        for name, volume in self.shape.release.volumes.items():
            if volume.size:
                storage = {"size": volume.size, "access": volume.access, "storage_class": volume.storage_class}
                yield from self.make("claim", name, **storage)

    def _services(self) -> Iterator[Object]:
        for service, declared in self.shape.services.items():
            labels = {**self.labels, "app": service, "slipway.io/service": service}
            name = self.naming.of("service", service)
            ports = workload.ports(declared, self.environment.ports.get(name))
            selector = workload.pods(self.shape, service)
            yield from self.make("service", name, labels=labels, selector=selector, ports=ports)
            for version in declared.versions if declared.service_per_version else ():
                own = workload.pods(self.shape, service, version)
                name = self.naming.of("version_service", service, version)
                ports = workload.ports(declared, self.environment.ports.get(name))
                yield from self.make("service", name, labels={**self.labels, **own}, selector=own, ports=ports)
        for tool, declared_tool in self.shape.release.tools.items():
            if declared_tool.alias:
                host, port = self._tool(tool)
                yield from self.make("alias", declared_tool.alias, host=host, port=port)

    def _tool(self, tool: str) -> tuple[str, int]:
        """Find where a tool answers: full host name and port."""
        host, _, port = self.environment.tool(tool, self.shape.release.tools[tool].service).partition(":")
        return f"{host}.svc.{self.environment.cluster_domain}", int(port)

    def _destination_rules(self) -> Iterator[Object]:
        """Make the subsets of each service: routes always name one."""
        for service, declared in self.shape.services.items():
            yield from self.make(
                "destination-rule",
                self.naming.of("destination_rule", service),
                host=fqdn(self.naming, service, self.environment.cluster_domain),
                subsets={version: self.shape.label(version) for version in declared.versions},
                balancer=self._balancer(service, declared),
                breaker=self._breaker(declared),
            )

    def _balancer(self, service: str, declared: Service) -> dict[str, Any]:
        if declared.load_balancing is None:
            return {}
        if declared.load_balancing.hash:
            # Istio puts this on the route once for each destination, and Envoy picks the version by all of it together:
            # clients would move with the number of versions. The hash of sticky is on the route once.
            picked = self.shape.release.sticky.hash and service in self.shape.entries and self.shape.minds(service)
            return {} if picked else {"consistentHash": _hash_key(declared.load_balancing.hash)}
        return {"simple": _ALGORITHMS[str(declared.load_balancing.algorithm)]}

    def _breaker(self, declared: Service) -> dict[str, Any]:
        given = declared.circuit_breaking
        if given is None:
            return {}
        return {
            **given.model_dump(),
            "interval": seconds_text(given.interval),
            "out_for": seconds_text(given.out_for),
            "most_out": round(given.most_out),
        }

    def _policies(self) -> Iterator[Object]:
        release = self.shape.release
        of_release = {"slipway.io/release": release.name}
        mode = release.mtls.upper()
        yield from self.make("peer-authentication", self.naming.of("mtls"), selector=of_release, mode=mode)
        if release.tracing is not None:
            share = whole(release.tracing)
            yield from self.make("telemetry", self.naming.of("tracing"), selector=of_release, share=share)
        for service, declared, version in self._versions() if release.access == "calls" else ():
            yield from self.make(
                "authorization-policy",
                self.naming.of("policy", service, version),
                selector=workload.pods(self.shape, service, version),
                principals=self.access.principals(service, version),
                namespaces=self.access.namespaces(service),
                plain=self.access.plain(service),
                scrape=self._scrape(declared),
            )

    def _scrape(self, declared: Service) -> dict[str, Any] | None:
        if declared.metrics is None:
            return None
        principal = self.environment.principal(*self.environment.scraper.split("/", 1))
        port = declared.metrics.port or declared.port
        return {"principal": principal, "path": declared.metrics.path, "port": port}

    def _deployments(self) -> Iterator[Object]:
        for service, _, version in self._versions():
            revisions = self.environment.secret_revisions
            values = workload.deployment(self.naming, service, version, self.labels, revisions)
            there = self.environment.deployments.get(values["name"])
            # It cannot be changed. One that no longer fits is another Deployment's, whose pods are taken over.
            if there and there["version"] == version and there["selector"].items() <= values["pod_labels"].items():
                values["selector"] = dict(there["selector"])
            yield from render("deployment", **values)

    def _around_workloads(self) -> Iterator[Object]:
        for service, declared, version in self._versions():
            name = self.naming.of("deployment", service, version)
            scaling = workload.autoscaling(declared, version)
            if scaling:
                values = workload.scaling_values(scaling)
                yield from self.make("autoscaler", name, container=service, **values)
            least = workload.min_available(declared, version)
            if least:
                selector = workload.pods(self.shape, service, version)
                yield from self.make("disruption-budget", name, least=least, selector=selector)

    def _routes(self) -> Iterator[Object]:
        release = self.shape.release
        gateway = release.gateway.use
        if gateway is None:
            gateway = self.naming.of("gateway")
            hosts = list(dict.fromkeys([*self.shape.hosts, *self.shape.tool_hosts.values()]))
            settings = {
                "selector": release.gateway.selector,
                "ports": release.gateway.ports,
                "tls": release.gateway.tls,
            }
            yield from self.make("gateway", gateway, hosts=hosts, **settings)
        yield from self._limits_and_hash()
        entry = {"hosts": self.shape.hosts, "gateways": [gateway], "rules": self.rules.entry()}
        yield from self.make("virtual-service", self.naming.of("entry"), **entry)
        for service in self.shape.services:
            rules = self.rules.mesh(service)
            if rules:
                hosts = [fqdn(self.naming, service, self.environment.cluster_domain)]
                name = self.naming.of("virtual_service", service)
                yield from self.make("virtual-service", name, hosts=hosts, gateways=["mesh"], rules=rules)
        for tool in release.tools:
            yield from self._tool_route(tool, gateway)

    def _limits_and_hash(self) -> Iterator[Object]:
        gateway = self.shape.release.gateway
        beside = {"namespace": self.environment.gateway_namespace, "selector": gateway.selector}
        ports = [*gateway.ports, *([443] if gateway.tls else [])]
        if limits.declared(self.naming):
            # istiod joins hosts with the same routes under one's name; a patch that finds nothing does nothing.
            virtual_hosts = [f"{host}:{port}" for port in ports for host in self.shape.hosts]
            configuration = limits.configuration(self.naming)
            values = {**beside, "virtual_hosts": virtual_hosts, "configuration": configuration}
            yield from self.make("rate-limit", self.naming.of("rate_limit"), **values)
        hashed = self.rules.hashed()
        if hashed:
            policy = _hash_policy(self.shape.release.sticky.hash)
            yield from self.make("hash", self.naming.of("hash"), routes=hashed, policy=policy, **beside)

    def _tool_route(self, tool: str, gateway: str) -> Iterator[Object]:
        host, port = self._tool(tool)
        alias = self.shape.release.tools[tool].alias
        if alias:
            host = f"{alias}.{self.namespace}.svc.{self.environment.cluster_domain}"
        to = {"host": host, "port": port, "subset": "", "request_set": {}}
        rules = [{"name": f"{self.namespace}/{self.shape.release.name}:{tool}", "match": [], "route": [to]}]
        hosts = [self.shape.tool_hosts[tool]]
        yield from self.make("virtual-service", self.naming.tool(tool)[0], hosts=hosts, gateways=[gateway], rules=rules)

    def _monitoring(self) -> Iterator[Object]:
        if not self.environment.monitoring:
            return
        release = self.shape.release
        yield from self._monitors()
        if release.alerts:
            rules = [self._alert(name) for name in release.alerts]
            yield from self.make("prometheus-rule", self.naming.of("rules"), group=self._group, alerts=rules)
        own = release.alertmanager
        # The cluster's Alertmanager leaves what has this label to the one that it names.
        mailed_by = {"slipway.io/alertmanager": own.name} if own else {}
        if release.mail:
            mail = {**release.mail.model_dump(), "repeat": prometheus_time(release.mail.repeat)}
            mail["sender"] = release.mail.sender or release.mail.to[0]
            labels = {**self.labels, **mailed_by}
            name = self.naming.of("mail")
            yield from self.make("alertmanager-config", name, labels=labels, release=release.name, mail=mail)
        if own:
            image = self.environment.alertmanager_image
            values = {"image": image, "version": image.rpartition(":")[2], "replicas": own.replicas}
            service_labels = {**self.labels, "slipway.io/alertmanager": own.name}
            config = {"config_selector": {**self.selector, **mailed_by}, "service_labels": service_labels}
            namespace, _, account = self.environment.operator.partition("/")
            operator = {"namespace": namespace, "account": account}
            yield from self.make("alertmanager-rights", own.name, operator=operator)
            yield from self.make("alertmanager", own.name, **values, **config)
        yield from self._dashboards()

    @property
    def _group(self) -> str:
        return f"{self.namespace}/{self.shape.release.name}"

    def _monitors(self) -> Iterator[Object]:
        """Make ServiceMonitors; services that name the same one, and are read alike, share it."""
        groups: dict[str, list[str]] = {}
        for service, declared in self.shape.services.items():
            if declared.metrics:
                groups.setdefault(self.naming.of("monitor", service), []).append(service)
        for name, services in groups.items():
            declared = self.shape.services[services[0]]
            metrics = declared.metrics or Metrics()
            yield from self.make(
                "service-monitor",
                name,
                labels={**metrics.labels, **self.labels},
                services=services,
                selector=self.selector,
                ports=list(dict.fromkeys(map(self._port_of_metrics, services))),
                path=metrics.path,
                interval=prometheus_time(metrics.interval),
            )

    def _port_of_metrics(self, service: str) -> str:
        known = self.environment.ports.get(self.naming.of("service", service))
        return str(workload.ports(self.shape.services[service], known)[-1]["name"])

    def _alert(self, name: str) -> dict[str, Any]:
        release = self.shape.release
        alert = release.alerts[name]
        about = {"service": alert.service, "version": alert.version}
        return {
            "name": name,
            "expr": alerts.expression(alert, self.scope),
            "for": prometheus_time(alert.lasting),
            "labels": {
                "severity": alert.severity,
                "release": release.name,
                # Mail is routed by namespace, which a sum takes away.
                "namespace": self.namespace,
                # Only that one gets it, and the cluster's does not mail it.
                **({"alertmanager": release.alertmanager.name} if release.alertmanager else {}),
                **{key: value for key, value in about.items() if value},
            },
            "annotations": alerts.wording(name, alert, release.name),
        }

    def _dashboards(self) -> Iterator[Object]:
        maps: dict[str, dict[str, str]] = {}
        for name, declared in self.shape.release.dashboards.items():
            holder = self.naming.of("dashboards", dashboard=name)
            # Grafana's sidecar shows nothing whose key ends otherwise.
            maps.setdefault(holder, {})[f"{name}.json"] = dashboards.document(self.scope, name, declared)
        for holder, data in maps.items():
            labels = {**self.labels, "grafana_dashboard": "1"}
            yield from self.make("config-map", holder, labels=labels, data=data)

    def faults(self, steps: list[Step]) -> Iterator[Fault]:
        """Hold the plan against what is known of the cluster."""
        environment, release = self.environment, self.shape.release
        planned = {identity(item) for step in steps for item in step.objects}
        for key, host in self.hosts():
            owner = environment.hosts_taken.get(host)
            # What holds it may be taken over, and holds it for this release then.
            ours = release.adopt and set(environment.host_holders.get(host, [""])) <= planned
            if owner and owner != self._group and not ours:
                fix = "another host, or -e release_hosts=another.local"
                yield Fault(key, f"is {host}, which release {owner} answers on", fix)
        yield from self._gateway_ports()
        yield from certificate.faults(self.shape, environment, self.hosts())
        for name, secret in release.secrets.items():
            if secret.existing and environment.secrets is not None and name not in environment.secrets:
                known = f"{near(name, sorted(environment.secrets))}, or " if environment.secrets else ""
                fix = f"{known}{name}: {{keys: {{TOKEN: {{environment: API_TOKEN}}}}}}"
                yield Fault(("secrets", name), f"does not exist in namespace {self.namespace}", fix)
        for name, volume in release.volumes.items():
            classes, wanted = environment.storage_classes, volume.storage_class
            if classes is not None and wanted is not None and wanted not in classes:
                fix = f"storage_class: {near(wanted, sorted(classes))}" if classes else "cluster_parts: {storage: true}"
                yield Fault(("volumes", name, "storage_class"), "is no StorageClass of this cluster", fix)
        yield from self._images()
        yield from self._taken(steps)

    def _gateway_ports(self) -> Iterator[Fault]:
        there, gateway = self.environment.gateway_ports, self.shape.release.gateway
        if not there:
            return
        known = ", ".join(map(str, there))
        plain = next((port for port in there if port != 443), None)
        for index, port in enumerate(gateway.ports):
            if port not in there:
                fix = works(("gateway", "ports"), [plain]) if plain else _opened(there, port)
                yield Fault(("gateway", "ports", index), f"is no port of the gateway, which has {known}", fix)
        if gateway.tls and not gateway.use and 443 not in there:
            what = f"needs port 443 of the gateway, which has {known}"
            yield Fault(("gateway", "tls"), what, f"no tls, or {_opened(there, 443)}")

    def _images(self) -> Iterator[Fault]:
        """Find images that no registry has: those that nobody publishes, and that the mirror has not."""
        known = self.environment.images
        if known is None:
            return
        mirrored = sorted(name for name in known if name.startswith(OWN_REGISTRY) and "@" not in name)
        for service, declared, version in self._versions():
            own = declared.versions[version].image
            image = own or declared.image or ""
            key: Key = ("services", service, "versions", version, "image") if own else ("services", service, "image")
            digest = image.partition("@")[2]
            named = f"{repository(image)}@{digest}" if digest else image
            if image.startswith(OWN_REGISTRY) and named not in known:
                fix = f"image: {near(image, mirrored)}" if mirrored else "cluster_releases: [this page], then `make up`"
                yield Fault(key, "is not on the mirror of this cluster, and nowhere else either", fix)

    def hosts(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Give all hosts that the release answers on, each with its key on the page."""
        release = self.shape.release
        yield from ((("hosts", index), host) for index, host in enumerate(release.hosts))
        yield from ((("override", "hosts", host), self.shape.host(host)) for host in release.override.hosts)
        yield from ((("tools", tool, "host"), host) for tool, host in self.shape.tool_hosts.items())

    def places(self, steps: list[Step]) -> dict[str, Key]:
        """Give for each object the key of the page that its name comes from."""
        keys = {(kind, name): key for kind, _, name, key in self.naming.all()}
        return {
            identity(item): keys.get((item["kind"], item["metadata"]["name"]), ("name",))
            for step in steps
            for item in step.objects
        }

    def _taken(self, steps: list[Step]) -> Iterator[Fault]:
        if self.shape.release.adopt:
            return
        for name, key in self.places(steps).items():
            owner = self.environment.objects_taken.get(name)
            if owner and owner != self._group:
                fix = "-e release_namespace=another, or another name in names; adopt: true takes it over"
                yield Fault(key, f"would make {name}, which is {owner}'s", fix)

    def warnings(self) -> Iterator[str]:
        """Say what is worth knowing about this cluster."""
        environment, release = self.environment, self.shape.release
        for limit in limits.declared(self.naming):
            bucket, pods = limit["bucket"], environment.gateway_replicas
            if pods > 1:
                yield (
                    f"limit {limit['rate']}: each of {pods} gateway pods counts for itself, so up to "
                    f"{bucket['max_tokens'] * pods} come through at once"
                )
        if added := certificate.due(self.shape, environment, self.hosts()):
            yield f"the gateway's certificate is not for {', '.join(added)} yet: it gets what it lacks"
        there = environment.secrets
        for name in release.image_pull_secrets if there is not None else ():
            if name not in (there or ()) and name not in release.secrets:
                yield f"image_pull_secrets: namespace {self.namespace} has no Secret {name}, so pulls go without it"
        for tool in release.tools:
            if tool in environment.missing_tools:
                yield f"{tool} is not part of this cluster: {self.shape.tool_hosts[tool]} will answer 503"
        if not environment.monitoring and (release.alerts or any(s.metrics for s in self.shape.services.values())):
            yield "there is no monitoring in this cluster: alerts, dashboards and metrics are left out"


def _opened(there: Iterable[int], port: int) -> str:
    """Say how a cluster's gateway gets another port."""
    return f"cluster_gateway: {{ports: {sorted([*there, port])}}} in group_vars/all/cluster.yml, then `make up`"


def _hash_policy(given: HashKey | None) -> dict[str, Any]:
    """Say to Envoy what of a request picks its version."""
    if given is None or given.address:
        return {"connection_properties": {"source_ip": True}}
    return {"header": {"header_name": given.header}} if given.header else {"cookie": {"name": given.cookie}}


def _hash_key(given: HashKey) -> dict[str, Any]:
    if given.header:
        return {"httpHeaderName": given.header}
    if given.cookie:
        ttl = {"ttl": f"{milliseconds(given.ttl) // 1000}s", "path": "/"} if given.ttl else {}
        return {"httpCookie": {"name": given.cookie, **ttl}}
    return {"useSourceIp": True}
