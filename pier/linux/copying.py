"""Copying a directory tree with everything about it, without ever leaving the target.

Owner, mode, times, extended attributes, holes, hard links, links, devices and pipes are kept;
sockets are left out. Work is done by descriptor and follows no link: another process may change the
target meanwhile and gains nothing. The source should be quiet.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from pier.linux.paths import STRICTLY_BELOW, open_in_root, open_plain

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CHUNK = 16 * 1024 * 1024
_OVERLAY = "trusted.overlay."
_NO_XATTRS = (errno.ENOTSUP, errno.EPERM, errno.ENODATA)


class _Links:
    """Where the files with several names went, by device and inode."""

    def __init__(self) -> None:
        self._paths: dict[tuple[int, int], str] = {}

    def first_path(self, found: os.stat_result, path: str) -> str | None:
        """Under which name this file was copied before; None if `path` is the first."""
        if found.st_nlink < 2:
            return None
        first = self._paths.setdefault((found.st_dev, found.st_ino), path)
        return None if first == path else first


class _Pair(NamedTuple):
    """The same directory on both sides, open."""

    source: int
    target: int


def copy_tree(source_fd: int, target_fd: int) -> None:
    """Copy what is in directory `source_fd` into directory `target_fd`, and its attributes.

    The target should be empty: a name that is taken is FileExistsError. Neither descriptor may
    be O_PATH. Directories get their times last, as filling them changes them.
    """
    links = _Links()
    done: list[str] = []
    pending = [""]
    roots = _Pair(source_fd, target_fd)
    while pending:
        path = pending.pop()
        with _opened(roots, path) as pair:
            pending += _copy_entries(roots, pair, path, links)
        done.append(path)
    for path in reversed(done):
        with _opened(roots, path) as pair:
            copy_attributes(pair.source, pair.target)


def copy_attributes(source_fd: int, target_fd: int) -> None:
    """Owner, mode, extended attributes and times; an ACL is one of the attributes."""
    found = os.fstat(source_fd)
    os.fchown(target_fd, found.st_uid, found.st_gid)
    _copy_xattrs(f"/proc/self/fd/{source_fd}", f"/proc/self/fd/{target_fd}", follow=True)
    os.fchmod(target_fd, stat.S_IMODE(found.st_mode))
    os.utime(target_fd, ns=(found.st_atime_ns, found.st_mtime_ns))


@contextlib.contextmanager
def _opened(roots: _Pair, path: str) -> Iterator[_Pair]:
    """`path` on both sides. On the target's, what was a directory may have become a link: ELOOP."""
    source = open_in_root(roots.source, path, _DIRECTORY, resolve=STRICTLY_BELOW)
    try:
        target = open_in_root(roots.target, path, _DIRECTORY, resolve=STRICTLY_BELOW)
        try:
            yield _Pair(source, target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_entries(roots: _Pair, pair: _Pair, path: str, links: _Links) -> list[str]:
    """Copy one directory's entries; return the directories among them, made and empty."""
    directories = []
    with os.scandir(pair.source) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        below = f"{path}/{name}" if path else name
        found = os.stat(name, dir_fd=pair.source, follow_symlinks=False)
        first = None if stat.S_ISDIR(found.st_mode) else links.first_path(found, below)
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=pair.target)
            directories.append(below)
        elif first is not None:
            _link(roots.target, first, pair.target, name)
        else:
            _copy_entry(pair, name, found)
    return directories


def _link(root_fd: int, first: str, target_fd: int, name: str) -> None:
    """A second name for a file that was copied before, found again without following links."""
    parent, _, last = first.rpartition("/")
    fd = open_in_root(root_fd, parent, _DIRECTORY, resolve=STRICTLY_BELOW)
    try:
        os.link(last, name, src_dir_fd=fd, dst_dir_fd=target_fd, follow_symlinks=False)
    finally:
        os.close(fd)


def _copy_entry(pair: _Pair, name: str, found: os.stat_result) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFREG:
        _copy_file(pair, name)
    elif kind == stat.S_IFLNK:
        os.symlink(os.readlink(name, dir_fd=pair.source), name, dir_fd=pair.target)
        _dress(pair, name, found)
    elif kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO):
        os.mknod(name, kind | 0o600, found.st_rdev, dir_fd=pair.target)
        _dress(pair, name, found)


def _copy_file(pair: _Pair, name: str) -> None:
    source = open_plain(pair.source, name, follow=False, resolve=STRICTLY_BELOW)
    try:
        target = os.open(name, _WRITE, 0o600, dir_fd=pair.target)
        try:
            _copy_data(source, target)
            copy_attributes(source, target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_data(source: int, target: int) -> None:
    """Holes stay holes: an image may hold a file that is larger than the disk."""
    size = os.fstat(source).st_size
    position = 0
    while position < size:
        try:
            position = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        end = os.lseek(source, position, os.SEEK_HOLE)
        os.lseek(target, position, os.SEEK_SET)
        while position < end:
            sent = os.sendfile(target, source, position, min(_CHUNK, end - position))
            if not sent:
                break
            position += sent
        position = end
    os.ftruncate(target, size)


def _dress(pair: _Pair, name: str, found: os.stat_result) -> None:
    """Attributes of what cannot be opened without consequences: links, devices, pipes."""
    os.chown(name, found.st_uid, found.st_gid, dir_fd=pair.target, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        _chmod_node(pair.target, name, stat.S_IMODE(found.st_mode))
    _copy_xattrs(
        f"/proc/self/fd/{pair.source}/{name}", f"/proc/self/fd/{pair.target}/{name}", follow=False
    )
    times = (found.st_atime_ns, found.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=pair.target, follow_symlinks=False)


def _chmod_node(directory_fd: int, name: str, mode: int) -> None:
    """chmod(2) follows links, so it goes by a descriptor of the node itself."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", mode)  # noqa: PTH101 - a descriptor, not a path
    finally:
        os.close(fd)


def _copy_xattrs(source: str, target: str, *, follow: bool) -> None:
    """All of them, save the overlay's own and what the target cannot hold."""
    for name in _list_xattrs(source, follow=follow):
        if name.startswith(_OVERLAY):
            continue
        try:
            value = os.getxattr(source, name, follow_symlinks=follow)
            os.setxattr(target, name, value, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in _NO_XATTRS:
                raise


def _list_xattrs(path: str, *, follow: bool) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return []
        raise
