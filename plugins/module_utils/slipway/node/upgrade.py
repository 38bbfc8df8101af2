"""Pure parts of the module kubeadm_upgrade, and what it puts in order on a machine around kubeadm.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Iterable

from .durable import replace, write
from .snapshot import KUBERNETES
from .state import PARTS, read

MANIFESTS = "manifests"
# Where kubeadm keeps what it replaces: the manifests, the data of etcd, the configuration of the kubelet.
KEPT = f"{KUBERNETES}/tmp"  # noqa: S108, for root alone
_BACKUPS = "kubeadm-backup-manifests-*"
# What is ours in the manifests of kubeadm; role control_plane writes it.
PATCHES = f"{KUBERNETES}/patches"
FLAGS = "/var/lib/kubelet/kubeadm-flags.env"
# Kubelets refuse to start with flags that they do not know. kubeadm removed this one once, and does so no more.
_GONE = re.compile(r"\s*--pod-infra-container-image=[^\s\"]*")
# What ``upgrade node`` does for a controller is done by then.
_PHASES = "--skip-phases=control-plane,addon"


def command(action: str, version: str, config: str, ignore: Iterable[str]) -> list[str]:
    """Build the kubeadm command line.

    ``apply`` is for the first controller, ``control`` for the others, ``node`` for kubelets.
    """
    words = ["apply", f"v{version}", "--yes"] if action == "apply" else ["node"]
    line = ["kubeadm", "upgrade", *words, "--config", config]
    if action == "node":
        line.append(_PHASES)
    if ignored := sorted(set(ignore)):
        line.append("--ignore-preflight-errors=" + ",".join(ignored))
    return line


def configuration(action: str, seconds: int, ignore: Iterable[str]) -> str:
    """Write the UpgradeConfiguration: timeouts for slow machines, and images several at once."""
    kind = "apply" if action == "apply" else "node"
    ignored = sorted(set(ignore))
    lines = [
        "apiVersion: kubeadm.k8s.io/v1beta4",
        "kind: UpgradeConfiguration",
        f"{kind}:",
        "  imagePullSerial: false",
        *([f"  patches: {{directory: {PATCHES}}}"] if action != "node" else []),
        *(["  ignorePreflightErrors:"] if ignored else []),
        *(f"    - {name}" for name in ignored),
        "timeouts:",
        f"  upgradeManifests: {seconds}s",
        f"  controlPlaneComponentHealthCheck: {seconds}s",
        f"  kubeletHealthCheck: {seconds}s",
        f"  kubernetesAPICall: {max(seconds // 2, 1)}s",
        f"  etcdAPICall: {max(seconds // 2, 1)}s",
    ]
    return "\n".join(lines) + "\n"


def lost(root: str = "") -> dict[str, str]:
    """Find manifests that a kubeadm which was killed has taken away and not put anew: part to the copy that it kept.

    It moves the old one away and the new one in; between the two there is none, and the kubelet ends the part.
    """
    found = {}
    # Their names end with the time, so the newest is the last one.
    folders = sorted(glob.glob(f"{root}{KEPT}/{_BACKUPS}"), key=lambda path: (os.stat(path).st_mtime, path))
    for part in PARTS:
        if os.path.exists(f"{root}{KUBERNETES}/{MANIFESTS}/{part}.yaml"):
            continue
        copies = [path for folder in folders if os.path.isfile(path := f"{folder}/{part}.yaml")]
        if copies:
            found[part] = copies[-1]
    return found


def put_back(root: str = "") -> list[str]:
    """Put those manifests back, whole, and name their parts."""
    found = lost(root)
    for part, copy in found.items():
        path = f"{root}{KUBERNETES}/{MANIFESTS}/{part}.yaml"
        # The kubelet reads every file of that folder whose name does not begin with a dot.
        part_path = f"{root}{KUBERNETES}/{MANIFESTS}/.{part}.slipway"
        shutil.copy2(copy, part_path)
        replace(part_path, path)
    return sorted(found)


def forget(root: str = "") -> None:
    """Remove what kubeadm has kept of parts that are all upgraded: a copy of the data of etcd for each try."""
    for path in glob.glob(f"{root}{KEPT}/kubeadm-*"):
        shutil.rmtree(path, ignore_errors=True)


def clean_flags(root: str = "") -> bool:
    """Take flags out of the kubelet's that its next release does not know, and tell whether there were any."""
    path = f"{root}{FLAGS}"
    before = read(path)
    after = _GONE.sub("", before)
    if after == before:
        return False
    write(after, path, 0o644)
    return True
