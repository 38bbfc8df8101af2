"""Run a stream of clients beside a change: plan it, begin it, end it. What it comes to is ``during.judged``.

A stream's files lie beside the report: ``change.json`` (the plan, and when the change began), ``change.jsonl`` (what it
said), ``change-steps.jsonl`` (when the steps of the run began, from the callback). None is older than its run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import SlipwayError
from ..release.judge import MANAGED
from . import during, hold
from .given import KINDS, live, promised
from .look import GATEWAY, GATEWAY_NAMESPACE, MANAGER, Asked, client_namespace, gateway_address, gateway_node, role_of
from .run import keep
from .verdicts import Report, joined

Json = dict[str, Any]

PROGRAM, HOLDER = (Path(__file__).with_name(name) for name in ("stream.py", "hold.py"))
IN_POD = "/prove/stream.py"
STEPS, KEPT = "change-steps.jsonl", "change.json"
_VERSIONS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "Service": "v1",
             "EnvoyFilter": "networking.istio.io/v1alpha3", "HTTPRoute": "gateway.networking.k8s.io/v1",
             "AuthorizationPolicy": "security.istio.io/v1"}  # fmt: skip
# Wherever they are: others' Gateways may be used, and limits are in the gateway's namespace.
_ANYWHERE = ("Gateway", "EnvoyFilter")


def looked(
    api: Asked,
    facts: Json,
    folder: Path,
    *,
    away: Callable[[str], str],
    paths: Mapping[str, str] | None = None,
    tells: bool = False,
) -> Json:
    """Plan a stream for a change to ``facts``: ``plan``, ``target``, ``namespace``, ``stale``, ``clients``.

    Raises SlipwayError where the release cannot be asked anything.
    """
    for name in (hold.LOG, hold.END, STEPS, KEPT):
        (folder / name).unlink(missing_ok=True)
    objects = {kind: api.listed(*where(kind, facts["namespace"])) for kind in KINDS}
    before, now = live(facts, objects), promised(facts)
    of_proofs = client_namespace(facts["release"], facts["namespace"])
    namespace = of_proofs.replace("slipway-prove", "slipway-during", 1)[:63].rstrip("-")
    made: Json = {"plan": during.watch(facts, before, now, paths=paths), "target": "", "clients": {}}
    made |= {"namespace": namespace, "stale": False}
    if made["plan"]["state"] != "asked":
        return made
    made["target"] = gateway_address(api.read("v1", "Service", GATEWAY_NAMESPACE, GATEWAY))
    reason = away(made["target"])
    told = tells or _tells(facts, [*objects["Deployment"], *objects["StatefulSet"]])
    made["plan"] = during.watch(facts, before, now, tells=told, paths=paths, away=reason)
    if made["plan"]["state"] == "asked" and made["plan"]["by"] == "addresses":
        pods = api.items(f"/api/v1/namespaces/{GATEWAY_NAMESPACE}/pods?labelSelector=istio%3Dingressgateway")
        made["clients"] = {"addresses": {"sidecar": False, "labels": {}, "node": gateway_node(pods)}}
        labels = {
            item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in api.items("/api/v1/namespaces")
        }
        made["stale"] = namespace in labels
        if made["stale"] and labels[namespace].get(MANAGED) != MANAGER:
            raise SlipwayError(
                "namespace-taken", f"namespace {namespace} is somebody else's; a stream needs that name for its clients"
            )
    return made


def where(kind: str, namespace: str) -> tuple[str, str, str]:
    """Say what is listed of a kind: its version, itself, and the namespace; all of them where others' may matter."""
    version = _VERSIONS.get(kind, "networking.istio.io/v1")
    return version, kind, "" if kind in _ANYWHERE else namespace


def _tells(facts: Json, deployments: Iterable[Json]) -> bool:
    """Tell whether answers say their version: those of the example app do."""
    found: dict[str, list[str]] = {}
    for item in deployments:
        labels = ((item["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
        found.setdefault(str(labels.get("app", "")), []).append(role_of(item))
    known = {route["service"] for route in facts["routes"]} & set(found)
    return bool(known) and all(all(found[service]) for service in known)


def begin(
    plan: Json,
    target: str,
    folder: Path,
    *,
    pod: Sequence[str] = (),
    pid: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> float:
    """Begin a stream, and wait for the first answers of each path; when it had them, in seconds since the epoch.

    ``pod``: the command that runs a program in its client pod. ``pid``: the process with which it ends.
    Raises SlipwayError where it cannot begin.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [*pod, IN_POD] if plan["by"] == "addresses" else [sys.executable, "-I", str(PROGRAM)]
    text = json.dumps(during.job(plan, target, time.time()))
    with subprocess.Popen(
        [sys.executable, "-I", str(HOLDER), str(folder), str(pid or os.getppid()), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=None if environment is None else dict(environment),
        text=True,
    ) as process:
        if process.stdin:
            process.stdin.write(text)
            process.stdin.close()
        refusal = _awaited(plan, folder)
        # It goes on when this process ends; nobody is to wait for it here.
        process.returncode = 0
    if refusal:
        (folder / hold.END).touch()
        raise SlipwayError(
            "clients-refused",
            f"no clients could use {plan['release']} while it changes, so nothing was changed: {refusal}\n"
            "  works: -e prove=changed, which asks only when the change is done",
        )
    mark = time.time()
    keep(folder, change={"plan": plan, "mark": mark})
    return mark


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _awaited(plan: Json, folder: Path) -> str:
    """Wait until each path was answered as often as a beginning needs; why there is no stream, empty where there is."""
    until = time.monotonic() + during.BASELINE_SECONDS
    while time.monotonic() < until:
        lines = _lines(folder / hold.LOG)
        seen = during.read(lines, (), mark=0.0, end=0.0)
        if seen["refused"] or seen["ended"] or any('"held"' in line for line in lines[-1:]):
            return str(seen["refused"] or seen["error"] or "the stream ended by itself")
        counted = [answer["path"] for answer in seen["answers"]]
        if all(counted.count(place) >= during.BASELINE for place in range(len(plan["paths"]))):
            return ""
        time.sleep(hold.PAUSE)
    # Paths without an answer are judged by that; without any word there is nobody who asks.
    return "" if _lines(folder / hold.LOG) else f"no word of the stream within {during.BASELINE_SECONDS:.0f} s"


def end(plan: Json, folder: Path) -> Json:
    """End a stream and give ``verdict`` and ``picture``; empty where none was begun."""
    if plan["state"] != "asked":
        verdict, picture = during.judged(plan, {})
        return {"verdict": asdict(verdict), "picture": picture}
    try:
        held = json.loads((folder / KEPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    now = time.time()
    # What the last step takes away goes a moment later.
    _until(folder, during.LINGER)
    (folder / hold.END).touch()
    _until(folder, hold.GRACE + during.PATIENCE)
    seen = during.read(_lines(folder / hold.LOG), _lines(folder / STEPS), mark=held["mark"], end=now)
    verdict, picture = during.judged(plan, seen)
    keep(folder, change={**held, "end": now})
    return {"verdict": asdict(verdict), "picture": picture}


def _until(folder: Path, seconds: float) -> None:
    """Wait until a stream has ended, so many seconds at most."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not any('"held"' in line for line in _lines(folder / hold.LOG)[-1:]):
        time.sleep(hold.PAUSE)


def alone(plan: Json, change: Json) -> Report:
    """Make a report of the claim about a change alone."""
    return joined(Report(plan["release"], plan["namespace"], []), change)
