"""Look up in a cluster what a plan asks for beside requests: counts, rules, policies, targets, alerts and their mail.

What cannot be looked up is said in the observation (``error``), never raised: its claim fails with these words.
"""

from __future__ import annotations

import json
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..cluster.access import UnansweredError
from ..status.collect import PROMETHEUS
from . import envoy, receivers
from .look import GATEWAY_NAMESPACE, MONITORING, Asked, is_ready, pods_of
from .routes import callers

Json = dict[str, Any]
# (namespace, pod, what) → what the proxy of the pod gives at that path of its administration interface, read as JSON.
Proxy = Callable[[str, str, str], Any]

# Where a proxy shows its counts to everybody, whatever mutual TLS is asked for.
STATISTICS = "15090/proxy/stats/prometheus"
OUTBOUND = "config_dump?resource=dynamic_listeners&name_regex=virtualOutbound%7C0.0.0.0_.*"
LISTENERS = "config_dump?resource=dynamic_listeners&name_regex=virtualInbound"
ROUTES = "config_dump?resource=dynamic_route_configs"
CLUSTERS = "config_dump?resource=dynamic_active_clusters"
# A proxy adds up the counts of its threads every five seconds.
STILL = 6.0
MOST_STILL = 20.0
# Lines of a log, and letters of what it says, that are enough.
LINES, MOST_WORDS = 200, 300
# The error of a line: ``err="…"`` with its quotes escaped, or a bare word.
_ERROR = re.compile(r'\berr=(?:"((?:[^"\\]|\\.)*)"|(\S+))')
# What a server may have sent back of what it was told: words after "password" and the like, and anything in base64.
_HIDDEN = re.compile(
    r"(?i)(?<=password)[=: ]+\S+|(?<=secret)[=: ]+\S+|(?<=token)[=: ]+\S+|\b[A-Za-z0-9+/]{16,}={0,2}(?![\w.@:/-])"
)


