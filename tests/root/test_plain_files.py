"""What others put in the place of a file is not opened before it is known to be a file.

inotify(7) tells of every open, of those too that had no other consequence.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pier.archive.tarball import write_tree
from pier.archive.walk import open_regular
from pier.build.context import DockerfileNotFound, open_context
from pier.build.layouts import BadLayout, _pack
from pier.build.owners import NoSuchOwner, find_identity, find_owner
from pier.containers.path_stat import PathNotFound, resolve_directory, stat_path
from pier.containers.users import read_bounded, resolve_user
from pier.linux import syscalls
from pier.linux.copying import copy_tree
from pier.linux.paths import NotAPlainFile, open_plain

IN_OPEN = 0x20
PLACES = ("etc/passwd", "etc/group", "Dockerfile", ".dockerignore", "index.json")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root with a /proc of its own, as a container has it."""
    path = tmp_path / "root"
    for name in ("etc", "proc", "blobs/sha256"):
        (path / name).mkdir(parents=True)
    syscalls.mount("proc", str(path / "proc"), "proc")
    yield path
    syscalls.umount2(str(path / "proc"))


def put(kind: str, path: Path) -> Path:
    """Something odd at `path`; what must not be opened."""
    if kind == "pipe":
        os.mkfifo(path)
        return path
    if kind == "device":
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
        return path
    path.symlink_to("/proc/version")
    return (
        path.parents[1] / "proc/version"
        if path.parent.name == "etc"
        else path.parent / ("proc/version")
    )


@contextlib.contextmanager
def never_opened(*paths: Path) -> Iterator[None]:
    watch = syscalls.inotify_init1()
    try:
        for path in paths:
            syscalls.inotify_add_watch(watch, str(path), IN_OPEN)
        yield
        with pytest.raises(BlockingIOError):
            os.read(watch, 4096)
    finally:
        os.close(watch)


def pack(root_fd: int, root: Path) -> None:
    with contextlib.suppress(BadLayout):
        _pack(root, "", root.parent / "packed.tar")


def context(root_fd: int, root: Path) -> None:
    with contextlib.suppress(DockerfileNotFound):
        open_context(root, "Dockerfile")


def names(root_fd: int, root: Path) -> None:
    for find in (find_identity, find_owner):
        with contextlib.suppress(NoSuchOwner):
            find("anna:staff", root_fd)


def files(root_fd: int, root: Path) -> None:
    for path in PLACES:
        assert read_bounded(root_fd, path) == ""
        with pytest.raises(NotAPlainFile):
            open_plain(root_fd, path)
        assert open_regular(root_fd, os.fsencode(path)) is None


def copies(root_fd: int, root: Path) -> None:
    target = root.parent / "copy"
    target.mkdir()
    target_fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    source_fd = os.open(root / "etc", os.O_RDONLY | os.O_DIRECTORY)
    copy_tree(source_fd, target_fd)
    write_tree(root_fd, b"etc", lambda data: None, name=b"etc")
    os.close(source_fd)
    os.close(target_fd)


@pytest.mark.parametrize("read", [files, names, context, pack, copies])
@pytest.mark.parametrize("kind", ["pipe", "device", "kernel"])
def test_only_plain_files_are_opened(
    root: Path, kind: str, read: Callable[[int, Path], None]
) -> None:
    odd = [put(kind, root / place) for place in PLACES]
    fd = os.open(root, os.O_PATH)
    try:
        with never_opened(*odd):
            read(fd, root)
            assert resolve_user(fd, "7").uid == 7
    finally:
        os.close(fd)


def test_files_of_proc_are_no_files_of_a_container(root: Path) -> None:
    fd = os.open(root, os.O_PATH)
    try:
        with never_opened(root / "proc/version"):
            with pytest.raises(PathNotFound):
                stat_path(fd, "/proc/version", "web")
            write_tree(fd, b"proc/version", lambda data: None, name=b"version")
        assert stat.S_ISDIR(stat_path(fd, "/proc", "web").mode)
        with pytest.raises(PathNotFound):
            resolve_directory(fd, "/proc/sys/kernel", "web")
    finally:
        os.close(fd)
