"""Daemons of the tests' own: each has its roots, socket, bridge and subnet, and leaves nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A running daemon with the busybox image, shared by the tests of a module."""
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        running.docker("pull", "-q", "busybox")
        yield running


@pytest.fixture
def own_daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon for one test that kills or reconfigures it."""
    with Daemon(tmp_path) as running:
        running.docker("pull", "-q", "busybox")
        yield running
