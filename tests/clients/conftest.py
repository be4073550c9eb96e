"""What the tests of pulls and pushes are given: a store, and a registry of ours."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.image_store import Store, opened
from tests.clients.registries import pier_registry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path / "store") as made:
        yield made


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pier_registry(tmp_path_factory.mktemp("registry") / "root") as address:
        yield address
