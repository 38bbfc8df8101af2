"""node_settings: give nodes labels and taints. Options and results: plugins/modules/node_settings.py."""

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
    """Work in this very process, as on every other object of the cluster."""

    SPEC: ClassVar[dict[str, Any]] = {
        "nodes": {"type": "dict", "required": True},
        "controllers": {"type": "list", "elements": "str", "default": []},
        "workers": {"type": "list", "elements": "str", "default": []},
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Do it, or say what would be done."""
        from slipway.cluster.client import Cluster
        from slipway.cluster.node_settings import apply, shown, wanted
        from slipway.difference import written

        page = wanted(arguments["nodes"], controllers=arguments["controllers"], workers=arguments["workers"])
        pairs = apply(Cluster(access.given(arguments)), page, dry_run=bool(self._task.check_mode))
        names = [before["metadata"]["name"] for before, _ in pairs]
        result: dict[str, Any] = {"changed": bool(pairs), "changes": names}
        if self._task.diff:
            result["diff"] = [
                {"before": written(shown(before)), "after": written(shown(after)), "before_header": name}
                for name, (before, after) in zip(names, pairs, strict=True)
            ]
        return result
