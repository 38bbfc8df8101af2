# SPDX-License-Identifier: Apache-2.0
"""Action plugin: carry out one stage of a release's change, wait where it says so, and name what that has changed."""

from __future__ import annotations

import time
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
    """Work in this very process: the library is loaded."""

    SPEC: ClassVar[dict[str, Any]] = {
        "release": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "stage": {"type": "dict", "required": True},
        "waits": {"type": "list", "elements": "dict", "default": []},
        "timeout": {"type": "int", "required": True},
        "settle": {"type": "int", "required": True},
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return when the stage is done; fail when pods cannot be Ready, or when time is up."""
        from slipway.cluster.client import Cluster
        from slipway.release.stage import Rollout

        started = time.monotonic()
        changes = Rollout(
            Cluster(access.given(arguments)),
            arguments["release"],
            arguments["namespace"],
            arguments["timeout"],
            arguments["settle"],
        ).carry_out(arguments["stage"], arguments["waits"])
        return {"changed": bool(changes), "changes": changes, "seconds": round(time.monotonic() - started, 1)}
