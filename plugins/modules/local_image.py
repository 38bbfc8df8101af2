# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: local_image
short_description: Take in an image that was built on this computer
description:
  - Reads an image of the local Docker, or a file that C(docker save) wrote, into the cache, with an OCI manifest.
  - Notes in C(images.json) of the state folder that the cluster's mirror has to have it; role C(mirror) puts it there.
  - Reports C(changed) when this content was not noted under its name and tag. In check mode nothing is noted.
  - Runs on the computer that runs Ansible.
options:
  image:
    description: Name of an image of the local Docker, or the path of a tar file (C(./image.tar)).
    type: str
    required: true
  state:
    description: Folder of what runs leave on this computer.
    type: path
    required: true
  bundled:
    description: Images of the bundle as name:tag, which cannot be had a second time.
    type: list
    elements: str
    default: []
  architectures:
    description: Architectures of the nodes. An image for none of them is refused; one that some of them cannot run is taken, with a warning.
    type: list
    elements: str
    default: [amd64]
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Take the image in
  local_image:
    image: shop/web:dev
    state: .slipway
  register: image
"""

RETURN = r"""
name:
  description: Full name of the image, without tag.
  returned: success
  type: str
tag:
  description: Its tag.
  returned: success
  type: str
digest:
  description: Digest of its manifest.
  returned: success
  type: str
pinned:
  description: Name of exactly this content, name@digest.
  returned: success
  type: str
registry:
  description: Registry that its name says.
  returned: success
  type: str
"""
