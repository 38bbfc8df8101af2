"""api_server: leave out a call that a machine needs nothing of. Options: plugins/modules/api_server.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

try:
    from slipway.plugin import RememberedAction
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None


class ActionModule(RememberedAction):
    """Where the manifest that it has declared was not touched, there is nothing to do."""

    MODULE = "api_server"
    NOTHING: ClassVar[dict[str, Any]] = {"arguments": []}
