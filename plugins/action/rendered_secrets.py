# SPDX-License-Identifier: Apache-2.0
"""Action plugin: the Secrets that a release's chart or manifests have, rendered again, so that no plan holds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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
    """Hold values in this very process; the task needs ``no_log``."""

    SPEC: ClassVar[dict[str, Any]] = {
        "page": {"type": "str", "required": True},
        "name": {"type": "str", "default": ""},
        "namespace": {"type": "str", "default": ""},
        "programs": {"type": "dict", "default": {}},
        "only": {"type": "list", "elements": "str", "required": True},
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Give the Secrets that are named."""
        from slipway.contents.held import Held
        from slipway.paths import page_path
        from slipway.release.look import ReleaseClient

        objects = []
        if arguments["only"]:
            cluster = ReleaseClient(access.given(arguments))
            made = Held(page_path(Path(arguments["page"])), arguments, cluster).made()
            objects = [item for item in made.secrets if item["metadata"]["name"] in arguments["only"]]
        return {"changed": False, "objects": objects, "_ansible_no_log": True}
