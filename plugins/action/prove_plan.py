# SPDX-License-Identifier: Apache-2.0
"""Action plugin: look at a cluster, and plan what to ask a release on it."""

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
    """Read only; what is planned is plain data."""

    SPEC: ClassVar[dict[str, Any]] = {
        "facts": {"type": "dict", "required": True},
        "paths": {"type": "dict", "default": {}},
        "tells": {"type": "bool", "default": False},
        "skip": {"type": "list", "elements": "str", "default": []},
        "token": {"type": "bool", "default": False},
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Give the plan, and the client pods that it needs."""
        return {"changed": False, **self._planned(arguments)}

    def _planned(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from slipway.cluster.reader import Reader
        from slipway.prove import PROGRAM, plan
        from slipway.prove.look import look, way

        facts = arguments["facts"]
        api = Reader(access.given(arguments))
        given = {name: arguments[name] for name in ("paths", "tells", "skip", "token")}
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
            "hooks": found.hooks or [],
            "limiter": found.limiter or {},
            "alertmanager": facts["alertmanager"] or "",
            "program": PROGRAM.read_text(encoding="utf-8"),
        }
