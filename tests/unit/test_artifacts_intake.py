"""A release of Kubernetes comes into the catalog, and goes out of it. Go is a stand-in that says what a proxy has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.artifacts import golang, intake, registries, releases, shipped
from slipway.artifacts.catalog import Folder, Recipe, Release
from slipway.artifacts.intake import Asked
from slipway.artifacts.lock import Lock
from slipway.errors import SlipwayError

from tests.support.errors import refused

ROOT = Path(__file__).resolve().parents[2]
CONSTANTS = """
const (
	// DefaultEtcdVersion indicates the default etcd version that kubeadm uses
	DefaultEtcdVersion = "3.7.0-0"
	MinExternalEtcdVersion = "3.5.24-0"
	CoreDNSVersion = "v1.14.6"
	PauseVersion = "3.10.2"
)
"""
GO_MOD = """
module k8s.io/kubernetes

go 1.26.0

godebug default=go1.26

require (
	k8s.io/api v0.0.0
	k8s.io/sample v0.0.0
	k8s.io/klog/v2 v2.140.0
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/sample => ./staging/src/k8s.io/sample
)
"""
CATALOG = """\
---
# Words.
kubernetes:
  1.37.0: {etcd: 3.7.0, coredns: 1.14.6, pause: 3.10.2}

# More words.
files:
  kubelet:
    version: "{{ kubernetes }}"
    address: dl.k8s.io/release/v{{ version }}/linux/{{ arch }}/kubelet
    checksum: "{{ address }}.sha256"
    parts: [kubernetes]
    build: {program: kubernetes, binary: kubelet}
  runc: {version: 1.0.0, address: x.org/runc, checksum: x.org/sum, parts: [], build: {program: runc, binary: runc}}
images: {}
packages: {suites: {}, sets: {}}
"""
RECIPES = """\
kubernetes: {version: "v{{ kubernetes }}", module: "k8s.io/kubernetes v{{ version }}",
             packages: {kubelet: k8s.io/kubernetes/cmd/kubelet}}
etcd: {version: "v{{ etcd }}", module: "go.etcd.io/etcd/server/v3 v{{ version }}",
       packages: {etcd: go.etcd.io/etcd/server/v3, etcdctl: go.etcd.io/etcd/etcdctl/v3}}
coredns: {version: "v{{ coredns }}", module: "github.com/coredns/coredns v{{ version }}",
          packages: {coredns: github.com/coredns/coredns}}
pause: {version: "{{ pause }}", module: "-", packages: {pause: slipway.local/pause}}
runc: {version: v1.0.0, module: x.org/runc v1.0.0, packages: {runc: x.org/runc}}
"""


class FakeGo:
    """What of Go the catalog needs. ``refuses`` are modules that the proxy does not have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mod = GO_MOD
        self.refuses = {"k8s.io/sample"}
        self.lists = {"k8s.io/kubernetes": ["v1.36.3", "v1.37.2", "v1.38.0-beta.0"],
                      "go.etcd.io/etcd/server/v3": ["v3.6.16", "v3.7.3", "v3.7.1", "v3.8.0"]}  # fmt: skip
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str, cwd: Path | None = None) -> str:
        self.asked.append(arguments)
        if arguments == ("mod", "tidy"):
            assert cwd
            (cwd / "go.sum").write_text("sums\n")
        elif arguments[:2] == ("mod", "edit"):
            assert cwd
            text = (cwd / "go.mod").read_text()
            for one in arguments[2:]:
                module, _, version = one.removeprefix("-require=").partition("@")
                lines = [
                    f"\t{module} {version}" if line.startswith(f"\t{module} ") else line for line in text.split("\n")
                ]
                text = "\n".join(lines)
            (cwd / "go.mod").write_text(text)
        return ""

    def facts(self, *arguments: str) -> list[dict[str, Any]]:
        self.asked.append(arguments)
        named = [one for one in arguments if "@" in one]
        if arguments[0] == "mod":
            source = self.folder / "module"
            (source / intake.CONSTANTS).parent.mkdir(parents=True, exist_ok=True)
            (source / intake.CONSTANTS).write_text(CONSTANTS)
            return [{"Path": named[0], "Dir": str(source)}]
        if "-e" in arguments:
            return [{"Path": path, **({"Error": {"Err": "no"}} if path in self.refuses else {})}
                    for path in (one.partition("@")[0] for one in named)]  # fmt: skip
        if self.refuses & {one.partition("@")[0] for one in named}:
            raise SlipwayError("registry-silent", "go: 403 Forbidden")
        (self.folder / "kubernetes.mod").write_text(self.mod)
        return [{"Path": named[0], "GoMod": str(self.folder / "kubernetes.mod")}]

    def served(self, module: str) -> list[str]:
        return self.lists[module]


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout/artifacts"
    for name in ("kubernetes/1.37.0", "etcd/3.7.0", "coredns/1.14.6", "runc"):
        (folder / "go" / name).mkdir(parents=True)
        (folder / "go" / name / "go.sum").write_text("old sums\n")
        (folder / "go" / name / "go.mod").write_text("module x\n")
    (folder / "catalog.yml").write_text(CATALOG)
    (folder / "go/recipes.yml").write_text(RECIPES)
    return folder


