# SPDX-License-Identifier: Apache-2.0
"""Action plugin: rules that Prometheus could not read are refused before they are applied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

try:
    from slipway.derived import derived, which
    from slipway.errors import SlipwayError
    from slipway.parts import rules
    from slipway.plugin import LocalAction
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None


class ActionModule(LocalAction):
    """Work in this very process."""

    SPEC: ClassVar[dict[str, Any]] = {
        "promtool": {"type": "path", "required": True},
        "rules": {"type": "dict", "required": True},
    }

    def work(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Fail with each rule that is wrong."""
        program, groups = Path(arguments["promtool"]), arguments["rules"]
        parts = [which(program), json.dumps(groups, sort_keys=True).encode(), Path(rules.__file__).read_bytes()]
        derived("rules", parts, lambda: _read(program, groups))
        return {}


def _read(program: Path, groups: dict[str, Any]) -> str:
    """Have the program read them; what it can read needs no words."""
    found = rules.faults(program, groups)
    if found:
        raise SlipwayError("wrong-rules", "\n".join(["Prometheus could not read these rules:", *found]))
    return ""
