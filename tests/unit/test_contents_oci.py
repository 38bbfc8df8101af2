"""Charts in a registry: which paths are taken, what of a tag is remembered, and what is said where none is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.contents import oci
from slipway.contents.chart import ChartError
from slipway.contents.keys import Contents
from slipway.contents.plan import Known, Made, plan
from slipway.contents.source import Source
from slipway.contents.spec import load
from slipway.page.form import Fault
from slipway.page.read import SettingsError

from tests.support.contents import SHOP, read, scope

PLACE = "oci://ghcr.io/team/shop"
ONE, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


def helm(folder: Path, *lines: str) -> Path:
    """A Helm that notes what it is asked, and does what the lines say in the folder of the third argument."""
    made = folder / "helm"
    made.write_text("\n".join(["#!/bin/sh", f'echo "$*" >> {folder}/asked', *lines, ""]))
    made.chmod(0o755)
    return made


def giving(folder: Path, digest: str) -> Path:
    return helm(folder, 'echo chart > "$4/shop-1.0.0.tgz"', f"echo Digest: {digest}")


def fault(path: str, program: Path, cache: Path) -> Fault:
    with pytest.raises(ChartError) as caught:
        oci.pull(path, program, cache)
    return caught.value.fault


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (PLACE, "neither a tag nor a digest"),
        ("oci://ghcr.io", "no chart in a registry"),
        (f"{PLACE}:1.0.0@sha256:12", "no chart in a registry"),
        (f"{PLACE}:a b", "no chart in a registry"),
    ],
)
def test_a_path_that_may_be_another_chart_tomorrow_is_refused_with_the_page(
    path: str, words: str, tmp_path: Path
) -> None:
    for chart in (f"'{path}'", f"{{path: '{path}'}}"):
        page = tmp_path / "shop.yml"
        page.write_text(f"name: shop\nchart: {chart}\n")
        with pytest.raises(SettingsError) as caught:
            load(page)
        assert "[chart-reference]" in str(caught.value)
        assert words in str(caught.value)
        assert "1.2.3" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (f"{PLACE}:1.0.0", f"pull {PLACE}:1.0.0 --destination"),
        (f"{PLACE}@{ONE}", f"pull {PLACE}@{ONE} --destination"),
        (f"{PLACE}:1.0.0@{ONE}", f"pull {PLACE}:1.0.0@{ONE} --destination"),
    ],
)
def test_a_chart_is_pulled_once(path: str, asked: str, tmp_path: Path) -> None:
    program = giving(tmp_path, ONE)
    found = oci.pull(path, program, tmp_path / "cache")
    assert found.path.read_text() == "chart\n"
    assert found.reference == f"{path.removeprefix('oci://').partition('@')[0]}@{ONE}"
    assert oci.pull(path, program, tmp_path / "cache") == found
    (line,) = (tmp_path / "asked").read_text().splitlines()
    assert line.startswith(asked)
    assert "--plain-http" not in line
    # What is no longer what it was is pulled anew.
    found.path.write_text("damaged")
    assert oci.pull(path, program, tmp_path / "cache").path.read_text() == "chart\n"


def test_a_tag_that_was_moved_is_refused_until_the_page_says_the_digest(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    oci.pull(f"{PLACE}:1.0.0", giving(tmp_path, ONE), cache).path.unlink()
    found = fault(f"{PLACE}:1.0.0", giving(tmp_path, OTHER), cache)
    assert (found.id, found.works.partition(",")[0]) == ("chart-changed", f"path: {PLACE}:1.0.0@{OTHER}")
    assert oci.pull(f"{PLACE}:1.0.0@{OTHER}", giving(tmp_path, OTHER), cache).reference.endswith(OTHER)
    # From then on, that is the chart of the tag.
    assert oci.pull(f"{PLACE}:1.0.0", tmp_path / "none", cache).reference.endswith(OTHER)
    assert fault(f"{PLACE}:1.0.0@{ONE}", giving(tmp_path, OTHER), cache).id == "chart-changed"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("echo Error: dial tcp: no route to host >&2", "exit 1"), f"`helm pull {PLACE}:1.0.0` where ghcr.io can be"),
        (("echo Error: dial tcp: no route to host >&2", "exit 1"), "then path: ./shop-1.0.0.tgz"),
        (("echo Error: response status code 401: unauthorized >&2", "exit 1"), "`helm registry login ghcr.io`"),
        (("echo Digest: " + ONE,), "`helm pull"),
        (('echo chart > "$4/a.tgz"',), "`helm pull"),
    ],
)
def test_a_registry_that_gives_none_is_told_with_what_works(lines: tuple[str, ...], words: str, tmp_path: Path) -> None:
    found = fault(f"{PLACE}:1.0.0", helm(tmp_path, *lines), tmp_path / "cache")
    assert found.id == "chart-unreachable"
    assert words in found.works
    assert not (tmp_path / "cache").exists()


def test_only_a_registry_on_this_computer_is_asked_without_tls(tmp_path: Path) -> None:
    oci.pull("oci://127.0.0.1:5000/shop:1.0.0", giving(tmp_path, ONE), tmp_path / "cache")
    assert (tmp_path / "asked").read_text().endswith("--plain-http\n")


def test_logins_of_the_user_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HELM_REGISTRY_CONFIG", "HELM_CONFIG_HOME", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    (tmp_path / "user" / ".docker").mkdir(parents=True)
    login = tmp_path / "user" / ".config" / "helm" / "registry" / "config.json"
    login.parent.mkdir(parents=True)
    login.write_text("{}")
    lines = (f'echo "$HELM_REGISTRY_CONFIG $DOCKER_CONFIG" > {tmp_path}/logins', "exit 1")
    fault(f"{PLACE}:1.0.0", helm(tmp_path, *lines), tmp_path / "cache")
    assert (tmp_path / "logins").read_text().split() == [str(login), str(tmp_path / "user" / ".docker")]


def released(reference: str, path: str, **record: Any) -> Made:
    page = Contents.model_validate({"name": "shop", "chart": path})
    known = Known(record={"chart": record["chart"]} if record else None)
    return plan(page, Source(read(SHOP), "shop 1.0.0", reference), scope, known)


def test_what_was_released_is_noted_and_a_moved_tag_is_refused_from_another_computer_too() -> None:
    name = "ghcr.io/team/shop:1.0.0"
    made = released(f"{name}@{ONE}", f"{PLACE}:1.0.0")
    assert made.faults == []
    assert made.planned.steps[-1].objects[0]["data"]["chart"] == f"{name}@{ONE}"
    (found,) = released(f"{name}@{OTHER}", f"{PLACE}:1.0.0", chart=f"{name}@{ONE}").faults
    assert (found.id, ONE in found.what, OTHER in found.works) == ("chart-changed", True, True)
    assert released(f"{name}@{OTHER}", f"{PLACE}:1.0.0@{OTHER}", chart=f"{name}@{ONE}").faults == []
    assert released(f"{name}@{OTHER}", f"{PLACE}:1.0.0", chart=f"ghcr.io/team/shop:0.9.0@{ONE}").faults == []
    assert released("", "./helm", chart=f"{name}@{ONE}").faults == []
