"""Building from source: same bytes each time, and a run that is killed anywhere is taken up by the next."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from slipway.artifacts import golang, image
from slipway.artifacts.cache import Cache, default_root
from slipway.artifacts.catalog import Folder, Recipe
from slipway.errors import SlipwayError
from slipway.node.architecture import of_this_computer

from tests.support.errors import refused

if TYPE_CHECKING:
    from tests.artifacts.conftest import Yard

PAUSE = {"name": "registry.k8s.io/pause", "version": "3.10.2", "tag": "{{ version }}", "parts": ["kubernetes"]}
RUN = """
import sys
from slipway.artifacts.engine import run
from slipway.artifacts.plan import BundleSettings
run(BundleSettings.model_validate_json(sys.argv[1]), lambda line: print(line, flush=True))
"""


@pytest.fixture
def site(yard: Yard) -> Yard:
    yard.catalog(images={"pause": PAUSE})
    return yard


@pytest.fixture
def modules_only(yard: Yard) -> None:
    """Go's toolchain from the user's cache, but nothing compiled yet."""
    (default_root() / "go" / "mod").mkdir(parents=True, exist_ok=True)
    (yard.cache / "go").mkdir(parents=True)
    (yard.cache / "go" / "mod").symlink_to(default_root() / "go" / "mod")


def start(yard: Yard) -> subprocess.Popen[str]:
    settings = yard.settings(source="source").model_dump_json()
    return subprocess.Popen([sys.executable, "-c", RUN, settings], stdout=subprocess.PIPE, text=True)


def go_builds(yard: Yard) -> list[int]:
    """Processes that build for this cache."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"GOCACHE={yard.cache}/".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_for_builds(yard: Yard, wanted: bool) -> None:
    for _try in range(200):
        if bool(go_builds(yard)) == wanted:
            return
        time.sleep(0.05)
    raise AssertionError(f"builds of {yard.cache} running: {go_builds(yard)}, expected {wanted}")


def compiled(yard: Yard) -> dict[str, str]:
    """What Go's cache notes of each package that was compiled, and when: entries of archives."""
    build, found = yard.cache / "go" / "build", {}
    for entry in build.glob("??/*-a"):
        words = entry.read_text().split()
        if len(words) == 5:
            made = build / words[2][:2] / f"{words[2]}-d"
            with suppress(FileNotFoundError), made.open("rb") as file:
                if file.read(8) == b"!<arch>\n":
                    found[entry.name] = " ".join(words)
    return found


@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.usefixtures("modules_only")
def test_a_killed_run_leaves_nothing_half_made_and_the_next_ends_well(site: Yard, which: signal.Signals) -> None:
    first = start(site)
    wait_for_builds(site, True)
    deadline = time.monotonic() + 120
    while len(compiled(site)) < 3:
        assert time.monotonic() < deadline, "nothing was compiled"
        time.sleep(0.2)
    first.send_signal(which)
    first.communicate()
    wait_for_builds(site, False)
    assert list((site.cache / "items").rglob("item.json")) == []
    before = compiled(site)
    outcome = site.run(source="source")
    assert outcome.changed
    assert site.left_behind() == []
    after = compiled(site)
    assert {name: after[name] for name in before} == before, "what was compiled is not compiled again"
    assert len(after) > len(before), "the kill came within the program"
    assert not site.run(source="source").changed


def program_file(program: str, version: str) -> dict[str, Any]:
    build = {"program": program, "binary": program}
    return {"version": version, "address": f"example.com/{program}", "parts": ["kubernetes"], "build": build}


