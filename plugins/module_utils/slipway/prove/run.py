"""Carry a plan out: stage after stage, each sender's agent with its job, and what is looked up meanwhile.

How a job gets to its agent, and how the cluster is asked, is handed in, so that all of it runs without a cluster too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .agent import MOST_SECONDS
from .jobs import PROGRAM, job, observed, stages
from .past import Past
from .questions import LAST
from .reads import Reads

Json = dict[str, Any]
# (who sends, the job, set when it need not go on) → what the agent says; ``refused`` where it says nothing.
Send = Callable[[str, Json, threading.Event], Json]

PYTHON = "/usr/bin/python3"
CONTAINER = "agent"
# Where a client pod has the agent's program, and what a pod's proxy is asked with.
IN_POD = "/prove/agent.py"
ASK_PROXY = ("pilot-agent", "request", "GET")
# Where an agent keeps what it says, and how that is asked for: the answers, whether it has begun, or nothing.
KEPT = "/kept"
FETCH = """
import os, sys
if os.path.exists(sys.argv[1]):
    print(open(sys.argv[1]).read())
else:
    print('{"begun": true}' if os.path.exists(sys.argv[1] + ".begun") else "{}")
"""
# Times that a job is handed over while it is known that none of its requests was sent, and seconds between two looks.
TRIES = 3
PAUSE = 2.0
# Seconds that an agent may take beyond its job's own: to start, and for the answers that it still waits for.
GRACE = 30.0
# Seconds from the first request until the last target has to be up.
TARGETS = 85.0
# Seconds until a dashboard has something to show, once all requests have been sent.
PANELS = 45.0


@dataclass
class Runner:
    """``quiet``: seconds that alerts may take to be loaded and silent, before any request.

    ``authorities``: whose certificates are trusted, PEM. ``past``: a way past the limits for all, where there are any.
    ``token``: what requests bring that need one.
    """

    plan: Json
    targets: Mapping[str, str]
    send: Send
    reads: Reads
    quiet: float = 180.0
    authorities: str = ""
    past: Past | None = None
    tell: Callable[[str], None] = lambda _: None
    now: Callable[[], float] = time.monotonic
    said: list[Json] = field(default_factory=list)
    value: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def observations(self) -> Json:
        """Send everything, look everything up, and give what was seen. Takes as long as the slowest claim."""
        stop = threading.Event()
        epoch = time.time()
        try:
            if self.past:
                self.tell("a way past the limits for all")
                self.value = self.past.open()
            self._asked(epoch, stop)
        finally:
            if self.past:
                self.past.close()
                self.value = ""
        # What is for all is proved by the limits themselves, without a way past them.
        self._stage(LAST, dict(stages(self.plan)).get(LAST, []), epoch, stop)
        return observed(self.said, self.reads.seen)

    def _asked(self, epoch: float, stop: threading.Event) -> None:
        with ThreadPoolExecutor(2) as beside:
            try:
                waiting = []
                self.tell("quiet")
                self._before()
                waiting.append(beside.submit(self._monitored))
                for name, senders in self._ordered():
                    if name in self.plan["beside"]:
                        waiting.append(beside.submit(self._alerts, name, senders, epoch, stop))
                        continue
                    self.tell(name)
                    if name == "copies":
                        self.reads.copies("before")
                    self._stage(name, senders, epoch, stop)
                    if name == "copies":
                        self.reads.copies("after")
                self.tell("alerts" if self.plan["beside"] else "targets")
                for each in waiting:
                    each.result()
                self.reads.panels(self.now() + PANELS)
            except BaseException:
                stop.set()
                raise

    def _monitored(self) -> None:
        """See what Prometheus reads, and whether it has its rules."""
        until = self.now() + TARGETS
        self.reads.targets(until)
        self.reads.loaded(until)

    def _before(self) -> None:
        """Look at what no request may have touched yet."""
        with ThreadPoolExecutor(1) as beside:
            silent = beside.submit(self.reads.quiet, self.now() + self.quiet)
            self.reads.configuration()
            silent.result()

    def _ordered(self) -> list[tuple[str, list[str]]]:
        """List the stages as they begin: what runs beside the others does so once copies have been counted."""
        listed = stages(self.plan)
        beside = [each for each in listed if each[0] in self.plan["beside"]]
        first = [each for each in listed if each[0] in ("quiet", "copies")]
        rest = [each for each in listed if each not in first and each not in beside and each[0] != LAST]
        return [*first, *beside, *rest]

    def _stage(self, name: str, senders: Sequence[str], epoch: float, stop: threading.Event) -> None:
        if not senders:
            return
        with ThreadPoolExecutor(len(senders)) as pool:
            more: Json = {"now": epoch, "authorities": self.authorities, "past": self.value, "token": self.token}
            jobs = [(by, job(self.plan, name, by, self.targets, **more)) for by in senders]
            self.said += pool.map(lambda each: self.send(each[0], each[1], stop), jobs)

    def _alerts(self, name: str, senders: Sequence[str], epoch: float, stop: threading.Event) -> None:
        """Make the load of alerts, and watch them; the load ends when all has been seen."""
        enough = threading.Event()
        wanted = {
            claim["reads"][0]: claim["expect"]
            for claim in self.plan["claims"]
            if claim["kind"] == "alert" and claim["state"] == "asked"
        }
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(self._stage, name, senders, epoch, _Either(enough, stop))
            try:
                self.reads.watch(self.now(), wanted)
            finally:
                enough.set()
            load.result()


class _Either(threading.Event):
    """Set when one of two events is."""

    def __init__(self, one: threading.Event, other: threading.Event) -> None:
        super().__init__()
        self.both = (one, other)

    def is_set(self) -> bool:
        return any(each.is_set() for each in self.both)


def _started(
    command: Sequence[str], given: IO[str], text: str, environment: Mapping[str, str] | None
) -> subprocess.Popen[str]:
    """Start a program that reads ``text`` from the file ``given``."""
    given.write(text)
    given.seek(0)
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=given, stdout=pipe, stderr=pipe, text=True, env=environment)


def carried_out(
    command: Sequence[str],
    text: str,
    seconds: float,
    stop: threading.Event,
    environment: Mapping[str, str] | None = None,
) -> Json:
    """Hand ``text`` to a program and read the JSON that it prints; ``refused`` says why there is none."""
    until = time.monotonic() + seconds
    # A file, and no pipe: Popen.communicate forgets what a slow program has not read of it within the first time-out.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as given,
        _started(command, given, text, environment) as process,
    ):
        while True:
            try:
                out, err = process.communicate(timeout=1)
            except subprocess.TimeoutExpired:
                if stop.is_set() or time.monotonic() > until:
                    process.kill()
                    process.communicate()
                    return {"refused": "" if stop.is_set() else f"no answer within {seconds:.0f} s"}
            else:
                break
    try:
        said = json.loads(out)
    except ValueError:
        lines = err.strip().splitlines()
        return {"refused": lines[-1] if lines else f"it ended with {process.returncode} and said nothing"}
    if not isinstance(said, dict):
        return {"refused": "what it said is no answer"}
    # An agent that refuses has understood its job; another try would bring the same.
    return {**said, "final": True} if "refused" in said and "cannot be read" not in str(said["refused"]) else said


@dataclass(frozen=True)
class Kubectl:
    """Runs programs in pods. ``namespace``: of the client pods, each named like its sender.

    ``context``: of the kubeconfig, where it is not the current one. ``proxied``: go through the shell's proxy.
    """

    program: Path
    namespace: str
    kubeconfig: str
    context: str = ""
    proxied: bool = False

    def _exec(self, namespace: str, pod: str, container: str, *command: str) -> list[str]:
        where = [f"--namespace={namespace}", pod, f"--container={container}"]
        # Several kubeconfigs in one text are for the variable alone (``environment``).
        named = [] if os.pathsep in self.kubeconfig else [f"--kubeconfig={self.kubeconfig}"]
        cluster = [*named, *([f"--context={self.context}"] if self.context else [])]
        return [str(self.program), *cluster, "exec", *where, "--", *command]

    def held(self, by: str) -> list[str]:
        """Give the command that runs a Python program in a client pod for as long as its input is open."""
        command = self._exec(self.namespace, by, CONTAINER, PYTHON, "-I")
        command.insert(command.index("exec") + 1, "--stdin")
        return command

    @property
    def environment(self) -> dict[str, str]:
        """Give what programs that ask the cluster run with."""
        # A cluster of this checkout is on the node network, whatever proxy this machine's user goes through.
        kept = {
            name: value for name, value in os.environ.items() if self.proxied or not name.lower().endswith("_proxy")
        }
        return {**kept, "KUBECONFIG": self.kubeconfig}

    def send(self, by: str, given: Json, stop: threading.Event) -> Json:
        """Hand a job to the agent of a client pod; ``here``: to one on this machine."""
        seconds = min(float(given["seconds"]), MOST_SECONDS) + GRACE
        if by == "here":
            command = [sys.executable, "-I", str(PROGRAM)]
            said = carried_out(command, json.dumps(given), seconds, stop, self.environment)
        else:
            said = self._sent(by, given, seconds, stop)
        return {**said, "refused": f"{by}: {said['refused']}"} if said.get("refused") else _heard(said)

    def _sent(self, by: str, given: Json, seconds: float, stop: threading.Event) -> Json:
        """Run the agent of a pod, and come for its answers when the connection breaks: no request is sent twice."""
        until = time.monotonic() + seconds
        kept = f"{KEPT}/{given.get('nonce', '')}{next((each['id'] for each in given['experiments']), '')}.json"
        command = self._exec(self.namespace, by, CONTAINER, PYTHON, "-I", IN_POD)
        command.insert(command.index("exec") + 1, "--stdin")
        fetch = self._exec(self.namespace, by, CONTAINER, PYTHON, "-I", "-c", FETCH, kept)
        said: Json = {}
        for _ in range(TRIES):
            text = json.dumps({**given, "keep": kept})
            said = carried_out(command, text, max(1.0, until - time.monotonic()), stop, self.environment)
            if stop.is_set() or not said.get("refused") or said.get("final"):
                break
            held = self._kept(fetch, until, stop)
            if "experiments" in held:
                return held
            if held.get("begun") or time.monotonic() > until:
                break
        return said

    def _kept(self, fetch: Sequence[str], until: float, stop: threading.Event) -> Json:
        """Give what an agent has kept, when it is done; empty where it has never begun."""
        held: Json = {"begun": True}
        while held.get("begun") and time.monotonic() < until and not stop.is_set():
            time.sleep(PAUSE)
            held = carried_out(fetch, "", GRACE, stop, self.environment)
            # Of what cannot be asked it is not known whether it has begun.
            held = {"begun": True} if "refused" in held else held
        return held

    def proxy(self, namespace: str, pod: str, path: str) -> Any:
        """Give what the proxy of a pod says at a path of its administration interface. Raises ValueError."""
        command = self._exec(namespace, pod, "istio-proxy", *ASK_PROXY, path)
        said = carried_out(command, "", GRACE, threading.Event(), self.environment)
        if "refused" in said:
            raise ValueError(f"the proxy of {pod}: {said['refused']}")
        return said


def _heard(said: Json) -> Json:
    return {name: value for name, value in said.items() if name != "refused"}


def keep(folder: Path, **held: Json) -> None:
    """Keep plan and observations beside the report, so that its verdicts can be found again; nothing is secret."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in held.items():
        (folder / f"{name}.json").write_text(json.dumps(value) + "\n", encoding="utf-8")