@pytest.fixture
def go(tmp_path: Path) -> Any:
    return FakeGo(tmp_path)


@pytest.fixture(autouse=True)
def _nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golang, "TOOLCHAIN", "go1.26.8")
    monkeypatch.setattr(intake, "reachable", lambda _url, _timeout: "no route to host")


def test_what_kubeadm_names_is_read() -> None:
    assert intake.kubeadm_names(CONSTANTS) == Release(etcd="3.7.0", coredns="1.14.6", pause="3.10.2")
    with refused("wrong-release: CoreDNSVersion"):
        intake.kubeadm_names(CONSTANTS.replace("CoreDNSVersion =", "CoreDNSVersion = prefix +"))


def test_what_go_mod_says_is_read() -> None:
    assert intake.staging(GO_MOD) == ["k8s.io/api", "k8s.io/sample"]
    assert intake.staging("replace k8s.io/api => ./staging/src/k8s.io/api\n") == ["k8s.io/api"]
    assert intake.library_version("1.37.2") == "v0.37.2"


@pytest.mark.parametrize(
    ("line", "newer"), [("go 1.26.0", ""), ("go 1.25", ""), ("go 1.27.0", "1.27"), ("go 2.0", "2.0"), ("", "")]
)
def test_the_go_that_is_needed(line: str, newer: str) -> None:
    assert intake.needs_newer_go(f"module x\n\n{line}\n") == newer


@pytest.mark.parametrize(
    ("named", "served", "expected"),
    [
        ("3.6.8", ["v3.6.16", "v3.6.9", "v3.7.3"], "3.6.16"),
        ("3.7.0", ["v3.7.1-rc.0"], "3.7.0"),
        # The proxy does not list every version that it serves.
        ("3.7.4", ["v3.7.3"], "3.7.4"),
    ],
)
def test_etcd_is_the_newest_patch_of_what_kubeadm_names(named: str, served: list[str], expected: str) -> None:
    assert intake.etcd_patch(named, served) == expected


def test_the_modules_of_programs_that_are_modules_themselves() -> None:
    packages = {"etcd": "x.org/etcd/server/v3", "ctl": "x.org/etcd/ctl/v3"}
    recipe = Recipe(version="3.7.3", module="x.org/etcd/server/v3 v3.7.3", packages=packages)
    assert intake.main_modules(recipe) == {"x.org/etcd/server/v3": "v3.7.3", "x.org/etcd/ctl/v3": "v3.7.3"}
    inside = Recipe(version="1.0.0", module="x.org/a v1.0.0", packages={"b": "x.org/a/cmd/b"})
    assert intake.main_modules(inside) == {"x.org/a": "v1.0.0"}


ROW = Release(etcd="3.7.3", coredns="1.14.6", pause="3.10.2")


@pytest.mark.parametrize(
    ("release", "order"),
    [
        ("1.36.3", ["1.36.3", "1.37.0"]),
        ("1.37.10", ["1.37.0", "1.37.10"]),
        ("1.9.9", ["1.9.9", "1.37.0"]),
        ("1.37.0", ["1.37.0"]),
    ],
)
def test_a_line_comes_into_its_place_and_goes_again(release: str, order: list[str]) -> None:
    text = intake.with_line(CATALOG, release, ROW)
    read = yaml.safe_load(text)
    assert list(read["kubernetes"]) == order
    assert read["kubernetes"][release] == ROW.model_dump()
    assert text.count("# Words.\n") == text.count("\n\n# More words.\nfiles:\n") == 1
    if release != "1.37.0":
        assert intake.without_line(text, release) == CATALOG


