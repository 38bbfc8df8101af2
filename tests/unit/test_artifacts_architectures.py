"""Items for several architectures: what is for amd64 is what it was, and what is for another one is its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from slipway.artifacts import bundle, engine, golang, plan, wheel
from slipway.artifacts.archive import Member, write_folder
from slipway.artifacts.cache import Cache, Entry
from slipway.artifacts.catalog import AptSource, Folder, Recipe, Wheel
from slipway.artifacts.manifest import Manifest, bundle_files
from slipway.node import architecture

from tests.support import small_checkout
from tests.support.errors import refused
from tests.support.kubernetes import SHIPPED

ROOT = Path(__file__).resolve().parents[2]
BOTH = ["amd64", "arm64"]
TEMPLATES: tuple[str, str, Any] = ("{{ arch }}", "{{ triplet }}", {"amd64": small_checkout.SUM, "arm64": "b" * 64})
LIBRARIES: dict[str, Any] = {"libraries": {"suite": "old", "packages": ["libseccomp-dev"]}}
# Made by the code that knew amd64 alone: with other ones every user's cache is of no use any more.
KEYS = {
    "apt-old": "43eeb387b93196649400ea8c9700ca2d",
    "go-tool": "73a34f7e95f2d902ceb337a6968d4df3",
    "image-one": "5cc0b329f74534eb79d12ac1d538e88c",
    "image-own": "0fcc03cc2bcf1b046dc0ec15bb8a0fe8",
    "image-two": "5a3e954a3c2203a0091e81e2285e0bb6",
    "jar-org-server": "9b57dbb3ff78e9a8af2cef724f70a1c9",
    "layer-base": "5de94763e1c88a6cfb40f85fe52d157a",
    "layer-one": "01e1ef49fabd05ec3485886afb7c1da7",
    "layer-own": "a915a002ae158fe082a0b15a59a15866",
    "layer-two": "24a505420d436925791ec0097cfc960a",
    "text": "2ef22b9cca126106aad37b19af531672",
    "tool": "fd169422fd129f0b3d6631366a37abe6",
    "tools": "66a6348aaf31af0f404aefa103ee8370",
    "wheel-proxy": "7d82283876712219cf67e35d4923870d",
}
BUNDLE = "ee7c9d6c1a576048"


@pytest.fixture(params=["amd64", "arm64"])
def computer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The architecture of the computer that makes a bundle."""
    for module in ("programs", "golang", "wheel", "plan"):
        monkeypatch.setattr(f"slipway.artifacts.{module}.of_this_computer", lambda: request.param)
    return str(request.param)


@pytest.mark.parametrize(
    ("machine", "name"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("arm64", "arm64"), ("riscv64", "riscv64")]
)
def test_the_kernels_names_are_known(machine: str, name: str) -> None:
    assert architecture.of_machine(machine) == name


@pytest.mark.parametrize("texts", [("amd64", "x86_64-linux-gnu", small_checkout.SUM), TEMPLATES])
def test_items_for_amd64_keep_their_names_and_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: tuple[str, str, Any]
) -> None:
    monkeypatch.setattr("slipway.artifacts.programs.of_this_computer", lambda: "amd64")
    more: dict[str, Any] = {} if texts[0] == "amd64" else {**LIBRARIES, "differs": {"arm64": {"cgo": False}}}
    folder = small_checkout.write(tmp_path, *texts, **more)
    found = small_checkout.keys(folder, tmp_path, monkeypatch, architectures=["amd64"], here="amd64")
    assert found == KEYS


@pytest.mark.usefixtures("computer")
def test_items_for_arm64_have_names_and_keys_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_checkout.write(tmp_path, *TEMPLATES)
    found = small_checkout.keys(folder, tmp_path, monkeypatch, architectures=["arm64"])
    # Texts of a module and jars are the same for all.
    assert set(found) - set(KEYS) == {f"{name}-arm64" for name in set(KEYS) - {"text", "jar-org-server"}}
    assert {name: key for name, key in found.items() if name in KEYS} == {
        name: KEYS[name] for name in ("text", "jar-org-server")
    }
    assert not set(found.values()) & {key for name, key in KEYS.items() if name not in ("text", "jar-org-server")}


