# SPDX-License-Identifier: Apache-2.0
"""Action plugin: Istio's manifests, rendered once for each istioctl and its settings."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

try:
    from slipway.derived import derived, which
    from slipway.errors import SlipwayError
    from slipway.mesh import manifests
    from slipway.plugin import LocalAction
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None

# Seconds; it takes one.
PATIENCE = 300


class ActionModule(LocalAction):
    """Work in this very process."""

    SPEC: ClassVar[dict[str, Any]] = {
        "istioctl": {"type": "path", "required": True},
        "operator": {"type": "str", "required": True},
        "values": {"type": "dict", "default": {}},
    }

    def work(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Give the file of the objects."""
        program = Path(arguments["istioctl"])
        wanted = manifests.operator(str(arguments["operator"]), arguments["values"])
        parts = [which(program), wanted.encode(), Path(manifests.__file__).read_bytes()]
        return {"path": str(derived("mesh", parts, lambda: _rendered(program, wanted)))}


def _rendered(program: Path, wanted: str) -> str:
    command = [str(program), "manifest", "generate", "--filename", "-"]
    try:
        ended = subprocess.run(
            command, input=wanted, capture_output=True, encoding="utf-8", timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise SlipwayError("istioctl-refuses", f"{program} cannot be run: {exc}") from exc
    if ended.returncode:
        reason = manifests.refusal(ended.stderr)
        raise SlipwayError(
            "istioctl-refuses", f"{program} refuses istio_values, or another setting of role istio: {reason}"
        )
    return json.dumps(manifests.objects(ended.stdout))
