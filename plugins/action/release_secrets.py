# SPDX-License-Identifier: Apache-2.0
"""Action plugin: the Secrets of a release, with values from the environment, from variables, or made up once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Hold values in this very process; the task needs ``no_log``."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give the Secrets that have to be applied."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result["_ansible_no_log"] = True
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "kubeconfig": {"type": "path", "required": True},
                "release": {"type": "str", "required": True},
                "namespace": {"type": "str", "required": True},
                "labels": {"type": "dict", "required": True},
                "secrets": {"type": "list", "elements": "dict", "required": True, "no_log": False},
                "revisions": {"type": "dict", "default": {}},
            }
        )
        from slipway.errors import SlipwayError
        from slipway.page.read import dotted
        from slipway.release.judge import secret_values
        from slipway.release.look import Cluster
        from slipway.release.render import render

        namespace, wanted = arguments["namespace"], arguments["secrets"]
        names = [source.get("variable") for secret in wanted for source in secret["keys"].values()]
        known = task_vars or {}
        variables = {name: self._templar.template(known[name]) for name in names if name and name in known}
        try:
            cluster = Cluster(Path(arguments["kubeconfig"]))
            present = cluster.present_secrets(namespace, [one["name"] for one in wanted if not one["existing"]])
        except SlipwayError as exc:
            raise AnsibleActionFail(exc.message) from None
        whose = f"{namespace}/{arguments['release']}"
        made, faults = secret_values(wanted, present, whose, os.environ, variables, arguments["revisions"])
        if faults:
            raise AnsibleActionFail("\n".join(f"{dotted(fault.key)}: {fault.what}" for fault in faults))
        given = {"namespace": namespace, "labels": arguments["labels"]}
        objects = [
            item
            for one in made
            for item in render("secret", name=one.name, data=one.data, annotations=one.annotations, **given)
        ]
        result.update(changed=False, objects=objects)
        return result