def test_a_line_goes_alone() -> None:
    text = intake.with_line(intake.with_line(CATALOG, "1.37.1", ROW), "1.37.10", ROW)
    assert list(yaml.safe_load(intake.without_line(text, "1.37.1"))["kubernetes"]) == ["1.37.0", "1.37.10"]


def test_a_catalog_without_a_table_is_refused() -> None:
    with refused("wrong-artifact-file: kubernetes:"):
        intake.with_line("---\nfiles: {}\n", "1.37.0", ROW)
    with refused("wrong-artifact-file: kubernetes:"):
        intake.without_line("---\nkubernetes:\n  1.37.0:\n    etcd: 3.7.0\n", "1.37.0")


def test_a_release_is_taken_in(artifacts: Path, go: Any) -> None:
    said: list[str] = []
    row = intake.take_in(artifacts, "1.37.2", go, said.append)
    assert row == ROW
    folder = Folder(artifacts, "1.37.2")
    assert folder.catalog.releases() == ["1.37.0", "1.37.2"]
    mod = (folder.go("kubernetes") / "go.mod").read_text()
    assert "\ngo 1.26.0\n" in mod
    assert "tool (\n\tk8s.io/kubernetes/cmd/kubelet\n)" in mod
    # A library that the proxy does not have is left to Go, which says whether a program needs it.
    assert "require (\n\tk8s.io/kubernetes v1.37.2\n\tk8s.io/api v0.37.2\n)" in mod
    assert (folder.go("kubernetes") / "go.sum").read_text() == "sums\n"
    assert "\tgo.etcd.io/etcd/etcdctl/v3 v3.7.3\n" in (folder.go("etcd") / "go.mod").read_text()
    # What both releases have is left as it is, as is what follows none.
    assert (folder.go("coredns") / "go.sum").read_text() == "old sums\n"
    assert (folder.go("runc") / "go.sum").read_text() == "old sums\n"
    assert not (artifacts / "go/pause").exists()
    assert not list(artifacts.rglob(".new-*"))
    # Each program's packages were looked at with what was written.
    assert [one[-1] for one in go.asked if "-deps" in one] == [
        "k8s.io/kubernetes/cmd/kubelet",
        "go.etcd.io/etcd/etcdctl/v3",
    ]
    # Nobody publishes sums here: that is said, and none is made up.
    assert Lock(artifacts / "lock.yml").get("files", "dl.k8s.io/release/v1.37.2/linux/amd64/kubelet") == ""
    assert "  dl.k8s.io/release/v1.37.2/linux/arm64/kubelet" in said


def test_a_second_time_changes_nothing(artifacts: Path, go: Any) -> None:
    intake.take_in(artifacts, "1.37.2", go, lambda _: None)
    before = {path: path.read_bytes() for path in artifacts.rglob("*") if path.is_file()}
    go.asked.clear()
    intake.take_in(artifacts, "1.37.2", go, lambda _: None)
    assert {path: path.read_bytes() for path in artifacts.rglob("*") if path.is_file()} == before
    assert ("mod", "tidy") not in go.asked


def test_a_run_that_was_cut_off_is_done_again(artifacts: Path, go: Any) -> None:
    half = artifacts / "go/kubernetes/1.37.2"
    half.mkdir()
    (half / "go.mod").write_text("module half\n")
    intake.take_in(artifacts, "1.37.2", go, lambda _: None)
    assert "k8s.io/kubernetes v1.37.2" in (half / "go.mod").read_text()


def test_nothing_is_written_when_a_module_cannot_be_had(artifacts: Path, go: Any) -> None:
    class Refusing(FakeGo):
        def __call__(self, *_arguments: str, cwd: Path | None = None) -> str:
            raise SlipwayError("registry-silent", f"go: 403 Forbidden in {cwd}")

    go = Refusing(go.folder)
    with refused("registry-silent: 403"):
        intake.take_in(artifacts, "1.37.2", go, lambda _: None)
    assert (artifacts / "catalog.yml").read_text() == CATALOG
    assert sorted(path.name for path in (artifacts / "go/kubernetes").iterdir()) == ["1.37.0"]