@dataclass
class Reads:
    """``plan`` tells what; ``sink``: namespace and name of a mail server's Service that can be read; ``hooks``: of one
    that others than mail may go to.
    """

    api: Asked
    proxy: Proxy
    plan: Json
    sink: list[str] | None = None
    hooks: list[str] | None = None
    alertmanagers: tuple[tuple[str, str], ...] = ((MONITORING, "alertmanager"),)
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    seen: dict[str, Json] = field(default_factory=dict)

    def _of(self, what: str) -> list[Json]:
        return [read for read in self.plan["reads"] if read["what"] == what]

    def _note(self, read: Json, look: Callable[[Json], Json]) -> None:
        for again in (True, False):
            try:
                self.seen[read["id"]] = look(read)
            except (UnansweredError, LookupError, ValueError, TypeError) as exc:
                # Its pod may have been exchanged at that very moment.
                if again:
                    self.sleep(1)
                else:
                    self.seen[read["id"]] = {"error": f"it could not be looked up: {exc}"}
            else:
                return

    # What proxies have.

    def configuration(self) -> None:
        """Read who may call, and how calls are treated."""
        for read in self._of("rules"):
            self._note(read, self._rules)
        for what, look in (("policy", self._policy), ("outside", self._outside), ("egress", self._egress)):
            for read in self._of(what):
                self._note(read, look)
        for read in self._of("keys"):
            self._note(read, lambda each: self._first(each, lambda dump: envoy.keys(dump(LISTENERS))))

    def _first(self, read: Json, judge: Callable[[Callable[[str], Any]], Json]) -> Json:
        """Judge what the proxies of a Deployment have; the first that does not have it counts."""
        pods = self._pods(read["deployment"])
        found = [judge(partial(self.proxy, self.plan["namespace"], pod)) for pod in pods]
        return next((each for each in found if not each["found"]), found[0])

    def _outside(self, read: Json) -> Json:
        wanted = read["outside"]
        return self._first(read, lambda dump: envoy.known_outside(wanted, dump(CLUSTERS), dump(ROUTES)))

    def _egress(self, read: Json) -> Json:
        return self._first(read, lambda dump: envoy.held_back(dump(OUTBOUND), dump(ROUTES)))

    def _pods(self, deployment: str) -> list[str]:
        pods = self.api.items(f"/api/v1/namespaces/{self.plan['namespace']}/pods")
        found = sorted(str(pod["metadata"]["name"]) for pod in pods_of(pods, deployment))
        if not found:
            raise UnansweredError("not-measurable", f"no pod of Deployment {deployment} is Ready")
        return found

    def gateways(self, text: str) -> list[bool]:
        """Tell for each pod of the gateway whether its routes have a text; none where one could not be asked."""
        pods = self.api.items(f"/api/v1/namespaces/{GATEWAY_NAMESPACE}/pods?labelSelector=istio%3Dingressgateway")
        try:
            return [
                text in json.dumps(self.proxy(GATEWAY_NAMESPACE, str(pod["metadata"]["name"]), ROUTES))
                for pod in pods
                if is_ready(pod)
            ]
        except (UnansweredError, ValueError):
            return []

    def _rules(self, read: Json) -> Json:
        held = [
            envoy.principals(self.proxy(self.plan["namespace"], pod, LISTENERS))
            for pod in self._pods(read["deployment"])
        ]
        # What only some of the pods have does not hold.
        return {"principals": sorted(set.intersection(*map(set, held)))}

    def _policy(self, read: Json) -> Json:
        service, kind = self.plan["services"][read["service"]], read["kind"]
        routes: list[Json] = []
        clusters: list[Json] = []
        for namespace, pod in self._callers(read["service"]):
            if kind == "circuit-breaking":
                clusters += envoy.clusters_of(self.proxy(namespace, pod, CLUSTERS), service["host"])
            else:
                hosts = (service["host"], *service.get("routed", ()))
                routes += envoy.routes_to(self.proxy(namespace, pod, ROUTES), *hosts)
        return envoy.policy(kind, service[kind.replace("-", "_")], routes, clusters)

    def _callers(self, service: str) -> list[tuple[str, str]]:
        """Name a pod of each version that calls a service, and the gateway's where requests come in there."""
        found = []
        gateway, deployments = callers(self.plan, service)
        if gateway:
            pods = self.api.items(f"/api/v1/namespaces/{GATEWAY_NAMESPACE}/pods?labelSelector=istio%3Dingressgateway")
            found += [(GATEWAY_NAMESPACE, str(pod["metadata"]["name"])) for pod in pods][:1]
        return found + [(self.plan["namespace"], self._pods(each)[0]) for each in deployments]

    # Copies.

    def copies(self, moment: str) -> None:
        """Count what shadows got, ``before`` or ``after`` the stage that makes copies, once nothing moves any more."""
        for read in self._of("copies"):
            self._note(read, lambda each: self._counted(each, moment))

    def _counted(self, read: Json, moment: str) -> Json:
        began = self.now()
        count, source = self._count(read)
        since = self.now()
        while self.now() - since < STILL and self.now() - began < MOST_STILL:
            self.sleep(1)
            again, source = self._count(read)
            if again != count:
                count, since = again, self.now()
        before = self.seen.get(read["id"], {})
        if moment == "after" and "before" not in before:
            raise LookupError(before.get("error") or "nobody counted before the copies")
        started = before.get("at", began)
        return {**before, moment: round(count), "source": source, "at": started, "seconds": self.now() - started}

    def _count(self, read: Json) -> tuple[float, str]:
        service = self.plan["services"][read["service"]]
        guarded = service["versions"][read["version"]]["sidecar"]
        total = 0.0
        for pod in self._pods(read["deployment"]):
            at = f"/api/v1/namespaces/{self.plan['namespace']}/pods/{pod}:"
            if guarded:
                total += envoy.inbound(self.api.text(at + STATISTICS))
                continue
            metrics = service["metrics"]
            counted = envoy.counted(self.api.text(f"{at}{metrics['port']}/proxy{metrics['path']}")) if metrics else None
            if counted is None:
                raise UnansweredError(
                    "not-measurable", f"neither a proxy nor the app of {read['deployment']} counts requests"
                )
            total += counted
        return total, "proxy" if guarded else "app"

    # Prometheus and Alertmanager.

    def targets(self, until: float) -> None:
        """Ask which targets are up, until all are or time is up: those of new pods come a moment later."""
        reads = self._of("targets")
        while reads:
            for read in reads:
                self._note(read, self._targets)
            good = all(found.get("up") and not found.get("down") for found in (self.seen[r["id"]] for r in reads))
            if good or self.now() >= until:
                return
            self.sleep(2)

    def _targets(self, read: Json) -> Json:
        name = self.plan["services"][read["service"]]["host"].partition(".")[0]
        active = self.api.get(f"{PROMETHEUS}/api/v1/targets?state=active")["data"]["activeTargets"]
        ours = [
            each for each in active
            if (each["labels"].get("namespace"), each["labels"].get("service")) == (self.plan["namespace"], name)
        ]  # fmt: skip
        down = [each for each in ours if each["health"] != "up"]
        errors = sorted({str(each.get("lastError") or f"never read: {each['health']}") for each in down})
        return {"up": len(ours) - len(down), "down": len(down), "errors": errors}

    def loaded(self, until: float) -> None:
        """Ask which rules Prometheus has, until it has those that are looked for or time is up."""
        reads = self._of("loaded")
        while reads:
            for read in reads:
                self._note(read, self._loaded)
            if all(self.seen[read["id"]].get("rules") for read in reads) or self.now() >= until:
                break
            self.sleep(2)
        for read in self._of("queries"):
            self._note(read, self._queries)

    def _loaded(self, read: Json) -> Json:
        """Give the rules of an object: the operator names their file ``<namespace>-<name>-<uid>.yaml``."""
        groups = self.api.get(f"{PROMETHEUS}/api/v1/rules")["data"]["groups"]
        of_it = re.compile(
            rf"(^|/){re.escape(self.plan['namespace'])}-{re.escape(read['item'])}(-[0-9a-f-]{{36}})?\.ya?ml$"
        )
        rules = [rule for group in groups if of_it.search(str(group.get("file", ""))) for rule in group["rules"]]
        errors = sorted({f"{rule['name']}: {rule['lastError']}" for rule in rules if rule.get("lastError")})
        return {"rules": [str(rule["name"]) for rule in rules], "errors": errors}

    def _queries(self, read: Json) -> Json:
        refused, empty = {}, 0
        for query in read["queries"]:
            at = f"{PROMETHEUS}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
            try:
                empty += not self.api.get(at)["data"]["result"]
            except UnansweredError as exc:
                if exc.status != 400:
                    raise
                refused[query] = exc.said
        return {"asked": len(read["queries"]), "refused": refused, "empty": empty}

    def panels(self, until: float) -> None:
        """Ask what panels ask, until each dashboard has something to show or time is up."""
        reads = self._of("panels")
        while reads:
            for read in reads:
                self._note(read, lambda each: {"panels": [self._panel(panel) for panel in each["panels"]]})
            reads = [read for read in reads if not self._shows(read)]
            if not reads or self.now() >= until:
                return
            self.sleep(3)

    def _shows(self, read: Json) -> bool:
        panels = self.seen[read["id"]].get("panels", [])
        return any(each["state"] != "empty" for each in panels) or all(each["may_be_empty"] for each in panels)

    def _panel(self, panel: Json) -> Json:
        about = {"title": panel["title"], "may_be_empty": panel["may_be_empty"], "why": panel["why"]}
        if panel["why"]:
            return {**about, "state": "not asked"}
        try:
            query = urllib.parse.quote(panel["query"], safe="")
            found = self.api.get(f"{PROMETHEUS}/api/v1/query?query={query}")["data"]["result"]
        except UnansweredError as exc:
            if exc.status not in (400, 422):
                raise
            return {**about, "state": "refused", "why": " ".join(exc.said.split())[:MOST_WORDS]}
        return {**about, "state": "data" if found else "empty"}

    def states(self) -> dict[str, str]:
        """Give the state of each alert of the plan as Prometheus has it; ``not loaded`` where it does not know it."""
        reads = self._of("alert")
        if not reads:
            return {}
        groups = self.api.get(f"{PROMETHEUS}/api/v1/rules?type=alert")["data"]["groups"]
        whose = {"release": self.plan["release"], "namespace": self.plan["namespace"]}
        known = {
            str(rule["name"]): str(rule["state"])
            for group in groups
            for rule in group["rules"]
            if whose.items() <= (rule.get("labels") or {}).items()
        }
        return {read["id"]: known.get(read["name"], "not loaded") for read in reads}

    def quiet(self, until: float) -> None:
        """Note each alert's state before any load, once all of them are loaded and silent or time is up."""
        if not self._of("alert"):
            return
        while True:
            try:
                states = {name: {"before": state} for name, state in self.states().items()}
            except (UnansweredError, LookupError, ValueError, TypeError) as exc:
                states = {read["id"]: {"error": f"Prometheus could not be asked: {exc}"} for read in self._of("alert")}
            self.seen |= states
            if all(state.get("before") == "inactive" for state in states.values()) or self.now() >= until:
                return
            self.sleep(2)

    def watch(self, began: float, wanted: Mapping[str, Json]) -> None:
        """Follow alerts (``wanted``: id of the read → what is expected) until all has been seen, or time is up."""
        open_ = dict(wanted)
        # What was mailed until an alert fired is not about that.
        until: dict[str, tuple[dict[str, receivers.Tries], int, int]] = {}
        for name in wanted:
            self.seen[name] = {**self.seen.get(name, {}), "fired_after": None, "mail": "none", "receivers": {}}
        while open_:
            try:
                states = self.states()
            except (UnansweredError, LookupError, ValueError, TypeError):
                states = {}
            for name, expect in list(open_.items()):
                seen = self.seen[name]
                if seen["fired_after"] is None and states.get(name) == "firing":
                    seen["fired_after"] = round(self.now() - began, 1)
                    until[name] = self._tries(), len(self._sunk("mails")), len(self._sunk("hooks"))
                elif name in until:
                    tries, mails, hooks = until[name]
                    if expect["mail"]:
                        self._mail(seen, expect, tries, mails)
                    self._told(seen, expect, tries, hooks)
                settled = seen["mail"] in (("read",) if self.sink else ("read", "handed over")) or not expect["mail"]
                told = all(
                    seen["receivers"].get(each["name"], {}).get("state", "none") != "none"
                    for each in expect.get("receivers", [])
                )
                late = self.now() - began > expect["within"]
                if late or (seen["fired_after"] is not None and settled and told):
                    del open_[name]
            if open_:
                self.sleep(2)

    def _mail(self, seen: Json, expect: Json, tries: dict[str, receivers.Tries], mails: int) -> None:
        """Say how far the mail of a fired alert got."""
        asked, failed = receivers.since(self._tries(), tries, receivers.EMAIL)
        if asked > failed:
            seen["mail"] = "handed over"
            seen.pop("mail_error", None)
        elif failed:
            said = self._said(str(expect["name"]))
            why = f": {said}" if said else "; Alertmanager's log says why"
            seen["mail_error"] = f"{failed:.0f} of {asked:.0f} tries failed{why}"
        elif not asked:
            seen["mail_error"] = "Alertmanager has not tried to hand it over yet"
        for mail in self._sunk("mails")[mails:]:
            whom = {str(each) for each in mail.get("to", [])}
            if whom & set(expect["mail"]["to"]) and expect["name"] in _unfolded(str(mail.get("text", ""))):
                seen["mail"] = "read"

    def _told(self, seen: Json, expect: Json, tries: dict[str, receivers.Tries], hooks: int) -> None:
        """Say how far a fired alert got to those who are told beside mail."""
        wanted = expect.get("receivers", [])
        now, sunk = (self._tries(), self._sunk("hooks")[hooks:]) if wanted else ({}, [])
        for receiver in wanted:
            asked = receivers.since(now, tries, receiver["integration"])
            seen["receivers"][receiver["name"]] = receivers.state(receiver, str(expect["name"]), asked, sunk)

    def _tries(self) -> dict[str, receivers.Tries]:
        """Count the tries of Alertmanagers to tell somebody, and those of them that failed."""
        texts = []
        for namespace, name in self.alertmanagers:
            try:
                texts.append(self.api.text(f"/api/v1/namespaces/{namespace}/services/{name}:http-web/proxy/metrics"))
            except UnansweredError:
                continue
        return receivers.counted(texts)

    def _said(self, alert: str) -> str:
        """Give Alertmanagers' own latest words on why the mail of an alert was not taken; empty: there are none."""
        found = ""
        for namespace, name in self.alertmanagers:
            at = f"/api/v1/namespaces/{namespace}"
            try:
                selector = self.api.get(f"{at}/services/{name}")["spec"]["selector"]
                query = urllib.parse.quote(",".join(f"{key}={value}" for key, value in sorted(selector.items())))
                for pod in self.api.items(f"{at}/pods?labelSelector={query}"):
                    log = f"{at}/pods/{pod['metadata']['name']}/log?container=alertmanager&tailLines={LINES}"
                    found = mail_fault(self.api.text(log), alert, self.plan["namespace"]) or found
            except (UnansweredError, LookupError, TypeError, ValueError, AttributeError):
                continue
        return found

    def _sunk(self, what: str) -> list[Json]:
        """Give what a sink in the cluster has got: ``mails`` or ``hooks``."""
        place = self.sink or self.hooks
        if not place:
            return []
        namespace, name = place
        try:
            return list(self.api.get(f"/api/v1/namespaces/{namespace}/services/{name}:http/proxy/")[what])
        except (UnansweredError, LookupError, ValueError, TypeError):
            return []


def mail_fault(log: str, alert: str, namespace: str) -> str:
    """Give the error of the last try to mail about an alert, from Alertmanager's log; without what may be a secret.

    A line names the alert in its group, where routes group by it; else the namespace that its receiver begins with.
    """
    lines = [line for line in log.splitlines() if "integration=email" in line and _ERROR.search(line)]
    own = [line for line in lines if f'alertname=\\"{alert}\\"' in line]
    own = own or [line for line in lines if f"receiver={namespace}/" in line and "alertname=" not in line]
    if not own:
        return ""
    match = _ERROR.search(own[-1])
    text = (match[1] or match[2]) if match else ""
    text = text.replace('\\"', '"').replace("\\n", " ").replace("\\\\", "\\")
    return " ".join(_HIDDEN.sub("(not shown)", text).split())[:MOST_WORDS]


def _unfolded(text: str) -> str:
    """Give a mail's text with the lines joined that its transport has cut."""
    return text.replace("=\r\n", "").replace("=\n", "")
