"""What the releases of a cluster's page need of the cluster: names, images, a mirror, parts."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from slipway.page.form import Fault
from slipway.release import listed as releases
from slipway.release.listed import Listed
from slipway.release.values import repository

from tests.support.errors import refused

ROOT = Path(__file__).parents[2]
SMS = "releases/sms-checker.yml"
CATALOG = {
    "images": {
        "app": {"name": "slipway.local/apps/app", "parts": ["apps"], "own": True},
        "other": {"name": "docker.io/library/other", "parts": ["other"]},
    }
}


def filters() -> Any:
    spec = importlib.util.spec_from_file_location("slipway_filter_releases", ROOT / "plugins/filter/releases.py")
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FilterModule().filters()


def written(folder: Path, name: str, **values: Any) -> str:
    """Write a page that is fine but for ``values``; gives its path."""
    services = {"web": {"versions": {"v1": values.pop("image", "example.org/web:1.0")}}}
    page = {"name": name, "hosts": [f"{name}.local"], "services": services, "dashboards": {}, **values}
    path = folder / f"{name}-{len(list(folder.iterdir()))}.yml"
    path.write_text(yaml.safe_dump(page), encoding="utf-8")
    return str(path)


def found(*pages: str, root: Path = ROOT, mirror: bool = True, **on: Any) -> list[Fault]:
    parts = {"istio": True, "monitoring": True, **on}
    return list(releases.faults(pages, root, parts_on=parts, with_mirror=mirror))


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("example.org/web:1.0", "example.org/web"),
        ("example.org/web", "example.org/web"),
        ("example.org:5000/web", "example.org:5000/web"),
        ("example.org:5000/web:1.0", "example.org:5000/web"),
        ("example.org/web@sha256:0", "example.org/web"),
        ("example.org:5000/web:1.0@sha256:0", "example.org:5000/web"),
    ],
)
def test_the_repository_of_an_image(image: str, name: str) -> None:
    assert repository(image) == name


@pytest.mark.parametrize(
    ("image", "own"),
    [
        ("slipway.local/apps/app:1.0", {"slipway.local/apps/app:1.0": ["apps"]}),
        ("slipway.local/apps/app@sha256:0", {"slipway.local/apps/app@sha256:0": ["apps"]}),
        ("slipway.local/apps/another:1.0", {}),
        # Published by somebody, whoever puts it into bundles too.
        ("docker.io/library/other:1.0", {}),
    ],
)
def test_only_images_that_nobody_publishes_are_our_own(image: str, own: dict[str, list[str]]) -> None:
    assert releases.own_images(Listed("a", "a", [], [image], False), CATALOG) == own


def test_the_hosts_are_those_of_all_pages_with_canaries_and_tools() -> None:
    assert releases.hosts([]) == []
    assert releases.hosts([SMS]) == [
        "canary.team8.local",
        "grafana.team8.local",
        "prometheus.team8.local",
        "team8.local",
    ]
    assert "hello.local" in releases.hosts([SMS, str(ROOT / "releases/hello.yml")])


def test_the_example_application_comes_with_releases_that_run_it(tmp_path: Path) -> None:
    assert releases.parts([]) == []
    assert releases.parts([SMS, "releases/hello.yml"]) == ["apps"]
    assert releases.parts([written(tmp_path, "foreign")]) == []
    assert releases.need_a_mirror([SMS])
    assert not releases.need_a_mirror([written(tmp_path, "foreign")])
    # That there is no such page is said where the settings are checked.
    assert not releases.need_a_mirror(["releases/none.yml"])


def test_every_shipped_release_can_be_listed() -> None:
    pages = sorted(f"releases/{path.name}" for path in (ROOT / "releases").glob("*.yml"))
    assert found(*pages) == []


def test_a_page_that_is_not_there_or_wrong_is_named_with_what_would_work(tmp_path: Path) -> None:
    wrong = written(tmp_path, "wrong", weights={"v1": 90})
    missing, broken = found("releases/none.yml", wrong)
    assert (missing.id, missing.key) == ("file-missing", ("cluster_releases", 0))
    assert missing.works.startswith("cluster_releases: [releases/")
    assert (broken.id, broken.key, broken.warning) == ("release-page-wrong", ("cluster_releases", 1), False)
    assert f"{wrong}:" in broken.what
    assert broken.what.endswith("[weights-sum]")


def test_a_release_is_listed_once_and_shares_no_host(tmp_path: Path) -> None:
    one = written(tmp_path, "one")
    (twice,) = found(one, one)
    assert (twice.id, twice.key) == ("duplicate-value", ("cluster_releases", 1))
    assert "one/one, as entry 1" in twice.what
    two = written(tmp_path, "two", hosts=["one.local"])
    (shared,) = found(one, two)
    assert (shared.id, shared.key, shared.warning) == ("duplicate-host", ("cluster_releases", 1), False)
    assert "one.local, as one/one does" in shared.what


@pytest.mark.parametrize(
    ("around", "error_id", "key", "fix", "warning"),
    [
        ({"mirror": False}, "image-needs-mirror", (0,), "cluster_mirror: true, or cluster_releases: []", False),
        ({"istio": False}, "no-mesh", (), "cluster_parts: {istio: true}", False),
        ({"monitoring": False}, "alerts-left-out", (0,), "monitoring: true", True),
    ],
)
def test_what_a_release_needs_is_there(
    around: dict[str, Any], error_id: str, key: tuple[int, ...], fix: str, warning: bool
) -> None:
    (fault,) = found(SMS, **around)
    assert (fault.id, fault.key, fault.works, fault.warning) == (error_id, ("cluster_releases", *key), fix, warning)


def test_a_release_by_http_routes_needs_the_gateway_api(tmp_path: Path) -> None:
    path = written(tmp_path, "one", output="gateway-api")
    assert releases.read(path).http_routes
    on = {"monitoring": True, "istio": True}
    assert list(releases.faults([path], ROOT, parts_on=on, with_mirror=True)) == []
    (fault,) = releases.faults([path], ROOT, parts_on=on, with_mirror=True, gateway_api=False)
    assert (fault.id, fault.key, fault.works) == (
        "no-gateway-api",
        ("cluster_releases", 0),
        "cluster_gateway_api: true",
    )


def test_without_a_list_nothing_is_asked(tmp_path: Path) -> None:
    assert found(root=tmp_path, mirror=False, istio=False, monitoring=False) == []


def test_the_filters_say_what_is_wrong_without_a_traceback() -> None:
    assert filters()["releases_parts"]([SMS]) == ["apps"]
    assert "team8.local" in filters()["releases_hosts"]([SMS])
    for name in ("releases_parts", "releases_hosts"):
        with refused("unreadable-page: releases/none.yml", AnsibleFilterError):
            filters()[name](["releases/none.yml"])
