"""What of the facts is wrong, and why. Nothing here asks anybody anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ..cluster.holdups import condition, seconds
from ..cluster.nodes import node_trouble
from ..contents import gateway_api
from ..lab import leftovers
from ..parts import consoles, pod_network
from .facts import Facts, Object

State = Literal["ok", "note", "wrong"]

# Seconds that a pod may take to start, or to end beyond its own grace, before it counts as wrong.
STARTING = 120
ENDING = 60
# Days before its end from which a certificate is wrong, as in the alert CertificateExpiring.
CERTIFICATE_DAYS = 30
DAY = 86400
# Seconds that a backup may come later than its timer says: it waits for others at work, and takes its time.
LATE = 2 * 3600
DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
# The Service of the mesh's gateway.
MESH_GATEWAY = "istio-system/istio-ingressgateway"
# Alerts that fire when all is well.
ALWAYS = frozenset({"Watchdog"})


@dataclass(frozen=True)
class Row:
    """One line of a section: its cells, and whether what it shows is as it should be."""

    cells: tuple[str, ...]
    state: State = "ok"


@dataclass(frozen=True)
class Section:
    """A table of the page. Without rows, ``empty`` is what is said instead."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    empty: str = ""


@dataclass(frozen=True)
class Report:
    """All sections, and a sentence for each thing that is wrong."""

    cluster: str
    server: str
    version: str
    sections: list[Section]
    problems: list[str]

    @property
    def healthy(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """For machines: the rows as mappings, by the name of their section."""
        return {
            "cluster": self.cluster,
            "server": self.server,
            "version": self.version,
            "healthy": self.healthy,
            "problems": self.problems,
            **{
                section.name: [
                    {**dict(zip(section.columns, row.cells, strict=True)), "state": row.state} for row in section.rows
                ]
                for section in self.sections
            },
        }


def judge(facts: Facts) -> Report:
    """Hold everything that is known against what it should be."""
    sections, problems = [], []
    looks = (_nodes, _network, _parts, _images, _addresses, _pods, _instances, _targets, _alerts, _certificates)
    for look in (*looks, _backups):
        section, found = look(facts)
        sections.append(section)
        problems += found
    problems += [f"{name} could not be asked: {why}" for name, why in facts.missing.items()]
    return Report(facts.cluster, facts.server, facts.version, sections, problems)


# --- nodes


def _nodes(facts: Facts) -> tuple[Section, list[str]]:
    rows, problems = [], []
    for node in sorted(facts.nodes, key=lambda item: str(item["metadata"]["name"])):
        name, info = node["metadata"]["name"], node["status"]["nodeInfo"]
        role = "controller" if leftovers.CONTROLLER in node["metadata"].get("labels", {}) else "worker"
        addresses = [entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
        trouble = node_trouble(node)
        cordoned = node.get("spec", {}).get("unschedulable", False)
        state: State = "wrong" if trouble else "note" if cordoned else "ok"
        said = "; ".join(filter(None, (trouble or "Ready", "takes no new pods" if cordoned else "")))
        cells = (name, role, addresses[0] if addresses else "", info["kubeletVersion"], info["osImage"], said)
        rows.append(Row(cells, state))
        if trouble:
            problems.append(f"node {name}: {trouble}; look at: kubectl describe node {name}")
    if facts.listed is not None:
        problems += leftovers.machines_told(
            facts.nodes, facts.listed, facts.machines_left, hosts=facts.own_hosts
        ).values()
    if not facts.nodes and "nodes" not in facts.missing:
        problems.append("the cluster has no nodes")
    columns = ("name", "role", "address", "version", "system", "condition")
    return Section("nodes", "Nodes", columns, rows, "none"), problems


# --- parts, images, addresses


def _parts(facts: Facts) -> tuple[Section, list[str]]:
    left = consoles.left_out(facts.parts, facts.bundle) if facts.bundle else {}
    rows = [
        Row((name, f"left out: {left[name]}"), "note")
        if name in left
        else Row((name, "on" if on else "off"), "ok" if on else "note")
        for name, on in sorted(facts.parts.items())
    ]
    stay = leftovers.parts_left(facts.deployments, facts.parts)
    rows = [Row((row.cells[0], "off, and in the cluster"), "wrong") if row.cells[0] in stay else row for row in rows]
    told = {image for name in left for image in consoles.IMAGES[name]}
    rows += [
        Row((item["name"], f"not in the bundle: {item['reason']}"), "note")
        for item in facts.bundle.get("missing", [])
        if item["name"] not in told
    ]
    problems = leftovers.parts_left_told(facts.deployments, facts.parts)
    return Section("parts", "Parts", ("part", "is"), rows, "only Kubernetes and its network"), problems


def _network(facts: Facts) -> tuple[Section, list[str]]:
    """What does not pass between pods, as the nodes tell it, and pods with addresses of another network."""
    problems = pod_network.strangers(facts.pods, facts.nodes, facts.pod_cidr) if facts.pod_cidr else []
    problems += pod_network.troubles(facts.questions, facts.answers)
    rows = [Row((problem,), "wrong") for problem in problems]
    for node, why in sorted(facts.unasked.items()):
        rows.append(Row((f"{node} was not asked: {why}",), "note"))
    asked = sum(1 for node in facts.answers if facts.questions[node]["service"])
    empty = f"cluster DNS and pods on other nodes answer {'all ' if asked > 1 else ''}{asked} node{'s' * (asked != 1)}"
    empty = empty if asked else "no node could ask cluster DNS"
    return Section("network", "Pod network", ("what does not pass",), rows, empty), problems


def _images(facts: Facts) -> tuple[Section, list[str]]:
    held: dict[str, Object] = facts.bundle.get("images", {})
    known = {f"{image['name']}:{image['tag']}": image["source"] for image in held.values()}
    used = {
        str(container["image"])
        for pod in facts.pods
        for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    }
    rows = [
        Row(
            (
                image,
                {"built": "built from source", "upstream": "upstream's"}.get(known.get(image, ""), "not of the bundle"),
            )
        )
        for image in sorted(used)
    ]
    return Section("images", "Images in use", ("image", "from"), rows, "none"), []


def hosts_by_gateway(facts: Facts) -> Iterator[tuple[Object, list[str]]]:
    """Every Gateway with the hosts that lead somewhere: those of the VirtualServices that name it."""
    for gateway in facts.gateways:
        name, namespace = gateway["metadata"]["name"], gateway["metadata"]["namespace"]
        hosts = {
            host
            for service in facts.virtual_services
            for named in service["spec"].get("gateways", [])
            if (named if "/" in named else f"{service['metadata']['namespace']}/{named}") == f"{namespace}/{name}"
            for host in service["spec"].get("hosts", [])
        }
        yield gateway, sorted(hosts)


def _by_http_routes(facts: Facts) -> set[str]:
    """Give the hosts of the HTTPRoutes at the Gateway that the mesh's gateway serves."""
    led = [route for route in facts.http_routes if gateway_api.HOME in gateway_api.parents(route)]
    return {str(host) for route in led for host in route["spec"].get("hostnames") or []}


def _addresses(facts: Facts) -> tuple[Section, list[str]]:
    rows, problems = [], []
    for service in facts.services:
        if service["spec"].get("type") != "LoadBalancer":
            continue
        metadata = service["metadata"]
        where = f"{metadata['namespace']}/{metadata['name']}"
        given = [
            str(entry.get("ip") or entry.get("hostname"))
            for entry in service.get("status", {}).get("loadBalancer", {}).get("ingress", [])
        ]
        selector = service["spec"].get("selector") or {}
        hosts = sorted(
            {
                host
                for gateway, names in hosts_by_gateway(facts)
                if (gateway["spec"].get("selector") or {}).items() <= selector.items()
                for host in names
            }
            | (_by_http_routes(facts) if where == MESH_GATEWAY else set())
        )
        ports = ", ".join(str(port["port"]) for port in service["spec"]["ports"])
        rows.append(Row((where, ", ".join(given) or "none", ports, ", ".join(hosts)), "ok" if given else "wrong"))
        if not given:
            problems.append(f"Service {where} has no address; look at: kubectl describe service")
    for ingress in facts.ingresses:
        row, problem = _ingress(ingress, facts)
        rows.append(row)
        problems += [problem] if problem else []
    empty = "no Service of type LoadBalancer"
    return Section("addresses", "Addresses", ("service", "address", "ports", "hosts"), rows, empty), problems


def _ingress(ingress: Object, facts: Facts) -> tuple[Row, str]:
    """The row of an Ingress, and what is wrong with it: that no controller of this cluster sees to it."""
    metadata, spec = ingress["metadata"], ingress.get("spec") or {}
    where = f"Ingress {metadata['namespace']}/{metadata['name']}"
    given = [
        str(entry.get("ip") or entry.get("hostname"))
        for entry in ingress.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    ]
    rules = spec.get("rules") or []
    hosts = ", ".join(sorted({str(rule["host"]) for rule in rules if rule.get("host")}))
    ports = "80, 443" if spec.get("tls") else "80"
    row = Row((where, ", ".join(given) or "none", ports, hosts), "ok" if given else "note")
    if given or facts.now - seconds(metadata["creationTimestamp"]) <= STARTING:
        return row, ""
    known = {item["metadata"]["name"]: item["metadata"].get("annotations") or {} for item in facts.ingress_classes}
    named = spec.get("ingressClassName") or (metadata.get("annotations") or {}).get("kubernetes.io/ingress.class")
    named = named or next((name for name, said in known.items() if said.get(DEFAULT_CLASS) == "true"), None)
    why = (
        f"its class is {named}, which this cluster does not have"
        if named
        else "it has no class, and there is no default"
    )
    why = f"nothing has taken up its class {named}" if named in known else why
    fix = (
        "here a page in releases/, or a Gateway with a VirtualService, leads requests to a Service; "
        "cluster_ingress_classes says which Ingresses the gateway serves"
    )
    return Row(row.cells, "wrong"), f"{where} leads nowhere: no controller sees to it ({why}); {fix}"


# --- pods


def _ended(state: Mapping[str, Any]) -> str:
    """How a container ended."""
    reason = state.get("reason") or "Error"
    code = state.get("exitCode")
    return f"{reason}, exit code {code}" if code else str(reason)


def _container_trouble(status: Mapping[str, Any]) -> str:
    name, state = status["name"], status.get("state", {})
    waiting, terminated = state.get("waiting"), state.get("terminated")
    last = status.get("lastState", {}).get("terminated")
    if waiting:
        reason = waiting.get("reason", "")
        if reason in ("ContainerCreating", "PodInitializing", ""):
            return ""
        if reason == "CrashLoopBackOff" and last:
            return f"{name}: {reason}, {status.get('restartCount', 0)} restarts, last {_ended(last)}"
        message = str(waiting.get("message", "")).strip()
        return f"{name}: {reason}" + (f", {message}" if message and message != reason else "")
    if terminated and terminated.get("exitCode"):
        return f"{name}: {_ended(terminated)}"
    return ""


def pod_trouble(pod: Object, now: float) -> tuple[State, str]:
    """Whether a pod is as it should be, and why not."""
    metadata, status = pod["metadata"], pod.get("status", {})
    phase = status.get("phase", "Unknown")
    if deleted := metadata.get("deletionTimestamp"):
        late = now - seconds(deleted)
        return ("wrong", f"should have ended {late:.0f} s ago") if late > ENDING else ("note", "is ending")
    if phase == "Succeeded":
        return "ok", ""
    if phase == "Failed":
        return "wrong", ": ".join(filter(None, (status.get("reason") or "Failed", status.get("message"))))
    statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    troubles = [trouble for entry in statuses if (trouble := _container_trouble(entry))]
    if troubles:
        return "wrong", "; ".join(troubles)
    if condition(pod, "Ready").get("status") == "True":
        return "ok", ""
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return "wrong", f"no node takes it: {scheduled.get('message', 'no reason given')}"
    since = condition(pod, "Ready").get("lastTransitionTime") or metadata["creationTimestamp"]
    if now - seconds(since) <= STARTING:
        return "note", "is starting"
    running = all((entry.get("state") or {}).get("running") for entry in status.get("containerStatuses") or [])
    message = condition(pod, "Ready").get("message", "")
    return "wrong", f"not ready for {now - seconds(since):.0f} s" + (f": {message}" if message and running else "")


def _pods(facts: Facts) -> tuple[Section, list[str]]:
    rows, problems = [], []
    for pod in sorted(facts.pods, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"])):
        state, why = pod_trouble(pod, facts.now)
        if state == "ok":
            continue
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        rows.append(Row((namespace, name, pod["spec"].get("nodeName", ""), why), state))
        if state == "wrong":
            problems.append(f"pod {namespace}/{name}: {why}")
    empty = f"all {len(facts.pods)} are well"
    return Section("pods", "Pods that are not well", ("namespace", "pod", "node", "reason"), rows, empty), problems


# --- monitoring


def _instances(facts: Facts) -> tuple[Section, list[str]]:
    rows, problems = [], []
    for instance in facts.instances:
        metadata, reconciled = instance["metadata"], condition(instance, "Reconciled")
        where = f"{metadata['namespace']}/{metadata['name']}"
        seen = int(reconciled.get("observedGeneration") or 0) >= int(metadata.get("generation") or 0)
        young = facts.now - seconds(metadata["creationTimestamp"]) <= STARTING
        if reconciled.get("status") == "True" and seen:
            continue
        why = str(reconciled.get("message") or reconciled.get("reason") or "")
        if not reconciled:
            why = "no operator has looked at it"
            why += ", which needs its namespace in monitoring_instance_namespaces" * (instance["kind"] == "Prometheus")
        elif reconciled.get("status") == "True":
            why = "no operator has looked at it since it was changed"
        rows.append(Row((instance["kind"], where, why), "note" if young else "wrong"))
        if not young:
            look = "kubectl --namespace monitoring logs deployment/prometheus-operator"
            problems.append(f"{instance['kind']} {where} does not run as it says: {why}; look at: {look}")
    empty = f"all {len(facts.instances)} are as they say" if facts.instances else "there are none here"
    title = "Prometheuses and Alertmanagers that nobody sees to"
    return Section("instances", title, ("kind", "name", "reason"), rows, empty), problems


def _targets(facts: Facts) -> tuple[Section, list[str]]:
    columns = ("job", "target", "error")
    if facts.targets is None:
        return Section("targets", "Targets that are down", columns, empty="there is no Prometheus here"), []
    rows = [
        Row(
            (
                target["labels"].get("job", ""),
                target["labels"].get("instance", ""),
                target.get("lastError") or "no answer",
            ),
            "wrong",
        )
        for target in facts.targets
        if target["health"] == "down"
    ]
    new = sum(target["health"] == "unknown" for target in facts.targets)
    up = len(facts.targets) - len(rows) - new
    empty = f"all {up} are up" + (f", {new} not asked yet" if new else "")
    problems = [f"target {row.cells[0]} {row.cells[1]}: {row.cells[2]}" for row in rows]
    if not facts.targets:
        problems.append("Prometheus has no target")
    return Section("targets", "Targets that are down", columns, rows, empty), problems


def _alerts(facts: Facts) -> tuple[Section, list[str]]:
    columns = ("severity", "alert", "says")
    if facts.alerts is None:
        return Section("alerts", "Alerts", columns, empty="there is no Prometheus here"), []
    rows, problems = [], []
    order = {"critical": 0, "warning": 1}
    firing = [alert for alert in facts.alerts if alert.get("state") == "firing"]
    for alert in sorted(firing, key=lambda item: order.get(item["labels"].get("severity", ""), 2)):
        name, severity = alert["labels"]["alertname"], alert["labels"].get("severity", "")
        if name in ALWAYS:
            continue
        says = alert.get("annotations", {}).get("summary") or alert.get("annotations", {}).get("description") or ""
        bad = severity in order
        rows.append(Row((severity, name, says), "wrong" if bad else "note"))
        if bad:
            problems.append(f"alert {name}: {says}")
    received = {alert["labels"].get("alertname") for alert in facts.received or []}
    for name in sorted(ALWAYS & {alert["labels"]["alertname"] for alert in firing}):
        if facts.received is not None and name not in received:
            rows.append(Row(("critical", name, "fires in Prometheus and has not reached Alertmanager"), "wrong"))
            problems.append(f"alerts do not reach Alertmanager: {name} fires and is not there")
    for receiver, error in sorted(facts.mail_failures.items()):
        rows.append(Row(("critical", "mail", f"{receiver}: {error}"), "wrong"))
        problems.append(f"mail does not go out ({receiver}): {error}")
    return Section("alerts", "Alerts", columns, rows, "none fires"), problems


def _certificates(facts: Facts) -> tuple[Section, list[str]]:
    rows, problems = [], []
    for name, ends in sorted(facts.certificates.items(), key=lambda item: item[1]):
        days = (ends - facts.now) / DAY
        bad = days < CERTIFICATE_DAYS
        said = f"{days:.0f} days" if days >= 0 else f"ended {-days:.0f} days ago"
        rows.append(
            Row((name, datetime.fromtimestamp(ends).astimezone().date().isoformat(), said), "wrong" if bad else "ok")
        )
        if bad:
            problems.append(f"certificate {name}: {'ends in ' + said if days >= 0 else said}")
    return Section("certificates", "Certificates", ("certificate", "ends", "left"), rows, "none seen"), problems


# --- backups that controllers make by themselves


def _backups(facts: Facts) -> tuple[Section, list[str]]:
    rows, problems = [], []
    told = {one["data"].get("node", ""): one["data"] for one in facts.backups}
    for name in facts.savers:
        data = told.get(name, {})
        newest, size = data.get("newest", ""), int(data.get("bytes") or 0) / 1_000_000
        due = data.get("next", "")
        why = data.get("error", "")
        if not why and due and facts.now - seconds(due) > LATE:
            why = f"one was due at {due}, and nothing is told of it"
        tried = data.get("tried", "")
        if not why and tried and seconds(tried) - facts.now > LATE:
            why = f"the last one says {tried}, which is yet to come: its clock jumped, or is wrong"
        words = why or ("well" if data else "none was made yet")
        state: State = "wrong" if why else "ok" if data else "note"
        there = f"{newest} ({size:.1f} MB)" if newest else "none"
        rows.append(Row((name, there, data.get("kept", "0"), due, words), state))
        if why:
            problems.append(f"backup on {name}: {why}; look at: journalctl -u slipway-backup on {name}")
    columns = ("controller", "newest", "kept", "next", "is")
    empty = "controllers make none by themselves (cluster_backup.schedule)"
    return Section("backups", "Backups", columns, rows, empty), problems


# --- what Alertmanager says of mail

_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')
_PREFIX = re.compile(r"^(?P<receiver>.*?)/email\[\d+\]: (?:notify retry canceled[^:]*: )?")


def _unquoted(value: str) -> str:
    return value[1:-1].replace('\\"', '"') if value.startswith('"') else value


def mail_failures(log: Iterable[str], secrets: Iterable[str]) -> dict[str, str]:
    """The last error of each receiver whose mail fails, from Alertmanager's log, without any of ``secrets`` in it.

    When the log says nothing (any more), that is said of "email", so it is asked only when mail is known to fail.
    """
    hidden = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    found: dict[str, str] = {}
    for line in log:
        fields = {key: _unquoted(value) for key, value in _FIELD.findall(line)}
        text = fields.get("err", "")
        prefix = _PREFIX.match(text)
        if not text or not (prefix or fields.get("integration", "").startswith("email")):
            continue
        receiver = prefix["receiver"] if prefix else fields.get("receiver", "email")
        text = text[prefix.end() :] if prefix else text
        for secret in hidden:
            text = text.replace(secret, "…")
        found[receiver] = text
    return found or {
        "email": "Alertmanager says no more; look at: kubectl --namespace monitoring logs alertmanager-main-0"
    }
