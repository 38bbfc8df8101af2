# SPDX-License-Identifier: Apache-2.0
"""Action plugin: a Secret whose values are made once and stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Hold values in this very process; nothing of them is in the result but sums."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read the Secret, and apply it where a value or a label is missing or another one."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "kubeconfig": {"type": "path", "required": True},
                "namespace": {"type": "str", "required": True},
                "name": {"type": "str", "required": True},
                "labels": {"type": "dict", "default": {}},
                "values": {"type": "dict", "default": {}},
                "random": {"type": "dict", "required": True},
            }
        )
        from slipway.cluster.apply import Applier
        from slipway.cluster.client import Cluster
        from slipway.errors import SlipwayError
        from slipway.parts.kept import completed, sha1

        namespace, name = str(arguments["namespace"]), str(arguments["name"])
        random = {str(key): int(length) for key, length in arguments["random"].items()}
        fixed = {str(key): str(value) for key, value in arguments["values"].items()}
        labels = {str(key): str(value) for key, value in arguments["labels"].items()}
        try:
            applier = Applier(Cluster(Path(arguments["kubeconfig"])), patience=10)
            found = applier.look("v1", "Secret", namespace, name)
            present = found[0].get("data") or {} if found else {}
            data, new = completed(present, fixed, random)
            had = found[0]["metadata"].get("labels") or {} if found else {}
            changed = bool(new) or any(had.get(key) != value for key, value in labels.items())
            if changed and not self._task.check_mode:
                metadata = {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})}
                secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
                applier.apply([secret])
        except SlipwayError as exc:
            raise AnsibleActionFail(exc.message) from None
        result.update(changed=changed, keys=sorted(new), sha1=sha1(data, random))
        return result
