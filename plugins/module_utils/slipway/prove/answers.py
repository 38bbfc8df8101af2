"""What an answer shows: which pods took part, which version it is of, which cookies it sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

# A pod is called <Deployment>-<hash>-, cut to what leaves room for five letters by chance. No hash has other letters,
# or more (kubernetes: apiserver's names.SimpleNameGenerator, apimachinery's rand.SafeEncodeString of a 32-bit number).
LONGEST, RANDOM = 63, 5
HASH = "[bcdfghjklmnpqrstvwxz2456789]{0,10}"


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


def answers_of(plan: Json, observations: Json) -> Iterator[tuple[Json, Json]]:
    """Yield each experiment with each of its answers."""
    seen = observations.get("experiments", {})
    for experiment in plan["experiments"]:
        for answer in seen.get(experiment["id"], {}).get("answers", []):
            yield experiment, answer
