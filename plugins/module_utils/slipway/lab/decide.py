"""What a page with ``auto`` leaves open: which provider makes the machines, their box, and whether there is a mirror.

The plan asks here, and so do the checks of this computer. Nothing here starts a program.
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
from pathlib import Path

from ..node.architecture import AMD64, of_this_computer
from ..page.machines import MIRROR_NAME
from ..page.model import Settings
from .vagrant import home, taken_in

# What decides whether upstream is there: any answer at all of the host that serves Kubernetes' binaries.
UPSTREAM = "https://dl.k8s.io/"
UPSTREAM_SECONDS = 3.0
# The box of ``auto``, and who gives it out.
UPSTREAM_BOX = "bento/ubuntu-24.04"
BOXES = "https://vagrantcloud.com/"
# Whether machines are made with what roles would install: where it can be done; or a run stops; not at all.
AUTO, ALWAYS, NEVER = "auto", "always", "never"
DEBIAN_GEMS = Path("/usr/share/rubygems-integration")


def detect_provider() -> str:
    """Find the provider that ``auto`` means here: VirtualBox, else libvirt, else docker."""
    if shutil.which("VBoxManage") and (sys.platform != "linux" or Path("/dev/vboxdrv").exists()):
        return "virtualbox"
    sockets = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")
    if any(map(listens, sockets)) and _has_libvirt_plugin():
        return "libvirt"
    return "docker"


def listens(path: str) -> bool:
    """Tell whether somebody listens at a socket; one that was killed has left its file."""
    with socket.socket(socket.AF_UNIX) as wire:
        try:
            wire.connect(path)
        except PermissionError:
            return True
        except OSError:
            return False
    return True


def _has_libvirt_plugin() -> bool:
    """Tell whether Vagrant has vagrant-libvirt: from Debian, or installed by the user."""
    if any(DEBIAN_GEMS.glob("*/specifications/vagrant-libvirt-*.gemspec")):
        return True
    try:
        return "vagrant-libvirt" in json.loads((home() / "plugins.json").read_text(encoding="utf-8"))["installed"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def decide_provider(settings: Settings, existing: dict[str, tuple[str, str]]) -> str:
    """Follow the page; where it says auto, stay with the machines that exist."""
    if settings.cluster_provider != "auto":
        return settings.cluster_provider
    return existing[min(existing)][0] if existing else detect_provider()


def decide_mirror(settings: Settings, provider: str, existing: dict[str, tuple[str, str]], state: Path) -> bool:
    """Tell whether there is a mirror. What was found out for the first machine holds for as long as there is one."""
    if provider == "hosts":
        return any(host.role == "mirror" for host in settings.cluster_hosts)
    if settings.cluster_mirror != "auto":
        return settings.cluster_mirror
    if provider == "docker" or MIRROR_NAME in existing or _releases_need_one(settings):
        return True
    if settings.cluster_artifacts_from != "auto":
        return settings.cluster_artifacts_from == "source"
    return not _reachable(state / "upstream.json", UPSTREAM, settings.cluster_proxy.https, existing)


def decide_baked(settings: Settings) -> str:
    """Say whether machines are made with what roles would install on them: ``AUTO``, ``ALWAYS`` or ``NEVER``."""
    return said_of_baked(settings.cluster_baked)


def said_of_baked(value: object) -> str:
    """Read the key of the page: true and false, and anything else is for the checks to refuse."""
    return ALWAYS if value is True else NEVER if value is False else AUTO


def decide_box(settings: Settings, existing: dict[str, tuple[str, str]], state: Path, provider: str) -> str:
    """Name the Vagrant box of virtual machines; empty: one is built. What was found out holds while machines exist."""
    if settings.cluster_box != "auto":
        return "" if settings.cluster_box == "built" else settings.cluster_box
    # A box is built on Debian and the like, for amd64. Vagrant itself knows the environment's proxy, not the page's.
    if sys.platform != "linux" or of_this_computer() != AMD64 or taken_in(UPSTREAM_BOX, provider, AMD64):
        return UPSTREAM_BOX
    return UPSTREAM_BOX if _reachable(state / "box.json", BOXES, "", existing) else ""


def _reachable(note: Path, address: str, proxy: str, existing: dict[str, tuple[str, str]]) -> bool:
    """Tell whether ``address`` answers, or did before the first machine was made (``note``)."""
    if existing:
        try:
            return json.loads(note.read_text(encoding="utf-8"))["reachable"] is not False
        except (OSError, ValueError, KeyError, TypeError):
            return True
    reachable = upstream_answers(proxy, address)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"reachable": reachable}) + "\n", encoding="utf-8")
    return reachable


def _releases_need_one(settings: Settings) -> bool:
    if not settings.cluster_releases:
        return False
    # Every Vagrant command reads the cluster's page, and most list no release.
    from ..release.listed import need_a_mirror

    return need_a_mirror(settings.cluster_releases)


def upstream_answers(proxy: str = "", url: str = UPSTREAM) -> bool:
    """Tell whether upstream gives any answer within ``UPSTREAM_SECONDS``, through ``proxy`` or the environment's."""
    import urllib.error
    import urllib.request

    handler = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else None)
    try:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310  the caller's own http(s) address
        urllib.request.build_opener(handler).open(request, timeout=UPSTREAM_SECONDS).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True
