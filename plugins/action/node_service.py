"""node_service: leave out a call that a machine needs nothing of. Options: plugins/modules/node_service.py."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

try:
    from slipway.node.settled import record_beside, still
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None

# What decides whether a call would do something. With another text of it no earlier call counts.
_UTILS = (f"module_utils/slipway/node/{name}.py" for name in ("fetch", "settled", "units"))
DECIDES = ("modules/node_service.py", *_UTILS)
# Where something comes from, and for how long it is tried.
HOW = ("environment", "timeout", "looked")


class ActionModule(ActionBase):
    """The machine remembers calls (node/settled.py), and the look at it says which of them are still in effect."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Answer from the look, or call the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        node = variables.get("slipway_node") or {}
        here = self._connection.transport == "local" and not self._play_context.become
        # What was seen is of the machine itself.
        looked = bool(arguments.pop("looked", False)) and (bool(node) or here) and not self._task.delegate_to
        call = digest(arguments) if looked and noted(arguments) else ""
        if call and call in (_seen_here(arguments) if here else node.get("settled", [])):
            nothing: dict[str, Any] = {"changed": False, "installed": [], "written": [], "actions": []}
            return result | nothing | ({"diff": []} if self._task.diff else {})
        done: dict[str, Any] = self._execute_module(
            module_name="node_service", module_args={**arguments, "call": call}, task_vars=variables
        )
        if looked and done.get("changed") and node.get("settled"):
            # What was seen before this is no longer what is there.
            done["ansible_facts"] = {"slipway_node": {**node, "settled": []}}
        return result | done


def _seen_here(arguments: Mapping[str, Any]) -> list[str]:
    """Give the calls that are in effect on this very computer, of those without units."""
    return still(record_beside(str(arguments["record"])), lambda _: "") if "record" in arguments else []


def noted(arguments: Mapping[str, Any]) -> bool:
    """Tell whether a call is one to note: not with a secret, nor one that does or says something each time."""
    files, units = arguments.get("files") or [], arguments.get("units") or []
    return not any("secret" in each for each in files if not _goes(each)) and not any(
        each.get("answers") or each.get("state") == "restarted" for each in units
    )


def digest(arguments: Mapping[str, Any]) -> str:
    """Give the name of a call: a sum of what it wants, and of what decides whether it is so."""
    wants = {name: value for name, value in arguments.items() if name not in HOW}
    # What is in a file that goes says nothing.
    wants["files"] = [{"path": one["path"]} if _goes(one) else one for one in arguments.get("files") or []]
    text = json.dumps(wants, sort_keys=True, default=str)
    return hashlib.sha256(f"{_decides()}\n{text}".encode()).hexdigest()


def _goes(file: Mapping[str, Any]) -> bool:
    return file.get("state") == "absent"


@cache
def _decides() -> str:
    plugins = Path(__file__).parents[1]
    return hashlib.sha256(b"\0".join((plugins / name).read_bytes() for name in DECIDES)).hexdigest()
