"""``make catalog``: take a release of Kubernetes into the catalog, or out of it.

What is written comes out of the release itself: kubeadm's constants name what goes with it, its go.mod names the
versions of all modules. Nothing is compiled. A run that was cut off is done again; the line of the table comes last.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ..errors import SlipwayError
from ..node.architecture import AMD64, ARCHITECTURES
from . import golang, plan, registries, versions
from .cache import Cache, write_atomically
from .catalog import Catalog, Folder, Recipe, Release
from .download import NotThereError, find_sum, reachable, read_text
from .lock import Lock
from .process import Say

KUBERNETES = "k8s.io/kubernetes"
CONSTANTS = "cmd/kubeadm/app/constants/constants.go"
NAMES = {"etcd": "DefaultEtcdVersion", "coredns": "CoreDNSVersion", "pause": "PauseVersion"}
RELEASE = re.compile(r"[1-9]\d*\.\d+\.\d+")
STAGING = re.compile(r"^\s*(?:replace )?(k8s\.io/\S+) => \./staging/src/", re.M)
GO_LINE = re.compile(r"^go (\d+)\.(\d+)", re.M)
LINE = re.compile(r"^  (?P<release>\d+\.\d+\.\d+): \{.*\}$")
SECONDS = 900.0  # for one call of Go, most of it downloads


class Asked(NamedTuple):
    """A file whose publisher's sum belongs into the lock."""

    address: str
    checksum: str


# What a release says


def kubeadm_names(text: str) -> Release:
    """The versions that kubeadm's constants name. The tag of etcd's image has a number of the image behind it."""
    found = {}
    for key, name in NAMES.items():
        value = re.search(rf'^\s*{name}\s*=\s*"v?(\d+\.\d+\.\d+)(?:-\d+)?"', text, re.M)
        if not value:
            raise SlipwayError(
                "wrong-release",
                f"{CONSTANTS} of this release has no {name} that is a version, so nobody can tell what goes with it.",
            )
        found[key] = value[1]
    return Release(**found)


def staging(text: str) -> list[str]:
    """The modules that Kubernetes publishes beside itself, by the go.mod of its own."""
    return STAGING.findall(text)


def needs_newer_go(text: str) -> str:
    """The Go that a go.mod asks for, such as 1.27, when the toolchain is older; empty when it is not."""
    found = GO_LINE.search(text)
    wanted = (int(found[1]), int(found[2])) if found else (0, 0)
    own = versions.minor(golang.TOOLCHAIN.removeprefix("go")) or (0, 0)
    return f"{wanted[0]}.{wanted[1]}" if wanted > own else ""


def etcd_patch(named: str, served: Sequence[str]) -> str:
    """The newest patch of the minor version of etcd that kubeadm names."""
    return (versions.lag(f"v{named}", served).patch or named).removeprefix("v")


def library_version(release: str) -> str:
    """The version of Kubernetes' libraries: that of 1.37.2 is v0.37.2."""
    return f"v0.{release.partition('.')[2]}"


# What is written


def go_mod(program: str, packages: Sequence[str], required: Mapping[str, str]) -> str:
    """A go.mod with the programs and the modules that they are in; Go adds all others."""
    go = golang.TOOLCHAIN.removeprefix("go").rpartition(".")[0]
    tools = "\n".join(f"\t{package}" for package in sorted(packages))
    modules = "\n".join(f"\t{module} {version}" for module, version in required.items())
    return f"module slipway.local/{program}\n\ngo {go}.0\n\ntool (\n{tools}\n)\n\nrequire (\n{modules}\n)\n"


def main_modules(recipe: Recipe) -> dict[str, str]:
    """The modules that the programs of a recipe are in: its own, and those that are modules of their own (etcdctl)."""
    module, _, version = recipe.module.partition(" ")
    others = [
        package for package in recipe.packages.values() if package != module and not package.startswith(f"{module}/")
    ]
    return dict.fromkeys((module, *others), version)


def with_line(text: str, release: str, row: Release) -> str:
    """The text of the catalog with a line of the table: a new one in its place, or instead of the one that is there."""
    before, lines, after = _table(text)
    kept = {found["release"]: line for line in lines if (found := LINE.match(line))}
    kept[release] = f"  {release}: {{{', '.join(f'{key}: {value}' for key, value in row.model_dump().items())}}}"
    return before + "".join(f"{kept[one]}\n" for one in sorted(kept, key=versions.order)) + after


def without_line(text: str, release: str) -> str:
    """The text of the catalog without a line of the table."""
    before, lines, after = _table(text)
    return before + "".join(f"{line}\n" for line in lines if not line.startswith(f"  {release}:")) + after


