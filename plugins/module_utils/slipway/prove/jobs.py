"""From a plan to what ``agent.py`` is handed, and back: for whoever carries a plan out."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import agent

Json = dict[str, Any]

PROGRAM = Path(agent.__file__)
# Reserved for measurements between networks (RFC 2544), so nobody's on a network that a node is in; it stays there.
NETWORK = "198.18.0.0/16"
# What runs beside the stages has its own namespace, so its own network: a part of the other half of what is reserved;
# the rest of it is for streams while a release changes (``during.NETWORKS``).
BESIDE = "198.19.0.0/17"
# Runs that begin in different spans of so many seconds use different source addresses.
SPAN = 20


def stages(plan: Json) -> list[tuple[str, list[str]]]:
    """List the stages in order, each with who sends in it; ``alerts`` runs beside those after ``copies``."""
    names = [stage["name"] for stage in plan["stages"]] + plan["beside"]
    senders = {(item["stage"], item["by"]): None for item in plan["experiments"]}
    return [(name, [by for stage, by in senders if stage == name]) for name in names]


def job(
    plan: Json,
    stage: str,
    by: str,
    targets: Mapping[str, str],
    *,
    now: float = 0.0,
    network: str | None = "",
    check_route: bool = True,
    authorities: str = "",
    past: str = "",
    token: str = "",
) -> Json:
    """Give the job of one sender in one stage.

    ``targets``: address of the gateway (``gateway``) and of each service's host that pods ask. ``now``: seconds since
    the epoch, the same for all jobs of a run. ``network``: of the source addresses, only for ``by`` addresses; empty
    for the usual one, None for none. ``authorities``: those whose certificates are trusted, PEM. ``past``: what takes
    a request past the limits for all. ``token``: what requests bring that need one.
    """
    wanted = [item for item in plan["experiments"] if (item["stage"], item["by"]) == (stage, by)]
    own = {step["to"] for item in wanted for step in item["steps"]}
    planned = {item["name"]: float(item["seconds"]) for item in plan["stages"]}
    paced = (item["pace"] * sum(step["times"] for step in item["steps"]) for item in wanted)
    made: Json = {
        "experiments": wanted,
        "targets": {name: address for name, address in targets.items() if name in own},
        "seconds": planned.get(stage, max(paced, default=0.0)),
        "nonce": f"{int(now * 1000):x}n",
        # A pod reaches nothing but by its node, and asks only addresses of services.
        "check_route": check_route and by in ("addresses", "here"),
    }
    if any(step.get("verify") for item in wanted for step in item["steps"]):
        made["authorities"] = authorities
    made |= {name: value for name, value in (("past", past), ("token", token)) if value}
    if by == "addresses" and network is not None:
        made["network"] = network or (BESIDE if stage in plan["beside"] else NETWORK)
        made |= {"offset": int(now // SPAN) * plan["sources"], "link": link(plan, made["network"])}
    return made


def authorities(own: Path) -> str:
    """Give the certificates (PEM) of the authority in the file ``own``, and of those that this machine trusts itself.

    As a browser here has them that has imported the cluster's.
    """
    known = ssl.create_default_context().get_ca_certs(binary_form=True)
    texts = [own.read_text(encoding="ascii")] if own.is_file() else []
    return "\n".join([*texts, *map(ssl.DER_cert_to_PEM_cert, known)])


def link(plan: Json, network: str) -> str:
    """Name the link to the namespace of a release's clients: the same in every run, which finds what another left."""
    whose = hashlib.sha256(f"{plan['namespace']}/{plan['release']} {network}".encode()).hexdigest()
    return f"prove{whose[:10]}"


def observed(said: Iterable[Json], reads: Mapping[str, Json]) -> Json:
    """Join what the agents said and what was looked up into the observations that ``judge`` takes."""
    experiments: Json = {}
    refused = []
    for each in said:
        experiments |= each.get("experiments", {})
        refused += [each["refused"]] if "refused" in each else []
    return {"experiments": experiments, "reads": dict(reads), "refused": "; ".join(dict.fromkeys(refused))}
