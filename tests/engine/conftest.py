"""What tests through a whole daemon are given: contexts, tags, the classic builder."""

import itertools
from pathlib import Path

import pytest

from tests.engine.build_support import Directory

_tags = (f"t{number}" for number in itertools.count())


@pytest.fixture
def classic_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's client is told not to look for BuildKit."""
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")


@pytest.fixture
def tag() -> str:
    return next(_tags)


@pytest.fixture
def context(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "context")
