# SPDX-License-Identifier: Apache-2.0
"""Action plugin: the first certificate of a webhook that renews its own."""

from __future__ import annotations

import base64
import datetime as dt
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

# Whoever applies the rest of the part must not own the values: it would take them away.
MANAGER = "slipway-webhook"


class ActionModule(ClusterAction):
    """Hold keys in this very process; nothing of them is in the result."""

    SPEC: ClassVar[dict[str, Any]] = {
        "namespace": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "service": {"type": "str", "required": True},
        "authority": {"type": "str", "required": True},
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Apply the Secret if it is not there, or has no values."""
        from slipway.cluster.apply import Applier
        from slipway.cluster.client import Cluster
        from slipway.parts.selfsigned import make_pair

        namespace, name = str(arguments["namespace"]), str(arguments["name"])
        applier = Applier(Cluster(access.given(arguments)), patience=10, manager=MANAGER)
        found = applier.look("v1", "Secret", namespace, name)
        if found and found[0].get("data"):
            return {"changed": False}
        if not self._task.check_mode:
            service = f"{arguments['service']}.{namespace}.svc"
            values = make_pair(str(arguments["authority"]), service, dt.datetime.now(dt.UTC))
            data = {key: base64.b64encode(text).decode() for key, text in values.items()}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}
            place = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            applier.apply([place, {**secret, "type": "Opaque", "data": data}])
        return {"changed": True}
