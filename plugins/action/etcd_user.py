"""etcd_user: leave out a call that a machine needs nothing of. Options: plugins/modules/etcd_user.py."""

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
    """Where etcd runs as its user, and none of its files was touched, there is nothing to do."""

    MODULE = "etcd_user"
    NOTHING: ClassVar[dict[str, Any]] = {"moved": False}
