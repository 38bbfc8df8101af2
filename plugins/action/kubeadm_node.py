# SPDX-License-Identifier: Apache-2.0
"""Action plugin: keep on this computer what a cluster is being founded with, and let the module do the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Write the file before kubeadm begins, whose reach may end with it; take it back where kubeadm did not begin."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give what the module gives."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        keep = None if self._task.check_mode else self._task.args.get("keep")
        if keep:
            from slipway.lab.inventory import write_file

            write_file(Path(keep["path"]), str(keep["content"]))
        result.update(self._execute_module(task_vars=task_vars))
        if result.get("invitation"):
            # It has a token.
            result["_ansible_no_log"] = True
        if keep and result.get("failed") and not result.get("began", True):
            Path(keep["path"]).unlink(missing_ok=True)
        return result
