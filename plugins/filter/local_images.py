"""Filter that lists what was loaded onto a cluster's mirror; the answer comes from slipway.artifacts.local."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from slipway.artifacts import local
from slipway.artifacts.cache import default_root
from slipway.errors import SlipwayError

DOCUMENTATION = r"""
name: local_images
short_description: List the images that were loaded onto the mirror of a cluster
description: Each with C(name), C(tag), C(digest) and C(blobs), which have C(name) and C(path) on this computer.
options:
  _input: {description: Folder of what runs leave on this computer (slipway_state)., type: path, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ slipway_state | local_images | map(attribute='name') }}"
"""
RETURN = r"""
_value: {description: The images., type: list, elements: dict}
"""


def local_images(state: str) -> list[dict[str, Any]]:
    """List the images, each with its files."""
    try:
        return local.on_the_mirror(Path(state), default_root() / local.FOLDER)
    except SlipwayError as exc:
        raise AnsibleFilterError(exc.message) from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"local_images": local_images}
