"""What the observations come to: a verdict for each claim. Nothing that was not seen passes.

Observations: ``experiments`` (id → ``answers`` of ``agent.py``) and ``reads`` (id → as docs/prove.md says).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from .agent import UNTRUSTED

Json = dict[str, Any]
State = Literal["passed", "failed", "configured", "skipped"]

# A pod is called <Deployment>-<hash>-, cut to what leaves room for five letters by chance. No hash has other letters,
# or more (kubernetes: apiserver's names.SimpleNameGenerator, apimachinery's rand.SafeEncodeString of a 32-bit number).
LONGEST, RANDOM = 63, 5
HASH = "[bcdfghjklmnpqrstvwxz2456789]{0,10}"
# Errors of a client without a certificate whose connection was closed without a word of HTTP.
CLOSED = ("ConnectionResetError", "RemoteDisconnected", "BadStatusLine", "BrokenPipeError", "IncompleteRead")
LOOK = {
    "address": "kubectl -n istio-system get service istio-ingressgateway; MetalLB's pods in metallb-system",
    "share": "kubectl -n {namespace} get virtualservice,destinationrule -o yaml: the weights, and the subsets' labels",
    "default": "kubectl -n {namespace} get virtualservice -o yaml: the last rule of the path",
    "sticky": "kubectl -n {namespace} get virtualservice -o yaml: its cookie's rules, and Set-Cookie",
    "withdrawn": "kubectl -n {namespace} get virtualservice -o yaml: a rule for a version without weight",
    "override": "kubectl -n {namespace} get virtualservice -o yaml: the first rules, by host, header or cookie",
    "chain": "kubectl -n {namespace} get virtualservice,destinationrule -o yaml: sourceLabels; what the app forwards",
    "shadow": "kubectl -n {namespace} get virtualservice -o yaml: mirrors of the service's rules",
    "limit": "kubectl -n istio-system get envoyfilter -o yaml: its virtual host (host:port), and numTrustedProxies 0",
    "tls": "kubectl -n {namespace} get gateway -o yaml; kubectl -n istio-system get secret,envoyfilter: certificate "
    "and slipway-misdirected; prove_authority is the authority that is trusted",
    "mtls": "kubectl -n {namespace} get peerauthentication -o yaml",
    "access": "kubectl -n {namespace} get authorizationpolicy -o yaml",
    "alert": "kubectl -n {namespace} get prometheusrule,alertmanagerconfig,secret; Alertmanager's log",
    "tool": "kubectl get virtualservice -A; the tool's pods",
    "metrics": "kubectl -n {namespace} get servicemonitor -o yaml; Prometheus, page Targets",
}
# What tells a browser to ask again on a connection of its own.
MISDIRECTED = 421
ELSEWHERE = "kubectl -n {namespace} get virtualservice,destinationrule -o yaml: {kind} of {service}"


@dataclass(frozen=True)
class Verdict:
    """What was claimed, expected and seen; ``look``: where to look when it failed."""

    id: str
    kind: str
    title: str
    state: State
    expected: str
    seen: str
    look: str = ""


@dataclass(frozen=True)
class Report:
    """Verdicts, and what pictures are drawn from; all of it plain data in ``as_json``."""

    release: str
    namespace: str
    verdicts: list[Verdict]
    pictures: Json = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Tell whether no claim failed."""
        return all(verdict.state != "failed" for verdict in self.verdicts)

    def as_json(self) -> Json:
        """Give what report.json holds."""
        counts = Counter(verdict.state for verdict in self.verdicts)
        return {
            "release": self.release,
            "namespace": self.namespace,
            "passed": self.passed,
            "counts": {state: counts.get(state, 0) for state in ("passed", "failed", "configured", "skipped")},
            "claims": [asdict(verdict) for verdict in self.verdicts],
            "pictures": self.pictures,
        }


def joined(report: Report, change: Json) -> Report:
    """Put the claim about a change before those about what came of it."""
    if not change:
        return report
    verdicts = [Verdict(**change["verdict"]), *report.verdicts]
    return replace(report, verdicts=verdicts, pictures={**report.pictures, "change": change["picture"]})


class FailedError(Exception):
    """What was seen instead; ``look``: where to look, where that is not what the claim's kind says."""

    def __init__(self, seen: str, look: str = "") -> None:
        super().__init__(seen)
        self.look = look


