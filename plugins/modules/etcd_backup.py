# SPDX-License-Identifier: Apache-2.0
"""Ansible module: back up what a controller has of its cluster, and put it back. Runs there, with its Python alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_backup
short_description: Back up a cluster on a controller, and put it back
description:
  - V(saved) takes a snapshot of etcd, checks it, restores it beside the cluster for a trial, and puts it into a tar archive with the keys of
    the cluster (CAs, the key of service accounts, the key that encrypts Secrets). The archive is for one user alone.
  - V(restored) puts such an archive back on a machine that is in no cluster. Then role control_plane founds the cluster with it.
  - V(absent) removes the archive.
  - etcdutl comes out of etcd's image. Runs as root.
options:
  state:
    description: What is to be done.
    type: str
    choices: [saved, restored, absent]
    required: true
  archive:
    description: Where the archive is, or is to be.
    type: path
    required: true
  owner:
    description: Who may read the archive.
    type: str
    default: root
  image:
    description: Image of etcd for V(restored). V(saved) takes the one that runs.
    type: str
  name:
    description: Name of the member of etcd for V(restored).
    type: str
  address:
    description: Its address.
    type: str
attributes:
  check_mode: {support: full}
"""

RETURN = r"""
revision:
  description: Revision of etcd in the snapshot.
  returned: V(saved)
  type: int
keys:
  description: Number of keys in it.
  returned: V(saved)
  type: int
image:
  description: Image of etcd.
  returned: V(saved)
  type: str
kubernetes:
  description: The release of Kubernetes that it was taken with.
  returned: V(saved)
  type: str
"""

EXAMPLES = r"""
- name: Save the cluster
  etcd_backup:
    state: saved
    archive: /var/tmp/slipway-backup/controller.tar
    owner: "{{ ansible_user }}"
"""

import functools
import json
import os
import shutil
import tarfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node import lock, snapshot
from ansible.module_utils.slipway.node.durable import write
from ansible.module_utils.slipway.node.etcd import Etcd, EtcdError
from ansible.module_utils.slipway.node.evidence import of_disks
from ansible.module_utils.slipway.node.snapshot import SnapshotError
from ansible.module_utils.slipway.node.state import API_SERVER, RECORD, kubernetes_state, read, server_version

WORK = "/var/lib/slipway/backup"
# Seconds for a backup or a restore that is still at work here.
BUSY = 600.0


def fresh(folder: str, owner: str = "root") -> None:
    """Have an empty folder that only its owner may enter."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder, mode=0o700)
    shutil.chown(folder, owner)


def save(module: AnsibleModule, run: snapshot.Command) -> dict[str, object]:
    archive, owner = module.params["archive"], module.params["owner"]
    image = snapshot.image_of(read(f"{snapshot.KUBERNETES}/manifests/etcd.yaml"))
    fresh(WORK)
    Etcd().snapshot(f"{WORK}/{snapshot.SNAPSHOT}")
    found = snapshot.try_out(run, image, WORK)
    snapshot.open_one(f"{WORK}/{snapshot.SNAPSHOT}", read(f"{snapshot.KUBERNETES}/{snapshot.ENCRYPTION}"))
    fresh(os.path.dirname(archive), owner)
    snapshot.pack(WORK, archive)
    shutil.chown(archive, owner)
    release = server_version(read(f"/{API_SERVER}"))
    return {"revision": found["revision"], "keys": found["totalKey"], "image": image, "kubernetes": release}


def restore(module: AnsibleModule, run: snapshot.Command) -> None:
    image = module.params["image"]
    fresh(WORK)
    with tarfile.open(module.params["archive"]) as archive:
        with open(f"{WORK}/{snapshot.SNAPSHOT}", "wb") as file:
            shutil.copyfileobj(archive.extractfile(snapshot.SNAPSHOT), file)  # type: ignore[arg-type]
        keys = {name: archive.extractfile(name).read() for name in snapshot.KEYS}  # type: ignore[union-attr]
    snapshot.check(f"{WORK}/{snapshot.SNAPSHOT}")
    pull = ["ctr", "--namespace", "k8s.io", "image", "pull", "--hosts-dir", "/etc/containerd/certs.d", image]
    code, out, error = run(pull)
    if code:
        raise SnapshotError(f"{image} cannot be pulled: {(error or out).strip()[-800:]}")
    snapshot.place(keys)
    snapshot.restore(run, image, WORK, module.params["name"], module.params["address"])
    # Role control_plane takes this for a founding that was cut off, and finishes it.
    write(json.dumps({"state": "started", "action": "init"}) + "\n", f"/{RECORD}", 0o644)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["saved", "restored", "absent"], "required": True},
            "archive": {"type": "path", "required": True},
            "owner": {"type": "str", "default": "root"},
            "image": {"type": "str"},
            "name": {"type": "str"},
            "address": {"type": "str"},
        },
        required_if=[("state", "restored", ["image", "name", "address"])],
        supports_check_mode=True,
    )
    state, folder = module.params["state"], os.path.dirname(module.params["archive"])
    there = os.path.isdir(folder)
    if state == "restored" and kubernetes_state("/")["joined"]:
        what = "this machine is in a cluster, and only one that is in none can get a backup; look at: kubectl get nodes"
        module.fail_json(**told("cluster-lives", what))
    if module.check_mode:
        module.exit_json(changed=there if state == "absent" else True, revision=0, keys=0, image="")
    try:
        # One that a killed run has left at work here ends first: both would work in the same folders.
        with lock.taken(BUSY) as held:
            # A program that outlives this module holds the lock, too.
            work(module, functools.partial(module.run_command, pass_fds=[held]))
    except lock.BusyError as exc:
        module.fail_json(**told("machine-busy", str(exc)))


def work(module: AnsibleModule, run: snapshot.Command) -> None:
    """Do it, and leave nothing that is not asked for."""
    state, folder = module.params["state"], os.path.dirname(module.params["archive"])
    there = os.path.isdir(folder)
    given: dict[str, object] = {}
    try:
        if state != "absent":
            snapshot.sweep(run)
        if state == "saved":
            given = save(module, run)
        elif state == "restored":
            restore(module, run)
    except (SnapshotError, EtcdError, OSError, KeyError, ValueError, tarfile.TarError) as exc:
        shutil.rmtree(folder, ignore_errors=True)
        verb = "backed up" if state == "saved" else "put back"
        what = "\n".join(filter(None, [f"the cluster cannot be {verb}: {exc}", of_disks()]))
        module.fail_json(**told("backup-failed" if state == "saved" else "restore-failed", what))
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    if state != "saved":
        shutil.rmtree(folder, ignore_errors=True)
    module.exit_json(changed=there if state == "absent" else True, **given)


if __name__ == "__main__":
    main()
