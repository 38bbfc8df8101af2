"""What the action plugins that work on a cluster have in common."""

from __future__ import annotations

from collections.abc import Mapping
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