@pytest.mark.usefixtures("computer")
def test_the_keys_do_not_depend_on_the_computer_that_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_checkout.write(tmp_path, *TEMPLATES, **LIBRARIES)
    found = small_checkout.keys(folder, tmp_path, monkeypatch, architectures=BOTH)
    assert {name: key for name, key in found.items() if name in KEYS and name != "apt-old"} == {
        name: key for name, key in KEYS.items() if name != "apt-old"
    }


def test_the_id_of_a_bundle_for_amd64_is_what_it_was() -> None:
    facts: dict[str, Any] = {"version": "1", "address": "x.org/amd64/x", "sha256": "0", "size": 1, "source": "built"}
    image = {"name": "x.org/i", "tag": "1", "digest": "sha256:0", "source": "built"}
    packages = {"path": "apt/old", "names": ["socat"], "sha256": "0"}
    manifest = {"files": {"x": facts}, "images": {"i": image}, "packages": {"old": packages}}
    assert bundle.identified(Manifest.model_validate(manifest)).id == BUNDLE


def wanted(**settings: Any) -> plan.Wanted:
    folder = ROOT / "artifacts"
    known: dict[str, Any] = {
        "kubernetes_version": SHIPPED,
        "suites": [],
        "parts": ["kubernetes", "tools", "monitoring"],
    }
    asked = plan.BundleSettings(**(known | settings), folder=folder, state=Path("state"), cache=Path("cache"))
    return plan.wanted(Folder(folder).catalog, asked)


@pytest.mark.parametrize(
    ("name", "arch", "address", "inside"),
    [
        ("kubelet", "arm64", "dl.k8s.io/release/v{v}/bin/linux/arm64/kubelet", ""),
        ("kubelet", "amd64", "dl.k8s.io/release/v{v}/bin/linux/amd64/kubelet", ""),
        ("runc", "arm64", "runc.arm64", ""),
        ("containerd", "arm64", "containerd-{v}-linux-arm64.tar.gz", "bin"),
        ("cni-plugins", "arm64", "cni-plugins-linux-arm64-v{v}.tgz", "."),
        ("cni-plugin-flannel", "arm64", "cni-plugin-flannel-linux-arm64-v{plain}.tgz", "."),
        ("registry", "arm64", "registry_{v}_linux_arm64.tar.gz", "."),
        ("helm", "arm64", "get.helm.sh/helm-v{v}-linux-arm64.tar.gz", "linux-arm64"),
        ("helm", "amd64", "get.helm.sh/helm-v{v}-linux-amd64.tar.gz", "linux-amd64"),
        ("istioctl", "arm64", "istioctl-{v}-linux-arm64.tar.gz", "."),
        ("etcd", "arm64", "etcd-v{v}-linux-arm64.tar.gz", "etcd-v{v}-linux-arm64"),
        ("promtool", "arm64", "prometheus-{v}.linux-arm64.tar.gz", "prometheus-{v}.linux-arm64"),
        ("crane", "arm64", "go-containerregistry_Linux_arm64.tar.gz", "."),
        ("crane", "amd64", "go-containerregistry_Linux_x86_64.tar.gz", "."),
    ],
)
def test_upstreams_names_are_filled_for_each_architecture(name: str, arch: str, address: str, inside: str) -> None:
    folder = ROOT / "artifacts"
    asked = plan.BundleSettings(
        kubernetes_version=SHIPPED, parts=[], suites=[], folder=folder, state=Path("state"), cache=Path("cache")
    )
    item = plan.file_item(Folder(folder).catalog, name, asked, arch)
    known = {"v": item.version, "plain": item.version.partition("-")[0]}
    assert item.address.endswith(address.format(**known))
    assert item.name == (name if arch == "amd64" else f"{name}-{arch}")
    assert item.build
    assert item.build.folder == inside.format(**known)
    if name == "cni-plugin-flannel":
        assert item.build.names == {f"flannel-{arch}": "flannel"}


def names(need: plan.Wanted) -> set[str]:
    return {item.name for item in need.files}


def test_each_machine_has_its_own_files_and_this_computer_its_tools() -> None:
    own = names(wanted(architectures=["amd64"], here="amd64"))
    assert not any(name.endswith("-arm64") for name in own)
    both = names(wanted(architectures=BOTH, here="amd64"))
    assert {"kubelet", "kubelet-arm64", "runc-arm64", "kubectl-arm64", "helm-arm64"} <= both
    assert own < both
    # What runs here alone comes once.
    assert {"promtool", "amtool"} < both
    assert not {"promtool-arm64", "amtool-arm64"} & both


