# SPDX-License-Identifier: Apache-2.0
"""Action plugin: wait until the workloads of a release are rolled out, or say what keeps them from it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Look twice a second; nothing is changed."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return when all Deployments are rolled out; fail when one cannot be, or when time is up."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "kubeconfig": {"type": "path", "required": True},
                "namespace": {"type": "str", "required": True},
                "deployments": {"type": "list", "elements": "dict", "required": True},
                "timeout": {"type": "int", "required": True},
            }
        )
        from slipway.errors import SlipwayError

        started = time.monotonic()
        try:
            self._wait(arguments)
        except SlipwayError as exc:
            raise AnsibleActionFail(exc.message) from None
        result.update(changed=False, seconds=round(time.monotonic() - started, 1))
        return result

    def _wait(self, arguments: dict[str, Any]) -> None:
        from slipway.cluster import Cluster
        from slipway.errors import SlipwayError
        from slipway.holdups import hints
        from slipway.objects import Applier, NotRolledOutError

        namespace = arguments["namespace"]
        wanted = [
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": one["name"], "namespace": namespace}}
            for one in arguments["deployments"]
        ]
        try:
            Applier(Cluster(Path(arguments["kubeconfig"]))).rolled_out(wanted, arguments["timeout"])
        except NotRolledOutError as exc:
            works = "".join(f"\n    would work: {hint}" for hint in hints(exc.message, namespace))
            raise SlipwayError(
                f"{exc.message}{works}\nThe routes are as they were: what served before serves on.\n"
                f"look at: kubectl --namespace {namespace} get pods; kubectl --namespace {namespace} get events"
            ) from exc
