"""cluster_trust: what a cluster keeps of its CAs while they are replaced. Options: plugins/modules/cluster_trust.py."""

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
        "state": {"type": "str", "choices": ["planned", "brought", "restarted"], "required": True},
        "looked": {"type": "dict"},
        "step": {"type": "str", "choices": ["accept", "issue", "drop"]},
        "files": {"type": "dict"},
        "everything": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 180},
    }
    RULES: ClassVar[dict[str, Any]] = {
        "required_if": [
            ("state", "planned", ["looked"]),
            ("state", "brought", ["step", "files"]),
            ("state", "restarted", ["files"]),
        ]
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Do what the state says."""
        from slipway.cluster.client import Cluster
        from slipway.cluster.trusting import Rotation

        rotation = Rotation(Cluster(access.given(arguments)), arguments["timeout"], say=self._display.display)
        if arguments["state"] == "planned":
            planned, lines = rotation.plan(arguments["looked"])
            for line in [] if self._task.check_mode else lines:
                self._display.display(line)
            return {"changed": False, **planned, "lines": lines}
        if self._task.check_mode:
            return {"changed": False}
        if arguments["state"] == "brought":
            return {"changed": rotation.bring(arguments["step"], arguments["files"])}
        done = rotation.restart(arguments["files"], everything=arguments["everything"], force=arguments["force"])
        return {"changed": bool(done), "restarted": done}
