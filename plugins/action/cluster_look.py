# SPDX-License-Identifier: Apache-2.0
"""Action plugin: read objects of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Work in this very process: to start another one, and to load a library, costs more than all the rest."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give the objects."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "kubeconfig": {"type": "path", "required": True},
                "api_version": {"type": "str", "default": "v1"},
                "kind": {"type": "str", "required": True},
                "namespace": {"type": "str", "default": ""},
                "name": {"type": "str", "default": ""},
                "fields": {"type": "list", "elements": "str", "default": []},
                "labels": {"type": "list", "elements": "str", "default": []},
                "wait": {"type": "int", "default": 0},
                "enough": {"type": "int"},
                "hidden": {"type": "list", "elements": "str", "default": []},
            }
        )
        try:
            from slipway.cluster.apply import Applier, without
            from slipway.cluster.client import Cluster
            from slipway.errors import SlipwayError
        except ImportError as exc:
            raise AnsibleActionFail(
                f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook."
            ) from None
        try:
            version, kind, namespace, name = (arguments[key] for key in ("api_version", "kind", "namespace", "name"))
            applier = Applier(Cluster(Path(arguments["kubeconfig"])))
            if arguments["wait"] and not self._task.check_mode:
                place = {"apiVersion": version, "kind": kind, "metadata": {"namespace": namespace, "name": name}}
                applier.rolled_out([place], arguments["wait"], enough=arguments["enough"])
            found = applier.look(version, kind, namespace, name, arguments["fields"], arguments["labels"])
        except SlipwayError as exc:
            raise AnsibleActionFail(exc.message) from None
        result.update(changed=False, resources=[without(item, arguments["hidden"]) for item in found])
        return result
