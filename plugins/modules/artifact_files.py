#!/usr/bin/python
"""Put files of the bundle on a machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifact_files
short_description: Put files of the bundle on a machine
description:
  - Fetches every item that is not there yet, several at once, checks its sha256 sum and moves it into place in one step.
  - What was placed is remembered on the machine, so that sums are checked when an item arrives and not on every run.
  - A file that was changed or removed behind our back is fetched again.
options:
  files:
    description: Items, as the filter P(bundle_files#filter) gives them, each with its place.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the item., type: str, required: true}
      version: {description: Version of the item., type: str, default: ""}
      url: {description: "Where it is: http, https or file.", type: str, required: true}
      sha256: {description: Sum of what the URL gives., type: str, required: true}
      size: {description: Bytes., type: int}
      source: {description: V(built) or V(upstream)., type: str}
      dest: {description: "File to write; the folder to unpack into when O(files[].archive) is set.", type: path, required: true}
      mode: {description: Permissions of what is placed., type: str, default: "0755"}
      archive: {description: Whether the item is a tar archive., type: bool, default: false}
      strip: {description: Leading folders to leave out of the members' names., type: int, default: 0}
      only: {description: Shell patterns of the members to unpack; empty for all., type: list, elements: str, default: []}
      rename: {description: New names of members., type: dict, default: {}}
  record:
    description: Where the machine remembers what was placed.
    type: path
    default: /var/lib/slipway/artifacts.json
  environment:
    description: Variables that downloads go by (C(http_proxy), C(https_proxy), C(no_proxy)). Not shown, and never on a command line.
    type: dict
    default: {}
  timeout:
    description: Seconds without an answer after which a download counts as failed.
    type: int
    default: 60
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Install the kubelet
  artifact_files:
    files: "{{ manifest | bundle_files(['kubelet'], prefix) | map('combine', {'dest': '/usr/local/bin/kubelet'}) }}"
"""

RETURN = r"""
installed:
  description: Names of the items that were fetched (in check mode, that would be).
  type: list
  returned: always
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.fetch import FetchError, ensure

AT_ONCE = 3


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "version": {"type": "str", "default": ""},
                    "url": {"type": "str", "required": True},
                    "sha256": {"type": "str", "required": True},
                    "size": {"type": "int"},
                    "source": {"type": "str"},
                    "dest": {"type": "path", "required": True},
                    "mode": {"type": "str", "default": "0755"},
                    "archive": {"type": "bool", "default": False},
                    "strip": {"type": "int", "default": 0},
                    "only": {"type": "list", "elements": "str", "default": []},
                    "rename": {"type": "dict", "default": {}},
                },
            },
            "record": {"type": "path", "default": "/var/lib/slipway/artifacts.json"},
            "environment": {"type": "dict", "default": {}, "no_log": True},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )

    os.environ.update(module.params["environment"])

    def run(function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(function, items))

    try:
        names = ensure(
            module.params["files"], module.params["record"], module.params["timeout"], module.check_mode, run
        )
    except FetchError as exc:
        module.fail_json(
            msg=f"{exc}\nlook at: systemctl status nginx on the mirror, and the free space of this machine"
        )
    module.exit_json(changed=bool(names), installed=names)


if __name__ == "__main__":
    main()
