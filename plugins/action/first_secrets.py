# SPDX-License-Identifier: Apache-2.0
"""Action plugin: Secrets that pods would wait for."""

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
MANAGER = "slipway-first"


class ActionModule(ClusterAction):
    """Hold keys in this very process; nothing of them is in the result."""

    SPEC: ClassVar[dict[str, Any]] = {
        "namespace": {"type": "str", "required": True},
        "secrets": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "random": {"type": "dict"},
                "webhook": {
                    "type": "dict",
                    "options": {
                        "service": {"type": "str", "required": True},
                        "authority": {"type": "str", "required": True},
                    },
                },
            },
            "mutually_exclusive": [["random", "webhook"]],
            "required_one_of": [["random", "webhook"]],
        },
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Apply those that are not there, or have no values."""
        from slipway.cluster.apply import Applier
        from slipway.cluster.client import Cluster

        namespace = str(arguments["namespace"])
        applier = Applier(Cluster(access.given(arguments)), patience=10, manager=MANAGER)
        found = {item["metadata"]["name"] for item in applier.look("v1", "Secret", namespace) if item.get("data")}
        missing = [secret for secret in arguments["secrets"] if secret["name"] not in found]
        if missing and not self._task.check_mode:
            applier.apply(
                [
                    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
                    *(_made(secret, namespace) for secret in missing),
                ]
            )
        return {"changed": bool(missing), "made": [str(secret["name"]) for secret in missing]}


def _made(secret: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    from slipway.parts.kept import token
    from slipway.parts.selfsigned import make_pair

    if secret["random"]:
        values = {str(key): token(int(length)).encode() for key, length in secret["random"].items()}
    else:
        service = f"{secret['webhook']['service']}.{namespace}.svc"
        values = make_pair(str(secret["webhook"]["authority"]), service, dt.datetime.now(dt.UTC))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": str(secret["name"]), "namespace": namespace},
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
    }
