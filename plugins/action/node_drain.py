"""node_drain: take a node out of service, or put it back. Options and results: plugins/modules/node_drain.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

try:
    from slipway.cluster import access
    from slipway.plugin import ClusterAction
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None


class ActionModule(ClusterAction):
    """Work in this very process, as on every other object of the cluster."""

    SPEC: ClassVar[dict[str, Any]] = {
        "node": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["drained", "open", "absent"], "default": "drained"},
        "force": {"type": "bool", "default": False},
        "losing": {"type": "bool", "default": False},
        "gateway": {"type": "str", "default": ""},
        "timeout": {"type": "int", "default": 300},
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Do it, or say what would be done."""
        from slipway.cluster.client import Cluster
        from slipway.cluster.drain import Drain, through_gateway

        drain = Drain(
            Cluster(access.given(arguments)),
            arguments["node"],
            arguments["timeout"],
            forced=arguments["force"],
            losing=arguments["losing"],
            say=self._display.display,
        )
        state, dry_run = arguments["state"], bool(self._task.check_mode)
        lines: list[str] = []
        if state == "drained" and dry_run:
            changed, lines = drain.plan()
        elif state == "drained":
            changed = through_gateway(arguments["gateway"], drain.run, arguments["timeout"])
        elif state == "open":
            changed = drain.open(dry_run=dry_run)
        elif dry_run:
            drain.look()
            changed = True
        else:
            changed = drain.remove()
        return {"changed": changed, "plan": lines, "left": drain.left}
