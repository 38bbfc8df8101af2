"""node_service: leave out a call that a machine needs nothing of. Options: plugins/modules/node_service.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

try:
    from slipway.node.settled import record_beside, still
    from slipway.plugin import RememberedAction
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None


class ActionModule(RememberedAction):
    """Files, programs and units of a machine, or of this computer."""

    MODULE = "node_service"
    NOTHING: ClassVar[dict[str, Any]] = {"installed": [], "written": [], "actions": []}
    # Where something comes from, and for how long it is tried.
    HOW = ("environment", "timeout")

    def is_noted(self, arguments: Mapping[str, Any]) -> bool:
        """Tell whether a call is one to note: not with a secret, nor one that does something each time."""
        files, units = arguments.get("files") or [], arguments.get("units") or []
        return not any("secret" in each for each in files if not _goes(each)) and not any(
            each.get("state") == "restarted" for each in units
        )

    def wanted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Leave out what is in a file that goes."""
        files = [{"path": one["path"]} if _goes(one) else one for one in arguments.get("files") or []]
        return {**arguments, "files": files}

    def seen_here(self, arguments: Mapping[str, Any]) -> list[str]:
        """Give the calls that are in effect on this very computer, of those without units."""
        return still(record_beside(str(arguments["record"])), lambda _: "") if "record" in arguments else []


def _goes(file: Mapping[str, Any]) -> bool:
    return file.get("state") == "absent"
