"""Objects of what runs: namespace, accounts, configuration, storage, Services and Deployments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import authorities, containers, pod_security, workload
from .maker import Maker
from .model import Service
from .render import Object, render


def namespace(maker: Maker) -> list[Object]:
    """Make the namespace, where it is not somebody else's."""
    if maker.namespace in maker.environment.foreign_namespaces:
        return []
    return maker.make("namespace", maker.namespace, labels={**maker.labels, **pod_security.labels(maker)})


def foundation(maker: Maker) -> Iterator[Object]:
    """Make what pods need before they start: accounts, configuration, claims."""
    configs: dict[str, dict[str, str]] = {}
    for service, declared, version in maker.versions():
        if not maker.naming.existing_account(service, version):
            yield from maker.make("service-account", maker.naming.of("service_account", service, version))
        if data := workload.config(declared, version):
            configs[maker.naming.of("config", service, version)] = data
    for name, data in configs.items():
        yield from maker.make("config-map", name, data=data)
    if files := authorities.files(maker.shape.release.outside):
        yield from maker.make("config-map", maker.naming.of("authorities"), data=files)
    for name, volume in maker.shape.release.volumes.items():
        if volume.size and not volume.per_pod:
            storage = {"size": volume.size, "access": volume.access, "storage_class": volume.storage_class}
            yield from maker.make("claim", name, **storage)


def services(maker: Maker) -> Iterator[Object]:
    """Make the Services, and those that lead to tools."""
    for service, declared in maker.shape.services.items():
        pods, named = workload.pods(maker.shape, service), {"app": service}
        of_all = {**named, "slipway.io/service": service}
        yield from _service(maker, declared, maker.naming.of("service", service), pods, of_all)
        if declared.stateful:
            yield from _service(maker, declared, maker.naming.of("pods", service), pods, named, headless=True)
        for version in declared.versions:
            own = workload.pods(maker.shape, service, version)
            if declared.service_per_version:
                yield from _service(maker, declared, maker.naming.of("version_service", service, version), own, own)
            if maker.shape.has_backends(service):
                yield from _service(maker, declared, maker.naming.backend(service, version), own, own)
    for tool, declared_tool in maker.shape.release.tools.items():
        if declared_tool.alias:
            host, port = maker.tool(tool)
            yield from maker.make("alias", declared_tool.alias, host=host, port=port)


def _service(
    maker: Maker,
    declared: Service,
    name: str,
    pods: Mapping[str, str],
    labels: Mapping[str, str],
    *,
    headless: bool = False,
) -> list[Object]:
    ports = workload.ports(declared, maker.environment.ports.get(name))
    labels = {**maker.labels, **labels}
    return maker.make("service", name, labels=labels, selector=pods, ports=ports, headless=headless)


def deployments(maker: Maker) -> Iterator[Object]:
    """Make a Deployment of each version, or a StatefulSet."""
    for service, declared, version in maker.versions():
        revisions = maker.environment.secret_revisions
        values = workload.deployment(maker.naming, service, version, maker.labels, revisions)
        values["helper"] = maker.environment.helper_image
        there = maker.environment.deployments.get(values["name"])
        # It cannot be changed. One that no longer fits is another Deployment's, whose pods are taken over.
        if there and there["version"] == version and there["selector"].items() <= values["pod_labels"].items():
            values["selector"] = dict(there["selector"])
        values["claim_labels"] = maker.labels
        yield from render("stateful-set" if declared.stateful else "deployment", **values)


def around(maker: Maker) -> Iterator[Object]:
    """Make what sees to the number of pods."""
    for service, declared, version in maker.versions():
        name = maker.naming.of("deployment", service, version)
        scaling = workload.autoscaling(declared, version)
        if scaling:
            values = workload.scaling_values(scaling)
            yield from maker.make("autoscaler", name, container=service, **values)
        least = workload.min_available(declared, version)
        if least:
            selector = workload.pods(maker.shape, service, version)
            yield from maker.make("disruption-budget", name, least=least, selector=selector)


def jobs(maker: Maker) -> Iterator[Object]:
    """Make the jobs that run before pods change."""
    for name, given in maker.shape.release.jobs.items():
        if not given.schedule:
            yield from maker.make("job", **_job(maker, name))


def cron_jobs(maker: Maker) -> Iterator[Object]:
    """Make the jobs that run by a schedule."""
    for name, given in maker.shape.release.jobs.items():
        if given.schedule:
            yield from maker.make("cron-job", **_job(maker, name))


def _job(maker: Maker, name: str) -> dict[str, Any]:
    return containers.job(maker.naming, name, maker.shape.release.jobs[name])
