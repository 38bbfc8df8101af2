"""Claims about who may call a service: mutual TLS, and the callers that are let in."""

from __future__ import annotations

from typing import Any

from .case import Case, FailedError
from .questions import NotExercisedError, Questions

Json = dict[str, Any]

# Errors of a client without a certificate whose connection was closed without a word of HTTP.
CLOSED = ("ConnectionResetError", "RemoteDisconnected", "BadStatusLine", "BrokenPipeError", "IncompleteRead")


def ask_mtls(ask: Questions, claim: Json) -> Json:
    """Ask each service from a pod without the mesh's proxy."""
    if claim["mode"] not in ("strict", "permissive"):
        raise NotExercisedError("the release does not ask for it")
    expect: Json = {"mode": claim["mode"], "plain": claim["plain"], "services": {}}
    for name in ask.facts["services"]:
        if _guarded(ask, name):
            ask.pods["plain"] = {"sidecar": False, "labels": {}}
            step = _inside(ask, name)
            expect["services"][ask.experiment([{**step, "times": 3}], by="plain")] = name
    if not expect["services"]:
        raise NotExercisedError("no service has the mesh's proxy in all of its pods")
    return expect


def judge_mtls(case: Case) -> str:
    """See those connections closed, or answered where the page lets them in."""
    plain = set(case.expect["plain"])
    for name, service in case.expect["services"].items():
        for answer in case.answers(name):
            heard, error = answer["status"] != 0, answer.get("error", "")
            if case.expect["mode"] == "strict" and heard:
                raise FailedError(f"{service} answered {answer['status']} to a client without mutual TLS")
            if case.expect["mode"] == "strict" and not error.startswith(CLOSED):
                raise FailedError(f"{service} could not be asked: {error}")
            if case.expect["mode"] == "permissive" and not heard:
                raise FailedError(f"{service} does not answer a client without mutual TLS: {error}")
            if case.expect["mode"] == "permissive" and (answer["status"] == 403) is (service in plain):
                may = "callers lets it in" if service in plain else "callers has no plain"
                raise FailedError(f"{service} answered {answer['status']} to a client without mutual TLS; {may}")
    asked = set(case.expect["services"].values())
    if case.expect["mode"] == "strict":
        return f"{len(asked)} services close the connection of a client without mutual TLS"
    refusing = f"; {', '.join(sorted(asked - plain))} answer it 403" if asked - plain else ""
    return f"{', '.join(sorted(asked & plain)) or 'none'} let a client without mutual TLS in{refusing}"


def ask_access(ask: Questions, claim: Json) -> Json:
    """Ask each version from a pod in the mesh that nobody named."""
    expect: Json = {"refused": {}, "allowed": {}}
    for row in claim["access"]:
        if not (_guarded(ask, row["service"]) and ask.have_pods([(row["service"], row["version"])])):
            continue
        caller = next(iter(row["callers"]), None)
        name, labels = "stranger", {}
        if caller:
            # Routes go by the caller's labels, access by its account: this one has the labels alone.
            label = ask.facts["services"][caller["service"]]["versions"][caller["version"]]["label"]
            name = f"stranger-{caller['service']}-{caller['version']}"
            labels = {"app": caller["service"], "version": label}
        ask.pods[name] = {"sidecar": True, "labels": labels}
        step = _inside(ask, row["service"])
        expect["refused"][ask.experiment([{**step, "times": 6}], by=name)] = row["service"]
        callers = [ask.facts["services"][c["service"]]["versions"][c["version"]] for c in row["callers"]]
        # Policies of a chart may name accounts of others, or namespaces alone.
        accounts = row.get("accounts", [each["account"] for each in callers])
        if accounts or "accounts" not in row:
            expect["allowed"][ask.read("rules", deployment=ask.deployment(row))] = accounts
    if not expect["refused"]:
        raise NotExercisedError("no service has the mesh's proxy in all of its pods")
    return expect


def judge_access(case: Case) -> str:
    """See the stranger refused, and the callers of the page named."""
    for name, service in case.expect["refused"].items():
        for answer in case.answers(name):
            if answer["status"] != 403:
                what = answer["status"] or answer.get("error", "no answer")
                raise FailedError(f"{service} answered a stranger in the mesh with {what} instead of 403")
    for name, accounts in case.expect["allowed"].items():
        principals = case.looked_up(name).get("principals")
        if not principals:
            raise FailedError(f"{name.partition('.')[2]} has no rule about who may call it")
        absent = [a for a in accounts if not any(str(p).endswith(f"/sa/{a}") for p in principals)]
        if absent:
            raise FailedError(f"{name.partition('.')[2]} does not let {absent[0]} in")
    return f"a stranger got 403 everywhere; {len(case.expect['allowed'])} versions name their callers"


def _guarded(ask: Questions, service: str) -> bool:
    """Tell whether every pod of a service has the mesh's proxy, so that it does not matter which one answers."""
    running = [own for own in ask.facts["services"][service]["versions"].values() if own["replicas"]]
    return bool(running) and all(own["sidecar"] for own in running)


def _inside(ask: Questions, service: str) -> Json:
    there = ask.facts["services"][service]
    return {"to": there["host"], "port": there["port"], "host": there["host"], "path": "/healthz", "times": 1}