@pytest.mark.parametrize("release", ["1.37", "v1.37.2", "1.38.0-beta.0", "newest", ""])
def test_what_is_no_release_is_refused(artifacts: Path, go: Any, release: str) -> None:
    with refused("wrong-release: 1.37.2"):
        intake.take_in(artifacts, release, go, lambda _: None)
    assert go.asked == []


def test_a_release_that_the_proxy_does_not_have_is_refused_with_those_that_it_has(artifacts: Path, go: Any) -> None:
    go.refuses = {"k8s.io/kubernetes"}
    with refused("wrong-release: 1.37.9 … 403 Forbidden … lists 1.37.2"):
        intake.take_in(artifacts, "1.37.9", go, lambda _: None)
    with refused("wrong-release: 1.38.0 … lists none"):
        intake.take_in(artifacts, "1.38.0", go, lambda _: None)


def test_a_release_that_needs_a_newer_go_is_refused_before_it_is_fetched(artifacts: Path, go: Any) -> None:
    go.mod = GO_MOD.replace("go 1.26.0", "go 1.27.0")
    with refused("toolchain-too-old: Go 1.27 … go1.26.8 … golang.py"):
        intake.take_in(artifacts, "1.38.0", go, lambda _: None)
    assert not [one for one in go.asked if one[0] == "mod"]


def test_a_line_that_stands_is_not_changed(artifacts: Path, go: Any) -> None:
    with refused("wrong-release: 1.37.0 … 3.7.0 … WITHOUT=1.37.0"):
        intake.take_in(artifacts, "1.37.0", go, lambda _: None)
    assert (artifacts / "catalog.yml").read_text() == CATALOG


def test_a_release_goes_with_the_recipes_that_no_other_has(artifacts: Path, go: Any) -> None:
    intake.take_in(artifacts, "1.37.2", go, lambda _: None)
    (artifacts / "go/kubernetes/.new-cut-off").mkdir()
    intake.leave_out(artifacts, "1.37.2", "1.37.0", lambda _: None)
    assert (artifacts / "catalog.yml").read_text() == CATALOG
    assert sorted(str(path.relative_to(artifacts / "go")) for path in artifacts.glob("go/*/*") if path.is_dir()) == [
        "coredns/1.14.6",
        "etcd/3.7.0",
        "kubernetes/1.37.0",
    ]
    with refused("wrong-release: 1.37.2 … 1.37.0"):
        intake.leave_out(artifacts, "1.37.2", "1.37.0", lambda _: None)
    with refused("wrong-release: 1.37.0 … shipped"):
        intake.leave_out(artifacts, "1.37.0", "1.37.0", lambda _: None)


def test_sums_that_publishers_have_are_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = {"https://a.org/x.sha256": f"{'1' * 64}\n", "https://a.org/y.sha256": "no sum"}
    monkeypatch.setattr(intake, "reachable", lambda url, _timeout: "" if url.startswith("https://a.org") else "refused")
    monkeypatch.setattr(intake, "read_text", lambda url, _stop: sums[url])
    lock = Lock(tmp_path / "lock.yml")
    lock.add("files", "b.org/known", "2" * 64)
    files = [Asked(one, f"{one}.sha256") for one in ("a.org/x", "a.org/y", "b.org/known", "b.org/z")]
    assert intake.lock_sums(lock, files) == ["a.org/y", "b.org/z"]
    assert Lock(tmp_path / "lock.yml").get("files", "a.org/x") == "1" * 64
    assert lock.get("files", "b.org/known") == "2" * 64


def test_go_is_called_as_builds_call_it_and_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "go"
    answer = json.dumps({"Path": "a"}) + "\\n" + json.dumps({"Path": "b"})
    script.write_text(f"#!/bin/sh\necho \"$GOFLAGS $GOTOOLCHAIN $*\" > {tmp_path}/asked\nprintf '{answer}\\n'\n")
    script.chmod(0o755)
    monkeypatch.setattr(golang, "bootstrap", lambda *_: str(script))
    called = intake.Go(tmp_path, tmp_path / "cache", tmp_path / "log")
    assert called.facts("list", "x") == [{"Path": "a"}, {"Path": "b"}]
    assert (tmp_path / "asked").read_text() == "-mod=mod go1.26.8 list x\n"
    monkeypatch.setattr(registries, "go_versions", lambda _go, _environ, module: [module])
    assert called.served("x") == ["x"]


