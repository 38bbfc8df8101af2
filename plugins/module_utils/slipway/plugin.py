"""What the action plugins that work on a cluster have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from .cluster import access
from .cluster.access import BusyError, UnansweredError
from .errors import SlipwayError


def failed(error: SlipwayError) -> AnsibleActionFail:
    """Fail a task in the error's own words, with its id in the result."""
    return AnsibleActionFail(error.message, result={"error_id": error.id})


class LocalAction(ActionBase):
    """Works in Ansible's own process, on the computer that runs it. ``SPEC`` are its options."""

    _requires_connection = False
    TRANSFERS_FILES = False
    SPEC: ClassVar[dict[str, Any]] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give what ``work`` gives; what is wrong is told in its own words."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(argument_spec=self.SPEC)
        try:
            return {**result, "changed": False, **self.work(arguments)}
        except SlipwayError as exc:
            raise failed(exc) from None

    def work(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Do the task's work and give its result; without ``changed`` it has changed nothing."""
        raise NotImplementedError


class RememberedAction(ActionBase):
    """Calls ``MODULE`` on a machine, which remembers calls (node/settled.py): one that is still in effect is left out.

    The look at the machine says which are (``node_state``). ``NOTHING`` is the result of such a call, and ``HOW`` are
    options that say only how it is done.
    """

    _supports_check_mode = True
    MODULE: ClassVar[str]
    NOTHING: ClassVar[dict[str, Any]] = {}
    HOW: ClassVar[tuple[str, ...]] = ("timeout",)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Answer from the look, or call the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments, settled = self.asked(variables)
        return result | (self.nothing() if settled else self.call(arguments, variables))

    def asked(self, variables: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Give the options of the module, and whether the look found this call in effect."""
        arguments = dict(self._task.args)
        node = variables.get("slipway_node") or {}
        here = self._connection.transport == "local" and not self._play_context.become
        # What was seen is of the machine itself.
        looked = bool(arguments.pop("looked", False)) and (bool(node) or here) and not self._task.delegate_to
        arguments["call"] = self.digest(arguments) if looked and self.is_noted(arguments) else ""
        seen = (self.seen_here(arguments) if here else node.get("settled", [])) if arguments["call"] else []
        return {**arguments, "looked": looked}, arguments["call"] in seen

    def nothing(self) -> dict[str, Any]:
        """Give the result of a call that does nothing."""
        return {"changed": False, **self.NOTHING} | ({"diff": []} if self._task.diff else {})

    def call(self, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Call the module."""
        options = {name: value for name, value in arguments.items() if name != "looked"}
        done: dict[str, Any] = self._execute_module(
            module_name=self.MODULE, module_args=options, task_vars=dict(variables)
        )
        node = variables.get("slipway_node") or {}
        if arguments["looked"] and done.get("changed") and node.get("settled"):
            # What was seen before this is no longer what is there.
            done["ansible_facts"] = {"slipway_node": {**node, "settled": []}}
        return done

    def digest(self, arguments: Mapping[str, Any]) -> str:
        """Give the name of a call: a sum of what it wants, and of what decides whether it is so."""
        wants = {name: value for name, value in arguments.items() if name not in self.HOW}
        text = json.dumps(self.wanted(wants), sort_keys=True, default=str)
        return hashlib.sha256(f"{_texts(self.MODULE)}\n{text}".encode()).hexdigest()

    def is_noted(self, arguments: Mapping[str, Any]) -> bool:
        """Tell whether a call is one to note."""
        del arguments
        return True

    def wanted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Leave out what says nothing."""
        return arguments

    def seen_here(self, arguments: Mapping[str, Any]) -> list[str]:
        """Give the calls that are in effect on this very computer."""
        del arguments
        return []


@cache
def _texts(module: str) -> str:
    """Give a sum of all that decides what a module does: with other texts, no earlier call counts."""
    library = Path(__file__).parent
    own = library.parents[1] / f"modules/{module}.py"
    return hashlib.sha256(
        b"\0".join(file.read_bytes() for file in [own, *sorted(library.glob("node/*.py"))])
    ).hexdigest()


class ClusterAction(ActionBase):
    """Works in Ansible's own process: to start another one, and to load a library there, costs more than all the rest.

    ``SPEC`` are the options beside those that say how the cluster is reached, ``RULES`` what else its arguments keep
    to, by the names of ``validate_argument_spec``.
    """

    _requires_connection = False
    TRANSFERS_FILES = False
    SPEC: ClassVar[dict[str, Any]] = {}
    RULES: ClassVar[dict[str, Any]] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give what ``work`` gives; what is wrong is told in its own words."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        state = (task_vars or {}).get("slipway_state")
        if isinstance(state, str) and "{{" not in state:
            access.work_for(Path(state))
        _, arguments = self.validate_argument_spec(argument_spec={**access.arguments(), **self.SPEC}, **self.RULES)
        try:
            result.update(self.work(arguments, task_vars or {}))
        except UnansweredError as exc:
            if isinstance(exc, BusyError) and (why := access.without_quorum(access.given(arguments))):
                raise failed(SlipwayError("no-quorum", f"{why}\nWhat was asked: {exc.text}")) from None
            alone = exc.status == 0 and "\n" not in exc.text and "make status" not in exc.text
            raise failed(SlipwayError(exc.id, f"{exc.text}; see `make status`") if alone else exc) from None
        except SlipwayError as exc:
            raise failed(exc) from None
        return result

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Do the task's work and give its result."""
        raise NotImplementedError
