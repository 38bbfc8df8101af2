# SPDX-License-Identifier: Apache-2.0
"""Action plugin: look at a cluster, and plan what to ask a release on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Read only; what is planned is plain data."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give the plan, and the client pods that it needs."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "facts": {"type": "dict", "required": True},
                "kubeconfig": {"type": "path", "required": True},
                "paths": {"type": "dict", "default": {}},
                "tells": {"type": "bool", "default": False},
                "skip": {"type": "list", "elements": "str", "default": []},
            }
        )
        try:
            from slipway.errors import SlipwayError
        except ImportError as exc:
            raise AnsibleActionFail(
                f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook."
            ) from None
        from slipway.status.collect import UnansweredError

        try:
            result.update(changed=False, **self._planned(arguments))
        except SlipwayError as exc:
            raise AnsibleActionFail(exc.message) from None
        except UnansweredError as exc:
            raise AnsibleActionFail(f"{exc}; see `make status`") from None
        return result

    def _planned(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from slipway.prove import PROGRAM, plan
        from slipway.prove.look import look, way
        from slipway.status.collect import Api

        facts = arguments["facts"]
        api = Api(Path(arguments["kubeconfig"]))
        given = {name: arguments[name] for name in ("paths", "tells", "skip")}
        found = look(api, facts, **given, away=way)
        planned = plan(facts, found.environment)
        clients = {name: {**pod, "node": ""} for name, pod in planned["pods"].items()}
        if any(each["by"] == "addresses" for each in planned["experiments"]):
            clients["addresses"] = {"sidecar": False, "labels": {}, "node": found.node}
        return {
            "plan": planned,
            "targets": found.targets,
            "clients": clients,
            "namespace": found.namespace,
            "stale": found.stale,
            "sink": found.sink or [],
            "limiter": found.limiter or {},
            "alertmanager": facts["alertmanager"] or "",
            "program": PROGRAM.read_text(encoding="utf-8"),
        }