def _table(text: str) -> tuple[str, list[str], str]:
    """What stands before the lines of the table, the lines, and what stands behind them."""
    head = "\nkubernetes:\n"
    start = text.find(head)
    lines: list[str] = []
    rest = text[start + len(head) :]
    while start >= 0 and LINE.match(rest.partition("\n")[0]):
        line, _, rest = rest.partition("\n")
        lines.append(line)
    if not lines:
        raise SlipwayError(
            "wrong-artifact-file",
            "artifacts/catalog.yml has no table `kubernetes:` with a line for each release, such as "
            "`  1.37.2: {etcd: 3.7.3, coredns: 1.14.6, pause: 3.10.2}`.",
        )
    return text[: start + len(head)], lines, rest


def unused(folder: Folder) -> Iterator[Path]:
    """The folders of versions that no line of the table has."""
    known = [Folder(folder.path, one) for one in folder.catalog.releases()]
    for program, written in folder.written.items():
        if written.follows and written.module != "-":
            used = {one.go(program) for one in known}
            yield from sorted(path for path in (folder.path / "go" / program).iterdir() if path not in used)


# What is done


class Go:
    """Go as builds call it, but that it may write go.mod."""

    def __init__(self, artifacts: Path, cache: Path, log: Path) -> None:
        self.go = golang.bootstrap(Cache(cache), artifacts, log, threading.Event())
        self.environ = golang.environment(cache, cgo=False) | {"GOFLAGS": "-mod=mod"}

    def __call__(self, *arguments: str, cwd: Path | None = None) -> str:
        if cwd:
            return registries.ask([self.go, *arguments], SECONDS, env=self.environ, cwd=cwd)
        # Outside of every module.
        with TemporaryDirectory() as empty:
            return registries.ask([self.go, *arguments], SECONDS, env=self.environ, cwd=Path(empty))

    def facts(self, *arguments: str) -> list[dict[str, Any]]:
        """What Go says of modules, one JSON object after the other."""
        text, decoder, found = self(*arguments).strip(), json.JSONDecoder(), []
        while text:
            value, end = decoder.raw_decode(text)
            found.append(value)
            text = text[end:].strip()
        return found

    def served(self, module: str) -> list[str]:
        return registries.go_versions(self.go, self.environ, module)


def look(go: Go, release: str) -> tuple[Path, str]:
    """The folder of a release's module, and its go.mod. Raises SlipwayError when it cannot be had, or not be built."""
    if not RELEASE.fullmatch(release):
        raise SlipwayError(
            "wrong-release", f"KUBERNETES={release} is no release of Kubernetes; one that is: KUBERNETES=1.37.2."
        )
    try:
        (facts,) = go.facts("list", "-m", "-json", f"{KUBERNETES}@v{release}")
    except registries.SilentRegistryError:
        raise
    except SlipwayError as exc:
        minor = versions.minor(release)
        same = [one for one in go.served(KUBERNETES) if versions.order(one) and versions.minor(one) == minor]
        have = ", ".join(one.removeprefix("v") for one in same) or "none"
        raise SlipwayError(
            "wrong-release",
            f"Kubernetes {release} cannot be had from the Go proxy ({exc.text}); of its minor version it lists {have}.",
        ) from exc
    text = Path(facts["GoMod"]).read_text("utf-8")
    if newer := needs_newer_go(text):
        raise SlipwayError(
            "toolchain-too-old",
            f"Kubernetes {release} needs Go {newer}, and programs are built with {golang.TOOLCHAIN}. Set TOOLCHAIN in "
            f"plugins/module_utils/slipway/artifacts/golang.py to a release of Go {newer}; every program is built "
            f"again then (docs/how-to/renew-versions.md).",
        )
    (module,) = go.facts("mod", "download", "-json", f"{KUBERNETES}@v{release}")
    return Path(module["Dir"]), text


def write_recipe(go: Go, program: str, recipe: Recipe, target: Path, required: Mapping[str, str], say: Say) -> None:
    """Make go.mod and go.sum of a program's version, unless they are there."""
    if (target / "go.sum").exists():
        say(f"artifacts/go/{program}/{target.name} is there")
        return
    say(f"{program} {recipe.version}: finding the versions of all modules")
    with TemporaryDirectory(dir=target.parent, prefix=".new-") as made:
        folder = Path(made) / target.name
        folder.mkdir()
        (folder / "go.mod").write_text(go_mod(program, list(recipe.packages.values()), required), "utf-8")
        go("mod", "tidy", cwd=folder)
        # Every module that a build needs is to be had, and go.sum has its sum.
        go("list", "-mod=readonly", "-deps", "-f", "{{.ImportPath}}", *recipe.packages.values(), cwd=folder)
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
    say(f"artifacts/go/{program}/{target.name} is written")


