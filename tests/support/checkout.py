"""A clean clone of this checkout with a cluster of its own, driven the way a user drives it: with make."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .kube import Kube
from .lab import ROOT, clean, lab_name, left_behind, write_page

# What a user's shell does not have: settings of molecule, make and our own.
FOREIGN = re.compile(r"^(ANSIBLE|MAKE|MFLAGS|MOLECULE|PYTEST|PYTHON|SLIPWAY_(?!CACHE)|VAGRANT|VIRTUAL_ENV)")
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
PLAY = re.compile(r"^PLAY \[(.*?)\]", re.MULTILINE)


# Called with each line that a command prints, and its process.
OnLine = Callable[[str, subprocess.Popen[str]], None]


@dataclass(frozen=True)
class On:
    """A condition of ``sh`` that comes true on a machine of the checkout."""

    machine: str
    condition: str


# What a run is killed at: words that it says, what comes true on a machine, or a question.
Event = str | On | Callable[[], bool]
# Modules that Ansible runs on a machine: Python that reads its program from ssh.
OVER = "/run/slipway-test-over"
KILL_MODULES = "pkill --signal=KILL --full --exact '/usr/bin/python3[.0-9]*'"


def ignored(_line: str, _process: subprocess.Popen[str]) -> None:
    """Ignore a line: it is in the log."""


@dataclass
class Run:
    """A command that has ended."""

    status: int
    seconds: float
    output: str = field(repr=False)

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """Ansible's closing numbers by host: ok, changed, unreachable, failed."""
        names = ("ok", "changed", "unreachable", "failed")
        return {host: dict(zip(names, map(int, numbers), strict=True)) for host, *numbers in RECAP.findall(self.output)}

    def total(self, number: str) -> int:
        """One of the closing numbers, over all hosts."""
        assert self.recap, f"no recap in:\n{self.output[-2000:]}"
        return sum(host[number] for host in self.recap.values())

    def expect(self, status: int = 0) -> Run:
        """This run, when it ended with ``status``; else the end of what it said."""
        assert self.status == status, f"ended with {self.status}:\n{self.output[-4000:]}"
        return self


