"""A tree read by descriptor, in one order, never through a link.

Directories come before what is in them; a directory's files come before its directories, each
sorted by bytes. So the same tree is always the same sequence, one descriptor is open at a time,
and depth costs no stack. What vanishes meanwhile is left out.
"""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from pier.archive.entry import show
from pier.errors import Failed
from pier.linux import paths

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class PathTooLong(Failed):
    """A process can make directories deeper than any path reaches; no archive can hold them."""

    def __init__(self, path: bytes) -> None:
        super().__init__(f"a path of {len(path)} bytes is too long: {show(path)}...")


@dataclass(slots=True)
class Found:
    """Something in a directory that is no directory itself. `path` is relative to the walk."""

    path: bytes
    name: bytes
    stat: os.stat_result


@dataclass(slots=True)
class Directory:
    """One directory; fd is open until the walk goes on. Take names out of `below` to prune."""

    path: bytes
    fd: int
    stat: os.stat_result
    files: list[Found]
    below: list[bytes]


def join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


def walk(root_fd: int) -> Iterator[Directory]:
    """The tree below `root_fd`, itself first with the path b""."""
    pending = [b""]
    while pending:
        path = pending.pop()
        try:
            fd = paths.open_in_root(root_fd, path, _DIRECTORY, resolve=paths.STRICTLY_BELOW)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise PathTooLong(path) from error
            if error.errno not in _VANISHED:
                raise
            continue
        try:
            directory = _read(path, fd)
            yield directory
        finally:
            os.close(fd)
        pending += [join(path, name) for name in reversed(directory.below)]


def _read(path: bytes, fd: int) -> Directory:
    names: list[bytes] = []
    below: list[bytes] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            kind = below if entry.is_dir(follow_symlinks=False) else names
            kind.append(os.fsencode(entry.name))
    below.sort()
    return Directory(path, fd, os.fstat(fd), list(_files(path, fd, sorted(names))), below)


def _files(path: bytes, fd: int, names: list[bytes]) -> Iterator[Found]:
    for name in names:
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(found.st_mode):
            yield Found(join(path, name), name, found)


def open_regular(directory_fd: int, name: bytes) -> int | None:
    """Open a regular file for reading; None if it is something else by now.

    Of the kernel's own file systems nothing is opened either: `linux/paths.py`.
    """
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        return paths.reopen_plain(handle, name)
    except paths.NotAPlainFile:
        return None
    finally:
        os.close(handle)
