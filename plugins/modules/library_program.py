# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: library_program
short_description: Run a program of Slipway's library in Ansible's own process
description:
  - Does what C(python -m slipway.lab.plan) does, with the library that Ansible has already loaded. To start another Python and to load
    it there takes longer than these programs do.
  - Runs on the computer that runs Ansible, in check mode too. So it is for programs that only look, and for those that are not asked to
    run then.
options:
  program:
    description: Which one, as C(slipway.lab.plan).
    type: str
    required: true
  arguments:
    description: Its arguments.
    type: list
    elements: str
    default: []
  stdin:
    description: What it reads.
    type: str
    default: ""
  environment:
    description: Variables of the environment for it.
    type: dict
    default: {}
author: The Slipway authors
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: Read the machine plan
  library_program:
    program: slipway.lab.plan
    arguments: [--check]
  register: planned
"""

RETURN = r"""
rc:
  description: With what it ended; another number than 0 is a failure.
  returned: always
  type: int
stdout:
  description: What it printed.
  returned: always
  type: str
stderr:
  description: What it had to say.
  returned: always
  type: str
"""
