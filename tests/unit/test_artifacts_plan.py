"""Which way items come."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slipway.artifacts import engine, plan
from slipway.artifacts.manifest import Manifest

from tests.support.errors import refused


def settings(**changes: Any) -> plan.BundleSettings:
    known: dict[str, Any] = {"kubernetes_version": "1.37.0", "parts": [], "suites": []}
    return plan.BundleSettings(**(known | {"folder": Path(), "state": Path(), "cache": Path()} | changes))


NEED = plan.Wanted(
    files=[
        plan.FileItem("a", "1", "dl.k8s.io/a", "dl.k8s.io/a.sha256", None, "x"),
        plan.FileItem("b", "1", "dl.k8s.io/b", "", None, "x"),
        plan.FileItem("c", "1", "github.com/c", "", None, "x"),
    ],
    images=[plan.ImageItem("i", "docker.io/istio/pilot", "1", "1", ""), plan.ImageItem("p", "quay.io/p", "1", "1", "")],
    packages=[],
)


def test_each_host_is_asked_once_for_something_that_is_needed() -> None:
    assert plan.probe_urls(NEED, settings()) == {
        "files": {"dl.k8s.io": "https://dl.k8s.io/a.sha256", "github.com": "https://github.com/c"},
        "images": {"docker.io": "https://registry-1.docker.io/v2/", "quay.io": "https://quay.io/v2/"},
    }


def test_behind_a_prefix_the_prefix_is_asked() -> None:
    urls = plan.probe_urls(NEED, settings(upstream_prefix="http://x:1/", registry_prefix="http://x:2/"))
    assert urls == {
        "files": {"dl.k8s.io": "http://x:1/dl.k8s.io/a.sha256", "github.com": "http://x:1/github.com/c"},
        "images": {"docker.io": "http://x:2/v2/", "quay.io": "http://x:2/v2/"},
    }


def test_a_name_that_takes_forever_to_look_up_counts_as_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def reachable(url: str, _timeout: float) -> str:
        if "slow" in url:
            time.sleep(30)
        return ""

    monkeypatch.setattr(plan, "reachable", reachable)
    started = time.monotonic()
    failed = plan.probe({"files": {"slow.org": "https://slow.org", "quick.org": "https://quick.org"}}, timeout=0.5)
    assert failed == {"files": {"slow.org": "no answer within 1 s"}}
    assert time.monotonic() - started < 5


def manifest(*sources: str) -> Manifest:
    files = {
        str(number): {"version": "1", "address": "x", "sha256": "", "size": 1, "source": source}
        for number, source in enumerate(sources)
    }
    return Manifest.model_validate({"files": files})


@pytest.mark.parametrize(
    ("sources", "way"),
    [(["built", "built"], "source"), (["upstream"], "upstream"), (["built", "upstream"], None), ([], None)],
)
def test_the_last_runs_way_is_known_when_it_was_one(sources: list[str], way: str | None) -> None:
    assert plan.previous_way(manifest(*sources), "files") == way


def test_what_is_our_own_says_nothing_of_the_last_runs_way() -> None:
    assert plan.previous_way(manifest("built", "upstream"), "files", {"0"}) == "upstream"


def test_nobody_is_asked_for_what_is_our_own() -> None:
    need = plan.Wanted(files=[], images=[plan.ImageItem("s", "example.com/shop", "1", "1", "", own=True)], packages=[])
    assert plan.probe_urls(need, settings()) == {"files": {}, "images": {}}


def test_without_a_last_run_there_is_no_way() -> None:
    assert plan.previous_way(None, "files") is None


@pytest.mark.parametrize("text", [None, "", "{", '{"format": 9}', "[]"])
def test_a_manifest_that_cannot_be_read_counts_as_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "bundle.json").write_text(text)
    assert plan.previous_manifest(tmp_path) is None


def test_the_notice_names_the_hosts_and_what_is_wrong() -> None:
    assert plan.notices({"files": {"dl.k8s.io": "HTTP 403"}, "images": {}}) == [
        "files are built from source: upstream cannot be reached (dl.k8s.io: HTTP 403)",
        "images come from upstream: all its hosts answer",
    ]


BUILT = [plan.FileItem(name, "1", f"dl.k8s.io/{name}", "", None, "") for name in ("kubeadm", "kubelet", "kubectl")]
SOURCE: dict[plan.Kind, plan.Way] = {"files": "source", "images": "source"}


@pytest.mark.parametrize(
    ("need", "ways", "names"),
    [
        (NEED._replace(files=BUILT), SOURCE, "kubeadm, kubelet, kubectl and 2 more"),
        (NEED._replace(files=BUILT), {**SOURCE, "images": "upstream"}, "kubeadm, kubelet, kubectl"),
        # What cannot be built is left out.
        (NEED, SOURCE, "i, p"),
        (NEED, {**SOURCE, "images": "upstream"}, ""),
        (NEED._replace(files=BUILT), {"files": "upstream", "images": "upstream"}, ""),
    ],
)
def test_what_would_be_built_for_nobody_is_named(
    need: plan.Wanted, ways: dict[plan.Kind, plan.Way], names: str
) -> None:
    said = plan.built_for_nobody(need, ways)
    assert said.startswith(f"{names} would be built here" if names else "")
    assert bool(said) == bool(names)


def test_nothing_is_built_for_nodes_that_have_no_mirror_to_get_it_from() -> None:
    # These jobs cannot even be made.
    jobs: Any = SimpleNamespace(settings=settings(source="source", mirror=False))
    with refused("source-needs-mirror: cluster_mirror: true"):
        engine.choose(jobs, NEED, None, lambda _: None)
