# SPDX-License-Identifier: Apache-2.0
"""Action plugin: apply a list of objects to the cluster, or take it away, and say what that has changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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
    """Work in this very process: to start another one, and to load a library, costs more than all the rest."""

    SPEC: ClassVar[dict[str, Any]] = {
        "definition": {"type": "raw", "aliases": ["resource_definition"]},
        "src": {"type": "path"},
        "part": {"type": "str", "default": ""},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "patience": {"type": "float", "default": 10},
        "wait": {"type": "bool", "default": False},
        "wait_timeout": {"type": "int", "default": 180},
    }
    RULES: ClassVar[dict[str, Any]] = {
        "required_one_of": [["definition", "src", "part"]],
        "mutually_exclusive": [["definition", "src"]],
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Apply or take away, wait where that is asked for, and give back what is there now."""
        from slipway.cluster.apply import Applier
        from slipway.cluster.client import Cluster
        from slipway.cluster.objects import shown, without
        from slipway.cluster.prune import Part, labelled
        from slipway.difference import written

        dry_run = bool(self._task.check_mode)
        waits = arguments["wait"] and not dry_run
        applier = Applier(Cluster(access.given(arguments)), dry_run, arguments["patience"])
        part = arguments["part"]
        given = [labelled(item, part) for item in self._given(arguments)]
        # A definition may come to no objects at all: that is not the wish to take the whole part away.
        whole = part and not {"definition", "resource_definition", "src"} & set(self._task.args)
        if arguments["state"] == "absent" and whole:
            names, kept = Part(applier, part).remove(arguments["wait_timeout"])
            return {"changed": bool(names), "changes": names, "result": {"results": []}, "kept": kept}
        if arguments["state"] == "absent":
            removed = applier.remove(given)
            if waits:
                applier.gone(given, arguments["wait_timeout"])
            pairs: list[tuple[str, Any, Any]] = [(one.name, one.before, None) for one in removed if one.changed]
            objects = []
        else:
            applied = applier.apply(given)
            if waits:
                applier.wait(applied, arguments["wait_timeout"])
            pairs = [(one.name, one.before, one.after) for one in applied if one.changed]
            # Definitions are large, and nobody asks for them again.
            objects = [shown(without(one.live)) for one in applied if one.live["kind"] != "CustomResourceDefinition"]
        result: dict[str, Any] = {"changed": bool(pairs), "changes": [name for name, _, _ in pairs]}
        result["result"] = {"results": objects}
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
        return result

    def _given(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """Give the objects of the definition, or of the file that has it."""
        from slipway.cluster.objects import read
        from slipway.errors import SlipwayError

        if not arguments["src"]:
            return read(arguments["definition"])
        path = self._find_needle("files", arguments["src"])
        try:
            return read(Path(path).read_text(encoding="utf-8"))
        except SlipwayError as exc:
            raise SlipwayError(exc.id, f"{path}: {exc.text}") from exc
