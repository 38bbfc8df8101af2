# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: local_files
short_description: Write files on the computer that runs Ansible
description:
  - Writes them in Ansible's own process, as the user who runs it, each as a whole. A module would start another Python for this.
  - A file that has the wanted content and permissions is left alone.
options:
  files:
    description: The files, in their order.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Where it is. Folders above it are made., type: path, required: true}
      content: {description: Its text. A difference is shown., type: str}
      secret: {description: Its text. No difference is shown., type: str}
      mode: {description: Its permissions., type: str, default: "0644"}
author: The Slipway authors
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Keep a token
  local_files:
    files:
      - {path: .slipway/token, secret: "{{ token }}", mode: "0600"}
  no_log: true
"""

RETURN = r"""
written:
  description: Files that were written (in check mode, that would be).
  returned: success
  type: list
  elements: str
"""
