"""passwd and group are read inside the root only, whatever a container puts there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.containers.users import NotQuick, UserNotFound, read_bounded, resolve_user
from pier.linux import syscalls


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("evil:x:0:0::/:\n")
    (tmp_path / "root/etc").mkdir(parents=True)
    return tmp_path / "root"


def resolve(root: Path, user: str) -> int:
    fd = os.open(root, os.O_PATH)
    try:
        return resolve_user(fd, user).uid
    finally:
        os.close(fd)


def test_links_are_followed_inside_the_root_only(root: Path) -> None:
    (root / "etc/passwd").symlink_to(root.parent / "outside")
    with pytest.raises(UserNotFound):
        resolve(root, "evil")
    (root / "etc/passwd").unlink()
    (root / "real").write_text("anna:x:5:5::/:\n")
    (root / "etc/passwd").symlink_to("../../../../real")
    assert resolve(root, "anna") == 5


def test_a_pipe_does_not_keep_anybody_waiting(root: Path) -> None:
    os.mkfifo(root / "etc/passwd")
    assert resolve(root, "7") == 7


def test_a_directory_is_no_file(root: Path) -> None:
    (root / "etc/passwd").mkdir()
    assert resolve(root, "7") == 7


def test_an_image_without_files_knows_numbers(root: Path) -> None:
    assert resolve(root, "7:8") == 7


def test_reading_stops_at_the_bound(root: Path) -> None:
    (root / "etc/passwd").write_text("x" * 100)
    fd = os.open(root, os.O_PATH)
    try:
        assert read_bounded(fd, "etc/passwd", 10) == "x" * 10
    finally:
        os.close(fd)


@pytest.fixture
def mounted(root: Path) -> Iterator[Path]:
    """A tmpfs where a container's files might be someone else's file system."""
    (root / "etc/group").mkdir()
    syscalls.mount("tmpfs", str(root / "etc/group"), "tmpfs")
    yield root
    syscalls.umount2(str(root / "etc/group"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_is_mounted_there_is_not_read_in_passing(mounted: Path) -> None:
    (mounted / "etc/passwd").write_text("anna:x:5:5::/:\n")
    fd = os.open(mounted, os.O_PATH)
    with pytest.raises(NotQuick):
        resolve_user(fd, "anna", quick=True)
    assert resolve_user(fd, "anna").uid == 5
    os.close(fd)


def test_what_is_short_and_in_the_root_is_read_in_passing(root: Path) -> None:
    (root / "etc/passwd").write_text("anna:x:5:5::/:\n")
    fd = os.open(root, os.O_PATH)
    assert resolve_user(fd, "anna", quick=True).uid == 5
    (root / "etc/passwd").write_text("anna:x:5:5::/:\n" * 10_000)
    with pytest.raises(NotQuick):
        resolve_user(fd, "anna", quick=True)
    os.close(fd)
