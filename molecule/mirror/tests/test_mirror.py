"""The mirror serves the whole bundle under upstream's names, and keeps doing so."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tests.support.image import saved
from tests.support.kube import Kube, eventually

testinfra_hosts = ["ansible://mirror"]

ROOT = Path(__file__).parents[3]

ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)
# A proxy of the environment has no business between this machine and the lab.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str) -> tuple[bytes, dict[str, str]]:
    """Body and headers of an answer."""
    with opener.open(urllib.request.Request(url, headers={"Accept": ACCEPT}), timeout=60) as answer:
        return answer.read(), {name.lower(): value for name, value in answer.headers.items()}


def digest_of(url: str) -> str:
    """sha256 of what ``url`` gives, read in pieces."""
    with opener.open(url, timeout=60) as answer:
        return f"sha256:{hashlib.file_digest(answer, 'sha256').hexdigest()}"


@pytest.fixture
def address(host: Host) -> str:
    return f"http://{host.ansible.get_variables()['node_address']}"


def test_every_file_has_the_sum_of_the_manifest(address: str, kube: Kube) -> None:
    for name, item in kube.bundle["files"].items():
        assert digest_of(f"{address}/{item['address']}") == f"sha256:{item['sha256']}", name


def test_every_image_has_the_digest_of_the_manifest(address: str, kube: Kube) -> None:
    for name, image in kube.bundle["images"].items():
        body, headers = get(f"{address}/v2/{image['name']}/manifests/{image['tag']}")
        assert headers["docker-content-digest"] == image["digest"], name
        assert f"sha256:{hashlib.sha256(body).hexdigest()}" == image["digest"], name


def test_every_layer_of_every_image_is_there_and_whole(address: str, kube: Kube) -> None:
    for name, image in kube.bundle["images"].items():
        for manifest in manifests(f"{address}/v2/{image['name']}", image["tag"]):
            for part in [manifest["config"], *manifest["layers"]]:
                assert digest_of(f"{address}/v2/{image['name']}/blobs/{part['digest']}") == part["digest"], name


def manifests(repository: str, reference: str) -> list[dict[str, Any]]:
    """The manifests behind ``reference``: its own, or those of the platforms that an index holds."""
    body, _ = get(f"{repository}/manifests/{reference}")
    found: dict[str, Any] = json.loads(body)
    if "manifests" not in found:
        return [found]
    linux = [
        entry["digest"]
        for entry in found["manifests"]
        if entry.get("platform", {}).get("os") == "linux" and entry.get("platform", {}).get("architecture") == "amd64"
    ]
    return [manifest for digest in linux for manifest in manifests(repository, digest)]


def test_every_package_that_apt_is_told_of_is_served(address: str, kube: Kube) -> None:
    for suite, packages in kube.bundle["packages"].items():
        index, _ = get(f"{address}/{packages['path']}/Packages")
        paragraphs = [
            dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith(" "))
            for text in index.decode().strip().split("\n\n")
        ]
        assert {paragraph["Package"] for paragraph in paragraphs} >= set(packages["names"]), suite
        for paragraph in paragraphs:
            served = digest_of(f"{address}/{packages['path']}/{paragraph['Filename'].removeprefix('./')}")
            assert served == f"sha256:{paragraph['SHA256']}", paragraph["Package"]


def test_what_is_not_in_the_bundle_is_not_found(address: str) -> None:
    for path in ("/dl.k8s.io/release/v0.0.0/bin/linux/amd64/kubelet", "/v2/registry.k8s.io/pause/manifests/none"):
        assert refused(urllib.request.Request(f"{address}{path}")) == 404


def load_image(text: str) -> tuple[int, str]:
    """Run the playbook behind `make load-image` on the lab: its exit code, and all that it said."""
    done = subprocess.run(
        ["ansible-playbook", "--inventory=molecule/inventory", "playbooks/load-image.yml", "-e", f"load_image={text}"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def no_image_loaded() -> Iterator[None]:
    """The lab's other scenarios shall not meet what is loaded here."""
    record = ROOT / "molecule/.lab/state/images.json"
    record.unlink(missing_ok=True)
    yield
    record.unlink(missing_ok=True)


@pytest.mark.usefixtures("no_image_loaded")
def test_an_image_that_was_built_here_is_served_under_its_own_name(address: str, tmp_path: Path) -> None:
    code, said = load_image(str(saved(tmp_path, "slipway-test/loaded:1")))
    assert code == 0, said
    repository = f"{address}/v2/docker.io/slipway-test/loaded"
    body, headers = get(f"{repository}/manifests/1")
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert f"image: docker.io/slipway-test/loaded@{digest}" in said
    assert headers["content-type"] == "application/vnd.oci.image.manifest.v1+json"
    assert get(f"{repository}/manifests/{digest}")[0] == body
    manifest = json.loads(body)
    for part in [manifest["config"], *manifest["layers"]]:
        assert digest_of(f"{repository}/blobs/{part['digest']}") == part["digest"]
    code, said = load_image(str(saved(tmp_path, "slipway-test/loaded:1")))
    assert code == 0, said
    assert not re.search(r"changed=[1-9]", said), said


@pytest.mark.usefixtures("no_image_loaded")
def test_an_image_of_the_bundle_is_not_replaced(address: str, kube: Kube, tmp_path: Path) -> None:
    pause = kube.bundle["images"]["pause"]
    code, said = load_image(str(saved(tmp_path, f"{pause['name']}:{pause['tag']}")))
    assert code != 0
    assert "is in the bundle, which goes first" in said
    _, headers = get(f"{address}/v2/{pause['name']}/manifests/{pause['tag']}")
    assert headers["docker-content-digest"] == pause["digest"]


def test_nobody_can_push(address: str) -> None:
    uploads = f"{address}/v2/registry.k8s.io/pause/blobs/uploads/"
    assert refused(urllib.request.Request(uploads, method="POST", data=b"")) in (403, 405)


def refused(request: urllib.request.Request) -> int:
    """Status of an answer that is an error."""
    with pytest.raises(urllib.error.HTTPError) as raised:
        opener.open(request, timeout=10)
    with raised.value as answer:
        return int(answer.code)


def test_the_registry_listens_on_loopback_alone(host: Host) -> None:
    listening = host.check_output("ss --no-header --listening --tcp --numeric '( sport = 5000 )'")
    assert {line.split()[3].rpartition(":")[0] for line in listening.splitlines()} <= {"127.0.0.1", "[::1]"}


def test_the_registry_is_back_after_a_kill(host: Host, address: str) -> None:
    with host.sudo():
        host.check_output("systemctl kill --signal=KILL slipway-registry.service")
    eventually(lambda: served(f"{address}/v2/"), seconds=30, what="the registry answers again")


@pytest.mark.parametrize("whom", ["main", "all"])
def test_the_web_server_is_back_after_a_kill(host: Host, address: str, whom: str) -> None:
    before = host.service("nginx").systemd_properties["MainPID"]
    with host.sudo():
        host.check_output("systemctl kill --signal=KILL --kill-who=%s nginx.service", whom)
    eventually(
        lambda: host.service("nginx").systemd_properties["MainPID"] not in (before, "0") and served(f"{address}/v2/"),
        seconds=30,
        what="another nginx answers",
    )


def served(url: str) -> bool:
    try:
        get(url)
    except (urllib.error.URLError, ConnectionError):
        return False
    return True
