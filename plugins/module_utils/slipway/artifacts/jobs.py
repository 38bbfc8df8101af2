"""One job per item: where it lies in the cache, what it needs first, and how it is made.

What is for amd64 has the name and the key in the cache that it had before there was another architecture.
"""

from __future__ import annotations

import functools
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import SlipwayError
from ..node.architecture import AMD64, named
from . import apt, golang, image, maven, tree, wheel
from .archive import Member, write_tgz
from .cache import Entry, digest_of, folder_size, link_or_copy, locked, sha256_of
from .catalog import FileBuild, Jar, Layers, Wheel
from .download import NotThereError, download, find_sum, read_text
from .job import FORMAT, Job, Results, file_facts, upstream_key
from .plan import FileItem, ImageItem
from .programs import Programs, program_name, shown

CRANE = "crane"


class Jobs(Programs):
    """Makes the jobs of one run. ``say`` may be called from any thread."""

    # Files

    def built_file(self, item: FileItem) -> Job:
        how = item.build
        if how is None:
            raise SlipwayError("not-buildable", f"{item.name} cannot be built: {item.unbuildable}")
        version = how.version or item.version
        architecture = item.architecture or AMD64
        self.folder.recipe(how.program, version, item.name, architecture)
        if how.source:
            return self._source_file(item, how, version)
        described = {"program": self.program_key(how.program, architecture), "how": how.model_dump(), "of": item.name}
        key = digest_of({"format": FORMAT, **described})
        program = self.program(how.program, architecture)

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

    def layer_key(self, name: str, architecture: str) -> str:
        layers = self.layers(name, architecture)
        # What a layer has none of says nothing: a new sort of content makes no old layer anew.
        held = {
            key: value for key, value in layers.model_dump(include=Layers.IN_LAYER).items() if value or key != "jars"
        }
        suite = self.folder.catalog.packages.suites[layers.suite].described(architecture) if layers.packages else {}
        return digest_of(
            {
                "format": FORMAT,
                "layer": held,
                "suite": suite,
                "programs": {recipe: self.program_key(recipe, architecture) for recipe in layers.binaries},
                "modules": {recipe: self.source_key(recipe) for recipe in layers.sources},
                "repository": {path: tree.sums(self.root, path) for path in layers.repository.values()},
                **golang.apart(architecture),
            }
        )

    @property
    def root(self) -> Path:
        """The repository that the folder artifacts/ stands in."""
        return self.folder.path.parent

    @functools.cache  # noqa: B019  as long-lived as the run
    def layers(self, name: str, architecture: str) -> Layers:
        layers = self.folder.layers(name, architecture)
        if layers is None:
            raise SlipwayError("file-missing", f"{self.folder.path}/images/{name}/layers.yml is missing.")
        if layers.packages:
            self.folder.suite(layers.suite, f"images/{name}/layers.yml")
        return layers

    def chain(self, name: str, architecture: str) -> list[str]:
        """The folders whose layers make up image ``name``, lowest first."""
        names: list[str] = []
        while name:
            if name in names:
                raise SlipwayError(
                    "wrong-artifact-file", f"artifacts/images: {' → '.join([*names, name])} stand on each other."
                )
            names.append(name)
            name = self.layers(name, architecture).base
        return names[::-1]

    def wheel(self, name: str, pinned: Wheel, architecture: str) -> Job:
        item, get = named(f"wheel-{name}", architecture), functools.partial(wheel.fetch, name, pinned, architecture)
        return self.registered("wheel", name, pinned, item, get)

    def jar(self, name: str, pinned: Jar) -> Job:
        item, get = f"jar-{name.replace(':', '-')}", functools.partial(maven.fetch, name, pinned)
        return self.registered("jar", name, pinned, item, get)

    def registered(self, kind: str, name: str, pinned: Wheel | Jar, item: str, get: Callable[..., Any]) -> Job:
        """What ``get`` brings from a registry of packages by its own client, which checks the sum."""
        key = digest_of({"format": FORMAT, kind: name, "sha256": pinned.sha256})

        def fetch(target: Path) -> dict[str, Any]:
            facts: dict[str, Any] = get(target, log=self.log(item), stop=self.stop)
            return facts

        return Job(
            id=item,
            title=f"{kind} {name} {pinned.version}",
            lane="net",
            way="downloaded",
            make=lambda _results: self.cache.make(item, key, fetch, say=self.say),
            found=self.cache.get(item, key),
        )

    def lacking(self, name: str) -> str:
        """What this machine would need to put image ``name`` together and has not; empty for nothing."""
        # Jars are for every architecture.
        chain = [self.layers(layer, self.settings.architectures[0])
                 for layer in self.chain(name, self.settings.architectures[0])]  # fmt: skip
        fetched = [self.jar(one, jar) for layers in chain for one, jar in layers.jars.items()]
        missing = [job.title for job in fetched if not job.found]
        if not missing or maven.available():
            return ""
        return f"this machine has no mvn to get {', '.join(missing)} with (sudo apt-get install maven)"

    @functools.cache  # noqa: B019
    def layer(self, name: str, architecture: str) -> Job:
        layers, key = self.layers(name, architecture), self.layer_key(name, architecture)
        item = layer_name(name, architecture)
        programs = [self.program(recipe, architecture) for recipe in layers.binaries]
        wheels = {one: self.wheel(one, pinned, architecture) for one, pinned in layers.wheels.items()}
        jars = {one: self.jar(one, pinned) for one, pinned in layers.jars.items()}

        def write(target: Path, results: Results) -> dict[str, Any]:
            suite = self.suite(layers.suite, architecture) if layers.packages else None
            debs = suite.packages(layers.packages, self.say) if suite else []
            fetched = {one: results[job.id] for one, job in {**wheels, **jars}.items()}
            files = {one: entry.path / entry.facts["file"] for one, entry in fetched.items()}
            inputs = image.Inputs(
                programs={recipe: results[program_name(recipe, architecture)].path for recipe in layers.binaries},
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
            title=f"layer {name}{shown(architecture)}",
            lane="net" if layers.packages or layers.sources else "local",
            way="put together",
            make=make,
            found=found,
            needs=() if found else (*programs, *wheels.values(), *jars.values()),
            starting=f"unpacking {', '.join(layers.packages)} of {layers.suite}" if layers.packages else "",
        )

    def built_image(self, item: ImageItem, architecture: str) -> Job:
        runs, chain = self.layers(item.name, architecture), self.chain(item.name, architecture)
        for recipe in {**runs.binaries, **runs.sources}:
            self.folder.recipe(recipe, item.version, f"image {item.name}", architecture)
        config = runs.model_dump(include={"entrypoint", "command", "user", "env", "workdir"})
        keys = [self.layer_key(name, architecture) for name in chain]
        key = digest_of({"format": FORMAT, "layers": keys, "config": config})
        name = image_name(item, architecture)

        def write(target: Path, results: Results) -> dict[str, Any]:
            below = [results[layer_name(one, architecture)] for one in chain]
            tars = [(one.facts["sha256"], one.path / image.LAYER) for one in below]
            digest = image.write_layout(target, tars, runs, architecture)
            return {"version": item.version, "source": "built", "digest": digest, "size": folder_size(target)}

        def make(results: Results) -> Entry:
            return self.cache.make(name, key, lambda target: write(target, results), say=self.say)

        found = self.cache.get(name, key)
        return Job(
            id=self._image_id(item, architecture),
            title=f"image {item.name}:{item.tag}{shown(architecture)}",
            lane="local",
            way="put together",
            make=make,
            found=found,
            needs=() if found else tuple(self.layer(one, architecture) for one in chain),
        )

    def upstream_image(self, item: ImageItem, architecture: str, crane: Job) -> Job:
        locked_as = item.reference + (f" {image.OS}/{architecture}" if architecture != AMD64 else "")
        known = self.lock.get("images", locked_as)
        name = image_name(item, architecture)
        found = self.cache.get(name, upstream_key(item.reference, known)) if known else None

        def make(results: Results) -> Entry:
            program, prefix = self._crane(results[crane.id]), self.settings.registry_prefix
            tool = image.Crane(program, prefix, architecture, self.stop)
            digest = tool.digest(item.reference)
            if known and digest != known:
                raise SlipwayError(
                    "checksum-differs",
                    f"image {item.reference} is {digest} upstream, but artifacts/lock.yml says {known} "
                    f"(images: {locked_as}). Nothing was kept. When you know that upstream moved the tag, remove "
                    f"that entry and run again.",
                )

            def pull(target: Path) -> dict[str, Any]:
                tool.pull(item.reference, digest, target, self.log(name))
                return {"version": item.version, "source": "upstream", "digest": digest, "size": folder_size(target)}

            entry = self.cache.make(name, upstream_key(item.reference, digest), pull, say=self.say)
            self.lock.add("images", locked_as, digest)
            return entry

        return Job(
            id=self._image_id(item, architecture),
            title=f"image {item.name}:{item.tag}{shown(architecture)}",
            lane="net",
            way="pulled",
            make=make,
            found=found,
            needs=() if found else (crane,),
        )

    def _image_id(self, item: ImageItem, architecture: str) -> str:
        """The image of the bundle, or one that goes into an index."""
        return f"image:{item.name}" + (f":{architecture}" if len(self.settings.architectures) > 1 else "")

    def index(self, item: ImageItem, each: Mapping[str, Job]) -> Job:
        """One image for several architectures, of the image for each."""
        name = f"image-{item.name}-{'-'.join(each)}"

        def make(results: Results) -> Entry:
            entries = {architecture: results[job.id] for architecture, job in each.items()}
            key = self._index_key(entries)
            facts = next(iter(entries.values())).facts

            def write(target: Path) -> dict[str, Any]:
                digest = image.write_index(target, {one: entry.path for one, entry in entries.items()})
                kept = {"version": facts["version"], "source": facts["source"]}
                return {**kept, "digest": digest, "size": folder_size(target)}

            return self.cache.make(name, key, write, say=self.say)

        there = {architecture: job.found for architecture, job in each.items() if job.found}
        found = self.cache.get(name, self._index_key(there)) if len(there) == len(each) else None
        return Job(
            id=f"image:{item.name}",
            title=f"image {item.name}:{item.tag} for {' and '.join(each)}",
            lane="local",
            way="put together",
            make=make,
            found=found,
            needs=() if found else tuple(each.values()),
        )

    @staticmethod
    def _index_key(entries: Mapping[str, Entry]) -> str:
        digests = {architecture: entry.facts["digest"] for architecture, entry in entries.items()}
        return digest_of({"format": FORMAT, "index": digests})

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

    def repository(self, suite: str, names: list[str]) -> Job:
        """A suite's packages for all architectures of the machines, with one index."""
        architectures = self.settings.architectures
        described = [self.folder.catalog.packages.suites[suite].described(one) for one in architectures]
        if architectures == [AMD64]:
            name, key = f"apt-{suite}", digest_of({"format": FORMAT, "suite": described[0], "names": names})
        else:
            name = f"apt-{suite}-{'-'.join(architectures)}"
            key = digest_of(
                {"format": FORMAT, "suites": dict(zip(architectures, described, strict=True)), "names": names}
            )

        def fetch(target: Path) -> dict[str, Any]:
            for architecture in architectures:
                for deb in self.suite(suite, architecture).packages(names, self.say):
                    file = target / apt.pool_name(deb.name)
                    # Packages for all architectures come with each of them.
                    if not file.exists():
                        link_or_copy(deb, file)
            sums = apt.write_index(target, architectures)
            return {"names": names, "debs": sums, "sha256": sha256_of(target / "Packages"), "size": folder_size(target)}

        return Job(
            id=f"packages:{suite}",
            title=f"Debian packages of {suite}{shown(*architectures)}",
            lane="net",
            way="downloaded",
            make=lambda _results: self.cache.make(name, key, fetch, say=self.say),
            found=self.cache.get(name, key),
            starting=f"{len(names)} packages and all they depend on",
        )


def layer_name(name: str, architecture: str) -> str:
    """What the cache calls a layer, and its job."""
    return named(f"layer-{name}", architecture)


def image_name(item: ImageItem, architecture: str) -> str:
    """What the cache calls an image for one architecture."""
    return named(f"image-{item.name}", architecture)
