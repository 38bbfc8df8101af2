"""Documentation of the action plugin `artifacts`, which runs on the user's machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifacts
short_description: Get every file, image and Debian package a cluster needs, and make a bundle of them
description:
  - Each item is downloaded from upstream, or built from pinned Go modules and Debian packages.
  - Items are kept in the user's cache directory (E(SLIPWAY_CACHE), else C(~/.cache/slipway)); a second run does nothing.
  - Prints a line for each item while it works.
  - It is an action plugin, so it runs where Ansible runs.
author: Slipway
options:
  source:
    description: Where items come from. With V(auto) from upstream where all of its hosts answer, else built from source.
    type: str
    choices: [auto, upstream, source]
    default: auto
  accept_unverified:
    description: Take a file from upstream that neither artifacts/lock.yml nor its publisher has a checksum for.
    type: bool
    default: false
  kubernetes_version:
    description: Version of Kubernetes, for example V(1.37.0).
    type: str
    required: true
  parts:
    description: What the bundle is for; see C(parts) in artifacts/catalog.yml.
    type: list
    elements: str
    required: true
  suites:
    description: Debian suites whose packages the bundle holds.
    type: list
    elements: str
    default: []
  architectures:
    description:
      - Architectures of the machines. What runs on the computer of this task comes in that computer's own.
    type: list
    elements: str
    choices: [amd64, arm64]
    default: [amd64]
  upstream_prefix:
    description: What is put before upstream's addresses of files.
    type: str
    default: https://
  registry_prefix:
    description: What is put before upstream's names of images.
    type: str
    default: https://
  mirror:
    description: Whether nodes get items from a mirror. Without one nothing may be built, as nodes could get it from nowhere; the task fails before it.
    type: bool
    default: true
  only_cached:
    description: Make the bundle if all items are in the cache, and do nothing if one is not.
    type: bool
    default: false
  environment:
    description: >-
      Environment to download and build in, over that of the run, for the proxy: V(http_proxy), V(https_proxy), V(no_proxy). An empty
      value takes the variable away.
    type: dict
    default: {}
  folder:
    description: The checkout's folder C(artifacts).
    type: path
    required: true
  state:
    description: The checkout's folder C(.slipway); the bundle's manifest is left there as C(bundle.json), logs in C(log).
    type: path
    required: true
attributes:
  check_mode:
    description: Says what it would get and changes nothing.
    support: full
  diff_mode:
    description: Not supported.
    support: none
"""

EXAMPLES = r"""
- name: Get everything for Kubernetes 1.37.0
  artifacts:
    kubernetes_version: 1.37.0
    parts: [kubernetes, flannel, tools]
    folder: "{{ playbook_dir }}/../artifacts"
    state: "{{ slipway_state }}"
"""

RETURN = r"""
manifest:
  description: What the bundle holds and where it lies, as in bundle.json. Not there in check mode when items are missing.
  returned: success
  type: dict
"""
