"""Pure parts of the module kubeadm_node.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .units import parse_show

# A run that was killed leaves its own files and services behind; kubeadm's own checks would then refuse to finish it.
LEFT_BEHIND = (
    "DirAvailable--var-lib-etcd",
    "DirAvailable--etc-kubernetes-manifests",
    "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf",
    "FileAvailable--etc-kubernetes-kubelet.conf",
    "FileAvailable--etc-kubernetes-manifests-etcd.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-controller-manager.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-scheduler.yaml",
    "FileAvailable--etc-kubernetes-pki-ca.crt",
    "Port-10250",
    "Port-10257",
    "Port-10259",
    "Port-2379",
    "Port-2380",
    "Port-6443",
)
# A machine made anew under its name is refused until the cluster notices that the one before it is gone.
STALE_NODE = re.compile(r"Node with name \S+ and status \S*Ready\S* already exists in the cluster")
# Starts of a kubelet, one a second, after which it does not come up by itself.
RESTARTS = 20
SECRET = re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b|\b[0-9a-f]{64}\b")


def command(action: str, config: str, ignore: Iterable[str], interrupted: bool, has_kubelet: bool) -> list[str]:
    """Build the kubeadm command line.

    ``action`` is ``init`` or ``join``; ``interrupted`` says that an earlier run began here and did not end; a join
    whose kubelet already has its credentials (``has_kubelet``) goes on behind that step, because kubeadm refuses to
    repeat it for a node that the cluster knows.
    """
    ignored = sorted({*ignore, *(LEFT_BEHIND if interrupted else ())})
    line = ["kubeadm", action, "--config", config]
    if action == "join" and interrupted and has_kubelet:
        line.append("--skip-phases=preflight,kubelet-start")
    if ignored:
        line.append("--ignore-preflight-errors=" + ",".join(ignored))
    return line


def told_invitation(output: str) -> str:
    """Give the command by which workers join, as ``kubeadm init`` tells it at its end, in one line; empty: none."""
    lines = output.replace("\\\n", " ")
    found = [line for line in lines.splitlines() if "kubeadm join " in line and "--control-plane" not in line]
    return " ".join(found[-1].split()) if found else ""


def invitation(command_line: str) -> dict[str, str]:
    """Read ``endpoint``, ``token`` and ``ca_hash`` out of what ``kubeadm token create --print-join-command`` prints.

    Raises ValueError, without quoting the line (it holds a token), when one of them is not there.
    """
    found = {
        "endpoint": re.search(r"kubeadm join (\S+)", command_line),
        "token": re.search(r"--token (\S+)", command_line),
        "ca_hash": re.search(r"--discovery-token-ca-cert-hash (\S+)", command_line),
    }
    missing = [name for name, match in found.items() if not match]
    if missing:
        raise ValueError(f"kubeadm's join command names no {', '.join(missing)}")
    return {name: match.group(1) for name, match in found.items() if match}


def is_refused_for_predecessor(output: str) -> bool:
    """Tell whether kubeadm refused to join because a node of this name still counts as Ready."""
    return bool(STALE_NODE.search(output))


def is_refused_by_checks(output: str) -> bool:
    """Tell whether kubeadm's own checks ended the run before it did anything."""
    return "[preflight] Some fatal errors occurred" in output


def ends_again_and_again(shown: str, before: str) -> bool:
    """Tell whether a unit that is started anew whenever it ends has ended often since a look ``before``.

    Both are what ``systemctl show`` says of its ``NRestarts`` and ``SubState``. One that was told to start since counts
    from nothing again.
    """
    now, first = (parse_show(text).get("NRestarts", "") for text in (shown, before))
    ends = int(now) if now.isdigit() else 0
    ended = int(first) if first.isdigit() else 0
    return parse_show(shown).get("SubState") != "running" and ends - (ended if ended <= ends else 0) >= RESTARTS


def without_secrets(text: str) -> str:
    """Take bootstrap tokens and certificate keys out of kubeadm's output."""
    return SECRET.sub("********", text)


def explain(output: str) -> str:
    """Keep what an operator needs of a failed kubeadm run: its errors, else its last lines."""
    lines = [line.strip() for line in without_secrets(output).splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(\[ERROR |error[: ]|E\d{4} |\[preflight\] Some fatal)", line)]
    return "\n".join(errors or lines[-15:])
