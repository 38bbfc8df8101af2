"""Files of Maven Central in layers; mvn is a stand-in that keeps its arguments."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest
from slipway.artifacts import engine, image, maven, plan
from slipway.artifacts.catalog import Folder, Jar, Layers, validated
from slipway.artifacts.jobs import Jobs
from slipway.artifacts.lock import Lock

from tests.support.errors import refused
from tests.support.kubernetes import SHIPPED

ROOT = Path(__file__).parents[2]
NAME = "io.zipkin:zipkin-server:exec"
SHA256 = hashlib.sha256(b"jar").hexdigest()
MVN = """#!/bin/sh
echo "$@" > asked
for argument; do case "$argument" in -Dmaven.repo.local=*) repository="${argument#*=}";; esac; done
echo from mvn; [ "$FAIL" ] && exit 3
folder="$repository/io/zipkin/zipkin-server/1.0"
mkdir -p "$folder" "$repository/org/plugin"
printf jar > "$folder/zipkin-server-1.0-exec.jar"
"""


@pytest.fixture
def mvn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin/mvn"
    program.parent.mkdir()
    program.write_text(MVN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def fetched(tmp_path: Path, sha256: str = SHA256) -> dict[str, Any]:
    target = tmp_path / "target"
    target.mkdir(exist_ok=True)
    jar = Jar(version="1.0", sha256=sha256, path="/srv/server.jar")
    return maven.fetch(NAME, jar, target, log=tmp_path / "log", stop=threading.Event())


@pytest.mark.usefixtures("mvn")
def test_one_file_is_got_and_nothing_else_is_kept(tmp_path: Path) -> None:
    facts = fetched(tmp_path)
    assert facts["file"] == "zipkin-server-1.0-exec.jar"
    assert (facts["sha256"], facts["size"], facts["source"]) == (SHA256, 3, "upstream")
    assert sorted(path.name for path in (tmp_path / "target").iterdir()) == ["asked", "zipkin-server-1.0-exec.jar"]
    asked = (tmp_path / "target/asked").read_text()
    assert "-Dartifact=io.zipkin:zipkin-server:1.0:jar:exec" in asked
    assert "-Dtransitive=false" in asked


@pytest.mark.usefixtures("mvn")
def test_another_sum_is_refused(tmp_path: Path) -> None:
    with refused(f"checksum-differs: {SHA256} … artifacts/images … 0000"):
        fetched(tmp_path, "0" * 64)


@pytest.mark.usefixtures("mvn")
def test_what_mvn_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "1")
    with refused("download-failed: zipkin-server:exec 1.0 … exit code 3 … from mvn"):
        fetched(tmp_path)


def test_a_jar_needs_a_whole_sum() -> None:
    value = {"jars": {NAME: {"version": "1.0", "sha256": "abc", "path": "/x"}}}
    with refused("wrong-artifact-file: layers.yml: jars. … sha256"):
        validated(Path("layers.yml"), Layers, value)


def test_a_layer_holds_it_at_its_path(tmp_path: Path) -> None:
    (tmp_path / "x.jar").write_bytes(b"jar")
    layers = Layers(jars={NAME: Jar(version="1.0", sha256=SHA256, path="/srv/server.jar")})
    (member,) = image.layer_members(layers, image.Inputs(jars={NAME: tmp_path / "x.jar"}))
    assert (member.path, member.mode, member.content) == ("srv/server.jar", 0o644, tmp_path / "x.jar")


@pytest.mark.parametrize("there", [True, False])
def test_without_mvn_the_image_is_left_out_and_that_is_said(
    tmp_path: Path, mvn: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    if not there:
        mvn.unlink()
        monkeypatch.setattr("shutil.which", lambda _: None)
    folder = Folder(ROOT / "artifacts")
    settings = plan.BundleSettings(
        source="source", kubernetes_version=SHIPPED, parts=["tracing"], suites=[], folder=ROOT / "artifacts",
        state=tmp_path, cache=tmp_path / "cache",
    )  # fmt: skip
    jobs = Jobs(folder, settings, Lock(tmp_path / "lock.yml"), lambda _: None, threading.Event())
    chosen = engine.choose(jobs, plan.wanted(folder.catalog, settings), None, lambda _: None)
    images = [job.title for job in chosen.jobs if job.id.startswith("image:")]
    if there:
        assert (images, chosen.missing) == (["image zipkin:3.6.1"], [])
    else:
        (missing,) = chosen.missing
        assert (images, missing.name) == ([], "zipkin")
        assert "no mvn to get jar io.zipkin:zipkin-server:exec 3.6.1" in missing.reason
