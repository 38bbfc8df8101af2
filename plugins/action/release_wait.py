# SPDX-License-Identifier: Apache-2.0
"""Action plugin: wait until the workloads of a release are rolled out, or say what keeps them from it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_PAUSE = 0.5


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
        from slipway.release_apply import PATIENCE, address, judge, not_ready
        from slipway.release_cluster import Cluster

        cluster, namespace = Cluster(Path(arguments["kubeconfig"])), arguments["namespace"]
        until = time.monotonic() + arguments["timeout"]
        since: dict[str, float] = {}
        while True:
            deployments = cluster.items(address("apps/v1", "Deployment", namespace)) or []
            if not judge(arguments["deployments"], deployments).waiting:
                return
            sets = cluster.items(address("apps/v1", "ReplicaSet", namespace)) or []
            pods = cluster.items(address("v1", "Pod", namespace)) or []
            judged = judge(arguments["deployments"], deployments, sets, pods)
            now = time.monotonic()
            since = {name: since.get(name, now) for name in judged.stuck}
            for name, reason in judged.stuck.items():
                if reason.startswith("!") or now - since[name] >= PATIENCE:
                    raise self._failed(namespace, f"Deployment {name} cannot start: {reason.removeprefix('!')}")
            if now > until:
                whys = [why for pod in pods if (why := not_ready(pod))]
                text = f"not rolled out within {arguments['timeout']} s: {', '.join(judged.waiting)}"
                raise self._failed(namespace, "\n".join([text, *list(judged.stuck.values()), *whys[:5]]))
            time.sleep(_PAUSE)

    def _failed(self, namespace: str, text: str) -> Exception:
        from slipway.errors import SlipwayError

        return SlipwayError(
            f"{text}\nThe routes are as they were: what served before serves on.\n"
            f"look at: kubectl --namespace {namespace} get pods; kubectl --namespace {namespace} get events"
        )
