"""Files from upstream: sums, resumed downloads, and servers that misbehave."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from slipway.artifacts.cache import digest_of

from tests.support.errors import refused
from tests.support.kubernetes import SHIPPED

if TYPE_CHECKING:
    from tests.artifacts.conftest import Upstream, Yard

ADDRESS = f"dl.k8s.io/release/v{SHIPPED}/bin/linux/amd64/kubelet"
CHECKSUM = f"{ADDRESS}.sha256"
CONTENT = b"kubelet" * 300_000
OTHER = b"something else" * 100_000


@pytest.fixture
def site(yard: Yard) -> Yard:
    """A catalog with one file, the kubelet."""
    yard.catalog(
        files={
            "kubelet": {
                "version": "{{ kubernetes }}",
                "address": "dl.k8s.io/release/v{{ version }}/bin/linux/amd64/kubelet",
                "checksum": "{{ address }}.sha256",
                "parts": ["kubernetes"],
                "build": {"program": "kubernetes", "binary": "kubelet"},
            }
        }
    )
    return yard


def test_a_file_with_its_publishers_sum_comes_and_its_sum_is_kept(site: Yard, upstream: Upstream) -> None:
    sha256 = upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    outcome = site.run(upstream_prefix=upstream.prefix)
    assert outcome.changed
    assert outcome.manifest
    kubelet = outcome.manifest.files["kubelet"]
    assert (kubelet.source, kubelet.sha256, kubelet.size, kubelet.address) == (
        "upstream",
        sha256,
        len(CONTENT),
        ADDRESS,
    )
    assert (Path(outcome.manifest.path) / "files" / ADDRESS).read_bytes() == CONTENT
    assert site.locked()["files"] == {ADDRESS: sha256}
    assert site.lines[0] == "to do: 1 of 1 items (1 downloaded)"
    assert re.fullmatch(r"\[1/1\] kubelet 1\.37\.2 downloaded in [\d.]+ s, 2\.1 MB", site.lines[1])


def test_a_second_run_asks_nobody(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    first = site.run(upstream_prefix=upstream.prefix)
    upstream.asked.clear()
    second = site.run(upstream_prefix=upstream.prefix)
    assert upstream.asked == []
    assert not second.changed
    assert second.manifest == first.manifest


def test_a_clone_without_the_lock_only_asks_for_the_sum(site: Yard, upstream: Upstream) -> None:
    sha256 = upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    site.run(upstream_prefix=upstream.prefix)
    (site.folder / "lock.yml").unlink()
    upstream.asked.clear()
    site.run(upstream_prefix=upstream.prefix)
    assert [path for _method, path, _range in upstream.asked] == [CHECKSUM]
    assert site.locked()["files"] == {ADDRESS: sha256}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("{sum}", "", id="bare"),
        pytest.param("{other}  kubeadm\n{sum}  kubelet\n", "", id="list"),
        pytest.param("{sum} *kubelet\n", "", id="binary-mode"),
        pytest.param("SHA256 (kubelet) = {sum}\n", "", id="bsd"),
        pytest.param("{other}  kubeadm\n", "no-checksum: does not name it", id="another-file"),
        pytest.param(None, "no-checksum: does not exist", id="absent"),
    ],
)
def test_publishers_write_sums_in_many_ways(site: Yard, upstream: Upstream, text: str | None, says: str) -> None:
    sha256 = upstream.publish(ADDRESS, CONTENT)
    if text is not None:
        upstream.files[CHECKSUM] = text.format(sum=sha256, other="0" * 64).encode()
    if not says:
        assert site.run(upstream_prefix=upstream.prefix).changed
        return
    with refused(says) as stopped:
        site.run(upstream_prefix=upstream.prefix)
    assert "cluster_accept_unverified: true" in str(stopped.value)
    assert ADDRESS in str(stopped.value)
    assert upstream.fetched(ADDRESS) == []


def test_an_unverified_file_can_be_accepted_once(site: Yard, upstream: Upstream) -> None:
    sha256 = upstream.publish(ADDRESS, CONTENT)
    assert site.run(upstream_prefix=upstream.prefix, accept_unverified=True).changed
    assert site.locked()["files"] == {ADDRESS: sha256}
    assert not site.run(upstream_prefix=upstream.prefix).changed
    upstream.publish(ADDRESS, OTHER)
    assert not site.run(upstream_prefix=upstream.prefix, accept_unverified=True).changed


def test_a_wrong_sum_stops_the_run_and_names_both(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT)
    site.lock(files={ADDRESS: "1" * 64})
    with refused("checksum-differs") as stopped:
        site.run(upstream_prefix=upstream.prefix)
    text = str(stopped.value)
    assert hashlib.sha256(CONTENT).hexdigest() in text
    assert "1" * 64 in text
    assert f"artifacts/lock.yml (files: {ADDRESS})" in text
    assert site.left_behind() == []
    assert not (site.state / "bundle.json").exists()
    assert site.locked()["files"] == {ADDRESS: "1" * 64}


def test_a_publisher_that_contradicts_its_file_stops_the_run(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    upstream.files[ADDRESS] = OTHER
    with refused("checksum-differs: its publisher"):
        site.run(upstream_prefix=upstream.prefix)
    assert not (site.folder / "lock.yml").exists()


def test_a_missing_file_is_named(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    del upstream.files[ADDRESS]
    with refused(f"not-on-server: {upstream.prefix}{ADDRESS}"):
        site.run(upstream_prefix=upstream.prefix)
    assert len(upstream.fetched(ADDRESS)) == 1


def test_a_cut_download_goes_on_where_it_stopped(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    upstream.cuts[ADDRESS] = [500_000, 300_000]
    assert site.run(upstream_prefix=upstream.prefix).changed
    assert upstream.fetched(ADDRESS) == ["", "bytes=500000-", "bytes=800000-"]


def test_a_server_without_ranges_sends_it_all_again(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    upstream.ranges = False
    upstream.cuts[ADDRESS] = [500_000]
    assert site.run(upstream_prefix=upstream.prefix).changed


def test_a_server_that_goes_away_is_reported_and_the_next_run_goes_on(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    upstream.cuts[ADDRESS] = [400_000, 0, 0, 0, 0]
    with refused("download-failed: 5 tries, 0.4 MB"):
        site.run(upstream_prefix=upstream.prefix)
    assert site.left_behind() == []
    upstream.asked.clear()
    assert site.run(upstream_prefix=upstream.prefix).changed
    assert upstream.fetched(ADDRESS) == ["bytes=400000-"]


def test_a_server_that_is_not_there_is_reported(site: Yard) -> None:
    with refused("download-failed: Connection refused"):
        site.run(upstream_prefix="http://127.0.0.1:9/")


@pytest.mark.parametrize("code", [500, 503, 429])
def test_a_busy_server_is_asked_again(site: Yard, upstream: Upstream, code: int) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    upstream.codes[ADDRESS] = [code, code, 0]
    assert site.run(upstream_prefix=upstream.prefix).changed


def test_a_refusal_is_not_repeated(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    upstream.codes[ADDRESS] = [403]
    with refused("download-failed: HTTP 403"):
        site.run(upstream_prefix=upstream.prefix)
    assert len(upstream.fetched(ADDRESS)) == 1


def test_an_old_partial_file_of_something_else_does_not_hurt(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    part = site.cache / "downloads" / f"{digest_of(f'{upstream.prefix}{ADDRESS}')}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(OTHER[:1000])
    assert site.run(upstream_prefix=upstream.prefix).changed


def test_a_partial_file_that_is_whole_is_not_fetched_again(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    part = site.cache / "downloads" / f"{digest_of(f'{upstream.prefix}{ADDRESS}')}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert site.run(upstream_prefix=upstream.prefix).changed
    assert upstream.fetched(ADDRESS) == [f"bytes={len(CONTENT)}-"]


def test_check_mode_says_what_it_would_get_and_leaves_nothing(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    outcome = site.run(check=True, upstream_prefix=upstream.prefix)
    assert outcome.changed
    assert outcome.manifest is None
    assert site.lines == [f"[1/1] kubelet {SHIPPED} would be downloaded"]
    assert not site.cache.exists()
    assert not site.state.exists()
    assert not (site.folder / "lock.yml").exists()


def test_check_mode_on_a_finished_bundle_reports_no_change(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    site.run(upstream_prefix=upstream.prefix)
    assert not site.run(check=True, upstream_prefix=upstream.prefix).changed


def test_a_full_disk_says_how_much_is_free_and_leaves_no_half_item(
    site: Yard, upstream: Upstream, small_disk: Path
) -> None:
    upstream.publish(ADDRESS, b"x" * 6_000_000, CHECKSUM)
    with refused("disk-full: disk: … free") as stopped:
        site.run(upstream_prefix=upstream.prefix, cache=small_disk)
    assert "SLIPWAY_CACHE" in str(stopped.value)
    assert [path for path in small_disk.rglob("*") if path.is_file() and path.stat().st_size] == []


def test_auto_takes_upstream_when_all_its_hosts_answer(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    outcome = site.run(source="auto", upstream_prefix=upstream.prefix)
    assert outcome.manifest
    assert outcome.manifest.files["kubelet"].source == "upstream"
    assert site.lines[0] == "files come from upstream: all its hosts answer"


def test_auto_asks_upstream_once_and_not_at_all_once_there_is_a_bundle(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    site.run(source="auto", upstream_prefix=upstream.prefix)
    assert [method for method, _path, _range in upstream.asked].count("HEAD") == 1
    upstream.asked.clear()
    assert not site.run(source="auto", upstream_prefix=upstream.prefix).changed
    assert upstream.asked == []


def test_auto_builds_and_says_why_when_upstream_does_not_answer(site: Yard, upstream: Upstream) -> None:
    outcome = site.run(check=True, source="auto", upstream_prefix=upstream.prefix)
    assert outcome.changed
    assert site.lines[0] == "files are built from source: upstream cannot be reached (dl.k8s.io: HTTP 404)"
    assert site.lines[-1] == f"[3/3] kubelet {SHIPPED} would be from kubernetes"


def test_a_version_without_a_recipe_can_only_come_from_upstream(site: Yard, upstream: Upstream) -> None:
    release = f"{SHIPPED.rpartition('.')[0]}.99"
    newer = ADDRESS.replace(SHIPPED, release)
    upstream.publish(newer, CONTENT, f"{newer}.sha256")
    with refused(f"not-buildable: kubelet {release} … kubernetes … {SHIPPED}"):
        site.run(source="source", kubernetes_version=release)
    assert site.run(upstream_prefix=upstream.prefix, kubernetes_version=release).changed


def test_what_cannot_be_built_is_named_with_its_reason(yard: Yard, upstream: Upstream) -> None:
    address = "dl.grafana.com/grafana-12.tar.gz"
    entry = {"version": "12.0.0", "address": address, "checksum": f"{address}.sha256", "parts": ["kubernetes"]}
    yard.catalog(
        files={"grafana": entry | {"build": None, "unbuildable": "its web pages need npm packages that are not pinned"}}
    )
    outcome = yard.run(source="source")
    assert outcome.manifest
    assert [item.model_dump() for item in outcome.manifest.missing] == [
        {"name": "grafana", "reason": "its web pages need npm packages that are not pinned"}
    ]
    assert "not in the bundle: grafana" in yard.lines[0]
    upstream.publish(address, CONTENT, f"{address}.sha256")
    again = yard.run(upstream_prefix=upstream.prefix)
    assert again.manifest
    assert again.manifest.missing == []


def test_the_state_folder_gets_the_manifest_with_the_bundles_path(site: Yard, upstream: Upstream) -> None:
    upstream.publish(ADDRESS, CONTENT, CHECKSUM)
    outcome = site.run(upstream_prefix=upstream.prefix)
    assert outcome.manifest
    state = json.loads((site.state / "bundle.json").read_text())
    bundle = json.loads((Path(outcome.manifest.path) / "bundle.json").read_text())
    assert state.pop("path") == outcome.manifest.path
    assert state == bundle
    assert bundle["format"] == 1