# The shipped release


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('version: "1.37.0"', 'version: "1.37.2"'),
        ("v1.37.0   Debian", "v1.37.2   Debian"),
        ("Kubernetes 1.37.0.", "Kubernetes 1.37.2."),
        ("1.37.0.1 11.37.0 2.1.37.0 1.37.01", "1.37.0.1 11.37.0 2.1.37.0 1.37.01"),
    ],
)
def test_a_release_is_renamed_where_it_stands_alone(text: str, expected: str) -> None:
    assert shipped.renamed(text, "1.37.0", "1.37.2") == expected


def test_modules_that_are_as_kubernetes_has_them_are_raised() -> None:
    old = {"k8s.io/api": "v0.37.0", "x.org/same": "v1.0.0", "x.org/gone": "v1.0.0", "x.org/other": "v1.0.0"}
    new = {"k8s.io/api": "v0.37.2", "x.org/same": "v1.0.0", "x.org/other": "v2.0.0"}
    head = "require (\n\tk8s.io/api v0.37.0 // indirect\n"
    mod = f"{head}\n\tx.org/same v1.0.0\n\tx.org/gone v1.0.0\n\tx.org/other v1.5.0\n)\n"
    assert shipped.raised(mod, old, new) == {"k8s.io/api": "v0.37.2"}


@pytest.fixture
def checkout(artifacts: Path) -> Path:
    root = artifacts.parent
    for name in shipped.FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('artifacts_kubernetes_version: "1.37.0"\n')
    (artifacts / "catalog.yml").write_text(intake.with_line(CATALOG, "1.37.2", ROW))
    for release, library, net in (("1.37.0", "v0.37.0", "v1.0.0"), ("1.37.2", "v0.37.2", "v1.1.0")):
        (artifacts / "go/kubernetes" / release).mkdir(exist_ok=True)
        mod = f"require (\n\tk8s.io/client-go {library}\n\tx.org/net {net}\n)\n"
        (artifacts / "go/kubernetes" / release / "go.mod").write_text(mod)
    return root


# Who has other libraries of Kubernetes keeps all that it has.
@pytest.mark.parametrize(
    ("library", "raised", "net"), [("v0.37.0", "v0.37.2", "v1.1.0"), ("v0.33.0", "v0.33.0", "v1.0.0")]
)
def test_another_release_is_shipped(checkout: Path, go: Any, library: str, raised: str, net: str) -> None:
    uses = checkout / "artifacts/go/runc/go.mod"
    uses.write_text(f"require (\n\tk8s.io/client-go {library}\n\tx.org/net v1.0.0\n)\n")
    shipped.ship(checkout, "1.37.2", go, lambda _: None)
    assert shipped.shipped(checkout) == "1.37.2"
    assert {(checkout / name).read_text() for name in shipped.FILES} == {'artifacts_kubernetes_version: "1.37.2"\n'}
    assert uses.read_text() == f"require (\n\tk8s.io/client-go {raised}\n\tx.org/net {net}\n)\n"
    with refused("wrong-release: 1.38.0 … 1.37.0, 1.37.2"):
        shipped.ship(checkout, "1.38.0", go, lambda _: None)


def test_every_file_of_the_shipped_release_names_it() -> None:
    release = shipped.shipped(ROOT)
    assert {name for name in shipped.FILES if release not in (ROOT / name).read_text()} == set()


Run = Callable[..., int]


@pytest.fixture
def command(checkout: Path, go: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(releases, "ROOT", checkout)
    monkeypatch.setattr(intake, "Go", lambda *_: go)
    monkeypatch.setenv("SLIPWAY_STATE", str(checkout))
    return lambda *arguments: releases.main(list(arguments))


def test_the_command(command: Run, checkout: Path, capsys: Any) -> None:
    assert command() == 0
    said = capsys.readouterr().out
    assert [line.split(":")[0] for line in said.splitlines()] == ["Kubernetes 1.37.0", "Kubernetes 1.37.2"]
    assert "(shipped)" in said.splitlines()[0]
    assert command("--kubernetes", "1.37.2", "--default", "--without", "1.37.0") == 0
    assert Folder(checkout / "artifacts").catalog.releases() == ["1.37.2"]
    assert shipped.shipped(checkout) == "1.37.2"
    assert command("--without", "1.37.2") == 1
    assert "[wrong-release]" in capsys.readouterr().err