def test_nodes_of_another_architecture_than_this_computer_have_theirs() -> None:
    found = names(wanted(architectures=["arm64"], here="amd64"))
    assert {"kubelet-arm64", "kubectl-arm64", "kubectl", "helm", "istioctl", "promtool"} <= found
    assert not {"kubelet", "kubeadm", "containerd", "runc", "promtool-arm64"} & found
    # One manifest serves all.
    assert "prometheus-operator-crds" in found
    both = [item.name for item in wanted(architectures=BOTH, here="amd64").files]
    assert len(both) == len(set(both))


def recipe(**changes: Any) -> Recipe:
    known: dict[str, Any] = {
        "version": "1",
        "module": "m",
        "packages": {},
        "cgo": True,
        "debs": ["gcc", "libc6-dev", "pkg-config"],
    }
    return Recipe.model_validate(known | changes)


@pytest.mark.parametrize(("target", "compiler"), [("amd64", "x86_64-linux-gnu"), ("arm64", "aarch64-linux-gnu")])
def test_c_for_another_architecture_is_compiled_by_its_compiler(
    computer: str, target: str, compiler: str, tmp_path: Path
) -> None:
    environ = golang.environment(tmp_path, True, target, tmp_path / "sys root")
    assert environ["GOARCH"] == target
    if target == computer:
        assert not {"CC", "CGO_CFLAGS", "CGO_LDFLAGS", "PKG_CONFIG_LIBDIR"} & (set(environ) - set(os.environ))
        return
    assert environ["CC"] == f"{compiler}-gcc"
    assert environ["CGO_CFLAGS"] == f'-O2 -g "-I{tmp_path}/sys root/usr/include"'
    assert environ["CGO_LDFLAGS"] == f'-O2 -g "-L{tmp_path}/sys root/usr/lib/{compiler}"'
    assert environ["PKG_CONFIG_LIBDIR"] == f"{tmp_path}/sys root/usr/lib/{compiler}/pkgconfig"
    assert environ["PKG_CONFIG_SYSROOT_DIR"] == f"{tmp_path}/sys root"
    # A program that is linked against nothing but the C library.
    assert golang.environment(tmp_path, True, target)["CC"] == f"{compiler}-gcc"


def test_programs_without_c_need_no_compiler(computer: str, tmp_path: Path) -> None:
    for target in BOTH:
        environ = golang.environment(tmp_path, False, target)
        assert (environ["GOARCH"], environ["CGO_ENABLED"]) == (target, "0")
        assert environ.get("CC") == os.environ.get("CC"), computer


def test_what_a_build_for_another_architecture_needs_is_named(computer: str) -> None:
    described = recipe(debs=["gcc", "libc6-dev", "libseccomp-dev", "pkg-config"], **LIBRARIES)
    assert golang.needed_debs(described, computer) == described.debs
    cross = {
        "amd64": ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross", "pkg-config"],
        "arm64": ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "pkg-config"],
    }
    other = next(one for one in BOTH if one != computer)
    assert golang.needed_debs(described, other) == cross[other]


def test_a_recipe_may_differ_for_one_architecture() -> None:
    described = recipe(differs={"arm64": {"cgo": False, "debs": []}})
    assert (described.for_("amd64").cgo, described.for_("amd64").debs) == (True, described.debs)
    assert (described.for_("arm64").cgo, described.for_("arm64").debs) == (False, [])
    assert described.for_("arm64").packages == described.packages


def test_flannel_needs_c_for_amd64_alone() -> None:
    folder = Folder(ROOT / "artifacts")
    found = {one: folder.recipe("flannel", "", "test", one) for one in BOTH}
    assert (found["amd64"].cgo, found["arm64"].cgo) == (True, False)
    assert "-static" not in found["arm64"].ldflags
    assert "version.Version=v0.28.4" in found["arm64"].ldflags


