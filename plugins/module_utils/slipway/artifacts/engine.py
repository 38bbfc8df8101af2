"""Do what the plan says, item by item, and leave a bundle."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from ..errors import SlipwayError, together
from . import apt, bundle, forecast, plan
from .cache import Entry, write_atomically
from .catalog import Folder
from .job import Job, Lane, duration, size_of
from .jobs import CRANE, Jobs
from .lock import Lock
from .manifest import FileFacts, ImageFacts, Manifest, Missing, PackageFacts
from .plan import BundleSettings, Kind, Wanted, Way
from .process import CancelledError, Say

WORKERS: dict[Lane, int] = {"go": 1, "net": 4, "local": 2}  # a Go build uses all cores by itself
STILL_SECONDS = 60.0
WORTH_SAYING = 20.0  # seconds left from which on a line tells them


class Outcome(NamedTuple):
    """``changed`` tells whether the bundle of the state folder is, or in check mode would be, another one."""

    changed: bool
    manifest: Manifest | None


class Chosen(NamedTuple):
    """The jobs for what is wanted, and what cannot be had."""

    jobs: list[Job]
    missing: list[Missing]


def run(
    settings: BundleSettings, say: Say, *, check: bool = False, only_cached: bool = False, bar: Say | None = None
) -> Outcome:
    """Get everything and make the bundle. ``say`` gets one line of progress at a time.

    ``bar``, on a terminal, gets what is left each second, and nothing at the end; else lines tell that now and then.

    Raises SlipwayError. In check mode nothing is written, and the outcome has no manifest when an item is still to get.
    With ``only_cached`` nothing is done then: the bundle is made where all of it is in the cache.
    """
    started = time.monotonic()
    folder = Folder(settings.folder, settings.kubernetes_version)
    need = plan.wanted(folder.catalog, settings)
    stop = threading.Event()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    jobs = Jobs(folder, settings, Lock(settings.folder / "lock.yml"), lines.put, stop)
    previous = plan.previous_manifest(settings.state)
    notices: list[str] = []
    chosen = choose(jobs, need, previous, notices.append)
    everything = in_order(chosen.jobs)
    lacking = any(job.found is None for job in everything)
    if only_cached and lacking:
        return Outcome(False, None)
    for notice in notices:
        say(notice)
    for item in chosen.missing:
        say(f"not in the bundle: {item.name} ({item.reason}); the part that needs it has to be switched off")
    if check and lacking:
        tell_check(everything, say)
        return Outcome(True, None)
    results = Progress(everything, lines, say, stop, bar=bar).run()
    content = collect(need, chosen, results)
    outcome = finish(content, jobs, previous, check)
    state = "changed" if outcome.changed else "unchanged"
    say(f"{len(everything)} items, bundle {content.manifest.id} {state}, {duration(time.monotonic() - started)}")
    if outcome.changed and not check:
        tell_others(jobs, content.manifest.id, say)
    return outcome


def choose(jobs: Jobs, need: Wanted, previous: Manifest | None, say: Say) -> Chosen:
    """Pick the way of each kind and turn what is wanted into jobs."""
    ways = choose_ways(jobs, need, previous, say)
    # Before the half hour that building takes: every node would refuse the publisher's bytes for their sum.
    if not jobs.settings.mirror and (problem := plan.built_for_nobody(need, ways)):
        raise SlipwayError("source-needs-mirror", problem)
    missing: list[Missing] = []
    files = list(file_jobs(jobs, need, ways["files"], missing))
    images = list(image_jobs(jobs, need, ways, missing))
    packages = list(package_jobs(jobs, need, missing))
    return Chosen([*files, *images, *packages], missing)


def choose_ways(jobs: Jobs, need: Wanted, previous: Manifest | None, say: Say) -> dict[Kind, Way]:
    """``auto`` stays with what the last run did as long as that is complete, else it asks upstream once."""
    settings = jobs.settings
    if settings.source != "auto":
        return {"files": settings.source, "images": settings.source}
    ways: dict[Kind, Way] = {"files": "source", "images": "source"}
    undecided: dict[Kind, dict[str, str]] = {}
    own = {image.name for image in need.images if image.own}
    for kind, urls in plan.probe_urls(need, settings).items():
        way = plan.previous_way(previous, kind, own)
        if way and complete(jobs, need, kind, way):
            ways[kind] = way
        elif urls:
            undecided[kind] = urls
    if undecided:
        failed = plan.probe(undecided)
        for line in plan.notices(failed):
            say(line)
        for kind, hosts in failed.items():
            ways[kind] = "source" if hosts else "upstream"
    return ways


def complete(jobs: Jobs, need: Wanted, kind: Kind, way: Way) -> bool:
    """Tell whether the cache has all items of ``kind`` as got by ``way``."""
    try:
        found = (
            file_jobs(jobs, need, way, [])
            if kind == "files"
            else image_jobs(jobs, need, {"files": "source", "images": way}, [])
        )
        return all(job.found for job in found)
    except SlipwayError:
        return False


def file_jobs(jobs: Jobs, need: Wanted, way: Way, missing: list[Missing]) -> Iterable[Job]:
    for item in need.files:
        if way == "upstream":
            yield jobs.upstream_file(item)
        elif item.unbuildable:
            missing.append(Missing(name=item.name, reason=item.unbuildable))
        else:
            yield jobs.built_file(item)


def image_jobs(jobs: Jobs, need: Wanted, ways: dict[Kind, Way], missing: list[Missing]) -> Iterable[Job]:
    pulled = ways["images"] == "upstream" and not all(item.own for item in need.images)
    crane = crane_job(jobs, ways["files"]) if pulled else None
    architectures = jobs.settings.architectures
    for item in need.images:
        if crane and not item.own:
            each = {one: jobs.upstream_image(item, one, crane) for one in architectures}
        elif item.unbuildable:
            missing.append(Missing(name=item.name, reason=item.unbuildable))
            continue
        else:
            each = {one: jobs.built_image(item, one) for one in architectures}
            lacking = "" if all(job.found for job in each.values()) else jobs.lacking(item.name)
            if lacking:
                missing.append(Missing(name=item.name, reason=lacking))
                continue
        yield each[architectures[0]] if len(each) == 1 else jobs.index(item, each)


def package_jobs(jobs: Jobs, need: Wanted, missing: list[Missing]) -> Iterable[Job]:
    for suite in jobs.settings.suites if need.packages else []:
        job = jobs.repository(suite, need.packages)
        if job.found or apt.available():
            yield job
        else:
            reason = "this machine has no apt-get to get them with; machines take them from their own mirrors"
            missing.append(Missing(name=f"packages of {suite}", reason=reason))


def crane_job(jobs: Jobs, way: Way) -> Job:
    here = jobs.settings.here
    if way == "source":
        return jobs.program(CRANE, here)
    return jobs.upstream_file(plan.file_item(jobs.folder.catalog, CRANE, jobs.settings, here))


def in_order(wanted: Sequence[Job]) -> list[Job]:
    """Every job once, each after those it needs."""
    ordered: dict[str, Job] = {}

    def visit(job: Job) -> None:
        for needed in job.needs:
            visit(needed)
        ordered.setdefault(job.id, job)

    for job in wanted:
        visit(job)
    return list(ordered.values())


def tell_check(everything: Sequence[Job], say: Say) -> None:
    for number, job in enumerate(everything, 1):
        say(f"{counter(number, len(everything))} {job.title} {'cached' if job.found else f'would be {job.way}'}")


def counter(number: int, total: int) -> str:
    return f"[{number:{len(str(total))}}/{total}]"


class Progress:
    """Runs jobs in their lanes and says a line for each that is done, and what is left."""

    def __init__(
        self,
        jobs: Sequence[Job],
        lines: queue.SimpleQueue[str],
        say: Say,
        stop: threading.Event,
        *,
        bar: Say | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = len(jobs)
        self.results = {job.id: job.found for job in jobs if job.found}
        self.waiting = {job.id: job for job in jobs if not job.found}
        self.running: dict[Future[Entry], tuple[Job, float]] = {}
        self.failures: list[BaseException] = []
        self.lines = lines
        self.say = say
        self.stop = stop
        self.number = 0
        self.cached = [job for job in jobs if job.found]
        self.planned = forecast.announced(jobs, WORKERS)
        self.pace = forecast.Pace()
        self.bar = bar
        self.clock = clock
        self.began = clock()

    def run(self) -> dict[str, Entry]:
        """Raises the first failure after everything that was under way has ended."""
        if not self.waiting:
            return self.results
        for line in self.planned:
            self.say(line)
        for job in self.cached:
            self._tell(job, "cached")
        pools = {lane: ThreadPoolExecutor(count, thread_name_prefix=lane) for lane, count in WORKERS.items()}
        try:
            self._work(pools)
        except BaseException:
            self.stop.set()
            raise
        finally:
            for pool in pools.values():
                pool.shutdown(wait=True, cancel_futures=True)
            if self.bar:
                self.bar("")
            self._flush()
        if self.failures:
            raise self._failure()
        return self.results

    def _failure(self) -> BaseException:
        real = [exc for exc in self.failures if not isinstance(exc, CancelledError)]
        told = [exc for exc in real if isinstance(exc, SlipwayError)]
        return together(told) if isinstance(real[0], SlipwayError) else real[0]

    def _work(self, pools: dict[Lane, ThreadPoolExecutor]) -> None:
        last = self.clock()
        while self.running or (self.waiting and not self.failures):
            if not self.failures:
                self._start_ready(pools)
            done, _rest = wait(self.running, timeout=1, return_when=FIRST_COMPLETED)
            self._flush()
            for future in done:
                self._finished(future)
                last = self.clock()
            if self.clock() - last >= STILL_SECONDS:
                last = self.clock()
                for job, started in self.running.values():
                    usual = f" of usually {duration(job.seconds)}" if job.seconds else ""
                    self._hint(job, f"still at it after {duration(last - started)}{usual}")
                self._tell_left()
            if self.bar:
                self.bar(self._how_far())

    def _start_ready(self, pools: dict[Lane, ThreadPoolExecutor]) -> None:
        busy = [job.lane for job, _started in self.running.values()]
        for job in list(self.waiting.values()):
            if busy.count(job.lane) < WORKERS[job.lane] and all(needed.id in self.results for needed in job.needs):
                del self.waiting[job.id]
                busy.append(job.lane)
                if job.starting:
                    self._hint(job, job.starting)
                self.running[pools[job.lane].submit(job.make, self.results)] = (job, self.clock())

    def _finished(self, future: Future[Entry]) -> None:
        job, started = self.running.pop(future)
        problem = future.exception()
        if problem:
            self.failures.append(explained(problem, job))
            self.stop.set()
            return
        entry = self.results[job.id] = future.result()
        spent = self.clock() - started
        self.pace.learn(job, spent)
        self._tell(job, f"{job.way} in {duration(spent)}{size_of(entry)}")
        if job.seconds >= WORTH_SAYING:
            self._tell_left()

    def _left(self) -> float:
        now = self.clock()
        running = [(job, now - started) for job, started in self.running.values()]
        return forecast.left(self.waiting.values(), running, WORKERS, self.pace.value)

    def _how_far(self) -> str:
        at = next((f": {job.title}" for job, _started in self.running.values()), "")
        return f"{forecast.bar(self.clock() - self.began, self._left())}{at}"

    def _tell_left(self) -> None:
        """In lines that stay, as in a log; a bar shows it all the time."""
        seconds = self._left()
        if not self.bar and seconds >= WORTH_SAYING:
            self.say(f"{' ' * len(counter(0, self.total))} {forecast.bar(self.clock() - self.began, seconds)}")

    def _tell(self, job: Job, what: str) -> None:
        self.number += 1
        self.say(f"{counter(self.number, self.total)} {job.title} {what}")

    def _hint(self, job: Job, what: str) -> None:
        self.say(f"{' ' * len(counter(0, self.total))} {job.title}: {what}")

    def _flush(self) -> None:
        while not self.lines.empty():
            self.say(f"{' ' * len(counter(0, self.total))} {self.lines.get()}")


def explained(problem: BaseException, job: Job) -> BaseException:
    """Any other exception as one for the user, who at least learns which item it was."""
    if isinstance(problem, SlipwayError | CancelledError) or not isinstance(problem, Exception):
        return problem
    message = SlipwayError("job-failed", f"{job.title}: {type(problem).__name__}: {problem}")
    message.__cause__ = problem
    return message


def collect(need: Wanted, chosen: Chosen, results: dict[str, Entry]) -> bundle.Content:
    """The manifest of what was got, and where it lies."""
    manifest = Manifest(missing=sorted(chosen.missing, key=lambda item: item.name))
    content = bundle.Content(manifest, {}, {}, {})
    wanted = {job.id for job in chosen.jobs}
    for file in need.files:
        if f"file:{file.name}" in wanted:
            entry = results[f"file:{file.name}"]
            facts = {key: entry.facts[key] for key in ("version", "sha256", "size", "source")}
            manifest.files[file.name] = FileFacts(address=file.address, **facts)
            content.files[file.name] = entry.path / entry.facts["file"]
    for image in need.images:
        if f"image:{image.name}" in wanted:
            entry = results[f"image:{image.name}"]
            manifest.images[image.name] = ImageFacts(
                name=image.repository, tag=image.tag, digest=entry.facts["digest"], source=entry.facts["source"]
            )
            content.images[image.name] = entry.path
    for job in chosen.jobs:
        kind, _colon, suite = job.id.partition(":")
        if kind == "packages":
            entry = results[job.id]
            manifest.packages[suite] = PackageFacts(
                path=f"apt/{suite}", names=entry.facts["names"], sha256=entry.facts["sha256"]
            )
            content.packages[suite] = entry.path
    return content._replace(manifest=bundle.identified(manifest))


def finish(content: bundle.Content, jobs: Jobs, previous: Manifest | None, check: bool) -> Outcome:
    """Make the bundle and name it in the state folder."""
    folder = jobs.cache.bundles / content.manifest.id
    if not check:
        folder = bundle.assemble(content, jobs.cache)
    named = content.manifest.model_copy(update={"path": str(folder)})
    changed = named != previous
    if changed and not check:
        text = json.dumps(named.as_json(), indent=1, sort_keys=True) + "\n"
        write_atomically(jobs.settings.state / plan.BUNDLE_FILE, text)
    return Outcome(changed, named)


def tell_others(jobs: Jobs, current: str, say: Say) -> None:
    others = bundle.others(jobs.cache, current)
    if others:
        say(
            f"older bundles below {jobs.cache.bundles} that no checkout may need any more: {', '.join(others)} "
            f"(they share their files with the cache; remove them by hand)"
        )