def listed(*what: str, folder: Path = ROOT) -> list[str]:
    """Files of a checkout as ``git ls-files`` names them."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--exclude-standard", *what], cwd=folder, check=True, capture_output=True, text=True
    )
    return [name for name in done.stdout.split("\0") if name]


class Checkout:
    """The clone, its cluster's name, and commands run in it."""

    def __init__(self, purpose: str, root: Path = ROOT) -> None:
        self.path = root / ".slipway/test" / purpose
        self.name = lab_name(purpose, root)
        self.page = self.path / "group_vars/all/cluster.yml"
        self.state = self.path / ".slipway"
        self.kube = Kube(self.state)
        self.settings = ""
        """The page as it was when the clone was made."""
        self.untracked: set[str] = set()
        """Files that the clone was made with and that git does not have yet."""
        self.variables: dict[str, Any] = {}
        """What every play of it is given."""

    def fresh(self, **settings: Any) -> None:
        """Clone again what is in the tree now (uncommitted changes as well) and give it a page of its own."""
        self.remove()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(self.path)], check=True)
        for name in listed("--deleted"):
            (self.path / name).unlink(missing_ok=True)
        for name in listed("--modified", "--others"):
            source, target = ROOT / name, self.path / name
            if source.is_symlink() or source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        write_page(self.page, self.name, source=self.page, **settings)
        self.settings = self.page.read_text()
        self.untracked = set(listed("--others", folder=self.path))

    def remove(self) -> None:
        """Remove machines and clone, in any state."""
        clean(self.name)
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """A user's environment: without what the test run has added to it."""
        path = os.pathsep.join(
            folder for folder in os.environ["PATH"].split(os.pathsep) if folder != str(Path(sys.executable).parent)
        )
        kept = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
        # Else Ansible keeps what it says in a buffer while a task runs.
        return {**kept, "PATH": path, "ANSIBLE_FORCE_COLOR": "0", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}

    def run(self, *command: str, timeout: float = 3600, **environment: str) -> Run:
        """Run a command in the clone; what it says goes to the log as it comes."""
        return self.watch(command, timeout=timeout, environment=environment)

    def make(self, *targets: str, timeout: float = 3600, **environment: str) -> Run:
        """``make`` in the clone."""
        return self.run("make", "--no-print-directory", *targets, timeout=timeout, **environment)

    def playbook(self, *arguments: str, timeout: float = 1200) -> Run:
        """``.venv/bin/ansible-playbook`` in the clone."""
        return self.run(".venv/bin/ansible-playbook", *arguments, timeout=timeout)

    def watch(
        self,
        command: tuple[str, ...],
        *,
        timeout: float = 3600,
        environment: dict[str, str] | None = None,
        on_line: OnLine = ignored,
    ) -> Run:
        """Run a command and call ``on_line`` with each line and the process, which leads a group of its own."""
        print(f"$ {' '.join(command)}", flush=True)
        began = time.monotonic()
        lines: list[str] = []
        with subprocess.Popen(
            command,
            cwd=self.path,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    print(line, end="", flush=True)
                    lines.append(line)
                    on_line(line, process)
                    if time.monotonic() - began > timeout:
                        kill(process)
                        lines.append(f"stopped after {timeout:.0f} s\n")
                status = process.wait(timeout)
            except BaseException:
                kill(process)
                raise
        return Run(status, time.monotonic() - began, "".join(lines))

    def kill_in(self, play: str, *, after: float = 2.0, target: str = "up") -> Run:
        """``make <target>``, and ``kill -9`` of all of it ``after`` seconds into the first play named ``play``."""
        return self._kill_at("PLAY", play, (target,), after)

    def kill_at(self, task: str, *targets: str, after: float = 0.5) -> Run:
        """``make`` with ``targets``, and ``kill -9`` of all of it ``after`` seconds into the first task so named."""
        return self._kill_at("TASK", task, targets, after)

    def _kill_at(self, kind: str, name: str, targets: tuple[str, ...], after: float) -> Run:
        begin = f"{kind} [{name}]"

        def on_line(line: str, process: subprocess.Popen[str]) -> None:
            if line.startswith(begin):
                threading.Timer(after, kill, [process]).start()

        run = self.watch(("make", "--no-print-directory", *targets), on_line=on_line)
        assert begin in run.output, f"no {begin} in:\n{run.output[-2000:]}"
        return run.expect(-signal.SIGKILL)

    def kill_when(self, event: Event, *command: str, module_on: str = "") -> Run:
        """Run a command, and ``kill -9`` all of it when something has happened, which it has to before it ends.

        All of it: Ansible's workers as well, which have sessions of their own and go on where it alone is killed.
        ``event``: words of a line that it prints, what comes true on a container node, or what is asked all the time
        until it is true. ``module_on``: the node on which what the command runs there is killed as well, first where
        that is where it comes true; else it goes on.
        """
        happened = threading.Event()

        def cut(process: subprocess.Popen[str]) -> None:
            happened.set()
            workers = descendants(process.pid)
            kill(process)
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            if module_on:
                subprocess.run(self._on(module_on, KILL_MODULES), check=False)

        def look(process: subprocess.Popen[str]) -> None:
            assert not isinstance(event, str)
            if self._comes_true(event, process, module_on):
                cut(process)

        def on_line(line: str, process: subprocess.Popen[str]) -> None:
            if isinstance(event, str):
                if event in line and not happened.is_set():
                    cut(process)
            elif not watching:
                watching.append(threading.Thread(target=look, args=[process], daemon=True))
                watching[0].start()

        watching: list[threading.Thread] = []
        run = self.watch(command, on_line=on_line)
        if isinstance(event, On) and not happened.is_set():
            subprocess.run(self._on(event.machine, f"touch {OVER}"), check=False)
        for thread in watching:
            thread.join(30)
        assert happened.is_set(), f"it ended before what it was to be killed at:\n{run.output[-2000:]}"
        # Where its module was killed first, it may have seen that.
        return run if module_on and run.status == 2 else run.expect(-signal.SIGKILL)

    def _comes_true(self, event: On | Callable[[], bool], process: subprocess.Popen[str], module_on: str) -> bool:
        """Wait until it is true, or the process has ended."""
        if isinstance(event, On):
            # Asked there: it may be true for a moment only.
            then = KILL_MODULES if module_on == event.machine else "true"
            ask = f"if {event.condition}; then {then}; exit 0; fi; sleep 0.02"
            loop = f"rm -f {OVER}; for _ in $(seq 1 30000); do [ ! -e {OVER} ] || exit 7; {ask}; done; exit 7"
            done = subprocess.run(self._on(event.machine, loop), check=False, capture_output=True)
            return not done.returncode
        while process.poll() is None:
            if event():
                return True
            time.sleep(0.05)
        return False

    def _on(self, machine: str, command: str) -> list[str]:
        return ["docker", "exec", f"{self.name}-{machine}", "sh", "-c", command]

    def left(self) -> dict[str, list[str]]:
        """What docker still holds of the cluster, by kind; only kinds with something in them."""
        return {kind: names for kind, names in left_behind(self.name).items() if names}


class Standing(Checkout):
    """This tree, and a cluster of an earlier ``make up``. The tests neither make nor remove them."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        super().__init__("standing", root)
        self.path = root
        self.page = folder / "group_vars/all/cluster.yml"
        self.state = folder / ".slipway"
        assert (self.state / "kubeconfig").is_file(), f"{folder} has no cluster: there is no .slipway/kubeconfig in it"
        self.kube = Kube(self.state)
        self.variables = {"slipway_state": str(self.state)}

    def fresh(self, **settings: Any) -> None:
        raise AssertionError(f"a cluster that stands is not made anew: {self.state}, {settings}")

    def remove(self) -> None:
        raise AssertionError(f"a cluster that stands is not taken away: {self.state}")


def kill(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """``kill -9`` of a process and of all it started in its group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def descendants(process: int) -> list[int]:
    """All that a process has started, and what that has."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            stat = Path(f"/proc/{name}/stat").read_text()
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(name))
    found, waiting = [], [process]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