def requirements(go: Go, program: str, recipe: Recipe, mod: str) -> dict[str, str]:
    """What a program's go.mod has to name: Kubernetes' own says v0.0.0 of its libraries, and replaces them."""
    required = main_modules(recipe)
    if program != "kubernetes":
        return required
    version = library_version(recipe.version)
    asked = go.facts("list", "-m", "-e", "-json", *(f"{library}@{version}" for library in staging(mod)))
    return required | {one["Path"]: version for one in asked if "Error" not in one}


def files_of(catalog: Catalog, release: str, artifacts: Path) -> list[Asked]:
    """The files that a release brings, for each architecture, with the places of their publishers' sums."""
    settings = plan.BundleSettings(
        kubernetes_version=release,
        parts=[],
        suites=[],
        architectures=list(ARCHITECTURES),
        here=AMD64,
        folder=artifacts,
        state=artifacts,
        cache=artifacts,
    )
    names = [name for name, entry in catalog.files.items() if "{{" in entry.version]
    items = [item for name in names for item in plan.file_items(catalog, name, settings)]
    return [Asked(item.address, item.checksum) for item in items if item.checksum]


def lock_sums(lock: Lock, files: Sequence[Asked], prefix: str = "https://") -> list[str]:
    """Write the sums that publishers have; returns the addresses that stay without one."""
    stop, left, silent = threading.Event(), [], set[str]()
    for file in files:
        host = file.checksum.partition("/")[0]
        found = ""
        if not lock.get("files", file.address) and host not in silent:
            url = f"{prefix}{file.checksum}"
            if reachable(url, plan.PROBE_SECONDS):
                silent.add(host)
            else:
                try:
                    found = find_sum(read_text(url, stop), file.address.rpartition("/")[2])
                except NotThereError:
                    found = ""
        if found:
            lock.add("files", file.address, found)
        elif not lock.get("files", file.address):
            left.append(file.address)
    return left


def take_in(artifacts: Path, release: str, go: Go, say: Say, prefix: str = "https://") -> Release:
    """Write the recipes, the sums and the line of a release; returns what goes with it."""
    source, mod = look(go, release)
    named = kubeadm_names((source / CONSTANTS).read_text("utf-8"))
    folder = Folder(artifacts)
    etcd = folder.written["etcd"].with_version("etcd", {"etcd": named.etcd})
    row = named.model_copy(update={"etcd": etcd_patch(named.etcd, go.served(etcd.module.partition(" ")[0]))})
    say(f"Kubernetes {release}: etcd {row.etcd} (kubeadm names {named.etcd}), CoreDNS {row.coredns}, pause {row.pause}")
    standing = folder.catalog.kubernetes.get(release)
    if standing and standing != row:
        raise SlipwayError(
            "wrong-release",
            f"artifacts/catalog.yml has {release} with {standing.model_dump()}. A line that clusters were made with "
            f"stays as it is. If there are none: `make catalog WITHOUT={release}`, then the same command again.",
        )
    values = {"kubernetes": release, **row.model_dump()}
    for program, written in folder.written.items():
        if written.follows and written.module != "-":
            recipe = written.with_version(program, values)
            target = artifacts / "go" / program / recipe.version
            required = {} if (target / "go.sum").exists() else requirements(go, program, recipe, mod)
            write_recipe(go, program, recipe, target, required, say)
    file = artifacts / "catalog.yml"
    write_atomically(file, with_line(file.read_text("utf-8"), release, row))
    left = lock_sums(Lock(artifacts / "lock.yml"), files_of(Folder(artifacts).catalog, release, artifacts), prefix)
    if left:
        say(f"artifacts/lock.yml stays without sums of {len(left)} files, because their publishers do not answer:")
        for address in left:
            say(f"  {address}")
        say("The first run that downloads them writes these sums, from their publishers. Nothing is guessed.")
    say("Digests of images are written by the first run that pulls them.")
    return row


def leave_out(artifacts: Path, release: str, shipped: str, say: Say) -> None:
    """Take a release out of the catalog, with the recipes that no other one has."""
    known = Folder(artifacts).catalog.releases()
    if release not in known:
        raise SlipwayError("wrong-release", f"WITHOUT={release}: the catalog has {', '.join(known)}.")
    if release == shipped:
        raise SlipwayError(
            "wrong-release",
            f"WITHOUT={release}: this release is the shipped one; ship another one before it goes "
            f"(`make catalog KUBERNETES=1.37.2 DEFAULT=1`).",
        )
    file = artifacts / "catalog.yml"
    write_atomically(file, without_line(file.read_text("utf-8"), release))
    for path in unused(Folder(artifacts)):
        shutil.rmtree(path)
        say(f"{path.relative_to(artifacts.parent)} is removed")
    say(f"Kubernetes {release} is out of the catalog")
