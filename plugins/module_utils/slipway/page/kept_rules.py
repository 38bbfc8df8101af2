"""Rules about a cluster that stands: it keeps its release, its addresses, and what it was founded with."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network as Network

from ..artifacts import versions
from .form import Fault
from .machines import members
from .model import Settings, works
from .rules import MACHINES, Surroundings, local_rule


@local_rule("cluster_kubernetes_version")
def kubernetes_stays(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    running, asked = around.kubernetes_running, settings.cluster_kubernetes_version
    if around.upgrading or running in ("", asked):
        return
    stays = f'cluster_kubernetes_version: "{running}"'
    newer = versions.order(asked) > versions.order(running)
    what = f"the cluster runs {running}, and " + (
        f"goes to {asked} only by `make upgrade`: type that first" if newer else "Kubernetes does not go back"
    )
    yield Fault(
        "kubernetes-upgrade", ("cluster_kubernetes_version",), what, stays + (", or make upgrade" if newer else "")
    )


@local_rule("cluster_name", "cluster_api_endpoint", "cluster_pod_cidr", "cluster_service_cidr", "cluster_dns_domain")
def founding_stays(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    for key, value in around.founded.items():
        kept, asked = value, str(getattr(settings, key))
        if key == "cluster_api_endpoint":
            # What the page leaves out, group_vars/all/wiring.yml makes of the name, and of kubeadm's port.
            kept = "" if value == f"api.{around.founded['cluster_name']}.internal:6443" else value
            asked = f"{asked}:6443" if asked and ":" not in asked else asked
        if asked != kept:
            what = f"a cluster keeps what it was founded with, and this one has {kept or 'none of its own'}"
            yield Fault("founding-changed", (key,), what, f"{works((key,), kept)}, {_made_anew(around)}")


@local_rule(*MACHINES)
def controllers_keep_their_addresses(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    moved = [
        (member, around.controllers[member.name])
        for member in members(settings, with_mirror=False)
        if around.controllers.get(member.name, member.address) != member.address
    ]
    names = [host.name for host in settings.cluster_hosts]
    for member, known in moved:
        what = f"{member.name} is a controller at {known}, which etcd and the certificates of the cluster hold"
        if settings.cluster_provider == "hosts":
            key: tuple[str | int, ...] = ("cluster_hosts", names.index(member.name), "address")
            yield Fault("controller-address-changed", key, what, f"address: {known}, {_made_anew(around)}")
        else:
            # The number of a made machine follows from its name, so one says it of all.
            before = Network((known, Network(settings.cluster_node_cidr).prefixlen), strict=False)
            works_too = f"{works(('cluster_node_cidr',), str(before))}, {_made_anew(around)}"
            yield Fault("controller-address-changed", ("cluster_node_cidr",), what, works_too)
            return


def _made_anew(around: Surroundings) -> str:
    reset = "`sudo kubeadm reset --force` on every host and " if around.provider == "hosts" else ""
    return f"or {reset}`make down` before it is made anew"
