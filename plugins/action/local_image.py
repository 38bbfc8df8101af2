# SPDX-License-Identifier: Apache-2.0
"""Action plugin `local_image`: a thin shell around slipway.artifacts.local (documented in modules/local_image.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Work on the user's machine: the image is there, and the cache and the state folder are."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take an image in, and note that the mirror has to have it."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "image": {"type": "str", "required": True},
                "state": {"type": "path", "required": True},
                "bundled": {"type": "list", "elements": "str", "default": []},
                "architectures": {"type": "list", "elements": "str", "default": ["amd64"]},
            }
        )
        from slipway.artifacts import local
        from slipway.artifacts.cache import default_root
        from slipway.errors import SlipwayError
        from slipway.plugin import failed

        root = default_root() / local.FOLDER
        try:
            image, changed = local.load(
                arguments["image"].strip(),
                root,
                Path(arguments["state"]),
                arguments["bundled"],
                architectures=arguments["architectures"],
                write=not self._task.check_mode,
            )
        except SlipwayError as exc:
            raise failed(exc) from None
        result.update(changed=changed, name=image.name, tag=image.tag, digest=image.digest, pinned=image.pinned)
        result["registry"] = image.name.partition("/")[0]
        if others := local.not_for(image, root, arguments["architectures"]):
            self._display.warning(
                f"{image.reference} cannot run on nodes that are {', '.join(others)}, which this cluster has too: "
                "keep its pods on the others with the label kubernetes.io/arch"
            )
        return result
