"""What lags is listed, and a release of Kubernetes is taken in, as the page says. Registries are asked."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from tests.support.checkout import Checkout
from tests.support.kubernetes import SHIPPED
from tests.support.typed import typed


@pytest.fixture(scope="module")
def clone() -> Iterator[Checkout]:
    """A clean clone without machines."""
    made = Checkout("catalog")
    made.fresh()
    yield made
    made.remove()


def changes(clone: Checkout) -> str:
    """What git sees of them."""
    git = ["git", "-C", str(clone.path)]
    asked = ([*git, "status", "--porcelain"], [*git, "diff"])
    return "".join(subprocess.run(each, check=True, capture_output=True, text=True).stdout for each in asked)


def releases(clone: Checkout) -> list[str]:
    return list(yaml.safe_load((clone.path / "artifacts/catalog.yml").read_text())["kubernetes"])


def test_what_lags_is_listed_and_nothing_is_changed(clone: Checkout) -> None:
    before = changes(clone)
    done = typed(clone, "how-to/renew-versions", "make outdated").expect()
    assert (found := re.search(r"^\d+ of (\d+) lag", done.output, re.M))
    # Go modules can be asked for wherever programs can be built.
    assert int(found[1]) > 20
    assert changes(clone) == before


def test_a_release_of_kubernetes_is_taken_in_and_a_second_time_changes_nothing(clone: Checkout) -> None:
    """One that the catalog had before; its recipes go first."""
    release = next(one for one in releases(clone) if one != SHIPPED)
    clone.make("catalog", f"WITHOUT={release}").expect()
    assert release not in releases(clone)
    recipe = clone.path / "artifacts/go/kubernetes" / release / "go.sum"
    assert not recipe.exists()
    for told in ("is written", "is there"):
        before = changes(clone)
        done = typed(
            clone, "how-to/renew-versions", "make catalog KUBERNETES=1.37.2", instead={"1.37.2": release}
        ).expect()
        assert f"artifacts/go/kubernetes/{release} {told}" in done.output
        assert release in releases(clone)
        assert recipe.is_file()
    assert changes(clone) == before
