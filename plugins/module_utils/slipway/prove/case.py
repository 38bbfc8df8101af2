"""One claim, what is expected of it and what was seen. Nothing that was not seen counts."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from .hints import LOOK

Json = dict[str, Any]


class FailedError(Exception):
    """What was seen instead; ``look``: where to look, where that is not what the claim's kind says."""

    def __init__(self, seen: str, look: str = "") -> None:
        super().__init__(seen)
        self.look = look


class Case:
    """A claim of a plan, with the observations that it is judged by."""

    def __init__(self, plan: Json, observations: Json, claim: Json) -> None:
        self.plan, self.claim = plan, claim
        self.expect: Json = claim["expect"]
        self.experiments: Json = observations.get("experiments", {})
        self.reads: Json = observations.get("reads", {})
        self.refused = str(observations.get("refused", ""))

    def looked_up(self, name: str) -> Json:
        """Give what a read found."""
        if name not in self.reads:
            raise FailedError(f"nobody looked up {name}")
        read = dict(self.reads[name])
        if read.get("error"):
            raise FailedError(str(read["error"]))
        return read

    def answers(self, name: str) -> list[Json]:
        """Give the answers of an experiment, each with the path that was asked."""
        if name not in self.experiments:
            raise FailedError(f"experiment {name} was not carried out" + (f": {self.refused}" if self.refused else ""))
        answers = list(self.experiments[name]["answers"])
        planned = next(item for item in self.plan["experiments"] if item["id"] == name)
        wanted = planned["clients"] * sum(step["times"] for step in planned["steps"])
        if len(answers) < wanted:
            said = f"only {len(answers)} of {wanted} requests were sent in time"
            raise FailedError(f"{said}: machines are too busy, or answers come too late, for a proof now")
        return [{**answer, "path": planned["steps"][answer.get("step", 0)]["path"]} for answer in answers]

    def good(self, answers: list[Json]) -> list[Json]:
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
