"""Provider hosts: machines that exist, one of them the mirror, which gets the bundle as a copy."""

from __future__ import annotations

import subprocess

from tests.support.checkout import Checkout
from tests.support.hosts import listed
from tests.support.kube import ready

DROP_IN = "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"
BREAK = {
    "ctrl": "iptables --insert INPUT --protocol udp --dport 8472 --jump DROP",
    "node-1": f"mkdir -p $(dirname {DROP_IN}); printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {DROP_IN}",
    "node-2": "echo 'Defaults requiretty' > /etc/sudoers.d/tty",
}
MEND = {
    "ctrl": "iptables --delete INPUT --protocol udp --dport 8472 --jump DROP",
    "node-1": f"rm {DROP_IN}",
    "node-2": "rm /etc/sudoers.d/tty",
}


def on_each(checkout: Checkout, commands: dict[str, str]) -> None:
    """Have a command run on each machine."""
    for name, command in commands.items():
        subprocess.run(["docker", "exec", f"{checkout.name}-{name}", "sh", "-c", command], check=True)


def test_machines_that_exist_become_a_cluster(bare: Checkout) -> None:
    bare.playbook("playbooks/machines.yml").expect()
    roles = {"ctrl": "controller", "node-1": "worker", "node-2": "mirror"}
    with listed(bare, roles) as hosts:
        # What stands in the way of any of them is named before anything is made.
        on_each(bare, BREAK)
        refused = hosts.site()
        assert refused.status
        assert refused.total("changed") == 0
        end = refused.output.partition("FAILED on")[2]
        assert "!requiretty" in end
        assert f"sudo rm {DROP_IN}" in end
        assert "node-1, node-2 are not fit yet" in end
        assert "TASK [artifacts" not in refused.output
        on_each(bare, {name: MEND[name] for name in ("node-1", "node-2")})
        refused = hosts.site()
        assert refused.total("changed") == 0
        assert "ctrl does not answer on 8472/udp (no answer) for node-1" in refused.output
        on_each(bare, {"ctrl": MEND["ctrl"]})
        assert hosts.site().expect().total("failed") == 0
        assert {node["metadata"]["name"]: ready(node) for node in bare.kube.nodes()} == {"ctrl": True, "node-1": True}
        again = hosts.site().expect()
        assert again.total("changed") == 0
        assert set(again.recap) == {"localhost", *roles}
