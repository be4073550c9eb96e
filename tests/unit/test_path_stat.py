"""Paths of `docker cp`: what they mean, and where they may lead."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.containers.model import MountPoint
from pier.containers.path_stat import (
    MountReadOnly,
    NotADirectory,
    NotADirectoryPoint,
    PathNotFound,
    RootReadOnly,
    absolute,
    base_name,
    check_writable,
    resolve_directory,
    stat_path,
)


@pytest.mark.parametrize(
    ("path", "expected", "name"),
    [
        ("a", "/a", "a"),
        ("/a/b/", "/a/b/", "b"),
        ("a/.", "/a/.", "."),
        ("../../a", "/a", "a"),
        ("/", "/", "/"),
        (".", "/.", "."),
        ("./", "/.", "."),
        ("/./", "/.", "."),
        ("a/./", "/a/.", "."),
        ("a/./b", "/a/b", "b"),
        ("/.", "/.", "."),
        ("//a//b", "/a/b", "b"),
        ("a/..", "/", "/"),
    ],
)
def test_paths_are_from_the_root(path: str, expected: str, name: str) -> None:
    assert absolute(path) == expected
    assert base_name(expected) == name


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    made = tmp_path / "root"
    (made / "dir/sub").mkdir(parents=True)
    (made / "dir/file").write_text("12345")
    (made / "dir/file").chmod(0o4755)
    (made / "link").symlink_to("dir/file")
    (made / "outside").symlink_to(tmp_path)
    (made / "up").symlink_to("../../../dir")
    (made / "broken").symlink_to("dir/../nothing/here")
    fd = os.open(made, os.O_PATH)
    yield fd
    os.close(fd)


def test_a_file(root: int) -> None:
    found = stat_path(root, "/dir/file", "c")
    assert (found.name, found.size, found.link_target) == ("file", 5, "")
    assert found.mode == stat.S_IFREG | 0o4755


@pytest.mark.parametrize(
    ("path", "target"),
    [("/link", "/dir/file"), ("/up", "/dir"), ("/broken", "/nothing/here")],
)
def test_a_link_is_told_with_where_it_leads(root: int, path: str, target: str) -> None:
    found = stat_path(root, path, "c")
    assert stat.S_ISLNK(found.mode)
    assert found.link_target == target


def test_a_slash_at_the_end_means_what_the_link_leads_to(root: int) -> None:
    assert stat.S_ISDIR(stat_path(root, "/up/", "c").mode)
    assert stat.S_ISDIR(stat_path(root, "/up/.", "c").mode)


@pytest.mark.parametrize("path", ["/missing", "/outside/"])
def test_what_is_not_inside_is_not_found(root: int, path: str) -> None:
    with pytest.raises(PathNotFound) as missing:
        stat_path(root, path, "web")
    assert str(missing.value) == f"Could not find the file {path} in container web"


@pytest.mark.parametrize("path", ["/dir/file/", "/dir/file/.", "/link/", "/dir/file/x"])
def test_a_file_is_no_directory(root: int, path: str) -> None:
    for look in (stat_path, resolve_directory):
        with pytest.raises(NotADirectory, match=f"lstat {path}: not a directory"):
            look(root, path, "web")


def test_an_archive_goes_into_a_directory_only(root: int) -> None:
    assert resolve_directory(root, "/up", "c") == "/dir"
    assert resolve_directory(root, "/", "c") == "/"
    with pytest.raises(NotADirectoryPoint, match="extraction point is not a directory"):
        resolve_directory(root, "/link", "c")
    with pytest.raises(PathNotFound):
        resolve_directory(root, "/outside", "c")


POINTS = (
    MountPoint(kind="bind", destination="/ro", writable=False),
    MountPoint(kind="bind", destination="/ro/rw"),
    MountPoint(kind="bind", destination="/rw"),
)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/ro/x", MountReadOnly),
        ("/ro", MountReadOnly),
        ("/x", RootReadOnly),
        ("/rox", RootReadOnly),
    ],
)
def test_read_only_places(path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_writable(path, POINTS, readonly_rootfs=True)


@pytest.mark.parametrize("path", ["/rw/x", "/ro/rw/x"])
def test_a_writable_mount_in_a_read_only_root(path: str) -> None:
    check_writable(path, POINTS, readonly_rootfs=True)
    check_writable("/anywhere", POINTS, readonly_rootfs=False)
