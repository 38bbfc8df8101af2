# SPDX-License-Identifier: Apache-2.0
"""Action plugin: a certificate for the gateway, from an authority of the cluster's own."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Work in this very process: keys stay in it and in the folder."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Make what is due, and say what that was."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "folder": {"type": "path", "required": True},
                "hosts": {"type": "list", "elements": "str", "required": True},
                "authority": {"type": "str", "required": True},
            }
        )
        from slipway.errors import SlipwayError
        from slipway.mesh import certificate as mesh_tls
        from slipway.plugin import failed

        folder, hosts, now = (
            Path(arguments["folder"]),
            [str(host) for host in arguments["hosts"]],
            dt.datetime.now(dt.UTC),
        )
        if not hosts:
            what = "a certificate is for one name at least, e.g. hosts: ['*.slipway.local']"
            raise failed(SlipwayError("certificate-not-made", what))
        try:
            if self._task.check_mode:
                made = mesh_tls.due(folder, hosts, now)
            else:
                made = mesh_tls.renew(folder, hosts, str(arguments["authority"]), now)
        except (OSError, ValueError) as exc:
            what = f"{folder}: the gateway's certificate cannot be made: {exc}"
            raise failed(SlipwayError("certificate-not-made", what)) from None
        result.update(changed=bool(made), made=made)
        return result
