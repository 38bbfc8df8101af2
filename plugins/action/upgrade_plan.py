"""upgrade_plan: plan an upgrade of Kubernetes. Options and results: plugins/modules/upgrade_plan.py."""

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
    """Look at the cluster from here; what was read on the nodes is given."""

    SPEC: ClassVar[dict[str, Any]] = {
        "version": {"type": "str", "required": True},
        "looked": {"type": "dict", "required": True},
        "page": {"type": "list", "elements": "str", "required": True},
        "batch": {"type": "int", "default": 1},
        "force": {"type": "bool", "default": False},
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Make the plan, and print it."""
        from slipway.artifacts.catalog import Folder
        from slipway.cluster.client import Cluster
        from slipway.cluster.turn import make_plan
        from slipway.cluster.upgrade import Target
        from slipway.paths import ROOT

        catalog = Folder(ROOT / "artifacts", arguments["version"]).catalog
        known = catalog.releases()
        apis = [(one.get("parts") or {}).get("kube-apiserver") for one in arguments["looked"].values()]
        target = Target(
            arguments["version"],
            catalog.values(arguments["version"])["etcd"],
            next((catalog.values(api)["etcd"] for api in apis if api in known), ""),
            known,
            arguments["batch"],
        )
        made = make_plan(
            Cluster(access.given(arguments)),
            target,
            arguments["looked"],
            arguments["page"],
            forced=arguments["force"],
        )
        # With --check it is all that a run tells at its end.
        for line in [] if self._task.check_mode else made.lines:
            self._display.display(line)
        return {"changed": False, **made.plan.as_values(), "lines": made.lines}
