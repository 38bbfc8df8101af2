"""shared_folder: leave out a call that a machine needs nothing of. Options: plugins/modules/shared_folder.py."""

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
    """Where the folder and the volumes are as they were, there is nothing to do or to tell."""

    MODULE = "shared_folder"
    NOTHING: ClassVar[dict[str, Any]] = {"mounted": True, "opened": []}