def judge(plan: Json, observations: Json) -> Report:
    """Hold what was seen against what the plan expects."""
    from .pictures import gathered

    judged = [_Judge(plan, observations, claim).verdict() for claim in plan["claims"]]
    try:
        pictures = gathered(plan, observations)
    except (KeyError, TypeError, ValueError, IndexError):
        # The verdicts say which observations cannot be read.
        pictures = {}
    return Report(plan["release"], plan["namespace"], judged, pictures)


def hops(plan: Json, route: str, answer: Json) -> list[tuple[str, str]]:
    """Give the service and version of each pod that took part, the entry first; an unknown one is ``?``.

    Pods are told by their Deployment. Without their names, or where these fit several Deployments, it is what the app
    calls its versions that counts.
    """
    services = plan["services"]
    said = [part.partition("=")[2] for part in answer.get("chain", "").split(",") if part]
    if pods := answer.get("pods"):
        words = said if len(said) == len(pods) else [""] * len(pods)
        return [_owner(services, pod, word) for pod, word in zip(pods, words, strict=True)]
    order = [service for service, _ in next(iter(plan["signatures"][route].values()))]
    found = []
    for index, word in enumerate(said):
        service = order[index] if index < len(order) else "?"
        found.append((service, _called(services.get(service, {}).get("versions", {}), word)))
    return found


def _called(versions: Json, said: str) -> str:
    """Give the version that the app calls by that word: its name, or the label of its pods."""
    by_label = {own["label"]: name for name, own in versions.items()}
    return said if said in versions else by_label.get(said, "?")


def _owner(services: Json, pod: str, said: str) -> tuple[str, str]:
    """Give the service and version whose Deployment a pod is of; ``said``: what the app calls that version."""
    known = {
        own["deployment"]: (service, version)
        for service, declared in services.items()
        for version, own in declared["versions"].items()
    }
    fits = [name for name in known if _may_be_of(name, pod)] if len(pod) == LONGEST else []
    # A name that is not cut begins with that of its Deployment; of two, such as web and web-v2, it is the longer one.
    fits = fits or sorted((name for name in known if pod.startswith(f"{name}-")), key=len)[-1:]
    owners = [known[name] for name in fits]
    if len(owners) > 1:
        owners = [each for each in owners if _called(services[each[0]]["versions"], said) == each[1]]
    return owners[0] if len(owners) == 1 else ("?", pod)


def _may_be_of(deployment: str, pod: str) -> bool:
    """Tell whether the longest name that a pod can have may be that of a Deployment's, which may have been cut."""
    made = pod[:-RANDOM]
    if len(deployment) >= len(made):
        return deployment.startswith(made)
    return re.fullmatch(rf"{re.escape(deployment)}-{HASH}-?", made) is not None


def version_of(plan: Json, route: str, answer: Json) -> str | None:
    """Give the release's version that an answer shows: the first hop that differs between versions decides."""
    met = hops(plan, route, answer)
    signatures = plan["signatures"][route]
    for index, (_, version) in enumerate(met):
        own = {name: hop[index][1] for name, hop in signatures.items() if index < len(hop)}
        if len(own) == 1 or len(set(own.values())) > 1:
            return next((name for name, expected in own.items() if expected == version), None)
    return None


def set_cookies(answer: Json, name: str) -> list[tuple[str, dict[str, str]]]:
    """Give values and attributes of the cookies of a name that an answer sets."""
    found = []
    for line in answer.get("cookies", []):
        first, *rest = line.split(";")
        own, _, value = first.strip().partition("=")
        if own == name:
            found.append((value, {k.strip().lower(): v.strip() for k, _, v in (part.partition("=") for part in rest)}))
    return found


