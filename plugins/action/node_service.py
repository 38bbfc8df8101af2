"""node_service: leave out a call that a machine needs nothing of. Options: plugins/modules/node_service.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

try:
    from slipway.node.settled import record_beside, still
    from slipway.plugin import RememberedAction
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None

# The fact of a machine with calls that its next one carries out.
PUT_OFF = "slipway_put_off"
# Options that say nothing of one call: the process that carries out several has them once.
OF_ALL = ("looked", "environment")


class ActionModule(RememberedAction):
    """Files, programs and units of a machine, or of this computer."""

    MODULE = "node_service"
    NOTHING: ClassVar[dict[str, Any]] = {"installed": [], "written": [], "actions": []}
    # Where something comes from, when it is done, and for how long it is tried.
    HOW = ("environment", "later", "timeout")

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Leave the call to the next one, or carry it out with those that were left to it."""
        result: dict[str, Any] = ActionBase.run(self, tmp, task_vars)
        variables = task_vars or {}
        arguments, settled = self.asked(variables)
        later = boolean(arguments.pop("later", False))
        put_off = [] if self._task.delegate_to else variables.get(PUT_OFF) or []
        if settled:
            arguments = {name: value for name, value in arguments.items() if name in OF_ALL}
        if settled and (later or not put_off):
            return result | self.nothing()
        if later and not (self._task.check_mode or self._task.delegate_to or _has_secret(arguments)):
            what = {name: value for name, value in arguments.items() if name not in OF_ALL}
            facts: dict[str, Any] = {PUT_OFF: [*put_off, {**what, "task": self._task.get_name()}]}
            if node := variables.get("slipway_node"):
                # What was seen may not be so when this is done.
                facts["slipway_node"] = {**node, "settled": []}
            # The texts of files are in it.
            return result | self.nothing() | {"ansible_facts": facts, "_ansible_no_log": True}
        if not put_off:
            return result | self.call(arguments, variables)
        environment = arguments.get("environment") or {}
        earlier = [{**one, "environment": environment} for one in put_off]
        done = self.call({**arguments, "earlier": earlier}, variables)
        return result | done | {"ansible_facts": {**done.get("ansible_facts", {}), PUT_OFF: []}}

    def is_noted(self, arguments: Mapping[str, Any]) -> bool:
        """Tell whether a call is one to note: not with a secret, nor one that does something each time."""
        units = arguments.get("units") or []
        return not _has_secret(arguments) and not any(each.get("state") == "restarted" for each in units)

    def wanted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Leave out what is in a file that goes."""
        files = [{"path": one["path"]} if _goes(one) else one for one in arguments.get("files") or []]
        return {**arguments, "files": files}

    def seen_here(self, arguments: Mapping[str, Any]) -> list[str]:
        """Give the calls that are in effect on this very computer, of those without units."""
        return still(record_beside(str(arguments["record"])), lambda _: "") if "record" in arguments else []


def _has_secret(arguments: Mapping[str, Any]) -> bool:
    return any("secret" in file for file in arguments.get("files") or [] if not _goes(file))


def _goes(file: Mapping[str, Any]) -> bool:
    return file.get("state") == "absent"
