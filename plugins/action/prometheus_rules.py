# SPDX-License-Identifier: Apache-2.0
"""Action plugin: rules that Prometheus could not read are refused before they are applied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

try:
    from slipway.derived import derived, which
    from slipway.errors import SlipwayError
    from slipway.parts import rules
    from slipway.plugin import failed
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None

SPEC: dict[str, Any] = {
    "promtool": {"type": "path", "required": True},
    "rules": {"type": "dict", "required": True},
}


class ActionModule(ActionBase):
    """Work in this very process."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with each rule that is wrong."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(argument_spec=SPEC)
        program, groups = Path(arguments["promtool"]), arguments["rules"]
        parts = [which(program), json.dumps(groups, sort_keys=True).encode(), Path(rules.__file__).read_bytes()]
        try:
            derived("rules", parts, lambda: _read(program, groups))
        except SlipwayError as exc:
            raise failed(exc) from None
        return {**result, "changed": False}


def _read(program: Path, groups: dict[str, Any]) -> str:
    """Have the program read them; what it can read needs no words."""
    found = rules.faults(program, groups)
    if found:
        raise SlipwayError("wrong-rules", "\n".join(["Prometheus could not read these rules:", *found]))
    return ""
