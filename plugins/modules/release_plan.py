# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_plan
short_description: Plan a release and hold the plan against the cluster
description:
  - Reads the page of a release, plans its objects, and asks the API server by a dry run what an apply would change. What is wrong
    with the page, what the cluster has against it and what the API server refuses is said before anything is touched.
  - Changes nothing. With C(--diff) it shows the difference; in check mode it reports C(changed) where there is one.
  - Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  page:
    description: Page of the release; a relative path counts from where the run was started, then from the project's folder.
    type: str
    required: true
  name:
    description: Name of the release in the place of the page's.
    type: str
    default: ""
  namespace:
    description: Namespace in the place of the page's.
    type: str
    default: ""
  hosts:
    description: Hosts in the place of the page's.
    type: list
    elements: str
    default: []
  weights:
    description: Shares of the versions in per cent, in the place of the page's.
    type: dict
    default: {}
  adopt:
    description: Take over objects that are there already and somebody else's, where the page does not say so itself.
    type: bool
    default: false
  mail:
    description: Keys that stand in the place of those of the page's mail, where it has mail.
    type: dict
    default: {}
  delete_claims:
    description: Names of claims that may go, with their data, where the page no longer names them; C(*) stands for all. Others are kept.
    type: list
    elements: str
    default: []
  state:
    description: C(absent) plans the removal of everything that the release has applied.
    type: str
    choices: [present, absent]
    default: present
  cluster:
    description: What a look at the cluster does not give, by the names of C(slipway.release.Environment).
    type: dict
    default: {}
  ca_folder:
    description: Folder of the authority that the gateway's own certificate is of. Where it has that one's key, hosts which the
      certificate lacks are told in RV(certificate); else, and without a folder, they are refused.
    type: path
    default: ""
  programs:
    description: Paths of C(helm) and C(kubectl), for pages that have a chart or a kustomization.
    type: dict
    default: {}
  pending:
    description: Is the cluster, or its mesh, perhaps still to be made, as when all of it is only checked? Then what is not there is no fault, and
      all that the page plans is new.
    type: bool
    default: false
author: The Slipway authors
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Plan the release
  release_plan:
    page: releases/hello.yml
    kubeconfig: .slipway/kubeconfig
    weights: {v1: 50, v2: 50}
  register: plan
"""

RETURN = r"""
differs:
  description: Whether an apply would change anything.
  returned: success
  type: bool
stages:
  description:
    - What has to be done, by the name of the stage (namespace, prepare, pin, workloads, calls, callers, users, retire, close, copies, tidy), in
      this order. A stage in which there is nothing to do is left out.
  returned: state is present
  type: dict
turns:
  description: What has to be done where the objects come of a chart or of manifests, stage by stage, in the place of RV(stages); each with
    C(name), C(stage), and in C(waits) what has to have come to its end.
  returned: state is present, and the page has a chart, manifests or a kustomization
  type: list
  elements: dict
rendered_secrets_due:
  description: Names of the Secrets of such a page that have to be applied; what they hold is rendered again then (M(rendered_secrets)).
  returned: state is present, and the page has a chart, manifests or a kustomization
  type: list
  elements: str
waits:
  description: Deployments that have to be rolled out at the end of a stage, by its name.
  returned: state is present
  type: dict
prune:
  description: Names of the objects of the release, in the order in which they are taken away.
  returned: state is absent
  type: list
  elements: dict
secrets_due:
  description: Names of the Secrets that have to be applied.
  returned: state is present
  type: list
  elements: str
secret_revisions:
  description: What those Secrets are to carry, and the pods that use them; made up, and nothing of what they hold.
  returned: state is present
  type: dict
facts:
  description: What the release promises (see C(slipway.release.facts)).
  returned: state is present
  type: dict
"""
