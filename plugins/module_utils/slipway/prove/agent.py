"""Sends the requests that a plan describes and says what came back; it judges nothing.

One file, standard library only: it is copied to where it runs, a client pod or (as root) a node with a gateway pod.
JSON on stdin, JSON on stdout, exit code 3 when it refuses. docs/reference/claims.md describes both.
"""

from __future__ import annotations

import ctypes
import http.client
import ipaddress
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

# The same bounds whatever a plan says.
MOST_REQUESTS = 6000
MOST_SECONDS = 900
MOST_PARALLEL = 64
MOST_BODY = 65536
# Of an answer that is an error (but for a limit's) so many bytes are kept.
MOST_SAID, HTTP_ERROR, LIMITED = 160, 400, 429
# What the error of a certificate begins with that is not trusted, or for another host.
UNTRUSTED = "certificate: "
CLONE_NEWNET = 0x40000000

Json = dict[str, Any]
Run = Callable[[Sequence[str]], str]


class RefusedError(Exception):
    """A job that is not carried out, with the reason."""


def run(command: Sequence[str]) -> str:
    """Run a program and give what it printed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10)
    if done.returncode:
        raise RefusedError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def checked(job: Json, execute: Run = run) -> None:
    """Refuse a job that is too large, names an unknown target, or would leave the networks that this machine is in."""
    asked = 0
    for experiment in job["experiments"]:
        times = [int(step.get("times", 1)) for step in experiment["steps"]]
        asked += int(experiment["clients"]) * sum(times)
        unknown = {step["to"] for step in experiment["steps"]} - set(job["targets"])
        if unknown:
            raise RefusedError(f"{experiment['id']} asks {sorted(unknown)[0]}, which is none of the targets")
    if asked > MOST_REQUESTS:
        raise RefusedError(f"{asked} requests are more than {MOST_REQUESTS}")
    if not job.get("check_route"):
        return
    for address in sorted(set(job["targets"].values())):
        found = json.loads(execute(["ip", "-json", "route", "get", str(ipaddress.ip_address(address))]))
        if "gateway" in found[0]:
            raise RefusedError(f"{address} is behind {found[0]['gateway']}: no request is sent there")


def sources(network: str) -> tuple[str, str, str, str]:
    """Give the two ends of the link, the sources and the whole, of a network of which the upper half are sources."""
    whole = ipaddress.ip_network(network)
    if whole.version != 4 or not 16 <= whole.prefixlen <= 24:
        raise RefusedError(f"{network} does not do for clients, 198.18.64.0/20 would")
    return str(whole[1]), str(whole[2]), str(list(whole.subnets(1))[1]), str(whole)


@contextmanager
def namespace(network: str, link: str = "", execute: Run = run) -> Iterator[None]:
    """Be in a nameless network namespace with a link to this node; it ends with the process, however that ends.

    ``link``: name of the link's end on the node. One that is there already is what a killed run left, and goes.
    """
    near, far, many, whole = sources(network)
    name = link or f"slipway{os.getpid() % 100000}"
    if any(each.get("ifname") == name for each in json.loads(execute(["ip", "-json", "link", "show"]) or "[]")):
        execute(["ip", "link", "delete", name])
    held = execute(["ip", "-json", "route", "show", "root", whole])
    if json.loads(held or "[]"):
        raise RefusedError(f"{whole} is in use on this node; name another network for the clients")
    node = os.open("/proc/self/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise RefusedError(f"no network namespace: {os.strerror(ctypes.get_errno())}; run it as root")
    inside = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        for command in (
            ["link", "set", "lo", "up"],
            ["link", "add", "clients", "type", "veth", "peer", "name", name, "netns", f"/proc/{os.getpid()}/fd/{node}"],
            ["address", "add", f"{far}/30", "dev", "clients"],
            ["link", "set", "clients", "up"],
            ["route", "add", "default", "via", near],
            # Every address of it may be bound to, and none has to be added.
            ["route", "add", "local", many, "dev", "lo"],
        ):
            if command[0] == "route" and command[2] == "default":
                libc.setns(node, CLONE_NEWNET)
                execute(["ip", "address", "add", f"{near}/30", "dev", name])
                execute(["ip", "link", "set", name, "up"])
                execute(["ip", "route", "add", many, "via", far, "dev", name])
                libc.setns(inside, CLONE_NEWNET)
            execute(["ip", *command])
        yield
    finally:
        libc.setns(node, CLONE_NEWNET)
        os.close(inside)
        os.close(node)


class Numbers:
    """Numbers for requests, each given once."""

    def __init__(self) -> None:
        self.lock, self.last = threading.Lock(), 0

    def next(self) -> int:
        """Give the next one."""
        with self.lock:
            self.last += 1
            return self.last


class Jar:
    """The cookies of one client, sent back where their path says, as a browser does."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, str]] = {}

    def keep(self, lines: list[str], path: str) -> None:
        """Take what an answer for ``path`` sets."""
        for line in lines:
            first, *rest = line.split(";")
            name, _, value = first.strip().partition("=")
            attributes = dict(part.strip().lower().partition("=")[::2] for part in rest)
            if attributes.get("max-age", "1").lstrip("-") == "0" or attributes.get("max-age", "").startswith("-"):
                self.kept.pop(name, None)
            else:
                given = next((p.strip()[5:] for p in rest if p.strip().lower().startswith("path=/")), "")
                self.kept[name] = (value, given or path.rpartition("/")[0] or "/")

    def sent(self, path: str) -> dict[str, str]:
        """Give the cookies for ``path``."""
        return {
            name: value
            for name, (value, under) in self.kept.items()
            if path == under or path.startswith(under.rstrip("/") + "/")
        }


