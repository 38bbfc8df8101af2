"""Pod Security of a release's namespace: the level that its containers keep, and what the plan says of it."""

from __future__ import annotations

from collections.abc import Iterator

from ..page.form import Fault
from ..page.read import Key
from . import workload
from .maker import Maker

LEVEL = "pod-security.kubernetes.io/"
MODES = ("enforce", "warn", "audit")
# istio-init sets up the pod's network, which is no business of a restricted pod.
ENFORCED = "privileged"


def _as_image(maker: Maker) -> list[tuple[str, str]]:
    """List the versions whose containers run as their image says: service, version."""
    return [
        (service, version)
        for service, declared, version in maker.versions()
        if workload.runs_as_image(declared, version)
    ]


def kept(maker: Maker) -> str:
    """Give the level that the release's own containers keep; a container as its image says may be root."""
    return "baseline" if _as_image(maker) else "restricted"


def labels(maker: Maker) -> dict[str, str]:
    """Give the labels of a namespace that is the release's."""
    level = kept(maker)
    return {f"{LEVEL}enforce": ENFORCED, f"{LEVEL}warn": level, f"{LEVEL}audit": level}


def faults(maker: Maker) -> Iterator[Fault]:
    """Refuse containers as their image says where somebody else's namespace lets in restricted ones alone."""
    if maker.environment.pod_security.get("enforce") != "restricted":
        return
    for service, version in _as_image(maker):
        declared = maker.shape.services[service]
        own = declared.versions[version].user is not None
        key: Key = ("services", service, *(("versions", version) if own else ()), "user")
        weaker = ENFORCED if workload.has_sidecar(declared, version) else "baseline"
        what = f"may be root, and namespace {maker.namespace} takes pods of the Pod Security level restricted alone"
        label = f"kubectl label --overwrite namespace {maker.namespace} {LEVEL}enforce={weaker}"
        yield Fault("pod-security", key, what, f"user: 65532, or {label}")


def warnings(maker: Maker) -> Iterator[str]:
    """Say which level holds in the namespace where containers run as their images say."""
    found = _as_image(maker)
    if not found:
        return
    who = ", ".join(f"{service} {version}" for service, version in found)
    if maker.namespace in maker.environment.foreign_namespaces:
        told = maker.environment.pod_security
        levels = ", ".join(f"{mode} {told.get(mode, ENFORCED)}" for mode in MODES)
        whose = "which is not this release's and stays as it is"
    else:
        levels = f"enforce {ENFORCED}, warn and audit baseline instead of restricted"
        whose = "for all pods in it"
    yield f"user: image: {who} may be root; Pod Security in namespace {maker.namespace}, {whose}: {levels}"