def test_libraries_are_asked_of_the_other_architectures_suite(
    tmp_path: Path, computer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_checkout.write(tmp_path, *TEMPLATES, **LIBRARIES)
    jobs, _need = small_checkout.jobs_of(folder, tmp_path, architectures=BOTH)
    assert jobs.libraries("tool", computer) is None
    other = next(one for one in BOTH if one != computer)
    job = jobs.libraries("tool", other)
    assert job
    modules = jobs.modules("tool")
    assert jobs.program("tool", other).needs == (modules, job)
    assert jobs.program("tool", computer).needs == (modules,)
    triplet = architecture.TRIPLETS[other]

    def packages(self: Any, wanted: list[str], _say: object) -> list[Path]:
        assert (self.architecture, wanted) == (other, ["libseccomp-dev"])
        return [made(tmp_path, triplet)]

    monkeypatch.setattr("slipway.artifacts.apt.Suite.packages", packages)
    entry = job.make({})
    assert (entry.path / f"usr/lib/{triplet}/libseccomp.a").read_text() == "library"
    assert (entry.path / f"usr/lib/{triplet}/libseccomp.so").readlink() == Path("libseccomp.so.2")
    assert (entry.path / "usr/include/seccomp.h").exists()
    assert not (entry.path / "usr/share").exists()
    asked: dict[str, Any] = {}
    monkeypatch.setattr(golang, "build", lambda *_given, **more: asked.update(more) or {"programs": []})
    jobs.program("tool", other).make({job.id: entry})
    assert (asked["architecture"], asked["sysroot"]) == (other, entry.path)


def made(folder: Path, triplet: str) -> Path:
    """A package with a library."""
    tree = folder / "tree"
    members = [
        Member(f"usr/lib/{triplet}/libseccomp.a", 0o644, b"library"),
        Member(f"usr/lib/{triplet}/libseccomp.so", 0o777, link="libseccomp.so.2"),
        Member("usr/include/seccomp.h", 0o644, b"header"),
        Member("usr/share/doc/x/copyright", 0o644, b"free"),
        Member(
            "DEBIAN/control",
            0o644,
            b"Package: x\nVersion: 1\nArchitecture: all\nMaintainer: m <m@x.org>\nDescription: x\n",
        ),
    ]
    write_folder(tree, members)
    result = folder / "x_1_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, result], check=True, capture_output=True)
    return result


def test_layers_are_read_for_one_architecture(tmp_path: Path) -> None:
    folder = Folder(small_checkout.write(tmp_path, *TEMPLATES))
    found = {one: folder.layers("base", one) for one in BOTH}
    assert [one.without[0] for one in found.values() if one] == [
        "usr/lib/x86_64-linux-gnu/gconv",
        "usr/lib/aarch64-linux-gnu/gconv",
    ]
    assert [one.links["/usr/bin/java"] for one in found.values() if one] == [
        "../lib/java-amd64/bin/java",
        "../lib/java-arm64/bin/java",
    ]
    own = folder.layers("own", "arm64")
    assert own
    assert own.files == {"/etc/x": "{{ as it is }}"}


def test_a_wheel_without_a_sum_for_an_architecture_is_named(tmp_path: Path) -> None:
    folder = Folder(small_checkout.write(tmp_path, "{{ arch }}", "{{ triplet }}", {"amd64": small_checkout.SUM}))
    two = folder.layers("two", "amd64")
    assert two
    assert two.wheels["proxy"].sha256 == small_checkout.SUM
    with refused("not-buildable: images/two/layers.yml … proxy 1.0 … arm64 … amd64"):
        folder.layers("two", "arm64")


def test_an_unknown_placeholder_of_a_layer_is_named(tmp_path: Path) -> None:
    folder = Folder(small_checkout.write(tmp_path, "{{ arch }}", "{{ tripel }}", small_checkout.SUM))
    with refused("unknown-placeholder: images/base/layers.yml … 'tripel' … arch, triplet"):
        folder.layers("base", "arm64")


def test_pip_is_told_which_wheel_where_it_is_not_for_this_computer(
    tmp_path: Path, computer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def pip(command: list[str], **_more: object) -> None:
        asked.append(command)

    monkeypatch.setattr(wheel, "run", pip)
    pinned = Wheel(version="1.0", sha256=small_checkout.SUM, files={})
    for target in BOTH:
        with refused("checksum-differs: no wheel"):
            wheel.fetch("proxy", pinned, target, tmp_path, log=tmp_path / "log", stop=threading.Event())
    for target, command in zip(BOTH, asked, strict=True):
        tags = [word for before, word in itertools.pairwise(command) if before == "--platform"]
        if target == computer:
            assert tags == []
        else:
            assert f"manylinux_2_31_{wheel.NAMES[target]}" in tags
            assert all(tag.endswith(wheel.NAMES[target]) for tag in tags)


def test_a_source_of_packages_may_be_elsewhere_for_one_architecture() -> None:
    source = AptSource.model_validate({**small_checkout.SOURCE, "elsewhere": {"arm64": "http://ports.example.org"}})
    assert source.uri_for("amd64") == small_checkout.SOURCE["uri"]
    assert source.uri_for("arm64") == "http://ports.example.org"
    noble = Folder(ROOT / "artifacts").catalog.packages.suites["noble"]
    assert {one["uri"] for one in noble.described("arm64")["sources"]} == {"http://ports.ubuntu.com/ubuntu-ports"}
    assert {one["uri"] for one in noble.described("amd64")["sources"]} == {"http://archive.ubuntu.com/ubuntu"}


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A bundle for both architectures, made of programs and packages that say what they are for."""
    monkeypatch.setattr("slipway.artifacts.programs.of_this_computer", lambda: "amd64")
    monkeypatch.setattr("slipway.artifacts.maven.available", lambda: True)

    def build(name: str, *given: Any, architecture: str, **_more: Any) -> dict[str, Any]:
        (given[2] / name).write_text(f"{name} for {architecture}")
        return {"version": "1.0", "source": "built", "programs": [name]}

    def fetch(name: str, pinned: Wheel, *given: Any, **_more: Any) -> dict[str, Any]:
        (given[-1] / name.replace(":", "-")).write_text(pinned.sha256)
        return {"file": name.replace(":", "-"), "sha256": pinned.sha256}

    def packages(self: Any, _names: list[str], _say: object) -> list[Path]:
        folder = tmp_path / self.name
        folder.mkdir(exist_ok=True)
        found = [folder / f"socat_1_{self.architecture}.deb", folder / "chrony_1_all.deb"]
        for file in found:
            file.write_text(file.name)
        return found

    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "text.yaml").write_text("text")
    monkeypatch.setattr(golang, "build", build)
    monkeypatch.setattr(golang, "module_folder", lambda *_given, **_more: tmp_path / "module")
    monkeypatch.setattr(wheel, "fetch", fetch)
    monkeypatch.setattr("slipway.artifacts.maven.fetch", fetch)
    monkeypatch.setattr("slipway.artifacts.image.unpacked", lambda *_given: iter(()))
    monkeypatch.setattr("slipway.artifacts.wheel.members", lambda *_given: iter(()))
    monkeypatch.setattr("slipway.artifacts.apt.Suite.packages", packages)
    monkeypatch.setattr("slipway.artifacts.apt.available", lambda: True)
    monkeypatch.setattr("slipway.artifacts.apt.control_of", lambda deb: f"Package: {deb.name}\n")
    folder = small_checkout.write(tmp_path, *TEMPLATES)
    jobs, _need = small_checkout.jobs_of(folder, tmp_path, architectures=BOTH, here="amd64")
    said: list[str] = []
    assert engine.run(jobs.settings, said.append, only_cached=True) == engine.Outcome(False, None)
    assert (said, (jobs.settings.state / "bundle.json").exists()) == ([], False)
    outcome = engine.run(jobs.settings, lambda _line: None)
    assert outcome.manifest
    assert not engine.run(jobs.settings, lambda _line: None).changed
    # A checkout that has made nothing yet, and the cache of another one.
    (jobs.settings.state / "bundle.json").unlink()
    assert engine.run(jobs.settings, lambda _line: None, only_cached=True) == outcome
    return outcome.manifest


def test_a_bundle_for_both_has_the_files_of_each(bundled: Manifest) -> None:
    assert sorted(bundled.files) == ["text", "tool", "tool-arm64", "tools", "tools-arm64"]
    for name, arch in (("tool", "amd64"), ("tool-arm64", "arm64")):
        file = Path(bundled.path) / "files" / bundled.files[name].address
        assert file.read_text() == f"tool for {arch}"
        assert f"/{arch}/" in bundled.files[name].address
        (asked,) = bundle_files(bundled.as_json(), ["tool"], "http://mirror/", arch)
        assert (asked["name"], asked["url"]) == ("tool", f"http://mirror/{bundled.files[name].address}")


def test_a_machine_is_not_given_the_file_of_another_architecture(bundled: Manifest) -> None:
    value = bundled.as_json()
    del value["files"]["tool-arm64"]
    with refused("not-in-bundle: file 'tool-arm64' … artifacts_architectures"):
        bundle_files(value, ["tool"], "http://mirror/", "arm64")
    # One that is for all has no architecture.
    assert [one["name"] for one in bundle_files(value, ["text"], "/")] == ["text"]


def test_a_bundle_for_both_has_one_image_with_both_in_it(bundled: Manifest) -> None:
    repository = Path(bundled.path) / "registry/docker/registry/v2/repositories/example.org/image/_manifests"
    assert (repository / "tags/v1.0/current/link").read_text() == bundled.images["one"].digest
    assert len(list((repository / "revisions/sha256").iterdir())) == 3
    assert set(bundled.images) == {"one", "two", "own"}


def test_a_bundle_for_both_has_one_repository_with_both_in_it(bundled: Manifest) -> None:
    folder = Path(bundled.path) / "apt/old"
    assert sorted(path.name for path in folder.glob("*.deb")) == [
        "chrony_1_all.deb",
        "socat_1_amd64.deb",
        "socat_1_arm64.deb",
    ]
    assert "Architectures: amd64 arm64\n" in (folder / "Release").read_text()


def test_an_image_that_some_machines_could_not_run_is_left_out_with_the_reason(tmp_path: Path) -> None:
    folder = small_checkout.write(tmp_path, *TEMPLATES)
    text = (folder / "catalog.yml").read_text()
    (folder / "catalog.yml").write_text(
        text.replace("    name: example.org/two\n", "    name: example.org/two\n    unbuildable: {arm64: no wheel}\n")
    )
    for architectures, reasons in (
        (["amd64"], {}),
        (BOTH, {"two": "for arm64: no wheel"}),
        (["arm64"], {"two": "for arm64: no wheel"}),
    ):
        _jobs, need = small_checkout.jobs_of(folder, tmp_path, architectures=architectures)
        assert {item.name: item.unbuildable for item in need.images if item.unbuildable} == reasons


def test_a_file_may_be_buildable_for_one_architecture_alone(tmp_path: Path) -> None:
    folder = small_checkout.write(tmp_path, *TEMPLATES)
    text = (folder / "catalog.yml").read_text()
    (folder / "catalog.yml").write_text(text.replace("  tool:\n", "  tool:\n    unbuildable: {arm64: no compiler}\n"))
    jobs, need = small_checkout.jobs_of(folder, tmp_path, architectures=BOTH)
    missing: list[Any] = []
    made = [job.id for job in engine.file_jobs(jobs, need, "source", missing)]
    assert "file:tool" in made
    assert [(one.name, one.reason) for one in missing] == [("tool-arm64", "for arm64: no compiler")]


@pytest.mark.parametrize(
    ("architectures", "ending"), [(["amd64"], ""), (["arm64"], " for arm64"), (BOTH, " for amd64 and arm64")]
)
def test_a_line_of_a_run_says_what_is_for_another_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architectures: list[str], ending: str
) -> None:
    monkeypatch.setattr("slipway.artifacts.apt.available", lambda: True)
    jobs, need = small_checkout.jobs_of(
        small_checkout.write(tmp_path, *TEMPLATES), tmp_path, architectures=architectures, here="amd64"
    )
    titles = [job.title for job in small_checkout.every(jobs, need)]
    assert f"Debian packages of old{ending}" in titles
    assert f"image one:v1.0{ending}" in titles


def test_two_found_images_are_a_found_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_checkout.write(tmp_path, *TEMPLATES)
    jobs, need = small_checkout.jobs_of(folder, tmp_path, architectures=BOTH)
    asked: dict[str, str] = {}

    def get(_self: Cache, name: str, key: str, _area: str = "items") -> Entry:
        asked[name] = key
        return Entry(tmp_path, {"digest": f"sha256:{name}"})

    monkeypatch.setattr(Cache, "get", get)
    (one,) = (
        job
        for job in engine.image_jobs(jobs, need, {"files": "source", "images": "source"}, [])
        if job.id == "image:one"
    )
    assert one.found
    assert one.needs == ()
    assert {"image-one", "image-one-arm64", "image-one-amd64-arm64"} <= set(asked)
