"""Provider hosts: machines that exist, one of them the mirror, which gets the bundle as a copy."""

from __future__ import annotations

import ipaddress
import itertools
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.support.checkout import Checkout, On, Run
from tests.support.hosts import Hosts, listed
from tests.support.kube import eventually, ready
from tests.support.lab import docker, rewrite_page
from tests.support.probe import PORT, Probes
from tests.support.typed import typed

PLAYBOOK = ".venv/bin/ansible-playbook"
DROP_IN = "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"
BREAK = {
    "ctrl": "iptables --insert INPUT --protocol udp --dport 8472 --jump DROP",
    "node-1": f"mkdir -p $(dirname {DROP_IN}); printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {DROP_IN}",
    "node-2": "echo 'Defaults requiretty' > /etc/sudoers.d/tty",
}
# What Python sees on a machine whose clock is an hour behind: containers have the clock of this computer.
LATE = "/usr/lib/python3/dist-packages/late.pth"
TURN_BACK = f"echo 'import time; time.time = lambda now=time.time: now() - 3600' > {LATE}"
MEND = {
    "ctrl": "iptables --delete INPUT --protocol udp --dport 8472 --jump DROP",
    "node-1": f"rm -r $(dirname {DROP_IN})",
    "node-2": "rm /etc/sudoers.d/tty",
}
# Where a cluster leaves files, and what comes and goes there by itself, or is to stay.
FOLDERS = "/etc /usr /opt /srv /root /home /mnt /var"
PASSING = (
    r"^/var/(log|cache|tmp|lib/(systemd|apt|dpkg|chrony))/|/\.ansible|\.ssh/|^/etc/(ld\.so\.cache|\.updated)"
    r"|^/run/(user|credentials)"
    # Packages stay; Docker's own rules are other ones after a restart; a table that iptables has asked for is empty.
    r"|nginx|^/usr/share/|^/var/www|^/etc/ufw|DOCKER_|^:[A-Z]+ ACCEPT|^table ip6? (filter|mangle|nat)$"
)


def on_each(checkout: Checkout, commands: dict[str, str]) -> None:
    """Have a command run on each machine."""
    for name, command in commands.items():
        subprocess.run(["docker", "exec", f"{checkout.name}-{name}", "sh", "-c", command], check=True)


def test_machines_that_exist_become_a_cluster(bare: Checkout, tmp_path: Path) -> None:
    # As somebody's own: with nothing of what roles bring.
    bare.page.write_text(rewrite_page(bare.settings, {"cluster_baked": False}))
    bare.playbook("playbooks/machines.yml").expect()
    roles = {"ctrl": "controller", "node-1": "worker", "node-2": "mirror"}
    before = {name: traces(bare, name) for name in roles}
    with listed(bare, roles) as hosts:
        replace_its_key(hosts, "node-1", tmp_path)
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
        refuse_before_the_join(hosts, "node-1")
        up = typed(bare, "how-to/use-your-own-hosts", "make validate", "make up", environment=reaching(hosts))
        assert up.expect().total("failed") == 0
        assert {node["metadata"]["name"]: ready(node) for node in bare.kube.nodes()} == {"ctrl": True, "node-1": True}
        again = hosts.site().expect()
        assert again.total("changed") == 0
        assert set(again.recap) == {"localhost", *roles}
        reset(hosts, "node-1")
        refuse_another_address(hosts, "ctrl")
        leave(hosts, before)
        assert hosts.site().expect().total("failed") == 0
        assert {node["metadata"]["name"]: ready(node) for node in bare.kube.nodes()} == {"ctrl": True, "node-1": True}


def test_a_worker_moves_leaves_and_comes_back(bare: Checkout) -> None:
    bare.playbook("playbooks/machines.yml").expect()
    before = traces(bare, "node-1")
    with listed(bare, {"ctrl": "controller", "node-1": "worker", "node-2": "mirror"}) as hosts:
        assert hosts.site().expect().total("failed") == 0
        remove_while_it_answers(hosts, "node-1", before)
        move(hosts, "node-1")
        come_back_as_a_stranger(hosts, "node-1")
        come_back(hosts, "node-1")


