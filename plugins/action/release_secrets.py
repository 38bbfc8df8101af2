# SPDX-License-Identifier: Apache-2.0
"""Action plugin: the Secrets of a release, with values from the environment, from variables, or made up once."""

from __future__ import annotations

import os
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
    """Hold values in this very process; the task needs ``no_log``."""

    SPEC: ClassVar[dict[str, Any]] = {
        "release": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "labels": {"type": "dict", "required": True},
        "secrets": {"type": "list", "elements": "dict", "required": True, "no_log": False},
        "revisions": {"type": "dict", "default": {}},
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Give the Secrets that have to be applied."""
        from slipway.errors import marked
        from slipway.page.read import dotted
        from slipway.release.judge import secret_values
        from slipway.release.look import ReleaseClient
        from slipway.release.render import render

        namespace, wanted = arguments["namespace"], arguments["secrets"]
        names = [source.get("variable") for secret in wanted for source in secret["keys"].values()]
        values = {name: self._templar.template(variables[name]) for name in names if name and name in variables}
        cluster = ReleaseClient(access.given(arguments))
        present = cluster.present_secrets(namespace, [one["name"] for one in wanted if not one["existing"]])
        whose = f"{namespace}/{arguments['release']}"
        made, faults = secret_values(wanted, present, whose, os.environ, values, arguments["revisions"])
        if faults:
            told = [marked(f"{dotted(fault.key)}: {fault.what}", fault.id) for fault in faults]
            raise AnsibleActionFail("\n".join(told), result={"error_id": faults[0].id})
        given = {"namespace": namespace, "labels": arguments["labels"]}
        objects = [
            item
            for one in made
            for item in render(
                "secret", name=one.name, type=one.type, data=one.data, annotations=one.annotations, **given
            )
        ]
        return {"changed": False, "objects": objects, "_ansible_no_log": True}
