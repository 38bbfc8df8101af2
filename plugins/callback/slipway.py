"""Say at the end of a run what failed, where the time went and what to do next."""

from __future__ import annotations

DOCUMENTATION = r"""
name: slipway
type: aggregate
short_description: Failures, times per phase and the next step at the end of a run
description:
  - Names every failure with its machine, phase and step.
  - Prints how long each phase (play) took and how many of its tasks ran anywhere, where any did.
  - Prints the lines that a play left under the statistic C(slipway), where nothing failed, and under C(clients_met).
  - Writes when each step began into the file that a task names as its result C(slipway_steps), until one names none.
options:
  report:
    description: File that gets the times of all phases and tasks as JSON.
    type: path
    env: [{name: SLIPWAY_TIMES}]
requirements: [enable in C(callbacks_enabled)]
"""

import contextlib
import gc
import json
import os
import time
from typing import Any

from ansible import constants, context
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader, test_loader
from slipway.cluster import access
from slipway.lab.contact import Login, broken, login, unreachable


def carried_out(phase: dict[str, Any]) -> int:
    """Count the tasks that ran on at least one machine; phases follow each other, so these are on the longest path."""
    return sum(1 for task in phase["tasks"] if task["ran"])


def ran_on_machine(result: Any) -> str:
    """Name the machine on which a step ran: one that is delegated did so elsewhere than on its host."""
    return str(getattr(getattr(result, "_task", None), "delegate_to", None) or result._host.get_name())


def keep_private(log: str | None) -> None:
    """Let nobody else read ``log``: it holds what every step said, and Ansible makes it readable for everybody.

    Only a file is touched: somebody who wants no log names /dev/null, which belongs to all.
    """
    if log and os.path.isfile(log):
        with contextlib.suppress(OSError):
            os.chmod(log, 0o600)


def way_to(host: Any) -> Login:
    """Tell how Ansible gets into a machine, by what the inventory says of it and its groups."""
    known: dict[str, Any] = {}
    for group in sorted(getattr(host, "groups", []), key=lambda group: int(group.depth)):
        known |= group.vars
    return login(host.get_name(), known | getattr(host, "vars", {}))


def load_for_all_workers() -> None:
    """Import every filter and test, and the client of kubernetes.core, here, once.

    Ansible forks a worker per task and machine, and each would import them anew: half of the time of a run that changes
    nothing. What is there by now the garbage collectors of the workers leave alone; to look at it is to copy it.
    """
    for loader in (filter_loader, test_loader):
        for _ in loader.all():
            pass
    access.load()
    gc.collect()
    gc.freeze()


class CallbackModule(CallbackBase):
    """Collects while plays run; prints once, at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "slipway"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.phases: list[dict[str, Any]] = []
        self.failures: list[tuple[str, str, str, str]] = []
        self.steps = ""

    def v2_playbook_on_start(self, playbook: Any) -> None:
        keep_private(constants.DEFAULT_LOG_PATH)
        load_for_all_workers()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._end_task()
        self.phases.append({"name": play.get_name().strip(), "began": time.time(), "tasks": []})

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._begin_task(task)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._begin_task(task)

    def _begin_task(self, task: Any) -> None:
        self._end_task()
        role = task._role.get_name() if task._role else ""
        self.phases[-1]["tasks"].append(
            {"role": role, "name": task.get_name().strip(), "began": time.time(), "ran": False}
        )

    def _end_task(self) -> None:
        now = time.time()
        if self.phases:
            self.phases[-1]["ended"] = now
            if self.phases[-1]["tasks"]:
                self.phases[-1]["tasks"][-1].setdefault("ended", now)

    def _remember(self, result: Any, text: str) -> None:
        task = self.phases[-1]["tasks"][-1]["name"] if self.phases and self.phases[-1]["tasks"] else ""
        host, ran_on = result._host.get_name(), ran_on_machine(result)
        where = host if ran_on == host else f"{ran_on} (for {host})"
        phase = self.phases[-1]["name"]
        if self.failures:
            machine, place, step, said = self.failures[-1]
            # A rescue that says the same and where to look: it is one failure, of the step that began it.
            if (machine, place) == (where, phase) and said.strip() and said.strip() in text:
                task = step
                self.failures.pop()
        self.failures.append((where, phase, task, text))

    def v2_runner_on_ok(self, result: Any) -> None:
        self._ran()
        self.steps = str(result._result.get("slipway_steps", self.steps))

    def _ran(self) -> None:
        """Mark the present task as one that at least one machine carried out."""
        if self.phases and self.phases[-1]["tasks"]:
            task = self.phases[-1]["tasks"][-1]
            if self.steps and not task["ran"]:
                with contextlib.suppress(OSError), open(self.steps, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"name": task["name"], "began": task["began"]}) + "\n")
            task["ran"] = True

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._ran()
        if not ignore_errors:
            outcome = result._result
            if outcome.get("censored"):
                where = ran_on_machine(result)
                text = f"its output holds secrets and is not shown; run the step by hand on {where} to see it"
            else:
                # Of a program that fails Ansible itself only says that it did; what it has to say stands on stderr.
                message = outcome.get("msg") if outcome.get("msg") != "non-zero return code" else ""
                own = message or outcome.get("stderr") or outcome.get("exception") or "no reason given"
                text = broken(outcome, way_to(result._host)) or str(own)
            self._remember(result, text)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        if getattr(getattr(result, "_task", None), "ignore_unreachable", False):
            # The play says itself what follows from it.
            return
        self._remember(result, unreachable(str(result._result.get("msg", "")), way_to(result._host)))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._end_task()
        show = self._display.display
        ran = [phase for phase in self.phases if phase["tasks"]]
        if ran:
            show("")
            show(f"{'phase':<24}{'seconds':>9}{'tasks':>7}")
            # One whose tasks were all skipped has nothing to tell: a part that is off, a step for another provider.
            for phase in filter(carried_out, ran):
                show(f"{phase['name']:<24}{phase['ended'] - phase['began']:>9.1f}{carried_out(phase):>7}")
            total = ran[-1]["ended"] - self.phases[0]["began"]
            show(f"{'all':<24}{total:>9.1f}{sum(carried_out(phase) for phase in ran):>7}")
        for line in stats.custom.get("_run", {}).get("clients_met", []):
            show(line)
        for host, where, task, text in self.failures:
            show("")
            show(f"FAILED on {host}, phase {where}, step: {task}", color="red")
            for line in text.splitlines():
                show(f"  {line}", color="red")
        if self.failures:
            show("")
            stays = (
                "Nothing was changed, as this was a check." if context.CLIARGS.get("check") else "What was done stays."
            )
            show(f"{stays} Once the cause is gone, the same command goes on from there.", color="red")
        else:
            for line in stats.custom.get("_run", {}).get("slipway", []):
                show(line)
        report = os.environ.get("SLIPWAY_TIMES")
        if report:
            with open(report, "w", encoding="utf-8") as file:
                json.dump(
                    {"phases": ran, "hosts": {host: stats.summarize(host) for host in stats.processed}},
                    file,
                    indent=1,
                )
