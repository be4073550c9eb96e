"""An init for --init: the configured one, or one that is installed; never silently none."""

from pathlib import Path

import pytest

from pier.containers.init_program import NoInit, find_init


def program(directory: Path, name: str) -> str:
    path = directory / name
    path.touch(mode=0o755)
    return str(path)


def test_the_configured_one_is_taken(tmp_path: Path) -> None:
    mine = program(tmp_path, "mine")
    program(tmp_path, "catatonit")
    assert find_init(mine) == mine
    assert find_init("mine", str(tmp_path)) == mine


def test_otherwise_what_is_installed(tmp_path: Path) -> None:
    found = program(tmp_path, "catatonit")
    assert find_init("", str(tmp_path)) == found


@pytest.mark.parametrize("configured", ["", "/no/such/init", "no-such-init"])
def test_without_one_the_user_is_told(tmp_path: Path, configured: str) -> None:
    with pytest.raises(NoInit, match="install the package tini"):
        find_init(configured, str(tmp_path))
