"""The jobs that all others build on: programs of Go modules, and a suite's packages."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import Any

from ..node.architecture import AMD64, named, of_this_computer
from . import apt, golang
from .cache import Cache, Entry, digest_of
from .catalog import Folder, Recipe
from .job import FORMAT, Job, Results, duration
from .lock import Lock
from .plan import BundleSettings
from .process import Say


class Programs:
    """Makes these jobs for one run. ``say`` may be called from any thread."""

    def __init__(self, folder: Folder, settings: BundleSettings, lock: Lock, say: Say, stop: threading.Event) -> None:
        self.folder = folder
        self.settings = settings
        self.cache = Cache(settings.cache)
        self.lock = lock
        self.say = say
        self.stop = stop
        self._suites: dict[tuple[str, str], apt.Suite] = {}
        self._guard = threading.Lock()

    def log(self, name: str) -> Path:
        return self.settings.state / "log" / f"{name}.log"

    def recipe(self, program: str, architecture: str) -> Recipe:
        return self.folder.recipe(program, "", program, architecture)

    @functools.cache  # noqa: B019  as long-lived as the run
    def program_key(self, program: str, architecture: str) -> str:
        return golang.recipe_key(self.recipe(program, architecture), self.folder.go(program), architecture)

    @functools.cache  # noqa: B019
    def program(self, program: str, architecture: str) -> Job:
        recipe = self.recipe(program, architecture)
        name, key = program_name(program, architecture), self.program_key(program, architecture)
        source = self.folder.go(program)
        cold = not (self.cache.root / "go" / "build").exists()
        libraries = self.libraries(program, architecture)
        before = (self.modules(program), *([libraries] if libraries else []))

        def make(results: Results) -> Entry:
            sysroot = results[libraries.id].path if libraries else None

            def build(target: Path) -> dict[str, Any]:
                return golang.build(
                    program,
                    recipe,
                    source,
                    target,
                    artifacts=self.folder.path,
                    architecture=architecture,
                    sysroot=sysroot,
                    cache=self.cache,
                    log=self.log(name),
                    stop=self.stop,
                )

            needs = recipe.seconds * golang.BYTES_PER_SECOND if cold else 0
            return self.cache.make(name, key, build, needs=needs, say=self.say)

        found = self.cache.get(name, key)
        about = f", {duration(recipe.seconds)} when nothing is compiled yet" if recipe.seconds >= 20 else ""
        return Job(
            id=name,
            title=f"{program} {recipe.version}{shown(architecture)}",
            lane="go",
            way="built",
            make=make,
            found=found,
            needs=() if found else before,
            starting=f"building {', '.join(recipe.packages)}{about}",
            seconds=recipe.seconds,
        )

    @functools.cache  # noqa: B019
    def modules(self, program: str) -> Job:
        """The modules that a program is made of, fetched while others compile. Go's cache has them, not ours."""
        recipe = self.recipe(program, AMD64)
        name = f"modules-{program}"

        def make(_results: Results) -> Entry:
            golang.fetch_modules(
                program,
                recipe,
                self.folder.go(program),
                artifacts=self.folder.path,
                cache=self.cache,
                log=self.log(name),
                stop=self.stop,
            )
            return Entry(self.cache.root / "go" / "mod", {})

        return Job(id=name, title=f"modules of {program} {recipe.version}", lane="net", way="downloaded", make=make)

    @functools.cache  # noqa: B019
    def libraries(self, program: str, architecture: str) -> Job | None:
        """What a program in C is linked against, for another architecture than this computer's."""
        recipe = self.recipe(program, architecture)
        wanted = recipe.libraries
        if not wanted or not recipe.cgo or architecture == of_this_computer():
            return None
        name = named(f"libraries-{program}", architecture)
        described = self.folder.suite(wanted.suite, f"go/recipes.yml: {program}").described(architecture)
        key = digest_of(
            {"format": FORMAT, "packages": wanted.packages, "suite": described, "architecture": architecture}
        )

        def unpack(target: Path) -> dict[str, Any]:
            debs = self.suite(wanted.suite, architecture).packages(wanted.packages, self.say)
            return golang.write_sysroot(target, debs, architecture)

        return Job(
            id=name,
            title=f"libraries of {program} for {architecture}",
            lane="net",
            way="unpacked",
            make=lambda _results: self.cache.make(name, key, unpack, say=self.say),
            found=self.cache.get(name, key),
            starting=f"unpacking {', '.join(wanted.packages)} of {wanted.suite}",
        )

    @functools.cache  # noqa: B019
    def source_key(self, program: str) -> str:
        return golang.source_key(self.recipe(program, AMD64), self.folder.go(program))

    def module(self, program: str) -> Path:
        """The folder of the recipe's module."""
        recipe, log = self.recipe(program, AMD64), self.log(f"module-{program}")
        return golang.module_folder(
            program,
            recipe,
            self.folder.go(program),
            artifacts=self.folder.path,
            cache=self.cache,
            log=log,
            stop=self.stop,
        )

    def suite(self, name: str, architecture: str) -> apt.Suite:
        with self._guard:
            if (name, architecture) not in self._suites:
                described = self.folder.catalog.packages.suites[name]
                log = self.log(f"apt-{named(name, architecture)}")
                made = apt.Suite(name, architecture, described, self.cache, log, self.stop)
                self._suites[name, architecture] = made
            return self._suites[name, architecture]


def program_name(program: str, architecture: str) -> str:
    """What the cache calls the programs of a recipe, and their job."""
    return named(f"go-{program}", architecture)


def shown(*architectures: str) -> str:
    """Behind an item's version: which architectures it is for, where that is another one than it always was."""
    return "" if architectures == (AMD64,) else f" for {' and '.join(architectures)}"
