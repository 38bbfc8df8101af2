"""One job per item: where it lies in the cache, what it needs first, and how it is made."""

from __future__ import annotations

import functools
import shutil
import tarfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import SlipwayError
from . import apt, golang, image, maven, tree, wheel
from .archive import Member, write_tgz
from .cache import Cache, Entry, digest_of, folder_size, link_or_copy, locked, megabytes, sha256_of
from .catalog import FileBuild, Folder, Jar, Layers, Wheel
from .download import NotThereError, download, find_sum, read_text
from .lock import Lock
from .plan import BundleSettings, FileItem, ImageItem
from .process import Say

FORMAT = 1  # a higher one makes every packed item anew
CRANE = "crane"
Lane = Literal["go", "net", "local"]
Results = Mapping[str, Entry]
Maker = Callable[[Results], Entry]


@dataclass(frozen=True)
class Job:
    """``found`` is the item when the cache has it; then nothing is made and ``needs`` is empty."""

    id: str
    title: str
    lane: Lane
    way: str
    make: Maker
    found: Entry | None = None
    needs: tuple[Job, ...] = ()
    starting: str = ""


class Jobs:
    """Makes the jobs of one run. ``say`` may be called from any thread."""

    def __init__(self, folder: Folder, settings: BundleSettings, lock: Lock, say: Say, stop: threading.Event) -> None:
        self.folder = folder
        self.settings = settings
        self.cache = Cache(settings.cache)
        self.lock = lock
        self.say = say
        self.stop = stop
        self._suites: dict[str, apt.Suite] = {}
        self._guard = threading.Lock()

    def log(self, name: str) -> Path:
        return self.settings.state / "log" / f"{name}.log"

    # Programs of Go modules

    @functools.cache  # noqa: B019  as long-lived as the run
    def program_key(self, program: str) -> str:
        recipe = self.folder.recipe(program, "", program)
        return golang.recipe_key(recipe, self.folder.path / "go" / program)

    @functools.cache  # noqa: B019
    def program(self, program: str) -> Job:
        recipe = self.folder.recipe(program, "", program)
        name, key = f"go-{program}", self.program_key(program)
        source = self.folder.path / "go" / program
        cold = not (self.cache.root / "go" / "build").exists()

        def build(target: Path) -> dict[str, Any]:
            return golang.build(program, recipe, source, target, cache=self.cache, log=self.log(name), stop=self.stop)

        def make(_results: Results) -> Entry:
            needs = recipe.seconds * golang.BYTES_PER_SECOND if cold else 0
            return self.cache.make(name, key, build, needs=needs, say=self.say)

        about = f", {duration(recipe.seconds)} when nothing is compiled yet" if recipe.seconds >= 20 else ""
        return Job(
            id=name,
            title=f"{program} {recipe.version}",
            lane="go",
            way="built",
            make=make,
            found=self.cache.get(name, key),
            starting=f"building {', '.join(recipe.packages)}{about}",
        )

    @functools.cache  # noqa: B019
    def source_key(self, program: str) -> str:
        return golang.source_key(self.folder.recipe(program, "", program), self.folder.path / "go" / program)

    def module(self, program: str) -> Path:
        """The folder of the recipe's module."""
        recipe, source = self.folder.recipe(program, "", program), self.folder.path / "go" / program
        log = self.log(f"module-{program}")
        return golang.module_folder(program, recipe, source, cache=self.cache, log=log, stop=self.stop)

    # Files

    def built_file(self, item: FileItem) -> Job:
        how = item.build
        if how is None:
            raise SlipwayError("not-buildable", f"{item.name} cannot be built: {item.unbuildable}")
        version = how.version or item.version
        self.folder.recipe(how.program, version, item.name)
        if how.source:
            return self._source_file(item, how, version)
        described = {"program": self.program_key(how.program), "how": how.model_dump(), "of": item.name}
        key = digest_of({"format": FORMAT, **described})
        program = self.program(how.program)

        def pack(target: Path, programs: Entry) -> dict[str, Any]:
            result = target / item.address.rpartition("/")[2]
            if how.binary:
                link_or_copy(programs.path / how.binary, result)
            else:
                names = how.names or {name: name for name in programs.facts["programs"]}
                prefix = "" if how.folder == "." else f"{how.folder}/"
                write_tgz(
                    result, [Member(f"{prefix}{name}", 0o755, programs.path / built) for name, built in names.items()]
                )
            return file_facts(result, version, "built")

        def make(results: Results) -> Entry:
            return self.cache.make(item.name, key, lambda target: pack(target, results[program.id]), say=self.say)

        found = self.cache.get(item.name, key)
        return Job(
            id=f"file:{item.name}",
            title=f"{item.name} {version}",
            lane="local",
            way=f"from {how.program}",
            make=make,
            found=found,
            needs=() if found else (program,),
        )

    def _source_file(self, item: FileItem, how: FileBuild, version: str) -> Job:
        """A file that lies in the recipe's module: upstream's own bytes, out of the pinned module."""
        key = digest_of({"format": FORMAT, "module": self.source_key(how.program), "source": how.source})

        def copy(target: Path) -> dict[str, Any]:
            result = target / item.address.rpartition("/")[2]
            shutil.copyfile(golang.module_file(item.name, self.module(how.program), how.source), result)
            return file_facts(result, version, "built")

        return Job(
            id=f"file:{item.name}",
            title=f"{item.name} {version}",
            lane="net",
            way=f"from {how.program}",
            make=lambda _results: self.cache.make(item.name, key, copy, say=self.say),
            found=self.cache.get(item.name, key),
        )

    def upstream_file(self, item: FileItem) -> Job:
        known = self.lock.get("files", item.address)
        return Job(
            id=f"file:{item.name}",
            title=f"{item.name} {item.version}",
            lane="net",
            way="downloaded",
            make=lambda _results: self._fetch_file(item),
            found=self.cache.get(item.name, upstream_key(item.address, known)) if known else None,
        )

    def _fetch_file(self, item: FileItem) -> Entry:
        expected, source = self._expected_sum(item)
        url = f"{self.settings.upstream_prefix}{item.address}"
        if not expected:
            # Its sum is only known once it is here; the operator accepted that.
            with locked(self.cache.downloads / f"{item.name}.lock", lambda: None):
                expected, source = sha256_of(download(url, self.cache.downloads, self.stop)), "this download"
            self.say(f"{item.name}: nobody publishes a sum of {item.address}; accepted as {expected}")

        def receive(target: Path) -> dict[str, Any]:
            part = self._verified(url, expected, source, item)
            result = target / item.address.rpartition("/")[2]
            part.replace(result)
            return file_facts(result, item.version, "upstream")

        entry = self.cache.make(item.name, upstream_key(item.address, expected), receive, say=self.say)
        self.lock.add("files", item.address, expected)
        return entry

    def _verified(self, url: str, expected: str, source: str, item: FileItem) -> Path:
        """Download until the sum is right; only what was continued from an older partial file gets a second chance."""
        actual = ""
        for _attempt in range(2):
            continued = any(self.cache.downloads.glob(f"{digest_of(url)}.part"))
            part = download(url, self.cache.downloads, self.stop)
            actual = sha256_of(part)
            if actual == expected:
                return part
            part.unlink()
            if not continued:
                break
        raise SlipwayError(
            "checksum-differs",
            f"{item.name}: {url} has sha256 {actual}, but {source} says {expected}. Nothing was kept. "
            f"Either the file was changed on its way or upstream replaced it; when you know that it was upstream, "
            f"remove the entry of {item.address} from artifacts/lock.yml and run again.",
        )

    def _expected_sum(self, item: FileItem) -> tuple[str, str]:
        """The sum that the file must have and who says so; empty when nobody does and that is accepted."""
        known = self.lock.get("files", item.address)
        if known:
            return known, f"artifacts/lock.yml (files: {item.address})"
        problem = "its publisher has no checksum file in artifacts/catalog.yml"
        if item.checksum:
            url = f"{self.settings.upstream_prefix}{item.checksum}"
            try:
                published = find_sum(read_text(url, self.stop), item.address.rpartition("/")[2])
            except NotThereError:
                problem = f"its publisher's checksum file {url} does not exist"
            else:
                if published:
                    return published, f"its publisher ({url})"
                problem = f"its publisher's checksum file {url} does not name it"
        if self.settings.accept_unverified:
            return "", ""
        raise SlipwayError(
            "no-checksum",
            f"{item.name}: {item.address} cannot be verified: {problem}, and artifacts/lock.yml has no entry for it. "
            f"Write its sha256 there under files:, or set cluster_accept_unverified: true in "
            f"group_vars/all/cluster.yml to take what the server sends this once; its sum is then kept there, too.",
        )

    # Images

    def layer_key(self, name: str) -> str:
        layers = self.layers(name)
        # What a layer has none of says nothing: a new sort of content makes no old layer anew.
        held = {
            key: value for key, value in layers.model_dump(include=Layers.IN_LAYER).items() if value or key != "jars"
        }
        suite = self.folder.catalog.packages.suites[layers.suite].model_dump() if layers.packages else {}
        return digest_of(
            {
                "format": FORMAT,
                "layer": held,
                "suite": suite,
                "programs": {recipe: self.program_key(recipe) for recipe in layers.binaries},
                "modules": {recipe: self.source_key(recipe) for recipe in layers.sources},
                "repository": {path: tree.sums(self.root, path) for path in layers.repository.values()},
            }
        )

    @property
    def root(self) -> Path:
        """The repository that the folder artifacts/ stands in."""
        return self.folder.path.parent

    def layers(self, name: str) -> Layers:
        layers = self.folder.layers(name)
        if layers is None:
            raise SlipwayError("file-missing", f"{self.folder.path}/images/{name}/layers.yml is missing.")
        if layers.packages and layers.suite not in self.folder.catalog.packages.suites:
            raise SlipwayError(
                "not-in-catalog",
                f"{self.folder.path}/images/{name}/layers.yml: suite {layers.suite!r} is not in artifacts/catalog.yml.",
            )
        return layers

    def chain(self, name: str) -> list[str]:
        """The folders whose layers make up image ``name``, lowest first."""
        names: list[str] = []
        while name:
            if name in names:
                raise SlipwayError(
                    "wrong-artifact-file", f"artifacts/images: {' → '.join([*names, name])} stand on each other."
                )
            names.append(name)
            name = self.layers(name).base
        return names[::-1]

    def wheel(self, name: str, pinned: Wheel) -> Job:
        return self.registered(
            "wheel", name, pinned.version, pinned.sha256, functools.partial(wheel.fetch, name, pinned)
        )

    def jar(self, name: str, pinned: Jar) -> Job:
        return self.registered("jar", name, pinned.version, pinned.sha256, functools.partial(maven.fetch, name, pinned))

    def registered(self, kind: str, name: str, version: str, sha256: str, get: Callable[..., dict[str, Any]]) -> Job:
        """What ``get`` brings from a registry of packages by its own client, which checks the sum."""
        item, key = f"{kind}-{name.replace(':', '-')}", digest_of({"format": FORMAT, kind: name, "sha256": sha256})

        def fetch(target: Path) -> dict[str, Any]:
            return get(target, log=self.log(item), stop=self.stop)

        return Job(
            id=item,
            title=f"{kind} {name} {version}",
            lane="net",
            way="downloaded",
            make=lambda _results: self.cache.make(item, key, fetch, say=self.say),
            found=self.cache.get(item, key),
        )

    def lacking(self, name: str) -> str:
        """What this machine would need to put image ``name`` together and has not; empty for nothing."""
        fetched = [self.jar(one, jar) for layer in self.chain(name) for one, jar in self.layers(layer).jars.items()]
        missing = [job.title for job in fetched if not job.found]
        if not missing or maven.available():
            return ""
        return f"this machine has no mvn to get {', '.join(missing)} with (sudo apt-get install maven)"

    @functools.cache  # noqa: B019
    def layer(self, name: str) -> Job:
        layers, key, item = self.layers(name), self.layer_key(name), f"layer-{name}"
        programs = [self.program(recipe) for recipe in layers.binaries]
        wheels = {one: self.wheel(one, pinned) for one, pinned in layers.wheels.items()}
        jars = {one: self.jar(one, pinned) for one, pinned in layers.jars.items()}

        def write(target: Path, results: Results) -> dict[str, Any]:
            debs = self.suite(layers.suite).packages(layers.packages, self.say) if layers.packages else []
            fetched = {one: results[job.id] for one, job in {**wheels, **jars}.items()}
            files = {one: entry.path / entry.facts["file"] for one, entry in fetched.items()}
            inputs = image.Inputs(
                programs={recipe: results[f"go-{recipe}"].path for recipe in layers.binaries},
                modules={recipe: self.module(recipe) for recipe in layers.sources},
                wheels={one: files[one] for one in wheels},
                jars={one: files[one] for one in jars},
                debs=debs,
                root=self.root,
            )
            sha256 = image.write_layer(target, image.layer_members(layers, inputs))
            return {"sha256": sha256, "debs": [deb.name for deb in debs]}

        def make(results: Results) -> Entry:
            return self.cache.make(item, key, lambda target: write(target, results), say=self.say)

        found = self.cache.get(item, key)
        return Job(
            id=item,
            title=f"layer {name}",
            lane="net" if layers.packages or layers.sources else "local",
            way="put together",
            make=make,
            found=found,
            needs=() if found else (*programs, *wheels.values(), *jars.values()),
            starting=f"unpacking {', '.join(layers.packages)} of {layers.suite}" if layers.packages else "",
        )

    def built_image(self, item: ImageItem) -> Job:
        runs, chain = self.layers(item.name), self.chain(item.name)
        for recipe in {**runs.binaries, **runs.sources}:
            self.folder.recipe(recipe, item.version, f"image {item.name}")
        config = runs.model_dump(include={"entrypoint", "command", "user", "env", "workdir"})
        key = digest_of({"format": FORMAT, "layers": [self.layer_key(name) for name in chain], "config": config})
        name = f"image-{item.name}"

        def write(target: Path, results: Results) -> dict[str, Any]:
            below = [results[f"layer-{one}"] for one in chain]
            digest = image.write_layout(target, [(one.facts["sha256"], one.path / image.LAYER) for one in below], runs)
            return {"version": item.version, "source": "built", "digest": digest, "size": folder_size(target)}

        def make(results: Results) -> Entry:
            return self.cache.make(name, key, lambda target: write(target, results), say=self.say)

        found = self.cache.get(name, key)
        return Job(
            id=f"image:{item.name}",
            title=f"image {item.name}:{item.tag}",
            lane="local",
            way="put together",
            make=make,
            found=found,
            needs=() if found else tuple(self.layer(one) for one in chain),
        )

    def upstream_image(self, item: ImageItem, crane: Job) -> Job:
        known = self.lock.get("images", item.reference)
        name = f"image-{item.name}"
        found = self.cache.get(name, upstream_key(item.reference, known)) if known else None

        def make(results: Results) -> Entry:
            tool = image.Crane(self._crane(results[crane.id]), self.settings.registry_prefix, self.stop)
            digest = tool.digest(item.reference)
            if known and digest != known:
                raise SlipwayError(
                    "checksum-differs",
                    f"image {item.reference} is {digest} upstream, but artifacts/lock.yml says {known} "
                    f"(images: {item.reference}). Nothing was kept. When you know that upstream moved the tag, remove "
                    f"that entry and run again.",
                )

            def pull(target: Path) -> dict[str, Any]:
                tool.pull(item.reference, digest, target, self.log(name))
                return {"version": item.version, "source": "upstream", "digest": digest, "size": folder_size(target)}

            entry = self.cache.make(name, upstream_key(item.reference, digest), pull, say=self.say)
            self.lock.add("images", item.reference, digest)
            return entry

        return Job(
            id=f"image:{item.name}",
            title=f"image {item.name}:{item.tag}",
            lane="net",
            way="pulled",
            make=make,
            found=found,
            needs=() if found else (crane,),
        )

    def _crane(self, entry: Entry) -> Path:
        """The program in what upstream or Go gave us."""
        if "programs" in entry.facts:
            return entry.path / CRANE
        archive = entry.path / entry.facts["file"]

        def unpack(target: Path) -> dict[str, Any]:
            with tarfile.open(archive) as tar, (target / CRANE).open("wb") as out:
                program = tar.extractfile(CRANE)
                if program is None:
                    raise SlipwayError("wrong-archive", f"{archive} holds no program {CRANE}.")
                shutil.copyfileobj(program, out)
            (target / CRANE).chmod(0o755)
            return {"version": entry.facts["version"]}

        with self._guard:
            return self.cache.make(CRANE, entry.facts["sha256"][:32], unpack, area="tools", say=self.say).path / CRANE

    # Debian packages

    def suite(self, name: str) -> apt.Suite:
        with self._guard:
            if name not in self._suites:
                described = self.folder.catalog.packages.suites[name]
                self._suites[name] = apt.Suite(name, described, self.cache, self.log(f"apt-{name}"), self.stop)
            return self._suites[name]

    def repository(self, suite: str, names: list[str]) -> Job:
        described = self.folder.catalog.packages.suites[suite].model_dump()
        name, key = f"apt-{suite}", digest_of({"format": FORMAT, "suite": described, "names": names})

        def fetch(target: Path) -> dict[str, Any]:
            for deb in self.suite(suite).packages(names, self.say):
                link_or_copy(deb, target / apt.pool_name(deb.name))
            sums = apt.write_index(target)
            return {"names": names, "debs": sums, "sha256": sha256_of(target / "Packages"), "size": folder_size(target)}

        return Job(
            id=f"packages:{suite}",
            title=f"Debian packages of {suite}",
            lane="net",
            way="downloaded",
            make=lambda _results: self.cache.make(name, key, fetch, say=self.say),
            found=self.cache.get(name, key),
            starting=f"{len(names)} packages and all they depend on",
        )


def upstream_key(address: str, value: str) -> str:
    return digest_of({"format": FORMAT, "upstream": address, "sum": value})


def file_facts(path: Path, version: str, source: str) -> dict[str, Any]:
    return {
        "file": path.name,
        "version": version,
        "source": source,
        "sha256": sha256_of(path),
        "size": path.stat().st_size,
    }


def duration(seconds: float) -> str:
    """``seconds`` for people."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def size_of(entry: Entry) -> str:
    size = entry.facts.get("size")
    return f", {megabytes(size)}" if size else ""
