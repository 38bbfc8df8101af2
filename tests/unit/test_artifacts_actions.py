"""The actions artifacts and local_image get what settings and the proxy of the page say, or tell why they cannot."""

from __future__ import annotations

import http.server
import os
import threading
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from slipway.artifacts import download, local, process
from slipway.errors import SlipwayError

from tests.support.errors import refused
from tests.support.plugins import load, run_action


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    plugin = load("action", "artifacts")
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plugin, "die_with_parent", lambda: None)
    arguments = {
        "kubernetes_version": "1.37.0",
        "parts": ["kubernetes"],
        "folder": str(tmp_path / "artifacts"),
        "state": str(tmp_path / "state"),
    }
    return plugin, arguments


def test_artifacts_are_got_as_the_settings_say(
    artifacts: tuple[Any, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, arguments = artifacts
    calls: list[tuple[Any, bool, bool]] = []

    def run(settings: Any, _say: Any, *, check: bool, only_cached: bool, bar: Any) -> Any:
        assert bar is None, "nobody looks at a test"
        calls.append((settings, check, only_cached))
        return SimpleNamespace(changed=True, manifest=None if check else SimpleNamespace(as_json=lambda: {"a": 1}))

    monkeypatch.setattr(plugin, "run", run)
    assert run_action(plugin, arguments)["manifest"] == {"a": 1}
    pretended = run_action(plugin, {**arguments, "source": "upstream"}, check=True)
    assert (pretended["changed"], "manifest" in pretended) == (True, False)
    run_action(plugin, {**arguments, "only_cached": True})
    assert [(settings.source, settings.cache, check, only_cached) for settings, check, only_cached in calls] == [
        ("auto", tmp_path / "cache", False, False),
        ("upstream", tmp_path / "cache", True, False),
        ("auto", tmp_path / "cache", False, True),
    ]


def test_a_terminal_gets_a_bar_that_is_not_in_the_log(
    artifacts: tuple[Any, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, arguments = artifacts
    shown: list[tuple[str, dict[str, bool]]] = []
    monkeypatch.setattr(plugin.Display(), "display", lambda text, **how: shown.append((text, how)))
    monkeypatch.setattr(plugin, "TERMINAL", True)

    def run(_settings: Any, say: Any, *, bar: Any, **_more: Any) -> Any:
        bar("10 %")
        say("a line")
        bar("")
        return SimpleNamespace(changed=False, manifest=None)

    monkeypatch.setattr(plugin, "run", run)
    run_action(plugin, arguments)
    drawn, gone = {"screen_only": True, "newline": True}, {"screen_only": True, "newline": False}
    back = "\x1b[1A\x1b[2K"
    assert shown == [("10 %", drawn), (back, gone), ("a line", {}), ("10 %", drawn), (back, gone)]


@pytest.mark.parametrize(
    ("page", "seen"),
    [
        # What the page says of one proxy holds for all of them.
        (
            {"http_proxy": "", "https_proxy": "http://page:1", "no_proxy": "a.org"},
            ({"https": "http://page:1", "no": "a.org"}, {"https_proxy=http://page:1", "no_proxy=a.org"}),
        ),
        (
            {},
            (
                {"https": "http://mine:1", "http": "http://mine:2"},
                {"HTTPS_PROXY=http://mine:1", "http_proxy=http://mine:2"},
            ),
        ),
    ],
)
def test_artifacts_go_by_the_proxy_of_the_page(
    page: dict[str, str],
    seen: tuple[dict[str, str], set[str]],
    artifacts: tuple[Any, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin, arguments = artifacts
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", "http://mine:1")
    monkeypatch.setenv("http_proxy", "http://mine:2")
    before = dict(os.environ)
    found: list[Any] = []

    def run(*_arguments: Any, **_more: Any) -> Any:
        found.append(urllib.request.getproxies_environment())
        process.run(["env"], log=tmp_path / "log", stop=threading.Event())
        found.append({line for line in (tmp_path / "log").read_text().splitlines() if "_proxy=" in line.lower()})
        return SimpleNamespace(changed=False, manifest=None)

    monkeypatch.setattr(plugin, "run", run)
    # urlopen has been in use by then.
    urllib.request.install_opener(urllib.request.build_opener())
    run_action(plugin, {**arguments, "environment": page} if page else arguments)
    assert tuple(found) == seen
    assert dict(os.environ) == before


def test_downloads_go_through_the_proxy_of_the_page() -> None:
    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_: Any) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        with process.environment({"http_proxy": f"http://127.0.0.1:{proxy.server_port}"}):
            assert (
                download.read_text("http://upstream.invalid/sums", threading.Event()) == "http://upstream.invalid/sums"
            )
        proxy.shutdown()


def test_artifacts_that_cannot_be_had_are_told_in_a_sentence(
    artifacts: tuple[Any, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, arguments = artifacts

    def run(*_arguments: Any, **_more: Any) -> Any:
        raise SlipwayError("download-failed", "kubelet: upstream does not answer")

    monkeypatch.setattr(plugin, "run", run)
    with refused("download-failed: kubelet", AnsibleActionFail):
        run_action(plugin, arguments)
    with pytest.raises(AnsibleActionFail, match="one of: auto, upstream, source"):
        run_action(plugin, {**arguments, "source": "somewhere"})


def test_an_image_is_taken_in_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    calls: list[tuple[Any, ...]] = []
    image = local.LocalImage(name="ghcr.io/shop/web", tag="dev", digest="sha256:1", blobs=[])

    def taken(*arguments: Any, architectures: list[str], write: bool) -> tuple[Any, bool]:
        calls.append((*arguments, architectures, write))
        return image, True

    told: list[str] = []
    monkeypatch.setattr(local, "load", taken)
    monkeypatch.setattr(local, "not_for", lambda _image, _root, nodes: nodes[1:])
    monkeypatch.setattr("ansible.utils.display.Display.warning", lambda _self, text, **_more: told.append(text))
    nodes = ["amd64", "arm64"]
    arguments = {"image": " ghcr.io/shop/web:dev ", "state": str(tmp_path), "bundled": ["a:1"], "architectures": nodes}
    result = run_action(load("action", "local_image"), arguments, check=True)
    assert (result["changed"], result["registry"], result["pinned"]) == (True, "ghcr.io", image.pinned)
    assert calls == [("ghcr.io/shop/web:dev", tmp_path / "cache" / local.FOLDER, tmp_path, ["a:1"], nodes, False)]
    assert "ghcr.io/shop/web:dev cannot run on nodes that are arm64" in told[0]


def test_an_image_that_is_not_there_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    with refused("file-missing", AnsibleActionFail):
        run_action(load("action", "local_image"), {"image": "./none.tar", "state": str(tmp_path)})
