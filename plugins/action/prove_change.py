# SPDX-License-Identifier: Apache-2.0
"""Action plugin: let clients use a release while it changes, and judge what they met."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

try:
    from slipway.cluster import access
    from slipway.errors import SlipwayError
    from slipway.plugin import ClusterAction
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None


class ActionModule(ClusterAction):
    """A stream goes on between its tasks, as a process of its own that ends with the run."""

    SPEC: ClassVar[dict[str, Any]] = {
        "state": {"type": "str", "choices": ["planned", "begun", "ended"], "required": True},
        "folder": {"type": "path", "required": True},
        "facts": {"type": "dict"},
        "kubectl": {"type": "path"},
        "paths": {"type": "dict", "default": {}},
        "tells": {"type": "bool", "default": False},
        "plan": {"type": "dict"},
        "target": {"type": "str"},
        "namespace": {"type": "str"},
        "alone": {"type": "bool", "default": False},
    }
    RULES: ClassVar[dict[str, Any]] = {
        "required_if": [
            ("state", "planned", ["facts"]),
            ("state", "begun", ["plan", "target", "namespace", "kubectl"]),
            ("state", "ended", ["plan"]),
        ]
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Plan, begin or end a stream."""
        return {"changed": False, **getattr(self, f"_{arguments['state']}")(arguments)}

    def _folder(self, arguments: dict[str, Any], of: dict[str, Any]) -> Path:
        from slipway.prove.report import place

        return place(Path(arguments["folder"]), of["release"], of["namespace"])

    def _planned(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from slipway.cluster.reader import Reader
        from slipway.prove import PROGRAM
        from slipway.prove.beside import PROGRAM as STREAM
        from slipway.prove.beside import looked
        from slipway.prove.look import way

        facts = arguments["facts"]
        folder = self._folder(arguments, facts)
        given = {name: arguments[name] for name in ("paths", "tells")}
        found = looked(Reader(access.given(arguments)), facts, folder, away=way, **given)
        programs = {"program": PROGRAM, "stream": STREAM}
        return {**found, **{name: path.read_text(encoding="utf-8") for name, path in programs.items()}}

    def _begun(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from slipway.prove.beside import STEPS, begin
        from slipway.prove.run import Kubectl

        plan, program = arguments["plan"], Path(arguments["kubectl"])
        if plan["by"] == "addresses" and not program.is_file():
            raise SlipwayError(
                "program-missing", f"{program} is not there; `make up` puts it there, else -e prove_kubectl=…"
            )
        pods = Kubectl(program, arguments["namespace"], **access.of_kubectl(arguments))
        folder = self._folder(arguments, plan)
        # The parent of a task's process is the run itself.
        run = os.getppid()
        begin(plan, arguments["target"], folder, pod=pods.held("addresses"), pid=run, environment=pods.environment)
        return {"slipway_steps": str(folder / STEPS)}

    def _ended(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from slipway.prove.beside import alone, end
        from slipway.prove.report import write
        from slipway.prove.terminal import failures, summary

        plan = arguments["plan"]
        folder = self._folder(arguments, plan)
        change = end(plan, folder)
        if not change:
            return {"change": {}, "lines": [], "slipway_steps": ""}
        report = alone(plan, change)
        code = write(report, folder)
        lines = summary(report, folder)
        if code and arguments["alone"]:
            for line in lines:
                self._display.display(line)
            raise AnsibleActionFail(failures(report, folder))
        return {"change": change, "lines": lines if arguments["alone"] else [], "slipway_steps": ""}
