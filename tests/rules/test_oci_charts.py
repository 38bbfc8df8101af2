"""Charts out of a registry: pushed by Helm to one on loopback, pulled once, and held to their digest."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from slipway.contents.chart import ChartError
from slipway.contents.keys import Contents
from slipway.contents.source import Programs, Source, source

from tests.support import program
from tests.support.contents import CHARTS

Push = Callable[[str], str]


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program.have("helm", tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def registry_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program.have("registry", tmp_path_factory.mktemp("registry"))


@pytest.fixture
def registry(registry_program: Path, tmp_path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Its address, and what ends it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": address},
    }
    (tmp_path / "registry.yml").write_text(yaml.safe_dump(settings))
    with (tmp_path / "registry.log").open("wb") as log:
        environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
        command = [str(registry_program), "serve", str(tmp_path / "registry.yml")]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    host, _, port = address.partition(":")
    for _try in range(200):
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                break
        time.sleep(0.05)

    def end() -> None:
        process.kill()
        process.wait()

    yield address, end
    end()


@pytest.fixture
def push(helm: Path, registry: tuple[str, Callable[[], None]], tmp_path: Path) -> Push:
    """Push the chart desk as version 1.0.0, with a host of its own; gives the digest."""

    def made(host: str) -> str:
        chart = tmp_path / "desk"
        shutil.rmtree(chart, ignore_errors=True)
        shutil.copytree(CHARTS / "desk", chart)
        about = yaml.safe_load((chart / "Chart.yaml").read_text())
        (chart / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": "1.0.0"}))
        values = yaml.safe_load((chart / "values.yaml").read_text())
        (chart / "values.yaml").write_text(yaml.safe_dump({**values, "host": host}))
        environment = {**os.environ, "HOME": str(tmp_path)}
        for command in (
            ["package", str(chart), "--destination", str(tmp_path)],
            ["push", str(tmp_path / "desk-1.0.0.tgz"), f"oci://{registry[0]}/team", "--plain-http"],
        ):
            done = subprocess.run([str(helm), *command], env=environment, check=True, capture_output=True, text=True)
        found = re.search(r"Digest: (\S+)", done.stdout + done.stderr)
        assert found
        return found[1]

    return made


@pytest.fixture
def released(helm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Source]:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))

    def made(path: str) -> Source:
        page = Contents.model_validate({"name": "desk", "chart": path})
        return source(page, tmp_path, Programs(helm, Path("kubectl")))

    return made


def hosts(found: Source) -> set[str]:
    rules = (one.item["spec"]["rules"] for one in found.read if one.item["kind"] == "Ingress")
    return {rule["host"] for each in rules for rule in each}


def refused(released: Callable[[str], Source], path: str) -> ChartError:
    with pytest.raises(ChartError) as caught:
        released(path)
    return caught.value


def test_a_chart_is_pulled_once_and_is_what_its_digest_says(
    push: Push, registry: tuple[str, Callable[[], None]], released: Callable[[str], Source], tmp_path: Path
) -> None:
    address, end = registry
    place = f"oci://{address}/team/desk"
    digest = push("first.local")
    found = released(f"{place}:1.0.0")
    assert (found.about, found.reference) == ("desk 1.0.0", f"{address}/team/desk:1.0.0@{digest}")
    assert "first.local" in hosts(found)
    assert hosts(released(f"{place}@{digest}")) == hosts(found)
    other = f"sha256:{'0' * 64}"
    assert refused(released, f"{place}:1.0.0@{other}").fault.id == "chart-unreachable"
    # The tag is moved. Here it stays what it was, until the cache is lost and the digest is still known.
    moved = push("second.local")
    assert moved != digest
    assert "first.local" in hosts(released(f"{place}:1.0.0"))
    for archive in (tmp_path / "cache" / "charts").glob("*.tgz"):
        archive.write_bytes(b"damaged")
    error = refused(released, f"{place}:1.0.0")
    assert error.fault.id == "chart-changed"
    assert f"is {moved} now" in error.fault.what
    assert "second.local" in hosts(released(f"{place}:1.0.0@{moved}"))
    # Without the registry, what was pulled is there, and for anything else there is a command.
    end()
    assert "second.local" in hosts(released(f"{place}:1.0.0"))
    error = refused(released, f"{place}:2.0.0")
    assert error.fault.id == "chart-unreachable"
    assert f"`helm pull {place}:2.0.0` where {address} can be reached; then path: ./desk-2.0.0.tgz" in error.fault.works


def test_the_archive_that_the_message_names_is_what_helm_makes(
    push: Push, registry: tuple[str, Callable[[], None]], released: Callable[[str], Source], helm: Path, tmp_path: Path
) -> None:
    address, _ = registry
    digest = push("first.local")
    wanted = {
        f"oci://{address}/team/desk:1.0.0": "desk-1.0.0.tgz",
        f"oci://{address}/team/desk:1.0.0@{digest}": f"desk@{digest.replace(':', '-')}.tgz",
        f"oci://{address}/team/desk@{digest}": f"desk@{digest.replace(':', '-')}.tgz",
    }
    environment = {**os.environ, "HOME": str(tmp_path)}
    for path, archive in wanted.items():
        folder = tmp_path / "pulled" / archive
        folder.mkdir(parents=True, exist_ok=True)
        command = [str(helm), "pull", path, "--plain-http", "--destination", str(folder)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        assert [one.name for one in folder.iterdir()] == [archive]
        assert "first.local" in hosts(released(str(folder / archive)))
