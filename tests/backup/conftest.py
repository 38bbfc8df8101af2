"""The server of a store, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.store import built


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("store"))
