"""Claims about the gateway: it answers, it speaks TLS as browsers want it, it leads to tools."""

from __future__ import annotations

import re
from typing import Any

from .agent import UNTRUSTED
from .case import Case, FailedError
from .questions import HTTPS, MOST_PLACES, NotExercisedError, Questions, SkippedError

Json = dict[str, Any]

# What tells a browser to ask again on a connection of its own.
MISDIRECTED = 421


def ask_address(ask: Questions, _: Json) -> Json:
    """Ask from the user's machine."""
    if ask.circumstances.away:
        raise NotExercisedError(ask.circumstances.away)
    ask.experiment([ask.step("/", anonymous=True)], by="here", stage="quiet")
    return {"host": ask.host, "port": ask.port}


def judge_address(case: Case) -> str:
    """See any answer."""
    for answer in case.answers(case.claim["experiments"][0]):
        if not answer["status"]:
            raise FailedError(f"no answer on port {case.expect['port']}: {answer.get('error', '')}")
    return f"it answers on port {case.expect['port']}"


def ask_tls(ask: Questions, _: Json) -> Json:
    """Ask over TLS for each host, without TLS, and on connections for other hosts."""
    plain = [route["path"] for route in ask.facts["routes"] if not ask.speaks_grpc(route["service"])]
    path = ask.path(plain[0]) if plain else ask.facts["routes"][0]["path"]
    hosts = ask.facts["hosts"][:MOST_PLACES]
    ports = [port for port in ask.facts["ports"] if port != HTTPS] if ask.facts["redirect"] else []
    clear = [(host, port) for port in ports for host in hosts][:MOST_PLACES]
    ask.room(path, len(hosts) + len(clear))
    trusted = {"port": HTTPS, "verify": True}
    secure = {ask.experiment([ask.step(path, host=host, **trusted)]): host for host in hosts}
    tools = list(ask.facts["tools"].values())[:MOST_PLACES]
    named = {ask.experiment([ask.step("/", host=host, **trusted)]): host for host in tools}
    sent_on = {ask.experiment([ask.step(path, host=host, port=port)]): [host, port] for host, port in clear}
    # Browsers use one connection for all hosts of its certificate: what is for another one must be told so.
    pairs = [pair for host in ask.circumstances.elsewhere for pair in ((ask.host, host), (host, ask.host))]
    misdirected = {
        ask.experiment([ask.step("/", host=host, port=HTTPS, server=server)]): [server, host] for server, host in pairs
    }
    # A service of gRPC refuses a plain request, and that is an answer.
    asked = {"secure": secure, "named": named, "sent_on": sent_on, "misdirected": misdirected}
    return {**asked, "refusing": not plain}


def judge_tls(case: Case) -> str:
    """See certificates that browsers take, and clients of http sent on."""
    expect = case.expect
    for name, host in {**expect["secure"], **expect["named"]}.items():
        _trusted(case, name, host)
    for name, host in expect["secure"].items():
        answers = case.answers(name)
        try:
            if not expect["refusing"] or not all(answer["status"] for answer in answers):
                case.good(answers)
        except FailedError as exc:
            raise FailedError(f"{host}:443 over TLS: {exc}", exc.look) from None
    for name, (server, host) in expect["misdirected"].items():
        for answer in case.answers(name):
            # Another's Gateway may have gone meanwhile, and then nobody answers for its name.
            gone = answer["status"] == 0 and server not in case.plan["hosts"]
            if answer["status"] != MISDIRECTED and not gone:
                got = answer["status"] or answer.get("error", "nothing")
                what = f"a connection for {server} that a browser uses for {host} too answers {got}"
                raise FailedError(f"{what} instead of {MISDIRECTED}")
    for name, (host, port) in expect["sent_on"].items():
        _sent_on(case, name, host, port)
    count = len(expect["secure"]) + len(expect["named"])
    text = f"{count} {'host answers' if count == 1 else 'hosts answer'}, with a certificate that browsers take"
    if expect["misdirected"]:
        text += f"; {MISDIRECTED} on a connection for another host"
    return text + ("; without TLS there is 301 to https" if expect["sent_on"] else "")


def _trusted(case: Case, name: str, host: str) -> None:
    """Refuse a host whose certificate a browser refuses, or that answers nothing over TLS."""
    for answer in case.answers(name):
        error = str(answer.get("error", "no answer"))
        if error.startswith(UNTRUSTED):
            raise FailedError(f"{host}:443: browsers refuse the {error}")
        if not answer["status"] and name in case.expect["named"]:
            raise FailedError(f"{host}:443 over TLS: {error}")


def _sent_on(case: Case, name: str, host: str, port: int) -> None:
    for answer in case.answers(name):
        where = answer.get("location", "")
        if answer["status"] != 301 or not re.match(rf"https://{re.escape(host)}(:443)?/", where):
            got = answer["status"] or answer.get("error", "nothing")
            told = f"{got} to {where}" if where else got
            raise FailedError(f"{host}:{port} answered {told} instead of 301 to https")


def ask_tool(ask: Questions, claim: Json) -> Json:
    """Ask for the tool's host."""
    if claim["tool"] in ask.circumstances.missing_tools:
        raise SkippedError(f"{claim['tool']} is not part of this cluster")
    ask.experiment([ask.step("/", host=claim["host"], times=2)])
    return {"host": claim["host"]}


def judge_tool(case: Case) -> str:
    """See an answer of the tool."""
    for answer in case.answers(case.claim["experiments"][0]):
        if not (200 <= answer["status"] < 400 or answer["status"] == 401):
            what = answer["status"] or answer.get("error", "nothing")
            raise FailedError(f"{case.expect['host']} answered {what}")
    return f"{case.expect['host']} answers"