def test_modules_of_a_later_program_come_while_an_earlier_one_compiles(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is not built before the second's modules are there, and then no module can be had any more."""
    # The catalog is sorted by name.
    yard.catalog(files={"a": program_file("pause", "3.10.2"), "b": program_file("crane", "0.22.1")})
    users, stop, log = Cache(default_root()), threading.Event(), tmp_path / "log"
    recipe = Folder(yard.folder).recipe("crane", "", "test", "amd64")
    crane = yard.folder / "go" / "crane"
    golang.fetch_modules("crane", recipe, crane, artifacts=yard.folder, cache=users, log=log, stop=stop)
    monkeypatch.setenv("GOPROXY", f"file://{users.root}/go/mod/cache/download")
    (users.root / "go" / "build").mkdir(parents=True, exist_ok=True)
    (yard.cache / "go").mkdir(parents=True)
    (yard.cache / "go" / "build").symlink_to(users.root / "go" / "build")
    build, began = golang.build, []

    def patient(name: str, *arguments: Any, **more: Any) -> Any:
        began.append(name)
        if name == "pause":
            deadline = time.monotonic() + 120
            while not any("modules of crane 0.22.1 downloaded" in line for line in yard.lines):
                assert time.monotonic() < deadline, yard.lines
                time.sleep(0.05)
            monkeypatch.setenv("GOPROXY", "off")
        return build(name, *arguments, **more)

    monkeypatch.setattr(golang, "build", patient)
    outcome = yard.run(source="source")
    assert outcome.manifest
    assert began == ["pause", "crane"]
    assert sorted(outcome.manifest.files) == ["a", "b"]


def test_modules_that_cannot_be_had_are_told(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "off")
    monkeypatch.setenv("GOSUMDB", "off")
    yard.catalog(files={"crane": program_file("crane", "0.22.1")})
    with refused("download-failed: crane 0.22.1 … GOPROXY … modules-crane.log"):
        yard.run(source="source")
    assert yard.left_behind() == []


@pytest.mark.usefixtures("share_go")
def test_two_runs_at_once_build_once(site: Yard) -> None:
    runs = [start(site) for _number in range(2)]
    output = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    ends = [text.splitlines()[-1].split()[3] for text in output]
    assert ends[0] == ends[1], "both name the same bundle"
    assert len(list((site.cache / "items" / "go-pause").glob("*/item.json"))) == 1


@pytest.mark.usefixtures("share_go")
def test_the_same_recipe_gives_the_same_digest(site: Yard, tmp_path: Path) -> None:
    first = site.run(source="source").manifest
    other = tmp_path / "other"
    other.mkdir()
    (other / "go").symlink_to(default_root() / "go")
    os.umask(os.umask(0o077))
    second = site.run(source="source", cache=other, state=other / "state").manifest
    assert first
    assert second
    assert first.images == second.images
    assert first.id == second.id


@pytest.mark.usefixtures("share_go")
def test_the_layer_depends_on_nothing_but_its_members(site: Yard) -> None:
    site.run(source="source")
    (layer,) = (site.cache / "items" / "layer-pause").glob("*/layer.tar")
    shown = subprocess.run(
        ["tar", "--full-time", "--numeric-owner", "-tvf", layer], env={"TZ": "UTC", "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert shown[0] == "-rwxr-xr-x"
    assert shown[1] == "0/0"
    assert shown[3:] == ["1970-01-01", "00:00:00", "pause"]


@pytest.mark.usefixtures("modules_only")
def test_a_disk_that_fills_up_while_compiling_is_explained(site: Yard, small_disk: Path) -> None:
    (small_disk / "go").mkdir()
    (small_disk / "go" / "mod").symlink_to(site.cache / "go" / "mod")
    with refused(f"disk-full: go-pause: … {small_disk}: … free"):
        site.run(source="source", cache=small_disk)
    assert list((small_disk / "items").rglob("*.new")) == []
    assert not (site.state / "bundle.json").exists()


def test_layers_that_stand_on_each_other_are_refused(yard: Yard) -> None:
    (yard.folder / "images").unlink()
    for name, base in (("pause", "other"), ("other", "pause")):
        (yard.folder / "images" / name).mkdir(parents=True)
        (yard.folder / "images" / name / "layers.yml").write_text(f"base: {base}\nentrypoint: [/pause]\n")
    yard.catalog(images={"pause": PAUSE})
    with refused("wrong-artifact-file: pause → other → pause"):
        yard.run(source="source")


def test_a_machine_without_apt_leaves_its_packages_to_the_nodes(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    source = {"uri": "http://127.0.0.1:9/", "suites": ["bookworm"], "components": ["main"], "keyring": "/dev/null"}
    suites = {"bookworm": {"refreshed": "2026-11-21", "sources": [source]}}
    sets = {"node": {"parts": ["kubernetes"], "names": ["socat"]}}
    yard.catalog(packages={"suites": suites, "sets": sets})
    with refused("download-failed: apt-get update … bookworm … 127.0.0.1:9"):
        yard.run(suites=["bookworm"])
    monkeypatch.setenv("PATH", str(yard.folder))
    outcome = yard.run(suites=["bookworm"])
    assert outcome.manifest
    assert outcome.manifest.packages == {}
    assert [item.name for item in outcome.manifest.missing] == ["packages of bookworm"]


def test_another_flag_another_item(site: Yard) -> None:
    folder = site.folder / "go" / "pause"
    recipe = site_recipe(site)
    key = golang.recipe_key(recipe, folder, "amd64")
    assert golang.recipe_key(recipe, folder, "amd64") == key
    assert golang.recipe_key(recipe.model_copy(update={"notes": "other words", "seconds": 9}), folder, "amd64") == key
    for change in ({"ldflags": "-X main.version=0"}, {"tags": ["x"]}, {"cgo": True}, {"version": "9"}):
        assert golang.recipe_key(recipe.model_copy(update=change), folder, "amd64") != key


def test_another_source_another_item(site: Yard, tmp_path: Path) -> None:
    recipe = site_recipe(site)
    copy = tmp_path / "pause"
    shutil.copytree(site.folder / "go" / "pause", copy)
    key = golang.recipe_key(recipe, copy, "amd64")
    assert key == golang.recipe_key(recipe, site.folder / "go" / "pause", "amd64")
    (copy / "main.go").write_text("package main\nfunc main() {}\n")
    assert golang.recipe_key(recipe, copy, "amd64") != key


def site_recipe(yard: Yard) -> Recipe:
    return Folder(yard.folder).recipe("pause", "", "test", "amd64")


@pytest.mark.usefixtures("share_go")
def test_a_build_that_fails_shows_its_end_and_names_its_log(site: Yard) -> None:
    broken = site.folder / "broken"
    shutil.copytree(site.folder / "go", broken, symlinks=True)
    (site.folder / "go").unlink()
    broken.rename(site.folder / "go")
    (site.folder / "go" / "pause" / "main.go").write_text("package main\n\nfunc main() { nothing() }\n")
    with refused("build-failed") as stopped:
        site.run(source="source")
    text = str(stopped.value)
    assert "undefined: nothing" in text
    assert str(site.state / "log" / "go-pause.log") in text
    assert site.left_behind() == []


@pytest.mark.parametrize(
    ("debs", "hint"), [([], ""), (["dpkg"], ""), (["dpkg", "libnothing-dev"], "`sudo apt-get install libnothing-dev`")]
)
def test_a_machine_without_a_package_the_build_needs_is_told(site: Yard, debs: list[str], hint: str) -> None:
    said = golang.lacking(site_recipe(site).model_copy(update={"debs": debs}), of_this_computer())
    assert hint in said
    assert bool(said) == bool(hint)


def test_an_old_go_is_not_used(site: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "go").write_text("#!/bin/sh\necho go1.19.8\n")
    (programs / "go").chmod(0o755)
    installed: list[list[str]] = []

    def pip(command: list[str], **_more: object) -> None:
        installed.append(command)
        target = Path(command[command.index("--target") + 1]) / "go" / "bin" / "go"
        target.parent.mkdir(parents=True)
        target.write_text("#!/bin/sh\n")
        target.chmod(0o755)

    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setattr(golang, "run", pip)
    go = golang.bootstrap(Cache(site.cache), site.folder, tmp_path / "log", threading.Event())
    assert go.startswith(str(site.cache / "tools" / "go"))
    assert "--require-hashes" in installed[0]


def test_the_users_own_go_settings_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOFLAGS", "-race")
    monkeypatch.setenv("GOEXPERIMENT", "rangefunc")
    monkeypatch.setenv("GOPROXY", "https://proxy.example.com")
    monkeypatch.setenv("CGO_CFLAGS", "-O0")
    environ = golang.environment(tmp_path, cgo=False)
    assert environ["GOFLAGS"] == "-mod=readonly"
    assert environ["GOPROXY"] == "https://proxy.example.com"
    assert not {"GOEXPERIMENT", "CGO_CFLAGS"} & set(environ)


@pytest.mark.usefixtures("share_go")
def test_a_program_gets_the_name_of_its_recipe(site: Yard, tmp_path: Path) -> None:
    folder = tmp_path / "go" / "odd"
    (folder / "cmd" / "v2").mkdir(parents=True)
    (folder / "go.mod").write_text("module slipway.local/odd\n\ngo 1.26.0\n")
    (folder / "cmd" / "v2" / "main.go").write_text("package main\n\nfunc main() {}\n")
    recipe = Recipe(version="v1.0.0", module="-", packages={"renamed": "slipway.local/odd/cmd/v2"})
    target = tmp_path / "out"
    target.mkdir()
    facts = golang.build(
        "odd",
        recipe,
        folder,
        target,
        artifacts=site.folder,
        architecture="arm64",
        cache=Cache(site.cache),
        log=tmp_path / "log",
        stop=threading.Event(),
    )
    assert facts["programs"] == ["renamed"]
    assert [path.name for path in target.iterdir()] == ["renamed"]


@pytest.mark.usefixtures("share_go")
def test_an_images_config_is_what_its_layers_file_says(site: Yard) -> None:
    manifest = site.run(source="source").manifest
    assert manifest
    layout = next((site.cache / "items" / "image-pause").glob("*/index.json")).parent
    _digest, blobs = image.blobs_of(layout)
    config = json.loads(image.blob_path(layout, blobs[0]).read_text())
    assert (config["os"], config["architecture"]) == ("linux", of_this_computer())
    assert config["config"]["Entrypoint"] == ["/pause"]
    assert config["config"]["User"] == "65535:65535"
    assert config["config"]["Env"][0].startswith("PATH=")


SHOP = {"name": "docker.io/library/shop", "version": "0.22.1", "tag": "v{{ version }}", "parts": ["kubernetes"]}


@pytest.fixture
def shop(yard: Yard, share_go: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:  # noqa: ARG001
    """An image of a wheel, of this repository and of a module; pip's index is a folder."""
    index = tmp_path / "index"
    index.mkdir()
    archive = index / "slipway_tool-1.0-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("slipway_tool/_bin/tool", b"program")
        opened.writestr(
            "slipway_tool-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: slipway-tool\nVersion: 1.0\n"
        )
        opened.writestr("slipway_tool-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        opened.writestr("slipway_tool-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    (tmp_path / "apps" / "shop").mkdir(parents=True)
    (tmp_path / "apps" / "shop" / "page.html").write_text("page")
    (yard.folder / "images").unlink()
    (yard.folder / "images" / "shop").mkdir(parents=True)
    yard.catalog(images={"shop": SHOP})
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    tool = {"version": "1.0", "sha256": sha256, "files": {"/bin/tool": "slipway_tool/_bin/tool"}}
    return {
        "wheels": {"slipway-tool": tool},
        "repository": {"/srv": "apps/shop"},
        "sources": {"crane": {"/LICENSE": "LICENSE"}},
        "entrypoint": ["/bin/tool"],
    }


def describe(yard: Yard, layers: dict[str, Any]) -> None:
    (yard.folder / "images" / "shop" / "layers.yml").write_text(json.dumps(layers))


def test_an_image_of_a_wheel_a_module_and_this_repository(yard: Yard, shop: dict[str, Any], tmp_path: Path) -> None:
    describe(yard, shop)
    first = yard.run(source="source").manifest
    (layer,) = (yard.cache / "items" / "layer-shop").glob("*/layer.tar")
    with tarfile.open(layer) as tar:
        assert [info.name for info in tar if info.isfile()] == ["LICENSE", "bin/tool", "srv/page.html"]
        license_of_crane = tar.extractfile("LICENSE")
        assert license_of_crane
        assert b"Apache License" in license_of_crane.read()
    assert not yard.run(source="source").changed
    (tmp_path / "apps" / "shop" / "page.html").write_text("another page")
    second = yard.run(source="source").manifest
    assert first
    assert second
    assert first.images["shop"].digest != second.images["shop"].digest
    assert len(list((yard.cache / "items" / "wheel-slipway-tool").glob("*/item.json"))) == 1, "it was fetched once"


def test_a_wheel_with_another_sum_is_refused(yard: Yard, shop: dict[str, Any]) -> None:
    shop["wheels"]["slipway-tool"]["sha256"] = "0" * 64
    describe(yard, shop)
    with pytest.raises(
        SlipwayError, match=r"slipway-tool 1\.0 could not be had from PyPI(.|\n)*wheel-slipway-tool\.log"
    ):
        yard.run(source="source")
    assert yard.left_behind() == []


def test_a_file_of_a_pinned_module_has_the_modules_bytes(yard: Yard, share_go: Yard) -> None:  # noqa: ARG001
    entry = {"version": "0.22.1", "address": "example.com/{{ version }}/text", "parts": ["kubernetes"]}
    yard.catalog(files={"text": entry | {"build": {"program": "crane", "source": "LICENSE"}}})
    manifest = yard.run(source="source").manifest
    assert manifest
    text = Path(manifest.path) / "files" / "example.com" / "0.22.1" / "text"
    assert b"Apache License" in text.read_bytes()
    assert not (yard.cache / "items" / "go-crane").exists(), "nothing was compiled for it"
    yard.catalog(files={"text": entry | {"build": {"program": "crane", "source": "none"}}})
    with refused("wrong-artifact-file: text: … go-containerregistry@v0.22.1 … none"):
        yard.run(source="source")
