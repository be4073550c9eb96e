"""A copied tree is the same tree."""

import os
import stat
from pathlib import Path

import pytest

from pier.linux.copying import copy_tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def copy(source: Path, target: Path) -> None:
    source_fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    target_fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        copy_tree(source_fd, target_fd)
    finally:
        os.close(source_fd)
        os.close(target_fd)


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    return source, target


def test_everything_is_kept(trees: tuple[Path, Path]) -> None:
    source, target = trees
    (source / "deep/er").mkdir(parents=True)
    (source / "deep/er/file").write_bytes(b"x" * 100_000)
    os.link(source / "deep/er/file", source / "second-name")
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    os.mknod(source / "null", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    os.setxattr(source / "deep/er/file", "user.color", b"blue")
    os.chown(source / "deep", 1234, 567)
    (source / "deep").chmod(0o2751)
    os.chown(source / "link", 77, 88, follow_symlinks=False)
    os.utime(source / "deep", ns=(1_000, 2_000))
    source.chmod(0o1777)
    copy(source, target)
    for path in ("deep", "deep/er", "deep/er/file", "second-name", "link", "pipe", "null", "."):
        ours, theirs = (target / path).lstat(), (source / path).lstat()
        for field in ("st_mode", "st_uid", "st_gid", "st_nlink", "st_rdev", "st_mtime_ns"):
            assert getattr(ours, field) == getattr(theirs, field), (path, field)
    assert (target / "deep/er/file").stat().st_ino == (target / "second-name").stat().st_ino
    assert (target / "deep/er/file").read_bytes() == b"x" * 100_000
    assert os.getxattr(target / "second-name", "user.color") == b"blue"
    assert (target / "link").readlink() == Path("/etc/passwd")


def test_holes_stay_holes(trees: tuple[Path, Path]) -> None:
    source, target = trees
    with (source / "lastlog").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
        file.truncate(1 << 40)
    copy(source, target)
    copied = (target / "lastlog").stat()
    assert copied.st_size == 1 << 40
    assert copied.st_blocks * 512 < 1 << 20
    with (target / "lastlog").open("rb") as file:
        file.seek((1 << 30) - 1)
        assert file.read(5) == b"\0end\0"


def test_a_link_in_the_target_is_not_followed(trees: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = trees
    (source / "dir").mkdir()
    (source / "dir/evil").write_text("x")
    (tmp_path / "outside").mkdir()
    (target / "dir").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="dir"):
        copy(source, target)
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_deep_tree_needs_few_descriptors(trees: tuple[Path, Path]) -> None:
    source, target = trees
    path = source
    for _ in range(500):
        path /= "d"
    path.mkdir(parents=True)
    (path / "bottom").write_text("here")
    copy(source, target)
    assert (target / path.relative_to(source) / "bottom").read_text() == "here"
