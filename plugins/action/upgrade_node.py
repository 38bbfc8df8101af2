"""upgrade_node: the turn of a node in an upgrade. Options and results: plugins/modules/upgrade_node.py."""

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
        "state": {"type": "str", "choices": ["begun", "ended", "failed"], "required": True},
        "version": {"type": "str", "default": ""},
        "force": {"type": "bool", "default": False},
        "gateway": {"type": "str", "default": ""},
        "timeout": {"type": "int", "default": 300},
    }
    RULES: ClassVar[dict[str, Any]] = {"required_if": [("state", "ended", ["version"])]}

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Do what the state says."""
        from slipway.cluster.client import Cluster
        from slipway.cluster.turn import Turn, state

        cluster = Cluster(access.given(arguments))
        turn = Turn(
            cluster, arguments["node"], arguments["timeout"], forced=arguments["force"], say=self._display.display
        )
        if self._task.check_mode:
            return {"changed": False, "runs": []}
        if arguments["state"] == "begun":
            return {"changed": turn.begin(arguments["gateway"]), "runs": []}
        if arguments["state"] == "ended":
            return {"changed": turn.end(arguments["version"], arguments["gateway"]), "runs": []}
        return {"changed": turn.open(), "runs": state(cluster)}