class _Judge:
    def __init__(self, plan: Json, observations: Json, claim: Json) -> None:
        self.plan, self.claim = plan, claim
        self.expect: Json = claim["expect"]
        self.experiments: Json = observations.get("experiments", {})
        self.reads: Json = observations.get("reads", {})
        self.refused = str(observations.get("refused", ""))

    def verdict(self) -> Verdict:
        claim, state, seen, elsewhere = self.claim, self.claim["state"], "", ""
        expected = claim["title"]
        try:
            if state == "asked":
                seen, state = getattr(self, f"_{claim['kind'].replace('-', '_')}")(), "passed"
            elif state == "configured":
                found = [self._configured(name) for name in claim["reads"]]
                seen = f"configured, not exercised: {claim['reason']}" + "".join(f"; {text}" for text in found if text)
            else:
                seen = f"skipped: {claim['reason']}"
        except FailedError as exc:
            state, seen, elsewhere = "failed", str(exc), exc.look
        except (KeyError, TypeError, ValueError, IndexError) as exc:
            state, seen = "failed", f"what was seen cannot be read: {type(exc).__name__} {exc}"
        look = ""
        if state == "failed":
            about = {"namespace": self.plan["namespace"], "kind": claim["kind"]}
            about["service"] = self.expect.get("service", "the service")
            look = elsewhere or LOOK.get(claim["kind"], ELSEWHERE).format(**about)
            expected = self._expected() or expected
        return Verdict(claim["id"], claim["kind"], claim["title"], state, expected, seen, look)

    def _expected(self) -> str:
        expect = self.expect
        if self.claim["kind"] == "share" and expect:
            bounds = (f"{name} {low} to {high} times" for name, (low, high) in expect["accepted"].items())
            return f"of {expect['n']} new clients {', '.join(bounds)}"
        if self.claim["kind"] == "limit" and expect:
            return f"{expect['tokens']} answers, then 429, for each address and whatever X-Forwarded-For says"
        return ""

    def _configured(self, name: str) -> str:
        read = self._looked_up(name)
        if "found" in read and not read["found"]:
            raise FailedError(f"Envoy's configuration does not have it: {read.get('detail') or 'nothing'}")
        if self.claim["kind"] == "alert" and read.get("before") != "inactive":
            raise FailedError(f"before any load it is {read.get('before', 'not loaded')}")
        return str(read.get("detail", ""))

    # What was seen, or why it counts for nothing.

    def _looked_up(self, name: str) -> Json:
        if name not in self.reads:
            raise FailedError(f"nobody looked up {name}")
        read = dict(self.reads[name])
        if read.get("error"):
            raise FailedError(str(read["error"]))
        return read

    def _answers(self, name: str) -> list[Json]:
        if name not in self.experiments:
            raise FailedError(f"experiment {name} was not carried out" + (f": {self.refused}" if self.refused else ""))
        answers = list(self.experiments[name]["answers"])
        planned = next(item for item in self.plan["experiments"] if item["id"] == name)
        wanted = planned["clients"] * sum(step["times"] for step in planned["steps"])
        if len(answers) < wanted:
            said = f"only {len(answers)} of {wanted} requests were sent in time"
            raise FailedError(f"{said}: machines are too busy, or answers come too late, for a proof now")
        return [{**answer, "path": planned["steps"][answer.get("step", 0)]["path"]} for answer in answers]

    def _good(self, answers: list[Json]) -> list[Json]:
        """Give the answers with 200; one request in a hundred may be lost on the way, none may be refused."""
        lost = [answer for answer in answers if answer["status"] == 0]
        bad = Counter(a["status"] for a in answers if a["status"] not in (0, 200, *self.plan["tolerated"]))
        if bad:
            statuses = ", ".join(f"{count} x {status}" for status, count in sorted(bad.items()))
            raise self._refused(f"of {len(answers)} requests not answered with 200: {statuses}", answers)
        if len(lost) > len(answers) // 100:
            raise FailedError(f"{len(lost)} of {len(answers)} requests without an answer: {lost[0].get('error', '')}")
        return [answer for answer in answers if answer["status"] == 200]

    def _refused(self, text: str, answers: list[Json]) -> FailedError:
        """Say with an error what was asked, and how to ask for something else where it is the path that is refused."""
        first = next(a for a in answers if a["status"] not in (0, 200, *self.plan["tolerated"]))
        path = first["path"].partition("?")[0]
        said = f", which says: {first['said']}" if first.get("said") else ""
        text = f"{text}; {first['path']} is answered {first['status']}{said}"
        alone = not any(answer["status"] == 200 for answer in answers)
        # What comes from a policy, a limit, the gateway itself or a broken app is not the path's.
        if not alone or first["status"] >= 500 or first["status"] in (403, 421, 429):
            return FailedError(text)
        route = next(
            (r["path"] for r in self.plan["routes"] if r["path"] == "/" or f"{path}/".startswith(f"{r['path']}/")), "/"
        )
        other = json.dumps({"prove_paths": {route: f"{route.rstrip('/')}/a-path-that-it-answers"}})
        look = f"the app may answer other paths: -e '{other}' names the one to ask for {route}"
        if first["status"] == 404 and not said:
            return FailedError(text, f"{LOOK['default'].format(namespace=self.plan['namespace'])}; or {look}")
        return FailedError(text, look)

    def _versions(self, answers: list[Json]) -> Counter[str]:
        seen: Counter[str] = Counter()
        for answer in self._good(answers):
            version = version_of(self.plan, self.expect["route"], answer)
            if version is None:
                raise FailedError(f"an answer shows no version of {self.expect['route']}: {self._told(answer)}")
            seen[version] += 1
        return seen

    def _told(self, answer: Json) -> str:
        return ", ".join(answer.get("pods") or []) or answer.get("chain") or f"status {answer['status']}, no x-chain"

    def _only(self, version: str) -> str:
        seen: Counter[str] = Counter()
        for name in self.claim["experiments"]:
            seen += self._versions(self._answers(name))
        return self._same(seen, version)

    def _same(self, seen: Counter[str], version: str) -> str:
        if set(seen) != {version}:
            others = ", ".join(f"{count} x {name}" for name, count in seen.items())
            raise FailedError(f"of {seen.total()} answers: {others or 'none'}; only {version} should be seen")
        return f"{seen[version]} of {seen.total()} answers show {version}"

    # One method for each kind.

    def _address(self) -> str:
        for answer in self._answers(self.claim["experiments"][0]):
            if not answer["status"]:
                raise FailedError(f"no answer on port {self.expect['port']}: {answer.get('error', '')}")
        return f"it answers on port {self.expect['port']}"

    def _share(self) -> str:
        answers = self._answers(self.claim["experiments"][0])
        seen = self._versions(answers)
        missing = len(answers) - seen.total()
        counted = ", ".join(f"{seen[name]} got {name}" for name in self.expect["shares"])
        text = f"of {seen.total()} new clients {counted}"
        for version, (low, high) in self.expect["accepted"].items():
            if not low - missing <= seen[version] <= high:
                raise FailedError(text)
        if set(seen) - set(self.expect["shares"]):
            raise FailedError(f"{text}, and others {', '.join(sorted(set(seen) - set(self.expect['shares'])))}")
        return text

    def _default(self) -> str:
        return self._only(self.expect["version"])

    def _override(self) -> str:
        return self._only(self.expect["version"])

    def _sticky(self) -> str:
        bound = 0
        for name, version in self.expect["fixed"].items():
            seen = self._versions(self._answers(name))
            try:
                self._same(seen, version)
            except FailedError as exc:
                raise FailedError(f"clients with the cookie of {version}: {exc}", exc.look) from exc
            bound += seen.total()
        clients: dict[int, set[str | None]] = {}
        answers = self._good(self._answers(self.expect["sessions"]))
        first: dict[int, Json] = {}
        for answer in answers:
            version = version_of(self.plan, self.expect["route"], answer)
            clients.setdefault(answer["client"], set()).add(version)
            first.setdefault(answer["client"], answer)
        if self.expect["cookie"]:
            for answer in (*first.values(), *self._good(self._answers(self.expect["new"]))):
                self._cookie_is_right(answer, self.expect["cookie"])
        moved = sum(len(versions) != 1 for versions in clients.values())
        if moved or not clients:
            raise FailedError(f"{moved} of {len(clients)} clients changed their version")
        return f"{len(clients)} clients kept their version for {len(answers)} requests" + (
            f", {bound} requests with a version's cookie got that version" if bound else ""
        )

    def _cookie_is_right(self, answer: Json, cookie: Json) -> None:
        version = version_of(self.plan, self.expect["route"], answer)
        name, wanted = cookie["cookie"], cookie["values"].get(version)
        found = set_cookies(answer, name)
        if not found:
            raise FailedError(f"a new client that got {version} gets no cookie {name}")
        value, attributes = found[-1]
        if len(found) > 1 or value != wanted:
            values = " and ".join(value for value, _ in found)
            raise FailedError(f"a new client that got {version} gets {name}={values} instead of {wanted}")
        if attributes.get("path") != "/":
            path = attributes.get("path", "(none)")
            raise FailedError(f"the cookie {name} has path {path} instead of /")
        if cookie["set_by"] == "mesh" and attributes.get("max-age") != str(cookie["max_age"]):
            age = attributes.get("max-age", "(none)")
            raise FailedError(f"{name} has Max-Age {age} instead of {cookie['max_age']}")

    def _withdrawn(self) -> str:
        answers = [answer for name in self.claim["experiments"] for answer in self._answers(name)]
        seen = self._versions(answers)
        still = [version for version in self.expect["gone"] if seen[version]]
        if still:
            raise FailedError(f"{seen[still[0]]} of {seen.total()} clients still get {still[0]}")
        for answer in self._good(answers):
            self._cookie_is_right(answer, self.expect["cookie"])
        return f"{seen.total()} clients with an old cookie got {', '.join(sorted(seen))}, and its cookie"

    def _chain(self) -> str:
        count = 0
        for name, chain in self.expect["chains"].items():
            wanted = dict(self.plan["signatures"][chain["route"]][chain["version"]])
            answers = self._answers(name)
            try:
                good = self._good(answers)
            except FailedError as exc:
                raise FailedError(f"for {chain['version']} at {chain['route']}: {exc}", exc.look) from exc
            for answer in good:
                met = hops(self.plan, chain["route"], answer)
                for service, version in met:
                    if service not in wanted or wanted[service] not in (None, version):
                        way = " → ".join(f"{service} {version}" for service, version in met)
                        raise FailedError(f"a request for {chain['version']} to {chain['route']} met {way}")
                absent = sorted(set(wanted) - {service for service, _ in met})
                if absent:
                    raise FailedError(f"a request for {chain['version']} to {chain['route']} never met {absent[0]}")
                count += 1
        return f"{count} requests met one version all along"

    def _shadow(self) -> str:
        expect, sent = self.expect, 0
        for name, route in expect["routes"].items():
            for answer in self._good(self._answers(name)):
                if (expect["service"], expect["version"]) in hops(self.plan, route, answer):
                    raise FailedError(f"{expect['service']} {expect['version']} answered a user")
                sent += 1
        read = self._looked_up(self.claim["reads"][0])
        copies = read["after"] - read["before"]
        # Prometheus' own readings pass the proxy too.
        slack = 3 + int(read.get("seconds", 0)) // 5 if read.get("source") == "proxy" and expect["scraped"] else 0
        low, high = expect["accepted"]
        text = f"{copies} copies of {sent} requests"
        if expect["ways"] > int(expect["percent"] > 0):
            text = f"{copies} requests, calls of other shadows included, of {sent} of users"
        if not low - (expect["n"] - sent) * max(1, expect["ways"]) <= copies <= high + slack:
            raise FailedError(f"{text} instead of {low}" + (f" to {high}" if low != high else ""))
        return text

    def _limit(self) -> str:
        expect, texts = self.expect, []
        for name in expect["main"]:
            answers = self._answers(name)
            grouped: dict[int, list[Json]] = {}
            for answer in answers:
                own = answer["client"] if expect["per"] == "client" else 0
                if answer["step"] == 0:
                    grouped.setdefault(own, []).append(answer)
                elif answer["status"] == 429:
                    step = self._steps(name)[answer["step"]]
                    where = f"{step['host']}:{step['port']}"
                    raise FailedError(f"{where} answered 429 to a client that is over the limit elsewhere")
            texts += [self._counted(group, self._place(name)) for group in grouped.values()]
        for name in expect["forged"]:
            self._counted(self._answers(name), f"{self._place(name)} with X-Forwarded-For changing")
        return texts[0]

    def _steps(self, name: str) -> list[Json]:
        return list(next(item for item in self.plan["experiments"] if item["id"] == name)["steps"])

    def _place(self, name: str) -> str:
        step = self._steps(name)[0]
        return f"{step['host']}:{step['port']}"

    def _counted(self, answers: list[Json], place: str) -> str:
        expect = self.expect
        ordered = sorted(answers, key=lambda answer: float(answer["at"]))
        refused = [answer for answer in ordered if answer["status"] == 429]
        failed = [answer for answer in ordered if answer["status"] == 0 or answer["status"] >= 500]
        if failed:
            why = failed[0].get("error", failed[0]["status"])
            raise FailedError(f"{place}: {len(failed)} of {len(ordered)} requests failed: {why}")
        let = len(ordered) - len(refused)
        last = ordered[-1]
        seconds = float(last["at"]) + float(last["ms"]) / 1000 - float(ordered[0]["at"])
        most = expect["most"] + expect["fill"] * math.floor(seconds / expect["interval"])
        if let > most or not refused:
            text = f"{place}: {let} of {len(ordered)} requests in {seconds:.1f} s came through"
            raise FailedError(f"{text}; at most {most} should")
        if not let:
            raise FailedError(f"{place}: not one of {len(ordered)} requests came through")
        if expect["per"] == "client" and ordered.index(refused[0]) < expect["tokens"]:
            number = ordered.index(refused[0]) + 1
            raise FailedError(f"{place}: request {number} is refused already; {expect['tokens']} should pass")
        if expect["cookie"]:
            kept = [value for answer in refused for value, _ in set_cookies(answer, expect["cookie"]) if value]
            if kept:
                raise FailedError(f"{place}: a 429 sets the cookie {expect['cookie']}={kept[0]}")
        return f"{place}: {let} requests came through, the others got 429"

    def _tls(self) -> str:
        expect = self.expect
        for name, host in {**expect["secure"], **expect["named"]}.items():
            self._trusted(name, host)
        for name, host in expect["secure"].items():
            try:
                self._good(self._answers(name))
            except FailedError as exc:
                raise FailedError(f"{host}:443 over TLS: {exc}", exc.look) from None
        for name, (server, host) in expect["misdirected"].items():
            for answer in self._answers(name):
                # Another's Gateway may have gone meanwhile, and then nobody answers for its name.
                gone = answer["status"] == 0 and server not in self.plan["hosts"]
                if answer["status"] != MISDIRECTED and not gone:
                    got = answer["status"] or answer.get("error", "nothing")
                    what = f"a connection for {server} that a browser uses for {host} too answers {got}"
                    raise FailedError(f"{what} instead of {MISDIRECTED}")
        for name, (host, port) in expect["sent_on"].items():
            self._sent_on(name, host, port)
        count = len(expect["secure"]) + len(expect["named"])
        text = f"{count} {'host answers' if count == 1 else 'hosts answer'}, with a certificate that browsers take"
        if expect["misdirected"]:
            text += f"; {MISDIRECTED} on a connection for another host"
        return text + ("; without TLS there is 301 to https" if expect["sent_on"] else "")

    def _trusted(self, name: str, host: str) -> None:
        """Refuse a host whose certificate a browser refuses, or that answers nothing over TLS."""
        for answer in self._answers(name):
            error = str(answer.get("error", "no answer"))
            if error.startswith(UNTRUSTED):
                raise FailedError(f"{host}:443: browsers refuse the {error}")
            if not answer["status"] and name in self.expect["named"]:
                raise FailedError(f"{host}:443 over TLS: {error}")

    def _sent_on(self, name: str, host: str, port: int) -> None:
        for answer in self._answers(name):
            where = answer.get("location", "")
            if answer["status"] != 301 or not re.match(rf"https://{re.escape(host)}(:443)?/", where):
                got = answer["status"] or answer.get("error", "nothing")
                told = f"{got} to {where}" if where else got
                raise FailedError(f"{host}:{port} answered {told} instead of 301 to https")

    def _mtls(self) -> str:
        plain = set(self.expect["plain"])
        for name, service in self.expect["services"].items():
            for answer in self._answers(name):
                heard, error = answer["status"] != 0, answer.get("error", "")
                if self.expect["mode"] == "strict" and heard:
                    raise FailedError(f"{service} answered {answer['status']} to a client without mutual TLS")
                if self.expect["mode"] == "strict" and not error.startswith(CLOSED):
                    raise FailedError(f"{service} could not be asked: {error}")
                if self.expect["mode"] == "permissive" and not heard:
                    raise FailedError(f"{service} does not answer a client without mutual TLS: {error}")
                if self.expect["mode"] == "permissive" and (answer["status"] == 403) is (service in plain):
                    may = "callers lets it in" if service in plain else "callers has no plain"
                    raise FailedError(f"{service} answered {answer['status']} to a client without mutual TLS; {may}")
        asked = set(self.expect["services"].values())
        if self.expect["mode"] == "strict":
            return f"{len(asked)} services close the connection of a client without mutual TLS"
        refusing = f"; {', '.join(sorted(asked - plain))} answer it 403" if asked - plain else ""
        return f"{', '.join(sorted(asked & plain)) or 'none'} let a client without mutual TLS in{refusing}"

    def _access(self) -> str:
        for name, service in self.expect["refused"].items():
            for answer in self._answers(name):
                if answer["status"] != 403:
                    what = answer["status"] or answer.get("error", "no answer")
                    raise FailedError(f"{service} answered a stranger in the mesh with {what} instead of 403")
        for name, accounts in self.expect["allowed"].items():
            principals = self._looked_up(name).get("principals")
            if not principals:
                raise FailedError(f"{name.partition('.')[2]} has no rule about who may call it")
            absent = [a for a in accounts if not any(str(p).endswith(f"/sa/{a}") for p in principals)]
            if absent:
                raise FailedError(f"{name.partition('.')[2]} does not let {absent[0]} in")
        return f"a stranger got 403 everywhere; {len(self.expect['allowed'])} versions name their callers"

    def _alert(self) -> str:
        expect, read = self.expect, self._looked_up(self.claim["reads"][0])
        if read.get("before") != "inactive":
            raise FailedError(f"before any load it is {read.get('before', 'not loaded')}")
        fired = read.get("fired_after")
        if fired is None or fired > expect["within"]:
            when = "not" if fired is None else f"only after {fired:.0f} s"
            raise FailedError(f"it fired {when}; it should within {expect['within']} s of load")
        text = f"silent before, fired after {fired:.0f} s"
        if expect["mail"]:
            wanted, got = expect["mail"]["seen"], read.get("mail", "none")
            if got not in ({"read"} if wanted == "read" else {"read", "handed over"}):
                whom = ", ".join(expect["mail"]["to"])
                raise FailedError(f"{text}, but its mail to {whom} was not {wanted}: {read.get('mail_error') or got}")
            text += f", mail {got}" + (f" to {expect['mail']['server']}" if got == "handed over" else "")
        return text

    def _tool(self) -> str:
        for answer in self._answers(self.claim["experiments"][0]):
            if not (200 <= answer["status"] < 400 or answer["status"] == 401):
                what = answer["status"] or answer.get("error", "nothing")
                raise FailedError(f"{self.expect['host']} answered {what}")
        return f"{self.expect['host']} answers"

    def _metrics(self) -> str:
        read = self._looked_up(self.claim["reads"][0])
        if read["down"] or not read["up"]:
            why = "; ".join(read.get("errors", [])) or "no target"
            raise FailedError(f"{read['up']} targets are up and {read['down']} down: {why}")
        return f"{read['up']} targets are up"

    def _timeout(self) -> str:
        low, high = self.expect["seconds"] * 900, self.expect["delay"] * 1000
        for answer in self._answers(self.claim["experiments"][0]):
            if answer["status"] != 504 or not low <= answer["ms"] < high:
                raise FailedError(f"an answer made slow came with {answer['status']} after {answer['ms']:.0f} ms")
        return f"504 after {self.expect['seconds']:g} s"

    def _retries(self) -> str:
        answers = self._answers(self.claim["experiments"][0])
        if self.expect["method"] != "GET":
            more = [answer["status"] for answer in answers if answer["status"] not in (0, self.expect["failed"])]
            if more:
                method, failed = self.expect["method"], self.expect["failed"]
                raise FailedError(
                    f"{len(more)} of {len(answers)} {method}s that got {failed} were sent again: {more[0]}"
                )
            lost = [answer for answer in answers if not answer["status"]]
            if lost:
                raise FailedError(
                    f"{len(lost)} of {len(answers)} requests without an answer: {lost[0].get('error', '')}"
                )
            return f"{len(answers)} {self.expect['method']}s that failed were not sent again"
        self._good(answers)
        return f"{len(answers)} requests that failed once were answered"

    def _faults(self) -> str:
        answers, texts = self._answers(self.claim["experiments"][0]), []
        for name in ("delay", "abort"):
            fault = self.expect[name]
            if not fault:
                continue
            hit = sum(
                answer["ms"] >= fault["seconds"] * 1000 if name == "delay" else answer["status"] == fault["status"]
                for answer in answers
            )
            texts.append(f"{hit} of {len(answers)} {'slow' if name == 'delay' else 'aborted'}")
            if not fault["accepted"][0] <= hit <= fault["accepted"][1]:
                low, high = fault["accepted"]
                raise FailedError(f"{texts[-1]}; {low} to {high} should be")
        return ", ".join(texts)


def answers_of(plan: Json, observations: Json) -> Iterator[tuple[Json, Json]]:
    """Yield each experiment with each of its answers."""
    seen = observations.get("experiments", {})
    for experiment in plan["experiments"]:
        for answer in seen.get(experiment["id"], {}).get("answers", []):
            yield experiment, answer
