# SPDX-License-Identifier: Apache-2.0
"""Action plugin: apply a list of objects to the cluster, or take it away, and say what that has changed."""

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
        """Apply or take away, wait where that is asked for, and give back what is there now."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "kubeconfig": {"type": "path", "required": True},
                "definition": {"type": "raw"},
                "part": {"type": "str", "default": ""},
                "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                "patience": {"type": "float", "default": 10},
                "wait": {"type": "bool", "default": False},
                "timeout": {"type": "int", "default": 180},
            },
            required_one_of=[["definition", "part"]],
        )
        try:
            from slipway.cluster.apply import Applier, read, shown, without
            from slipway.cluster.client import Cluster
            from slipway.cluster.prune import Part, labelled
            from slipway.difference import written
            from slipway.errors import SlipwayError
        except ImportError as exc:
            raise AnsibleActionFail(
                f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook."
            ) from None
        dry_run = bool(self._task.check_mode)
        waits = arguments["wait"] and not dry_run
        try:
            applier = Applier(Cluster(Path(arguments["kubeconfig"])), dry_run, arguments["patience"])
            part = arguments["part"]
            given = [labelled(item, part) for item in read(arguments["definition"])]
            # A definition may come to no objects at all: that is not the wish to take the whole part away.
            if arguments["state"] == "absent" and part and "definition" not in self._task.args:
                names, kept = Part(applier, part).remove(arguments["timeout"])
                result.update(changed=bool(names), changes=names, objects=[], kept=kept)
                return result
            if arguments["state"] == "absent":
                removed = applier.remove(given)
                if waits:
                    applier.gone(given, arguments["timeout"])
                pairs: list[tuple[str, Any, Any]] = [(one.name, one.before, None) for one in removed if one.changed]
                objects = []
            else:
                applied = applier.apply(given)
                if waits:
                    applier.wait(applied, arguments["timeout"])
                pairs = [(one.name, one.before, one.after) for one in applied if one.changed]
                # Definitions are large, and nobody asks for them again.
                objects = [
                    shown(without(one.live)) for one in applied if one.live["kind"] != "CustomResourceDefinition"
                ]
        except SlipwayError as exc:
            raise AnsibleActionFail(exc.message) from None
        if self._task.diff:
            result["diff"] = [
                {
                    "before": written(shown(before)),
                    "after": written(shown(after)),
                    "before_header": name,
                    "after_header": name,
                }
                for name, before, after in pairs
            ]
        result.update(changed=bool(pairs), changes=[name for name, _, _ in pairs], objects=objects)
        return result
