"""The releases that a cluster's page lists (``cluster_releases``): what their pages ask of the cluster beforehand.

Nothing here asks a cluster: images have to be in the bundle, and names in the gateway's certificate, before it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contents import spec as contents
from ..errors import SlipwayError
from ..page.form import Fault
from ..page.read import SettingsError
from ..paths import ROOT, user_path
from . import containers
from .shape import Shape
from .spec import load
from .values import repository


@dataclass(frozen=True)
class Listed:
    """A release as its page says it.

    ``hosts``: names that it answers on at the gateway, those of tools included. ``images``: of all its versions.
    ``alerts``: does it ask for what only monitoring can do? ``http_routes``: do users come by HTTPRoutes?
    """

    name: str
    namespace: str
    hosts: list[str]
    images: list[str]
    alerts: bool
    http_routes: bool = False


def page_of(text: str, root: Path = ROOT) -> Path:
    """Find a page: absolute, ``~/…``, or from the checkout."""
    return user_path(root, text)


def read(text: str, root: Path = ROOT) -> Listed:
    """Read a page. Raises SettingsError with all that is wrong with it."""
    path = page_of(text, root)
    if contents.is_of_contents(path):
        # What a chart comes to is known once there is a Helm to render it.
        own = contents.load(path).release
        return Listed(own.name, own.namespace or own.name, own.hosts or [], [], alerts=False)
    release = load(path).release
    shape = Shape(release)
    images = [
        version.image or declared.image
        for declared in release.services.values()
        for version in declared.versions.values()
    ]
    images += [
        each.image
        for declared in release.services.values()
        for version in declared.versions
        for each in containers.every(declared, version)
    ]
    images += [job.image for job in release.jobs.values()]
    return Listed(
        name=release.name,
        namespace=shape.namespace,
        hosts=list(dict.fromkeys([*shape.hosts, *shape.host_routes, *shape.tool_hosts.values()])),
        images=list(dict.fromkeys(image for image in images if image)),
        alerts=bool(release.alerts or release.alertmanager),
        http_routes=shape.by_http_routes,
    )


def hosts(pages: Iterable[str], root: Path = ROOT) -> list[str]:
    """Name all that the gateway has to answer for, sorted."""
    # A certificate for * would be for no host, and names of this machine have no wildcards.
    return sorted({host for page in pages for host in read(page, root).hosts if "*" not in host})


def own_images(listed: Listed, catalog: Mapping[str, Any]) -> dict[str, list[str]]:
    """Find the images that are the catalog's own, which nobody publishes: image → parts of the catalog they are in."""
    own = {entry["name"]: entry["parts"] for entry in (catalog.get("images") or {}).values() if entry.get("own")}
    return {image: list(own[repository(image)]) for image in listed.images if repository(image) in own}


def parts(pages: Iterable[str], root: Path = ROOT) -> list[str]:
    """Name the parts of the catalog that hold images of these pages, sorted."""
    pages = list(pages)
    catalog = _catalog(root) if pages else {}
    found = [own_images(read(page, root), catalog) for page in pages]
    return sorted({part for images in found for named in images.values() for part in named})


def parts_of_images(names: Iterable[str], root: Path = ROOT) -> list[str]:
    """Name the parts of the catalog that hold images of these names there, sorted; an unknown name is in none."""
    images = _catalog(root).get("images") or {}
    return sorted({part for name in names for part in (images.get(name) or {}).get("parts") or []})


def need_a_mirror(pages: Iterable[str], root: Path = ROOT) -> bool:
    """Tell whether nodes can get images of these pages from a mirror alone; a page that cannot work needs nothing."""
    try:
        return bool(parts(pages, root))
    except SlipwayError:
        return False


def _catalog(root: Path) -> Mapping[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load((root / "artifacts" / "catalog.yml").read_text(encoding="utf-8"), Loader=loader)  # noqa: S506
    except (OSError, ValueError, yaml.YAMLError):
        # Role artifacts reads it next, and says what is wrong with it.
        return {}
    return content if isinstance(content, dict) else {}


# What would work where an image has no publisher. (With hosts: one of them with role: mirror.)
NEEDS_MIRROR = "cluster_mirror: true, or cluster_releases: []"
LIST = "cluster_releases"


def faults(
    pages: Iterable[str], root: Path, *, parts_on: Mapping[str, bool], with_mirror: bool, gateway_api: bool = True
) -> Iterator[Fault]:
    """Find what keeps the listed releases from being released."""
    seen: dict[str, int] = {}
    taken: dict[str, str] = {}
    catalog = _catalog(root)
    for index, page in enumerate(pages):
        key = (LIST, index)
        if not page_of(page, root).is_file():
            yield Fault("file-missing", key, "is no file of the checkout", f"{LIST}: [releases/sms-checker.yml]")
            continue
        try:
            listed = read(page, root)
        except SettingsError as exc:
            first, more = exc.problems[0], len(exc.problems) - 1
            what = f"cannot work: {first.sentence}" + (f"; and {more} more" if more else "")
            yield Fault("release-page-wrong", key, what, first.works)
            continue
        whose = f"{listed.namespace}/{listed.name}"
        if whose in seen:
            what = f"is release {whose}, as entry {seen[whose] + 1} of the list is"
            yield Fault("duplicate-value", key, what, "each release once; another name or namespace on its page")
            continue
        seen[whose] = index
        for host in listed.hosts:
            if host in taken:
                what = f"answers on {host}, as {taken[host]} does"
                yield Fault("duplicate-host", key, what, "another host on one of the two pages")
            taken.setdefault(host, whose)
        own = sorted(own_images(listed, catalog))
        if own and not with_mirror:
            what = f"runs {own[0]}, which nodes can only get from a mirror"
            yield Fault("image-needs-mirror", key, what, NEEDS_MIRROR)
        if listed.http_routes and not gateway_api:
            what = "has output: gateway-api, which this cluster does not have"
            yield Fault("no-gateway-api", key, what, "cluster_gateway_api: true")
        if listed.alerts and not parts_on["monitoring"]:
            what = "asks for alerts, which without monitoring are left out"
            yield Fault("alerts-left-out", key, what, "monitoring: true", warning=True)
    if seen and not parts_on["istio"]:
        yield Fault("no-mesh", (LIST,), "a release needs the mesh, which is off", "cluster_parts: {istio: true}")