def traces(checkout: Checkout, name: str) -> set[str]:
    """Files, units that start at boot, network interfaces, firewall rules and processes on a machine."""
    commands = (
        f"find {FOLDERS} -not -path '*/__pycache__*' -not -type s",
        "systemctl list-unit-files --state=enabled --no-legend | cut -d' ' -f1",
        "ls /sys/class/net",
        # Without the counters of chains.
        "nft list tables; (iptables-save; ip6tables-save) | sed -n -E 's/^(:[^[]*|-A.*)(\\[.*)?$/\\1/p'",
        "findmnt --noheadings --raw --output target",
        "ps -e -o comm= | grep -E 'kube|containerd|flannel|pause|etcd|haproxy'",
    )
    command = ["docker", "exec", f"{checkout.name}-{name}", "sh", "-c", "; ".join(commands)]
    told = subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()
    assert len(told) > 1000
    return {line for line in told if not re.search(PASSING, line)}


def replace_its_key(hosts: Hosts, name: str, folder: Path) -> None:
    """A machine has another key than the one that is known: ssh refuses it, until that is replaced."""
    (entry,) = (one for one in yaml.safe_load(hosts.checkout.page.read_text())["cluster_hosts"] if one["name"] == name)
    known, address = folder / "known_hosts", entry["address"]
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "old")], check=True)
    known.write_text(f"{address} {(folder / 'old.pub').read_text()}")
    options = (f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes")
    shown = [word for option in (*options, "BatchMode=yes") for word in ("-o", option)]
    log_in = ["ssh", "-F", "none", *shown, "-i", entry["key"], f"{entry['user']}@{address}", "true"]
    refused = subprocess.run(log_in, check=False, capture_output=True, text=True)
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.stderr
    typed(
        hosts.checkout,
        "how-to/use-your-own-hosts",
        "ssh-keygen -f ~/.ssh/known_hosts -R 192.168.56.101",
        "ssh-keyscan 192.168.56.101 >> ~/.ssh/known_hosts",
        instead={"~/.ssh/known_hosts": str(known), "192.168.56.101": address},
    ).expect()
    subprocess.run(log_in, check=True)


def refuse_before_the_join(hosts: Hosts, worker: str) -> None:
    """A clock that is an hour off, and a disk without room, are named at once, and nothing is changed anywhere."""
    disk = "/var/lib/kubelet"
    on_each(hosts.checkout, {worker: f"{TURN_BACK}; mkdir -p {disk}; mount -t tmpfs -o size=64m none {disk}"})
    refused = hosts.site()
    on_each(hosts.checkout, {worker: f"rm {LATE}; umount {disk}; rmdir {disk}"})
    assert refused.total("changed") == 0
    end = refused.output.partition("FAILED on")[2]
    assert f"{worker} is not fit yet" in end
    assert re.search(r"its clock is 3[56]\d\d s behind the one of the machine that runs Ansible", end)
    assert "0.1 GB of 0.1 GB are free under /var/lib/kubelet; 0.2 GB are needed: free some" in end
    assert "[clock-apart]" in end
    assert "[machine-disk-full]" in end


# Moments of a reset: nothing starts pods, the control plane has ended, files are gone.
STOPPED, ENDED = "! pgrep --exact kubelet > /dev/null", "! pgrep --exact kube-apiserver > /dev/null"
CLEARED = "test ! -e /etc/kubernetes && test -e /var/lib/slipway"


def killed_resets(hosts: Hosts, machine: str, moments: Sequence[str], command: tuple[str, ...]) -> None:
    """Resets that are killed, here and on a machine, each at its own moment: the next one goes on from there."""
    for condition in moments:
        print(f"killed when: {condition}", flush=True)
        hosts.checkout.kill_when(On(machine, condition), *command, module_on=machine)


def reaching(hosts: Hosts) -> dict[str, str]:
    """How ``make`` reaches them."""
    (said,) = (word.partition("=")[2] for word in hosts.arguments if word.startswith("--ssh-common-args="))
    return {"ANSIBLE_SSH_COMMON_ARGS": said}


def typed_reset(hosts: Hosts, answer: str) -> Run:
    """``make reset`` at a terminal, with an answer to its question."""
    asked = (f"Type {hosts.checkout.name} to go on", answer)
    return typed(hosts.checkout, "how-to/use-your-own-hosts", "make reset", answer=asked, environment=reaching(hosts))


def leave(hosts: Hosts, before: dict[str, set[str]]) -> None:
    """`make reset` leaves nothing of the cluster on a host, and a second one finds nothing."""
    checkout = hosts.checkout
    wrong = checkout.playbook("playbooks/reset.yml", *hosts.arguments, "-e", "reset_confirm=another")
    assert "[not-confirmed]" in wrong.output
    sure = (*hosts.arguments, "-e", f"reset_confirm={checkout.name}")
    planned = checkout.playbook("playbooks/reset.yml", *sure, "--check").expect()
    assert planned.total("changed") > 0
    assert f"The cluster {checkout.name} goes, with all that is in it. These hosts stay" in planned.output
    assert all(ready(node) for node in checkout.kube.nodes())
    wrong = typed_reset(hosts, checkout.name[:-1])
    assert "[not-confirmed]" in wrong.output
    assert all(ready(node) for node in checkout.kube.nodes())
    killed_resets(hosts, "ctrl", (STOPPED, ENDED, CLEARED), (PLAYBOOK, "playbooks/reset.yml", *sure))
    done = typed_reset(hosts, checkout.name).expect()
    print(f"make reset: {done.seconds:.0f} s")
    left = {name: left_behind(checkout, name, there) for name, there in before.items()}
    assert not any(left.values())
    assert not (checkout.path / ".slipway/kubeconfig").exists()
    assert checkout.playbook("playbooks/reset.yml", *sure).expect().total("changed") == 0


def left_behind(checkout: Checkout, name: str, before: set[str]) -> list[str]:
    """What is on a machine that was not there before."""
    lines = sorted(traces(checkout, name) - before)
    # In full: pytest shortens what it compares.
    print(f"left on {name}: {lines}", flush=True)
    return lines


def removal(hosts: Hosts, worker: str, timeout: int = 20) -> tuple[str, ...]:
    """What takes it away. Pods that have nowhere to go are given up after that many seconds."""
    forced = ("-e", f"drain_node={worker}", "-e", "drain_force=true", "-e", f"drain_timeout={timeout}")
    return "playbooks/remove-node.yml", *hosts.arguments, *forced


def remove(hosts: Hosts, worker: str, timeout: int = 20) -> Run:
    """Take it away."""
    removed = hosts.checkout.playbook(*removal(hosts, worker, timeout)).expect()
    assert names(hosts) == {"ctrl"}
    return removed


def remove_while_it_answers(hosts: Hosts, worker: str, before: set[str]) -> None:
    """A worker that answers is reset, also if that is killed. Nothing of the cluster is left on it: it joins again."""
    checkout = hosts.checkout
    planned = checkout.playbook(*removal(hosts, worker), "--check").expect()
    assert f"{worker}: the cluster to be removed from the machine itself" in planned.output
    assert all(ready(node) for node in checkout.kube.nodes())
    killed_resets(hosts, worker, (STOPPED, CLEARED), (PLAYBOOK, *removal(hosts, worker)))
    # The Node object goes last, so the same command finds the node.
    assert names(hosts) == {"ctrl", worker}
    removed = remove(hosts, worker)
    assert "That machine did not answer" not in removed.output
    assert left_behind(checkout, worker, before) == []
    assert "[no-such-node]" in checkout.playbook(*removal(hosts, worker)).output
    assert hosts.site().expect().total("failed") == 0
    assert {node["metadata"]["name"]: ready(node) for node in checkout.kube.nodes()} == {"ctrl": True, worker: True}
    assert hosts.site().expect().total("changed") == 0


def names(hosts: Hosts) -> set[str]:
    return {node["metadata"]["name"] for node in hosts.checkout.kube.nodes()}


def come_back_as_a_stranger(hosts: Hosts, worker: str) -> None:
    """A worker that was removed while it was off, and that the page has no more, is on again.

    Its kubelet lets itself in. It is named, with the commands that take it away for good, and others are as they were.
    """
    checkout = hosts.checkout
    page = checkout.page.read_text()
    entries = [entry for entry in yaml.safe_load(page)["cluster_hosts"] if entry["name"] != worker]
    docker("stop", f"{checkout.name}-{worker}")
    removed = remove(hosts, worker)
    by_hand = removed.output.partition("Type there, before it joins again: ")[2].partition("\n")[0]
    checkout.page.write_text(rewrite_page(page, {"cluster_hosts": entries}))
    try:
        docker("start", f"{checkout.name}-{worker}")
        eventually(lambda: names(hosts) == {"ctrl", worker}, seconds=120, what="its kubelet lets itself in")
        run = hosts.site().expect()
        told = next(line for line in run.output.splitlines() if line.startswith(f"{worker} is "))
        assert f"{worker} is a worker, and the page does not have it. To take it away: make remove-node" in told
        assert by_hand in told
        on_each(checkout, {worker: by_hand.replace("sudo ", "")})
        # Without a worker on the page, the controller takes them.
        remove(hosts, worker, timeout=300)
        docker("restart", f"{checkout.name}-{worker}")
        assert hosts.site().expect().total("failed") == 0
        assert names(hosts) == {"ctrl"}
    finally:
        checkout.page.write_text(page)
    assert hosts.site().expect().total("failed") == 0
    assert {node["metadata"]["name"]: ready(node) for node in checkout.kube.nodes()} == {"ctrl": True, worker: True}


def come_back(hosts: Hosts, worker: str) -> None:
    """A worker that was removed while it was off, and is on again, is a node like before after the next run."""
    checkout = hosts.checkout
    docker("stop", f"{checkout.name}-{worker}")
    assert "That machine did not answer. Type there, before it joins again" in remove(hosts, worker).output
    docker("start", f"{checkout.name}-{worker}")
    assert hosts.site().expect().total("failed") == 0
    assert {node["metadata"]["name"]: ready(node) for node in checkout.kube.nodes()} == {"ctrl": True, worker: True}


def reset(hosts: Hosts, worker: str) -> None:
    """A worker that was reset by hand joins again, also where its Flannel has left its link, which keeps the port."""
    on_each(hosts.checkout, {worker: "kubeadm reset --force; ip link delete cni0; ip link show flannel.1"})
    hosts.checkout.kube.text("delete", "node", worker)
    assert hosts.site().expect().total("failed") == 0
    assert all(ready(node) for node in hosts.checkout.kube.nodes())


def listing(hosts: Hosts, name: str) -> tuple[str, str, str]:
    """The page, the page with the next address but 99 for one host, and that address."""
    page = hosts.checkout.page.read_text()
    entries = yaml.safe_load(page)["cluster_hosts"]
    (entry,) = (entry for entry in entries if entry["name"] == name)
    entry["address"] = str(ipaddress.ip_address(entry["address"]) + 99)
    return page, rewrite_page(page, {"cluster_hosts": entries}), entry["address"]


def refuse_another_address(hosts: Hosts, controller: str) -> None:
    """A controller keeps its address, and the refusal comes before any machine is touched."""
    page, changed, address = listing(hosts, controller)
    hosts.checkout.page.write_text(changed)
    run = hosts.site().expect(2)
    hosts.checkout.page.write_text(page)
    assert f"{controller} is a controller at" in run.output
    assert address in run.output
    assert set(run.recap) == {"localhost"}


def move(hosts: Hosts, worker: str) -> None:
    """A worker has another address: its node says so, and the pods on both sides reach each other."""
    _, changed, address = listing(hosts, worker)
    cluster = yaml.safe_load(changed)["cluster_name"]
    docker("network", "disconnect", cluster, f"{cluster}-{worker}")
    docker("network", "connect", f"--ip={address}", cluster, f"{cluster}-{worker}")
    hosts.checkout.page.write_text(changed)
    assert hosts.site().expect().total("failed") == 0
    kube = hosts.checkout.kube
    node = kube("get", "node", worker)
    assert {"type": "InternalIP", "address": address} in node["status"]["addresses"]
    assert node["metadata"]["annotations"]["flannel.alpha.coreos.com/public-ip"] == address
    probes = Probes(kube)
    try:
        for source, target in itertools.permutations(probes.all, 2):
            seen = eventually(
                lambda source=source, target=target: probes.fetch(source, f"http://{target.address}:{PORT}/"),  # type: ignore[misc]
                seconds=60,
                what=f"{target.node} answers {source.node}",
            )
            assert seen["client"] == source.address
    finally:
        probes.stop()
    assert hosts.site().expect().total("changed") == 0
