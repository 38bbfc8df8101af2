"""A change while users use it: what a stream of ordinary clients asks meanwhile, and what its answers come to.

``watch`` makes a plan of two pages' worth of promises (``given.py``), ``job`` what ``stream.py`` is handed, ``judged``
the claim. All of it is plain data in, plain data out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import answers
from .agent import MOST_SECONDS
from .given import HTTPS, Given, Hop
from .routes import asked_at, is_free
from .verdicts import Verdict

Json = dict[str, Any]

KIND = "change"
TITLE = "while it changes all are answered, by what is theirs"
# Requests a second and in all; clients that come back; paths that are asked in turns.
RATE, MOST_REQUESTS, SESSIONS, MOST_PATHS = 20.0, 18000, 40, 4
# Below this many a second a stream shows nothing.
LEAST_RATE = 1.0
# Seconds that a client waits for an answer, and that the stream goes on behind the last step.
PATIENCE, LINGER = 10.0, 5.0
# Answers of each path before the change begins, and seconds that they may take.
BASELINE, BASELINE_SECONDS = 3, 20.0
# Of 198.19.0.0/16 the half that the load of alerts does not use; each release has one of its parts.
NETWORKS = tuple(f"198.19.{128 + 8 * part}.0/21" for part in range(16))
ADDRESSES = 1020
# Kinds of failures that are told one by one, and bars of the picture.
MOST_TOLD, BARS = 4, 60


class NothingError(Exception):
    """Why there is nothing that users could have."""


def watch(
    facts: Json,
    before: Given | None,
    now: Given,
    *,
    tells: bool = False,
    paths: Mapping[str, str] | None = None,
    away: str = "",
) -> Json:
    """Plan a stream. ``away``: why this machine may not ask the gateway; then a client pod does."""
    made: Json = {"release": facts["release"], "namespace": facts["namespace"], "state": "asked", "reason": ""}
    try:
        made |= _asked(facts, before, now, paths or {})
        made |= _tempo([*(before.limits if before else ()), *now.limits])
    except NothingError as exc:
        return {**made, "state": "skipped", "reason": str(exc)}
    if made["rate"] < LEAST_RATE:
        reason = "the limit for all clients together leaves no room for a stream beside its users"
        return {**made, "state": "configured", "reason": reason}
    by_address = bool(made["hash"] and made["hash"]["key"].get("address"))
    here = not away and made["pace"] * RATE <= 1 and not by_address
    return {**made, "tells": tells, "by": "here" if here else "addresses", "sources": 0 if here else ADDRESSES}


def _asked(facts: Json, before: Given | None, now: Given, paths: Mapping[str, str]) -> Json:
    host = next((host for host in now.hosts if before and host in before.hosts), None)
    if before is None or host is None:
        raise NothingError("nothing was there that users could have")
    both = [port for port in before.ports if port in now.ports]
    # A port that only sends to https, before or now, still has to answer.
    both.sort(key=lambda port: (not (before.ports[port] and now.ports[port]), port == HTTPS))
    if not both:
        raise NothingError("no port is open both before and now")
    asked: list[Json] = []
    guarded: list[str] = []
    for own in dict.fromkeys([*now.entries, *before.entries]):
        path = asked_at(own, now.entries if own in now.entries else before.entries, paths)
        old, new = (page.covering(path.partition("?")[0]) for page in (before, now))
        if facts.get("jwt") and not is_free(facts["jwt"], path):
            guarded.append(path)
        elif old and new and path not in [each["ask"] for each in asked]:
            asked.append({"path": own, "ask": path, "before": old, "now": new})
    if not asked and guarded:
        raise NothingError("all its paths need a token, and clients of a change bring none")
    if not asked:
        raise NothingError("no path was there before")
    sticky = facts["sticky"]
    return {
        "host": host.replace("*", "prove", 1),
        "port": both[0],
        "tls": both[0] == HTTPS,
        "paths": [_path(facts, each, before, now) for each in asked[:MOST_PATHS]],
        "calls": sorted([*caller, *callee] for caller, callee in before.calls | now.calls),
        "services": [now.services, before.services],
        "cookie": sticky.get("cookie", ""),
        "hash": _hashed(asked, before, now),
        "tolerated": sorted(before.aborts | now.aborts),
        "seconds": MOST_SECONDS,
        "requests": MOST_REQUESTS,
        "sessions": SESSIONS,
    }


def _path(facts: Json, asked: Json, before: Given, now: Given) -> Json:
    """Say of a path who may answer on it, and whom the value of a sticky cookie keeps with what."""
    old, new = before.entries[asked["before"]], now.entries[asked["now"]]
    kept = {}
    for value, hops in now.kept.get(asked["now"], {}).items():
        earlier = before.kept.get(asked["before"], {}).get(value)
        if earlier is not None:
            names = dict.fromkeys([*hops, *earlier])
            kept[value] = {name: sorted(hops.get(name, set()) | earlier.get(name, set())) for name in names}
    shares = [{f"{service} {version}": share for (service, version), share in each.items()} for each in (old, new)]
    return {
        **asked,
        "order": _order(facts, new),
        "entries": sorted(map(list, {*old, *new})),
        "shares": shares,
        "kept": kept,
        "values": sorted({*before.kept.get(asked["before"], {}), *now.kept.get(asked["now"], {})}),
    }


def _order(facts: Json, entries: Iterable[Hop]) -> list[str]:
    """List the services in the order in which a request meets them, as far as it has one."""
    found = list(dict.fromkeys(service for service, _ in entries))
    for service in found:
        found += [callee for callee in facts["services"][service]["calls"] if callee not in found]
    return found


def _hashed(asked: list[Json], before: Given, now: Given) -> Json | None:
    """Say what a hash goes by, where it did before as well."""
    return {"key": now.hashed} if now.hashed and now.hashed == before.hashed and asked else None


def _tempo(limits: Iterable[Json]) -> Json:
    """Stay below every limit: seconds between two requests of a client, and requests a second in all."""
    rate, pace = RATE, 0.0
    for limit in limits:
        bucket = limit["bucket"]
        gain = float(bucket["tokens_per_fill"]) / float(str(bucket["fill_interval"]).rstrip("s"))
        if limit["per"] == "client":
            pace = max(pace, 1.25 / gain)
        else:
            rate = min(rate, gain / 2)
    return {"rate": round(rate, 3), "pace": round(pace, 3)}


def job(plan: Json, target: str, now: float) -> Json:
    """Give what ``stream.py`` takes. ``now``: seconds since the epoch."""
    names = ("port", "host", "tls", "rate", "pace", "seconds", "requests", "sessions", "sources")
    key = (plan["hash"] or {}).get("key") or {}
    made: Json = {
        **{name: plan[name] for name in names},
        "target": target,
        "paths": [each["ask"] for each in plan["paths"]],
        "sticky": plan["cookie"],
        "headers": [key["header"]] if key.get("header") else [],
        "cookies": [key["cookie"]] if key.get("cookie") else [],
        "nonce": f"{int(now * 1000):x}d",
        "patience": PATIENCE,
        "check_route": True,
    }
    if plan["by"] == "addresses":
        whose = hashlib.sha256(f"{plan['namespace']}/{plan['release']} during".encode()).hexdigest()
        made |= {"network": NETWORKS[int(whose, 16) % len(NETWORKS)], "link": f"prove{whose[:10]}", "offset": 0}
    return made


def read(lines: Iterable[str], steps: Iterable[str], *, mark: float, end: float) -> Json:
    """Put together what the stream said and when the run's steps began; times count from the stream's beginning.

    ``mark`` and ``end``: when the change began and ended, in seconds since the epoch, as are the steps' times.
    """
    words: dict[int, Json] = {0: {"chain": "", "pods": []}}
    seen: Json = {"answers": [], "ended": "", "refused": "", "error": "", "late": 0}
    epoch = mark
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            # The last line of a process that was killed.
            continue
        if isinstance(said, list):
            names = ("at", "ms", "client", "path", "status", "word", "sent", "got")
            answer = dict(zip(names, said[:8], strict=True))
            seen["answers"].append({**answer, "error": said[8] if len(said) > 8 else ""})
            continue
        if "epoch" in said:
            epoch = min(epoch, said["epoch"])
        if "word" in said:
            words[said["word"]] = {"chain": said["chain"], "pods": said["pods"]}
        for name in ("ended", "refused", "error", "late"):
            seen[name] = said.get(name) or seen[name]
    for answer in seen["answers"]:
        answer.update(words[answer.pop("word")])
    # What the role release does; what is around it only keeps the books.
    begun = [each for each in map(json.loads, steps) if re.match(r"release : .*\|", each["name"])]
    seen["steps"] = [[each["name"], round(each["began"] - epoch, 2)] for each in begun]
    return {**seen, "mark": round(mark - epoch, 3), "end": round(end - epoch, 3)}


def failing(status: int) -> bool:
    """Tell whether an answer is none that a user may get from what served before."""
    return status == 0 or status >= 500 or status in (403, 404)


def judged(plan: Json, seen: Json) -> tuple[Verdict, Json]:
    """Say what a stream comes to, and what its picture shows."""
    if plan["state"] != "asked":
        text = "configured, not exercised" if plan["state"] == "configured" else "skipped"
        return _verdict(plan, plan["state"], f"{text}: {plan['reason']}"), {}
    try:
        judge = _Judge(plan, seen)
        state, text = judge.outcome()
        return _verdict(plan, state, text), judge.picture()
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        return _verdict(plan, "failed", f"what was seen cannot be read: {type(exc).__name__} {exc}"), {}


def _verdict(plan: Json, state: Any, seen: str) -> Verdict:
    look = f"kubectl -n {plan['namespace']} get virtualservice,destinationrule,authorizationpolicy,pods -o wide"
    look += "; change.jsonl beside the report has every request"
    failed = state == "failed"
    return Verdict(f"{KIND}-1", KIND, TITLE, state, _expected(plan) if failed else TITLE, seen, look if failed else "")


def _expected(plan: Json) -> str:
    """Say who may answer on each path."""
    said = []
    for each in plan["paths"]:
        old, new = each["shares"]
        names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) or new.get(name)]
        when = {(True, True): "", (True, False): " (until now)", (False, True): " (from now on)"}
        told = (name + when[bool(old.get(name)), bool(new.get(name))] for name in names)
        said.append(f"{each['path']} meets {', '.join(told)}")
    return f"no request fails; {'; '.join(said)}; who has a version stays with it as long as it has weight"


class _Judge:
    def __init__(self, plan: Json, seen: Json) -> None:
        self.plan, self.seen = plan, seen
        self.answers: list[Json] = sorted(seen["answers"], key=lambda answer: answer["at"])
        self.calls = {((call[0], call[1]), (call[2], call[3])) for call in plan["calls"]}
        self.hops = {id(answer): list(self._hops(answer)) for answer in self.answers}
        self.split = self._split()
        self.silent = self._silent()
        counted = [answer for answer in self.answers if answer["path"] not in self.silent]
        self.counted = [answer for answer in counted if not self._cut(answer)]
        self.failures = [answer for answer in self.counted if self._failed(answer)]
        self.good = [answer for answer in self.counted if 200 <= answer["status"] < 300]
        self.tells = bool(plan["tells"]) and any(self.hops[id(answer)] for answer in self.good)
        self.foreign = [(answer, name) for answer in self.good for name in self._foreign(answer)]
        self.moved = self._moved()

    # What counts.

    def _silent(self) -> dict[int, str]:
        """Find the paths that did not answer before the change began, with what came instead."""
        found = {}
        for place in range(len(self.plan["paths"])):
            before = [
                answer["status"]
                for answer in self.answers
                if answer["path"] == place and answer["at"] + answer["ms"] / 1000 <= self.seen["mark"]
            ]
            if all(failing(status) and status not in self.plan["tolerated"] for status in before):
                found[place] = ", ".join(str(status or "no answer") for status in dict.fromkeys(before)) or "no answer"
        return found

    def _cut(self, answer: Json) -> bool:
        """Tell whether the stream's own end has cut an answer short."""
        late = float(answer["at"]) + PATIENCE > float(self.plan["seconds"])
        return bool(self.seen["ended"] == "time" and late and not answer["status"])

    def _failed(self, answer: Json) -> bool:
        return failing(answer["status"]) and answer["status"] not in self.plan["tolerated"]

    def _hops(self, answer: Json) -> Iterator[Hop]:
        """Give who took part in an answer, by what the pages before and now have."""
        if answer["status"] != 200 or not (answer.get("chain") or answer.get("pods")):
            return
        order = [[service, None] for service in self.plan["paths"][answer["path"]]["order"]]
        ways = [self._told(services, order, answer) for services in self.plan["services"]]
        # Pods of a Deployment that is gone already still say what they are.
        ways.append(self._told(self.plan["services"][0], order, {**answer, "pods": []}))
        for index, first in enumerate(ways[0]):
            found = (way[index] for way in ways if index < len(way))
            yield next((hop for hop in found if "?" not in hop), first)

    def _told(self, services: Json, order: list[list[str | None]], answer: Json) -> list[Hop]:
        known = {name: {"versions": versions} for name, versions in services.items()}
        return answers.hops({"services": known, "signatures": {"": {"": order}}}, "", answer)

    def _split(self) -> set[str]:
        """Find the services of which more than one version may answer."""
        found: dict[str, set[str]] = {}
        for service, version in [
            *((entry[0], entry[1]) for each in self.plan["paths"] for entry in each["entries"]),
            *(hop for call in self.calls for hop in call),
        ]:
            found.setdefault(service, set()).add(version)
        return {service for service, versions in found.items() if len(versions) > 1}

    def name(self, answer: Json) -> str:
        """Name what an answer is from: its first hop that may differ."""
        hops = self.hops[id(answer)]
        if self.tells and hops:
            service, version = next((hop for hop in hops if hop[0] in self.split), hops[0])
            return f"{service} {version}"
        return str(answer["got"] or answer["sent"] or "answered")

    def _foreign(self, answer: Json) -> Iterator[str]:
        """Give what an answer is from, and neither page gives anybody."""
        path = self.plan["paths"][answer["path"]]
        hops = self.hops[id(answer)] if self.tells else []
        if not self.tells and answer["got"] and answer["got"] not in path["values"]:
            yield f"cookie {answer['got']}"
        for index, hop in enumerate(hops):
            # What comes behind it follows from it.
            if index == 0 and list(hop) not in path["entries"]:
                yield f"{hop[0]} {hop[1]}"
                return
            if index and not any((caller, hop) in self.calls for caller in hops[:index]):
                yield f"{hop[0]} {hop[1]} behind {hops[index - 1][0]} {hops[index - 1][1]}"
                return

    def _moved(self) -> dict[int, Json]:
        """Find the clients who met another version than theirs, though theirs is there: the first such answer."""
        found: dict[int, Json] = {}
        last: dict[tuple[int, int], str] = {}
        for answer in self.good:
            client, path = answer["client"], self.plan["paths"][answer["path"]]
            if client >= self.plan["sessions"]:
                continue
            kept = path["kept"].get(answer["sent"]) if answer["sent"] else None
            hops = self.hops[id(answer)] if self.tells else []
            if kept is not None:
                other = any(service in kept and version not in kept[service] for service, version in hops)
                if other or (answer["got"] and answer["got"] != answer["sent"]):
                    found.setdefault(client, answer)
            if self.plan["hash"] and hops:
                name = f"{hops[0][0]} {hops[0][1]}"
                was = last.setdefault((client, answer["path"]), name)
                last[client, answer["path"]] = name
                if was != name and not self._had_to(path["shares"], was, name):
                    found.setdefault(client, answer)
        return found

    def _had_to(self, shares: list[Json], was: str, name: str) -> bool:
        """Tell whether a hash may move a client: from a share that shrinks to one that grows."""
        old, new = shares
        return bool(old.get(was, 0) > new.get(was, 0) and new.get(name, 0) > old.get(name, 0))

    # What it comes to.

    def outcome(self) -> tuple[str, str]:
        seen = self.seen
        if seen["refused"]:
            return "failed", f"the stream was refused: {seen['refused']}"
        if len(self.silent) == len(self.plan["paths"]) and self.answers:
            told = "; ".join(f"{self.plan['paths'][place]['path']}: {text}" for place, text in self.silent.items())
            if not any(answer["status"] for answer in self.answers):
                error = next((answer["error"] for answer in self.answers if answer["error"]), "")
                return "failed", f"no request was answered at all, not even before the change began: {error}"
            return "skipped", f"skipped: nothing was there that users could have before it ({told})"
        if not seen["ended"] or len(self.counted) < BASELINE:
            why = seen["error"] or "it ended by itself"
            return "failed", f"the stream broke off after {len(self.answers)} requests: {why}"
        faults = list(self._faults())
        refused = sum(answer["status"] == 429 for answer in self.counted)
        if not faults and refused * 2 > len(self.counted):
            faults.append(f"{refused} of {len(self.counted)} were refused by a limit (429), too many to see anything")
        remarks = list(self._remarks(refused))
        about = f"{len(self.counted)} requests in {self._seconds():.0f} s"
        if faults:
            return "failed", f"of {about} {'; '.join([*faults, *remarks])}"
        known = sorted({self.name(answer) for answer in self.good})
        met = f"they met {', '.join(known)}" if self.tells else ""
        keeps = any(path["kept"] for path in self.plan["paths"]) or bool(self.plan["hash"])
        stayed = "nobody was moved without need" if keeps else ""
        return "passed", "; ".join(filter(None, [f"{about}: none failed", met, stayed, *remarks]))

    def _seconds(self) -> float:
        return float(max((answer["at"] + answer["ms"] / 1000 for answer in self.counted), default=0.0))

    def _faults(self) -> Iterator[str]:
        """Say what is wrong, the same things together."""
        if self.failures:
            groups: dict[tuple[str, str, str], list[float]] = {}
            for answer in self.failures:
                what = str(answer["status"]) if answer["status"] else answer["error"] or "no answer"
                key = (what, self.plan["paths"][answer["path"]]["path"], self.step(answer["at"]))
                groups.setdefault(key, []).append(answer["at"])
            told = [
                f"{len(times)} x {what} on {path} {step} ({_span(times)})"
                for (what, path, step), times in sorted(groups.items(), key=lambda each: -len(each[1]))
            ]
            more = f", and {len(told) - MOST_TOLD} more kinds" if len(told) > MOST_TOLD else ""
            yield f"{len(self.failures)} failed: {', '.join(told[:MOST_TOLD])}{more}"
        if self.foreign:
            counted = Counter(name for _, name in self.foreign)
            first = min((answer for answer, _ in self.foreign), key=lambda answer: answer["at"])
            told = [f"{count} met {name}" for name, count in counted.most_common(MOST_TOLD)]
            step = self.step(first["at"])
            yield f"{', '.join(told)}, which neither the page before nor this one gives anybody (first {step})"
        if self.moved:
            first = min(self.moved.values(), key=lambda answer: answer["at"])
            sessions = len({answer["client"] for answer in self.counted if answer["client"] < self.plan["sessions"]})
            step = self.step(first["at"])
            yield f"{len(self.moved)} of {sessions} who came back were moved without need (first {step})"

    def _remarks(self, refused: int) -> Iterator[str]:
        if self.seen["ended"] in ("time", "requests"):
            yield f"only its first {self._seconds():.0f} s were watched"
        if refused:
            yield f"{refused} were refused by a limit (429)"
        if made := sum(answer["status"] in self.plan["tolerated"] for answer in self.counted):
            yield f"{made} aborted, as the page's faults say"
        for place, text in self.silent.items():
            yield f"{self.plan['paths'][place]['path']} did not answer before it either ({text})"
        if not self.tells:
            by = "by the sticky cookie alone" if self.plan["cookie"] else "nothing says"
            yield f"which version answered is told {by}" if self.plan["cookie"] else f"{by} which version answered"

    def step(self, at: float) -> str:
        """Say what the run did at a time."""
        if at < self.seen["mark"]:
            return "before it began"
        if at > self.seen["end"]:
            return "after its last step"
        name = next((name for name, began in reversed(self.seen["steps"]) if began <= at), "")
        return f'in step "{short(name)}"' if name else "at its beginning"

    def picture(self) -> Json:
        """Count answers by version over time, and say when what happened."""
        seconds = self._seconds()
        width = max(1.0, seconds / BARS)
        bars = int(seconds / width) + 1
        versions: dict[str, list[int]] = {}
        for answer in self.good:
            row = versions.setdefault(self.name(answer), [0] * bars)
            row[int((answer["at"] + answer["ms"] / 1000) / width)] += 1
        return {
            "seconds": round(seconds, 1),
            "bar": round(width, 3),
            "versions": dict(sorted(versions.items())),
            "failures": [[answer["at"], answer["status"]] for answer in self.failures],
            "foreign": [[answer["at"], name] for answer, name in self.foreign],
            "moved": sorted(answer["at"] for answer in self.moved.values()),
            "steps": [[short(name), began] for name, began in self.seen["steps"] if 0 <= began <= seconds],
            "change": [self.seen["mark"], self.seen["end"]],
        }


def short(step: str) -> str:
    """Give a step's name without the part of the role that it stands in."""
    return step.rpartition(" | ")[2].rpartition(" : ")[2]


def _span(times: list[float]) -> str:
    first, last = min(times), max(times)
    return f"at {first:.1f} s" if last - first < 0.1 else f"{first:.1f} s to {last:.1f} s"
