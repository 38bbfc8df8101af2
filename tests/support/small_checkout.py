"""A small folder artifacts/ with one item of every sort, and the names and keys that the cache has for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.artifacts import engine, golang, plan
from slipway.artifacts.cache import Cache
from slipway.artifacts.catalog import Folder
from slipway.artifacts.jobs import Jobs
from slipway.artifacts.lock import Lock

SUM = "a" * 64
SOURCE = {"uri": "http://deb.example.org/debian", "suites": ["old"], "components": ["main"], "keyring": "/key.gpg"}
RELEASE = "example.org/releases/{{ version }}"


def catalog(arch: str) -> dict[str, Any]:
    """The catalog; ``arch`` is what stands for the architecture in addresses."""

    def file(address: str, **build: Any) -> dict[str, Any]:
        return {"version": "1.0", "address": f"{RELEASE}/{address}", "parts": ["all"], "build": build}

    def image(**more: Any) -> dict[str, Any]:
        return {"name": "example.org/image", "version": "1.0", "tag": "v{{ version }}", "parts": ["all"], **more}

    return {
        "files": {
            "tool": file(f"linux/{arch}/tool", program="tool", binary="tool"),
            "tools": file(
                f"tools-{arch}.tgz",
                program="tool",
                folder=f"tools-{{{{ version }}}}-{arch}",
                names={f"t-{arch}": "tool"},
            ),
            "text": file("text.yaml", program="tool", source="text.yaml"),
        },
        "images": {
            "one": image(),
            "two": image(name="example.org/two"),
            "own": image(name="example.org/own", own=True),
        },
        "packages": {
            "suites": {"old": {"refreshed": "2026-01-01", "sources": [SOURCE]}},
            "sets": {"node": {"parts": ["all"], "names": ["socat", "chrony"]}},
        },
    }


def layers(arch: str, triplet: str, sha256: Any) -> dict[str, dict[str, Any]]:
    """How the images are made."""
    base = {
        "suite": "old",
        "packages": ["busybox"],
        "without": [f"usr/lib/{triplet}/gconv", "usr/share"],
        "links": {"/usr/bin/java": f"../lib/java-{arch}/bin/java"},
    }
    wheel = {"version": "1.0", "sha256": sha256, "files": {"/bin/proxy": "proxy/_bin/proxy"}}
    jar = {"version": "1.0", "sha256": SUM, "path": "/server.jar"}
    return {
        "base": base,
        "one": {"base": "base", "binaries": {"tool": {"/tool": "tool"}}, "entrypoint": ["/tool"], "user": "1"},
        "two": {
            "base": "base",
            "wheels": {"proxy": wheel},
            "jars": {"org:server": jar},
            "sources": {"tool": {"/t": "text.yaml"}},
            "command": ["proxy"],
        },
        "own": {"repository": {"/app": "app"}, "files": {"/etc/x": "{{ as it is }}"}, "command": ["/app/run"]},
    }


RECIPES = {
    "tool": {
        "version": "v1.0",
        "module": "example.org/tool v1.0",
        "packages": {"tool": "example.org/tool"},
        "ldflags": '-extldflags "-static"',
        "tags": ["seccomp"],
        "cgo": True,
        "debs": ["gcc", "libseccomp-dev"],
    }
}


def write(root: Path, arch: str, triplet: str, sha256: Any, **recipe: Any) -> Path:
    """Write the checkout; returns its folder artifacts/."""
    folder = root / "artifacts"
    for path in ("go/tool", "images"):
        (folder / path).mkdir(parents=True)
    (root / "app").mkdir()
    (root / "app" / "run").write_text("#!/bin/sh\n")
    (folder / "go" / "tool" / "go.mod").write_text("module example.org/x\n")
    (folder / "go" / "recipes.yml").write_text(yaml.safe_dump({"tool": {**RECIPES["tool"], **recipe}}))
    (folder / "catalog.yml").write_text(yaml.safe_dump(catalog(arch)))
    for name, value in layers(arch, triplet, sha256).items():
        (folder / "images" / name).mkdir()
        (folder / "images" / name / "layers.yml").write_text(yaml.safe_dump(value))
    return folder


def jobs_of(folder: Path, state: Path, **settings: Any) -> tuple[Jobs, plan.Wanted]:
    """The jobs of a run that builds everything, and what it wants."""
    known: dict[str, Any] = {"kubernetes_version": "1.37.0", "parts": ["all"], "suites": ["old"], "source": "source"}
    asked = plan.BundleSettings(**(known | settings), folder=folder, state=state, cache=state / "cache")
    read = Folder(folder)
    jobs = Jobs(read, asked, Lock(folder / "lock.yml"), lambda _line: None, threading.Event())
    return jobs, plan.wanted(read.catalog, asked)


def every(jobs: Jobs, need: plan.Wanted) -> Iterator[Any]:
    """Every job of such a run, with those that it needs."""
    wanted = [
        *engine.file_jobs(jobs, need, "source", []),
        *engine.image_jobs(jobs, need, {"files": "source", "images": "source"}, []),
        *engine.package_jobs(jobs, need, []),
    ]
    yield from engine.in_order(wanted)


def keys(folder: Path, state: Path, patch: pytest.MonkeyPatch, **settings: Any) -> dict[str, str]:
    """What the cache is asked for: the name and the key of every item."""
    asked: dict[str, str] = {}

    def get(_self: Cache, name: str, key: str, _area: str = "items") -> None:
        asked[name] = key

    patch.setattr(Cache, "get", get)
    patch.setattr(golang, "TOOLCHAIN", "go1.0")
    # Whether this machine could make them is not the question.
    patch.setattr("slipway.artifacts.apt.available", lambda: True)
    patch.setattr("slipway.artifacts.maven.available", lambda: True)
    list(every(*jobs_of(folder, state, **settings)))
    return asked
