"""Pod Security of a release's namespace: the level that its containers keep, and what the plan says of it."""

from __future__ import annotations

from collections.abc import Iterator

from ..page.form import Fault
from ..page.read import Key
from . import containers, workload
from .maker import Maker

LEVEL = "pod-security.kubernetes.io/"
MODES = ("enforce", "warn", "audit")
# istio-init sets up the pod's network, which is no business of a restricted pod.
ENFORCED = "privileged"


def _as_image(maker: Maker) -> list[tuple[str, Key, bool]]:
    """List what runs as its image says: who, the key that says it, whether its pod has the mesh's proxy."""
    found: list[tuple[str, Key, bool]] = []
    for service, declared, version in maker.versions():
        own = declared.versions[version]
        meshed = workload.has_sidecar(declared, version)
        if workload.runs_as_image(declared, version):
            found.append((f"{service} {version}", _key(service, version, own.user is not None, "user"), meshed))
        for where in ("init", "beside"):
            for name, each in containers.of_version(declared, version, where).items():
                if containers.as_image(each):
                    key = _key(service, version, name in getattr(own, where), where, name, "user")
                    found.append((f"{where} {name} of {service} {version}", key, meshed))
    for name, job in maker.shape.release.jobs.items():
        if containers.as_image(job):
            found.append((f"job {name}", ("jobs", name, "user"), False))
    return found


def _key(service: str, version: str, own: bool, *rest: str) -> Key:
    return ("services", service, *(("versions", version) if own else ()), *rest)


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
    for _, key, meshed in _as_image(maker):
        weaker = ENFORCED if meshed else "baseline"
        what = f"may be root, and namespace {maker.namespace} takes pods of the Pod Security level restricted alone"
        label = f"kubectl label --overwrite namespace {maker.namespace} {LEVEL}enforce={weaker}"
        yield Fault("pod-security", key, what, f"user: 65532, or {label}")


def warnings(maker: Maker) -> Iterator[str]:
    """Say which level holds in the namespace where containers run as their images say."""
    found = _as_image(maker)
    if not found:
        return
    who = ", ".join(who for who, _, _ in found)
    if maker.namespace in maker.environment.foreign_namespaces:
        told = maker.environment.pod_security
        levels = ", ".join(f"{mode} {told.get(mode, ENFORCED)}" for mode in MODES)
        whose = "which is not this release's and stays as it is"
    else:
        levels = f"enforce {ENFORCED}, warn and audit baseline instead of restricted"
        whose = "for all pods in it"
    yield f"user: image: {who} may be root; Pod Security in namespace {maker.namespace}, {whose}: {levels}"
