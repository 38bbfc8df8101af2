"""How long roles wait: as their defaults say, and longer for emulated machines."""

from __future__ import annotations

import pytest
import yaml

from tests.support.wiring import ROOT, wired


def waits() -> dict[str, int]:
    """What each role says of its waits."""
    read = (yaml.safe_load(path.read_text()) for path in ROOT.glob("roles/*/defaults/main.yml"))
    return {name: value for found in read for name, value in (found or {}).items() if name.endswith("_timeout")}


@pytest.mark.parametrize("patience", [1, 5])
def test_each_wait_of_a_role_is_as_long_as_it_says_and_longer_for_emulated_machines(patience: int) -> None:
    assert len(waits()) > 10
    for name, seconds in waits().items():
        assert wired(name, slipway_patience=patience) == seconds * patience, name
