# SPDX-License-Identifier: Apache-2.0
"""Action plugin: carry out one stage of a release's change, wait where it says so, and name what that has changed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Work in this very process: the library is loaded."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return when the stage is done; fail when pods cannot be Ready, or when time is up."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "kubeconfig": {"type": "path", "required": True},
                "release": {"type": "str", "required": True},
                "namespace": {"type": "str", "required": True},
                "stage": {"type": "dict", "required": True},
                "waits": {"type": "list", "elements": "dict", "default": []},
                "timeout": {"type": "int", "required": True},
                "settle": {"type": "int", "required": True},
            }
        )
        from slipway.cluster.client import Cluster
        from slipway.errors import SlipwayError
        from slipway.release.stage import Rollout

        started = time.monotonic()
        try:
            changes = Rollout(
                Cluster(Path(arguments["kubeconfig"])),
                arguments["release"],
                arguments["namespace"],
                arguments["timeout"],
                arguments["settle"],
            ).carry_out(arguments["stage"], arguments["waits"])
        except SlipwayError as exc:
            raise AnsibleActionFail(exc.message) from None
        result.update(changed=bool(changes), changes=changes, seconds=round(time.monotonic() - started, 1))
        return result
