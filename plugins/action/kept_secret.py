# SPDX-License-Identifier: Apache-2.0
"""Action plugin: a Secret whose values are made once and stay."""

from __future__ import annotations

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
    """Hold values in this very process; nothing of them is in the result but sums."""

    SPEC: ClassVar[dict[str, Any]] = {
        "namespace": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "labels": {"type": "dict", "default": {}},
        "values": {"type": "dict", "default": {}},
        "random": {"type": "dict", "required": True},
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Read the Secret, and apply it where a value or a label is missing or another one."""
        from slipway.cluster.apply import Applier
        from slipway.cluster.client import Cluster
        from slipway.parts.kept import completed, sha1

        namespace, name = str(arguments["namespace"]), str(arguments["name"])
        random = {str(key): int(length) for key, length in arguments["random"].items()}
        fixed = {str(key): str(value) for key, value in arguments["values"].items()}
        labels = {str(key): str(value) for key, value in arguments["labels"].items()}
        applier = Applier(Cluster(access.given(arguments)), patience=10)
        found = applier.look("v1", "Secret", namespace, name)
        present = found[0].get("data") or {} if found else {}
        data, new = completed(present, fixed, random)
        had = found[0]["metadata"].get("labels") or {} if found else {}
        changed = bool(new) or any(had.get(key) != value for key, value in labels.items())
        if changed and not self._task.check_mode:
            metadata = {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
            applier.apply([secret])
        return {"changed": changed, "keys": sorted(new), "sha1": sha1(data, random)}
