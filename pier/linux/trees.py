"""Removing and measuring directory trees that a container may have made.

By descriptor, never through a link, and in bounded depth: nothing here recurses, and a tree
deeper than PATH_MAX allows is taken apart by moving its directories up.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from itertools import count

from pier.linux.paths import STRICTLY_BELOW, open_in_root

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def remove_tree(name: str | bytes, *, dir_fd: int) -> None:
    """Remove `name` below `dir_fd` with everything in it; nothing there is fine.

    A directory is emptied by moving the directories in it beside `name` and removing those in
    turn, so depth costs nothing. What cannot be removed is reported together, as one OSError.
    """
    errors: list[OSError] = []
    top = os.fsdecode(name)
    pending = [top]
    spare = (f"{top}.{number}" for number in count())
    while pending:
        try:
            pending += _remove_one(pending.pop(), dir_fd, spare)
        except OSError as error:
            errors.append(error)
    if errors:
        raise OSError(errors[0].errno, f"{len(errors)} paths could not be removed: {errors[0]}")


def _remove_one(name: str, dir_fd: int, spare: Iterator[str]) -> list[str]:
    """Remove one file or directory; return what its directories were renamed to."""
    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
        if not _is_directory(name, dir_fd):
            os.unlink(name, dir_fd=dir_fd)
            return []
        moved = _empty(name, dir_fd, spare)
        os.rmdir(name, dir_fd=dir_fd)
        return moved
    return []


def _is_directory(name: str, dir_fd: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)


def _empty(name: str, dir_fd: int, spare: Iterator[str]) -> list[str]:
    fd = os.open(name, _DIRECTORY, dir_fd=dir_fd)
    moved: list[str] = []
    try:
        with os.scandir(fd) as entries:
            found = list(entries)
        for entry in found:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=fd)
            elif not _rmdir(entry.name, fd):
                moved += _move_up(entry.name, fd, dir_fd, spare)
    finally:
        os.close(fd)
    return moved


def _rmdir(name: str, dir_fd: int) -> bool:
    """Whether it was empty and is gone."""
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


def _move_up(name: str, from_fd: int, to_fd: int, spare: Iterator[str]) -> list[str]:
    """Rename directory `name` to a spare name below `to_fd`; return that.

    An overlay does not rename directories of its lower layers (EXDEV): removed where they are.
    """
    for target in spare:
        try:
            os.rename(name, target, src_dir_fd=from_fd, dst_dir_fd=to_fd)
        except OSError as error:
            if error.errno == errno.EXDEV:
                remove_tree(name, dir_fd=from_fd)
                return []
            if error.errno not in _TAKEN:
                raise
        else:
            return [target]
    raise AssertionError("count() ended")


def tree_size(path: str | os.PathLike[str]) -> int:
    """Bytes of the files and links below `path` (apparent sizes, each inode once).

    A tree that changes meanwhile gives a number from somewhere between; nothing there gives 0.
    """
    try:
        root_fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return 0
    try:
        return _size_below(root_fd)
    finally:
        os.close(root_fd)


def _size_below(root_fd: int) -> int:
    total = 0
    seen: set[int] = set()
    pending = [""]
    while pending:
        directory = pending.pop()
        with contextlib.suppress(OSError):
            fd = open_in_root(root_fd, directory, _DIRECTORY, resolve=STRICTLY_BELOW)
            try:
                total += _size_of_files(fd, seen, pending, directory)
            finally:
                os.close(fd)
    return total


def _size_of_files(fd: int, seen: set[int], pending: list[str], directory: str) -> int:
    total = 0
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(f"{directory}/{entry.name}".lstrip("/"))
            elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                total += _size(entry, seen)
    return total


def _size(entry: os.DirEntry[str], seen: set[int]) -> int:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0
    if found.st_nlink > 1:
        if found.st_ino in seen:
            return 0
        seen.add(found.st_ino)
    return found.st_size