class Agent:
    """Carries out one job: ``targets`` (name → address), ``experiments``, ``seconds``, ``nonce``, ``network``."""

    def __init__(self, job: Json) -> None:
        self.job = job
        self.numbers = Numbers()
        self.start = time.monotonic()
        self.end = self.start + min(float(job["seconds"]), MOST_SECONDS)
        self.patience = float(job.get("patience", 12))
        network = job.get("network")
        self.many = ipaddress.ip_network(sources(network)[2]) if network else None
        self.secure = _secure()
        authorities = str(job.get("authorities", ""))
        self.trusting = _trusting(authorities) if authorities else None

    def carry_out(self) -> Json:
        """Send everything, experiments and their clients side by side, and give the observations."""
        seen: dict[str, list[Json]] = {item["id"]: [] for item in self.job["experiments"]}
        lock = threading.Lock()

        def client(experiment: Json, number: int) -> None:
            answers = self._client(experiment, number)
            with lock:
                seen[experiment["id"]] += answers

        pools = []
        room = max(1, MOST_PARALLEL // max(1, len(seen)))
        for experiment in self.job["experiments"]:
            workers = max(1, min(int(experiment.get("parallel", 8)), room))
            pool = ThreadPoolExecutor(workers)
            pools.append(pool)
            for number in range(int(experiment["clients"])):
                pool.submit(client, experiment, number)
        for pool in pools:
            pool.shutdown(wait=True)
        return {
            "seconds": round(time.monotonic() - self.start, 3),
            "experiments": {name: {"answers": answers} for name, answers in seen.items()},
        }

    def _client(self, experiment: Json, number: int) -> list[Json]:
        """One client's requests, one after the other; what time does not allow is not sent."""
        jar = Jar()
        answers: list[Json] = []
        first, count = experiment.get("sources", [0, 0])
        source = first + number % count if count else None
        begun = time.monotonic()
        for position, step in enumerate(experiment["steps"]):
            for _ in range(int(step.get("times", 1))):
                wait = begun + len(answers) * float(experiment.get("pace", 0)) - time.monotonic()
                if time.monotonic() + max(wait, 0) >= self.end:
                    return answers
                time.sleep(max(wait, 0))
                answer = self._ask(step, number, source, jar if experiment.get("session") else None)
                answers.append({"client": number, "step": position, "source": source, **answer})
        return answers

    def _ask(self, step: Json, number: int, source: int | None, jar: Jar | None) -> Json:
        unique = {"{n}": f"{self.job.get('nonce', '')}{self.numbers.next()}", "{client}": f"{number}"}
        unique["{nonce}"] = str(self.job.get("nonce", ""))
        unique |= {f"{{{name}}}": str(self.job.get(name, "")) for name in ("past", "token")}
        path = _filled(step["path"], unique)
        headers = {"Host": step["host"], "Connection": "close", "User-Agent": "slipway-prove"}
        headers |= {name: _filled(value, unique) for name, value in step.get("headers", {}).items()}
        cookies = {**(jar.sent(path.partition("?")[0]) if jar else {}), **step.get("cookies", {})}
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={_filled(value, unique)}" for name, value in cookies.items())
        began = time.monotonic()
        answer: Json = {"at": round(began - self.start, 4), "sent": cookies}
        try:
            answer |= self._answer(step, path, headers, source, began)
        except ssl.SSLCertVerificationError as exc:
            answer |= {"status": 0, "error": f"{UNTRUSTED}{exc.verify_message}"}
        except (OSError, http.client.HTTPException, ValueError) as exc:
            answer |= {"status": 0, "error": type(exc).__name__ + (f": {exc}" if str(exc) else "")}
        answer["ms"] = round((time.monotonic() - began) * 1000, 1)
        if jar and answer["status"]:
            jar.keep(answer["cookies"], path.partition("?")[0])
        return answer

    def _address(self, many: ipaddress.IPv4Network | ipaddress.IPv6Network, source: int) -> str:
        """Give the address of a source; runs begin at different ones, so that no bucket is half empty."""
        index = (int(self.job.get("offset", 0)) + source) % (many.num_addresses - 2)
        return str(many[1 + index])

    def _answer(self, step: Json, path: str, headers: dict[str, str], source: int | None, began: float) -> Json:
        address, port = str(self.job["targets"][step["to"]]), int(step["port"])
        own = (self._address(self.many, source), 0) if self.many is not None and source is not None else None
        patience = max(0.1, min(self.patience, self.end - began))
        connection = http.client.HTTPConnection(address, port, timeout=patience, source_address=own)
        try:
            connection.connect()
            if step.get("tls") and connection.sock:
                # A connection for one host may be used for another: that is what "server" is for.
                name = step.get("server", step["host"])
                context = self.trusting if step.get("verify") else self.secure
                if context is None:
                    raise ValueError("the job names no authority to verify certificates with")
                connection.sock = context.wrap_socket(connection.sock, server_hostname=name)
            connection.request(step.get("method", "GET"), path, headers=headers)
            # http.client follows no redirect.
            answer = connection.getresponse()
            body = answer.read(MOST_BODY)
        finally:
            connection.close()
        got = {
            "status": answer.status,
            "chain": answer.getheader("x-chain", ""),
            "cookies": answer.headers.get_all("set-cookie") or [],
        }
        if answer.status >= HTTP_ERROR and answer.status != LIMITED:
            got["said"] = _printable(body)
        for name, header in (("remaining", "x-ratelimit-remaining"), ("location", "location")):
            if value := answer.getheader(header, ""):
                got[name] = value
        if step.get("show"):
            got["headers"] = {name: answer.headers.get_all(name) or [] for name in step["show"]}
        return {**got, **_pods(body)}


def _printable(body: bytes) -> str:
    """Give the beginning of what an answer says, on one line."""
    text = body[:MOST_SAID].decode("utf-8", "replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _trusting(authorities: str) -> ssl.SSLContext:
    """Give a context that takes what a browser takes which trusts ``authorities`` (PEM)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=authorities)
    except ssl.SSLError as exc:
        raise ValueError(f"authorities: {exc}") from exc
    context.set_alpn_protocols(["http/1.1"])
    return context


def _secure() -> ssl.SSLContext:
    """Give a context that takes any certificate: the claim about TLS alone is about whose it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _pods(body: bytes) -> Json:
    try:
        chain = json.loads(body)["chain"]
        return {"pods": [str(hop["pod"]) for hop in chain]}
    except (ValueError, KeyError, TypeError):
        return {}


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(n|client|nonce|past|token)\}", lambda match: values[match[0]], text)


def main(text: str, execute: Run = run) -> tuple[int, Json]:
    """Carry out the job in ``text``; exit code and what to print."""
    try:
        job = json.loads(text)
        checked(job, execute)
        keep(job, ".begun", {})
        if job.get("network"):
            with namespace(job["network"], str(job.get("link", "")), execute):
                said = _in_namespace(job)
        else:
            said = Agent(job).carry_out()
    except RefusedError as exc:
        return 3, {"refused": str(exc)}
    except (ValueError, KeyError, TypeError) as exc:
        return 3, {"refused": f"the job cannot be read: {type(exc).__name__} {exc}"}
    keep(job, "", said)
    return 0, said


def keep(job: Json, ending: str, said: Json) -> None:
    """Keep what is said in the file that the job names: whoever loses the connection can come for it later."""
    if not job.get("keep"):
        return
    name = f"{job['keep']}{ending}"
    try:
        with open(f"{name}.part", "w", encoding="utf-8") as file:
            json.dump(said, file)
        os.replace(f"{name}.part", name)
    except OSError as exc:
        # It is still printed.
        print(f"{name}: {exc}", file=sys.stderr)


def _in_namespace(job: Json) -> Json:
    """Threads that begin now are in the namespace of the one that begins them."""
    return Agent(job).carry_out()


if __name__ == "__main__":
    code, said = main(sys.stdin.read())
    json.dump(said, sys.stdout)
    sys.exit(code)
