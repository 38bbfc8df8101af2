"""Ask a cluster what a release has to know of it. Reads only: the one PATCH it sends is a dry run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..cluster import client as cluster
from ..cluster.client import MANAGER, stripped
from ..cluster.objects import identity, marked
from ..contents.gateway_api import GROUP, HOME
from ..errors import SlipwayError
from .judge import MANAGED, OF_RELEASE, Found, Object, goes
from .objects import KINDS

_OPTIONAL = ("monitoring.coreos.com/", f"{GROUP}/")


class NoMeshError(SlipwayError):
    """The cluster does not know kinds without which there is no release."""


class RefusedError(SlipwayError):
    """What the API server ``refused`` of a plan: status and message, by identity."""

    def __init__(self, refused: dict[str, tuple[int, str]]) -> None:
        self.refused = refused
        told = (f"{name}: the API server refuses it ({status}): {said}" for name, (status, said) in refused.items())
        super().__init__("refused-by-api", "\n".join(told))


class ReleaseClient(cluster.Cluster):
    """A cluster that is asked about releases."""

    def of_kind(self, api_version: str, kind: str) -> list[Object] | None:
        """List what releases applied of a kind, each object with its kind."""
        selector = f"{MANAGED}=slipway,{OF_RELEASE}"
        return self.listed(api_version, kind, selector=selector, metadata=kind == "Secret")

    def look(
        self,
        name: str,
        namespace: str,
        gateway_namespace: str = "istio-system",
        kinds: Iterable[tuple[str, str]] = KINDS,
    ) -> Found:
        """Look at everything that the release ``name`` in ``namespace`` depends on, and at what it has of ``kinds``.

        Raises NoMeshError where its kinds are those of services, and the cluster does not know one of them.
        """
        asked_of = tuple(kinds)
        gateway = "istio-ingressgateway"
        asked: list[Callable[[], Any]] = [
            lambda: self.listed("v1", "Namespace", metadata=True),
            lambda: self.listed("v1", "Secret", namespace, metadata=True),
            lambda: self.listed("storage.k8s.io/v1", "StorageClass"),
            lambda: self.listed("v1", "PersistentVolumeClaim", namespace),
            lambda: self.listed("v1", "ServiceAccount", namespace, metadata=True),
            lambda: self.listed("v1", "Node", metadata=True),
            lambda: self.listed("v1", "Service", metadata=True),
            lambda: self.read("v1", "Service", gateway_namespace, gateway),
            lambda: self.read("apps/v1", "Deployment", gateway_namespace, gateway),
            lambda: self.listed("v1", "Secret", gateway_namespace, metadata=True),
            lambda: self.listed("apps/v1", "ReplicaSet", namespace, f"{OF_RELEASE}={name}"),
            lambda: self.read(f"{GROUP}/v1", "Gateway", *HOME),
            *(lambda version=version, kind=kind: self.of_kind(version, kind) for version, kind in asked_of),
        ]
        answers = self.many(lambda one: one(), asked)
        namespaces, secrets, classes, claims, accounts, nodes, services, *answers = answers
        service, deployment, held, sets, door, *of_kinds = answers
        missing = {kind: version for (version, kind), listed in zip(asked_of, of_kinds, strict=True) if listed is None}
        strange = sorted(kind for kind, version in missing.items() if not version.startswith(_OPTIONAL))
        if strange and asked_of == KINDS:
            raise NoMeshError(
                "no-mesh",
                f"this cluster does not know {', '.join(strange)}: a release needs the mesh\n"
                "  works: cluster_parts: {istio: true} in group_vars/all/cluster.yml, then `make up`",
            )
        return Found(
            name=name,
            namespace=namespace,
            applied=[item for listed in of_kinds for item in listed or []],
            missing_kinds=frozenset(missing),
            namespaces=namespaces or [],
            secrets=secrets or [],
            storage_classes=[item["metadata"]["name"] for item in classes or []],
            classes=classes or [],
            claims=claims or [],
            accounts=accounts or [],
            nodes=nodes or [],
            services=services or [],
            orphans=[item for item in sets or [] if not item["metadata"].get("ownerReferences")],
            gateway_service=service,
            gateway_deployment=deployment,
            gateway_of_routes=door,
            certificates={item["metadata"]["name"]: item["metadata"].get("annotations") or {} for item in held or []},
        )

    def changes(
        self, found: Found, objects: Iterable[Object], anew: Iterable[str] = ()
    ) -> list[tuple[Object, Object | None, Object]]:
        """Say which objects an apply would change: the object, what is there, what would be there.

        The API server works it out (a dry run), and what it refuses is refused here, before anything is touched.
        ``anew``: identities of objects that are made anew, whatever is there. Raises RefusedError.
        """
        anew = set(anew)
        there = {identity(item): item for item in found.own}
        objects = list(objects)
        known = {item["metadata"]["name"] for item in found.namespaces}
        new = {item["metadata"]["name"] for item in objects if item["kind"] == "Namespace"} - known
        defined = {
            (item["spec"]["group"], item["spec"]["names"]["kind"])
            for item in objects
            if item["kind"] == "CustomResourceDefinition"
        }

        refused: dict[str, tuple[int, str]] = {}

        def compare(item: Object) -> tuple[Object, Object | None, Object] | None:
            namespace = item["metadata"].get("namespace", "")
            version, kind = item["apiVersion"], item["kind"]
            if namespace in new or ((version.partition("/")[0], kind) in defined and not self.kind(version, kind)):
                return item, None, item
            path = self.path(item)
            # Of Secrets only the names were listed.
            before = (there.get(identity(item)) if kind != "Secret" else None) or self.get(path)
            if identity(item) in anew or (before is not None and goes(before)):
                return item, before, item
            query = f"?fieldManager={MANAGER}&force=true&dryRun=All"
            status, after = self.ask(path + query, method="PATCH", body=marked(item))
            if status not in (200, 201):
                refused[identity(item)] = (status, str(after.get("message", "")))
                return None
            if before is not None and stripped({**before, **_kind(after)}) == stripped(after):
                return None
            return item, before, after

        results = self.many(compare, objects)
        if refused:
            names = map(identity, objects)
            raise RefusedError({name: refused[name] for name in names if name in refused})
        return [result for result in results if result is not None]

    def present_secrets(self, namespace: str, names: Iterable[str]) -> dict[str, Object]:
        """Read Secrets with what they hold, which must go no further than the process that asks."""
        names = list(names)
        found = dict(zip(names, self.many(lambda name: self.read("v1", "Secret", namespace, name), names), strict=True))
        return {name: item for name, item in found.items() if item is not None}


def _kind(item: Object) -> Object:
    """Give apiVersion and kind, which objects in a list do not have."""
    return {"apiVersion": item["apiVersion"], "kind": item["kind"]}
